--- Bytes and the texts that stand for them, by Node's names of encodings. A Lua string is bytes: the names of encodings that say so
--- in Node (`buffer`, `latin1`, `binary`, `utf8`, `ascii`) change nothing.
local base64 = require("base64")
local core = require("lrun.core.encoding")
local errors = require("errors")
local validate = require("lrun.check.validate")

local encoding = {}

local BYTES = { buffer = true, binary = true, latin1 = true, ascii = true, utf8 = true, ["utf-8"] = true }

-- The name in lower case; false for bytes.
local function kind(name, argument)
  if name == nil then return false end
  local lower = validate.string(name, argument):lower()
  if BYTES[lower] then return false end
  if lower == "hex" or lower == "base64" or lower == "base64url" then return lower end
  error(errors.coded("ERR_UNKNOWN_ENCODING", ("Unknown encoding: %s (there are 'hex', 'base64', 'base64url' and 'buffer')"):format(name)), 0)
end

local ENCODE = { hex = core.hex, base64 = base64.encode, base64url = base64.encodeUrl }

--- The bytes in an encoding; themselves without one.
---@param bytes string
---@param name string?
---@return string
function encoding.encode(bytes, name)
  local to = kind(name, "outputEncoding")
  return to and ENCODE[to](bytes) or bytes
end

--- Checks a name before there is anything to encode.
function encoding.check(name, argument) kind(name, argument) end

local function fromHex(text, argument)
  local bytes, wrong = core.fromHex(text)
  if bytes then return bytes end
  error(errors.argValue(argument, text, wrong > #text and "is cut short: two hexadecimal digits are a byte"
    or ("has no hexadecimal digit at character %d"):format(wrong)), 0)
end

--- The bytes of a text in an encoding.
---@param text any
---@param name string?
---@param argument string names the text in an error
---@return string
function encoding.decode(text, name, argument)
  validate.string(text, argument)
  local from = kind(name, "inputEncoding")
  if not from then return text end
  if from == "hex" then return fromHex(text, argument) end
  local bytes, wrong = core.fromBase64(text)
  if bytes then return bytes end
  error(errors.argValue(argument, text, wrong > #text and "is cut short: it ends within a group of characters"
    or ("is no base64 at character %d"):format(wrong)), 0)
end

-- Text in pieces: base64 makes four characters of three bytes, so up to two wait for the next piece.
local Encoder = {}
Encoder.__index = Encoder

--- Encodes what comes in pieces, so that all that it gave is the text of all that it got.
---@param name string?
---@return table encoder
function encoding.encoder(name) return setmetatable({ kind = kind(name, "outputEncoding"), rest = "" }, Encoder) end

--- Whether this one is for that encoding.
---@return boolean
function Encoder:is(name) return kind(name, "outputEncoding") == self.kind end

---@param bytes string
---@param last boolean? nothing comes behind it
---@return string
function Encoder:encode(bytes, last)
  local to = self.kind
  if not to then return bytes end
  if to == "hex" then return core.hex(bytes) end
  if self.rest ~= "" then bytes = self.rest .. bytes end
  local whole = last and #bytes or #bytes - #bytes % 3
  self.rest = bytes:sub(whole + 1)
  return ENCODE[to](bytes:sub(1, whole))
end

return encoding
