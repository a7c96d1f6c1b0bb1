--- Bytes as base64 text and back. Source: RFC 4648.
local encoding = require("lrun.core.encoding")
local calls = require("lrun.check.calls")
local errors = require("errors")
local validate = require("lrun.check.validate")

---@class base64
local base64 = {}

--- The text of `bytes` in the standard alphabet, with padding and without line breaks.
---@param bytes string
---@return string text 4 characters for every 3 bytes
function base64.encode(bytes) return encoding.base64(validate.string(bytes, "bytes"), false) end

--- The text in the alphabet for URLs and file names (`-` and `_`), without padding.
---@param bytes string
---@return string text
function base64.encodeUrl(bytes) return encoding.base64(validate.string(bytes, "bytes"), true) end

--- The bytes that a text stands for. Either alphabet, white space and missing padding are taken.
--- Throws `ERR_INVALID_ARG_VALUE`, with the place, for anything else.
---@param text string
---@return string bytes
function base64.decode(text)
  local bytes, wrong = encoding.fromBase64(validate.string(text, "text"))
  if bytes then return bytes end
  error(errors.argValue("text", text, wrong > #text and "is cut short: it ends within a group of characters"
    or ("is no base64 at character %d"):format(wrong)), 0)
end

calls.functions(base64, "base64")

return base64
