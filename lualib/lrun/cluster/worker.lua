--- A worker's side of `cluster`: the channel to the primary, the lane that brings connections, and what servers of this
--- process listen on. Owns the lane's end (it lasts as long as the process) and `listening`.
local calls = require("lrun.check.calls")
local bound = require("lrun.net.listen")
local common = require("lrun.cluster.common")
local handles = require("lrun.net.handles")
local handoff = require("lrun.core.handoff")
local orphan = require("lrun.core.orphan")
local process = require("process")

local Worker, send = common.Worker, common.send

local cluster = common.newCluster(false)

local lane                  -- this end of the lane
local listening = {}        -- key → { server, onClose }: what this worker has from the primary
local lanes = {}            -- the primary's number for a listener → lane handle
local indexes = {}          -- what was asked for → { next, used }
local referenced = 0        -- lane handles that keep the process alive

-- The lane ------------------------------------------------------------------------------------------------------------

local function openConnection(kind, fd)
  local handle, code = handles.take(kind, fd)
  if not handle then process.emitWarning("a connection could not be opened: " .. tostring(code)) end
  return handle
end

local function onDescriptor(id, fd)
  local handle = lanes[id]
  if not handle or not handle.onconnection or handle:isFull() then return lane:refuse() end
  local client = openConnection(handle.kind, fd)
  if not client then return lane:released() end
  handle.onconnection(client)
end

---@class LaneHandle stands in a server for the listening handle that the primary has
local LaneHandle = { lane = true }
LaneHandle.__index = LaneHandle

function LaneHandle:listen() return 0 end
function LaneHandle:getsockname() return self.sockname end
function LaneHandle:is_closing() return self.closed end

-- Whether its server has all the connections that it wants; the primary then gives it none, until it has room again.
function LaneHandle:isFull()
  local full = self.server:_isFull()
  if full and not self.full then send(process, { act = "room", key = self.key, room = false }) end
  self.full = self.full or full
  return full
end

function LaneHandle:release()
  lane:released()
  if not self.full or self.closed or self.server:_isFull() then return end
  self.full = false
  send(process, { act = "room", key = self.key, room = true })
end

function LaneHandle:ref()
  if self.referenced or self.closed then return end
  self.referenced = true
  referenced = referenced + 1
  lane:ref()
end

function LaneHandle:unref()
  if not self.referenced then return end
  self.referenced = false
  referenced = referenced - 1
  if referenced == 0 then lane:unref() end
end

function LaneHandle:close(callback)
  if not self.closed then
    self:unref()
    self.closed = true
    self.onClose()
  end
  if callback then process.nextTick(callback) end
end

-- Listening ----------------------------------------------------------------------------------------------------------

local function takeIndex(key)
  local set = indexes[key]
  if not set then
    set = { next = 0, used = 0 }
    indexes[key] = set
  end
  local index = set.next
  set.next, set.used = index + 1, set.used + 1
  return index
end

local function leaveIndex(key)
  local set = indexes[key]
  set.used = set.used - 1
  if set.used == 0 then indexes[key] = nil end
end

-- Says once that the server no longer listens.
local function closer(key, id, indexKey)
  local done = false
  return function()
    if done then return end
    done = true
    listening[key] = nil
    if id then lanes[id] = nil end
    leaveIndex(indexKey)
    send(process, { act = "close", key = key })
  end
end

local function laneHandle(server, reply, indexKey)
  local handle = setmetatable({ server = server, key = reply.key, kind = reply.kind, sockname = reply.sockname }, LaneHandle)
  handle.onClose = closer(reply.key, reply.lane, indexKey)
  listening[reply.key] = { server = server, onClose = handle.onClose }
  lanes[reply.lane] = handle
  handle:ref()
  return handle
end

-- Counts what comes and goes on a socket of the kernel's, which no lane does.
local function countConnections(server)
  if not server._onconnection or rawget(server, "_onconnection") then return end
  local onconnection, closed = server._onconnection, server._connectionClosed
  function server:_onconnection(handle)
    local before = self._connections
    lane:opened()
    onconnection(self, handle)
    if handle:is_closing() and self._connections == before then lane:released() end     -- it was one too many
  end
  function server:_connectionClosed(handle)
    lane:released()
    return closed(self, handle)
  end
end

-- Calls `onClose` when the server closes: a handle of the kernel's cannot tell.
local function watchClose(server, onClose)
  local close = server.close
  function server:close(...)
    rawset(self, "close", nil)
    onClose()
    return close(self, ...)
  end
end

local function sharedHandle(server, reply, indexKey)
  local onClose = closer(reply.key, reply.lane, indexKey)
  listening[reply.key] = { server = server, onClose = onClose }
  if reply.lane then
    -- Connections that the primary accepts on behalf of a worker that is gone.
    lanes[reply.lane] = {
      kind = reply.kind,
      onconnection = function(client) server:_onconnection(client) end,
      isFull = function() return false end,      -- what its own socket brings does not wait either
    }
  end
  if reply.kind ~= "udp" then countConnections(server) end
  watchClose(server, onClose)
  return onClose
