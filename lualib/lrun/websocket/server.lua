--- WebSocketServer: where handshakes come from (an http server of its own, one that is given, or the program), which sockets
--- there are, topics, and closing. The handshake itself is lrun.websocket.handshake's.
---
--- Several servers may stand on one http server: the first whose `shouldHandle` says so gets a handshake; when none does,
--- and nobody else listens to `upgrade`, the first refuses it.
local calls = require("lrun.check.calls")
local core = require("lrun.core.websocket")
local errors = require("errors")
local events = require("events")
local process = require("process")
local uncaught = require("lrun.host.uncaught")
local validate = require("lrun.check.validate")
local Group = require("lrun.websocket.group")
local farewell = require("lrun.websocket.farewell")
local handshake = require("lrun.websocket.handshake")
local publish = require("lrun.websocket.publish")
local requests = require("lrun.http.requests")
local serverOptions = require("lrun.websocket.options")
local sockets = require("lrun.websocket.socket")

local nextTick = process.nextTick
local INTERNAL_ERROR = 1011
local emit = events.EventEmitter.emit

--- What `verifyClient` looks at. One with a second parameter answers later: `callback(result[, status[, text[, headers]]])`.
---@class ClientInfo
---@field origin string?
---@field secure boolean
---@field req IncomingMessage

---@class WebSocketServerOptions
---@field port (integer|string)? an http server is made that listens there
---@field host string?
---@field backlog integer?
---@field server HttpServer? whose upgrades are taken
---@field noServer boolean? upgrades come through `handleUpgrade`
---@field path string? other paths are refused
---@field maxPayload integer? bytes of a message, 1 MiB; more closes with 1009; 0 for any number
---@field perMessageDeflate (boolean|PerMessageDeflateOptions)? false
---@field handleProtocols (fun(protocols: string[], req: IncomingMessage): string|false|nil)? chooses the subprotocol
---@field verifyClient (fun(info: ClientInfo, callback: function?): boolean?)? whether a client is let in
---@field clientTracking boolean? true: there is `clients`
---@field origins string[]? others are refused with 403; a request without one passes unless the table says `required = true`
---@field idleTimeout integer? ms without a byte received, 120000; 0 for no limit
---@field pingInterval integer? ms, 30000; 0 for no pings
---@field backpressureLimit integer? bytes that may wait for a client, 1 MiB; 0 for any number
---@field onBackpressure ("close"|"drop")? what is done past that: "close"
---@field stallTimeout integer? ms: a client that takes nothing of what waits is closed then, 30000; 0 for never
---@field closeTimeout integer? ms for the close handshake, 30000

--- Event connection(socket: WebSocket, req: IncomingMessage)
--- Event headers(lines: string[], req: IncomingMessage): of the answer to a handshake; lines may be added
--- Event listening()
--- Event wsClientError(err: Error, socket: Socket, req: IncomingMessage): the listener answers a handshake that is none
--- Event error(err: Error)
--- Event close()
---@class WebSocketServer: EventEmitter
---@field options WebSocketServerOptions
---@field path string?
---@field clients table<WebSocket, boolean>? the sockets that are open, as keys
local Server = events.EventEmitter:extend("WebSocketServer")

-- Upgrades of an http server ------------------------------------------------------------------------------------------

local hubs = setmetatable({}, { __mode = "k" })  -- http server → { listener, servers… }

local function choose(hub, httpServer, req)
  for _, server in ipairs(hub) do
    if server:shouldHandle(req) then return server end
  end
  if httpServer:listenerCount("upgrade") == 1 then return hub[1] end
end

-- Whether the program decides who gets a handshake: it may wait, and the connection is to be watched meanwhile.
local function isRuled(hub)
  for _, server in ipairs(hub) do if server.shouldHandle ~= Server.shouldHandle then return true end end
  return false
end

