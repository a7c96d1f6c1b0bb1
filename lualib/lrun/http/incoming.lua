--- The messages of HTTP that are received; those that are sent are in lrun/http/outgoing.lua.
--- Both are light: a table with a few fields a message. What a program may ask for is computed when it asks: headers from
--- the saved head, the stream state at the first stream method, the socket from the connection.
local calls = require("lrun.check.calls")
local core = require("lrun.core.http")
local errors = require("errors")
local process = require("process")
local Connection = require("lrun.http.connection")
local readable = require("lrun.stream.readable")

local bit = require("bit")
local band = bit.band
local nextTick = process.nextTick
local Readable = readable.Readable

local message = {}

-- What C says of a head.
local flags = core.flags
local BODY = flags.body
message.flags = flags

--- The error of bytes that are no HTTP: `rawPacket` is what was read last, `bytesParsed` how much of it belongs to good
--- messages.
function message.fault(code, reason, packet, parsed)
  local text = reason
  if code:find("^HPE_") and reason ~= "Parse Error" then text = "Parse Error: " .. reason end
  return errors.coded(code, text, { reason = reason, rawPacket = packet, bytesParsed = parsed })
end

-- IncomingMessage -----------------------------------------------------------------------------------------------------

--- Event aborted(): the other side went away before the end
--- Event timeout()
---@class IncomingMessage: Readable
---@field method string? of a request
---@field url string? of a request: the target as it came
---@field path string? of a request: the target's path, percent-encoded as it came
---@field query table<string, string|string[]>? of a request: what follows `?`, decoded; repeated names have a list
---@field statusCode integer? of a response
---@field statusMessage string? of a response
---@field httpVersion string
---@field headers table<string, string|string[]> lower-case names; repeated ones joined or dropped as in Node
---@field headersDistinct table<string, string[]>
---@field rawHeaders string[] names and values in turn
---@field trailers table<string, string>
---@field rawTrailers string[]
---@field trailersDistinct table<string, string[]>
---@field httpVersionMajor integer
---@field httpVersionMinor integer
---@field connection Socket the same as `socket`
---@field complete boolean the whole message was received
---@field aborted boolean
---@field socket Socket
local IncomingMessage = Readable:extend("IncomingMessage")
IncomingMessage.destroyed = false
IncomingMessage.closed = false
IncomingMessage.aborted = false
IncomingMessage._errorEmitted = false
IncomingMessage._closeEmitted = false
IncomingMessage._emitClose = true
IncomingMessage._autoDestroy = true
IncomingMessage._ws = false
IncomingMessage._consumed = false
IncomingMessage._gathered = false    -- what `body` has so far, while nobody else looks at the message
IncomingMessage._response = false
message.IncomingMessage = IncomingMessage

local function emitClose(self)
  if self._closeEmitted then return end
  self._closeEmitted = true
  self:emit("close")
end

local function cached(name, compute)
  IncomingMessage:getter(name, function(self)
    local value = compute(self)
    rawset(self, name, value)
    return value
  end)
end

cached("headers", function(self) return core.headers(self._head) end)
cached("headersDistinct", function(self) return core.headersDistinct(self._head) end)
cached("rawHeaders", function(self) return core.rawHeaders(self._head) end)

--- Internal: the head as it came.
---@return string
function IncomingMessage:_rawHead() return self._head end

--- Internal: the target as it came, whatever the program has made of `url`.
---@return string
function IncomingMessage:_target() return core.target(self._head) end

-- Of a request only. Not kept: taking them out of the head again costs less than a larger table.
local function ofRequest(name, read)
  IncomingMessage:getter(name, function(self)
    if rawget(self, "statusCode") then return nil end
    return read(self._head)
  end)
end
ofRequest("method", core.method)
ofRequest("url", core.target)

IncomingMessage:getter("path", function(self)
  local url = self.url
  if not url then return nil end
  local path = url:match("^[^?#]*")
  return path:find("^%a[%w+.-]*://") and (path:match("^%a[%w+.-]*://[^/]*(/.*)$") or "/") or path
end)

cached("query", function(self)
  local url = self.url
  return url and require("querystring").parse(url:match("^[^?#]*%?([^#]*)") or "")
end)

-- Trailers are known at the end only: not kept before.
local function trailers(name, read)
  IncomingMessage:getter(name, function(self)
    local section = rawget(self, "_trailers")
    return section and read(section, false) or {}
  end)
end
trailers("trailers", core.headers)
trailers("trailersDistinct", core.headersDistinct)
trailers("rawTrailers", core.rawHeaders)

