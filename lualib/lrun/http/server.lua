--- HTTP servers. A connection is C's (runtime/http/connection.c); this module makes req and res for each request, calls the
--- handler, and decides what becomes of faults, timeouts and upgrades.
---
--- `connection`, the table that C passes, is Lua's side of a connection: `c` (C's side), `server`, `handle`, `socket`
--- (made when asked for), `incoming` (the request whose body is being received), `response` and `later` (responses that
--- are not finished).
local calls = require("lrun.check.calls")
local core = require("lrun.core.http")
local errors = require("errors")
local net = require("net")
local process = require("process")
local uv = require("luv")
local validate = require("lrun.check.validate")
local dispatch = require("lrun.http.dispatch")
local message = require("lrun.http.incoming")
local outgoing = require("lrun.http.outgoing")
local responses = require("lrun.http.server_response")
local sockets = require("lrun.http.socket")

local band = require("bit").band
local nextTick = process.nextTick
local flags = message.flags
local IncomingMessage, ServerResponse = message.IncomingMessage, responses.ServerResponse
local settle, emitClosed = responses.settle, responses.emitClosed
local FRESH, BEGUN, ENDED = 0, 2, 3 -- outgoing.states
local BODY = flags.body

-- Server --------------------------------------------------------------------------------------------------------------

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
local Server = net.Server:extend("Server")
Server.headersTimeout = 60000
Server.requestTimeout = 300000
Server.keepAliveTimeout = 5000
Server.timeout = 0
Server.maxHeadersCount = 2000
Server.maxRequestsPerSocket = 0

local DEFAULT_MAX_HEADER_SIZE = 16 * 1024

local OPTIONS = { "headersTimeout", "requestTimeout", "keepAliveTimeout", "timeout", "maxHeadersCount", "maxRequestsPerSocket" }

---@param options HttpServerOptions?
---@param listener fun(req: IncomingMessage, res: ServerResponse)?
function Server:initialize(options, listener)
  if type(options) == "function" then options, listener = nil, options end
  if options ~= nil and type(options) ~= "table" then error(errors.argType("options", "table", options), 0) end
  if listener ~= nil then validate.func(listener, "requestListener") end
  options = options or {}
  for _, name in ipairs(OPTIONS) do
    if options[name] ~= nil then self[name] = validate.integer(options[name], "options." .. name, 0) end
  end
  self.maxHeaderSize = DEFAULT_MAX_HEADER_SIZE
  if options.maxHeaderSize ~= nil then
    self.maxHeaderSize = validate.integer(options.maxHeaderSize, "options.maxHeaderSize", 1, 2 ^ 30)
  end
  if self.requestTimeout > 0 and self.headersTimeout > self.requestTimeout and options.headersTimeout ~= nil then
    error(errors.outOfRange("options.headersTimeout", "<= options.requestTimeout", self.headersTimeout), 0)
  end
  local netOptions = {}
  for name, value in pairs(options) do netOptions[name] = value end
  netOptions.allowHalfOpen = true
  net.Server.initialize(self, netOptions)
  self._http = core.server(self.maxHeaderSize, self.maxHeadersCount)
  if listener then self:on("request", listener) end
end

local function configure(self)
  core.configure(self._http, self.headersTimeout, self.requestTimeout, self.keepAliveTimeout, self.timeout,
    self.maxRequestsPerSocket, self.maxHeadersCount, self._closing)
end

local function startSweep(self)
  local shortest = self._shortest or math.huge
  for _, limit in ipairs { self.headersTimeout, self.requestTimeout, self.keepAliveTimeout, self.timeout } do
    if limit > 0 and limit < shortest then shortest = limit end
  end
  dispatch.sweep(self, dispatch.interval(shortest), configure)
end

--- Internal: one connection has a limit of its own.
function Server:_limit(ms)
  if ms > 0 and ms < (self._shortest or math.huge) then
    self._shortest = ms
    startSweep(self)
  end
end

local role = {}                     -- what C's calls for a server's connection do; filled below

-- Hangs a connection on a luv handle; `core.start` begins to read.
local function attach(self, handle, counted)
  configure(self)
  local connection = { role = false, server = false, handle = false, counted = false, c = false, response = false }
  connection.role, connection.server, connection.handle, connection.counted = role, self, handle, counted
  local c = core.attach(self._http, handle, connection)
  if not c then return nil end
  connection.c = c
  local options = self._options
  if options.noDelay == false then core.delay(c) end
  if options.keepAlive and uv.handle_get_type(handle) == "tcp" then
    uv.tcp_keepalive(handle, true, math.max(1, math.floor((options.keepAliveInitialDelay or 0) / 1000)))
  end
  startSweep(self)
  return connection
end

local emit = net.Server.emit

