--- Values as a dictionary keeps them: strings, numbers and booleans as they are, plain tables serialized.
local codec = require("lrun.ipc.codec")
local core = require("lrun.core.shared")
local errors = require("errors")

local values = {}

local function tooLarge(bytes)
  error(errors.outOfRange("value", ("at most %d bytes"):format(core.valueMax), bytes), 0)
end

--- What the core takes.
---@param value any
---@return string|number|boolean stored
---@return boolean isTable
function values.encode(value)
  local kind = type(value)
  if kind == "string" then
    if #value > core.valueMax then tooLarge(#value) end
    return value, false
  end
  if kind == "number" or kind == "boolean" then return value, false end
  if kind ~= "table" then error(errors.argType("value", "string, number, boolean or plain table", value), 0) end
  local text, reason = codec.text(value)
  if not text then error(errors.coded("ERR_INVALID_ARG_TYPE", "The \"value\" argument cannot be kept: " .. reason), 0) end
  if #text > core.valueMax then tooLarge(#text) end
  return text, true
end

--- The value of what the core gave.
---@param stored any
---@param isTable boolean?
---@return any value
function values.decode(stored, isTable)
  if not isTable then return stored end
  return select(2, codec.fromText(stored))
end

return values
