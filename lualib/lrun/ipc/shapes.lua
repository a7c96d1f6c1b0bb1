--- Makes the short messages that come again and again: tables of the same shape, which is the tables, their keys and the kinds of
--- the values in their order. For each of a few shapes there is a function, made once, that the compiler turns into code without a
--- loop, a branch or a call: it copies a table that has the keys already, and puts the values there. All other messages are left to
--- string.buffer.
---
--- runtime/ipc/check.c has checked the bytes before, and tells their shape in a number (`shape` in runtime/ipc/channel.h). Two
--- shapes may have the same number, so a function looks whether each table, key and kind is the one that it expects: as far as
--- they are, the bytes are like those that it was made for, and it reads none that are not checked.
local bit = require("bit")
local channels = require("lrun.core.channel")
local ffi = require("ffi")

local shapes = {}

local SIGHTINGS = 32                 -- of a shape, before there is a function for it
local SEEN_MAX = 256                 -- shapes that a channel counts
local PER_CHANNEL = 64               -- functions that a channel uses
local MADE_MAX = 64                  -- functions for a buffer: channels have one buffer, and those with the same keys share them
local PARTS_MAX = 60                 -- of a shape: each is a variable of the function
local MISSES = 16                    -- messages that a function does not make; then it is used no more

local SHAPELESS = channels.SHAPELESS
local LITTLE = ffi.abi("le")         -- as the wire is

-- Making a function ---------------------------------------------------------------------------------------------------------

local HEAD = [[
local bytes, text, cast, numbers, integers, band = ...
return function()
  local at, tag, size = 0
]]

-- For each kind: into the variable %s.
local BOOLEAN = [[
  tag = bytes[at]
  if tag ~= 1 and tag ~= 2 then return end
  %s = tag == 2
  at = at + 1
]]

local INTEGER = [[
  if bytes[at] ~= 6 then return end
  %s = cast(integers, bytes + (at + 1))[0]
  at = at + 5
]]

-- One that is infinite or NaN is left to string.buffer: not all such bytes are a number that Lua may have.
local NUMBER = [[
  if bytes[at] ~= 7 or band(cast(integers, bytes + (at + 5))[0], 0x7ff00000) == 0x7ff00000 then return end
  %s = cast(numbers, bytes + (at + 1))[0]
  at = at + 9
]]

local STRING = [[
  tag = bytes[at]
  if tag < 32 or tag >= 224 then return end
  %s = text(bytes + (at + 1), tag - 32)
  at = at + (tag - 31)
]]

local LONG_STRING = [[
  tag = bytes[at]
  if tag < 224 or tag == 255 then return end
  size = tag * 256 + bytes[at + 1] - 57152
  %s = text(bytes + (at + 2), size)
  at = at + 2 + size
]]

-- Where bytes[at] must be `first` and the next one `second`.
local EXPECT = "  if bytes[at] ~= %d or bytes[at + 1] ~= %d then return end\n  at = at + 2\n"

local EMPTY, RECORD, LIST, KEY, SHORT_FIRST, LONG_FIRST, LONGEST = 8, 9, 12, 15, 32, 224, 255 -- tags
local CODE = { BOOLEAN, BOOLEAN, [6] = INTEGER, [7] = NUMBER }
local SIZES = { 1, 1, [6] = 5, [7] = 9 }

-- What is written so far: `body`, the bytes of an example; `at`, where it is in there; `names`, of keys; `code`; `parts`, how many
-- variables there are.
local put

local function variable(maker)
  maker.parts = maker.parts + 1
  return maker.parts <= PARTS_MAX and "v" .. maker.parts or nil
end