IncomingMessage:getter("httpVersionMajor", function() return 1 end)
IncomingMessage:getter("httpVersionMinor", function(self) return band(self._flags, flags.minor) ~= 0 and 1 or 0 end)
IncomingMessage:getter("httpVersion", function(self) return band(self._flags, flags.minor) ~= 0 and "1.1" or "1.0" end)
IncomingMessage:getter("complete", function(self)
  return rawget(self, "_isComplete") or band(self._flags, BODY) == 0
end)
-- Of a request; a response to a client's has the field.
IncomingMessage:getter("_connection", function(self) return self._response:_getConnection() end)
IncomingMessage:getter("socket", function(self) return self._connection:getSocket() end)
IncomingMessage:getter("connection", function(self) return self._connection:getSocket() end)
IncomingMessage:getter("statusMessage", function(self)
  return self.statusCode and (self._head:match("^HTTP/1%.%d %d%d%d ?([^\r]*)") or "") or nil
end)

local collect

-- Somebody else looks at a message that `body` gathers: it goes on as one of those who listen.
local function scatter(self)
  local gathered = self._gathered
  self._gathered = false
  collect(self, gathered.limit, gathered.callback, gathered)
end

-- The stream state: made when something asks for it. A message without a body has ended already.
IncomingMessage:getter("_rs", function(self)
  readable.initialize(self, {})
  local rs = rawget(self, "_rs")
  rs.continuous = true
  if self.complete then rs.ended = true end
  if self._gathered then scatter(self) end
  return rs
end)

function IncomingMessage:_read()
  self._consumed = true
  if rawget(self, "_paused") then
    self._paused = nil
    core.resume(self._connection.c)
  end
end

-- Who listens to a request after its response was finished is told, too.
for _, name in ipairs { "on", "addListener", "once", "prependListener", "prependOnceListener" } do
  IncomingMessage[name] = function(self, event, listener)
    if self._gathered then scatter(self) end
    Readable[name](self, event, listener)
    if self.closed and not self._closeEmitted then nextTick(emitClose, self) end
    local response = self._response
    if response then response:_onListener() end
    return self
  end
end

--- Whether its end is still to be told to somebody, or the rest of it to be thrown away, once the response is sent.
---@param self IncomingMessage
---@return boolean
function message.isOpen(self)
  if rawget(self, "_listeners") == nil and rawget(self, "_rs") == nil and (band(self._flags, BODY) == 0 or rawget(self, "_isComplete")) then
    return false
  end
  return not self.readableEnded
end
local isOpen = message.isOpen

--- Internal: the response was sent. A body that somebody reads is delivered to its end; what nobody reads is thrown away,
--- and `end` and `close` come when all of it has come.
---@param id integer the response's
function IncomingMessage:_over(id)
  if self.destroyed or not isOpen(self) then return end
  local rs, listeners = rawget(self, "_rs"), rawget(self, "_listeners")
  if self._consumed or rs and (rs.flowing or rs.readableListening) then return end
  if listeners then
    self:removeAllListeners("data")
    self:resume()
  elseif not self.complete then
    self._connection:ignore(self, id)
  end
end

-- A message that is given up: its connection ends.
function IncomingMessage:_destroy(err, callback)
  if not self.readableEnded or not self.complete then
    self.aborted = true
    self:emit("aborted")
    local connection, response = self._connection, self._response
    if response then
      response:_onRequestDestroyed(connection.incoming == self)
    elseif connection.incoming == self then
      connection:drop()
    end
    local gathered = self._gathered
    if gathered then
      self._gathered = false
      nextTick(gathered.callback, err or Connection.lost())
    end
  end
  if err ~= nil and self:listenerCount("error") == 0 then err = nil end
  local request = rawget(self, "req")
  if request then request:_responseOver() end
  callback(err)
end

--- Calls the listener after `ms` without traffic on the connection; the limit ends with the message's response.
--- Source: Node 20.
---@param ms integer
---@param listener function?
---@return self
function IncomingMessage:setTimeout(ms, listener)
  local response = self._response
  Connection.checkLimit(ms)
  if listener then self:on("timeout", listener) end
  if response then response:setTimeout(ms)
  elseif self.req then self._connection:limit(self.req, ms) end
  return self
end

local DEFAULT_BODY_LIMIT = 1024 * 1024

local function tooLarge(limit)
  return errors.coded("ERR_HTTP_BODY_TOO_LARGE", ("request body is larger than %d bytes"):format(limit),
    { statusCode = 413, limit = limit })
end

