--- permessage-deflate's messages, for a raw peer: packed and read with the messages before as dictionary, where a window goes on.
local zlib = require("zlib")

local deflate = {}

local TAIL = "\0\0\255\255"
local WINDOW = 32768

local function before(history) return history and history ~= "" and history:sub(-WINDOW) or nil end

--- The payload of a compressed message.
---@param text string
---@param options { history: string?, windowBits: integer?, level: integer? }? history: all that was said before
function deflate.pack(text, options)
  options = options or {}
  local bytes = zlib.deflateRawSync(text, { dictionary = before(options.history), windowBits = options.windowBits, level = options.level,
    finishFlush = zlib.constants.Z_SYNC_FLUSH })
  assert(bytes:sub(-4) == TAIL)
  return bytes:sub(1, -5)
end

--- The text of one.
function deflate.unpack(bytes, history)
  return zlib.inflateRawSync(bytes .. TAIL, { dictionary = before(history), finishFlush = zlib.constants.Z_SYNC_FLUSH })
end

return deflate
