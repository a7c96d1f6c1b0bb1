--- Bodies on the Lua wire: LuaJIT's string.buffer serialization. A body is bytes at an address, so that compiled code makes
--- neither a string nor a cdata of it. (JSON bodies are made and read by runtime/json/encode.c and decode.c.)
---
--- string.buffer must not throw where the compiler has been: an error in the middle of compiled code leaves the callers'
--- variables in disorder. So small values are looked at before they are encoded (here) and bytes before they are decoded
--- (runtime/ipc/check.c); what is not plain, or large, is encoded by C, which catches the error.
---
--- On a channel the keys that come again and again are numbers: see lrun.ipc.keys.
local buffers = require("string.buffer")
local ffi = require("ffi")
local channels = require("lrun.core.channel")
local vm = require("lrun.core.vm")

local codec = {}

local KEEP = 1024 * 1024             -- a larger buffer is given back
local DEPTH = 90                     -- tables in tables that are plain; string.buffer takes 100
local LARGE = 1024                   -- bytes of a value in a string; the collector copes with smaller ones by itself
local ENTRIES = 200                  -- of what is looked at here: past that C is quicker

local hasPointer = ffi.cast("bool (*)(const char *, size_t)", channels.hasPointer)
local encodeInto, decodeFrom = buffers.new().encode, buffers.new().decode

-- Whether a table and those in it hold nothing but strings, numbers and booleans, and no more than `left` of these: then how
-- many more there might be, else false.
local function level(deeper)
  local next, type = next, type
  return function(value, depth, left)
    for key, each in next, value do
      local keyType, eachType = type(key), type(each)
      left = left - 1
      if left < 0 or keyType ~= "string" and keyType ~= "number" and keyType ~= "boolean" then return false end
      if eachType == "table" then
        if depth == 0 then return false end
        left = deeper(each, depth - 1, left)
        if not left then return false end
      elseif eachType ~= "string" and eachType ~= "number" and eachType ~= "boolean" then
        return false
      end
    end
    return left
  end
end

-- A copy of the code for each of the upper levels, which has globals only: the compiler is quick with a loop in a loop, not
-- with one that calls itself.
local isPlain
isPlain = level(function(value, depth, left) return isPlain(value, depth, left) end)
for _ = 1, 3 do isPlain = loadstring(string.dump(level))(isPlain) end

local type = type                    -- to compiled code a local function is a constant, a global one is not
local plain = buffers.new()
local large                          -- the buffer that has grown past what is kept

--- A buffer for `encode`, which holds one body at a time.
---@param options table? of string.buffer
function codec.output(options) return buffers.new(options) end

--- The bytes of a value, which stay valid until the next call; or nil and why it cannot be carried. With keys as numbers where
--- `output` was made with a dictionary.
---@param value any
---@param output string.buffer? by `codec.output`
---@return ffi.cdata*? bytes
---@return integer|string length
function codec.encode(value, output)
  output = output or plain
  if large then
    large:free()
    large = nil
  end
  output:reset()
  local kind = type(value)
  local careful = kind == "table" and not isPlain(value, DEPTH, ENTRIES) or kind == "cdata" or kind == "userdata"
  if careful then
    local ok, reason = channels.encode(encodeInto, output, value)
    if not ok then return nil, reason end
  else
    encodeInto(output, value)
  end
  local address, length = output:ref()
  if length > KEEP then large = output end
  if careful and hasPointer(address, length) then return nil, "cannot serialize 'lightuserdata'" end
  return address, length
end

local input = buffers.new()

--- A buffer for `decode`.
---@param options table? of string.buffer
function codec.decoder(options) return buffers.new(options) end

--- The value of bytes that have passed check_serialized.
---@param address ffi.cdata*
---@param length integer
---@param from string.buffer? by `codec.decoder`, where keys are numbers
---@return any value
function codec.decode(address, length, from)
  from = from or input
  from:set(address, length)
  return decodeFrom(from)
end

--- The bytes of a value as a string; or nil and why it cannot be carried.
---@return string? text
---@return string? reason
function codec.text(value)
  local address, length = codec.encode(value)
  if not address then return nil, length end
  return ffi.string(address, length)
end

--- The value of a string that may come from anywhere; false when it is none.
---@return boolean ok
---@return any value
function codec.fromText(text)
  if not channels.isSerialized(text) then return false end
  local value = buffers.decode(text)
  if #text > LARGE then vm.decoded(#text) end
  return true, value
end
jit.off(codec.fromText)

return codec
