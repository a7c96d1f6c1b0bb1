--- HTTP servers: their options and limits, which sockets they serve, how they close. What becomes of a connection's
--- requests is decided in lrun.http.requests.
local calls = require("lrun.check.calls")
local core = require("lrun.core.http")
local errors = require("errors")
local net = require("net")
local validate = require("lrun.check.validate")
local Group = require("lrun.http.group")
local message = require("lrun.http.incoming")
local requests = require("lrun.http.requests")
local responses = require("lrun.http.server_response")

--- Event request(req: IncomingMessage, res: ServerResponse)
--- Event checkContinue(req: IncomingMessage, res: ServerResponse)
--- Event checkExpectation(req: IncomingMessage, res: ServerResponse)
--- Event upgrade(req: IncomingMessage, socket: Socket, head: string)
--- Event connect(req: IncomingMessage, socket: Socket, head: string)
--- Event clientError(err: Error, socket: Socket)
--- Event dropRequest(req: IncomingMessage, socket: Socket)
--- Event timeout(socket: Socket)
---@class HttpServer: Server
---@field headersTimeout integer ms for a head to arrive, 60000; 0 for no limit
---@field requestTimeout integer ms for a whole request to arrive, 300000
---@field keepAliveTimeout integer ms that a connection may wait for its next request, 5000
---@field timeout integer ms without traffic, 0 for no limit
---@field maxHeadersCount integer 2000
---@field maxRequestsPerSocket integer 0 for any number
---@field maxHeaderSize integer bytes of a head, 16384
---@field group ConnectionGroup
---@field requestClass table of which its requests are
---@field responseClass table of which its responses are
local Server = net.Server:extend("Server")
Server.headersTimeout = 60000
Server.requestTimeout = 300000
Server.keepAliveTimeout = 5000
Server.timeout = 0
Server.maxHeadersCount = Group.maxHeadersCount
Server.maxRequestsPerSocket = 0
Server._compresses = false

local OPTIONS = { "headersTimeout", "requestTimeout", "keepAliveTimeout", "timeout", "maxHeadersCount", "maxRequestsPerSocket" }

-- A class of the program's that extends one of ours.
local function classOf(options, name, default)
  local class = options[name]
  if class == nil then return default end
  local at = class
  while at and at ~= default do at = type(at) == "table" and rawget(at, "super") end
  if not at then error(errors.argType("options." .. name, ("a class that extends http.%s"):format(name), class), 0) end
  return class
end

-- Limits are fields that the program may set at any time; C is told of those that changed.
local function tellLimits(self)
  local told = self._told
  if told.headers == self.headersTimeout and told.request == self.requestTimeout and told.idle == self.keepAliveTimeout and
    told.traffic == self.timeout and told.requests == self.maxRequestsPerSocket and told.fields == self.maxHeadersCount and
    told.closing == self._closing then return end
  told.headers, told.request, told.idle, told.traffic = self.headersTimeout, self.requestTimeout, self.keepAliveTimeout, self.timeout
  told.requests, told.fields, told.closing = self.maxRequestsPerSocket, self.maxHeadersCount, self._closing
  core.configure(self.group.core, self.headersTimeout, self.requestTimeout, self.keepAliveTimeout, self.timeout,
    self.maxRequestsPerSocket, self.maxHeadersCount, self._closing)
end

---@param options HttpServerOptions?
---@param listener fun(req: IncomingMessage, res: ServerResponse)?
function Server:initialize(options, listener)
  if type(options) == "function" then options, listener = nil, options end
  validate.optional(validate.table, options, "options")
  if listener ~= nil then validate.func(listener, "requestListener") end
  options = options or {}
  for _, name in ipairs(OPTIONS) do
    if options[name] ~= nil then self[name] = validate.integer(options[name], "options." .. name, 0) end
  end
  self.maxHeaderSize = Group.maxHeaderSize
  if options.maxHeaderSize ~= nil then
    self.maxHeaderSize = validate.integer(options.maxHeaderSize, "options.maxHeaderSize", 1, 2 ^ 30)
  end
  if self.requestTimeout > 0 and self.headersTimeout > self.requestTimeout and options.headersTimeout ~= nil then
    error(errors.outOfRange("options.headersTimeout", "<= options.requestTimeout", self.headersTimeout), 0)
  end
  self.requestClass = classOf(options, "IncomingMessage", message.IncomingMessage)
  self.responseClass = classOf(options, "ServerResponse", responses.ServerResponse)
  if validate.optional(validate.boolean, options.compress, "options.compress") then
    self.responseClass = require("lrun.http.compressed_response").class(self.responseClass)
    self._compresses = true
  end
  local log = options.accessLog
  if log then
    if log ~= true and type(log) ~= "function" then error(errors.argType("options.accessLog", "boolean or function", log), 0) end
    self.responseClass = require("lrun.http.access_log").class(self.responseClass, log)
  end
  local netOptions = {}
  for name, value in pairs(options) do netOptions[name] = value end
  netOptions.allowHalfOpen = true
  net.Server.initialize(self, netOptions)
  self._told = {}
  self.group = Group.new(self.maxHeaderSize, self.maxHeadersCount, function()
    tellLimits(self)
    if self._closing and not self._draining then core.closeIdle(self.group.core) end   -- those that became idle since
  end)
  if listener then self:on("request", listener) end
