--- WebSocket beside npm's ws (in Node) and Bun's own server, all under the same load (peers/wsload.c): processor time of the server for
--- each message, memory of idle connections; and a compressed answer over HTTP.
local await = require("await")
local child_process = require("child_process")
local fs = require("fs")

local ROUNDS, MILLISECONDS = 5, 500

local echoes = {
  { work = "WebSocket echo, 100 B, 64 connections: CPU a message", size = 100, targets = { bun = "<= 0.85", ws = "<= 0.6" } },
  { work = "the same, 16 in flight", size = 100, inFlight = 16, targets = { ws = "<= 0.12" } },
  { work = "WebSocket echo, 16 KB, 64 connections: CPU a message", size = 16384, targets = {} },
  { work = "WebSocket echo, 64 KB, 64 connections: CPU a message", size = 65536, targets = {} },
  { work = "WebSocket broadcast to 1,000, 100 B: CPU a delivery", mode = "room", connections = 1000, size = 100, targets = { bun = "<= 1.0" } },
}
local deflated = {
  { work = "WebSocket echo with deflate, 16 KB, 64 connections: CPU a message", size = 16384, targets = {} },
  { work = "WebSocket broadcast with deflate to 1,000, 2 KB: CPU a delivery", mode = "room", connections = 1000, size = 2048, targets = {} },
}

-- Where node finds ws: where npm has installed it, or else in the scratch directory; nil without it.
local function findWs(bench)
  local here = bench.scratch .. "/node_modules"
  if not bench.find("node") then return nil end
  if not fs.existsSync(here .. "/ws") then
    local npm = bench.find("npm")
    if not npm then return nil end
    bench.say("installing ws")
    local err = await(child_process.execFile, npm, { "install", "--silent", "--no-audit", "--no-fund", "--prefix", bench.scratch, "ws" })
    if err then
      bench.skipped.ws = true
      return nil
    end
  end
  return here
end

local function starters(bench, modules, deflate)
  local function by(command, program)
    return function(port)
      local path = command == "lrun" and bench.lrun or bench.find(command)
      return path, { bench.file("bench/programs/" .. program), port, deflate and "deflate" or "plain" }
    end
  end
  local list = { { "lrun", by("lrun", "websocket.lua") } }
  if modules then list[#list + 1] = { "ws", by("node", "websocket.js"), { NODE_PATH = modules } } end
  list[#list + 1] = { "bun", by("bun", "websocket.js") }
  return list
end

local function load(bench, program, server, row, deflate, milliseconds)
  local text = bench.output(program, { row.mode or "echo", tostring(server.port), tostring(row.connections or 64), tostring(row.inFlight or 1),
    tostring(row.size), tostring(milliseconds), deflate and "deflate" or "plain", tostring(server.pid) })
  local messages, _, cpu = text:match("^(%d+) (%S+) (%d+)")
  return tonumber(cpu) / math.max(tonumber(messages), 1)
end

local function compare(bench, work, unit, figures, targets)
  local peers = {}
  for _, name in ipairs{ "ws", "bun", "node" } do peers[#peers + 1] = { name, figures[name], targets[name] } end
  bench.compare(work, unit, figures.lrun, peers)
  if not (figures.ws or figures.bun or figures.node) then bench.row{ work = work, unit = unit, lrun = figures.lrun } end
end

local function measure(bench, program, servers, row, deflate)
  local runs, medians = {}, {}
  for round = 0, ROUNDS do -- the first warms up
    for _, server in ipairs(servers) do
      runs[server.name] = runs[server.name] or {}
      local cpu = load(bench, program, server, row, deflate, MILLISECONDS)
      if round > 0 then table.insert(runs[server.name], cpu) end
    end
  end
  for name, list in pairs(runs) do medians[name] = bench.median(list) end
  compare(bench, row.work, "µs", medians, row.targets)
end

local FIRST, CONNECTIONS = 100, 900 -- together less than the 1,024 descriptors that a process may commonly have

-- Kilobytes of the server's for each idle connection that has echoed one message, of those that come behind some first ones.
local function idle(bench, program, server, deflate)
  local children = {}
  local function hold(count)
    local child = child_process.spawn(program, { "hold", tostring(server.port), tostring(count), "1", "100", "0",
      deflate and "deflate" or "plain" }, { stdio = { "pipe", "pipe", "inherit" } })
    children[#children + 1] = child
    await(function(done) child.stdout:once("data", done) end)
    await.sleep(1000) -- what a collector does when there is nothing else to do
    return bench.pss(server.pid)
  end
  local before = hold(FIRST)
  local kilobytes = (hold(CONNECTIONS) - before) * 1024 / CONNECTIONS
  for _, child in ipairs(children) do child:kill("SIGKILL") end
  return kilobytes
end

local function idles(bench, program, modules, deflate)
  local servers = bench.startServers(starters(bench, modules, deflate))
  local figures = {}
  for _, server in ipairs(servers) do
    -- What the first connections make it load is no part of it.
    load(bench, program, server, { connections = 10, size = 100 }, deflate, 300)
    figures[server.name] = idle(bench, program, server, deflate)
    bench.stop(server)
  end
  local work = ("WebSocket%s: memory of an idle connection"):format(deflate and " with deflate" or "")
  bench.row{ work = work, unit = "KiB", lrun = figures.lrun, target = not deflate and "<= 1.5" or nil }
  compare(bench, work, "KiB", figures, {})
end

local function gzip(bench)
  local function by(command, program)
    return function(port)
      local path = command == "lrun" and bench.lrun or bench.find(command)
      return path, { bench.file("bench/programs/" .. program), port }
    end
  end
  if not bench.find("wrk") then return end
  local servers = bench.startServers{ { "lrun", by("lrun", "gzip.lua") }, { "node", by("node", "gzip.js") } }
  local medians = bench.load(servers, { connections = 64, seconds = 1, rounds = 5, headers = { "Accept-Encoding: gzip" } })
  local figures = {}
  for name, each in pairs(medians) do figures[name] = each.cpu end
  compare(bench, "HTTP, 10 KiB of JSON, gzip: CPU a request", "µs", figures, {})
  for _, server in ipairs(servers) do bench.stop(server) end
end

return {
  order = 28,
  run = function(bench)
    local program, modules = bench.compile("wsload", "-lz"), findWs(bench)
    for _, deflate in ipairs{ false, true } do
      local servers = bench.startServers(starters(bench, modules, deflate))
      for _, row in ipairs(deflate and deflated or echoes) do measure(bench, program, servers, row, deflate) end
      for _, server in ipairs(servers) do bench.stop(server) end
      idles(bench, program, modules, deflate)
    end
    gzip(bench)
  end,
}