local function putScalar(maker, tag, name)
  local size, code = SIZES[tag], CODE[tag]
  if tag >= SHORT_FIRST and tag < LONG_FIRST then
    size, code = tag - SHORT_FIRST + 1, STRING
  elseif tag >= LONG_FIRST and tag < LONGEST then
    size, code = (tag - LONG_FIRST) * 256 + maker.body:byte(maker.at + 1) + LONG_FIRST - SHORT_FIRST + 2, LONG_STRING
  end
  if not code then return nil end
  maker.at = maker.at + size
  maker.code[#maker.code + 1] = code:format(name)
  return name
end

local function putRecord(maker, count, name)
  local template, sets = {}, {}
  for i = 1, count do
    local tag, number = maker.body:byte(maker.at, maker.at + 1)
    if tag ~= KEY then return nil end
    maker.at = maker.at + 2
    maker.code[#maker.code + 1] = EXPECT:format(KEY, number)
    local value = put(maker)
    if not value then return nil end
    local key = ("[%q]"):format(maker.names[number + 1])
    template[i], sets[i] = key .. " = false", ("  %s%s = %s\n"):format(name, key, value)
  end
  maker.code[#maker.code + 1] = ("  %s = { %s }\n%s"):format(name, table.concat(template, ", "), table.concat(sets))
  return name
end

local function putList(maker, count, name)
  local values = {}
  for i = 1, count do
    values[i] = put(maker)
    if not values[i] then return nil end
  end
  maker.code[#maker.code + 1] = ("  %s = { %s }\n"):format(name, table.concat(values, ", "))
  return name
end

-- The code for the value at `at`; the name of the variable that has it then, or nil where it is of another kind.
function put(maker)
  local name = variable(maker)
  if not name then return nil end
  local tag, count = maker.body:byte(maker.at, maker.at + 1)
  if tag == EMPTY then
    maker.at = maker.at + 1
    maker.code[#maker.code + 1] = ("  if bytes[at] ~= %d then return end\n  at = at + 1\n  %s = {}\n"):format(EMPTY, name)
    return name
  end
  if tag ~= RECORD and tag ~= LIST then return putScalar(maker, tag, name) end
  if count >= LONG_FIRST then return nil end
  maker.at = maker.at + 2
  maker.code[#maker.code + 1] = EXPECT:format(tag, count)
  if tag == RECORD then return putRecord(maker, count, name) end
  return putList(maker, count - 1, name)
end

-- The function's source, or nil.
local function source(body, names)
  local maker = { body = body, at = 1, names = names, code = {}, parts = 0 }
  local result = put(maker)
  if not result then return nil end
  local variables = {}
  for i = 1, maker.parts do variables[i] = "v" .. i end
  return HEAD .. "  local " .. table.concat(variables, ", ") .. "\n" .. table.concat(maker.code) .. "  return " .. result .. "\nend"
end

local made = {}                      -- by buffer: the functions by their source, and their `count`

--- The function for messages of the shape of `body`; false when there is none.
---@param buffer ffi.cdata* char[]: where the function finds a message
---@param body string which has passed the check
---@param names string[] of keys, by number, which begin with 0
---@return (fun(): table?)|false make the message, or nil when it is of another shape
function shapes.make(buffer, body, names)
  local code = LITTLE and jit.status() and source(body, names)
  if not code then return false end
  local there = made[buffer] or { count = 0 }
  made[buffer] = there
  if not there[code] and there.count < MADE_MAX then
    there.count = there.count + 1
    there[code] = assert(loadstring(code, "=shape"))(ffi.cast("const uint8_t *", buffer), ffi.string, ffi.cast,
      ffi.typeof("const double *"), ffi.typeof("const int32_t *"), bit.band)
  end
  return there[code] or false
end

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
  return setmetatable({ buffer = buffer, names = names, functions = functions, count = 0, seen = {}, seenCount = 0, missed = {} }, Shapes)
end

--- Notes a message for whose shape there is no function.
---@param shape number
---@param length integer of the message in the buffer
function Shapes:note(shape, length)
  local sightings = self.seen[shape]
  if not sightings then
    if self.seenCount == SEEN_MAX then self.seen, self.seenCount = {}, 0 end
    self.seenCount = self.seenCount + 1
  end
  sightings = (sightings or 0) + 1
  self.seen[shape] = sightings
  if sightings < SIGHTINGS or self.count == PER_CHANNEL then return end
  self.count = self.count + 1
  self.functions[shape] = shapes.make(self.buffer, ffi.string(self.buffer, length), self.names)
end

--- Notes a message that the function for its shape has not made.
---@param shape number
function Shapes:miss(shape)
  local misses = (self.missed[shape] or 0) + 1
  self.missed[shape] = misses
  if misses == MISSES then self.functions[shape] = false end
end

return shapes
