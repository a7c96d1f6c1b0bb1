--- net.Socket: a duplex stream over one stream handle: luv's (TCP, unix socket, pipe, terminal), or anything with the
--- same methods, such as a TLS stream (lrun.net.handles has the list).
--- The socket owns `_handle` and closes it in `_destroy`, or gives it away (lrun.net.ownership). Bytes go kernel → the handle's read
--- callback → `push` → `data` without a copy, and `write` → `handle:try_write` → what is left by
--- `lrun.core.handlewrite`, or by `handle:write`. A file takes another way (lrun.net.file_writes).
local process = require("process")
local errors = require("errors")
local aborting = require("lrun.check.aborting")
local calls = require("lrun.check.calls")
local stream = require("stream")
local sendfile = require("lrun.core.sendfile")
local writeEnd = require("lrun.core.handlewrite").rest
local fileWrites = require("lrun.net.file_writes")
local handles = require("lrun.net.handles")
local Idle = require("lrun.net.idle")
local listen = require("lrun.net.listen")
local ownership = require("lrun.net.ownership")
local validate = require("lrun.check.validate")

local LARGE = 8 * 1024         -- bytes of a piece that is not worth a copy

local nextTick = process.nextTick
local Duplex = stream.Duplex
local push = stream.Readable.push
local write = stream.Writable.write

--- Event lookup(err: Error?, address: string?, family: integer?, host: string)
--- Event connect()
--- Event ready()
--- Event timeout()
--- Event close(hadError: boolean)
---@class Socket: Duplex
---@field connecting boolean
---@field pending boolean not connected yet
---@field readyState string "opening", "open", "readOnly", "writeOnly" or "closed"
---@field bytesRead integer
---@field bytesWritten integer what was handed to the kernel, and what waits for it
---@field remoteAddress string?
---@field remotePort integer?
---@field remoteFamily string? "IPv4" or "IPv6"
---@field localAddress string?
---@field localPort integer?
---@field localFamily string?
---@field bufferSize integer bytes that wait to be written
---@field timeout integer? milliseconds, as `setTimeout` was given
local Socket = Duplex:extend("Socket")

-- Reading -------------------------------------------------------------------------------------------------------------

local function makeReader(self)
  return function(err, chunk)
    if chunk then
      self._received = self._received + #chunk
      if self._idle then self._idle:touch() end
      if not push(self, chunk) and not self._rs.reading then self:_stopReading() end
      return
    end
    self._kernelReads = false
    if err then return self:destroy(errors.system(err, "read")) end
    push(self, nil)
    self:read(0)                     -- nobody may be reading: the end is noticed all the same
  end
end

local function startReading(self)
  local handle = self._handle
  if not handle or self._kernelReads or handle:is_closing() then return end
  local reader = self._reader
  if not reader then
    reader = makeReader(self)
    self._reader = reader
  end
  local ok, _, code = handle:read_start(reader)
  if not ok then return self:destroy(errors.system(code, "read")) end
  self._kernelReads = true
end

function Socket:_stopReading()
  local handle = self._handle
  if not self._kernelReads then return end
  self._kernelReads = false
  self._rs.reading = false
  if handle and not handle:is_closing() then handle:read_stop() end
end

function Socket:_read()
  if self.connecting or not self._handle then
    self._wantsRead = true
  else
    startReading(self)
  end
end

--- Stops the flow and the kernel read.
---@return self
function Socket:pause()
  Duplex.pause(self)
  if self._kernelReads then
    self:_stopReading()
  elseif self._wantsRead then        -- it was to read once connected
    self._wantsRead, self._rs.reading = nil, false
  end
  return self
end

-- Writing -------------------------------------------------------------------------------------------------------------

local function closedError() return errors.coded("ERR_SOCKET_CLOSED", "Socket is closed") end

