--- HTTP requests to other servers. A ClientRequest collects its head; the agent finds it a connection; C reads and parses
--- the response. Source: Node 20; beyond Node, a request is sent again when the idle connection that it was sent on
--- turns out to have been closed, if nothing was received and sending twice does no harm.
local calls = require("lrun.check.calls")
local core = require("lrun.core.http")
local errors = require("errors")
local places = require("lrun.host.places")
local process = require("process")
local validate = require("lrun.check.validate")
local aborting = require("lrun.check.aborting")
local agents = require("lrun.http.agent")
local Connection = require("lrun.http.connection")
local Group = require("lrun.http.group")
local requestOptions = require("lrun.http.options")
local outgoing = require("lrun.http.outgoing")
local replies = require("lrun.http.replies")

local band = require("bit").band
local nextTick = process.nextTick
local OutgoingMessage = outgoing.OutgoingMessage

local states = outgoing.states
local BEGUN, ENDED, FINISHED = states.begun, states.ended, states.finished
local MAX_REPLAY = 256 * 1024 -- bytes of a request that are kept for sending it again

local globalAgent = agents.Agent:new { keepAlive = true, scheduling = "lifo", timeout = 5000 }

local function hangUp() return errors.coded("ECONNRESET", "socket hang up") end

local function checkBody(self, chunk)
  outgoing.checkChunk(chunk)
  if self._bodyless and chunk ~= "" then
    error(errors.coded("ERR_HTTP_BODY_NOT_ALLOWED", "The head was sent and promises no body"), 0)
  end
end

-- ClientRequest -------------------------------------------------------------------------------------------------------

--- Event socket(socket: Socket)
--- Event response(res: IncomingMessage)
--- Event continue()
--- Event information(info: table)
--- Event upgrade(res: IncomingMessage, socket: Socket, head: string)
--- Event connect(res: IncomingMessage, socket: Socket, head: string)
---@class ClientRequest: OutgoingMessage
---@field method string
---@field path string
---@field host string
---@field protocol string
---@field agent Agent|false
---@field socket Socket?
---@field connection Socket? the same
---@field reusedSocket boolean
---@field aborted boolean
---@field maxHeadersCount integer headers of the response, 2000; 0 for no limit
local ClientRequest = OutgoingMessage:extend("ClientRequest")
ClientRequest.reusedSocket = false
ClientRequest.aborted = false
ClientRequest.protocol = "http:"
ClientRequest.defaultPort = 80
ClientRequest.maxHeadersCount = Group.maxHeadersCount

local NO_BODY = { GET = true, HEAD = true, DELETE = true, OPTIONS = true, TRACE = true, CONNECT = true }
local IDEMPOTENT = { GET = true, HEAD = true, PUT = true, DELETE = true, OPTIONS = true, TRACE = true }

--- Internal: throws for what cannot be.
function ClientRequest:_checkOptions(options) requestOptions.check(options, self.protocol) end

--- Internal: an agent for a request without one of its own. https has others, as of the next.
function ClientRequest._newAgent() return agents.Agent:new() end

--- Internal: the agent of all others.
function ClientRequest._globalAgent() return rawget(require("http"), "globalAgent") or globalAgent end

local function chooseAgent(self, options)
  local agent = options.agent
  if agent == nil then return options.createConnection and self._newAgent() or self._globalAgent() end
  if agent == false then return self._newAgent() end
  agents.checkAgent(agent)
  if agent.protocol and agent.protocol ~= self.protocol then requestOptions.wrongProtocol(self.protocol, agent.protocol) end
  return agent
end

local function hostHeader(self, options)
  local host = self.host
  if host:find(":", 1, true) and not host:find("^%[") then host = "[" .. host .. "]" end
  local port = tonumber(options.port)
  if port and port ~= self.defaultPort then host = host .. ":" .. port end
  return host
end

