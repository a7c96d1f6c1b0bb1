--- Children that the caller waits for: makes the plan, has runtime/process/spawn_sync.c run it, and says how it went as Node does.
local errors = require("errors")
local validate = require("lrun.check.validate")
local spawn = require("lrun.core.spawn")
local plans = require("lrun.child.plan")
local signals = require("lrun.host.signals")
local stdio = require("lrun.child.stdio")

local sync = {}

local function slotNumbers(option)
  local numbers = {}
  for i, slot in ipairs((stdio.parse(option, true))) do
    numbers[i] = slot.kind == "fd" and slot.fd or slot.kind == "pipe" and spawn.PIPE or spawn.IGNORE
  end
  return numbers
end

--- Runs a child to its end.
---@return table result `pid`, `output`, `stdout`, `stderr`, `status`, `signal`, `error`
function sync.run(file, args, options)
  local killSignal = plans.check(options)
  local plan = plans.make(file, args, options)
  plan.stdio = slotNumbers(options.stdio)
  plan.env = plans.environment(options.env)
  validate.optional(validate.string, options.input, "options.input")
  plan.input, plan.timeout, plan.killSignal = options.input, options.timeout, killSignal
  plan.maxBuffer = options.maxBuffer == nil and plans.MAX_BUFFER or options.maxBuffer
  local raw, err = spawn.sync(plan)
  if not raw then return { pid = 0, error = plans.failure(err, plan, "spawnSync") } end
  local result = { pid = raw.pid }
  result.output = raw.output
  result.stdout, result.stderr = raw.output[2] or nil, raw.output[3] or nil
  if raw.signal > 0 then result.signal = signals.name(raw.signal) else result.status = raw.status end
  if raw.error then result.error = plans.failure(raw.error, plan, "spawnSync") end
  return result
end

--- What execSync and execFileSync return, or throw.
function sync.output(result, options, commandLine)
  if options.stdio == nil and result.stderr and result.stderr ~= "" then
    require("process").stderr:write(result.stderr)
  end
  local err = result.error
  if not err and result.status == 0 then return result.stdout end
  if not err then
    local message = "Command failed: " .. commandLine
    if result.stderr and result.stderr ~= "" then message = message .. "\n" .. result.stderr end
    err = errors.Error:new(message)
  end
  for name, value in pairs(result) do
    if name ~= "error" then err[name] = value end
  end
  error(err, 0)
end

return sync
