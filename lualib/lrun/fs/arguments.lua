--- Checks of what `fs` functions are given: each returns what libuv needs, or throws the error that names the argument.
local uv = require("luv")
local errors = require("errors")
local aborting = require("lrun.check.aborting")
local validate = require("lrun.check.validate")

local O = uv.constants
local arguments = {}

local FLAGS = {
  ["r"] = O.O_RDONLY, ["rs"] = O.O_RDONLY + O.O_SYNC, ["r+"] = O.O_RDWR, ["rs+"] = O.O_RDWR + O.O_SYNC,
  ["w"] = O.O_TRUNC + O.O_CREAT + O.O_WRONLY, ["wx"] = O.O_TRUNC + O.O_CREAT + O.O_WRONLY + O.O_EXCL,
  ["w+"] = O.O_TRUNC + O.O_CREAT + O.O_RDWR, ["wx+"] = O.O_TRUNC + O.O_CREAT + O.O_RDWR + O.O_EXCL,
  ["a"] = O.O_APPEND + O.O_CREAT + O.O_WRONLY, ["ax"] = O.O_APPEND + O.O_CREAT + O.O_WRONLY + O.O_EXCL,
  ["as"] = O.O_APPEND + O.O_CREAT + O.O_WRONLY + O.O_SYNC,
  ["a+"] = O.O_APPEND + O.O_CREAT + O.O_RDWR, ["ax+"] = O.O_APPEND + O.O_CREAT + O.O_RDWR + O.O_EXCL,
  ["as+"] = O.O_APPEND + O.O_CREAT + O.O_RDWR + O.O_SYNC,
}
for _, pair in ipairs{ "rs", "wx", "ax", "as" } do      -- "sr" is "rs"
  FLAGS[pair:reverse()], FLAGS[pair:reverse() .. "+"] = FLAGS[pair], FLAGS[pair .. "+"]
end

function arguments.isPath(value) return type(value) == "string" and not value:find("\0", 1, true) end

--- A path: a string that is not cut short by a NUL.
function arguments.path(value, name)
  name = name or "path"
  validate.string(value, name)
  if value:find("\0", 1, true) then error(errors.argValue(name, value, "must be a string without null bytes"), 0) end
  return value
end

--- A descriptor.
function arguments.fd(value, name) return validate.integer(value, name or "fd", 0, 2147483647) end

--- A path or a descriptor.
function arguments.target(value)
  if type(value) == "number" then return arguments.fd(value) end
  if type(value) ~= "string" then error(errors.argType("path", "string or number", value), 0) end
  return arguments.path(value)
end

--- Node's open flags, a string such as "r" or "wx+", or the number.
function arguments.flags(value, name, default)
  if value == nil then value = default end
  if type(value) == "number" then return validate.integer(value, name, 0, 2147483647) end
  if type(value) ~= "string" then error(errors.argType(name, "string or number", value), 0) end
  local flags = FLAGS[value]
  if not flags then error(errors.argValue(name, value), 0) end
  return flags
end

--- A file mode, a number or a string in octal ("755"): Lua has no octal literals.
function arguments.mode(value, name, default)
  if value == nil then return default end
  if type(value) == "string" then
    if not value:find("^[0-7]+$") then
      error(errors.argValue(name, value, "must be a 32-bit unsigned integer or an octal string"), 0)
    end
    value = tonumber(value, 8)
  end
  return validate.integer(value, name, 0, 4294967295)
end

local NONE = {}

--- An options table, to be read only; a string is an encoding, which changes nothing.
function arguments.options(value, name)
  if value == nil or type(value) == "string" then return NONE end
  if type(value) ~= "table" then error(errors.argType(name or "options", "string or table", value), 0) end
  if value.encoding ~= nil then validate.string(value.encoding, "options.encoding") end
  return value
end

function arguments.flag(options, name)
  if options[name] == nil then return false end
  return validate.boolean(options[name], "options." .. name)
end

--- An AbortSignal, or nil.
function arguments.signal(value)
  return validate.optional(aborting.check, value)
end

--- A position in a file, nil for where the descriptor stands.
function arguments.position(value, name)
  if value == nil or value == -1 then return -1 end
  return validate.integer(value, name or "position", 0)
end

--- A length in bytes, 0 unless given; a negative one is 0, as in Node.
function arguments.length(value)
  return value == nil and 0 or math.max(0, validate.integer(value, "len"))
end

--- A user's or group's id; -1 leaves it as it is.
function arguments.id(value, name) return validate.integer(value, name, -1, 4294967295) end

--- A time in seconds since 1970, with fractions; a string of digits will do, as in Node.
function arguments.time(value, name)
  local seconds = type(value) == "string" and tonumber(value) or value
  if type(seconds) ~= "number" then error(errors.argType(name, "number (seconds since 1970)", value), 0) end
  if seconds - seconds ~= 0 then error(errors.outOfRange(name, "a finite number", value), 0) end
  return seconds
end

return arguments
