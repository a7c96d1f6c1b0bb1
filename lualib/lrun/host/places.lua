--- Lines of the program that began something: what fails later, when the line is on no stack any more, is reported with it.
--- `note(object)` costs a look at the stack, so it is for what is done once a connect, listen or failed spawn.
local vm = require("lrun.core.vm")

local places = {}

local weak = { __mode = "k" }
local noted = setmetatable({}, weak)              -- object → its place
local blamed = setmetatable({}, weak)             -- error → the place of what it came from

--- The nearest line of the user's that runs now. Called often: it is put into words when it is needed.
---@return { func: function, currentline: integer }?
function places.here()
  local func, line = vm.place()
  return func and { func = func, currentline = line } or nil
end

--- Keeps the line that runs now as the one that began `object`.
---@param object table
function places.note(object) noted[object] = places.here() end

--- `err` is thrown because nobody listens to `object`'s errors.
---@param err any
---@param object table
function places.blame(err, object)
  if type(err) == "table" then blamed[err] = noted[object] end
end

--- Where that began.
---@param err any
---@return { func: function, currentline: integer }?
function places.of(err) return type(err) == "table" and blamed[err] or nil end

return places
