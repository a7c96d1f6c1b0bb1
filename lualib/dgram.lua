--- UDP sockets. Source: Node 20. Owns one luv handle, which `bind` gets (in a cluster worker from the primary) and
--- `close` closes; what is sent while the socket is being bound waits in `_queue`.
local process = require("process")
local events = require("events")
local errors = require("errors")
local aborting = require("lrun.check.aborting")
local calls = require("lrun.check.calls")
local dns = require("lrun.net.dns")
local handles = require("lrun.net.handles")
local ip = require("lrun.net.ip")
local listen = require("lrun.net.listen")
local validate = require("lrun.check.validate")

local nextTick = process.nextTick

---@class DgramOptions
---@field type "udp4"|"udp6"|"unix_dgram"
---@field reuseAddr boolean?
---@field reusePort boolean?
---@field ipv6Only boolean?
---@field recvBufferSize integer? bytes
---@field sendBufferSize integer? bytes
---@field lookup fun(host: string, family: integer, callback: fun(err: any, address: string?))? in place of the system's
---@field signal AbortSignal? closes the socket

---@class RemoteInfo
---@field address string of a unix socket the path, "" when it has none
---@field family string "IPv4", "IPv6", "unix"
---@field port integer? not of a unix socket
---@field size integer bytes of the datagram
---@field pid integer? of a unix socket's sender, as the next two
---@field uid integer?
---@field gid integer?

--- Event listening()
--- Event message(data: string, rinfo: RemoteInfo)
--- Event connect()
--- Event close()
--- Event error(err: Error)
---@class DgramSocket: EventEmitter
---@field type string "udp4", "udp6" or "unix_dgram"
---@field addMembership fun(self: DgramSocket, group: string, interface: string?)
---@field dropMembership fun(self: DgramSocket, group: string, interface: string?)
---@field addSourceSpecificMembership fun(self: DgramSocket, source: string, group: string, interface: string?)
---@field dropSourceSpecificMembership fun(self: DgramSocket, source: string, group: string, interface: string?)
---@field getRecvBufferSize fun(self: DgramSocket): integer bytes, as the next three
---@field setRecvBufferSize fun(self: DgramSocket, size: integer)
---@field getSendBufferSize fun(self: DgramSocket): integer
---@field setSendBufferSize fun(self: DgramSocket, size: integer)
local Socket = events.EventEmitter:extend("DgramSocket")

local UNBOUND, BINDING, BOUND = 0, 1, 2
local ANY = { udp4 = "0.0.0.0", udp6 = "::" }
local LOOPBACK = { udp4 = "127.0.0.1", udp6 = "::1" }
local FAMILY = { udp4 = 4, udp6 = 6 }

Socket.types = FAMILY               -- those that the class takes

--- Makes a socket that is not bound yet.
---@param options "udp4"|"udp6"|DgramOptions
---@param onMessage fun(data: string, rinfo: RemoteInfo)?
function Socket:initialize(options, onMessage)
  if type(options) == "string" then options = { type = options } end
  if type(options) ~= "table" then error(errors.argType("options", "table or string", options), 0) end
  if not self.types[options.type] then
    error(errors.coded("ERR_SOCKET_BAD_TYPE", "Bad socket type specified. Valid types are: udp4, udp6, unix_dgram"), 0)
  end
  validate.flags(options, { "reuseAddr", "reusePort", "ipv6Only" })
  validate.optional(validate.integer, options.recvBufferSize, "options.recvBufferSize", 1, 2147483647)
  validate.optional(validate.integer, options.sendBufferSize, "options.sendBufferSize", 1, 2147483647)
  validate.optional(validate.func, options.lookup, "options.lookup")
  self.type = options.type
  self._options = options
  self._state = UNBOUND
  if onMessage ~= nil then self:on("message", validate.func(onMessage, "listener")) end
  if options.signal ~= nil then
    aborting.follow(self, aborting.check(options.signal), function() if not self._closed then self:close() end end)
  end
end

local function checkRunning(self)
  if self._closed then error(errors.coded("ERR_SOCKET_DGRAM_NOT_RUNNING", "Not running"), 0) end
end

-- Addresses ------------------------------------------------------------------------------------------------------------