-- Takes the body as one of those who listen, behind the pieces that were gathered.
function collect(self, limit, callback, gathered)
  local parts, size, done = gathered or {}, gathered and gathered.size or 0, false
  local onData, onEnd, onError, onClose
  local function finish(err, text)
    if done then return end
    done = true
    self:off("data", onData):off("end", onEnd):off("error", onError):off("close", onClose)
    callback(err, text)
  end
  function onData(chunk)
    size = size + #chunk
    if size > limit then
      nextTick(function() self:resume() end)
      return finish(tooLarge(limit))
    end
    parts[#parts + 1] = chunk
  end
  function onEnd() finish(nil, table.concat(parts)) end
  function onError(err) finish(err) end
  function onClose() finish(Connection.lost()) end
  self:on("data", onData):on("end", onEnd):on("error", onError):on("close", onClose)
end

-- Takes the body without the ways of streams, for as long as nobody else looks at the message: most bodies of requests.
local function gather(self, limit, callback)
  self._consumed = true
  self._gathered = { limit = limit, size = 0, callback = callback }
end

local function gatherMore(self, gathered, chunk)
  gathered.size = gathered.size + #chunk
  if gathered.size <= gathered.limit then
    gathered[#gathered + 1] = chunk
    return
  end
  self._gathered = false
  self:resume()                      -- the rest is thrown away
  gathered.callback(tooLarge(gathered.limit))
end

local function gatherEnd(self, gathered)
  self._gathered = false
  self.readableEnded, self.destroyed, self.closed = true, true, true      -- `close` is emitted when somebody listens
  local request = rawget(self, "req")
  if request then request:_responseOver() end
  gathered.callback(nil, #gathered == 1 and gathered[1] or table.concat(gathered))
end

--- The whole body; waits for it, inside a coroutine. Throws an error with `statusCode` 413 past the limit; a handler
--- that lets it pass answers with that status. Source: ours.
---@param limit integer? bytes, 1 MiB by default
---@return string
function IncomingMessage:body(limit)
  if limit ~= nil and (type(limit) ~= "number" or limit < 0) then error(errors.argType("limit", "number", limit), 0) end
  if self.readableEnded or self.complete and not rawget(self, "_rs") then return "" end
  if self.destroyed then error(Connection.lost(), 0) end
  local isAlone = not self._gathered and rawget(self, "_rs") == nil and rawget(self, "_listeners") == nil
  local err, text = require("await")(isAlone and gather or collect, self, limit or DEFAULT_BODY_LIMIT)
  if err ~= nil then error(err, 0) end
  return text
end

--- Internal: a piece of the body came.
---@param chunk string
function IncomingMessage:_receive(chunk)
  if self.destroyed then return end
  local gathered = self._gathered
  if gathered then return gatherMore(self, gathered, chunk) end
  if not self:push(chunk) and not self._rs.ended then self:_hold() end
end

--- Internal: the reader has enough.
function IncomingMessage:_hold()
  self._paused = true
  core.pause(self._connection.c)
end

--- Internal: all of it came.
---@param section string? the trailers
function IncomingMessage:_complete(section)
  self._isComplete = true
  if section then self._trailers = section end
  local gathered = self._gathered
  if gathered then return gatherEnd(self, gathered) end
  if self._consumed or rawget(self, "_rs") or rawget(self, "_listeners") then
    if not self.destroyed then self:push(nil) end
  end
end

--- Ends the message at once; its connection, too, unless all of it had come. `error` (when given) and `close` follow.
---@param err any?
---@return self
function IncomingMessage:destroy(err)
  if self.destroyed or err ~= nil or not (self.readableEnded and self.complete) or rawget(self, "req") then
    return Readable.destroy(self, err)
  end
  self.destroyed, self.closed = true, true     -- it was read to its end: most have nobody who listens
  nextTick(emitClose, self)
  return self
end

-- A request of a server, its response's. Constants first: a constructor with only constants is one copy of a table of the
-- right size, here with room for `headers`; a body's request has room for what a stream adds: to grow by steps costs more
-- than the rest.
function message.request(response, head, bits, class)
  local self
  if band(bits, BODY) == 0 then
    self = { _response = false, _head = false, _flags = 0 }
  else
    self = {
      _response = false, _head = false, _flags = 0, _isComplete = false, readableEnded = false, destroyed = false,
      closed = false, _closeEmitted = false, _failed = false,
    }
  end
  self._response, self._head, self._flags = response, head, bits
  response.req = self
  return setmetatable(self, class)
end

--- The response to a client's request.
function message.response(connection, request, status, head, bits)
  local self = { _connection = false, _head = false, _flags = 0, statusCode = 0, req = false }
  self._connection, self._head, self._flags, self.statusCode, self.req = connection, head, bits, status, request
  return setmetatable(self, IncomingMessage)
end

calls.methods(IncomingMessage, "req", { push = true, new = true })

return message
