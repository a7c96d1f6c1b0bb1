--- Options that both sides of a stream read.
local errors = require("errors")
local validate = require("lrun.check.validate")

local streamOptions = {}

local DEFAULT_MARK, DEFAULT_OBJECT_MARK = 16 * 1024, 16

--- The options as a table.
---@param options StreamOptions?
---@return StreamOptions
function streamOptions.table(options) return validate.optional(validate.table, options, "options") or {} end

--- The high-water mark of one side, and whether it carries objects.
---@param options StreamOptions
---@param mark integer? what they say for this side alone, as the next one
---@param objectMode boolean?
---@return integer mark
---@return boolean objectMode
function streamOptions.mark(options, mark, objectMode)
  objectMode = objectMode or options.objectMode or false
  mark = mark or options.highWaterMark
  if mark ~= nil and (type(mark) ~= "number" or mark < 0 or mark ~= math.floor(mark)) then
    error(errors.argValue("options.highWaterMark", mark), 0)
  end
  return mark or objectMode and DEFAULT_OBJECT_MARK or DEFAULT_MARK, objectMode
end

return streamOptions
