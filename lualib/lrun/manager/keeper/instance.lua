--- One instance of an app: started, ready, ended, started again by the policy. Owns its process, its watch for readiness and its timers;
--- tells its keeper of everything by `keeper:instanceChanged` and `keeper:emit`.
---   stopped → starting → online → (ends) → waiting → starting …; stopping → stopped; failed when the policy gives up
local uv = require("luv")
local policy = require("lrun.manager.policy")
local ready = require("lrun.manager.keeper.ready")
local tree = require("lrun.manager.keeper.tree")

local OUTPUT_GRACE = 1000       -- ms that output may still come after the end
local DRAIN_SHARE = 0.8         -- of killTimeout: then a cluster's instance that still drains gets the signal

local Instance = {}
Instance.__index = Instance

local function stopTimer(self, name)
  if self[name] then self[name]:close() end
  self[name] = nil
end

local function startTimer(self, name, ms, f)
  stopTimer(self, name)
  self[name] = uv.new_timer()
  self[name]:start(ms, 0, function()
    stopTimer(self, name)
    f()
  end)
end

local function setState(self, state)
  self.state = state
  self.keeper:instanceChanged(self)
end

local function settle(self, waiting, ...)
  local list = self[waiting]
  self[waiting] = {}
  for _, callback in ipairs(list) do callback(...) end
end

-- The words of a failure: what the program itself said, or how it ended.
local function failureText(self, what)
  local tail = self.keeper.logs:tail(self.number):gsub("%s+$", "")
  return tail ~= "" and what .. "\n" .. tail or what
end

-- Ready ---------------------------------------------------------------------------------------------------------------

local function onReady(self)
  if self.state ~= "starting" then return end
  stopTimer(self, "limit")
  self.wasReady = true
  self.readyAt = uv.now()
  self.keeper:emit("ready", self, {})
  setState(self, "online")
  settle(self, "whenStarted")
end

local function onLate(self)
  if self.state ~= "starting" then return end
  self.reason, self.late = "ready", true
  self:kill("SIGKILL")
end

local function watchReadiness(self, started)
  local app = self.keeper.app
  self.watch = ready.watch(app, started, function() onReady(self) end)
  if app.ready == "uptime" then return end
  startTimer(self, "limit", app.listenTimeout, function() onLate(self) end)
end

-- The end -------------------------------------------------------------------------------------------------------------

local function describeEnd(self, code, signal)
  if self.late then return ("was not ready within %d ms"):format(self.keeper.app.listenTimeout) end
  if signal then return ("was ended by %s"):format(signal) end
  return ("ended with code %s"):format(tostring(code))
end

local function afterPolicy(self, code, signal)
  local app = self.keeper.app
  local ranFor = uv.now() - self.startedAt
  local what, streak, delay = policy.decide(app, {
    code = not signal and not self.late and code or nil, ranFor = ranFor, wasReady = self.wasReady, streak = self.streak,
  })
  self.streak = streak
  local text = ("instance %d %s"):format(self.number, describeEnd(self, code, signal))
  if what == "stop" then
    setState(self, "stopped")
    return settle(self, "whenStarted", code ~= 0 and not self.wasReady and failureText(self, text) or nil)
  end
  if what == "fail" then
    self.problem = app.autorestart
      and ("%s; %d failures in a row are more than maxRestarts (%d)"):format(text, streak, app.maxRestarts) or text
    setState(self, "failed")
    return settle(self, "whenStarted", failureText(self, text))
  end
  self.problem = text
  if not self.wasReady then settle(self, "whenStarted", failureText(self, text)) end
  self.keeper:emit("restart", self, { delay = delay })
  if delay <= 0 then return self:start("restart") end
  setState(self, "waiting")
  startTimer(self, "pause", delay, function() self:start("restart") end)
end

-- A replacement that failed: nobody restarts it.
local function candidateEnded(self, text)
  self.state, self.problem = "failed", failureText(self, text)
  settle(self, "whenStarted", self.problem)
  settle(self, "whenStopped")
  if self.onEnded then self.onEnded(self.problem) end
