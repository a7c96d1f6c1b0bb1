--- Bodies on the Lua wire: LuaJIT's string.buffer serialization. A body is bytes at an address, so that compiled code makes
--- neither a string nor a cdata of it. (JSON bodies are made and read by runtime/json/encode.c and decode.c.)
---
--- string.buffer must not throw where the compiler has been: an error in the middle of compiled code leaves the callers'
--- variables in disorder. So values are looked at before they are encoded (here) and bytes before they are decoded
--- (runtime/ipc/check.c); what is not plain is encoded by code that is never compiled.
local buffers = require("string.buffer")
local channels = require("lrun.core.channel")

local codec = {}

local KEEP = 1024 * 1024             -- a larger buffer is given back
local DEPTH = 90                     -- tables in tables that are plain; string.buffer takes 100

local output, input = buffers.new(), buffers.new()
local encodeInto, decodeFrom = output.encode, input.decode
local large = false

-- Whether a table and those in it hold nothing but strings, numbers and booleans.
local function level(deeper)
  local next, type = next, type
  return function(value, depth)
    for key, each in next, value do
      local keyType, eachType = type(key), type(each)
      if keyType ~= "string" and keyType ~= "number" and keyType ~= "boolean" then return false end
      if eachType == "table" then
        if depth == 0 or not deeper(each, depth - 1) then return false end
      elseif eachType ~= "string" and eachType ~= "number" and eachType ~= "boolean" then
        return false
      end
    end
    return true
  end
end

-- A copy of the code for each of the upper levels: the compiler is quick with a loop in a loop, not with one that calls itself.
local isPlain
isPlain = level(function(value, depth) return isPlain(value, depth) end)
for _ = 1, 3 do isPlain = loadstring(string.dump(level))(isPlain) end

local function bytes()
  local address, length = output:ref()
  large = length > KEEP
  return address, length
end

-- The same for any value.
local function encodeWithCare(value)
  local ok, reason = pcall(encodeInto, output, value)
  if not ok then return nil, reason end
  if channels.hasPointer(output:tostring()) then return nil, "cannot serialize 'lightuserdata'" end
  return bytes()
end
jit.off(encodeWithCare)

--- The bytes of a value, which stay valid until the next call; or nil and why it cannot be carried.
---@return ffi.cdata*? bytes
---@return integer|string length
function codec.encode(value)
  if large then output:free() end
  output:reset()
  local kind = type(value)
  if kind == "table" and not isPlain(value, DEPTH) or kind == "cdata" or kind == "userdata" then return encodeWithCare(value) end
  encodeInto(output, value)
  return bytes()
end

--- The value of bytes that have passed check_serialized.
---@return any value
function codec.decode(address, length)
  input:set(address, length)
  return decodeFrom(input)
end

return codec
