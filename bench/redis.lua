--- The client for Redis, and the bus over it, beside ioredis and the npm package redis: CPU of the program for each command. The packages
--- are taken from where npm has installed them, or else installed into the scratch directory.
local await = require("await")
local child_process = require("child_process")
local fs = require("fs")

local ROUNDS = 5

local measures = {
  { what = "pipelined", work = "redis: GET, 1,000 under way: CPU a command", count = 100000, target = "<= 0.1" },
  { what = "alone", work = "redis: GET, one after another: CPU a command", count = 10000, target = "<= 0.7" },
  { what = "bus", work = "bus over Redis: publish and receive: CPU a message", count = 20000 },
}

-- Each is measured with a program of its own; the targets are for the first.
local peers = {
  { name = "ioredis", package = "ioredis", program = "redis.js" },
  { name = "node-redis", package = "redis", program = "node-redis.js" },
}

-- Where node finds a package; nil without it.
local function install(bench, package)
  local here = bench.scratch .. "/node_modules"
  if fs.existsSync(here .. "/" .. package) then return here end
  local npm = bench.find("npm")
  if not npm then return nil end
  bench.say("installing %s", package)
  local err = await(child_process.execFile, npm, { "install", "--silent", "--no-audit", "--no-fund", "--prefix", bench.scratch, package })
  if not err then return here end
  bench.skipped[package] = true
end

-- The peers that are there, with the environment of their programs.
local function findPeers(bench)
  local node, found = bench.find("node"), {}
  for _, peer in ipairs(node and peers or {}) do
    local modules = install(bench, peer.package)
    if modules then
      local env = {}
      for name, value in pairs(process.env) do env[name] = value end
      env.NODE_PATH = modules
      found[#found + 1] = { name = peer.name, command = node, program = bench.file("bench/programs/" .. peer.program), env = env, runs = {} }
    end
  end
  return found
end

return {
  order = 85,
  needs = { "redis-server" },
  run = function(bench)
    local folder = fs.mkdtempSync("/tmp/lrun-bench-redis-")
    local path = folder .. "/socket"
    local server = child_process.spawn(bench.find("redis-server"), { "--port", "0", "--unixsocket", path, "--save", "", "--dir", folder },
      { stdio = "ignore" })
    local found = findPeers(bench)
    for _, measure in ipairs(measures) do
      local runs = {}
      for _, peer in ipairs(found) do peer.runs = {} end
      for _ = 1, ROUNDS do
        table.insert(runs, tonumber(bench.output(bench.lrun,
          { bench.file("bench/programs/redis.lua"), measure.what, tostring(measure.count), "redis+unix://" .. path })))
        for _, peer in ipairs(found) do
          table.insert(peer.runs, tonumber(bench.output(peer.command,
            { peer.program, measure.what, tostring(measure.count), path }, { env = peer.env })))
        end
      end
      local lrun, rows = bench.median(runs), {}
      for _, peer in ipairs(found) do
        rows[#rows + 1] = { peer.name, bench.median(peer.runs), peer.name == "ioredis" and measure.target or nil }
      end
      if #rows > 0 then bench.compare(measure.work, "µs", lrun, rows) else bench.row{ work = measure.work, unit = "µs", lrun = lrun } end
    end
    server:kill("SIGKILL")
    await(function(callback) server:once("exit", callback) end)
    fs.rmSync(folder, { recursive = true })
  end,
}