local function setHeaders(self, options)
  if options.headers then self:_take(options.headers) end
  if options.setHost ~= false and not self:hasHeader("host") then self:setHeader("Host", hostHeader(self, options)) end
  if options.auth and not self:hasHeader("authorization") then
    self:setHeader("Authorization", "Basic " .. require("base64").encode(options.auth))
  end
  if options.compress and not (self:hasHeader("accept-encoding") or self:hasHeader("range")) then
    self:setHeader("Accept-Encoding", require("lrun.http.coders").accepted())
  end
end

local function begin(self)
  if not self.destroyed then self.agent:addRequest(self) end
end

-- What each request gets. What a program may look at before it is there is nil again at once: it has its place all the same.
function ClientRequest._blank()
  return {
    method = false, path = false, host = false, agent = false, timeout = false, socket = false, res = false,
    destroyed = false, closed = false, _listeners = false, _options = false, _state = 0, _headFlags = 0,
    _fields = false, _places = false, _head = false, _queue = false, _queued = 0, _id = false, _chunked = false,
    _assigned = false, _connection = false, _received = false, _responseRead = false,
  }
end

---@param url string|URL|RequestOptions
---@param options RequestOptions?
---@param listener fun(res: IncomingMessage)?
function ClientRequest:initialize(url, options, listener)
  self.socket, self.res, self._places, self._listeners = nil, nil, nil, nil
  if type(options) == "function" then options, listener = nil, options end
  options = requestOptions.from(url, options)
  if listener ~= nil then validate.func(listener, "callback") end
  self:_checkOptions(options)
  self._options = options
  options.host = options.host or "localhost"
  options.port = tonumber(options.port) or options.defaultPort or self.defaultPort
  self.method = (options.method or "GET"):upper()
  self.path = options.path and options.path ~= "" and options.path or "/"
  self.host = options.host
  self.agent = chooseAgent(self, options)
  self._state = 0
  setHeaders(self, options)
  self.timeout = options.timeout or self.agent.options.timeout
  if listener then self:once("response", listener) end
  local signal = options.signal
  if signal ~= nil then
    aborting.follow(self, aborting.check(signal), function() self:destroy(aborting.failure(signal)) end)
  end
  if self:hasHeader("expect") then self:flushHeaders() end -- its answer comes before the body
  places.note(self)
  nextTick(begin, self)
end

--- Internal: whether its response is to be decoded.
---@return boolean
function ClientRequest:_decodes() return self._options.compress == true end

--- Internal: what it was made with.
---@return RequestOptions
function ClientRequest:_getOptions() return self._options end

-- Sending -------------------------------------------------------------------------------------------------------------

