--- The keeper's policy: one app, its instances, and what may be asked of them. Pure of links and sockets: `options.tell(name, args)` takes
--- what the daemon shall hear. Calls end with callback(problem).
local uv = require("luv")
local fork = require("lrun.manager.keeper.fork")
local instances = require("lrun.manager.keeper.instance")
local logs = require("lrun.manager.keeper.logs")
local ready = require("lrun.manager.keeper.ready")
local sockets = require("lrun.manager.keeper.sockets")
local appRules = require("lrun.manager.app")

local Keeper = {}
Keeper.__index = Keeper

local function milliseconds()
  local seconds, microseconds = uv.gettimeofday()
  return seconds * 1000 + math.floor(microseconds / 1000)
end
Keeper.milliseconds = milliseconds

-- Processes of ours ---------------------------------------------------------------------------------------------------

function Keeper:own(pid) if pid then self.pids[pid] = true end end
function Keeper:disown(pid) if pid then self.pids[pid] = nil end end
function Keeper:owns(pid) return self.pids[pid] == true end

--- Whether there is no other instance whose orphan one could be.
function Keeper:isAlone(instance)
  for _, each in ipairs(self.all) do
    if each ~= instance and each.process then return false end
  end
  return true
end

-- What is told --------------------------------------------------------------------------------------------------------

--- An event of an instance, or of the app.
function Keeper:emit(name, instance, fields)
  fields.event, fields.time = name, milliseconds()
  if instance then
    fields.number = instance.number
    fields.pid = fields.pid or instance.pid
  end
  self.tell("event", fields)
end

local ORDER = { "stopping", "failed", "waiting", "starting", "online" }

--- The state of the app, from its instances'.
function Keeper:state()
  if self.stopping then return "stopping" end
  local have = {}
  for _, each in ipairs(self:list()) do have[each:status().state] = true end
  for _, state in ipairs(ORDER) do if have[state] then return state end end
  return "stopped"
end