-- What the kernel did not take; it is not copied where the handle is the kernel's own.
local function writeRest(self, handle, data, size, taken, callback)
  local function written(err)
    if self._idle then self._idle:touch() end
    if err then return callback(errors.system(err, "write")) end
    self._written = self._written + size
    callback()
  end
  local ok, code = writeEnd(handle, data, written, taken)
  if ok == false then
    local _
    ok, _, code = handle:write(data:sub(taken + 1), written)
  end
  if not ok then callback(errors.system(code, "write")) end
end

-- `data` is a string, or a list of them where the handle is the kernel's own.
local function writeNow(self, data, size, callback)
  local handle = self._handle
  if self._idle then self._idle:touch() end
  local count, _, code = handle:try_write(data)
  if count == size then
    self._written = self._written + size
    return callback()
  end
  if not count and code ~= "EAGAIN" then return callback(errors.system(code, "write")) end
  writeRest(self, handle, data, size, count or 0, callback)
end

function Socket:_write(data, callback)
  if self.connecting then
    self._heldWrite = { data, callback }
    return
  end
  local handle = self._handle
  if not handle or handle:is_closing() then return callback(closedError()) end
  writeNow(self, data, #data, callback)
end

-- The peer has ended, and for that the socket has, too.
local function refuseWrite(self, callback)
  local err = errors.coded("EPIPE", "This socket has been ended by the other party")
  if callback then nextTick(callback, err) end
  self:destroy(err)
  return false
end

--- Writes a string. False says: the high-water mark is passed, wait for `drain`. After the peer's end, without
--- `allowHalfOpen`, it fails with EPIPE.
---@param chunk string
---@param encoding (string|fun(err: Error?))? accepted, changes nothing
---@param callback fun(err: Error?)? once it was written
---@return boolean more
function Socket:write(chunk, encoding, callback)
  if type(self) == "table" and self.writableEnded and self.readableEnded and not self.allowHalfOpen then
    return refuseWrite(self, type(encoding) == "function" and encoding or callback)
  end
  return write(self, chunk, encoding, callback)
end

-- Large pieces go to the kernel as they are; of small ones one string is made.
function Socket:_writev(chunks, callback)
  local size = self._ws.size
  if self.connecting or size < LARGE * #chunks or not sendfile.takes(self._handle) then
    return self:_write(table.concat(chunks), callback)
  end
  writeNow(self, chunks, size, callback)
end

function Socket:_final(callback)
  local handle = self._handle
  if self.connecting or not handle and self._unused then
    self._heldFinal = callback
    return
  end
  if not handle or handle:is_closing() then return callback() end
  local function done(err)
    -- A peer that is gone, and pipes that have no other direction, need no shutdown.
    if err and err ~= "ENOTCONN" and err ~= "ENOTSOCK" and err ~= "ECANCELED" then
      return callback(errors.system(err, "shutdown"))
    end
    callback()
  end
  local ok, _, code = handle:shutdown(done)
  if not ok then done(code) end
end

-- Ending --------------------------------------------------------------------------------------------------------------

local function stopTimer(self)
  if self._idle then self._idle:stop() end
  self._idle = false
end

local function emitClose(self, hadError)
  if self._closeEmitted then return end
  self._closeEmitted = true
  self:emit("close", hadError)
end

local function closeHandle(self, handle, hadError)
  local rs = self._rs
  local function closed()
    if self._rs ~= rs then return self:emit("close", hadError) end     -- it connects again meanwhile
    emitClose(self, hadError)
  end
  if handle:is_closing() then return nextTick(closed) end
  if self._resetOnClose and handle.close_reset and handle:close_reset(closed) then return end
  handle:close(closed)
end

-- Bytes received and written. A handle that counts for itself, another protocol's, has begun at what was before.
local function traffic(self)
  local handle = self._handle
  if not handle or not handle.traffic then return self._received, self._written end
  local received, written = handle:traffic()
  local before = self._before
  return received + (before and before.received or 0), written + (before and before.written or 0)
end

function Socket:_destroy(err, callback)
  self.connecting = false
  stopTimer(self)
  if self._attempt then self._attempt:cancel() end
  local held, heldFinal = self._heldWrite, self._heldFinal
  self._heldWrite, self._heldFinal = nil, nil
  local handle = self._handle
  if handle then
    if self._listeners and self._listeners.close then self:_rememberAddresses() end
    self._received, self._written = traffic(self)
    self._handle, self._kernelReads = nil, false
    closeHandle(self, handle, err ~= nil)
  else
    nextTick(nextTick, emitClose, self, err ~= nil)
  end
  if held then
    held[2](errors.coded("ERR_SOCKET_CLOSED_BEFORE_CONNECTION", "Socket closed before the connection was established"))
  end
  if heldFinal then heldFinal() end
  local server = self._server
  if server and handle then
    self._server = nil
    server:_connectionClosed()
  end
  callback(err)
end

--- Destroys the socket once everything was written.
function Socket:destroySoon()
  if self.writable then self:finish() end
  if self.writableFinished then
    self:destroy()
  else
    self:once("finish", function() self:destroy() end)
  end
end

--- Closes the connection with a TCP reset (RST).
---@return self
function Socket:resetAndDestroy()
  local handle = self._handle
  if not handle then
    self:destroy(closedError())
    return self
  end
  if not handle.close_reset then
    error(errors.coded("ERR_INVALID_HANDLE_TYPE", "This handle type cannot be sent"), 0)
  end
  if self.connecting then
    self:once("connect", function() self:resetAndDestroy() end)
  else
    self._resetOnClose = true
    self:destroy()
  end
  return self
end

-- Settings ------------------------------------------------------------------------------------------------------------

local function newIdle(self)
  return Idle.new(function() self:emit("timeout") end, function()
    local handle = self._handle
    return handle and not handle:is_closing() and handle:get_write_queue_size() or 0
  end)
end

--- Emits `timeout` after `ms` milliseconds without traffic; it is the listener who closes. 0 stops that.
---@param ms integer
---@param callback function? a listener for one `timeout`
---@return self
function Socket:setTimeout(ms, callback)
  validate.number(ms, "msecs", 0)
  if ms == math.huge then error(errors.outOfRange("msecs", "a finite number", ms), 0) end
  if callback ~= nil then validate.func(callback, "callback") end
  if self.destroyed then return self end
  self.timeout = ms
  local handle = self._handle
  if handle and handle.set_timeout then handle:set_timeout(ms) end      -- it keeps the time itself
  if ms == 0 then
    stopTimer(self)
    if callback then self:off("timeout", callback) end
    return self
  end
  if callback then self:once("timeout", callback) end
  if handle and handle.set_timeout then return self end
  self._idle = self._idle or newIdle(self)
  self._idle:start(math.min(math.max(1, math.floor(ms)), 2147483647))
  return self
end

-- A setting of the handle, kept for later: there is none yet.
local function later(self, name, apply)
  self._settings = self._settings or {}
  self._settings[name] = apply
  return self
end

local function sendAtOnce(handle, on)
  if not handle:is_closing() and handle.nodelay then handle:nodelay(on) end
end

--- Sends small writes at once (the default when called) instead of gathering them.
---@param on boolean? default true
---@return self
function Socket:setNoDelay(on)
  on = on == nil or not not on
  local handle = self._handle
  if not handle or self.connecting then return later(self, "noDelay", function(its) sendAtOnce(its, on) end) end
  sendAtOnce(handle, on)
  return self
end

-- Nothing is asked of the kernel that the handle has already: an agent says so each time that a connection is free.
local function probe(self, handle, seconds)
  if handle:is_closing() or not handle.keepalive then return end
  if self._probed == handle and self._probedAfter == seconds then return end
  self._probed, self._probedAfter = handle, seconds
  if seconds then handle:keepalive(true, seconds == 0 and 7200 or seconds) else handle:keepalive(false) end
end

--- Has the kernel probe an idle connection.
---@param on boolean? default false
---@param delay integer? milliseconds until the first probe
---@return self
function Socket:setKeepAlive(on, delay)
  if delay ~= nil then validate.number(delay, "initialDelay", 0) end
  local seconds = on and math.floor((delay or 0) / 1000) or false
  local handle = self._handle
  if not handle or self.connecting then return later(self, "keepAlive", function(its) probe(self, its, seconds) end) end
  probe(self, handle, seconds)
  return self
end

--- Keeps the loop alive while the socket is open (the default).
---@return self
function Socket:ref()
  self._refed = true
  if self._handle and not self._handle:is_closing() then self._handle:ref() end
  return self
end

--- Lets the loop end while the socket is open.
---@return self
function Socket:unref()
  self._refed = false
  if self._handle and not self._handle:is_closing() then self._handle:unref() end
  return self
end

-- Facts ---------------------------------------------------------------------------------------------------------------

local function peer(self)
  local found = self._peer
  if not found and not self.connecting then
    found = handles.address(self._handle, "getpeername")
    self._peer = found
  end
  return found
end

local function own(self)
  local found = self._own
  if not found then
    found = handles.address(self._handle, "getsockname")
    if not self.connecting then self._own = found end
  end
  return found
end

--- Internal: those who listen for `close` can still ask who it was. `below`: the handle that the connection is now.
---@param below userdata?
function Socket:_rememberAddresses(below)
  if below then self._peer, self._own = handles.address(below, "getpeername"), handles.address(below, "getsockname") end
  peer(self)
  own(self)
end

--- The local end: `{ address, family, port }`, or an empty table.
---@return { address: string?, family: string?, port: integer? }
function Socket:address()
  local found = own(self)
  return found and { address = found.address, family = found.family, port = found.port } or {}
end

--- Who is at the other end of a unix socket, as of its connecting or listening: `{ pid, uid, gid }`. Source: ours.
---@return { pid: integer, uid: integer, gid: integer }? credentials
---@return Error? err ENOTSUP: it is no unix socket
function Socket:peerCredentials()
  local credentials, code = handles.credentials(self._handle)
  if credentials then return credentials end
  return nil, errors.system(code, "getsockopt")
end

local function field(name, source, key)
  Socket:getter(name, function(self)
    local found = source(self)
    return found and found[key]
  end)
end
field("remoteAddress", peer, "address")
field("remotePort", peer, "port")
field("remoteFamily", peer, "family")
field("localAddress", own, "address")
field("localPort", own, "port")
field("localFamily", own, "family")

Socket:getter("bytesRead", function(self) return (traffic(self)) end)
Socket:getter("bytesWritten", function(self)
  local _, written = traffic(self)
  return written + self._ws.length
end)
Socket:getter("bufferSize", function(self) return self._ws.length end)
Socket:getter("pending", function(self) return not self._handle or self.connecting end)
Socket:getter("readyState", function(self)
  if self.connecting then return "opening" end
  if not self._handle then return "closed" end
  local readable, writable = self.readable, self.writable
  return readable and writable and "open" or readable and "readOnly" or writable and "writeOnly" or "closed"
end)

-- Making one ----------------------------------------------------------------------------------------------------------

local function handleOf(options)
  if options.handle ~= nil then
    local handle = handles.stream(options.handle)
    if handle then return handle end
    error(errors.argType("options.handle", "an instance of a luv stream handle", options.handle), 0)
  end
  if options.fd == nil then return nil end
  local fd = validate.integer(options.fd, "options.fd", 0)
  local opened, code = listen.wrap(fd)
  if not opened then error(errors.system(code, "open", { fd = fd }), 0) end
  return opened
end

--- Internal: the handle is there and connected.
function Socket:_onHandle()
  local handle = self._handle
  if self._refed == false then handle:unref() end
  local settings = self._settings
  if settings then
    self._settings = nil
    for _, apply in pairs(settings) do apply(handle) end
  end
end

-- What was written before the connection stood; after the `connect` listeners.
local function writeHeld(self)
  local held, heldFinal = self._heldWrite, self._heldFinal
  self._heldWrite, self._heldFinal = nil, nil
  if held then self:_write(held[1], held[2]) end
  if heldFinal and not self.destroyed then self:_final(heldFinal) end
end

--- Internal: `connect` is through. Emits nothing; the caller does.
function Socket:_onConnected()
  self.connecting, self._unused = false, false
  self:_onHandle()
  if self._idle then self._idle:touch() end
  if self._heldWrite or self._heldFinal then nextTick(writeHeld, self) end
  if self.destroyed then return end
  local rs, wanted = self._rs, self._wantsRead
  self._wantsRead = nil
  if rs.paused then
    if wanted then rs.reading = false end      -- resume asks again
  elseif wanted then
    startReading(self)
  elseif not rs.reading and rs.readable then
    self:read(0)
  end
end

local FLAGS = { "allowHalfOpen", "readable", "writable", "noDelay", "keepAlive" }

function Socket._blank()
  return {                      -- constants only: one copy
    destroyed = false, closed = false, _failed = false, _errorEmitted = false, _closeEmitted = false, _emitClose = false,
    _autoDestroy = true, _rs = false, _ws = false, readableEnded = false, writableEnded = false, writableFinished = false,
    allowHalfOpen = false, connecting = false, _received = 0, _written = 0, _kernelReads = false, _idle = false, _unused = false,
    _handle = false, _reader = false, _listeners = false, _heldWrite = false, _wantsRead = false,
  }
end

--- Makes a socket: unconnected, or around a luv handle or a descriptor, which it then owns. Source: Node 20.
---@param options SocketOptions? `readable`, `writable`: false closes that side
function Socket:initialize(options)
  self._handle, self._listeners, self._heldWrite, self._wantsRead = nil, nil, nil, nil
  if type(options) == "number" then options = { fd = options } end
  if options == nil then options = {} end
  validate.table(options, "options")
  validate.flags(options, FLAGS)
  validate.optional(validate.number, options.keepAliveInitialDelay, "options.keepAliveInitialDelay", 0)
  if options.objectMode then error(errors.argValue("options.objectMode", true, "is not supported"), 0) end
  local handle = handleOf(options)
  Duplex.initialize(self, {
    allowHalfOpen = options.allowHalfOpen == true, readable = options.readable, writable = options.writable,
    highWaterMark = options.highWaterMark, emitClose = false,
  })
  local rs = self._rs
  rs.continuous = true
  self.connecting = false
  self._received, self._written = 0, 0
  self._kernelReads, self._idle = false, false
  if options.noDelay then self:setNoDelay(true) end
  if options.keepAlive then self:setKeepAlive(true, options.keepAliveInitialDelay) end
  local signal = options.signal
  if signal ~= nil then
    aborting.follow(self, aborting.check(signal), function() self:destroy(aborting.failure(signal)) end)
  end
  self._unused = not handle          -- until it connects
  if not handle then return end
  self._handle = handle
  self:_onHandle()
  if options.pauseOnCreate then
    rs.flowing, rs.paused = false, true
  elseif rs.readable and not options.manualStart then
    self:read(0)
  end
end

--- Connects: `connect(port[, host][, listener])`, `connect(path[, listener])`, `connect(options[, listener])`.
--- Events: `lookup`, `connect`, `ready`; `error` and `close` when it fails.
---@overload fun(self: Socket, port: integer|string, host: string?, listener: function?): Socket
---@overload fun(self: Socket, options: ConnectOptions|string, listener: function?): Socket
---@return self
function Socket:connect(...) return require("lrun.net.connect").connect(self, ...) end

fileWrites(Socket)
ownership(Socket, { traffic = traffic, stopTimer = stopTimer, emitClose = emitClose })

calls.methods(Socket, "socket", { write = true })

return Socket
