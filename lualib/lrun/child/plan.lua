--- Arguments and options of a child, checked and made into what runtime/process/plan.c takes. Messages and codes are Node's.
--- Nothing is opened or started here.
local errors = require("errors")
local aborting = require("lrun.check.aborting")
local attributes = require("lrun.child.attributes")
local process = require("process")
local signals = require("lrun.host.signals")
local validate = require("lrun.check.validate")

local plan = {}

plan.MAX_BUFFER = 1024 * 1024        -- bytes of one stream, unless `maxBuffer` says otherwise

local optional = validate.optional

-- Arguments -----------------------------------------------------------------------------------------------------------

local function checkNul(value, name)
  if value:find("\0", 1, true) then
    error(errors.argValue(name, (value:gsub("%z", "\\0")), "must be a string without null bytes"), 0)
  end
  return value
end

-- A sequence's keys are numbers, an options table's are names; an empty table is either.
local function isSequence(value)
  local key = next(value)
  return key == nil or type(key) == "number"
end

--- Sorts `(args, options)` where the first may be left out.
---@return string[] args
---@return table options
function plan.arguments(args, options, onlyArgs)
  if args == nil then
    args = {}
  elseif type(args) ~= "table" then
    error(errors.argType("args", "table", args), 0)
  elseif options == nil and not onlyArgs and not isSequence(args) then
    args, options = {}, args
  end
  validate.optional(validate.table, options, "options")
  return args, options or {}
end

local function argumentStrings(args)
  local strings = {}
  for i = 1, #args do strings[i] = checkNul(tostring(args[i]), ("args[%d]"):format(i)) end
  return strings
end

-- Options -------------------------------------------------------------------------------------------------------------

local function checkId(value, name)
  validate.integer(value, name, -2147483648, 4294967295)
end

local function checkTimeout(value, name)
  if type(value) ~= "number" then error(errors.argType(name, "number", value), 0) end
  if value < 0 or value ~= math.floor(value) or value - value ~= 0 then
    error(errors.outOfRange(name, "an unsigned integer", value), 0)
  end
end

local function checkMaxBuffer(value, name)
  if type(value) ~= "number" then error(errors.argType(name, "number", value), 0) end
  if value ~= value or value < 0 then error(errors.outOfRange(name, "a positive number", value), 0) end
end

local function checkShell(value)
  if type(value) ~= "boolean" and type(value) ~= "string" then
    error(errors.argType("options.shell", "boolean or string", value), 0)
  end
  if type(value) == "string" then checkNul(value, "options.shell") end
end

local SERIALIZATIONS = { lua = "lua", advanced = "lua", json = "json" }

--- The wire that a `serialization` option names.
---@return "lua"|"json"|nil
function plan.wire(serialization)
  if serialization == nil then return nil end
  local wire = SERIALIZATIONS[serialization]
  if not wire then
    error(errors.argValue("options.serialization", serialization, "must be one of: undefined, 'json', 'lua', 'advanced'"), 0)
  end
  return wire
end

--- Throws unless every option has a possible value. Returns the killSignal's number.
function plan.check(options)
  if options.cwd ~= nil then checkNul(validate.string(options.cwd, "options.cwd"), "options.cwd") end
  optional(validate.boolean, options.detached, "options.detached")
  optional(checkId, options.uid, "options.uid")
  optional(checkId, options.gid, "options.gid")
  if options.shell ~= nil then checkShell(options.shell) end
  if options.argv0 ~= nil then checkNul(validate.string(options.argv0, "options.argv0"), "options.argv0") end
  optional(validate.boolean, options.windowsHide, "options.windowsHide")
  optional(validate.table, options.env, "options.env")
  optional(checkTimeout, options.timeout, "options.timeout")
  optional(checkMaxBuffer, options.maxBuffer, "options.maxBuffer")
  optional(aborting.check, options.signal)
  plan.wire(options.serialization)
  return signals.number(options.killSignal == nil and "SIGTERM" or options.killSignal, "options.killSignal")
end

-- What tells a child of its channel: where there is one, nothing else may.
local CHANNEL = {
  LRUN_CHANNEL_FD = true, LRUN_CHANNEL_SERIALIZATION = true, NODE_CHANNEL_FD = true, NODE_CHANNEL_SERIALIZATION_MODE = true,
}

local function pair(name, value)
  name, value = tostring(name), tostring(value)
  checkNul(name, ("options.env['%s']"):format((name:gsub("%z", "\\0"))))
  return name .. "=" .. checkNul(value, ("options.env['%s']"):format(name))
end

--- "NAME=value" for each variable; nil to inherit the parent's.
---@param channel table<string, string>? the variables of a channel
local function environment(env, channel)
  if (env == nil or env == process.env) and not channel then return nil end
  local list = {}
  for name, value in pairs(env or process.env) do
    if not (channel and CHANNEL[name]) then list[#list + 1] = pair(name, value) end
  end
  for name, value in pairs(channel or {}) do list[#list + 1] = pair(name, value) end
  return list
end

local function shellCommand(file, args, shell)
  local parts = { file }
  for i = 1, #args do parts[i + 1] = args[i] end
  return type(shell) == "string" and shell or "/bin/sh", { "-c", table.concat(parts, " ") }
end

--- Makes the plan of a child but for its `stdio`.
---@param file string
---@param args string[]
---@param options table checked by `plan.check`
---@return table plan as runtime/process/plan.h tells; `env` by `plan.environment`
function plan.make(file, args, options)
  args = argumentStrings(args)
  if options.shell and options.shell ~= "" then file, args = shellCommand(file, args, options.shell) end
  table.insert(args, 1, options.argv0 or file)
  local cwd = options.cwd ~= "" and options.cwd or nil
  local made = { file = file, args = args, cwd = cwd, uid = options.uid, gid = options.gid, detached = options.detached }
  attributes.read(options, made)
  return made
end

--- The error of a child that was not started, as Node words it but for what Node has not; `cause` tells which system call
--- refused.
---@param err Error from lrun.core.spawn
---@param made table the plan
---@param call "spawn"|"spawnSync"
---@return Error
function plan.failure(err, made, call)
  local refused = attributes.failure(err, made)
  if refused then return refused end
  local cause = err
  if err.syscall == "chdir" then cause = errors.system(err.errno, "chdir", { path = made.cwd }) end
  return errors.system(err.errno, call .. " " .. made.file,
    { path = made.file, spawnargs = { unpack(made.args, 2) }, cause = err.syscall ~= "execve" and cause or nil })
end

plan.environment = environment

--- A file to run: a string that is not empty.
function plan.file(file, name)
  validate.string(file, name or "file")
  if file == "" then error(errors.argValue(name or "file", file, "cannot be empty"), 0) end
  return checkNul(file, name or "file")
end

return plan