--- Called by net for each accepted connection. The socket is made when there is a listener to see it.
---@param handle userdata
function Server:_onconnection(handle)
  if not self:_admit(handle) then return end
  local connection = attach(self, handle, true)
  if not connection then return end
  local listeners = self._listeners
  if listeners and listeners.connection then emit(self, "connection", sockets.of(connection)) end
  core.start(connection.c)
end

--- Listens, also again after `close`.
---@return self
function Server:listen(...)
  net.Server.listen(self, ...)
  self._closing = false
  return self
end

-- A net.Socket from elsewhere, with what it has received and nobody has read.
local function serveSocket(self, socket)
  local handle, received = socket:_release()
  if not handle then return end
  socket:_attach(handle)
  local connection = attach(self, handle, false)
  if not connection then return end
  sockets.adopt(connection, socket)
  socket.server = self
  return connection, received
end

--- Emits; a `connection` that is emitted by the program is served from here on, its socket may come from elsewhere.
---@param name any
---@return boolean heard
function Server:emit(name, ...)
  if name ~= "connection" then return emit(self, name, ...) end
  local socket = ...
  if type(socket) ~= "table" or not socket._release then error(errors.argType("socket", "an instance of Socket", socket), 0) end
  local connection, received = serveSocket(self, socket)
  emit(self, name, socket)
  if connection then core.start(connection.c, received) end
  return true
end

-- Requests ------------------------------------------------------------------------------------------------------------

-- For xpcall: the error, and the report on it while the stack still stands.
local function describeFailure(err)
  local status = type(err) == "table" and rawget(err, "statusCode")
  if type(status) == "number" and status >= 400 and status <= 499 then return { status = status } end
  local gone = errors.isError(err) and err.code == "ECONNRESET" -- a body that the client did not finish
  return { status = 500, gone = gone, text = require("lrun.host.uncaught").describe(coroutine.running(), err) }
end

-- A handler that threw: 500 when nothing was sent yet, or the status that the error names; the connection ends.
local function failed(res, failure)
  local status = failure.status
  if failure.gone and (res.destroyed or res._connection.closed) then return end
  if failure.text then
    io.stdout:flush()
    io.stderr:write(failure.text, "\n")
  end
  if res._state >= BEGUN then
    if res._state < ENDED then res:destroy() end
    return
  end
  res._fields, res._places, res._trailerLines, res._state = nil, nil, nil, FRESH
  res.statusMessage, res.statusCode, res._headFlags = nil, status, outgoing.headFlags.close
  res:setHeader("Content-Type", "text/plain")
  res:finish(core.statusText(status) .. "\n")
end

local function emitRequest(server, req, res) server:emit("request", req, res) end

local function handle(server, req, res)
  local listeners = server._listeners
  local listener = listeners and listeners.request
  local ok, failure
  if type(listener) == "function" then
    ok, failure = xpcall(listener, describeFailure, req, res)
  else
    ok, failure = xpcall(emitRequest, describeFailure, server, req, res)
  end
  if not ok then failed(res, failure) end
end

-- The protocol changes: the socket goes to the listener with the bytes that came behind the head.
local function handOver(server, connection, req, res, name)
  settle(res)
  res.destroyed = true
  local socket, rest = sockets.takeOver(connection)
  if connection.counted then socket._server = server end
  server:emit(name, req, socket, rest)
end

local function special(server, connection, req, res, bits)
  if band(bits, flags.last) ~= 0 then
    res._headFlags = outgoing.headFlags.close
    server:emit("dropRequest", req, sockets.of(connection))
    res:writeHead(503)
    return res:finish()
  end
  if band(bits, flags.upgrade) ~= 0 then
    local name = req.method == "CONNECT" and "connect" or "upgrade"
    if server:listenerCount(name) > 0 then return handOver(server, connection, req, res, name) end
    if name == "connect" then return core.close(connection.c) end
  end
  if band(bits, flags.expect100) ~= 0 then
    if server:emit("checkContinue", req, res) then return end
    res:writeContinue()
  elseif band(bits, flags.expect) ~= 0 then
    if server:emit("checkExpectation", req, res) then return end
    res:writeHead(417)
    return res:finish()
  end
  handle(server, req, res)
end

local SPECIAL = flags.upgrade + flags.expect + flags.last

local function onRequest(connection, id, head, bits)
  -- Constants first: a constructor with only constants is one copy of a table of the right size. A body's request has
  -- room for what a stream adds: to grow by steps costs more than the rest.
  local req
  if band(bits, BODY) == 0 then
    req = { _connection = false, _head = false, _flags = 0 }
  else
    req = {
      _connection = false, _head = false, _flags = 0, _complete = false, readableEnded = false, destroyed = false,
      closed = false, _closeEmitted = false, _failed = false,
    }
  end
  req._connection, req._head, req._flags = connection, head, bits
  setmetatable(req, IncomingMessage)
  local res = { _connection = false, _id = 0, req = false, _state = 0, statusCode = 200 }
  res._connection, res._id, res.req = connection, id, req
  setmetatable(res, ServerResponse)
  if band(bits, BODY) ~= 0 then connection.incoming = req end
  if not connection.response then
    connection.response = res
  else
    local later = connection.later
    if not later then later = {} connection.later = later end
    later[id] = res
  end
  if band(bits, SPECIAL) ~= 0 then return special(connection.server, connection, req, res, bits) end
  return handle(connection.server, req, res)
