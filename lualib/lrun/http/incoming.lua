--- The messages of HTTP that are received; those that are sent are in lrun/http/outgoing.lua.
--- Both are light: a table with a few fields a message. What a program may ask for is computed when it asks: headers from
--- the saved head, the stream state at the first stream method, the socket from the connection.
local calls = require("lrun.check.calls")
local core = require("lrun.core.http")
local errors = require("errors")
local process = require("process")
local readable = require("lrun.stream.readable")

local bit = require("bit")
local band = bit.band
local nextTick = process.nextTick
local Readable = readable.Readable

local message = {}

--- Emits `timeout` after `ms` without traffic on the connection.
function message.setTimeout(connection, ms)
  if type(ms) ~= "number" or ms < 0 then error(errors.argType("msecs", "number", ms), 0) end
  core.setTimeout(connection.c, ms)
  connection.server:_limit(ms)
end

-- What C says of a head.
local flags = core.flags
message.flags = flags

--- The error of bytes that are no HTTP: `rawPacket` is what was read last, `bytesParsed` how much of it belongs to good
--- messages.
function message.fault(code, reason, packet, parsed)
  local text = reason
  if code:find("^HPE_") and reason ~= "Parse Error" then text = "Parse Error: " .. reason end
  return errors.coded(code, text, { reason = reason, rawPacket = packet, bytesParsed = parsed })
end

--- The error of a message whose connection ended before it did.
function message.lost() return errors.coded("ECONNRESET", "aborted") end

-- IncomingMessage -----------------------------------------------------------------------------------------------------

--- Event aborted(): the other side went away before the end
--- Event timeout()
---@class IncomingMessage: Readable
---@field method string? of a request
---@field url string? of a request: the target as it came
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
IncomingMessage._autoDestroy = false
IncomingMessage._ws = false
message.IncomingMessage = IncomingMessage

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

-- Of a request only. Not kept: taking them out of the head again costs less than a larger table.
local function ofRequest(name, read)
  IncomingMessage:getter(name, function(self)
    if rawget(self, "statusCode") then return nil end
    return read(self._head)
  end)
end
ofRequest("method", core.method)
ofRequest("url", core.target)

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
  return rawget(self, "_complete") or band(self._flags, flags.body) == 0
end)
IncomingMessage:getter("socket", function(self) return message.socketOf(self._connection) end)
IncomingMessage:getter("connection", function(self) return message.socketOf(self._connection) end)
IncomingMessage:getter("statusMessage", function(self)
  return self.statusCode and (self._head:match("^HTTP/1%.%d %d%d%d ?([^\r]*)") or "") or nil
end)

-- The stream state: made when something asks for it. A message without a body has ended already.
IncomingMessage:getter("_rs", function(self)
  readable.initialize(self, {})
  local rs = rawget(self, "_rs")
  rs.continuous = true
  rs.reading = true
  if self.complete then rs.ended, rs.reading = true, false end
  return rs
end)

function IncomingMessage:_read()
  if rawget(self, "_paused") then
    self._paused = nil
    core.resume(self._connection.c)
  end
end

-- Whether the connection still has to do with the message.
local function isCurrent(connection, incoming)
  if connection.incoming == incoming then return true end
  local response = connection.response
  if response and response.req == incoming then return true end
  for _, each in pairs(connection.later or {}) do
    if each.req == incoming then return true end
  end
  return false
end

-- A message that is given up: its connection ends.
function IncomingMessage:_destroy(err, callback)
  if not self.readableEnded or not self.complete then
    self.aborted = true
    self:emit("aborted")
  end
  local connection = self._connection
  if self.aborted and not connection.closed and isCurrent(connection, self) then core.close(connection.c) end
  if err ~= nil and self:listenerCount("error") == 0 then err = nil end
  local request = rawget(self, "req")
  if request then request:_responseOver() end
  callback(err)
end

--- Calls the listener after `ms` without traffic on the connection. Source: Node 20.
---@param ms integer
---@param listener function?
---@return self
function IncomingMessage:setTimeout(ms, listener)
  if listener then self:on("timeout", listener) end
  message.setTimeout(self._connection, ms)
  return self
end

local DEFAULT_BODY_LIMIT = 1024 * 1024

local function collect(self, limit, callback)
  local parts, size, done = {}, 0, false
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
      local err = errors.coded("ERR_HTTP_BODY_TOO_LARGE", ("request body is larger than %d bytes"):format(limit),
        { statusCode = 413, limit = limit })
      nextTick(function() self:resume() end)
      return finish(err)
    end
    parts[#parts + 1] = chunk
  end
  function onEnd() finish(nil, table.concat(parts)) end
  function onError(err) finish(err) end
  function onClose() finish(message.lost()) end
  self:on("data", onData):on("end", onEnd):on("error", onError):on("close", onClose)
end

--- The whole body; waits for it, inside a coroutine. Throws an error with `statusCode` 413 past the limit; a handler
--- that lets it pass answers with that status. Source: ours.
---@param limit integer? bytes, 1 MiB by default
---@return string
function IncomingMessage:body(limit)
  if limit ~= nil and (type(limit) ~= "number" or limit < 0) then error(errors.argType("limit", "number", limit), 0) end
  if self.readableEnded or self.complete and not rawget(self, "_rs") then return "" end
  if self.destroyed then error(message.lost(), 0) end
  local err, text = require("await")(collect, self, limit or DEFAULT_BODY_LIMIT)
  if err ~= nil then error(err, 0) end
  return text
end

-- What the connection calls.

function message.onData(connection, chunk)
  local incoming = connection.incoming
  if not incoming or incoming.destroyed then return end
  if not incoming:push(chunk) and not incoming._rs.ended then
    incoming._paused = true
    core.pause(connection.c)
  end
end

function message.onEnd(connection, section)
  local incoming = connection.incoming
  if not incoming then return end
  connection.incoming = nil
  incoming._complete = true
  incoming._trailers = section
  if not incoming.destroyed then incoming:push(nil) end
end

calls.methods(IncomingMessage, "req", { push = true, new = true })

return message
