--- Makes messages of shapes that come again and again: the same tables, the same keys and the same kinds of values, in their order.
--- For each of a few such shapes there is a function (lrun.ipc.maker), which compiled code runs in a fraction of the time that
--- string.buffer takes, to which all other messages are left.
---
--- Of a short message runtime/ipc/check.c has told the shape in a number (`shape` in runtime/ipc/channel.h), by which its function
--- is found. Two shapes may have the same number; then the function finds out. Long ones are tried with each of a few functions.
local channels = require("lrun.core.channel")
local ffi = require("ffi")
local maker = require("lrun.ipc.maker")

local shapes = {}

local SIGHTINGS = 32                 -- of a shape, before there is a function for it
local SEEN_MAX = 256                 -- shapes that a channel counts
local PER_CHANNEL = 32               -- shapes that a channel has functions for: compiled code goes through one after the other
local MADE_MAX = 64                  -- functions for a buffer, and for long messages: channels with the same keys share them
local MISSES = 16                    -- messages that a function does not make; then it is used no more

local LONG_SIGHTINGS = 8             -- long messages that no function makes, before one is made for the last of them
local LONG_FUNCTIONS = 4             -- of a channel
local LONG_TRIES = 16                -- functions that a channel has ever had made

local SHAPELESS = channels.SHAPELESS

local made = {}                      -- by buffer, or for long messages: the functions by their source, and their `count`

local function cached(source, buffer)
  if not source then return false end
  local key = buffer or "long"
  local there = made[key] or { count = 0 }
  made[key] = there
  if not there[source] and there.count < MADE_MAX then
    there.count = there.count + 1
    there[source] = maker.load(source, buffer)
  end
  return there[source] or false
end

--- The function for short messages of the shape of `body`; false when there is none.
---@param buffer ffi.cdata* char[]: where the function finds a message
---@param body string which has passed the check
---@param names string[] of keys, by number, which begin with 0
---@return (fun(): any)|false make the message, or nil when it is of another shape
function shapes.make(buffer, body, names) return cached(maker.source(body, names, false), buffer) end

--- Likewise for long messages.
---@return (fun(bytes: ffi.cdata*): any)|false make
function shapes.makeLong(body, names) return cached(maker.source(body, names, true)) end

-- Of a channel --------------------------------------------------------------------------------------------------------------

---@class Shapes what a channel knows of the shapes of its messages
---@field functions table<number, function|false> by shape; false for one that is left to string.buffer
local Shapes = {}
Shapes.__index = Shapes

--- For a channel whose other end has told of keys.
---@param buffer ffi.cdata* char[]: where each short message is put; always the same one
---@param names string[] the other end's keys by number, which begin with 0; some may be added
---@return Shapes
function shapes.of(buffer, names)
  local functions = { [SHAPELESS] = false }
  return setmetatable({
    buffer = buffer, names = names, functions = functions, count = 0, seen = {}, seenCount = 0, missed = {},
    long = {}, longMissed = 0, longTries = 0,
  }, Shapes)
end

--- Notes a message for whose shape there is no function.
---@param shape number
---@param length integer of the message in the buffer
function Shapes:note(shape, length)
  if self.count == PER_CHANNEL then return end
  local sightings = self.seen[shape]
  if not sightings then
    if self.seenCount == SEEN_MAX then self.seen, self.seenCount = {}, 0 end
    self.seenCount = self.seenCount + 1
  end
  sightings = (sightings or 0) + 1
  self.seen[shape] = sightings
  if sightings < SIGHTINGS then return end
  self.count = self.count + 1
  self.functions[shape] = shapes.make(self.buffer, ffi.string(self.buffer, length), self.names)
  if self.count == PER_CHANNEL then self.seen = nil end
end

--- Notes a message that the function for its shape has not made.
---@param shape number
function Shapes:miss(shape)
  local misses = (self.missed[shape] or 0) + 1
  self.missed[shape] = misses
  if misses == MISSES then self.functions[shape] = false end
end

local bytesOf = ffi.typeof("const uint8_t *")

-- No function has made it: notes that, and may have one made for it.
local function noteLong(self, address, length)
  self.longMissed = self.longMissed + 1
  if self.longMissed < LONG_SIGHTINGS or self.longTries == LONG_TRIES or #self.long == LONG_FUNCTIONS then return end
  self.longMissed, self.longTries = 0, self.longTries + 1
  local make = shapes.makeLong(ffi.string(address, length), self.names)
  if make then self.long[#self.long + 1] = { make = make, misses = 0 } end
end

--- Makes a long message that has passed the check; nil when it is left to string.buffer.
---@param address ffi.cdata*
---@param length integer
---@return any message
function Shapes:takeLong(address, length)
  local bytes = ffi.cast(bytesOf, address)
  for i = 1, #self.long do
    local each = self.long[i]
    local message = each.make(bytes)
    if message ~= nil then
      each.misses = 0
      return message
    end
    each.misses = each.misses + 1
    if each.misses == MISSES then
      table.remove(self.long, i)
      break
    end
  end
  noteLong(self, address, length)
end

return shapes
