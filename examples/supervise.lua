-- supervise.lua: a primary that keeps its workers running, as a service needs it.
--   A worker that crashes is replaced, after a pause that doubles with each crash; too many in a minute, and all ends.
--   SIGHUP or SIGUSR2 replaces all workers without dropping a request: that is how a new version of this file starts.
--   SIGTERM or Ctrl-C lets running requests finish, then ends; a second one ends at once.
-- Run it with `lrun examples/supervise.lua`; PORT (8000) and WORKERS (one a processor) may be in the environment.
local cluster = require("cluster")
local http = require("http")
local os = require("os")
local timers = require("timers")

local PORT = tonumber(process.env.PORT) or 8000
local WORKERS = tonumber(process.env.WORKERS) or #os.cpus()
local MAX_CRASHES, WINDOW = 10, 60000           -- so many in so many milliseconds are too many
local FIRST_PAUSE, LONGEST_PAUSE = 100, 10000   -- ms before a crashed worker is replaced
local STOP_LIMIT = 30000                        -- ms that requests may take to finish

local function log(...)
  print(("[%d] "):format(process.pid) .. string.format(...))
end

local crashes = {}       -- when (ms since the start), within the window
local stopping = false

local function stop(code)
  if stopping then process.exit(code) end
  stopping = true
  timers.setTimeout(function() process.exit(code) end, STOP_LIMIT):unref()
  cluster.disconnect(function() process.exit(code) end)
end

local function countCrash()
  local now = process.uptime() * 1000
  crashes[#crashes + 1] = now
  while crashes[1] < now - WINDOW do table.remove(crashes, 1) end
  return #crashes
end

local function onExit(worker, code, signal)
  if worker.exitedAfterDisconnect or stopping then return end     -- it was asked to
  local count = countCrash()
  log("worker %d died (%s)", worker.process.pid, signal or "code " .. tostring(code))
  if count > MAX_CRASHES then
    log("%d crashes in %d s: giving up", count, WINDOW / 1000)
    return stop(1)
  end
  local pause = math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ^ (count - 1))
  timers.setTimeout(function()
    if not stopping then cluster.fork() end
  end, pause)
end

local function reload(signal)
  log("%s: replacing the workers", signal)
  cluster.reload(function(err)
    log(err and "the old workers go on: " .. tostring(err) or "all workers are new")
  end)
end

local function primary()
  cluster:on("exit", onExit)
  process:on("SIGHUP", reload)
  process:on("SIGUSR2", reload)
  process:on("SIGTERM", function() stop(0) end)
  process:on("SIGINT", function() stop(0) end)
  for _ = 1, WORKERS do cluster.fork() end
  log("serving port %d", PORT)
end

local function worker()
  -- A terminal sends these to all; the primary decides what they mean.
  process:on("SIGINT", function() end)
  process:on("SIGHUP", function() end)
  http.createServer(function(req, res)
    if req.url == "/crash" then process.exit(1) end
    res:finish(("hello from %d\n"):format(process.pid))
  end):listen(PORT)
end

if cluster.isPrimary then primary() else worker() end
