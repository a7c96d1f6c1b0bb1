--- What is looked at while an app runs: memory every five seconds, answers to its health check, lag of a cluster's loops. Owns one timer,
--- and none where there is nothing to look at.
local uv = require("luv")
local identity = require("lrun.manager.identity")
local ready = require("lrun.manager.keeper.ready")
local reload = require("lrun.manager.keeper.reload")

local MEMORY_EVERY = 5000       -- ms
local LAG_MAX = 10000           -- ms that a worker's loop may stand still

local checks = {}

local function replace(keeper, instance, reason)
  if instance.beingReplaced then return end
  instance.beingReplaced = true
  local function done() instance.beingReplaced = nil end
  if reload.isGentle(keeper) and reason == "memory" then
    return reload.run(keeper, { reason = reason, number = instance.number, done = done })
  end
  keeper:restart(reason, instance.number, done)
end

local function treeMemory(pid)
  local usage = identity.usage(pid)
  return usage and usage.memory or 0
end

local function lookAtMemory(keeper)
  local limit = keeper.app.maxMemory
  for _, each in ipairs(keeper:list()) do
    if limit and each.pid and each.state == "online" and treeMemory(each.pid) > limit then replace(keeper, each, "memory") end
  end
end

local function lookAtLag(keeper)
  for _, each in ipairs(keeper:list()) do
    local metrics = each.state == "online" and each.process and each.process.metrics and each.process.metrics()
    if metrics and metrics.lag and metrics.lag > LAG_MAX then replace(keeper, each, "health") end
  end
end

local function askForHealth(keeper)
  local health = keeper.app.health
  local each = keeper.instances[0]
  if not each or each.state ~= "online" or keeper.asking then return end
  keeper.asking = true
  ready.ask(health, health.timeout, function(good)
    keeper.asking = false
    keeper.unhealthy = good and 0 or (keeper.unhealthy or 0) + 1
    if keeper.unhealthy < health.fails or keeper.stopping then return end
    keeper.unhealthy = 0
    for _, instance in ipairs(keeper:list()) do
      if instance.state == "online" then replace(keeper, instance, "health") end
    end
  end)
end

local function every(ms, f)
  local timer = uv.new_timer()
  timer:start(ms, ms, f)
  timer:unref()
  return timer
end

--- Begins, or begins anew after the app's fields have changed.
---@param keeper table
function checks.start(keeper)
  for _, timer in ipairs(keeper.checkTimers or {}) do timer:close() end
  keeper.checkTimers = {}
  local app = keeper.app
  if app.maxMemory then table.insert(keeper.checkTimers, every(MEMORY_EVERY, function() lookAtMemory(keeper) end)) end
  if keeper.driver and keeper.driver.replace then
    table.insert(keeper.checkTimers, every(MEMORY_EVERY, function() lookAtLag(keeper) end))
  end
  if app.health then table.insert(keeper.checkTimers, every(app.health.every, function() askForHealth(keeper) end)) end
end

return checks
