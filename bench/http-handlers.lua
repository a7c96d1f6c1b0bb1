--- HTTP handlers that do more than say hello: processor time of the server per request; and the client's.
local child = "bench/programs/http"

local loads = {
  { "a JSON answer", path = "/json" },
  { "a body of 10 KiB", path = "/page" },
  { "100 headers, one read", path = "/headers", script = "headers.lua" },
  { "POST of 10 KiB", path = "/post", script = "post.lua" },
}

local function starters(bench)
  local list = { { "lrun", function(port) return bench.lrun, { bench.file(child .. ".lua"), port } end } }
  for _, name in ipairs { "node", "bun" } do
    list[#list + 1] = { name, function(port) return bench.find(name), { bench.file(child .. ".js"), port } end }
  end
  return list
end

local function compare(bench, work, unit, values)
  bench.compare(work, unit, values.lrun, { { "node", values.node, "<= 1.0" }, { "bun", values.bun } })
end

local function cpuOf(medians)
  local values = {}
  for name, median in pairs(medians) do values[name] = median.cpu end
  return values
end

-- What an await adds to a request: the median over pairs of runs, so that a passing load hits both of a pair.
local function awaitCost(bench, server)
  local differences = {}
  for i = 1, 9 do
    local cost = {}
    for _, path in ipairs { "/hello", "/await" } do
      local before = bench.cpu(server.pid)
      local result = bench.wrk(server.port, { connections = 64, seconds = 1, path = path })
      cost[path] = (bench.cpu(server.pid) - before) * 1e6 / result.requests
    end
    differences[i] = cost["/await"] - cost["/hello"]
  end
  return math.max(0, bench.median(differences))
end

-- The client programs against one server.
local function clients(bench, server)
  local values = {}
  local runs = { lrun = { bench.lrun, "client.lua" }, node = { bench.find("node"), "client.js" } }
  for name, run in pairs(runs) do
    if run[1] then
      local list = {}
      for i = 1, 5 do
        list[i] = tonumber((bench.output(run[1], { bench.file("bench/programs/" .. run[2]), tostring(server.port), "20000" })))
      end
      values[name] = bench.median(list)
    end
  end
  return values
end

return {
  order = 22,
  needs = { "wrk" },
  run = function(bench)
    local servers = bench.startServers(starters(bench))
    for _, load in ipairs(loads) do
      local medians = bench.load(servers, { connections = 64, seconds = 1, rounds = 5, path = load.path, script = load.script })
      compare(bench, "HTTP, " .. load[1] .. ": CPU a request", "µs", cpuOf(medians))
    end
    local streamed = bench.load(servers, { connections = 1, seconds = 2, rounds = 3, path = "/stream" })
    local values = {}
    for name, cpu in pairs(cpuOf(streamed)) do values[name] = cpu / 1000 end
    compare(bench, "HTTP, a streamed answer of 100 MiB: CPU", "ms", values)
    bench.row { work = "HTTP, an await in the handler: CPU more", unit = "µs", lrun = awaitCost(bench, servers[1]), target = "<= 1.0" }
    compare(bench, "HTTP client, 16 connections: CPU a request", "µs", clients(bench, servers[1]))
    for _, server in ipairs(servers) do bench.stop(server) end
  end,
}
