--- Writes the functions that make messages of one shape (lrun.ipc.shapes): which tables there are, their keys and the kinds of their
--- values, in their order, all of it as in an example. The code copies a table that has the keys already and puts the values
--- there, without a call or a choice; in a long message a list whose values are all of one shape is a loop.
---
--- runtime/ipc/check.c has checked the bytes. A function looks whether each table, key and kind is the one that it expects: as far
--- as they are, the bytes are like those that it was written for, and it reads none that are not checked.
local bit = require("bit")
local ffi = require("ffi")
local newTable = require("table.new")

local maker = {}

local PARTS_MAX = 60                 -- of a shape, at a time: each is a variable of the function
local VALUES_MAX = 200               -- in all: those of a loop are forgotten behind it
local LOOP_MIN = 5                   -- values of a list that are a loop
local LITTLE = ffi.abi("le")         -- as the wire is

-- The code --------------------------------------------------------------------------------------------------------------------

local HEAD = [[
local bytes, text, cast, numbers, integers, band, new = ...
return function(%s)
  local at, tag, size = 0
  local %s
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

local LONGEST_STRING = [[
  if bytes[at] ~= 255 then return end
  size = cast(integers, bytes + (at + 1))[0] - 32
  %s = text(bytes + (at + 5), size)
  at = at + 5 + size
]]

local EMPTY_TABLE = [[
  if bytes[at] ~= 8 then return end
  %s = {}
  at = at + 1
]]

-- A list of any length: its variable, those of a value, the code for a value, the list's variable and the value's.
local LOOP = [[
  do
    if bytes[at] ~= 12 then return end
    local count = bytes[at + 1]
    if count < 224 then
      at = at + 2
    elseif count < 255 then
      count = (count - 224) * 256 + bytes[at + 2] + 224
      at = at + 3
    else
      count = cast(integers, bytes + (at + 2))[0]
      at = at + 6
    end
    %s = new(count, 0)
    for i = 1, count - 1 do
      local %s
%s      %s[i] = %s
    end
  end
]]

-- Where bytes[at] must be `first` and the next one `second`.
local EXPECT = "  if bytes[at] ~= %d or bytes[at + 1] ~= %d then return end\n  at = at + 2\n"

-- Writing it ------------------------------------------------------------------------------------------------------------------

local EMPTY, RECORD, LIST, KEY, SHORT_FIRST, LONG_FIRST, LONGEST = 8, 9, 12, 15, 32, 224, 255 -- tags
local CODE = { BOOLEAN, BOOLEAN, [6] = INTEGER, [7] = NUMBER, [EMPTY] = EMPTY_TABLE, [LONGEST] = LONGEST_STRING }
local SIZES = { 1, 1, [6] = 5, [7] = 9, [EMPTY] = 1 }

---@class Writing
---@field body string the example
---@field at integer where it is in there
---@field names string[]
---@field long boolean
---@field code string[] what is written so far
---@field parts integer how many variables there are; "v1" and on
---@field values integer how many values there is code for

-- A count or a string's size, and the place after it.
local function sizeAt(body, at)
  local first = body:byte(at)
  if first < LONG_FIRST then return first, at + 1 end
  if first < LONGEST then return (first - LONG_FIRST) * 256 + body:byte(at + 1) + LONG_FIRST, at + 2 end
  local a, b, c, d = body:byte(at + 1, at + 4)
  return a + b * 2 ^ 8 + c * 2 ^ 16 + d * 2 ^ 24, at + 5
end

-- Past a number of values; nil where one is of a kind that no function makes.
local function skip(body, at, values)
  while values > 0 do
    local tag = body:byte(at)
    values = values - 1
    if SIZES[tag] then
      at = at + SIZES[tag]
    elseif tag >= SHORT_FIRST then
      local size, text = sizeAt(body, at)
      at = text + size - SHORT_FIRST
    elseif tag == KEY then
      at = at + 2
    elseif tag == RECORD or tag == LIST then
      local count, first = sizeAt(body, at + 1)
      values = values + (tag == RECORD and 2 * count or count - 1)
      at = first
    else
      return nil
    end
  end
  return at
end

local put

local function write(writing, code) writing.code[#writing.code + 1] = code end

local function variable(writing)
  writing.parts, writing.values = writing.parts + 1, writing.values + 1
  return writing.parts <= PARTS_MAX and writing.values <= VALUES_MAX and "v" .. writing.parts or nil
end

local function putScalar(writing, tag, name)
  local code, size = CODE[tag], SIZES[tag]
  if tag >= SHORT_FIRST then
    if tag < LONG_FIRST then code = STRING elseif tag < LONGEST then code = LONG_STRING end
    local length, text = sizeAt(writing.body, writing.at)
    size = text - writing.at + length - SHORT_FIRST
  end
  if not code then return nil end
  writing.at = writing.at + size
  write(writing, code:format(name))
  return name
end

local function putRecord(writing, name)
  local template, sets = {}, {}
  local count = writing.body:byte(writing.at + 1)
  if count >= LONG_FIRST then return nil end
  write(writing, EXPECT:format(RECORD, count))
  writing.at = writing.at + 2
  for i = 1, count do
    local tag, number = writing.body:byte(writing.at, writing.at + 1)
    if tag ~= KEY then return nil end
    writing.at = writing.at + 2
    write(writing, EXPECT:format(KEY, number))
    local value = put(writing)
    if not value then return nil end
    local key = ("[%q]"):format(writing.names[number + 1])
    template[i], sets[i] = key .. " = false", ("  %s%s = %s\n"):format(name, key, value)
  end
  write(writing, ("  %s = { %s }\n%s"):format(name, table.concat(template, ", "), table.concat(sets)))
  return name
end

local function putShortList(writing, count, name)
  if count + 1 >= LONG_FIRST then return nil end
  local values = {}
  write(writing, EXPECT:format(LIST, count + 1))
  for i = 1, count do
    values[i] = put(writing)
    if not values[i] then return nil end
  end
  write(writing, ("  %s = { %s }\n"):format(name, table.concat(values, ", ")))
  return name
end

-- All values as the first one: the function finds out whether they are.
local function putLoop(writing, count, name)
  local outer, before = writing.code, writing.parts
  writing.code = {}
  local value = put(writing)
  if not value then return nil end
  local own = {}
  for part = before + 1, writing.parts do own[#own + 1] = "v" .. part end
  local code = table.concat(writing.code)
  writing.code, writing.parts = outer, before
  writing.at = skip(writing.body, writing.at, count - 1)
  if not writing.at then return nil end
  write(writing, LOOP:format(name, table.concat(own, ", "), code, name, value))
  return name
end

local function putList(writing, name)
  local count
  count, writing.at = sizeAt(writing.body, writing.at + 1)
  if writing.long and count > LOOP_MIN then return putLoop(writing, count - 1, name) end
  return putShortList(writing, count - 1, name)
end

-- The code for the value at `at`; the name of the variable that has it then, or nil where it is of another kind.
function put(writing)
  local name, tag = variable(writing), writing.body:byte(writing.at)
  if not name then return nil end
  if tag == RECORD then return putRecord(writing, name) end
  if tag == LIST then return putList(writing, name) end
  return putScalar(writing, tag, name)
end

--- The source of the function for messages of the shape of `body`; nil when there is none.
---@param body string which has passed the check
---@param names string[] of keys, by number, which begin with 0
---@param long boolean whether the function is given the address of the bytes, and lists are loops
---@return string?
function maker.source(body, names, long)
  if not LITTLE or not jit.status() then return nil end
  local writing = { body = body, at = 1, names = names, long = long, code = {}, parts = 0, values = 0 }
  local result = put(writing)
  if not result then return nil end
  local variables = {}
  for i = 1, writing.parts do variables[i] = "v" .. i end
  return HEAD:format(long and "bytes" or "", table.concat(variables, ", ")) .. table.concat(writing.code) .. "  return " .. result .. "\nend"
end

--- The function; nil where the source has more than Lua compiles, as loops in loops with more variables than a function may have.
---@param source string
---@param buffer ffi.cdata*? char[]: where it finds each message, unless it is given the address
---@return (fun(bytes: ffi.cdata*?): any)? make the message, or nil when it is of another shape
function maker.load(source, buffer)
  local chunk = loadstring(source, "=shape")
  return chunk and chunk(buffer and ffi.cast("const uint8_t *", buffer), ffi.string, ffi.cast,
    ffi.typeof("const double *"), ffi.typeof("const int32_t *"), bit.band, newTable)
end

return maker
