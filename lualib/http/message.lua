--- The messages of HTTP: what was received (IncomingMessage) and what is being sent (OutgoingMessage).
--- Both are light: a table with a few fields a message. What a program may ask for is computed when it asks: headers from
--- the saved head, the stream state at the first stream method, the socket from the connection.
local calls = require("lrun.calls")
local core = require("lrun.http")
local errors = require("errors")
local events = require("events")
local process = require("process")
local readable = require("lrun.readable")

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

-- What runtime/http_conn.c says of a head.
local flags = { body = 1, keepAlive = 2, minor = 4, upgrade = 8, expect = 16, expect100 = 32, last = 64 }
message.flags = flags

-- IncomingMessage -----------------------------------------------------------------------------------------------------

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
      self._refused = 413
      nextTick(function() self:resume() end)
      return finish(err)
    end
    parts[#parts + 1] = chunk
  end
  function onEnd() finish(nil, table.concat(parts)) end
  function onError(err) finish(err) end
  function onClose() finish(errors.coded("ECONNRESET", "aborted")) end
  self:on("data", onData):on("end", onEnd):on("error", onError):on("close", onClose)
end

--- The whole body; waits for it, inside a coroutine. Throws an error with `statusCode` 413 past the limit; a handler
--- that lets it pass answers with that status. Source: ours.
---@param limit integer? bytes, 1 MiB by default
---@return string
function IncomingMessage:body(limit)
  if limit ~= nil and (type(limit) ~= "number" or limit < 0) then error(errors.argType("limit", "number", limit), 0) end
  if self.readableEnded or self.complete and not rawget(self, "_rs") then return "" end
  if self.destroyed then error(errors.coded("ECONNRESET", "aborted"), 0) end
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

-- OutgoingMessage -----------------------------------------------------------------------------------------------------

---@class OutgoingMessage: EventEmitter
---@field headersSent boolean the head is on its way
---@field sendDate boolean false leaves the Date header out
---@field writableEnded boolean finish was called
---@field writableFinished boolean all was given to the system
---@field writable boolean
---@field destroyed boolean
local OutgoingMessage = events.EventEmitter:extend("OutgoingMessage")
OutgoingMessage.sendDate = true
OutgoingMessage._state = 0
OutgoingMessage.writableNeedDrain = false
OutgoingMessage.destroyed = false
OutgoingMessage.closed = false
OutgoingMessage.writableHighWaterMark = 64 * 1024
OutgoingMessage.writableObjectMode = false
message.OutgoingMessage = OutgoingMessage

-- How far a message has come (`_state`).
local states = { fresh = 0, head = 1, begun = 2, ended = 3, finished = 4 }
message.states = states

-- The computed fields of an outgoing message; its classes look here after their methods.
message.outgoingGetters = {
  headersSent = function(self) return self._state >= states.head end,
  writableEnded = function(self) return self._state >= states.ended end,
  finished = function(self) return self._state >= states.ended end,
  writableFinished = function(self) return self._state >= states.finished end,
  writable = function(self) return self._state < states.ended and not self.destroyed end,
  -- What stream.finished and stream.pipeline look at.
  _ws = function(self) return { finished = self._state >= states.finished } end,
  writableLength = function(self)
    local connection = self._connection
    return connection and core.pending(connection.c, self._id) or 0
  end,
  writableCorked = function() return 0 end,
}

--- Gives a class of outgoing messages its `__index`: methods first, most lookups are theirs.
---@param class table
---@param getters table<string, fun(self: any): any>
function message.defineOutgoing(class, getters)
  local methods = {}
  local each = class
  while each do
    for key, value in pairs(each) do if methods[key] == nil then methods[key] = value end end
    each = rawget(each, "super")
  end
  for key, getter in pairs(message.outgoingGetters) do
    if not getters[key] then getters[key] = getter end
  end
  class.__index = function(self, key)
    local value = methods[key]
    if value ~= nil then return value end
    local getter = getters[key]
    if getter then return getter(self) end
  end
end

local isToken, isText = core.isToken, core.isText

-- Names that were checked, as given → lower case. Emptied before it can grow without end.
local lowered, loweredCount = {}, 0

local function lowerName(name)
  local lower = lowered[name]
  if lower then return lower end
  if type(name) ~= "string" or not isToken(name) then
    error(errors.coded("ERR_INVALID_HTTP_TOKEN",
      ('Header name must be a valid HTTP token ["%s"]'):format(tostring(name))), 0)
  end
  if loweredCount >= 512 then lowered, loweredCount = {}, 0 end
  loweredCount = loweredCount + 1
  lower = name:lower()
  lowered[name] = lower
  return lower
end
message.lowerName = lowerName

local function checkText(name, value)
  if type(value) == "number" then value = tostring(value) end
  if type(value) == "string" and isText(value) then return value end
  if type(value) ~= "string" then
    error(errors.coded("ERR_HTTP_INVALID_HEADER_VALUE",
      ('Invalid value "%s" for header "%s"'):format(tostring(value), name)), 0)
  end
  error(errors.coded("ERR_INVALID_CHAR", ('Invalid character in header content ["%s"]'):format(name)), 0)
end

-- A value or a list of them, checked.
local function checkValue(name, value)
  if type(value) ~= "table" then return checkText(name, value) end
  local list = {}
  for i = 1, #value do list[i] = checkText(name, value[i]) end
  if #list == 0 then checkText(name, nil) end
  return list
end

local function notSent(self, verb)
  if self._state >= states.head then
    error(errors.coded("ERR_HTTP_HEADERS_SENT", ("Cannot %s headers after they are sent to the client"):format(verb)), 0)
  end
end

-- `_fields` is { name, value, name, value, … } in the order of sending; `_places` maps lower-case names into it.
local function put(self, lower, name, value)
  local fields = self._fields
  if not fields then
    fields = {}
    self._fields, self._places = fields, {}
  end
  local place = self._places[lower]
  if not place then
    place = #fields + 1
    self._places[lower] = place
  end
  fields[place], fields[place + 1] = name, value
end

--- Sets a header; several values of one name as a list. Throws for a name or value that may not stand in a head.
---@param name string
---@param value string|number|string[]
---@return self
function OutgoingMessage:setHeader(name, value)
  if type(self) ~= "table" then calls.needsColon("res", "setHeader") end
  local lower = lowerName(name)
  notSent(self, "set")
  put(self, lower, name, checkValue(name, value))
  return self
end

--- Adds values to a header.
---@param name string
---@param value string|number|string[]
---@return self
function OutgoingMessage:appendHeader(name, value)
  local lower = lowerName(name)
  notSent(self, "append")
  value = checkValue(name, value)
  local place = self._places and self._places[lower]
  if not place then
    put(self, lower, name, value)
    return self
  end
  local present = self._fields[place + 1]
  local list = type(present) == "table" and present or { present }
  for _, each in ipairs(type(value) == "table" and value or { value }) do list[#list + 1] = each end
  self._fields[place + 1] = list
  return self
end

--- Sets all headers of a table.
---@param headers table<string, string|number|string[]>
---@return self
function OutgoingMessage:setHeaders(headers)
  if type(headers) ~= "table" then error(errors.argType("headers", "table", headers), 0) end
  for name, value in pairs(headers) do self:setHeader(name, value) end
  return self
end

---@param name string
---@return string|string[]|nil
function OutgoingMessage:getHeader(name)
  if type(name) ~= "string" then error(errors.argType("name", "string", name), 0) end
  local place = self._places and self._places[name:lower()]
  return place and self._fields[place + 1]
end

---@return table<string, string|string[]> headers lower-case names
function OutgoingMessage:getHeaders()
  local headers = {}
  for lower, place in pairs(self._places or {}) do headers[lower] = self._fields[place + 1] end
  return headers
end

---@return string[] names lower case, in the order of sending
function OutgoingMessage:getHeaderNames()
  local names = {}
  local fields = self._fields or {}
  for i = 1, #fields, 2 do names[#names + 1] = fields[i]:lower() end
  return names
end

---@return string[] names as they were set
function OutgoingMessage:getRawHeaderNames()
  local names = {}
  local fields = self._fields or {}
  for i = 1, #fields, 2 do names[#names + 1] = fields[i] end
  return names
end

---@param name string
---@return boolean
function OutgoingMessage:hasHeader(name)
  if type(name) ~= "string" then error(errors.argType("name", "string", name), 0) end
  return self._places ~= nil and self._places[name:lower()] ~= nil
end

---@param name string
function OutgoingMessage:removeHeader(name)
  if type(name) ~= "string" then error(errors.argType("name", "string", name), 0) end
  notSent(self, "remove")
  local lower = name:lower()
  if lower == "date" then self.sendDate = false end
  local place = self._places and self._places[lower]
  if not place then return end
  table.remove(self._fields, place)
  table.remove(self._fields, place)
  self._places[lower] = nil
  for each, at in pairs(self._places) do
    if at > place then self._places[each] = at - 2 end
  end
end

-- Lines for the end of a chunked body.
--- Headers that follow a chunked body.
---@param headers table<string, string>|string[][] or a list of `{ name, value }`
function OutgoingMessage:addTrailers(headers)
  if type(headers) ~= "table" then error(errors.argType("headers", "table", headers), 0) end
  local lines = {}
  local function add(name, value)
    lowerName(name)
    lines[#lines + 1] = name .. ": " .. checkText(name, value) .. "\r\n"
  end
  if #headers > 0 then
    for _, pair in ipairs(headers) do add(pair[1], pair[2]) end
  else
    for name, value in pairs(headers) do add(name, value) end
  end
  self._trailerLines = (self._trailerLines or "") .. table.concat(lines)
end

message.checkValue = checkValue

calls.methods(IncomingMessage, "req", { push = true, new = true })
calls.methods(OutgoingMessage, "res", { setHeader = true, new = true })

return message
