--- A WebSocket as a program has it, a server's or a client's. C (runtime/websocket) reads, parses and writes; it calls the
--- functions at the end of this file, once for each message. A server's sockets are made by lrun.websocket.handshake, a
--- client's connects through lrun.websocket.client; `attach` hangs either on its stream.
---
--- A listener of a server's socket that throws is reported, and its connection closed with 1011: the others go on. A
--- client's is like any other emitter's.
local await = require("await")
local calls = require("lrun.check.calls")
local core = require("lrun.core.websocket")
local errors = require("errors")
local events = require("events")
local process = require("process")
local uncaught = require("lrun.host.uncaught")
local validate = require("lrun.check.validate")

local rawget, type, xpcall = rawget, type, xpcall
local nextTick, report = process.nextTick, uncaught.report
local opcodes, flags, results, states = core.opcodes, core.flags, core.results, core.states
local TEXT, BINARY, PLAIN, MORE = opcodes.text, opcodes.binary, flags.plain, flags.more
local SENT, FULL, DROPPED, NO_TEXT = results.sent, results.full, results.dropped, results.noText
local OPEN, CLOSED = states.OPEN, states.CLOSED
local INTERNAL_ERROR = 1011
local emit = events.EventEmitter.emit
local send = core.send
local sendSmall = require("ffi").cast("bool (*)(void *, const char *, size_t, int)", core.sendSmall)

--- Event open(): a client's: the handshake is done
--- Event message(data: string, isBinary: boolean)
--- Event ping(data: string): it is answered already
--- Event pong(data: string)
--- Event close(code: integer, reason: string): 1005 where the peer gave no code, 1006 where it sent no close frame
--- Event error(err: Error): the peer broke the rules (WS_ERR_*), or a client's handshake failed; `close` follows
--- Event upgrade(res: IncomingMessage): a client's: the server's answer
--- Event unexpected-response(req: ClientRequest, res: IncomingMessage): a client's: the server did not let it in
--- Event redirect(url: string, req: ClientRequest): a client's: `req`, to another address, is about to be sent
--- Event drain(): after `send` returned false: most of what waited was written
---@class WebSocket: EventEmitter
---@field readyState integer CONNECTING 0, OPEN 1, CLOSING 2, CLOSED 3
---@field protocol string the subprotocol agreed on, "" for none
---@field extensions string "permessage-deflate", or ""
---@field url string? a client's
---@field bufferedAmount integer bytes of frames that were not given to the kernel yet
---@field isPaused boolean
local WebSocket = events.EventEmitter:extend("WebSocket")
for name, value in pairs(states) do WebSocket[name] = value end
WebSocket.readyState = states.CONNECTING
WebSocket.protocol = ""
WebSocket.extensions = ""
WebSocket.isPaused = false
WebSocket._c = false
WebSocket._server = false
WebSocket._reader = false
WebSocket._waiting = false
WebSocket._counted = true
WebSocket._abort = false

WebSocket:getter("bufferedAmount", function(self) return self._c and core.buffered(self._c) or 0 end)

---@class WebSocketOptions: RequestOptions
---@field perMessageDeflate (boolean|PerMessageDeflateOptions)? true
---@field followRedirects boolean? false
---@field maxRedirects integer? 10
---@field handshakeTimeout integer? ms
---@field closeTimeout integer? ms for the close handshake, 30000
---@field maxPayload integer? bytes of a message, 100 MiB; more closes with 1009
---@field backpressureLimit integer? bytes that may wait, 0 for any number
---@field idleTimeout integer? ms without a byte received, 0 for no limit
---@field pingInterval integer? ms, 0 for no pings
---@field origin string? of the header `Origin`

--- Connects: `ws:`, `wss:`, `ws+unix:/path/of/socket:/path?query`. The third argument may be the second. Source: npm's ws.
---@param url string|URL
---@param protocols string|string[]|WebSocketOptions|nil subprotocols, the one that is liked most first
---@param options WebSocketOptions?
function WebSocket:initialize(url, protocols, options)
  require("lrun.websocket.client").connect(self, url, protocols, options)
end

-- Sending -------------------------------------------------------------------------------------------------------------

local function notOpen(self)
  for name, value in pairs(states) do
    if value == self.readyState then
      return errors.coded("ERR_INVALID_STATE", ("WebSocket is not open: readyState %d (%s)"):format(value, name))
    end
  end
end

