--- Messages that are being sent: their headers, and how far they have come. ServerResponse and ClientRequest build on it.
local calls = require("lrun.check.calls")
local core = require("lrun.core.http")
local errors = require("errors")
local validate = require("lrun.check.validate")
local events = require("events")
local process = require("process")
local destroy = require("lrun.stream.destroy")

local bor = require("bit").bor
local nextTick = process.nextTick

local outgoing = {}

--- Event finish(): all was given to the system
--- Event drain(): the queue is empty after `write` returned false
--- Event timeout()
--- Event close()
--- Event error(err: any)
---@class OutgoingMessage: EventEmitter
---@field headersSent boolean the head is on its way
---@field sendDate boolean false leaves the Date header out
---@field writableEnded boolean finish was called
---@field writableFinished boolean all was given to the system
---@field finished boolean the old name of `writableEnded`
---@field writable boolean
---@field writableNeedDrain boolean
---@field writableLength integer bytes that the kernel has not
---@field writableCorked integer 0: output is gathered anyway
---@field destroyed boolean
local OutgoingMessage = events.EventEmitter:extend("OutgoingMessage")
OutgoingMessage.sendDate = true
OutgoingMessage._state = 0
OutgoingMessage._headFlags = 0
OutgoingMessage._special = false     -- its end is not the common one: trailers, or a body that may be coded
OutgoingMessage.writableNeedDrain = false
OutgoingMessage.destroyed = false
OutgoingMessage.closed = false
OutgoingMessage.writableHighWaterMark = core.limits.highWater
OutgoingMessage.writableObjectMode = false
outgoing.OutgoingMessage = OutgoingMessage

-- How far a message has come (`_state`). Coded: begun, and the body goes through a coder. Awaited: ended, and somebody is told
-- when the kernel has it all.
local states = { fresh = 0, head = 1, begun = 2, coded = 3, ended = 4, awaited = 5, finished = 6 }
outgoing.states = states

-- The computed fields of an outgoing message; its classes look here after their methods.
outgoing.getters = {
  headersSent = function(self) return self._state >= states.head end,
  writableEnded = function(self) return self._state >= states.ended end,
  finished = function(self) return self._state >= states.ended end,
  writableFinished = function(self) return self:_isSent() end,
  writable = function(self) return self._state < states.ended and not self.destroyed end,
  -- What stream.finished and stream.pipeline look at.
  _ws = function(self) return { finished = self:_isSent() } end,
  writableLength = function(self)
    local connection = self._connection
    return connection and not connection.closed and core.pending(connection.c, self._id) or 0
  end,
  writableCorked = function() return 0 end,
}

--- Gives a class of outgoing messages its `__index`: methods first, most lookups are theirs. Classes are looked at each
--- time, so that what a program adds to one is seen by the messages that there are.
---@param class table
---@param getters table<string, fun(self: any): any>
function outgoing.define(class, getters)
  local computed, all = class.__getters, class.__allGetters        -- the second is what subclasses copy
  for key, getter in pairs(outgoing.getters) do computed[key], all[key] = getter, getter end
  for key, getter in pairs(getters) do computed[key], all[key] = getter, getter end
  class.__index = function(self, key)
    local value = class[key]
    if value ~= nil then return value end
    local getter = computed[key]
    if getter then return getter(self) end
  end
end
jit.off(outgoing.define)      -- runs while modules load

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
outgoing.lowerName = lowerName

local function checkText(name, value)
  if type(value) == "number" or type(value) == "string" and isText(value) then return value end
  if type(value) ~= "string" then
    error(errors.coded("ERR_HTTP_INVALID_HEADER_VALUE",
      ('Invalid value "%s" for header "%s"'):format(tostring(value), name)), 0)
  end
  error(errors.coded("ERR_INVALID_CHAR", ('Invalid character in header content ["%s"]'):format(name)), 0)
end

-- A value or a list of them, checked. An empty list is a header without a line.
local function checkValue(name, value)
  if type(value) ~= "table" then return checkText(name, value) end
  local list = {}
  for i = 1, #value do list[i] = checkText(name, value[i]) end
  if #list == 0 and next(value) ~= nil then checkText(name, value) end
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