end

local function responseOf(connection, id)
  local response = connection.response
  if response and response._id == id then return response end
  return connection.later and connection.later[id]
end

local function onDrain(connection, id, sentId)
  local res = responseOf(connection, id)
  if res then return outgoing.drained(res) end
  local unsent, left = connection.unsent, nil
  connection.unsent = nil
  for _, each in ipairs(unsent or {}) do
    if each._id <= sentId then
      responses.sent(each)
    else
      left = left or {}
      left[#left + 1] = each
    end
  end
  connection.unsent = left
  if left then core.tell(connection.c) end
end

local function onFault(connection, status, code, reason, packet, parsed)
  local server = connection.server
  if server:listenerCount("clientError") == 0 then return core.refuse(connection.c, status) end
  local err = message.fault(code, reason, packet, parsed)
  server:emit("clientError", err, sockets.of(connection))
end

local function onTimeout(connection)
  local server, response, socket = connection.server, connection.response, sockets.of(connection)
  local req = response and response.req
  local heard = req and not req.complete and req:emit("timeout", socket)
  heard = response and response:emit("timeout", socket) or heard
  heard = socket:emit("timeout") or heard
  heard = server:emit("timeout", socket) or heard
  if not heard then core.close(connection.c) end
end

-- The client is gone, or the last response is sent.
local function abandon(res)
  local req = res.req
  outgoing.callBack(res, message.lost())
  if res._state < ENDED then
    res.destroyed = true
    nextTick(emitClosed, res)
  end
  if not req.destroyed and (not req._closeEmitted) then
    req._complete = req._complete or false
    req:destroy(message.lost())
  end
end

local function abandonAll(connection)
  local response, later, unsent = connection.response, connection.later, connection.unsent
  connection.response, connection.later, connection.unsent = false, nil, nil
  for _, each in ipairs(unsent or {}) do
    outgoing.callBack(each, message.lost())
    nextTick(emitClosed, each)
  end
  if response then abandon(response) end
  if later then
    for _, each in pairs(later) do abandon(each) end
  end
end

-- A socket that is sent to another process leaves HTTP; its requests get no answer from here.
function sockets.surrender(connection)
  abandonAll(connection)
  local socket, rest = sockets.takeOver(connection)
  if connection.counted then socket._server = connection.server end
  if rest ~= "" then socket:unshift(rest) end
end

local function closed(connection, code)
  local server = connection.server
  connection.closed = true
  abandonAll(connection)
  local incoming = connection.incoming
  connection.incoming = nil
  if incoming and not incoming.destroyed then incoming:destroy(message.lost()) end
  local socket = connection.socket
  if connection.counted then
    server:_connectionClosed(connection.handle)
  elseif socket and socket._server then
    socket._server:_connectionClosed(connection.handle)
  end
  local err = code < 0 and errors.system(code, "read") or nil
  sockets.closed(connection, err)
  if err and server:listenerCount("clientError") > 0 then server:emit("clientError", err, sockets.of(connection)) end
end

role.onEnd, role.onDrain, role.onFault, role.onTimeout, role.onClosed = message.onEnd, onDrain, onFault, onTimeout, closed

dispatch.take { onrequest = onRequest }

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
function Server:closeIdleConnections() core.closeIdle(self._http) end

--- Closes all connections, whatever they do.
function Server:closeAllConnections() core.closeAll(self._http) end

local CLOSING_SWEEP = 100 -- ms

--- Takes no new connections and closes the idle ones; the others end with their response.
---@param callback fun(err: any?)?
---@return self
function Server:close(callback)
  self._closing = true
  configure(self)
  net.Server.close(self, callback)
  core.closeIdle(self._http)
  if core.count(self._http) > 0 then dispatch.sweep(self, CLOSING_SWEEP, configure) end
  return self
end

local DRAIN_IDLE = 1000     -- ms

--- Internal: the same for a server that another one replaces: a connection that waits for its next request may be about
--- to get it, and so is answered once more and then closed, or closed when nothing came for a while.
function Server:_drain(callback)
  self._closing = true
  self.keepAliveTimeout = math.min(self.keepAliveTimeout > 0 and self.keepAliveTimeout or DRAIN_IDLE, DRAIN_IDLE)
  configure(self)
  if self._sweeping then startSweep(self) end
  net.Server.close(self, callback)
end

calls.methods(Server, "server", { emit = true })

return { Server = Server, ServerResponse = ServerResponse }
