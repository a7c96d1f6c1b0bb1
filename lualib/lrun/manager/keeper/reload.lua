--- Replaces the instances of an app one by one: a new one is started, is ready, lives on for `minReady`, then the old one is retired.
--- Any failure stops it and leaves the old ones. What cannot share its port is restarted instead. One reload runs at a time; those
--- that are asked for meanwhile are one more round after it.
local uv = require("luv")
local instances = require("lrun.manager.keeper.instance")

local reload = {}

-- Whether the app's instances can be replaced without closing its port.
local function isGentle(keeper)
  return keeper.driver ~= nil or keeper.app.listen ~= nil
end
reload.isGentle = isGentle

local function later(ms, f)
  local timer = uv.new_timer()
  timer:start(ms, 0, function()
    timer:close()
    f()
  end)
  return timer
end

-- A candidate was ready: waits whether it stays so.
local function proven(keeper, candidate, done)
  local timer
  timer = later(keeper.app.minReady, function()
    candidate.onEnded = nil
    done()
  end)
  candidate.onEnded = function(problem)
    if not timer:is_closing() then timer:close() end
    done(problem)
  end
end

local function phase(keeper, name, instance)
  keeper:emit("reload", instance, { phase = name })
end

local function abandon(keeper, candidate, problem, done)
  phase(keeper, "failed", candidate)
  local function gone()
    keeper:forget(candidate)
    done(problem)
  end
  if not candidate.process then return gone() end
  candidate:kill("SIGKILL")
  candidate:stop("reload", gone)
end

-- Node's clusters, and programs that take a descriptor.
local function replaceGeneric(keeper, old, reason, done)
  local candidate = keeper:newCandidate(old)
  phase(keeper, "fork", candidate)
  candidate:start()
  candidate:onStarted(function(problem)
    if problem then return abandon(keeper, candidate, problem, done) end
    phase(keeper, "ready", candidate)
    proven(keeper, candidate, function(fault)
      if fault then return abandon(keeper, candidate, fault, done) end
      keeper:promote(candidate, old)
      phase(keeper, "drain", old)
      old:retire(reason, function()
        keeper:forget(old)
        phase(keeper, "exit", old)
        done()
      end)
    end)
  end)
end

local function replaceLua(keeper, old, reason, done)
  local candidate = keeper:newCandidate(old)
  local ended
  keeper.driver.replace(keeper, old.process, {
    fork = function(started)
      started.mark, candidate.sharesMark, old.sharesMark = old.mark, true, true
      candidate.onEnded = function(problem) ended = problem end
      phase(keeper, "fork", candidate)
      candidate:take(started)
    end,
    ready = function()
      phase(keeper, "ready", candidate)
      instances.onReady(candidate)
    end,
    drain = function()
      candidate.onEnded = nil
      keeper:promote(candidate, old)
      old:expectEnd(reason)
      phase(keeper, "drain", old)
    end,
  }, function(problem)
    local function withWords()
      local tail = keeper.logs:tail(old.number):gsub("%s+$", "")
      return tail ~= "" and problem .. "\n" .. tail or problem
    end
    if problem and candidate.candidate then
      -- Its last words come with its end.
      local function fail()
        phase(keeper, "failed", candidate)
        keeper:forget(candidate)
        done(ended or withWords())
      end
      if not candidate.process then return fail() end
      candidate.whenStopped[#candidate.whenStopped + 1] = fail
      return candidate:kill("SIGKILL")
    end
    candidate.sharesMark = nil
    local function gone()
      keeper:forget(old)
      phase(keeper, "exit", old)
      done(problem and withWords())
    end
    if not old.process then return gone() end
    old.whenStopped[#old.whenStopped + 1] = gone
  end)
end

local function replace(keeper, old, reason, done)
  if keeper.driver and keeper.driver.replace then return replaceLua(keeper, old, reason, done) end
  replaceGeneric(keeper, old, reason, done)
end

-- Nothing is touched when the program is not there.
local function look(keeper)
  local app = keeper.app
  if app.kind == "script" then
    local stat = uv.fs_stat(app.script)
    if not stat then return ("the script '%s' is not there"):format(app.script) end
    if not uv.fs_access(app.script, "R") then return ("the script '%s' cannot be read"):format(app.script) end
  end
  if not uv.fs_stat(app.cwd) then return ("the working directory '%s' is not there"):format(app.cwd) end
end

local function run(keeper, request, done)
  phase(keeper, "check")
  local problem = look(keeper)
  if problem then
    phase(keeper, "stopped")
    return done(problem)
  end
  local numbers = {}
  for number = 0, keeper.count - 1 do
    if not request.number or request.number == number then numbers[#numbers + 1] = number end
  end
  local function step(i)
    if keeper.stopping then return done("it was stopped") end
    local old = numbers[i] and keeper.instances[numbers[i]]
    if not old then
      if i <= #numbers then return step(i + 1) end       -- scaled down meanwhile
      phase(keeper, "done")
      return done()
    end
    if old.state ~= "online" then
      old:restart(request.reason)
      return old:onStarted(function(fault)
        if not fault then return step(i + 1) end
        phase(keeper, "stopped")
        done(fault)
      end)
    end
    replace(keeper, old, request.reason, function(fault)
      if not fault then return step(i + 1) end
      phase(keeper, "stopped")
      done(fault)
    end)
  end
  step(1)
end

local function begin(keeper)
  local requests = keeper.reloadQueue
  if keeper.reloading or not requests or #requests == 0 then return end
  keeper.reloadQueue = {}
  keeper.reloading = true
  local whole = requests[1]
  for _, each in ipairs(requests) do
    if each.number ~= whole.number then whole = { reason = whole.reason } end
    if each.app then
      local problem = keeper:configure(each.app)
      if problem then keeper:emit("reload", nil, { phase = "stopped", reason = problem }) end
    end
  end
  run(keeper, whole, function(problem)
    keeper.reloading = false
    keeper:instanceChanged()
    for _, each in ipairs(requests) do each.done(problem) end
    begin(keeper)
  end)
end

--- Reloads the app, or one instance.
---@param keeper table
---@param request { reason: string, number: integer?, app: table?, done: fun(problem: string?) } `app`: other fields
function reload.run(keeper, request)
  if keeper.stopping then return request.done("it is being stopped") end
  keeper.reloadQueue = keeper.reloadQueue or {}
  table.insert(keeper.reloadQueue, request)
  begin(keeper)
end

return reload
