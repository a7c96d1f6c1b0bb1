--- A connection that HTTP serves as a net.Socket. It is made when somebody asks for it and stands on the same handle:
--- C goes on reading and parsing; what is written to the socket goes out between the responses; destroying it closes
--- the connection. `takeOver` makes it an ordinary socket again: an upgrade.
local core = require("lrun.core.http")
local net = require("net")
local message = require("lrun.http.incoming")

local socket = {}

-- What an http socket does otherwise than a net.Socket while C has the handle.
local shared = {}

function shared._read() end

function shared:_write(data, callback)
  core.rawWrite(self._connection.c, data)
  callback()
end

function shared:_writev(chunks, callback) return self:_write(table.concat(chunks), callback) end

function shared:_final(callback)
  core.finishAll(self._connection.c)
  callback()
end

function shared:_destroy(err, callback)
  local connection = self._connection
  self._handle = nil
  core.close(connection.c)
  return net.Socket._destroy(self, err, callback)
end

function shared:setTimeout(ms, listener)
  if listener then self:once("timeout", listener) end
  self.timeout = ms
  message.setTimeout(self._connection, ms)
  return self
end

function shared:_unread() return core.rest(self._connection.c) or "" end

function shared:_acceptedBy()
  local connection = self._connection
  return connection.counted and connection.server or self._server
end

-- The socket goes to another process: HTTP lets go of it.
function shared:_surrender() socket.surrender(self._connection) end

-- While C reads and writes it is C that counts; what the socket had counted before is in `_before`.
local function traffic(self, which)
  local connection = rawget(self, "_connection")
  if not connection then return nil end
  local read, written = core.traffic(connection.c)
  return self._before[which] + (which == "read" and read or written)
end
net.Socket:getter("bytesRead", function(self) return traffic(self, "read") end)
net.Socket:getter("_written", function(self) return traffic(self, "written") end)

--- Puts an http connection and a socket together.
---@param connection table
---@param each Socket
function socket.adopt(connection, each)
  connection.socket = each
  each._before = { read = each.bytesRead, written = each._written }
  each.bytesRead, each._written = nil, nil
  each._connection = connection
  for name, method in pairs(shared) do each[name] = method end
end

--- The socket of a connection, made on first use.
---@param connection table
---@return Socket
function socket.of(connection)
  local each = connection.socket
  if not each then
    each = net.Socket:new { handle = connection.handle, manualStart = true, allowHalfOpen = true }
    each.server = connection.server
    socket.adopt(connection, each)
    if connection.closed then socket.closed(connection) end
  end
  return each
end

--- Takes the connection from HTTP: the socket is an ordinary one from now on.
---@param connection table
---@return Socket
---@return string rest the bytes behind the last head
function socket.takeOver(connection)
  local each = socket.of(connection)
  local rest = core.release(connection.c) or ""
  connection.closed = true
  for name in pairs(shared) do each[name] = nil end
  each.bytesRead, each._written = each.bytesRead, each._written
  each._connection = nil
  each._rs.reading = false
  if not each._rs.paused then each:read(0) end -- also to notice the peer's end
  return each, rest
end

--- The connection was closed: so is its socket.
---@param connection table
---@param err any?
function socket.closed(connection, err)
  local each = connection.socket
  if not each or each.destroyed then return end
  each._handle = nil
  if err ~= nil and each:listenerCount("error") == 0 then err = nil end
  each:destroy(err)
end

message.socketOf = socket.of

return socket
