--- Instances of a Lua script in cluster mode: the keeper is the cluster's primary, and its instances are workers. What a worker listens
--- on is bound here; copies of these sockets go to the daemon, so that they outlive this process.
local cluster = require("cluster")
local fork = require("lrun.manager.keeper.fork")

local lua = {}

-- Workers get the app's environment: the primary's is made to be that.
local function takeEnvironment(keeper)
  local env = process.env
  for name in pairs(env) do env[name] = nil end
  for name, value in pairs(fork.environment(keeper, 0, keeper.mark)) do env[name] = value end
end

--- Sets the cluster up for an app; again after its fields have changed.
---@return string? problem
function lua.configure(keeper)
  local made = keeper.app
  takeEnvironment(keeper)
  local options, problem = fork.launchOptions(made)
  if not options then return problem end
  local settings = {
    exec = made.script, args = made.args, execArgv = made.interpreterArgs, stdio = { "pipe", "pipe", "pipe", "ipc" },
    keepListening = 600000,
  }
  for name, value in pairs(options) do settings[name] = value end
  settings.deathSignal = nil      -- a worker sees to that itself
  cluster.setupPrimary(settings)
end

local function started(worker, keeper)
  return {
    child = worker.process, worker = worker, kind = "lua",
    onListening = function(done) worker:once("listening", done) end,
    retire = function() worker:disconnect() end,
    metrics = function()
      local metrics = cluster.metrics()[worker.id]
      return metrics and { connections = metrics.connections, requests = metrics.requests, lag = metrics.lag, accepted = metrics.accepted }
    end,
    keeper = keeper,
  }
end

--- Starts one.
---@return table? started
---@return string? problem
function lua.start(keeper, number, mark)
  local ok, worker = pcall(cluster.fork, fork.variables(keeper, number, mark))
  if not ok then return nil, tostring(worker) end
  worker:on("error", function() end)
  return started(worker, keeper)
end

--- Replaces one worker by a new one.
---@param old table what `start` returned
---@param on { fork: fun(started: table), ready: fun(), drain: fun() }
---@param callback fun(problem: string?)
function lua.replace(keeper, old, on, callback)
  local made = keeper.app
  local function phase(name, worker)
    if name == "fork" and not on.worker then
      on.worker = worker
      worker:on("error", function() end)
      on.fork(started(worker, keeper))
    elseif name == "ready" and worker == on.worker then on.ready()
    elseif name == "drain" and worker == old.worker then on.drain() end
  end
  cluster:on("reload", phase)
  cluster.reload({
    workers = { old.worker }, waitReady = made.ready == "message", listenTimeout = made.listenTimeout, minUptime = made.minReady,
    killTimeout = math.min(made.killTimeout, 2147483647),
  }, function(err)
    cluster:off("reload", phase)
    callback(err and tostring(err) or nil)
  end)
end

return lua
