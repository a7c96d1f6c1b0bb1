--- HTTP hello, 16 requests in one write: processor time of the server per request.
return {
  order = 21,
  needs = { "wrk" },
  run = function(bench)
    local starters = {}
    for _, name in ipairs { "lrun", "nginx", "node", "bun" } do
      starters[#starters + 1] = { name, bench.servers[name] }
    end
    local servers = bench.startServers(starters)
    local median = bench.load(servers, { connections = 64, seconds = 1, rounds = 9, script = "pipeline.lua" })
    for _, server in ipairs(servers) do bench.stop(server) end
    local function cpu(name) return median[name] and median[name].cpu end
    bench.compare("HTTP hello, 16 pipelined: CPU a request", "µs", median.lrun.cpu, {
      { "nginx", cpu("nginx") },
      { "node", cpu("node"), "<= 0.1" },
      { "bun", cpu("bun"), "<= 0.25" },
    })
  end,
}