local function remove(self, lower)
  local place = self._places and self._places[lower]
  if not place then return end
  table.remove(self._fields, place)
  table.remove(self._fields, place)
  self._places[lower] = nil
  for each, at in pairs(self._places) do
    if at > place then self._places[each] = at - 2 end
  end
end

--- Sets a header, or takes it back, whatever the state: for what is decided when the head is sent.
---@param message OutgoingMessage
---@param name string
---@param value string? nil: none
function outgoing.replaceHeader(message, name, value)
  local lower = lowerName(name)
  if value == nil then remove(message, lower) else put(message, lower, name, value) end
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

--- Calls `each(name, value)` for headers as programs write them: a table by name, names and values in turn, or a list of
--- `{ name, value }`.
---@param headers table
---@param each fun(name: any, value: any)
function outgoing.forEach(headers, each)
  validate.table(headers, "headers")
  if type(headers[1]) == "table" then
    for i, pair in ipairs(headers) do
      if type(pair) ~= "table" then error(errors.argType(("headers[%d]"):format(i), "table", pair), 0) end
      each(pair[1], pair[2])
    end
  elseif #headers > 0 then
    if #headers % 2 ~= 0 then error(errors.argValue("headers", headers, "must hold a value for each name"), 0) end
    for i = 1, #headers, 2 do each(headers[i], headers[i + 1]) end
  else
    for name, value in pairs(headers) do each(name, value) end
  end
end

--- Internal: headers of any such form; those of a list take the place of what was set, and repeat when they come twice.
---@param headers table
function OutgoingMessage:_take(headers)
  validate.table(headers, "headers")
  if #headers == 0 then
    for name, value in pairs(headers) do self:setHeader(name, value) end
    return
  end
  outgoing.forEach(headers, function(name) remove(self, lowerName(name)) end)
  outgoing.forEach(headers, function(name, value) self:appendHeader(name, value) end)
end

--- Sets all headers of a table.
---@param headers table<string, string|number|string[]>|table or a list, as in `writeHead`
---@return self
function OutgoingMessage:setHeaders(headers)
  self:_take(headers)
  return self
end

-- Lists are given out as copies: what is put into them afterwards was not checked.
local function given(value)
  if type(value) ~= "table" then return value end
  local copy = {}
  for i, each in ipairs(value) do copy[i] = each end
  return copy
end

---@param name string
---@return string|number|(string|number)[]|nil value as it was set
function OutgoingMessage:getHeader(name)
  validate.string(name, "name")
  local place = self._places and self._places[name:lower()]
  return place and given(self._fields[place + 1])
end

---@return table<string, string|string[]> headers lower-case names
function OutgoingMessage:getHeaders()
  local headers = {}
  for lower, place in pairs(self._places or {}) do headers[lower] = given(self._fields[place + 1]) end
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
  validate.string(name, "name")
  return self._places ~= nil and self._places[name:lower()] ~= nil
end

-- What C is told of a head; the last three: a header of ours that the program does not want.
local headFlags = core.headFlags
outgoing.headFlags = headFlags
local UNWANTED = { connection = headFlags.noConnection, ["content-length"] = headFlags.noLength, ["transfer-encoding"] = headFlags.noCoding }

--- Takes a header back; `date`, `connection`, `content-length` and `transfer-encoding` are then not added either.
---@param name string
function OutgoingMessage:removeHeader(name)
  validate.string(name, "name")
  notSent(self, "remove")
  local lower = name:lower()
  if lower == "date" then self.sendDate = false end
  if UNWANTED[lower] then self._headFlags = bor(self._headFlags, UNWANTED[lower]) end
  remove(self, lower)
end

