--- When an instance that ended is started again, and when the app is given up. Plain values in and out.
local policy = {}

policy.MAX_PAUSE = 15000        -- ms

---@class RestartRules the fields of an app that matter here
---@field autorestart boolean
---@field stopExitCodes integer[]
---@field minUptime integer ms
---@field maxRestarts integer
---@field restartDelay integer ms
---@field backoff integer ms, the first pause

---@class Ending how an instance ended
---@field code integer? nil when a signal ended it
---@field ranFor number ms since its start
---@field wasReady boolean whether it had been ready
---@field streak integer how many before it, in a row, ended too soon

--- What follows an end that nobody asked for.
---@param rules RestartRules
---@param ending Ending
---@return "restart"|"stop"|"fail" what
---@return integer streak the new one
---@return integer? delay ms, with "restart"
function policy.decide(rules, ending)
  if ending.code then
    for _, code in ipairs(rules.stopExitCodes) do
      if code == ending.code then return "stop", 0 end
    end
  end
  local soon = ending.ranFor < rules.minUptime or not ending.wasReady
  if not rules.autorestart then
    return (soon and ending.code ~= 0) and "fail" or "stop", 0
  end
  if not soon then return "restart", 0, rules.restartDelay end
  local streak = ending.streak + 1
  if streak > rules.maxRestarts then return "fail", streak end
  local pause = math.min(policy.MAX_PAUSE, rules.backoff * 2 ^ math.min(streak - 1, 30))
  return "restart", streak, math.max(rules.restartDelay, pause)
end

return policy
