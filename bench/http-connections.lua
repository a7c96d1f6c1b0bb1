--- A new connection for each request, two workers: requests a second, and what they cost all processes of the server.
local function workers(bench, command, extension)
  return function(port) return command, { bench.file("bench/programs/workers." .. extension), port, 2 } end
end

return {
  order = 30,
  needs = { "wrk" },
  run = function(bench)
    local node = bench.find("node")
    local servers = bench.startServers {
      { "lrun", workers(bench, bench.lrun, "lua") },
      { "lrun, shared", workers(bench, bench.lrun, "lua"), { LRUN_CLUSTER_SCHED_POLICY = "none" } },
      { "nginx", bench.nginxWorkers(2) },
      { "node", workers(bench, node, "js") },
      { "node, shared", workers(bench, node, "js"), { NODE_CLUSTER_SCHED_POLICY = "none" } },
    }
    local median = bench.load(servers, { connections = 64, seconds = 1, rounds = 9, mayFail = true,
      headers = { "Connection: close" } })
    for _, server in ipairs(servers) do bench.stop(server) end
    local function rate(name) return median[name] and median[name].perSecond end
    bench.compare("new connection per request, 2 workers in turn", "/s", rate("lrun"), {
      { "node", rate("node") },
      { "nginx", rate("nginx"), ">= 1" },
    })
    local function cpu(name) return median[name] and median[name].cpu end
    bench.compare("the same: CPU, all processes", "µs", cpu("lrun"), { { "node", cpu("node") }, { "nginx", cpu("nginx") } })
    bench.compare("the same, listening socket shared", "/s", rate("lrun, shared"), {
      { "node", rate("node, shared") },
    })
  end,
}
