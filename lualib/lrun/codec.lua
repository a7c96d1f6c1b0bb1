--- Message bodies: LuaJIT's string.buffer serialization on the Lua wire, JSON text on Node's.
--- A codec encodes a value into bytes at an address, which stay valid until the next encode, and decodes bytes at an
--- address. Compiled code makes no string of a body on the Lua wire, and no cdata.
---
--- JSON conventions: an empty table is `{}`; holes in a sequence are `null`; NaN and the infinities are `null`, as
--- JSON.stringify has it; a `null` that arrives is nil in an object and `json.null` in an array.
local ffi = require("ffi")
local buffers = require("string.buffer")
local errors = require("errors")
local cjson = require("cjson").new()

local codecs = {}

local KEEP = 1024 * 1024             -- a larger buffer is given back

local function refuse(reason)
  error(errors.coded("ERR_INVALID_ARG_VALUE", "The argument 'message' cannot be sent: " .. tostring(reason)), 0)
end

local output, input = buffers.new(), buffers.new()
local encodeInto, decodeFrom = output.encode, input.decode
local large = false

local lua = {}
codecs.lua = lua

--- Throws when the value cannot be carried.
---@return ffi.cdata* bytes
---@return integer length
function lua.encode(value)
  if large then output:free() end
  output:reset()
  local ok, reason = pcall(encodeInto, output, value)
  if not ok then refuse(reason) end
  local bytes, length = output:ref()
  large = length > KEEP
  return bytes, length
end

--- The bytes must have passed codec_check. false when they hold no value all the same.
---@return boolean ok
---@return any value
function lua.decode(bytes, length)
  input:set(bytes, length)
  local ok, value = pcall(decodeFrom, input)
  if not ok then return false end
  return true, value
end

cjson.encode_sparse_array(true)
cjson.encode_invalid_numbers("null")
cjson.decode_invalid_numbers(false)

local null = cjson.null
codecs.null = null
local encodeJson, decodeJson = cjson.encode, cjson.decode
local toBytes = ffi.typeof("const char *")

-- An object's keys are strings, an array's are numbers.
local function dropNulls(value)
  for key, each in pairs(value) do
    if each == null then
      if type(key) == "string" then value[key] = nil end
    elseif type(each) == "table" then
      dropNulls(each)
    end
  end
end

local json = {}
codecs.json = json

local held                           -- the text whose bytes were given out

function json.encode(value)
  local ok, text = pcall(encodeJson, value)
  if not ok then refuse(text) end
  held = text
  return ffi.cast(toBytes, held), #held
end

function json.decode(bytes, length)
  local text = ffi.string(bytes, length)
  local ok, value = pcall(decodeJson, text)
  if not ok then return false end
  if text:find("null", 1, true) then
    if value == null then return true, nil end
    if type(value) == "table" then dropNulls(value) end
  end
  return true, value
end

return codecs
