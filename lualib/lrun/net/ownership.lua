--- Whose a socket's handle is: the socket gives it away, to another process, another protocol or another socket, takes it
--- back, or leaves the reading to a child for a while. The methods are net.Socket's (lrun.net.socket), which installs them.
---   `_release` → the handle and what was received and not read → `_attach` (the same socket on the same or another handle),
---   or `_detach`, after which the socket is closed and the handle is somebody else's.
local errors = require("errors")
local nextTick = require("process").nextTick
local sendfile = require("lrun.core.sendfile")

local function ignore() end

-- What the script has written before it gave the handle away goes out before what its next owner writes.
local function writePending(self, handle)
  self:_writePending(function(data, done)
    local ok, _, code = handle:write(data, function(err) done(err and errors.system(err, "write") or nil) end)
    if not ok then nextTick(done, errors.system(code, "write")) end
  end)
end

---@class SocketOwnership what lrun.net.socket knows
---@field traffic fun(socket: Socket): integer, integer bytes received and written
---@field stopTimer fun(socket: Socket)
---@field emitClose fun(socket: Socket, hadError: boolean)

---@param Socket table
---@param inside SocketOwnership
return function(Socket, inside)
  --- Internal: what was received and not yet read.
  function Socket:_unread()
    local rs, handle = self._rs, self._handle
    return table.concat(rs.chunks, "", rs.first, rs.last) .. (handle and handle.rest and handle:rest() or "")
  end

  --- Internal: the server that counts this connection; `_countedBy` sets it.
  ---@return Server?
  function Socket:_acceptedBy() return self._server end

  --- Internal: says which server counts this connection, from its acceptance to its end; nil for none.
  ---@param server Server?
  function Socket:_countedBy(server) self._server = server end

  --- Internal: stops reading and takes the handle out of the socket, which stays open without one, until `_attach`. What was
  --- written before is the handle's then. Of a handle that stands on another one (`detach`), such as HTTP's, the one below.
  ---@return userdata? handle
  ---@return string data received and not yet read
  function Socket:_release()
    local handle = self._handle
    if not handle then return nil, "" end
    self:_stopReading()
    if self._sending then sendfile.settle(self._sending) end
    writePending(self, handle)
    local rs, data = self._rs, self:_unread()
    rs.chunks, rs.first, rs.last, rs.length = {}, 1, 0, 0
    self._received, self._written = inside.traffic(self)
    self._handle = nil
    if handle.detach then handle = handle:detach() end
    return handle, data
  end

  --- Internal: the counterpart of `_release`.
  function Socket:_attach(handle)
    self._handle = handle
    self._before = handle.traffic and { received = self._received, written = self._written }
    local idle = self._idle
    if idle and handle.set_timeout then
      inside.stopTimer(self)
      handle:set_timeout(idle.limit)
    end
    if self._refed == false then handle:unref() end
  end

  --- Internal: leaves the protocol that its handle belongs to, such as HTTP, for the stream below.
  ---@return string data received and not yet read
  function Socket:_standAlone()
    local handle, data = self:_release()
    if not handle then return "" end
    self:_attach(handle)
    if self.timeout and self.timeout > 0 then self:setTimeout(self.timeout) end
    if not self._rs.paused then self:read(0) end   -- also to notice the peer's end
    return data
  end

  --- Internal: gives the handle away. The socket object closes; the handle stays open, and whoever takes it tells
  --- the server of `_acceptedBy` by `_connectionClosed` when the connection has ended where it went.
  ---@return userdata? handle
  ---@return string data received and not yet read
  function Socket:_detach()
    local handle, received = self:_release()
    if not handle then return nil, "" end
    inside.stopTimer(self)
    self.destroyed, self.closed = true, true
    self._rs.ended = true
    if self._reader then               -- luv keeps it, and with it this socket, for as long as the handle lives
      handle:read_start(ignore)
      handle:read_stop()
    end
    self:_failPending()
    nextTick(inside.emitClose, self, false)
    return handle, received
  end

  --- Internal: another process reads what comes, until `_takeBack`; several may.
  function Socket:_lend()
    if not self._lent then self._lent = { count = 0, readAgain = self._kernelReads } end
    self._lent.count = self._lent.count + 1
    self:pause()
  end

  --- Internal: one of them has ended; the last one leaves the reading to this process again.
  function Socket:_takeBack()
    local lent = self._lent
    lent.count = lent.count - 1
    if lent.count > 0 then return end
    self._lent = nil
    if lent.readAgain and self.readable then self:read(0) end
  end
end