--- Headers that follow a chunked body.
---@param headers table<string, string|number|string[]>|table or a list, as in `writeHead`
function OutgoingMessage:addTrailers(headers)
  local lines = {}
  outgoing.forEach(headers, function(name, value)
    lowerName(name)
    value = checkValue(name, value)
    for _, each in ipairs(type(value) == "table" and value or { value }) do
      lines[#lines + 1] = name .. ": " .. each .. "\r\n"
    end
  end)
  self._trailerLines = (self._trailerLines or "") .. table.concat(lines)
  self._special = true
end

outgoing.checkValue = checkValue

--- Throws for a piece of a body that is none.
function outgoing.checkChunk(chunk)
  validate.string(chunk, "chunk")
end

--- The answer to a write: `more` is what C says: true, false to wait for a drain, nil when the connection is gone.
---@return boolean
function outgoing.written(self, more, callback)
  if callback and more == false then
    local waiting = rawget(self, "_waiting") or {}
    waiting[#waiting + 1] = callback
    self._waiting = waiting
  elseif callback then
    nextTick(callback, more == nil and destroy.refusal("write") or nil)
  end
  if more == false then self.writableNeedDrain = true end
  return more == true
end

--- Gives C a range of a file as the next piece of the body.
---@param piece integer? bytes that may wait, by a descriptor of their own; nil: all
---@param callback (fun(err: Error?, bytes: integer))? the descriptor is not used any more
---@return boolean|"later"|"read"|nil more as C's `write` says; nothing was taken where the responses before it are not complete
--- ("later"), or where there is no descriptor left ("read")
---@return integer taken bytes
function outgoing.putFile(self, fd, offset, length, piece, callback)
  local more, taken = core.writeFile(self._connection.c, self._id, fd, offset, length, piece, callback and function(code, bytes)
    return callback(code and require("lrun.fs.sending").errorOf(code) or nil, bytes)
  end or nil)
  if more ~= nil then return more, taken or 0 end
  if callback then nextTick(callback, destroy.refusal("write"), 0) end
  return nil, 0
end

--- The callbacks of writes that had to wait get their turn, with the error when the connection is gone.
function outgoing.callBack(self, err)
  local waiting = rawget(self, "_waiting")
  if not waiting then return end
  self._waiting = nil
  for _, callback in ipairs(waiting) do nextTick(callback, err) end
end

local function emitDrain(self) self:emit("drain") end

--- All was written after `written` had returned false.
function outgoing.drained(self)
  self.writableNeedDrain = false
  if not rawget(self, "_waiting") then return emitDrain(self) end
  outgoing.callBack(self)
  nextTick(emitDrain, self)
end

--- A write that comes too late.
---@return boolean false
function outgoing.writeAfterEnd(self, callback)
  local err = self._state >= states.ended and errors.coded("ERR_STREAM_WRITE_AFTER_END", "write after end")
    or destroy.refusal("write")
  if callback then nextTick(callback, err) end
  if not self.destroyed then nextTick(function() self:emit("error", err) end) end
  return false
end

--- Has `callback` called at `finish`, or, with an error, when that never comes.
---@param callback fun(err: any?)
function outgoing.whenFinished(self, callback)
  local list = rawget(self, "_finishCallbacks") or {}
  list[#list + 1] = callback
  self._finishCallbacks = list
  self:once("finish", callback)
end

--- Whether there are callbacks for the next two.
---@return boolean
function outgoing.isAwaited(self) return (rawget(self, "_waiting") or rawget(self, "_finishCallbacks")) ~= nil end

--- `finish` will not come: who waits for it hears so.
function outgoing.failFinish(self, err)
  for _, callback in ipairs(rawget(self, "_finishCallbacks") or {}) do
    self:off("finish", callback)
    nextTick(callback, err)
  end
  self._finishCallbacks = nil
end

--- A finish that comes too late: without a chunk it harms nobody.
function outgoing.finishAgain(self, chunk, callback)
  local ended = self._state >= states.ended
  if chunk ~= nil and (ended or not self.destroyed) then return outgoing.writeAfterEnd(self, callback) end
  if not callback then return end
  if not ended then return nextTick(callback, destroy.refusal("finish")) end
  if not self.destroyed and not self:_isSent() then return outgoing.whenFinished(self, callback) end
  nextTick(callback, errors.coded("ERR_STREAM_ALREADY_FINISHED", "Cannot call finish after a stream was finished"))
end

--- Internal: whether the kernel has all of it.
---@return boolean
function OutgoingMessage:_isSent() return self._state >= states.finished end

calls.methods(OutgoingMessage, "res", { setHeader = true, new = true })

return outgoing