-- The head's text; `length` is the body's when it is known.
local function headText(self, length)
  requestOptions.checkLine(self.method, self.path) -- again: they may have been set since
  local lines = { self.method .. " " .. self.path .. " HTTP/1.1\r\n" }
  local has = self._places or {}
  for i = 1, self._fields and #self._fields or 0, 2 do
    local name, value = self._fields[i], self._fields[i + 1]
    if type(value) == "table" and #value > 0 and name:lower() == "cookie" then value = table.concat(value, "; ") end
    for _, each in ipairs(type(value) == "table" and value or { value }) do
      lines[#lines + 1] = name .. ": " .. each .. "\r\n"
    end
  end
  if not has.connection and band(self._headFlags, outgoing.headFlags.noConnection) == 0 then
    lines[#lines + 1] = self.agent.keepAlive and "Connection: keep-alive\r\n" or "Connection: close\r\n"
  end
  self._chunked = false
  local coding = has["transfer-encoding"] and tostring(self._fields[has["transfer-encoding"] + 1]):lower()
  if coding then
    self._chunked = coding:find("chunked", 1, true) ~= nil
  elseif not has["content-length"] then
    if length and (length > 0 or not NO_BODY[self.method]) then
      lines[#lines + 1] = "Content-Length: " .. length .. "\r\n"
    elseif not length then
      lines[#lines + 1] = "Transfer-Encoding: chunked\r\n"
      self._chunked = true
    end
  end
  lines[#lines + 1] = "\r\n"
  return table.concat(lines)
end

-- What was written so far, for a connection that comes later or a second time: `_queue` holds the body's pieces.
local function keep(self, chunk)
  self._queued = self._queued + #chunk
  if self._queued > MAX_REPLAY and self._connection then
    self._queue = false
  elseif self._queue then
    self._queue[#self._queue + 1] = chunk
  end
end

local function beginOn(self, connection)
  self._id = core.begin(connection.c, self._head, self._chunked, self.method == "HEAD", self.maxHeadersCount)
end

local function form(self, length)
  if self._state >= BEGUN then return end
  self._head = headText(self, length)
  self._state = BEGUN
  self._queue, self._queued = {}, 0
  if self._connection then beginOn(self, self._connection) end
end

--- Sends the head now. Without a length or coding of the program's own a method that has no body gets none then.
function ClientRequest:flushHeaders()
  if self._state < BEGUN and NO_BODY[self.method] then
    form(self, 0)
    self._bodyless = not self._chunked and not self:hasHeader("content-length")
  else
    form(self, nil)
  end
  if self._connection then core.flush(self._connection.c) end
end

--- Writes a piece of the body; false says: wait for `drain`.
---@param chunk string
---@param encoding string|function? accepted; may be left out
---@param callback function?
---@return boolean
function ClientRequest:write(chunk, encoding, callback)
  if type(encoding) == "function" then callback = encoding end
  checkBody(self, chunk)
  if self._state >= ENDED or self.destroyed then return outgoing.writeAfterEnd(self, callback) end
  form(self, nil)
  keep(self, chunk)
  local more
  if self._connection then
    more = core.write(self._connection.c, self._id, chunk)
  else
    more = self._queued < self.writableHighWaterMark
  end
  return outgoing.written(self, more, callback)
end

--- Internal: a range of a file as the next piece of the body, as responses take it; nil where there is no connection yet, or no body
--- may be sent: then it is to be read and written. A request that has had one is not sent a second time.
---@param fd integer
---@param offset integer
---@param length integer
---@param piece integer? bytes
---@param callback (fun(err: Error?, bytes: integer))?
---@return boolean? more as `write`
---@return integer taken
function ClientRequest:_writeFile(fd, offset, length, piece, callback)
  if self._state ~= BEGUN or self.destroyed or self._bodyless or not self._connection then return nil, 0 end
  local more, taken = outgoing.putFile(self, fd, offset, length, piece, callback)
  if more == "read" then return nil, 0 end
  self._queue, self._queued = false, self._queued + taken
  return outgoing.written(self, more), taken
end

--- Ends the request, after a last piece of its body.
---@param chunk string|function?
---@param encoding string|function?
---@param callback function?
---@return self
function ClientRequest:finish(chunk, encoding, callback)
  if type(chunk) == "function" then chunk, callback = nil, chunk end
  if type(encoding) == "function" then callback = encoding end
  if chunk ~= nil then checkBody(self, chunk) end
  if self._state >= ENDED or self.destroyed then
    outgoing.finishAgain(self, chunk, callback)
    return self
  end
  form(self, not self._trailerLines and (chunk and #chunk or 0) or nil)
  if chunk then keep(self, chunk) end
  self._state = ENDED
  if callback then outgoing.whenFinished(self, callback) end
  if self._connection then
    core.finish(self._connection.c, self._id, chunk, self._trailerLines)
    self:_finished()
  end
  return self
end

local function emitFinish(self)
  self._finishCallbacks = nil
  self:emit("finish")
end

local function sent(self, err)
  if self._state == FINISHED then return end
  if err ~= nil then return outgoing.failFinish(self, err) end
  self._state = FINISHED
  outgoing.callBack(self)
  nextTick(emitFinish, self)
  local connection = self._connection
  if connection and self.res and not connection.incoming then replies.release(connection) end
end

-- All was given to the connection.
function ClientRequest:_finished() self._connection:whenSent(self._id, sent, self) end

local function onConnected(self, socket)
  if self._assigned ~= socket then return end
  local connection = replies.connectionOf(socket, self._options.maxHeaderSize)
  if not connection then return self:_lost(nil) end
  self:_onConnection(connection)
end

local function onIdle(self, socket)
  if self._assigned ~= socket then return end
  self:emit("socket", socket)
  onConnected(self, socket)
end

local function whenConnected(self, socket)
  self._onConnectError = function(err) if self._assigned == socket then self:_failed(err) end end
  socket:once("error", self._onConnectError)
  if self.timeout and self.timeout > 0 then
    socket:setTimeout(self.timeout, function() if self._assigned == socket and not self._connection then self:emit("timeout") end end)
  end
  socket:once(socket.encrypted and "secureConnect" or "connect", function() onConnected(self, socket) end)
  self:emit("socket", socket)
end

local function ignore() end

local function freeSocket(self, socket) self.agent:_free(socket) end

--- Internal: the agent's answer: a socket, connected or about to be.
---@param socket Socket
function ClientRequest:_onSocket(socket)
  -- An encrypted one is there when its server is believed.
  local comes = socket.connecting or socket.secureConnecting
  if self.destroyed then
    if comes then return socket:on("error", ignore):destroy() end
    return nextTick(freeSocket, self, socket)
  end
  self.socket, self._assigned = socket, socket
  if comes then whenConnected(self, socket) else nextTick(onIdle, self, socket) end
end

--- Internal: the connection stands: what was written so far goes out.
function ClientRequest:_onConnection(connection)
  local socket = connection.socket
  if self._onConnectError then
    socket:off("error", self._onConnectError)
    self._onConnectError = nil
  end
  self._connection = connection
  connection.request = self
  connection:limit(self, self.timeout or 0)
  if self._state < BEGUN then return end
  beginOn(self, connection)
  local queue = self._queue or {}
  local last = self._state >= ENDED and #queue or 0
  for i, chunk in ipairs(queue) do
    if i ~= last or self._trailerLines then core.write(connection.c, self._id, chunk) end
  end
  if self._state >= ENDED then
    core.finish(connection.c, self._id, not self._trailerLines and queue[last] or nil, self._trailerLines)
    self:_finished()
  else
    core.flush(connection.c)
    if self.writableNeedDrain then nextTick(outgoing.drained, self) end
  end
end

-- The end -------------------------------------------------------------------------------------------------------------

local function emitClose(self)
  if self.closed then return end
  self.closed = true
  if outgoing.isAwaited(self) then
    outgoing.callBack(self, hangUp())
    outgoing.failFinish(self, hangUp())
  end
  self:emit("close")
end

--- Internal: the response was read to its end, or given up: the request is over when it was sent, too.
function ClientRequest:_responseOver()
  self._responseRead = true
  if self._state == FINISHED or self.destroyed then nextTick(emitClose, self) end
end

--- Internal: the response has come, and the request was sent.
function ClientRequest:_isOver()
  self._assigned, self._connection = nil, nil
  self.destroyed = true
  if self._responseRead then nextTick(emitClose, self) end
end

--- Internal: something of the response came.
function ClientRequest:_onBytes() self._received = true end

--- Internal: whether the connection may be used again for another.
---@return boolean
function ClientRequest:_keepsAlive()
  return self.agent.keepAlive and not tostring(self:getHeader("connection") or ""):lower():find("close", 1, true)
end

--- Internal: the protocol changes: the socket goes to the listener of `upgrade` or `connect`.
function ClientRequest:_handOver(response, socket, rest, name)
  self._assigned, self._connection = nil, nil
  self.res = response
  self.agent:_removeSocket(socket)
  self.destroyed = true
  if not self:emit(name, response, socket, rest) then socket:destroy() end
  nextTick(emitClose, self)
end

-- Takes the request off its connection.
local function part(self)
  local connection = self._connection
  self._assigned, self._connection = nil, nil
  if connection and connection.request == self then connection.request = false end
  return connection
end

--- Internal: ends with an error.
function ClientRequest:_failed(err)
  if self.destroyed then return end
  self.destroyed = true
  part(self)
  if err ~= nil then
    self.errored = err
    nextTick(function() self:emit("error", err) end)
  end
  nextTick(emitClose, self)
end

--- Internal: the connection was closed before the response came. An idle connection that was closed by the server just
--- then is no fault of the request: it goes out again on another one.
function ClientRequest:_lost(err)
  local response = self.res
  if self.destroyed then return end
  if not response and self.reusedSocket and not self._received and IDEMPOTENT[self.method]
    and (self._queue or self._state < BEGUN) then
    part(self)
    self.reusedSocket = false
    return self.agent:addRequest(self)
  end
  if response then
    part(self)
    self.destroyed = true
    if err ~= nil and not response.complete then
      self.errored = err
      nextTick(function() self:emit("error", err) end)
    end
    if not response.complete and not response.destroyed then response:destroy(Connection.lost()) end
    return nextTick(emitClose, self)
  end
  self:_failed(err or hangUp())
end

--- Gives the request up: closes its connection; `error` (ECONNRESET, "socket hang up", when none is given) and `close` follow.
---@param err any?
---@return self
function ClientRequest:destroy(err)
  if self.destroyed then return self end
  local response, assigned = self.res, self._assigned
  self.agent:_forget(self)
  if response then
    self.destroyed = true
    local connection = part(self)
    if err ~= nil then nextTick(function() self:emit("error", err) end) end
    if not response.complete and not response.destroyed then
      response:destroy(err or Connection.lost())
    end
    if connection then connection:drop() end
    nextTick(emitClose, self)
    return self
  end
  if assigned and self._onConnectError then
    assigned:off("error", self._onConnectError)
    assigned:on("error", function() end)
  end
  if err == nil and (assigned or not self.aborted) then err = hangUp() end
  self:_failed(err)
  if assigned then assigned:destroy() end
  return self
end

--- The old name of `destroy`; a request that has no connection yet ends without an error.
function ClientRequest:abort()
  if self.aborted then return end
  self.aborted = true
  nextTick(function() self:emit("abort") end)
  self:destroy()
end

--- Emits `timeout` after `ms` without traffic; it is the listener who destroys.
---@param ms integer
---@param listener function?
---@return self
function ClientRequest:setTimeout(ms, listener)
  validate.number(ms, "msecs", 0)
  if listener then self:once("timeout", listener) end
  self.timeout = ms
  if self._connection then self._connection:limit(self, ms)
  elseif self.socket and self._assigned then self.socket:setTimeout(ms) end
  return self
end

--- `setNoDelay` of its socket, once it has one.
---@param on boolean? default true
---@return self
function ClientRequest:setNoDelay(on)
  if self.socket then self.socket:setNoDelay(on) else self:once("socket", function(socket) socket:setNoDelay(on) end) end
  return self
end

--- `setKeepAlive` of its socket, once it has one.
---@param on boolean?
---@param delay integer? ms
---@return self
function ClientRequest:setSocketKeepAlive(on, delay)
  if self.socket then self.socket:setKeepAlive(on, delay)
  else self:once("socket", function(socket) socket:setKeepAlive(on, delay) end) end
  return self
end

--- Output is gathered anyway.
---@return self
function ClientRequest:cork() return self end

--- The same.
---@return self
function ClientRequest:uncork() return self end

calls.methods(ClientRequest, "request")
outgoing.define(ClientRequest, { connection = function(self) return self.socket end })

return { ClientRequest = ClientRequest, globalAgent = globalAgent }
