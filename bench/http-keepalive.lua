--- HTTP hello over 64 kept-alive connections: processor time of the server per request.
return {
  order = 20,
  needs = { "wrk" },
  run = function(bench)
    local starters = {}
    for _, name in ipairs { "lrun", "epoll", "nginx", "nginx-lua", "node", "bun" } do
      starters[#starters + 1] = { name, bench.servers[name] }
    end
    local servers = bench.startServers(starters)
    local median = bench.load(servers, { connections = 64, seconds = 1, rounds = 9 })
    for _, server in ipairs(servers) do bench.stop(server) end
    local function cpu(name) return median[name] and median[name].cpu end
    bench.compare("HTTP hello, keep-alive, 64 connections: CPU a request", "µs", median.lrun.cpu, {
      { "bare epoll loop", cpu("epoll"), "<= 1.25" },
      { "nginx", cpu("nginx"), "<= 1.0" },
      { "nginx with Lua", cpu("nginx-lua"), "<= 1.0" },
      { "node", cpu("node"), "<= 0.45" },
      { "bun", cpu("bun"), "<= 1.0" },
    })
  end,
}
