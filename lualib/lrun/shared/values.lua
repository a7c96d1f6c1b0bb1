--- Values as a dictionary keeps them: strings, numbers and booleans as they are, plain tables serialized.
local buffers = require("string.buffer")
local ffi = require("ffi")
local codec = require("lrun.ipc.codec")
local core = require("lrun.core.shared")
local errors = require("errors")
local vm = require("lrun.core.vm")

local values = {}

local decode = buffers.decode

local LARGE = 1024                   -- bytes of a table; smaller ones the collector copes with by itself

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
  local bytes, length = codec.encode(value)
  if not bytes then error(errors.coded("ERR_INVALID_ARG_TYPE", "The \"value\" argument cannot be kept: " .. length), 0) end
  if length > core.valueMax then tooLarge(length) end
  return ffi.string(bytes, length), true
end

--- The value of what the core gave.
---@param stored any
---@param isTable boolean?
---@return any value
function values.decode(stored, isTable)
  if not isTable then return stored end
  local value = decode(stored)
  if #stored > LARGE then vm.decoded(#stored) end
  return value
end
jit.off(values.decode)               -- string.buffer must not throw where the compiler has been

return values
