--- Error objects, and the only place where Lua code makes them from codes.
--- `Error:new` is the public way; the constructors below it are for the runtime and return the error, they do not throw.
local uvErrors = require("lrun.core.errno")   -- C: describe(number or "ENOENT") → name, text, errno
local calls = require("lrun.check.calls")

---@class Error
---@field message string
---@field code string?
---@field errno integer? negative, as libuv's
---@field syscall string?
---@field stack string traceback of where it was made
---@field cause any?
local Error = { name = "Error" }
Error.__index = Error

--- The message.
function Error:__tostring() return self.message end

-- The traceback without the runtime's own frames and C's, and without the names that the runtime has for the user's
-- functions. `level` counts from the caller.
local function traceback(level)
  local text = debug.traceback("", level + 1)
  text = text:gsub(" in function '[^'\n]*'(\n\tlrun:host/boot%.lua)", " in main chunk%1")
  text = text:gsub(" in function '[^'\n]*'(\n\tlrun:)", " in a callback%1")
  text = text:gsub("\n\tlrun:[^\n]*", ""):gsub("\n\t%[[^\n]*", "")
  return text == "\nstack traceback:" and "" or text
end

local function make(message, fields, level)
  local object = setmetatable({ message = message }, Error)
  if fields then
    for key, value in pairs(fields) do object[key] = value end
  end
  object.stack = tostring(message) .. traceback(level)
  return object
end

--- Makes an error object.
---@param message string
---@param fields table? `code`, `errno`, `syscall`, `cause`, … become fields of the error
---@return Error
function Error:new(message, fields)
  if not rawequal(self, Error) then
    error(make('call Error:new(message, fields) with a colon', { code = "ERR_INVALID_ARG_TYPE" }, 3), 0)
  end
  local object = make(message == nil and "" or tostring(message), fields, 3)
  return object                     -- no tail call: the stack must start at the caller
end

---@class errors
---@field Error Error the class
local errors = { Error = Error }

--- Whether `value` is an error object of the runtime.
---@param value any
---@return boolean
function errors.isError(value)
  return type(value) == "table" and getmetatable(value) == Error
end

--- An error with a code of ours or Node's.
---@package
---@param code string such as "ERR_IPC_CHANNEL_CLOSED"
---@param message string
---@param fields table?
---@return Error
function errors.coded(code, message, fields)
  local object = make(message, fields, 3)
  object.code = code
  return object
end

local function place(fields)
  if not fields or not fields.address then return "" end
  local text = fields.port and (" %s:%s"):format(fields.address, fields.port) or " " .. fields.address
  if fields.localPort then text = ("%s - Local (%s:%s)"):format(text, fields.localAddress, fields.localPort) end
  return text
end

-- Port 0 stands for any; it says nothing about where it was.
local function withoutAnyPort(fields)
  local copy = {}
  for key, value in pairs(fields) do copy[key] = value end
  copy.port = nil
  return copy
end

--- A system error, as Node words it: `connect ECONNREFUSED 127.0.0.1:80`, `listen EADDRINUSE: address already in use :::80`,
--- `spawn nosuch ENOENT`, `ENOENT: no such file or directory, open 'x'` (when `fields.path` is given).
---@package
---@param code integer|string negative errno, or its name
---@param syscall string
---@param fields table? `address`, `port`, `path`, `dest`, and any other field of the error
---@return Error
function errors.system(code, syscall, fields)
  local name, reason, errno = uvErrors.describe(code)
  if fields and fields.port == 0 then fields = withoutAnyPort(fields) end
  local message
  if fields and fields.path and not fields.spawnargs then
    message = ("%s: %s, %s '%s'"):format(name, reason, syscall, fields.path)
    if fields.dest then message = ("%s -> '%s'"):format(message, fields.dest) end
  elseif syscall == "listen" then    -- after this one Node adds the reason
    message = ("%s %s: %s%s"):format(syscall, name, reason, place(fields))
  else
    message = ("%s %s%s"):format(syscall, name, place(fields))
  end
  local object = make(message, fields, 3)
  object.code, object.errno, object.syscall = name, errno, syscall
  return object
end

local function received(value)
  local kind = type(value)
  if value == nil then return "nil" end
  if kind == "string" then
    local text = #value > 25 and value:sub(1, 25) .. "..." or value
    return ("type string ('%s')"):format(text)
  elseif kind == "number" or kind == "boolean" then
    return ("type %s (%s)"):format(kind, tostring(value))
  elseif kind == "table" then
    local class = getmetatable(value)
    local name = type(class) == "table" and rawget(class, "name")
    return type(name) == "string" and "an instance of " .. name or "a table"
  end
  return "a " .. kind
end

-- `a.b` is called a property, a plain name an argument, as in Node.
local function subject(name)
  if name:find("^The ") or name:find(" argument$") then return name end
  return ('The "%s" %s'):format(name, name:find(".", 1, true) and "property" or "argument")
end

--- `The "file" argument must be of type string. Received nil` (ERR_INVALID_ARG_TYPE).
---@package
---@param name string argument, or `options.field`
---@param expected string a Lua type, several ("string or table"), or a phrase ("an instance of Socket")
---@return Error
function errors.argType(name, expected, value)
  local typed = expected:find("^an? ") and expected or "of type " .. expected
  return errors.coded("ERR_INVALID_ARG_TYPE",
    ("%s must be %s. Received %s"):format(subject(name), typed, received(value)))
end

--- `The property 'options.x' is invalid. Received 'y'` (ERR_INVALID_ARG_VALUE); `reason` replaces "is invalid".
---@package
---@return Error
function errors.argValue(name, value, reason)
  local shown = type(value) == "string" and ("'%s'"):format(value) or type(value) == "table" and "a table" or tostring(value)
  return errors.coded("ERR_INVALID_ARG_VALUE", ("The %s '%s' %s. Received %s"):format(
    name:find(".", 1, true) and "property" or "argument", name, reason or "is invalid", shown))
end

--- `Port should be >= 0 and < 65536. Received type number (70000).` (ERR_SOCKET_BAD_PORT).
---@package
---@param from string ">= 0" or "> 0"
---@return Error
function errors.badPort(name, from, value)
  return errors.coded("ERR_SOCKET_BAD_PORT", ("%s should be %s and < 65536. Received %s."):format(name, from, received(value)))
end

--- `The value of "port" is out of range. It must be >= 0 and < 65536. Received 70000` (ERR_OUT_OF_RANGE).
---@package
---@param range string such as ">= 0 and < 65536"
---@return Error
function errors.outOfRange(name, range, value)
  return errors.coded("ERR_OUT_OF_RANGE",
    ('The value of "%s" is out of range. It must be %s. Received %s'):format(name, range, tostring(value)))
end

--- `The "message" argument must be specified` (ERR_MISSING_ARGS).
---@package
---@return Error
function errors.missing(name)
  return errors.coded("ERR_MISSING_ARGS", ('The "%s" argument must be specified'):format(name))
end

-- The others are the runtime's own, and look at the stack of who called them.
calls.functions(errors, "errors", {
  Error = true, coded = true, system = true, argType = true, argValue = true, outOfRange = true, badPort = true, missing = true,
})

return errors
