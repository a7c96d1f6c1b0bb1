-- metrics.lua: a web server whose primary tells Prometheus what its workers do.
-- Run it with `lrun examples/metrics.lua`; the site is on port 8000, the metrics on http://localhost:9100/metrics.
-- PORT, METRICS_PORT and WORKERS may be in the environment.
local cluster = require("cluster")
local http = require("http")
local os = require("os")

local PORT = tonumber(process.env.PORT) or 8000
local METRICS_PORT = tonumber(process.env.METRICS_PORT) or 9100
local WORKERS = tonumber(process.env.WORKERS) or #os.cpus()

-- name, type, help, the field of cluster.metrics(), what to divide by to get Prometheus's units
local FAMILIES = {
  { "uptime_seconds", "gauge", "Time since the worker was forked.", "uptime", 1000 },
  { "connections", "gauge", "Connections open now.", "connections", 1 },
  { "connections_total", "counter", "Connections accepted.", "accepted", 1 },
  { "requests_total", "counter", "HTTP requests.", "requests", 1 },
  { "messages_total", "counter", "Messages to the primary.", "messages", 1 },
  { "resident_memory_bytes", "gauge", "Resident memory.", "rss", 1 },
  { "cpu_seconds_total", "counter", "Processor time, user and system.", "cpu", 1000 },
  { "event_loop_lag_seconds", "gauge", "Longest turn of the event loop since the last scrape.", "lag", 1000 },
}

local function page()
  local workers, lines = {}, {}
  for _, worker in pairs(cluster.metrics()) do workers[#workers + 1] = worker end
  table.sort(workers, function(a, b) return a.id < b.id end)
  for _, family in ipairs(FAMILIES) do
    local name, kind, help, field, divisor = unpack(family)
    lines[#lines + 1] = ("# HELP lrun_worker_%s %s"):format(name, help)
    lines[#lines + 1] = ("# TYPE lrun_worker_%s %s"):format(name, kind)
    for _, worker in ipairs(workers) do
      lines[#lines + 1] = ('lrun_worker_%s{worker="%d",pid="%d"} %.14g'):format(name, worker.id, worker.pid,
        worker[field] / divisor)
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

local function primary()
  for _ = 1, WORKERS do cluster.fork() end
  local listening = false
  cluster:on("listening", function() listening = true end)
  cluster:on("exit", function()
    if listening then return cluster.fork() end
    process.exit(1)     -- the first could not listen: neither could the next one
  end)
  http.createServer(function(req, res)
    if req.url ~= "/metrics" then
      res.statusCode = 404
      return res:finish("try /metrics\n")
    end
    res:setHeader("Content-Type", "text/plain; version=0.0.4")
    res:finish(page())
  end):listen(METRICS_PORT)
end

local function worker()
  http.createServer(function(_, res) res:finish("hello world\n") end):listen(PORT)
end

if cluster.isPrimary then primary() else worker() end