local function join(httpServer, server)
  local hub = hubs[httpServer]
  if not hub then
    hub = {}
    hubs[httpServer] = hub
    hub.listener = function(req, socket, head)
      local chosen = choose(hub, httpServer, req)
      if not chosen then return end
      chosen:handleUpgrade(req, socket, head, function(ws, request) chosen:emit("connection", ws, request) end)
    end
    httpServer:on("upgrade", hub.listener)
    requests.takesConnection(hub.listener, function(req, res, connection)
      if isRuled(hub) then return false end
      local chosen = choose(hub, httpServer, req)
      return chosen ~= nil and handshake.take(chosen, req, res, connection)
    end)
  end
  hub[#hub + 1] = server
end

local function leave(httpServer, server)
  local hub = hubs[httpServer]
  for i, each in ipairs(hub or {}) do
    if each == server then
      table.remove(hub, i)
      break
    end
  end
  if not hub or #hub > 0 then return end
  hubs[httpServer] = nil
  httpServer:off("upgrade", hub.listener)
end

-- Making one ----------------------------------------------------------------------------------------------------------

local UPGRADE_REQUIRED = "Upgrade Required"

local function onRequest(_, res)
  res:writeHead(426, {
    Upgrade = "websocket", Connection = "Upgrade", ["Content-Type"] = "text/plain", ["Content-Length"] = #UPGRADE_REQUIRED,
  })
  res:finish(UPGRADE_REQUIRED)
end

local function stand(self, httpServer)
  self._httpServer, self._base = httpServer, httpServer
  self._onListening = function() self:emit("listening") end
  self._onError = function(err) self:emit("error", err) end
  httpServer:on("listening", self._onListening)
  httpServer:on("error", self._onError)
  join(httpServer, self)
end

local function standDown(self)
  local httpServer = self._httpServer
  self._httpServer = nil
  httpServer:off("listening", self._onListening)
  httpServer:off("error", self._onError)
  leave(httpServer, self)
  return httpServer
end

--- Makes a server: exactly one of `port`, `server`, `noServer`. Source: npm's ws; ours are `origins`, `idleTimeout`,
--- `pingInterval`, `backpressureLimit`, `onBackpressure`, `stallTimeout`.
---@param options WebSocketServerOptions
---@param callback function? listener for `listening`, with `port`
function Server:initialize(options, callback)
  validate.optional(validate.func, callback, "callback")
  self.options, self.perMessageDeflate = serverOptions.read(options)
  options = self.options
  self.path = options.path
  self.group = Group.new(true, serverOptions.settings(options, self.perMessageDeflate, true))
  self._sockets = {}
  self.clients = options.clientTracking ~= false and self._sockets or nil
  self._state = "running"
  publish.enter(self)
  farewell.enter(self)
  if options.noServer then return end
  if options.server then return stand(self, options.server) end
  local httpServer = require("http").createServer(onRequest)
  stand(self, httpServer)
  httpServer:listen{ port = options.port, host = options.host, backlog = options.backlog }
  if callback then self:once("listening", callback) end
end

--- Emits. A listener of `connection` that throws is reported, and its socket closed with 1011.
---@param name any
---@return boolean heard
function Server:emit(name, ...)
  if name ~= "connection" then return emit(self, name, ...) end
  local ok, heard = xpcall(emit, uncaught.report, self, name, ...)
  if ok then return heard end
  local socket = ...
  if type(socket) == "table" and socket.readyState == sockets.WebSocket.OPEN then socket:close(INTERNAL_ERROR) end
  return true
end

-- Handshakes ----------------------------------------------------------------------------------------------------------

--- Whether a request is for this server: its path is `path`. May be overridden.
---@param req IncomingMessage
---@return boolean
function Server:shouldHandle(req)
  local path = self.path
  return not path or req.url:match("^[^?]*") == path
end

local taken = setmetatable({}, { __mode = "k" })

--- Answers a handshake that an http server's `upgrade` has brought; `callback(ws, req)` when it is agreed.
---@param req IncomingMessage
---@param socket Socket
---@param head string
---@param callback fun(ws: WebSocket, req: IncomingMessage)
function Server:handleUpgrade(req, socket, head, callback)
  validate.table(req, "req")
  if type(socket) ~= "table" or type(socket._detach) ~= "function" then
    error(errors.argType("socket", "an instance of Socket", socket), 0)
  end
  validate.func(callback, "callback")
  if taken[socket] then
    error(errors.coded("ERR_INVALID_STATE", "server:handleUpgrade() was called more than once with the same socket, possibly due to "
      .. "a misconfiguration"), 0)
  end
  taken[socket] = true
  handshake.run(self, req, socket, head or "", callback)
end

--- Internal: whether it takes connections.
---@return boolean
function Server:_isRunning() return self._state == "running" end

--- Internal: a socket of its own is open.
---@param socket WebSocket
function Server:_entered(socket)
  self._sockets[socket] = true
  farewell.entered(socket)
end

--- Internal: its sockets, in no order.
function Server:_eachSocket() return next, self._sockets end

local function emitClose(self)
  if self._state == "closed" then return end
  self._state = "closed"
  publish.leave(self)
  farewell.leave(self)
  emit(self, "close")
end

--- Internal: a connection has ended; `counted` is the http server that counts it, true: our own, false: none.
---@param counted Server|boolean|nil
function Server:_uncount(counted)
  if counted == true or counted == nil then counted = self._base end
  if counted then counted:_connectionClosed() end
end

--- Internal: it has ended.
---@param socket WebSocket
---@param counted Server|boolean
function Server:_left(socket, counted)
  self:_uncount(counted)
  self._sockets[socket] = nil
  if self._waitsForSockets and self.group:count() == 0 then nextTick(emitClose, self) end
end

-- Topics --------------------------------------------------------------------------------------------------------------

--- Internal: sends to the subscribers, but for one.
---@param topic string
---@param data any
---@param options SendOptions?
---@param except userdata?
---@return integer
function Server:_publish(topic, data, options, except)
  data = sockets.WebSocket._checkData(data)
  local bits = sockets.WebSocket._bits(options)
  local reached = core.publish(self.group.core, topic, data, bits, except)
  if reached == nil then error(sockets.WebSocket._noText(), 0) end
  publish.tell(self, topic, data, bits)
  return reached
end

--- Sends to all subscribers of a topic, in all workers: framed, and compressed, once in each. Source: ours.
---@param topic string
---@param data string|number
---@param options SendOptions? `binary`, `compress`
---@return integer reached subscribers of this process
function Server:publish(topic, data, options)
  validate.string(topic, "topic")
  return self:_publish(topic, data, options)
end

-- Facts and the end ---------------------------------------------------------------------------------------------------

--- Where its http server listens: `{ address, family, port }`, a path, or nil.
---@return table|string|nil
function Server:address()
  if self.options.noServer then
    error(errors.coded("ERR_INVALID_STATE", 'The server is operating in "noServer" mode'), 0)
  end
  return self._httpServer and self._httpServer:address() or nil
end

local function whenClosed(self, callback)
  if self._state ~= "closed" then return self:once("close", callback) end
  self:once("close", function() callback(errors.coded("ERR_SERVER_NOT_RUNNING", "The server is not running")) end)
end

local function emitCloseAgain(self) emit(self, "close") end

--- Takes no more handshakes; `close` comes when the last socket has ended: close them, or terminate them, by yourself. An
--- http server that was given goes on.
---@param callback fun(err: Error?)?
function Server:close(callback)
  validate.optional(validate.func, callback, "callback")
  if callback then whenClosed(self, callback) end
  if self._state == "closed" then return nextTick(emitCloseAgain, self) end
  if self._state == "closing" then return end
  self._state = "closing"
  if not self._httpServer or self.options.server then
    if self._httpServer then standDown(self) end
    self._waitsForSockets = true
    if self.group:count() == 0 then nextTick(emitClose, self) end
    return
  end
  standDown(self):close(function() emitClose(self) end)
end

calls.methods(Server, "server", { emit = true })

return { WebSocketServer = Server }
