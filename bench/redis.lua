--- The client for Redis, and the bus over it, beside ioredis: CPU of the program for each command. ioredis is taken from where npm has
--- installed it, or else installed into the scratch directory.
local await = require("await")
local child_process = require("child_process")
local fs = require("fs")

local ROUNDS = 5

local measures = {
  { what = "pipelined", work = "redis: GET, 1,000 under way: CPU a command", count = 100000, target = "<= 0.1" },
  { what = "alone", work = "redis: GET, one after another: CPU a command", count = 10000, target = "<= 0.7" },
  { what = "bus", work = "bus over Redis: publish and receive: CPU a message", count = 20000 },
}

-- Where node finds ioredis; nil without it.
local function findIoredis(bench, node)
  local here = bench.scratch .. "/node_modules"
  if not fs.existsSync(here .. "/ioredis") then
    local npm = bench.find("npm")
    if not npm then return nil end
    bench.say("installing ioredis")
    local err = await(child_process.execFile, npm, { "install", "--silent", "--no-audit", "--no-fund", "--prefix", bench.scratch, "ioredis" })
    if err then return nil end
  end
  return node and here
end

return {
  order = 85,
  needs = { "redis-server" },
  run = function(bench)
    local folder = fs.mkdtempSync("/tmp/lrun-bench-redis-")
    local path = folder .. "/socket"
    local server = child_process.spawn(bench.find("redis-server"), { "--port", "0", "--unixsocket", path, "--save", "", "--dir", folder },
      { stdio = "ignore" })
    local node = bench.find("node")
    local modules = findIoredis(bench, node)
    local env = {}
    for name, value in pairs(process.env) do env[name] = value end
    env.NODE_PATH = modules
    for _, measure in ipairs(measures) do
      local lrunRuns, nodeRuns = {}, {}
      for _ = 1, ROUNDS do
        table.insert(lrunRuns, tonumber(bench.output(bench.lrun,
          { bench.file("bench/programs/redis.lua"), measure.what, tostring(measure.count), "redis+unix://" .. path })))
        if modules then
          table.insert(nodeRuns, tonumber(bench.output(node,
            { bench.file("bench/programs/redis.js"), measure.what, tostring(measure.count), path }, { env = env })))
        end
      end
      local lrun = bench.median(lrunRuns)
      if modules then
        bench.compare(measure.work, "µs", lrun, { { "ioredis", bench.median(nodeRuns), measure.target } })
      else
        bench.row { work = measure.work, unit = "µs", lrun = lrun }
      end
    end
    server:kill("SIGKILL")
    await(function(callback) server:once("exit", callback) end)
    fs.rmSync(folder, { recursive = true })
  end,
}
