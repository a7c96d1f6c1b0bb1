--- What a child gets beyond Node's options: `groups`, `umask`, `nice`, `limits`, `deathSignal`. Checked here, so that a wrong
--- type or name throws at the call; what the system refuses is found when the child is started (runtime/process/launch.c).
local errors = require("errors")
local signals = require("lrun.host.signals")
local spawn = require("lrun.core.spawn")
local validate = require("lrun.check.validate")

local attributes = {}

local UNITS = { [""] = 1, K = 2 ^ 10, M = 2 ^ 20, G = 2 ^ 30, T = 2 ^ 40 }
local LARGEST = 2 ^ 63

local function checkGroups(groups)
  validate.table(groups, "options.groups")
  for i = 1, #groups do
    local name, group = ("options.groups[%d]"):format(i), groups[i]
    if type(group) == "number" then validate.integer(group, name, 0, 4294967295)
    elseif type(group) ~= "string" then error(errors.argType(name, "number or string", group), 0) end
  end
  if #groups == 0 and next(groups) ~= nil then
    error(errors.argValue("options.groups", groups, "must be a list of ids"), 0)
  end
  return groups
end

-- A number, or octal digits in a string as for process.umask.
local function readUmask(mask)
  if type(mask) ~= "string" then return validate.integer(mask, "options.umask", 0, 511) end
  if not mask:find("^[0-7]+$") then
    error(errors.argValue("options.umask", mask, "must be a 32-bit unsigned integer or an octal string"), 0)
  end
  return validate.integer(tonumber(mask, 8), "options.umask", 0, 511)
end

local function limitNames()
  local names = {}
  for name in pairs(spawn.LIMITS) do names[#names + 1] = name end
  table.sort(names)
  return table.concat(names, ", ")
end

-- Bytes, or whatever the limit counts: a number, math.huge or "unlimited" for none, or "64K", "1.5G".
local function readAmount(value, name)
  if type(value) == "number" then
    if value ~= value or value < 0 or value ~= math.huge and value ~= math.floor(value) then
      error(errors.outOfRange(name, "an unsigned integer", value), 0)
    end
    return value
  end
  if type(value) ~= "string" then error(errors.argType(name, "number, string or table", value), 0) end
  if value == "unlimited" then return math.huge end
  local number, unit = value:match("^(%d+%.?%d*)%s*([KMGT]?)i?B?$")
  local amount = number and tonumber(number) * UNITS[unit]
  if not amount or amount >= LARGEST then
    error(errors.argValue(name, value, 'must be a number, such as 1024, "64K" or "1G", or "unlimited"'), 0)
  end
  return math.floor(amount)
end

-- One limit as { number, soft, hard }: one value stands for both, a part that is not given stays as it is.
local function readLimit(name, value)
  local resource = spawn.LIMITS[name]
  local path = "options.limits." .. tostring(name)
  if not resource then error(errors.argValue(path, value, "is no limit; known are " .. limitNames()), 0) end
  if type(value) ~= "table" then
    local amount = readAmount(value, path)
    return { resource, amount, amount }
  end
  local soft, hard = value.soft or value[1], value.hard or value[2]
  if soft == nil and hard == nil then error(errors.argValue(path, value, "must be { soft, hard }"), 0) end
  return { resource, soft ~= nil and readAmount(soft, path .. ".soft") or nil,
    hard ~= nil and readAmount(hard, path .. ".hard") or nil }
end

local function readLimits(limits)
  validate.table(limits, "options.limits")
  local names, list = {}, {}
  for name in pairs(limits) do names[#names + 1] = tostring(name) end
  table.sort(names)
  for i, name in ipairs(names) do list[i] = readLimit(name, limits[name]) end
  list.names = names
  return list
end

--- Reads the options into a plan, or throws for the first that has no possible value.
---@param options table
---@param plan table gets `groups`, `umask`, `nice`, `limits`, `deathSignal`
function attributes.read(options, plan)
  plan.groups = validate.optional(checkGroups, options.groups)
  plan.umask = validate.optional(readUmask, options.umask)
  plan.nice = validate.optional(validate.integer, options.nice, "options.nice", -20, 19)
  plan.limits = validate.optional(readLimits, options.limits)
  if options.deathSignal ~= nil then plan.deathSignal = signals.number(options.deathSignal, "options.deathSignal") end
end

-- What was refused, for whoever reads the message.
local function refused(err, plan)
  if err.limit then return "limits." .. plan.limits.names[err.limit] end
  if err.syscall == "setpriority" then return ("nice = %d"):format(plan.nice) end
  if err.syscall == "getgrnam" or err.syscall == "setgroups" then return "groups" end
  return "deathSignal"
end

--- The error of an attribute that the system refused, from what lrun.core.spawn says of it; nil: it was something else.
---@return Error?
function attributes.failure(err, plan)
  if not err.refused then return nil end
  local failure = errors.system(err.errno, err.syscall, { path = plan.file, spawnargs = { unpack(plan.args, 2) } })
  failure.message = ("%s (%s for '%s')"):format(failure.message, refused(err, plan), plan.file)
  return failure
end

return attributes
