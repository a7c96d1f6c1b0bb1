--- net.Server: owns one listening handle and counts the connections that came from it. The sockets own themselves; each
--- tells the server once, by `_connectionClosed`, that its connection is over, and the last one lets a closed server
--- emit `close`. http.Server overrides `_onconnection` and `_onDescriptor`.
---
--- `_handle` is a listening handle by its methods (lrun.net.handles): luv's, or in a cluster worker what stands for the
--- primary's. Who keeps account of a server's connections, as a cluster does, is told by its `_hooks` (lrun.net.listen).
local uv = require("luv")
local process = require("process")
local events = require("events")
local errors = require("errors")
local places = require("lrun.host.places")
local aborting = require("lrun.check.aborting")
local calls = require("lrun.check.calls")
local dns = require("lrun.net.dns")
local handles = require("lrun.net.handles")
local ip = require("lrun.net.ip")
local listen = require("lrun.net.listen")
local validate = require("lrun.check.validate")
local Socket = require("lrun.net.socket")

local nextTick = process.nextTick

--- Event listening()
--- Event connection(socket: Socket)
--- Event drop(data: table): a client past `maxConnections`
--- Event close(): the last connection has ended
--- Event error(err: Error)
---@class Server: EventEmitter
---@field listening boolean
---@field maxConnections integer? more than these are closed at once, with a `drop` event
local Server = events.EventEmitter:extend("Server")

local function checkOptions(options)
  validate.table(options, "options")
  validate.optional(validate.number, options.keepAliveInitialDelay, "options.keepAliveInitialDelay", 0)
  validate.optional(validate.integer, options.highWaterMark, "options.highWaterMark", 0)
  validate.flags(options, { "allowHalfOpen", "pauseOnConnect", "noDelay", "keepAlive" })
  local list = options.blockList
  if list ~= nil and (type(list) ~= "table" or type(list.check) ~= "function") then
    error(errors.argType("options.blockList", "an instance of BlockList", list), 0)
  end
end

--- Makes a server that does not listen yet. Source: Node 20.
---@param options ServerOptions?
---@param onConnection fun(socket: Socket)? listener for `connection`
function Server:initialize(options, onConnection)
  if type(options) == "function" then options, onConnection = nil, options end
  options = options or {}
  checkOptions(options)
  if onConnection ~= nil then self:on("connection", validate.func(onConnection, "connectionListener")) end
  self._options = options
  self._connections = 0
  self._listenId = 0
  self.allowHalfOpen = options.allowHalfOpen or false
  self.pauseOnConnect = options.pauseOnConnect or false
end

-- Connections ---------------------------------------------------------------------------------------------------------

local function tell(self, what)
  local hooks = self._hooks
  local f = hooks and hooks[what]
  if f then f() end
end

local function turnAway(self, handle)
  handle:close()
  tell(self, "refused")
end

local function drop(self, handle)
  local peer, own = handles.address(handle, "getpeername") or {}, handles.address(handle, "getsockname") or {}
  turnAway(self, handle)
  self:emit("drop", {
    localAddress = own.address, localPort = own.port, localFamily = own.family,
    remoteAddress = peer.address, remotePort = peer.port, remoteFamily = peer.family,
  })
end

local function isBlocked(list, handle)
  local peer = handles.address(handle, "getpeername")
  return peer ~= nil and list:check(peer.address, peer.family:lower())
end

--- Internal: whether it has as many connections as `maxConnections` allows.
---@return boolean
function Server:_isFull()
  local limit = self.maxConnections
  return limit ~= nil and limit > 0 and self._connections >= limit
end

--- Internal: whether an accepted connection may stay; counts it, or closes it. For `_onconnection`.
---@param handle userdata? none where it is known that the connection may stay
---@return boolean
function Server:_admit(handle)
  if self:_isFull() then
    drop(self, handle)
    return false
  end
  local blockList = self._options.blockList
  if blockList and isBlocked(blockList, handle) then
    turnAway(self, handle)
    return false
  end
  self._connections = self._connections + 1
  tell(self, "opened")
  return true
end

--- Internal: takes the descriptor of an accepted socket. False where the class, or this server, wants a handle.
---@param fd integer
---@return boolean taken
function Server._onDescriptor(_, _) return false end

--- Internal: takes an accepted stream handle.
---@param handle userdata
function Server:_onconnection(handle)
  if not self:_admit(handle) then return end
  local options = self._options
  local socket = Socket:new{
    handle = handle, allowHalfOpen = self.allowHalfOpen, pauseOnCreate = self.pauseOnConnect, noDelay = options.noDelay,
    keepAlive = options.keepAlive, keepAliveInitialDelay = options.keepAliveInitialDelay, highWaterMark = options.highWaterMark,
  }
  socket.server = self
  socket:_countedBy(self)
  self:emit("connection", socket)
end

local function emitClose(self)
  self._closeQueued = false
  self:emit("close")
end

