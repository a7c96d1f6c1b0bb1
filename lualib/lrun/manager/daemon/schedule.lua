--- When apps are restarted by their patterns of time. Owns one timer an app with `cron`.
local uv = require("luv")
local cron = require("lrun.manager.cron")

local LONGEST = 3600000         -- ms: clocks are set, machines sleep; so it looks again

local schedule = {}

local timers = {}               -- entry → timer

local function stop(entry)
  if timers[entry] then timers[entry]:close() end
  timers[entry] = nil
end

local function arm(entry, pattern, fire)
  local function wait()
    local seconds, microseconds = uv.gettimeofday()
    local now = seconds * 1000 + microseconds / 1000
    local due = cron.next(pattern, seconds)
    if not due then return stop(entry) end
    local ms = due * 1000 - now
    uv.update_time()
    timers[entry]:start(math.max(1, math.min(LONGEST, math.ceil(ms))), 0, function()
      if ms <= LONGEST then fire(entry) end
      if timers[entry] then wait() end
    end)
  end
  timers[entry] = uv.new_timer()
  wait()
end

--- The app runs, or does not, or has another pattern.
---@param entry table
---@param runs boolean
---@param fire fun(entry: table)
function schedule.update(entry, runs, fire)
  local text = runs and entry.record.app.cron or nil
  if entry.cronText == text then return end
  stop(entry)
  entry.cronText = text
  local pattern = text and cron.parse(text)
  if pattern then arm(entry, pattern, fire) end
end

return schedule
