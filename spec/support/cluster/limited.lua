--- A primary that is started with few descriptors: `limited.lua fork`, `limited.lua burst` or `limited.lua exhausted`.
local cluster = require("cluster")
local net = require("net")
local timers = require("timers")

local scenarios = {}

-- Takes all descriptors that are left.
local function exhaust()
  local files = {}
  local file = io.open("/dev/null")
  while file do
    files[#files + 1] = file
    file = io.open("/dev/null")
  end
  return files
end

-- Forks with no descriptor left, and once more when there are some again.
function scenarios.fork()
  local files = exhaust()
  cluster.fork():on("error", function(err)
    for _, each in ipairs(files) do each:close() end
    print(err.code, next(cluster.workers))
    cluster.fork():on("online", function(...)
      print("online", select("#", ...))
      process.exit(0)
    end)
  end)
end

-- Tells the port of a worker that blocks for a while at its first connection.
function scenarios.burst()
  cluster.fork()
  cluster:on("listening", function(_, address)
    process.stdout:write(address.port .. "\n")
  end)
  process:on("SIGTERM", function() cluster.disconnect(function() process.exit(0) end) end)
end

-- Tells the port of a worker when no descriptor is left; SIGUSR2 gives them back.
function scenarios.exhausted()
  cluster.fork()
  cluster:on("listening", function(_, address)
    local files = exhaust()
    process:on("SIGUSR2", function() for _, each in ipairs(files) do each:close() end end)
    process.stdout:write(address.port .. "\n")
  end)
  process:on("SIGTERM", function() cluster.disconnect(function() process.exit(0) end) end)
end

local function worker()
  if process.argv[2] == "fork" then return end
  local first = process.argv[2] == "burst"
  net.createServer(function(socket)
    socket:on("error", function() end)
    if first then
      first = false
      local ends = process.hrtime() + 0.3e9
      while process.hrtime() < ends do end     -- luacheck: ignore
    end
    socket:finish("served")
  end):listen(0, "127.0.0.1")
end

timers.setTimeout(function() process.exit(3) end, 20000):unref()
if cluster.isPrimary then scenarios[process.argv[2]]() else worker() end