end

-- The process is gone, its tree is, and its output has been read.
local function onGone(self, code, signal)
  local reason = self.reason or "self"
  self.pid, self.process = nil, nil
  self.keeper:emit("exit", self, { pid = self.endedPid, code = code, signal = signal, reason = reason })
  self.reason = nil
  if self.state == "stopping" then
    setState(self, "stopped")
    settle(self, "whenStarted", "it was stopped")
    return settle(self, "whenStopped")
  end
  if self.retired then
    self.state = "stopped"
    return settle(self, "whenStopped")
  end
  if self.candidate then return candidateEnded(self, ("instance %d %s"):format(self.number, describeEnd(self, code, signal))) end
  if self.againAfterExit then
    local again = self.againAfterExit
    self.againAfterExit = nil
    self.streak = 0
    return self:start(again)
  end
  afterPolicy(self, code, signal)
end

local function members(self)
  local keeper = self.keeper
  return tree.members{
    pid = self.process and self.pid, mark = not self.sharesMark and self.mark or nil, alone = keeper:isAlone(self),
    isOurs = function(pid) return keeper:owns(pid) end,
  }
end

local function watchEnd(self, child)
  local code, signal, exited, closed, finished
  local function check()
    if finished or not (exited and closed) then return end
    finished = true
    stopTimer(self, "outputGrace")
    onGone(self, code, signal)
  end
  child:once("exit", function(status, name)
    code, signal = status, name
    stopTimer(self, "limit")
    stopTimer(self, "force")
    stopTimer(self, "drain")
    if self.watch then self.watch:stop() end
    self.endedPid = self.pid
    self.keeper:disown(self.pid)
    local own = self.pid
    self.pid = nil
    self.processEnded = true
    local function swept()
      exited = true
      startTimer(self, "outputGrace", OUTPUT_GRACE, function()
        for _, stream in ipairs{ child.stdout, child.stderr } do if stream then stream:destroy() end end
        closed = true
        check()
      end)
      check()
    end
    if not self.keeper.app.treekill then return swept() end
    self.endedPid = own
    tree.finish(function() return members(self) end, swept)
  end)
  child:once("close", function()
    closed = true
    check()
  end)
  child:on("error", function(err)
    if child.pid then return end
    finished = true
    self.endedPid = nil
    self.keeper.logs.tails[self.number] = ("lrun: %s\n"):format(tostring(err))
    if self.watch then self.watch:stop() end
    stopTimer(self, "limit")
    onGone(self, 127, nil)
  end)
end

-- Starting ------------------------------------------------------------------------------------------------------------

--- Takes a process that was just started.
---@param started table { child, worker?, notice?, onListening?, retire?, metrics? }
function Instance:take(started)
  local child = started.child
  self.process, self.pid, self.mark = started, child.pid, started.mark
  self.startedAt, self.startedTime = uv.now(), self.keeper.milliseconds()
  self.wasReady, self.late, self.processEnded = false, false, false
  self.keeper:own(child.pid)
  self.keeper.logs:forgetTail(self.number)
  if child.stdout then self.keeper.logs:follow(self.number, "out", child.stdout) end
  if child.stderr then self.keeper.logs:follow(self.number, "err", child.stderr) end
  if child.stdin then child.stdin:on("error", function() end) end
  watchEnd(self, child)
  if child.pid then
    self.keeper:emit("start", self, {})
    setState(self, "starting")
  end
end

--- Starts it. `why`: "restart" counts as a replacement.
---@param why string?
function Instance:start(why)
  stopTimer(self, "pause")
  if self.pid then return end
  if why == "restart" then self.restarts = self.restarts + 1 end
  self.state = "starting"
  local started, problem = self.keeper:launch(self.number)
  if not started then
    self.keeper.logs.tails[self.number] = problem .. "\n"
    self.startedAt, self.wasReady, self.late = uv.now(), false, false
    self.problem = problem
    if self.candidate then return candidateEnded(self, problem) end
    return afterPolicy(self, 127, nil)
  end
  self:take(started)
  if started.child.pid then watchReadiness(self, started) end
