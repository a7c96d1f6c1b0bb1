--- Datagrams over unix sockets: what `dgram.createSocket("unix_dgram")` makes. A DgramSocket whose addresses are paths (one
--- that begins with NUL is abstract). Nothing has to be looked up, so all but events is done at once. In a cluster's worker
--- it is the worker's own.
local process = require("process")
local errors = require("errors")
local datagram = require("lrun.net.datagram")
local listen = require("lrun.net.listen")
local validate = require("lrun.check.validate")
local calls = require("lrun.check.calls")
local Socket = require("dgram").Socket

local nextTick = process.nextTick

local UnixSocket = Socket:extend("UnixDgramSocket")
UnixSocket.types = { unix_dgram = true }

local function checkRunning(self)
  if self._closed then error(errors.coded("ERR_SOCKET_DGRAM_NOT_RUNNING", "Not running"), 0) end
end

local function fail(self, code, syscall, path)
  local err = errors.system(code, syscall, { address = path })
  nextTick(function() self:emit("error", err) end)
end

local function adopt(self, handle)
  self._handle = handle
  local options = self._options
  if options.recvBufferSize then handle:recv_buffer_size(options.recvBufferSize) end
  if options.sendBufferSize then handle:send_buffer_size(options.sendBufferSize) end
  if self._unref then handle:unref() end
  handle:recv_start(function(err, data, from)
    if self._closed then return end
    if err then return self:emit("error", errors.system(err, "recvmsg")) end
    self:emit("message", data, {
      address = from.path, family = "unix", size = #data, pid = from.pid, uid = from.uid, gid = from.gid,
    })
  end)
end

-- The handle, made without a name where there is none yet.
local function handleOf(self)
  if not self._handle then
    local handle, code = datagram.new()
    if not handle then error(errors.system(code, "socket"), 0) end
    adopt(self, handle)
  end
  return self._handle
end

--- Binds: `bind(path[, listener])`, `bind({ path = … }[, listener])`. A file that a process left behind is taken over.
--- Events: `listening`, `error` (EADDRINUSE, EACCES, …).
---@param path string|{ path: string }
---@param listener function?
---@return self
function UnixSocket:bind(path, listener)
  checkRunning(self)
  if type(path) == "table" then path = path.path end
  validate.socketPath(path, "path")
  validate.optional(validate.func, listener, "listener")
  if self._handle then error(errors.coded("ERR_SOCKET_ALREADY_BOUND", "Socket is already bound"), 0) end
  if listener then self:once("listening", listener) end
  local handle, code = datagram.bind(path)
  if not handle then
    fail(self, code, "bind", path)
    return self
  end
  if path:sub(1, 1) ~= "\0" then listen.ownFile(handle, path) end
  self.path = path
  adopt(self, handle)
  nextTick(function() if not self._closed then self:emit("listening") end end)
  return self
end

local function joined(message)
  if type(message) == "string" then return message end
  validate.table(message, "msg")
  for i, part in ipairs(message) do validate.string(part, ("msg[%d]"):format(i)) end
  return table.concat(message)
end

--- Sends one datagram: `send(msg, path[, callback])`; no path on a connected socket. One that the receiver has no room for
--- waits. Without a callback an error is an `error` event.
---@param message string|string[]
---@param path string?
---@param callback fun(err: Error?, bytes: integer?)?
function UnixSocket:send(message, path, callback)
  checkRunning(self)
  local data = joined(message)
  if type(path) == "function" then path, callback = nil, path end
  validate.optional(validate.func, callback, "callback")
  if self._connected then
    if path ~= nil then error(errors.coded("ERR_SOCKET_DGRAM_IS_CONNECTED", "Already connected"), 0) end
  else
    validate.socketPath(path, "path")
  end
  local handle = handleOf(self)
  local function done(code)
    if not code then return callback and callback(nil, #data) end
    local err = errors.system(code, "send", { address = path or self._connected })
    if callback then callback(err) else self:emit("error", err) end
  end
  local count, _, code = handle:try_send(data, path)
  if code == "EAGAIN" then
    local ok
    ok, _, code = handle:send(data, path, done)
    if ok then return end
  end
  if not count or callback then nextTick(done, not count and code or nil) end
end

--- Fixes the peer. Event `connect`.
---@param path string
---@param callback fun(err: Error?)?
function UnixSocket:connect(path, callback)
  checkRunning(self)
  validate.socketPath(path, "path")
  validate.optional(validate.func, callback, "callback")
  if self._connected then error(errors.coded("ERR_SOCKET_DGRAM_IS_CONNECTED", "Already connected"), 0) end
  local ok, _, code = handleOf(self):connect(path)
  if not ok then
    if not callback then return fail(self, code, "connect", path) end
    return nextTick(callback, errors.system(code, "connect", { address = path }))
  end
  self._connected = path
  if callback then self:once("connect", callback) end
  nextTick(function() if not self._closed then self:emit("connect") end end)
end

--- Undoes `connect`: the socket gets datagrams of others again.
function UnixSocket:disconnect()
  checkRunning(self)
  if not self._connected then error(errors.coded("ERR_SOCKET_DGRAM_NOT_CONNECTED", "Not connected"), 0) end
  local ok, _, code = self._handle:connect(nil)
  if not ok then error(errors.system(code, "connect"), 0) end
  self._connected = nil
end

--- The path that `connect` fixed.
---@return string
function UnixSocket:remoteAddress()
  checkRunning(self)
  if not self._connected then error(errors.coded("ERR_SOCKET_DGRAM_NOT_CONNECTED", "Not connected"), 0) end
  return self._connected
end

--- The path bound. Throws EBADF when there is none.
---@return string
function UnixSocket:address()
  checkRunning(self)
  if not self.path then error(errors.system("EBADF", "getsockname"), 0) end
  return self.path
end

calls.methods(UnixSocket, "socket")

return UnixSocket