-- Calls back at once with what is an address already.
local function resolve(self, host, callback)
  if host == self._lastAddress then return callback(nil, host) end
  if ip.parse(host) ~= 0 then
    self._lastAddress = host
    return callback(nil, host)
  end
  local function found(err, address)
    if err ~= nil then return callback(err) end
    callback(nil, type(address) == "table" and address[1].address or address)
  end
  local family = FAMILY[self.type]
  if self._options.lookup then return self._options.lookup(host, family, found) end
  dns.lookupAll(host, { family = family }, found)
end

local function nameOf(found)
  return { address = found.ip, family = ip.familyName(found.family), port = found.port }
end

-- Binding --------------------------------------------------------------------------------------------------------------

local function onDatagram(self)
  return function(err, data, from)
    if self._closed then return end
    if err then return self:emit("error", errors.system(err, "recvmsg")) end
    if not from then return end      -- nothing more for now
    data = data or ""
    self:emit("message", data, { address = from.ip, family = ip.familyName(from.family), port = from.port, size = #data })
  end
end

local function runQueue(self)
  local queue = self._queue
  self._queue = nil
  for _, waiting in ipairs(queue or {}) do waiting() end
end

local function fail(self, err)
  self._state = UNBOUND
  local queue = self._queue
  self._queue = nil
  nextTick(function() self:emit("error", err) end)
  for _, waiting in ipairs(queue or {}) do
    if waiting == self._queuedClose then nextTick(waiting) end
  end
end

local function emitListening(self)
  if self._closed then return end
  nextTick(runQueue, self)
  self:emit("listening")
end

local function applySizes(self, handle)
  local options = self._options
  if options.recvBufferSize then handle:recv_buffer_size(options.recvBufferSize) end
  if options.sendBufferSize then handle:send_buffer_size(options.sendBufferSize) end
end

local function closeHandle(handle, hooks)
  if hooks and hooks.close then hooks.close() end
  if not handle:is_closing() then listen.close(handle) end
end

local function onHandle(self, request, err, handle, hooks)
  if self._closed then
    if handle then closeHandle(handle, hooks) end
    return
  end
  if err then return fail(self, err) end
  local ok, _, code = handle:recv_start(onDatagram(self))
  if not ok then
    closeHandle(handle, hooks)
    return fail(self, listen.failure(code, request, "bind"))
  end
  self._handle, self._hooks, self._state = handle, hooks, BOUND
  applySizes(self, handle)
  if self._unref then handle:unref() end
  nextTick(emitListening, self)
end

local function requestFor(self, options)
  local own = self._options
  return {
    address = ANY[self.type], port = 0, addressType = self.type, reuseAddr = own.reuseAddr, reusePort = own.reusePort,
    ipv6Only = own.ipv6Only, exclusive = options.exclusive or own.reusePort or false,
  }
end

local function start(self, request)
  self._state, self._queue = BINDING, self._queue or {}
  listen.open(self, request, function(err, handle, hooks) onHandle(self, request, err, handle, hooks) end)
end

local function bindOptions(...)
  local first, second = ...
  if first == nil or type(first) == "function" then return {} end
  if type(first) == "userdata" then return { handle = first } end
  if type(first) == "table" then
    if first._handle ~= nil then return { handle = first._handle } end
    return first
  end
  if type(first) ~= "number" and type(first) ~= "string" then error(errors.argType("port", "number or table", first), 0) end
  local options = { port = first }
  if type(second) == "string" then options.address = second
  elseif second ~= nil and type(second) ~= "function" then error(errors.argType("address", "string", second), 0) end
  return options
end

local function lastFunction(...)
  for i = select("#", ...), 1, -1 do
    local value = select(i, ...)
    if type(value) == "function" then return value end
  end
end

--- Binds: `bind([port][, address][, listener])`, `bind(options[, listener])` with `port`, `address`, `fd`, `exclusive`;
--- `bind(handle)`. Events: `listening`, `error`.
---@return self
function Socket:bind(...)
  checkRunning(self)
  if self._state ~= UNBOUND then error(errors.coded("ERR_SOCKET_ALREADY_BOUND", "Socket is already bound"), 0) end
  local options, listener = bindOptions(...), lastFunction(...)
  validate.optional(validate.port, options.port, "options.port")
  validate.optional(validate.string, options.address, "options.address")
  validate.optional(validate.boolean, options.exclusive, "options.exclusive")
  validate.optional(validate.integer, options.fd, "options.fd", 0, 2147483647)
  require("lrun.host.places").note(self)
  if listener then self:once("listening", listener) end
  local request = requestFor(self, options)
  if options.handle then
    if not handles.isDatagram(options.handle) then
      error(errors.argType("handle", "an instance of a luv UDP handle", options.handle), 0)
    end
    self._state = BINDING
    onHandle(self, request, nil, options.handle, listen.watched(self, request))
    return self
  end
  request.fd, request.port = options.fd, options.port and tonumber(options.port) or 0
  if request.fd then request.address, request.port = nil, nil end
  if not options.address or options.address == "" or request.fd then
    start(self, request)
    return self
  end
  self._state, self._queue = BINDING, {}
  resolve(self, options.address, function(err, address)
    if self._closed then return end
    if err then return fail(self, err) end
    request.address = address
    start(self, request)
  end)
  return self
end

local function bindAnywhere(self)
  if self._state == UNBOUND then self:bind({ port = 0, exclusive = true }) end
end

-- Runs `work` now, or once the socket is bound.
local function whenBound(self, work)
  bindAnywhere(self)
  if self._queue then
    self._queue[#self._queue + 1] = work
  else
    work()
  end
end

-- Sending --------------------------------------------------------------------------------------------------------------

local function joined(message)
  if type(message) == "string" then return message end
  if type(message) ~= "table" then error(errors.argType("msg", "string or table", message), 0) end
  for i, part in ipairs(message) do
    if type(part) ~= "string" then error(errors.argType("msg[" .. i .. "]", "string", part), 0) end
  end
  return table.concat(message)
end

local function sent(callback, size, address, port, code)
  if code then return callback(errors.system(code, "send", { address = address, port = port })) end
  callback(nil, size)
end

local function transmit(self, data, address, port, callback)
  local handle = self._handle
  if self._closed or not handle then return end
  local size = #data
  local called, count, _, code = pcall(handle.try_send, handle, data, address, port)
  if not called then code = "EINVAL" end
  if called and not count and code == "EAGAIN" then
    local function done(err) if callback then sent(callback, size, address, port, err) end end
    local ok
    ok, _, code = handle:send(data, address, port, done)
    if ok then return end
    count = nil
  end
  if callback then nextTick(sent, callback, size, address, port, not (called and count) and code or nil) end
end

local function sendResolved(self, data, port, host, callback)
  if not port then return transmit(self, data, nil, nil, callback) end
  resolve(self, host or LOOPBACK[self.type], function(err, address)
    if self._closed then return end
    if not err then return transmit(self, data, address, port, callback) end
    if callback then return nextTick(callback, err) end
    nextTick(function() self:emit("error", err) end)
  end)
end

-- `(offset, length, port, address, callback)` after the message, or the same without the first two.
local function sendArguments(self, message, ...)
  local first, second, third, fourth, fifth = ...
  local sliced = type(first) == "number" and type(second) == "number"
    and (self._connected == true or third ~= nil and type(third) ~= "function")
  if not sliced then return message, first, second, third end
  local offset, length = validate.integer(first, "offset", 0), validate.integer(second, "length", 0)
  validate.string(message, "msg")
  if offset > #message or offset + length > #message then
    error(errors.coded("ERR_BUFFER_OUT_OF_BOUNDS", '"length" is outside of buffer bounds'), 0)
  end
  if self._connected == true then return message:sub(offset + 1, offset + length), third end
  return message:sub(offset + 1, offset + length), third, fourth, fifth
end

--- Sends one datagram: `send(msg[, offset, length][, port][, address][, callback])`; no port and address on a connected
--- socket. `msg` is a string or a list of them, `offset` counts from 0. Binds the socket first if need be.
---@param message string|string[]
function Socket:send(message, ...)
  checkRunning(self)
  local data, port, address, callback = sendArguments(self, message, ...)
  data = joined(data)
  if self._connected == true then
    callback = type(port) == "function" and port or type(address) == "function" and address or callback
    if port ~= nil and type(port) ~= "function" then
      error(errors.coded("ERR_SOCKET_DGRAM_IS_CONNECTED", "Already connected"), 0)
    end
    port, address = nil, nil
  else
    if type(address) == "function" then address, callback = nil, address end
    port = validate.port(port, "Port", 1)
    validate.optional(validate.string, address, "address")
  end
  validate.optional(validate.func, callback, "callback")
  whenBound(self, function() sendResolved(self, data, port, address, callback) end)
end

--- Fixes the peer: `send` then needs none, and only its datagrams arrive. Event `connect`.
---@param port integer
---@param address string?
---@param callback fun(err: Error?)?
function Socket:connect(port, address, callback)
  checkRunning(self)
  if type(address) == "function" then address, callback = nil, address end
  port = validate.port(port, "Port", 1)
  validate.optional(validate.string, address, "address")
  validate.optional(validate.func, callback, "callback")
  if self._connected then error(errors.coded("ERR_SOCKET_DGRAM_IS_CONNECTED", "Already connected"), 0) end
  require("lrun.host.places").note(self)
  self._connected = "pending"
  local function failed(err)
    self._connected = nil
    nextTick(callback or function() self:emit("error", err) end, err)
  end
  whenBound(self, function()
    resolve(self, address or LOOPBACK[self.type], function(err, host)
      if self._closed then return end
      if err then return failed(err) end
      local called, ok, _, code = pcall(self._handle.connect, self._handle, host, port)
      if not called or not ok then
        return failed(errors.system(called and code or "EINVAL", "connect", { address = host, port = port }))
      end
      self._connected = true
      if callback then self:once("connect", callback) end
      nextTick(function() self:emit("connect") end)
    end)
  end)
end

--- Undoes `connect`.
function Socket:disconnect()
  checkRunning(self)
  if self._connected ~= true then error(errors.coded("ERR_SOCKET_DGRAM_NOT_CONNECTED", "Not connected"), 0) end
  local ok, _, code = self._handle:connect(nil, nil)
  if not ok then error(errors.system(code, "connect"), 0) end
  self._connected = nil
end

--- The peer that `connect` fixed: `{ address, family, port }`.
---@return { address: string, family: string, port: integer }
function Socket:remoteAddress()
  checkRunning(self)
  if self._connected ~= true then error(errors.coded("ERR_SOCKET_DGRAM_NOT_CONNECTED", "Not connected"), 0) end
  local found, _, code = self._handle:getpeername()
  if not found then error(errors.system(code, "getpeername"), 0) end
  return nameOf(found)
end

-- Ending ---------------------------------------------------------------------------------------------------------------

--- Closes the socket; what was sent while it was being bound still goes out. Event `close`.
---@param callback function? a listener for `close`
---@return self
function Socket:close(callback)
  validate.optional(validate.func, callback, "callback")
  checkRunning(self)
  if callback then self:once("close", callback) end
  local function close()
    if self._closed then return end
    self._closed = true
    local handle = self._handle
    self._handle = nil
    if handle then closeHandle(handle, self._hooks) end
    nextTick(function() self:emit("close") end)
  end
  if self._queue and #self._queue > 0 then
    self._queuedClose = close
    self._queue[#self._queue + 1] = close
  else
    close()
  end
  return self
end

-- Settings -------------------------------------------------------------------------------------------------------------

--- The address bound: `{ address, family, port }`. Throws EBADF when there is none.
---@return { address: string, family: string, port: integer }
function Socket:address()
  checkRunning(self)
  if not self._handle then error(errors.system("EBADF", "getsockname"), 0) end
  local found, _, code = self._handle:getsockname()
  if not found then error(errors.system(code, "getsockname"), 0) end
  return nameOf(found)
end

-- Calls a setter of the handle; its failure is thrown under Node's name for it.
local function set(self, name, method, ...)
  checkRunning(self)
  local handle = self._handle
  if not handle then error(errors.system("EBADF", name), 0) end
  if not handle[method] then error(errors.system("ENOTSUP", name), 0) end
  local called, ok, _, code = pcall(handle[method], handle, ...)
  if not called then error(errors.system("EINVAL", name), 0) end
  if not ok then error(errors.system(code, name), 0) end
end

--- Whether datagrams may go to a network's broadcast address.
---@param on boolean
function Socket:setBroadcast(on) set(self, "setBroadcast", "set_broadcast", not not on) end

--- How many routers a datagram may pass.
---@param ttl integer 1 to 255
---@return integer ttl
function Socket:setTTL(ttl)
  set(self, "setTTL", "set_ttl", validate.integer(ttl, "ttl", 1, 255))
  return ttl
end

--- The same for multicast datagrams.
---@param ttl integer 0 to 255
---@return integer ttl
function Socket:setMulticastTTL(ttl)
  set(self, "setMulticastTTL", "set_multicast_ttl", validate.integer(ttl, "ttl", 0, 255))
  return ttl
end

--- Whether this machine's own multicast datagrams come back.
---@param on boolean
---@return boolean on
function Socket:setMulticastLoopback(on)
  set(self, "setMulticastLoopback", "set_multicast_loop", not not on)
  return on
end

--- Which interface multicast datagrams leave by.
---@param interface string its address
function Socket:setMulticastInterface(interface)
  set(self, "setMulticastInterface", "set_multicast_interface", validate.string(interface, "multicastInterface"))
end

local function membership(name, action)
  --- `(multicastAddress[, multicastInterface])`
  Socket[name] = function(self, address, interface)
    if address == nil then error(errors.missing("multicastAddress"), 0) end
    validate.string(address, "multicastAddress")
    validate.optional(validate.string, interface, "multicastInterface")
    checkRunning(self)
    bindAnywhere(self)
    set(self, name, "set_membership", address, interface or nil, action)
  end
end
membership("addMembership", "join")
membership("dropMembership", "leave")

local function sourceMembership(name, action)
  --- `(sourceAddress, groupAddress[, multicastInterface])`
  Socket[name] = function(self, source, group, interface)
    validate.string(source, "sourceAddress")
    validate.string(group, "groupAddress")
    validate.optional(validate.string, interface, "multicastInterface")
    checkRunning(self)
    bindAnywhere(self)
    set(self, name, "set_source_membership", group, interface or nil, source, action)
  end
end
sourceMembership("addSourceSpecificMembership", "join")
sourceMembership("dropSourceSpecificMembership", "leave")

local function bufferSize(getter, setter, method)
  Socket[getter] = function(self)
    checkRunning(self)
    local size, _, code = nil, nil, "EBADF"
    if self._handle then size, _, code = self._handle[method](self._handle) end
    if not size then error(errors.system(code, getter), 0) end
    return size
  end
  Socket[setter] = function(self, size)
    set(self, setter, method, validate.integer(size, "size", 1, 2147483647))
  end
end
bufferSize("getRecvBufferSize", "setRecvBufferSize", "recv_buffer_size")
bufferSize("getSendBufferSize", "setSendBufferSize", "send_buffer_size")

--- Bytes that wait to be sent.
---@return integer
function Socket:getSendQueueSize() return self._handle and self._handle:get_send_queue_size() or 0 end

--- Datagrams that wait to be sent.
---@return integer
function Socket:getSendQueueCount() return self._handle and self._handle:get_send_queue_count() or 0 end

--- Keeps the loop alive while the socket is bound (the default).
---@return self
function Socket:ref()
  self._unref = false
  if self._handle then self._handle:ref() end
  return self
end

---@return self
function Socket:unref()
  self._unref = true
  if self._handle then self._handle:unref() end
  return self
end

calls.methods(Socket, "socket")

---@class dgram
---@field Socket DgramSocket the class
local dgram = { Socket = Socket }

--- Makes a socket: `createSocket("udp4"[, onMessage])`, `createSocket(options[, onMessage])`. One of the type "unix_dgram"
--- goes by paths: `bind(path)`, `send(msg, path)`, `connect(path)`. Source: Node 20, but for that type.
---@param options "udp4"|"udp6"|"unix_dgram"|DgramOptions
---@param onMessage fun(data: string, rinfo: RemoteInfo)?
---@return DgramSocket
function dgram.createSocket(options, onMessage)
  local kind = type(options) == "table" and options.type or options
  if kind == "unix_dgram" then return require("lrun.net.unix_dgram"):new(options, onMessage) end
  return Socket:new(options, onMessage)
end

calls.functions(dgram, "dgram")

return dgram
