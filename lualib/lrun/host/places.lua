--- Lines of the program that began something: what fails later, when the line is on no stack any more, is reported with it.
--- `note(object)` costs a look at the stack, so it is for what is done once a connect, listen or failed spawn.
local places = {}

local LEVELS = 16                   -- that are looked at

local weak = { __mode = "k" }
local noted = setmetatable({}, weak)              -- object → its place
local blamed = setmetatable({}, weak)             -- error → the place of what it came from
local runtimeFunctions = setmetatable({}, weak)

local function isRuntimeFunction(f)
  local known = runtimeFunctions[f]
  if known == nil then
    local info = debug.getinfo(f, "S")
    known = info.what == "C" or info.short_src:find("^lrun:") ~= nil or info.short_src == "(command line bootstrap)"
    runtimeFunctions[f] = known
  end
  return known
end

--- The nearest line of the user's that runs now. Called often: it is put into words when it is needed.
---@return { func: function, currentline: integer }?
function places.here()
  for level = 3, LEVELS do
    local info = debug.getinfo(level, "fl")
    if not info then return nil end
    if not isRuntimeFunction(info.func) then return info end
  end
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