end

--- Calls back when it is ready, or with a text when it is not.
---@param callback fun(problem: string?)
function Instance:onStarted(callback)
  if self.state == "online" then return callback() end
  if self.state == "failed" then return callback(self.problem) end
  self.whenStarted[#self.whenStarted + 1] = callback
end

-- Ending --------------------------------------------------------------------------------------------------------------

--- Sends a signal to the process itself.
function Instance:kill(signal)
  local child = self.process and self.process.child
  if child and self.pid then pcall(child.kill, child, signal) end
end

local function forceEnd(self)
  if not self.pid then return end
  if self.keeper.app.treekill then
    for _, pid in ipairs(members(self)) do uv.kill(pid, "sigkill") end
  end
  self:kill("SIGKILL")
end

local function ask(self)
  local app, child = self.keeper.app, self.process.child
  if app.shutdownWithMessage and child.connected then
    child:send("shutdown", nil, nil, function() end)
  else
    self:kill(app.stopSignal)
  end
end

-- A cluster's instance finishes its requests first.
local function askGently(self)
  local started = self.process
  local app = self.keeper.app
  if not started.retire or app.shutdownWithMessage or not started.child.connected then return ask(self) end
  started.retire()
  -- A Lua worker lets go of its channel when its connections are done; a Node worker ends itself then: see preload.lua.
  if not started.endsItself then started.child:once("disconnect", function() if self.pid then ask(self) end end) end
  startTimer(self, "drain", math.floor(app.killTimeout * DRAIN_SHARE), function() if self.pid then ask(self) end end)
end

local function beginEnd(self, reason)
  self.reason = self.reason or reason
  if self.watch then self.watch:stop() end
  stopTimer(self, "limit")
  if self.processEnded then return end      -- it is on its way out already
  askGently(self)
  startTimer(self, "force", self.keeper.app.killTimeout, function() forceEnd(self) end)
end

--- Stops it for good; calls back when it is gone.
---@param reason string
---@param callback fun()?
function Instance:stop(reason, callback)
  stopTimer(self, "pause")
  self.againAfterExit = nil
  if not self.process then
    if self.state ~= "stopped" then setState(self, "stopped") end
    settle(self, "whenStarted", "it was stopped")
    return callback and callback()
  end
  if callback then self.whenStopped[#self.whenStopped + 1] = callback end
  if self.state == "stopping" then return end
  setState(self, "stopping")
  beginEnd(self, reason)
end

--- Ends the process and starts another in its place.
---@param reason string
function Instance:restart(reason)
  stopTimer(self, "pause")
  self.streak = 0
  if not self.process then return self:start("restart") end
  self.againAfterExit = "restart"
  setState(self, "stopping")
  self.state = "restarting"       -- shown as stopping; its end is not the app's
  beginEnd(self, reason)
end

--- It has been replaced: ends when it has drained, and is not counted any more.
---@param reason string
---@param callback fun()
function Instance:retire(reason, callback)
  self.retired = true
  stopTimer(self, "pause")
  if not self.process then return callback() end
  self.whenStopped[#self.whenStopped + 1] = callback
  beginEnd(self, reason)
end

--- Somebody else ends it (cluster.reload): its end is expected.
function Instance:expectEnd(reason)
  self.retired, self.reason = true, reason
  if self.watch then self.watch:stop() end
end

--- What the list shows.
function Instance:status()
  local state = self.state == "restarting" and "stopping" or self.state
  return { number = self.number, pid = self.pid, state = state, restarts = self.restarts, started = self.pid and self.startedTime or nil,
    problem = self.problem }
end

local function new(keeper, number, restarts)
  return setmetatable({
    keeper = keeper, number = number, state = "stopped", restarts = restarts or 0, streak = 0, startedAt = 0, wasReady = false,
    whenStarted = {}, whenStopped = {},
  }, Instance)
end

return { new = new, watchReadiness = watchReadiness, onReady = onReady }