end

local ADDRESS_TYPES = { IPv4 = 4, IPv6 = 6 }

-- What the server is bound to, as the `listening` event of the primary tells it.
local function boundAddress(server, request)
  local address = server:address()
  if type(address) ~= "table" then return { address = request.address or address, port = -1, addressType = -1 } end
  local isUdp = type(request.addressType) == "string"
  local addressType = isUdp and request.addressType or ADDRESS_TYPES[address.family]
  return { address = address.address, port = address.port, addressType = addressType }
end

local function announce(server, request, key)
  local entry = listening[key]
  server:once("listening", function()
    if listening[key] ~= entry then return end       -- it was closed meanwhile
    cluster.worker.state = "listening"
    local fields = boundAddress(server, request)
    fields.act, fields.key = "listening", key
    send(process, fields)
  end)
end

-- A path that means the same everywhere.
local function absolute(path)
  if path:sub(1, 1) == "\0" then return path end
  return require("path").resolve(path)
end

local PASSED_ON = { "port", "addressType", "fd", "backlog", "ipv6Only", "reuseAddr", "readableAll", "writableAll" }

-- Set as the provider of lrun.listen: gets a server its handle from the primary.
local function provide(server, request, callback)
  local message = { act = "queryServer" }
  for _, name in ipairs(PASSED_ON) do message[name] = request[name] end
  local isPath = request.addressType == -1
  message.address = isPath and request.address and absolute(request.address) or request.address
  local indexKey = ("%s:%s:%s:%s"):format(tostring(message.address), tostring(message.port), tostring(message.addressType),
    tostring(message.fd))
  message.index = takeIndex(indexKey)
  send(process, message, nil, function(reply, handle)
    if reply.errno then
      leaveIndex(indexKey)
      return callback(bound.failure(reply.errno, request, type(request.addressType) == "string" and "bind" or nil))
    end
    if not handle then
      local own = laneHandle(server, reply, indexKey)
      announce(server, message, reply.key)
      return callback(nil, own)
    end
    local onClose = sharedHandle(server, reply, indexKey)
    announce(server, message, reply.key)
    callback(nil, handle)
    if handle:is_closing() then onClose() end    -- it could not listen, or was closed meanwhile
  end)
end

-- Ending --------------------------------------------------------------------------------------------------------------

local function disconnectChannel()
  if process.connected then process:disconnect() end
end

local function closeServers(gently, done)
  local left = 1
  local function closed()
    left = left - 1
    if left == 0 then done() end
  end
  local entries = {}
  for _, entry in pairs(listening) do entries[#entries + 1] = entry end
  for _, entry in ipairs(entries) do
    left = left + 1
    local server = entry.server
    if gently and server._drain then
      entry.onClose()
      server:_drain(closed)
    else
      server:close(closed)
    end
  end
  closed()
end

local function disconnect(worker, byPrimary, gently)
  worker.exitedAfterDisconnect = true
  closeServers(gently, function()
    if byPrimary or not send(process, { act = "exitedAfterDisconnect" }, nil, disconnectChannel) then disconnectChannel() end
  end)
end

--- Closes this worker's servers, waits for their connections, then closes the channel. Source: Node 20.
---@return Worker self
function Worker:disconnect()
  if self.state ~= "disconnecting" and self.state ~= "destroying" then
    self.state = "disconnecting"
    disconnect(self, false)
  end
  return self
end

--- Ends this worker with code 0, once the primary knows that it was meant to. Source: Node 20.
function Worker:destroy()
  if self.state == "destroying" then return end
  self.exitedAfterDisconnect = true
  if not self:isConnected() then process.exit(0) end
  self.state = "destroying"
  process:once("disconnect", function() process.exit(0) end)
  send(process, { act = "exitedAfterDisconnect" }, nil, disconnectChannel)
end

--- The same as `destroy`.
Worker.kill = Worker.destroy

calls.methods(Worker, "worker")

-- Start ---------------------------------------------------------------------------------------------------------------

local function openLane()
  local fd = tonumber(process.env.LRUN_LANE_FD)
  process.env.LRUN_LANE_FD = nil
  if not fd then return end
  local err
  lane, err = handoff.worker(fd, onDescriptor)
  if not lane then error(err, 0) end
end

local function start(id)
  local worker = Worker:new{ id = id, process = process, state = "online" }
  cluster.worker = worker
  process:on("error", function(err) worker:emit("error", err) end)
  orphan.watch()      -- a loop that stands still would not see the channel's end
  process:once("disconnect", function()
    orphan.unwatch()
    worker:emit("disconnect")
    if not worker.exitedAfterDisconnect then process.exit(0) end    -- the primary is gone, or the script wanted it so
  end)
  common.receive(process, function(message)
    if message.act == "disconnect" then disconnect(worker, true, message.drain) end
  end)
  openLane()
  bound.provider = provide
  send(process, { act = "online" })
  return cluster
end

return { start = start }
