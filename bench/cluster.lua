--- The cluster: new connections under each policy, the primary's own work for a connection, how evenly the policies
--- spread, and the time from fork to listening.
local LOAD = { connections = 64, seconds = 1, rounds = 3, mayFail = true, headers = { "Connection: close" } }

local POLICIES = { "rr", "least", "sticky", "none", "reuseport" }
local NODES = { rr = true, none = true }

local function starter(bench, extension, workers)
  return function(port)
    local command = extension == "lua" and bench.lrun or bench.find("node")
    return command, { bench.file("bench/programs/workers." .. extension), port, workers }
  end
end

local function stopAll(bench, servers)
  for _, server in ipairs(servers) do bench.stop(server) end
end

local function throughput(bench, workers)
  local starters = {}
  for _, policy in ipairs(POLICIES) do
    starters[#starters + 1] = { policy, starter(bench, "lua", workers), { LRUN_CLUSTER_SCHED_POLICY = policy } }
    if NODES[policy] then
      starters[#starters + 1] = { "node " .. policy, starter(bench, "js", workers), { NODE_CLUSTER_SCHED_POLICY = policy } }
    end
  end
  local servers = bench.startServers(starters)
  local median = bench.load(servers, LOAD)
  stopAll(bench, servers)
  for _, policy in ipairs(POLICIES) do
    local work = ("new connections, %d workers, policy %s"):format(workers, policy)
    local node = median["node " .. policy]
    if node then
      bench.compare(work, "/s", median[policy].perSecond, { { "node", node.perSecond } })
      bench.compare(work .. ": CPU, all processes", "µs", median[policy].cpu, { { "node", node.cpu } })
    else
      bench.row{ work = work, unit = "/s", lrun = median[policy].perSecond }
    end
  end
end

-- Microseconds that the primary alone spends on a connection.
local function primaryCost(bench, extension, workers)
  local servers = bench.startServers{ { extension, starter(bench, extension, workers) } }
  local server = servers[1]
  if not server then return nil end
  bench.wrk(server.port, LOAD)
  local costs = {}
  for i = 1, LOAD.rounds do
    local before = bench.cpuOf(server.pid)
    local result = bench.wrk(server.port, LOAD)
    costs[i] = (bench.cpuOf(server.pid) - before) * 1e6 / result.requests
  end
  stopAll(bench, servers)
  return bench.median(costs)
end

local function printed(bench, command, ...)
  local args = { ... }
  for i, argument in ipairs(args) do args[i] = tostring(argument) end
  return tonumber((bench.output(command, args)))
end

local function spread(bench)
  local node = bench.find("node")
  for _, policy in ipairs(POLICIES) do
    process.env.LRUN_CLUSTER_SCHED_POLICY = policy
    local work = "uneven spread of 8,000 connections over 8 workers, policy " .. policy
    local ours = printed(bench, bench.lrun, bench.file("bench/programs/spread.lua"), 8, 8000)
    process.env.LRUN_CLUSTER_SCHED_POLICY = nil
    local target = (policy == "rr" or policy == "least") and "<= 10" or nil
    bench.row{ work = work, unit = "%", lrun = ours, target = target }
    if node and NODES[policy] then
      process.env.NODE_CLUSTER_SCHED_POLICY = policy
      local theirs = printed(bench, node, bench.file("bench/programs/spread.js"), 8, 8000)
      process.env.NODE_CLUSTER_SCHED_POLICY = nil
      bench.row{ work = work .. ", node", unit = "%", lrun = theirs }
    end
  end
end

local function forks(bench)
  local node = bench.find("node")
  local ours = printed(bench, bench.lrun, bench.file("bench/programs/fork.lua"), 40)
  bench.row{ work = "fork to listening, one worker", unit = "ms", lrun = ours, target = "<= 8" }
  if not node then return end
  local theirs = printed(bench, node, bench.file("bench/programs/fork.js"), 10)
  bench.compare("the same beside", "ms", ours, { { "node", theirs } })
end

return {
  order = 32,
  needs = { "wrk" },
  run = function(bench)
    throughput(bench, 2)
    throughput(bench, 4)
    for _, workers in ipairs{ 1, 2, 4, 8, 16 } do
      local work = ("primary's CPU a connection, %d worker%s"):format(workers, workers == 1 and "" or "s")
      local ours = primaryCost(bench, "lua", workers)
      if workers == 2 then bench.compare(work, "µs", ours, { { "node", primaryCost(bench, "js", workers), "<= 0.2" } })
      else bench.row{ work = work, unit = "µs", lrun = ours } end
    end
    spread(bench)
    forks(bench)
  end,
}
