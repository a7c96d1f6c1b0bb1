-- supervise.lua: a primary that keeps its workers running, as a service needs it.
--   It keeps WORKERS workers. One that crashed is replaced, after a pause that doubles with each crash; too many in a
--   minute, and all ends. One that could not even listen is not replaced at once: neither could the next one.
--   A worker that has answered RECYCLE requests (100000; each worker's own number is a bit less) is replaced by a new one.
--   SIGHUP replaces all workers without dropping a request: that is how a new version of what they do starts.
--   SIGUSR2 replaces the primary as well: a new version of this file, or of lrun.
--   SIGTERM or Ctrl-C lets running requests finish, then ends; a second one ends at once.
-- Run it with `lrun examples/supervise.lua`; PORT (8000), WORKERS (one a processor) and RECYCLE may be in the environment.
local cluster = require("cluster")
local http = require("http")
local os = require("os")
local timers = require("timers")

local PORT = tonumber(process.env.PORT) or 8000
local WORKERS = tonumber(process.env.WORKERS) or #os.cpus()
local RECYCLE = tonumber(process.env.RECYCLE) or 100000
local MAX_CRASHES, WINDOW = 10, 60000           -- so many in so many milliseconds are too many
local FIRST_PAUSE, LONGEST_PAUSE = 100, 10000   -- ms before a crashed worker is replaced
local LOOK = 1000                               -- ms between looks at the workers' figures
local STOP_LIMIT = 30000                        -- ms that requests may take to finish

local function log(...)
  print(("[%d] "):format(process.pid) .. string.format(...))
end

local crashes = {}       -- when (ms since the start), within the window
local listened = {}      -- id → true: workers that have listened
local limits = {}        -- id → after how many requests that worker is replaced
local serving = false    -- a worker has listened
local starting = 0       -- workers that wait for the end of a pause
local stopping = false

local function stop(code)
  if stopping then process.exit(code) end
  stopping = true
  process.notify("STOPPING=1")
  cluster.disconnect({ timeout = STOP_LIMIT }, function() process.exit(code) end)
end

local function startAfter(pause)
  starting = starting + 1
  timers.setTimeout(function()
    starting = starting - 1
    if not stopping then cluster.fork() end
  end, pause)
end

local function countCrash()
  local now = process.uptime() * 1000
  crashes[#crashes + 1] = now
  while crashes[1] < now - WINDOW do table.remove(crashes, 1) end
  return #crashes
end

local function onExit(worker, code, signal)
  local served = listened[worker.id]
  listened[worker.id], limits[worker.id] = nil, nil
  if worker.exitedAfterDisconnect or stopping then return end     -- it was asked to
  local count = countCrash()
  log("worker %d died (%s)", worker.process.pid or 0, signal or "code " .. tostring(code))
  if count > MAX_CRASHES then
    log("%d crashes in %d s: giving up", count, WINDOW / 1000)
    return stop(1)
  end
  if served then return startAfter(math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ^ (count - 1))) end
  if serving then return startAfter(LONGEST_PAUSE) end
  log("no worker can listen on port %d: giving up", PORT)
  stop(1)
end

-- A worker's own number of requests, so that not all are replaced at once.
local function limitOf(id)
  limits[id] = limits[id] or math.floor(RECYCLE * (0.9 + math.random() / 10))
  return limits[id]
end

-- Replaces who has done enough, and makes up for whoever is missing.
local function look()
  if stopping then return end
  local enough, count = {}, starting
  for id, figures in pairs(cluster.metrics()) do
    local worker = cluster.workers[id]
    if worker then count = count + 1 end
    if worker and figures.requests >= limitOf(id) then
      limits[id] = math.huge
      enough[#enough + 1] = worker
    end
  end
  for _ = count + 1, WORKERS do cluster.fork() end
  if #enough > 0 then cluster.reload({ workers = enough }) end
end

local function reload(signal)
  log("%s: replacing the workers", signal)
  cluster.reload(function(err)
    log(err and "the old workers go on: " .. tostring(err) or "all workers are new")
  end)
end

local function handOver(signal)
  log("%s: replacing this primary", signal)
  cluster.handover({ drainTimeout = STOP_LIMIT }, function(err, pid)
    log(err and tostring(err) or "%d has taken over", pid)
  end)
end

local function primary()
  cluster:on("exit", onExit)
  cluster:on("listening", function(worker)
    listened[worker.id] = true
    if not serving then process.notify("READY=1") end
    serving = true
  end)
  process:on("SIGHUP", reload)
  process:on("SIGUSR2", handOver)
  process:on("SIGTERM", function() stop(0) end)
  process:on("SIGINT", function() stop(0) end)
  for _ = 1, WORKERS do cluster.fork() end
  timers.setInterval(look, LOOK)
  log("serving port %d", PORT)
end

local function worker()
  -- A terminal, or whoever ends the whole group, sends these to all; the primary decides what they mean.
  for _, signal in ipairs{ "SIGINT", "SIGTERM", "SIGHUP", "SIGUSR2" } do process:on(signal, function() end) end
  http.createServer(function(req, res)
    if req.url == "/crash" then process.exit(1) end
    res:finish(("hello from %d\n"):format(process.pid))
  end):listen(PORT)
end

if cluster.isPrimary then primary() else worker() end