--- The instances in order of their numbers.
function Keeper:list()
  local list = {}
  for number = 0, self.count - 1 do list[#list + 1] = self.instances[number] end
  return list
end

function Keeper:status()
  local list, restarts, reason = {}, self.restartsGone, self.reason
  for i, each in ipairs(self:list()) do
    list[i] = each:status()
    restarts = restarts + each.restarts
    if each.state == "failed" or each.state == "waiting" then reason = each.problem end
  end
  return { state = self:state(), instances = list, restarts = restarts, reason = reason, lost = self.logs:lost() }
end

local function pushStatus(self)
  if self.pushing then return end
  self.pushing = true
  process.nextTick(function()
    self.pushing = false
    self.tell("status", self:status())
  end)
end
Keeper.pushStatus = pushStatus

-- One instance is given up. Those that serve go on; where none does, those that still try are ended, so that a failed app holds nothing.
local function stopUseless(self)
  local failed, trying = false, {}
  for _, each in ipairs(self:list()) do
    if each.state == "online" then return end
    if each.state == "failed" then failed = true
    elseif each.state == "starting" or each.state == "waiting" then trying[#trying + 1] = each end
  end
  if not failed then return end
  for _, each in ipairs(trying) do each:stop("stop") end
end

-- The app as a whole has become online, stopped or failed.
local function noteWhole(self)
  stopUseless(self)
  local state = self:state()
  if state == self.lastState then return end
  local before = self.lastState
  self.lastState = state
  if state == "online" and not self.reloading and before ~= "reloading" then
    self:emit("online", nil, {})
    self.sockets:releaseUnused()
  elseif state == "failed" then
    self:emit("failed", nil, { reason = self:status().reason })
  elseif state == "stopped" and not self.stopping then
    self:emit("stopped", nil, {})
  end
  if (state == "stopped" or state == "failed") and not self.stopping then self:maybeIdle() end
end

--- Called by an instance whose state has changed.
function Keeper:instanceChanged()
  self:writePidFile()
  noteWhole(self)
  pushStatus(self)
end

--- Tells when nothing runs and nothing is going to.
function Keeper:maybeIdle()
  for _, each in ipairs(self.all) do
    if each.process or each.state == "waiting" then return end
  end
  self.sockets:release()
  if self.driver and self.driver.release then self.driver.release(self) end
  self.onIdle()
end

function Keeper:writePidFile()
  local path = self.app.pidFile
  if not path then return end
  local first = self.instances[0]
  if first and first.pid then
    local file = io.open(path, "w")
    if file then file:write(("%d\n"):format(first.pid)) file:close() end
  else
    uv.fs_unlink(path)
  end
end

-- Starting ------------------------------------------------------------------------------------------------------------

local function chooseDriver(self)
  if self.app.mode ~= "cluster" then
    self.driver = nil
    return
  end
  local kind = appRules.clusterKind(self.app)
  if kind == "lua" then
    self.driver = require("lrun.manager.keeper.lua")
    return self.driver.configure(self)
  end
  self.driver = require("lrun.manager.keeper.node")
end

--- Starts the process of an instance.
function Keeper:launch(number)
  self.serial = self.serial + 1
  local mark = ("%s:%d"):format(self.mark, self.serial)
  local stat = uv.fs_stat(self.app.cwd)
  if not stat then return nil, ("lrun: the working directory '%s' is not there"):format(self.app.cwd) end
  local started, problem, notice
  if self.app.ready == "notify" then
    notice, problem = ready.socket()
    if not notice then return nil, "lrun: " .. problem end
  end
  if self.driver then
    started, problem = self.driver.start(self, number, mark)
  else
    local child
    child, problem = fork.start(self, number, mark, notice)
    started = child and { child = child, kind = "fork" }
  end
  if not started then return nil, "lrun: " .. problem end
  started.notice, started.mark = notice, mark
  return started
end

local function newInstance(self, number, restarts)
  local made = instances.new(self, number, restarts)
  self.all[#self.all + 1] = made
  return made
end

local function forget(self, instance)
  for i = #self.all, 1, -1 do if self.all[i] == instance then table.remove(self.all, i) end end
end

-- Calls done(problem) once all of them have started, with the first problem as soon as there is one.
local function whenStarted(list, done)
  local left, failed = #list, false
  if left == 0 then return done() end
  for _, each in ipairs(list) do
    each:onStarted(function(problem)
      left = left - 1
      if failed then return end
      if problem then
        failed = true
        return done(problem)
      end
      if left == 0 then done() end
    end)
  end
end

--- Starts all instances.
---@param restarts table<string, integer>? how often each was replaced before
function Keeper:start(restarts, done)
  local problem = chooseDriver(self)
  if problem then return done(problem) end
  self.count = self.app.instances
  for number = 0, self.count - 1 do
    self.instances[number] = newInstance(self, number, restarts and restarts[tostring(number)])
  end
  local list = self:list()
  for _, each in ipairs(list) do each:start() end
  whenStarted(list, done)
end

-- Stopping ------------------------------------------------------------------------------------------------------------

local function stopAll(list, reason, done)
  local left = #list
  if left == 0 then return done() end
  for _, each in ipairs(list) do
    each:stop(reason, function()
      left = left - 1
      if left == 0 then done() end
    end)
  end
end

--- Stops all instances; calls back when they are gone.
---@param reason "stop"|"delete"|"restart"
function Keeper:stop(reason, done)
  self.whenStopped[#self.whenStopped + 1] = done
  if self.stopping then return end
  self.stopping = true
  pushStatus(self)
  local list = { unpack(self.all) }
  stopAll(list, reason, function()
    self.stopping, self.lastState = false, "stopped"
    self:emit("stopped", nil, {})
    self.sockets:release()
    if self.driver and self.driver.release then self.driver.release(self) end
    self.logs:close()
    self:writePidFile()
    local callbacks = self.whenStopped
    self.whenStopped = {}
    for _, callback in ipairs(callbacks) do callback() end
    self.onIdle()
  end)
end

-- Changing ------------------------------------------------------------------------------------------------------------

--- Other fields of the app, for what is started from now on.
function Keeper:configure(app)
  self.app = app
  self.logs:configure(app)
  return chooseDriver(self)
end

--- Ends and starts all instances, or one.
---@param reason string
---@param number integer?
function Keeper:restart(reason, number, done)
  if self.stopping then return done("it is being stopped") end
  local list = number and { self.instances[number] } or self:list()
  for _, each in ipairs(list) do each:restart(reason) end
  whenStarted(list, done)
end

--- More instances, or fewer: the highest numbers go.
function Keeper:scale(count, done)
  local before = self.count
  self.app.instances, self.count = count, math.max(count, before)
  if count > before then
    local added = {}
    for number = before, count - 1 do
      self.instances[number] = newInstance(self, number)
      added[#added + 1] = self.instances[number]
    end
    for _, each in ipairs(added) do each:start() end
    return whenStarted(added, done)
  end
  local gone = {}
  for number = count, before - 1 do gone[#gone + 1] = self.instances[number] end
  self.count = count
  stopAll(gone, "scale", function()
    for _, each in ipairs(gone) do
      self.restartsGone = self.restartsGone + each.restarts
      self.instances[each.number] = nil
      forget(self, each)
    end
    pushStatus(self)
    done()
  end)
end

--- Sends a signal to each instance. Returns how many got it.
function Keeper:signal(signal)
  local count = 0
  for _, each in ipairs(self:list()) do
    if each.pid then
      each:kill(signal)
      count = count + 1
    end
  end
  return count
end

--- Writes a line to the standard input of each instance. Returns how many got it.
function Keeper:send(line)
  local count = 0
  for _, each in ipairs(self:list()) do
    local stdin = each.process and each.process.child.stdin
    if stdin and stdin.writable then
      stdin:write(line .. "\n")
      count = count + 1
    end
  end
  return count
end

--- Zeroes the counters.
function Keeper:reset()
  self.restartsGone = 0
  for _, each in ipairs(self:list()) do each.restarts, each.streak = 0, 0 end
  pushStatus(self)
end

--- What the instances of a cluster count: by number, connections, requests, lag.
function Keeper:metrics()
  local found = {}
  for _, each in ipairs(self:list()) do
    local metrics = each.process and each.process.metrics and each.process.metrics()
    if metrics then
      metrics.number = each.number
      found[#found + 1] = metrics
    end
  end
  return found
end

--- For reload.lua: a replacement of an instance, and its taking over.
function Keeper:newCandidate(old)
  local made = newInstance(self, old.number, old.restarts)
  made.candidate = true
  return made
end

function Keeper:promote(candidate, old)
  candidate.candidate = nil
  candidate.restarts = old.restarts + 1
  candidate.streak = 0
  self.instances[old.number] = candidate
  self:instanceChanged()
end

function Keeper:forget(instance) forget(self, instance) end

---@class KeeperOptions
---@field app table its normal form
---@field home string LRUN_HOME
---@field mark string what its processes are known by
---@field sink string? see Logs
---@field write fun(text: string)? with a sink
---@field tell fun(name: string, args: table) what the daemon shall hear
---@field onIdle fun() nothing runs, and nothing is going to
---@field onBound fun(held: HeldSocket)
---@field onReleased fun(key: string)

--- Makes a keeper.
---@param options KeeperOptions
local function new(options)
  local self = setmetatable({
    app = options.app, home = options.home, mark = options.mark, tell = options.tell, onIdle = options.onIdle,
    instances = {}, all = {}, pids = {}, count = 0, serial = 0, restartsGone = 0, whenStopped = {}, stopping = false,
  }, Keeper)
  self.logs = logs.new{ app = options.app, home = options.home, sink = options.sink, write = options.write }
  self.sockets = sockets.new{ onBound = options.onBound, onReleased = options.onReleased }
  return self
end

return { new = new }