-- Connections that were sent to other processes count until these say that they have closed.
local closeIfDrained
function closeIfDrained(self)
  if self._handle or self._connections > 0 or self._closeQueued or self._asking then return end
  local lists = self._sentLists
  if not lists then
    self._closeQueued = true
    nextTick(emitClose, self)
    return
  end
  self._sentLists, self._asking = nil, lists
  local left = #lists
  local function answered()
    left = left - 1
    if left > 0 then return end
    self._asking = nil
    closeIfDrained(self)
  end
  for i = 1, #lists do lists[i]:close(answered) end
end

--- Internal: connections of this server go to another process; `list` asks about them (see lrun.ipc.sockets).
function Server:_sentTo(list)
  local lists = self._sentLists or {}
  for i = 1, #lists do if lists[i] == list then return end end
  lists[#lists + 1] = list
  self._sentLists = lists
end

--- Internal: the process that `list` asks is out of reach, and its connections with it.
function Server:_sentEnded(list)
  local lists = self._sentLists or {}
  for i = 1, #lists do
    if lists[i] == list then
      table.remove(lists, i)
      break
    end
  end
  if #lists == 0 then self._sentLists = nil end
end

--- Internal: a connection of this server has ended, here or where it was sent. Once for each.
function Server:_connectionClosed()
  self._connections = self._connections - 1
  tell(self, "closed")
  if not self._handle then closeIfDrained(self) end
end

-- Listening -----------------------------------------------------------------------------------------------------------

local function newPipe() return uv.new_pipe(false) end

local function startListening(self, handle, request)
  local make = handle:get_type() == "tcp" and uv.new_tcp or newPipe
  return handle:listen(request.backlog, function(err)
    -- Out of descriptors and the like: libuv has turned the client away; the next one may find some free.
    if err or self._handle ~= handle then return end
    local client = make()
    if not handle:accept(client) then return client:close() end
    self:_onconnection(client)
  end)
end

local function closeHandle(handle, hooks)
  if hooks and hooks.close then hooks.close() end
  if not handle:is_closing() then listen.close(handle) end
end

local function emitLater(self, name, value)
  nextTick(function() self:emit(name, value) end)
end

-- Node says `listening` a tick later; a server that was closed meanwhile says nothing.
local function emitListening(self, id)
  if self._handle and self._listenId == id then self:emit("listening") end
end

local function onHandle(self, id, request, err, handle, hooks)
  if id ~= self._listenId then
    if handle then closeHandle(handle, hooks) end
    return
  end
  self._opening = false
  if err then return emitLater(self, "error", err) end
  local ok, _, code = startListening(self, handle, request)
  if not ok then
    closeHandle(handle, hooks)
    return emitLater(self, "error", listen.failure(code, request))
  end
  self._handle, self._hooks = handle, hooks
  self._path = request.addressType == -1 and request.address or nil     -- as it was asked for, wherever it was bound
  self._closeQueued = false
  if self._unref then handle:unref() end
  nextTick(emitListening, self, id)
end

local function open(self, request)
  local id = self._listenId
  self._opening = true
  listen.open(self, request, function(err, handle, hooks) onHandle(self, id, request, err, handle, hooks) end)
end

local function openHost(self, request, host)
  local family = ip.parse(host)
  if family ~= 0 then
    request.address, request.addressType = host, family
    return open(self, request)
  end
  self._opening = true
  local id = self._listenId
  dns.lookupAll(host, nil, function(err, addresses)
    if id ~= self._listenId then return end
    if err then
      self._opening = false
      return emitLater(self, "error", err)
    end
    request.address, request.addressType = addresses[1].address, addresses[1].family
    open(self, request)
  end)
end

-- What `listen` was given, as one table of options.
local function listenOptions(...)
  local first, second, third = ...
  local kind = type(first)
  if kind == "userdata" then return { handle = first } end
  if kind == "table" then
    if handles.canListen(first) or first._handle ~= nil then return { handle = first } end
    return first
  end
  if kind == "nil" or kind == "function" then return { port = 0 } end
  if kind == "string" and not tonumber(first) then
    return { path = first, backlog = type(second) == "number" and second or nil }
  end
  if kind ~= "number" and kind ~= "string" then error(errors.argType("options", "table, number or string", first), 0) end
  local options = { port = first }
  if type(second) == "string" then options.host = second
  elseif type(second) == "number" then options.backlog = second
  elseif second ~= nil and type(second) ~= "function" then error(errors.argType("host", "string", second), 0) end
  if type(third) == "number" then options.backlog = third end
  return options
end

local function listenerOf(...)
  local count = select("#", ...)
  for i = math.max(1, count - 1), count do
    local last = select(i, ...)
    if type(last) == "function" then return last end
  end
  return nil
end

local function requestFor(options)
  validate.optional(validate.integer, options.backlog, "options.backlog", 0, 2147483647)
  validate.flags(options, { "exclusive", "reusePort", "ipv6Only", "readableAll", "writableAll" })
  local backlog = options.backlog
  if backlog == nil or backlog == 0 then backlog = listen.BACKLOG end
  return {
    backlog = backlog, exclusive = options.exclusive or options.reusePort, reusePort = options.reusePort,
    ipv6Only = options.ipv6Only, readableAll = options.readableAll, writableAll = options.writableAll,
  }
end

local function listenHandle(self, request, given)
  local handle = given
  if type(given) == "table" and not handles.canListen(given) then handle = given._handle end
  if not handles.canListen(handle) then
    error(errors.argType("handle", "an instance of a luv stream handle", given), 0)
  end
  self._opening = true
  onHandle(self, self._listenId, request, nil, handle, listen.watched(self, request))
end

local function listenWith(self, options)
  local request = requestFor(options)
  if options.handle ~= nil then return listenHandle(self, request, options.handle) end
  if options.fd ~= nil then
    request.fd = validate.integer(options.fd, "options.fd", 0, 2147483647)
    return open(self, request)
  end
  if options.path ~= nil then
    request.address, request.addressType, request.port = validate.socketPath(options.path, "options.path"), -1, -1
    return open(self, request)
  end
  if options.port == nil then
    error(errors.argValue("options", options, 'must have the property "port" or "path"'), 0)
  end
  request.port = validate.port(options.port, "options.port")
  local host = validate.optional(validate.string, options.host, "options.host")
  if host and host ~= "" then return openHost(self, request, host) end
  request.addressType = 4
  open(self, request)
end

--- Listens: `listen(port[, host][, backlog][, listener])`, `listen(path[, backlog][, listener])`,
--- `listen(options[, listener])` with `port`, `host`, `path`, `fd`, `backlog` (511), `exclusive`, `ipv6Only`,
--- `reusePort`, `readableAll`, `writableAll`, `signal`; `listen(handle[, listener])`. Without a host, on all addresses of
--- both families. `fd` may be a descriptor that already listens, such as systemd's (3 and up).
--- Events: `listening`; `error` (EADDRINUSE, EACCES, …).
---@overload fun(self: Server, port: integer|string, host: string?, backlog: integer?, listener: function?): Server
---@overload fun(self: Server, options: ListenOptions|userdata, listener: function?): Server
---@return self
function Server:listen(...)
  if self._handle or self._opening then
    error(errors.coded("ERR_SERVER_ALREADY_LISTEN", "Listen method has been called more than once without closing."), 0)
  end
  local options = listenOptions(...)
  local listener = listenerOf(...)
  local signal = validate.optional(aborting.check, options.signal)
  places.note(self)
  self._listenId = self._listenId + 1
  if signal then aborting.follow(self, signal, function() self:close() end) end    -- first: one that is aborted leaves no `listening`
  listenWith(self, options)
  if listener then self:once("listening", listener) end
  return self
end

--- Stops listening; `close` comes when the last connection has ended. The callback gets ERR_SERVER_NOT_RUNNING when the
--- server did not listen.
---@param callback fun(err: Error?)?
---@return self
function Server:close(callback)
  validate.optional(validate.func, callback, "callback")
  local handle = self._handle
  if callback then
    self:once("close", handle and callback or function()
      callback(errors.coded("ERR_SERVER_NOT_RUNNING", "Server is not running."))
    end)
  end
  self._listenId = self._listenId + 1
  self._opening = false
  if handle then
    self._handle = nil
    closeHandle(handle, self._hooks)
  end
  closeIfDrained(self)
  return self
end

--- Internal: closes a server that another process goes on for: http.Server answers what is on its way, too.
---@param callback fun()
function Server:_drain(callback) self:close(callback) end

-- Facts ---------------------------------------------------------------------------------------------------------------

--- The address bound: `{ address, family, port }`, a path, or nil.
---@return table|string|nil
function Server:address()
  local handle = self._handle
  if not handle then return nil end
  if self._path then return self._path end
  local name = handle:getsockname()
  if type(name) ~= "table" then return name end
  return { address = name.ip or name.address, family = ip.familyName(name.family), port = name.port }
end

--- How many connections are open, here and in the processes that they were sent to.
---@param callback fun(err: Error?, count: integer)
---@return self
function Server:getConnections(callback)
  validate.func(callback, "callback")
  local lists = self._sentLists or self._asking
  if not lists then
    nextTick(callback, nil, self._connections)
    return self
  end
  local total, left = self._connections, #lists
  for i = 1, #lists do
    lists[i]:getConnections(function(count)
      total, left = total + count, left - 1
      if left == 0 then callback(nil, total) end
    end)
  end
  return self
end

--- Keeps the loop alive while the server listens (the default).
---@return self
function Server:ref()
  self._unref = false
  if self._handle then self._handle:ref() end
  return self
end

--- Lets the loop end while the server listens.
---@return self
function Server:unref()
  self._unref = true
  if self._handle then self._handle:unref() end
  return self
end

Server:getter("listening", function(self) return self._handle ~= nil end)

calls.methods(Server, "server")

return Server