end

-- The shorter of two limits in ms, of which 0 is none.
local function shorter(a, b)
  if a <= 0 then return b end
  return b > 0 and b < a and b or a
end

-- For a connection that comes.
local function update(self)
  tellLimits(self)
  local limit = shorter(shorter(shorter(self.headersTimeout, self.requestTimeout), self.keepAliveTimeout), self.timeout)
  self.group:limit(limit > 0 and limit or math.huge)       -- C has limits of its own
end

-- What the options of `createServer` say about every connection.
local function prepare(self, connection)
  local options = self._options
  if options.noDelay == false then core.delay(connection.c) end
  if options.keepAlive then
    connection:keepalive(true, math.max(1, math.floor((options.keepAliveInitialDelay or 0) / 1000)))
  end
end

local emit = net.Server.emit

--- Internal: a stream handle whose requests are served, once `start` was called, or a descriptor. No socket is made.
---@param handle userdata|integer
---@return HttpConnection? connection nil when the handle is closed
function Server:_serveHandle(handle)
  update(self)
  local connection = requests.Connection:make(self, handle)
  if connection then prepare(self, connection) end
  return connection
end

--- Internal: the same for a socket.
---@param socket Socket
---@return HttpConnection? connection
---@return string received for `start`
function Server:_serveSocket(socket)
  update(self)
  local connection, received = requests.Connection:adopt(self, socket)
  if connection then prepare(self, connection) end
  return connection, received
end

--- Called by net for each accepted connection. The socket is made when there is a listener to see it.
---@param handle userdata
function Server:_onconnection(handle)
  if not self:_admit(handle) then return end
  local connection = self:_serveHandle(handle)
  if not connection then return self:_connectionClosed() end
  if self:listenerCount("connection") > 0 then emit(self, "connection", connection:getSocket()) end
  connection:start()
end

--- Internal: the same for the descriptor of an accepted socket, where nobody wants to see a handle before the first request.
---@param fd integer
---@return boolean taken
function Server:_onDescriptor(fd)
  if self._options.blockList or self:listenerCount("connection") > 0 or self:_isFull() then return false end
  self:_admit()
  self:_serveHandle(fd):start()
  return true
end

--- Listens, also again after `close`.
---@return self
function Server:listen(...)
  net.Server.listen(self, ...)
  self._closing, self._draining = false, false
  return self
end

--- Emits; a `connection` that is emitted by the program is served from here on, its socket may come from elsewhere.
---@param name any
---@return boolean heard
function Server:emit(name, ...)
  if name ~= "connection" then return emit(self, name, ...) end
  local socket = ...
  if type(socket) ~= "table" or not socket._release then error(errors.argType("socket", "an instance of Socket", socket), 0) end
  local connection, received = self:_serveSocket(socket)
  socket.server = self
  emit(self, name, socket)
  if connection then connection:start(received) end
  return true
end

--- Closes connections after `ms` without traffic, or emits `timeout` for them when that has a listener; 0 for never.
---@param ms integer?
---@param listener fun(socket: Socket)?
---@return self
function Server:setTimeout(ms, listener)
  self.timeout = validate.integer(ms or 0, "msecs", 0)
  if listener then self:on("timeout", validate.func(listener, "callback")) end
  return self
end

-- Closing -------------------------------------------------------------------------------------------------------------

--- Closes the connections that wait for a next request.
function Server:closeIdleConnections() core.closeIdle(self.group.core) end

--- Closes all connections, whatever they do.
function Server:closeAllConnections()
  if self._compresses then require("lrun.http.slices").completeAll(self.group) end
  core.closeAll(self.group.core)
end

local CLOSING_SWEEP = 100 -- ms

--- Takes no new connections and closes the idle ones; the others end with the last response on its way.
---@param callback fun(err: any?)?
---@return self
function Server:close(callback)
  self._closing = true
  net.Server.close(self, callback)
  self.group.configure()
  if self.group:count() > 0 then self.group:sweep(CLOSING_SWEEP) end
  return self
end

local DRAIN_IDLE = 1000     -- ms

--- Internal: the same for a server that another one replaces: a connection that waits for its next request may be about
--- to get it, and so is answered once more and then closed, or closed when nothing came for a while.
function Server:_drain(callback)
  self._closing, self._draining = true, true
  self.keepAliveTimeout = math.min(self.keepAliveTimeout > 0 and self.keepAliveTimeout or DRAIN_IDLE, DRAIN_IDLE)
  update(self)
  net.Server.close(self, callback)
end

calls.methods(Server, "server", { emit = true })

return { Server = Server }
