--- Bodies on the Lua wire: LuaJIT's string.buffer serialization. A body is bytes at an address, so that compiled code makes
--- neither a string nor a cdata of it. (JSON bodies are made and read by runtime/json_encode.c and json_decode.c.)
local buffers = require("string.buffer")

local codec = {}

local KEEP = 1024 * 1024             -- a larger buffer is given back

local output, input = buffers.new(), buffers.new()
local encodeInto, decodeFrom = output.encode, input.decode
local large = false

--- The bytes of a value, which stay valid until the next call; or nil and why it cannot be carried.
---@return ffi.cdata*? bytes
---@return integer|string length
function codec.encode(value)
  if large then output:free() end
  output:reset()
  local ok, reason = pcall(encodeInto, output, value)
  if not ok then return nil, reason end
  local bytes, length = output:ref()
  large = length > KEEP
  return bytes, length
end

--- The value of bytes that have passed codec_check; false when they hold none all the same.
---@return boolean ok
---@return any value
function codec.decode(bytes, length)
  input:set(bytes, length)
  local ok, value = pcall(decodeFrom, input)
  if not ok then return false end
  return true, value
end

return codec