local function needsColon(self, name)
  if type(self) ~= "table" or getmetatable(self) == nil then calls.needsColon("socket", name) end
end

-- It cannot be sent: throws while the socket connects, else tells the callback.
local function refuse(self, callback)
  if self.readyState == states.CONNECTING then error(notOpen(self), 0) end
  if callback then nextTick(callback, notOpen(self)) end
  return false
end

-- The callback gets its answer when all that was sent so far is written.
local function whenSent(self, callback)
  if callback == nil then return end
  local waiting = self._waiting
  if not waiting then
    waiting = {}
    self._waiting = waiting
  end
  waiting[#waiting + 1], waiting[#waiting + 2] = core.tell(self._c), callback
end

--- Throws for what is no message; numbers become text.
---@param data any
---@return string
function WebSocket._checkData(data)
  if type(data) == "string" then return data end
  if type(data) == "number" then return tostring(data) end
  local err = errors.argType("data", "string", data)
  if type(data) == "table" then err.message = err.message .. ": send json.encode(data)" end
  error(err, 0)
end
local checkData = WebSocket._checkData

--- The opcode, and what else C has to know of a message.
---@param options SendOptions?
---@return integer
function WebSocket._bits(options)
  if options == nil then return TEXT end
  validate.table(options, "options")
  local bits = options.binary and BINARY or TEXT
  if options.compress == false then bits = bits + PLAIN end
  if options.fin == false then bits = bits + MORE end
  return bits
end
local bitsOf = WebSocket._bits

--- The error of a text that is none.
---@return Error
function WebSocket._noText()
  return errors.coded("ERR_INVALID_ARG_VALUE", 'The argument \'data\' is not valid UTF-8, which a text must be: send bytes with '
    .. "{ binary = true }")
end

---@class SendOptions
---@field binary boolean? bytes, not text
---@field compress boolean? false: not even where compression was agreed on
---@field fin boolean? false: a part of a message, further ones follow

local function sendSlowly(self, data, options, callback)
  needsColon(self, "send")
  if type(options) == "function" then options, callback = nil, options end
  data = checkData(data)
  local bits = bitsOf(options)
  if callback ~= nil then validate.func(callback, "callback") end
  if self.readyState ~= OPEN then return refuse(self, callback) end
  local result = core.send(self._c, data, bits)
  if result == SENT or result == FULL then
    whenSent(self, callback)
    return result == SENT
  end
  if result == NO_TEXT then error(WebSocket._noText(), 0) end
  if callback then
    nextTick(callback, result == DROPPED and errors.coded("ERR_WS_BACKPRESSURE", "The message was dropped: backpressureLimit is passed")
      or notOpen(self))
  end
  return false
end

--- Sends a message: text, or bytes with `{ binary = true }`. False says that more waits than `backpressureLimit` allows, or
--- that it was not taken: wait for `drain`. The callback comes when the kernel has it.
---@param data string|number
---@param options SendOptions?
---@param callback fun(err: Error?)?
---@return boolean more
function WebSocket:send(data, options, callback)
  if callback or type(data) ~= "string" or type(options) == "function" or type(self) ~= "table" or self.readyState ~= OPEN then
    return sendSlowly(self, data, options, callback)
  end
  local bits = TEXT
  if options then
    if type(options) ~= "table" then return sendSlowly(self, data, options) end
    if options.binary then bits = BINARY end
    if options.compress == false then bits = bits + PLAIN end
    if options.fin == false then bits = bits + MORE end
  end
  local c = self._c
  if sendSmall(c, data, #data, bits) then return true end
  local result = send(c, data, bits)
  if result == SENT then return true end
  if result == NO_TEXT then error(WebSocket._noText(), 0) end
  return false
end

local function control(self, opcode, data, callback)
  if type(data) == "function" then data, callback = nil, data end
  data = data == nil and "" or checkData(data)
  if callback ~= nil then validate.func(callback, "callback") end
  if #data > core.limits.control then
    error(errors.outOfRange("data", ("at most %d bytes long"):format(core.limits.control), #data), 0)
  end
  if self.readyState ~= OPEN then return refuse(self, callback) end
  core.control(self._c, data, opcode)
  whenSent(self, callback)
  return true
end

--- Sends a ping.
---@param data string|number|nil up to 125 bytes, which come back with the `pong`
---@param callback fun(err: Error?)?
---@return boolean
function WebSocket:ping(data, callback) return control(self, opcodes.ping, data, callback) end

--- Sends a pong that nobody has asked for; pings are answered anyway.
---@param data string|number|nil up to 125 bytes
---@param callback fun(err: Error?)?
---@return boolean
function WebSocket:pong(data, callback) return control(self, opcodes.pong, data, callback) end

-- Reading -------------------------------------------------------------------------------------------------------------

--- Reads no more until `resume`: the peer is held up.
function WebSocket:pause()
  if not self._c or self.readyState == CLOSED then return end
  self.isPaused = true
  if self._reader then self._reader:pause() end
  core.pause(self._c)
end

--- Goes on reading.
function WebSocket:resume()
  if not self._c or not self.isPaused then return end
  self.isPaused = false
  if self._reader and not self._reader:resume() then return end
  core.resume(self._c)
end

-- The messages of a client that connects: the loop waits for that, too, and has none where it fails.
local function messagesLater(self)
  local read
  local function start() read = read or self:messages() end
  self:once("open", start)
  return function()
    if not read and self.readyState == states.CONNECTING then
      await(function(callback)
        local function go()
          self:off("open", go)
          self:off("close", go)
          callback()
        end
        self:on("open", go)
        self:on("close", go)
      end)
    end
    if read then return read() end
  end
end

--- The messages, one after the other: `for data, isBinary in socket:messages() do`, in a coroutine. It ends with the
--- connection; while the loop's body works the peer is held up. Source: ours.
---@return fun(): string?, boolean?
function WebSocket:messages()
  local reader = self._reader
  if not reader then
    if not self._c then
      if self.readyState == CLOSED then return function() return nil end end
      return messagesLater(self)
    end
    reader = require("lrun.websocket.messages").new(self._c)
    self._reader = reader
    if self.isPaused then reader:pause() end
    if self.readyState == CLOSED then reader:finish() end
    if self.readyState == states.CLOSING then reader:close() end
  end
  return function() return reader:next() end
end

-- Closing -------------------------------------------------------------------------------------------------------------

local MAX_REASON = core.limits.control - 2

--- Throws for what may not stand in a close frame.
---@param code any
---@param reason any
function WebSocket._checkClose(code, reason)
  if code ~= nil then
    validate.integer(code, "code")
    if not core.isCloseCode(code) then
      error(errors.outOfRange("code", "a close code that may be sent: 1000 to 1003, 1007 to 1014, or 3000 to 4999", code), 0)
    end
  end
  if reason == nil then return end
  validate.string(reason, "reason")
  if #reason > MAX_REASON then error(errors.outOfRange("reason", ("at most %d bytes long"):format(MAX_REASON), #reason), 0) end
  if not core.isText(reason) then error(errors.argValue("reason", reason, "is not valid UTF-8"), 0) end
  if code == nil and reason ~= "" then error(errors.argValue("code", code, "is missing: a reason needs one"), 0) end
end

--- Closes: what was sent goes out first, then the close frame; `close` comes when the peer has answered, or `closeTimeout`
--- has passed.
---@param code integer? 1000 to 1003, 1007 to 1014, 3000 to 4999; none by default
---@param reason string? up to 123 bytes
function WebSocket:close(code, reason)
  WebSocket._checkClose(code, reason)
  if self._abort then return self._abort() end
  if self.readyState ~= OPEN then return end
  core.close(self._c, code or core.limits.noStatus, reason)
  if self._reader then self._reader:close() end
  if self.isPaused then self:resume() end                  -- the answer is to be heard
end

--- Ends the connection at once: `close` comes with 1006.
function WebSocket:terminate()
  if self._abort then return self._abort() end
  if self._c then core.terminate(self._c) end
end

-- Topics --------------------------------------------------------------------------------------------------------------

local function checkTopics(self, topic, name)
  validate.string(topic, "topic")
  if not self._server then
    error(errors.coded("ERR_INVALID_STATE", ("%s is for the sockets of a WebSocketServer: a client has no topics"):format(name)), 0)
  end
end

--- What is published to the topic is sent to this socket from now on. Source: ours.
---@param topic string
function WebSocket:subscribe(topic)
  checkTopics(self, topic, "subscribe")
  core.subscribe(self._c, topic)
end

--- Ends that.
---@param topic string
function WebSocket:unsubscribe(topic)
  checkTopics(self, topic, "unsubscribe")
  core.unsubscribe(self._c, topic)
end

--- What it has subscribed to, in no order.
---@return string[]
function WebSocket:topics() return self._c and core.topics(self._c) or {} end

--- Sends to all subscribers of a topic but this socket, in all workers. Source: ours.
---@param topic string
---@param data string|number
---@param options SendOptions? `binary`, `compress`
---@return integer reached subscribers of this process
function WebSocket:publish(topic, data, options)
  checkTopics(self, topic, "publish")
  return self._server:_publish(topic, data, options, self._c)
end

calls.methods(WebSocket, "socket", { send = true })

-- Its life ------------------------------------------------------------------------------------------------------------

local module = { WebSocket = WebSocket }

--- Makes a server's socket.
---@param server WebSocketServer
---@return WebSocket
function module.make(server) return setmetatable({ _c = false, readyState = OPEN, _server = server }, WebSocket) end

--- Hangs a socket on the stream of its handshake: it is open. Call `start` then.
---@param self WebSocket
---@param group SocketGroup
---@param handle userdata a stream handle
---@param protocol string
---@param agreed DeflateAgreement?
---@param counted Server|false|nil a server's: which other than its own counts the connection, and hears of its end; false: none
---@return boolean open false: the stream is closed
function module.attach(self, group, handle, protocol, agreed, counted)
  local c
  if agreed then
    c = core.attach(group.core, handle, self, agreed.inflate, agreed.inflateGoesOn, agreed.deflate, agreed.deflateGoesOn)
  else
    c = core.attach(group.core, handle, self)
  end
  if not c then return false end
  self._c = c
  if not self._server then self._group, self.readyState = group, OPEN end         -- C's side of it is to live
  if protocol ~= "" then self.protocol = protocol end
  if agreed then self.extensions = "permessage-deflate" end
  if counted ~= nil then self._counted = counted end
  group:watch()
  return true
end

--- Writes what was sent so far, then reads, after bytes that have come already.
---@param self WebSocket
---@param received string?
function module.start(self, received) core.start(self._c, received) end

--- Ends a socket that never was open.
---@param self WebSocket
function module.fail(self)
  self.readyState = CLOSED
  emit(self, "close", core.limits.abnormal, "")
end

-- C's calls -----------------------------------------------------------------------------------------------------------

-- Calls the listeners of a server's socket; one that throws ends its connection.
local function dispatchGuarded(self, name, ...)
  if xpcall(emit, report, self, name, ...) then return end
  if self.readyState == OPEN then self:close(INTERNAL_ERROR) end
end

local function dispatch(self, name, ...)
  local all = self._listeners
  if not (all and all[name]) then return end
  if self._server then return dispatchGuarded(self, name, ...) end
  emit(self, name, ...)
end

local function answerAll(self)
  local waiting = self._waiting
  if not waiting then return end
  self._waiting = false
  local err = notOpen(self)
  for i = 2, #waiting, 2 do nextTick(waiting[i], err) end
end

-- `written` bytes were, of all that was sent.
local function answer(self, written)
  local waiting, left = self._waiting, nil
  if not waiting then return end
  self._waiting = false
  for i = 1, #waiting, 2 do
    if waiting[i] <= written then
      nextTick(waiting[i + 1])
    else
      left = left or {}
      left[#left + 1], left[#left + 2] = waiting[i], waiting[i + 1]
    end
  end
  if not left then return end
  self._waiting = left
  core.tell(self._c)
end

local function onMessage(self, data, isBinary)
  local reader = rawget(self, "_reader")                   -- most have none: the way to the class's would be most of this
  if reader then reader:take(data, isBinary) end
  local all = self._listeners
  local listener = all and all.message
  if not listener then return end
  if type(listener) == "function" and self._server then
    if xpcall(listener, report, data, isBinary) then return end
    if self.readyState == OPEN then self:close(INTERNAL_ERROR) end
    return
  end
  return dispatch(self, "message", data, isBinary)
end

core.setup{
  onmessage = onMessage,
  oncontrol = dispatch,
  onsent = function(self, written, drained)
    answer(self, written)
    if drained then dispatch(self, "drain") end
  end,
  onfault = function(self, status, code, reason)
    dispatch(self, "error", errors.coded(code, reason, { status = status }))
  end,
  onfailed = function(self, told) dispatch(self, "error", errors.coded(told.code, told.message, told)) end,
  onclosed = function(self, code, reason)
    self.readyState = CLOSED
    answerAll(self)
    if self._reader then self._reader:finish() end
    if self._server then self._server:_left(self, self._counted) end
    dispatch(self, "close", code, reason)
  end,
}

return module
