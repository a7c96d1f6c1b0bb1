--- Checks of arguments: each returns its value or throws the error that names the argument.
local errors = require("errors")

local validate = {}

validate.LONGEST_STRING = 2 ^ 31 - 257       -- bytes that LuaJIT lets a string have

local function ofType(kind)
  return function(value, name)
    if type(value) ~= kind then error(errors.argType(name, kind, value), 0) end
    return value
  end
end

validate.string = ofType("string")
validate.boolean = ofType("boolean")
validate.func = ofType("function")
validate.table = ofType("table")

--- A number, optionally within bounds, both included.
function validate.number(value, name, min, max)
  if type(value) ~= "number" then error(errors.argType(name, "number", value), 0) end
  if value ~= value or min and value < min or max and value > max then
    local range = min and max and (">= %s and <= %s"):format(min, max) or min and ">= " .. min or "<= " .. tostring(max)
    error(errors.outOfRange(name, range, value), 0)
  end
  return value
end

--- A whole number, optionally within bounds, both included. Default bounds: ±(2^53 − 1).
function validate.integer(value, name, min, max)
  if type(value) ~= "number" then error(errors.argType(name, "number", value), 0) end
  if value ~= math.floor(value) or value - value ~= 0 then error(errors.outOfRange(name, "an integer", value), 0) end
  min, max = min or -9007199254740991, max or 9007199254740991
  if value < min or value > max then
    error(errors.outOfRange(name, (">= %.0f and <= %.0f"):format(min, max), value), 0)
  end
  return value
end

--- A port as a number or numeric string; returns the number. `min` is 0 unless given.
function validate.port(value, name, min)
  local port = type(value) == "number" and value or type(value) == "string" and value:find("%S") and tonumber(value)
  if not port or port ~= math.floor(port) or port < (min or 0) or port > 65535 then
    error(errors.badPort(name, min == 1 and "> 0" or ">= 0", value), 0)
  end
  return port
end

--- The path of a unix socket: a name of Linux's abstract namespace begins with NUL; in another a NUL would cut it short.
function validate.socketPath(value, name)
  validate.string(value, name)
  if value == "" or value:byte() ~= 0 and value:find("\0", 1, true) then
    error(errors.argValue(name, value, "must be a path without null bytes"), 0)
  end
  return value
end

--- One of the values listed.
function validate.oneOf(value, name, allowed)
  for _, each in ipairs(allowed) do if each == value then return value end end
  local shown = {}
  for i, each in ipairs(allowed) do shown[i] = ("'%s'"):format(tostring(each)) end
  error(errors.argValue(name, value, "must be one of: " .. table.concat(shown, ", ")), 0)
end

--- Applies `check` unless the value is nil: `validate.optional(validate.string, options.cwd, "options.cwd")`.
function validate.optional(check, value, name, ...)
  if value == nil then return nil end
  return check(value, name, ...)
end

--- Options that are true, false or not given.
---@param options table
---@param names string[]
function validate.flags(options, names)
  for _, name in ipairs(names) do
    if options[name] ~= nil then validate.boolean(options[name], "options." .. name) end
  end
end

return validate
