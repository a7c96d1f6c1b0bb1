--- A cluster of its own: the policy of a process is fixed by its first fork, so each test loads the primary's side anew.
local clients = require("spec.support.cluster.clients")
local loaded = require("lrun.core.loaded")
local uv = require("luv")

local fresh = {}

--- Loads `cluster` with the policy given, its workers to run spec/support/cluster/worker.lua.
function fresh.cluster(policy)
  for _, name in ipairs{ "primary", "listeners", "reload" } do loaded["lrun.cluster." .. name] = nil end
  local cluster = require("lrun.cluster.primary")
  cluster.schedulingPolicy = policy
  cluster.setupPrimary{ exec = uv.cwd() .. "/spec/support/cluster/worker.lua", args = {} }

  --- Forks a worker in the role given and waits until it listens.
  ---@return Worker worker
  ---@return integer port
  function cluster.start(role, env)
    env = env or {}
    env.SPEC_ROLE = role
    local worker = cluster.fork(env)
    return worker, clients.event(worker, "listening").port
  end

  function cluster.stopAll()
    cluster:removeAllListeners()
    for _, running in pairs(cluster.metrics()) do process.kill(running.pid, "SIGKILL") end
    clients.untilTrue(function() return next(cluster.workers) == nil and next(cluster.metrics()) == nil end,
      "the workers' end")
  end

  return cluster
end

return fresh
