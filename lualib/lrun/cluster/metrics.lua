--- What cluster.metrics() tells: the page that each worker counts on (its lane maps it), and /proc.
local process = require("process")

local metrics = {}

local TICK = 10     -- ms of the unit in /proc/<pid>/stat: USER_HZ is 100 on every Linux

local function readFile(path)
  local file = io.open(path, "rb")
  local text = file and file:read("*a")
  if file then file:close() end
  return text
end

local function residentBytes(pid)
  local status = readFile(("/proc/%d/status"):format(pid))
  local kilobytes = status and status:match("VmRSS:%s+(%d+)")
  return kilobytes and tonumber(kilobytes) * 1024 or 0
end

local function cpuMilliseconds(pid)
  local stat = readFile(("/proc/%d/stat"):format(pid))
  local fields = stat and stat:match("%)%s+(.*)$")     -- behind the name, which may hold anything
  if not fields then return 0 end
  local values = {}
  for value in fields:gmatch("%S+") do values[#values + 1] = value end
  return ((tonumber(values[12]) or 0) + (tonumber(values[13]) or 0)) * TICK
end

---@class WorkerMetrics
---@field id integer
---@field pid integer
---@field uptime number ms since the fork
---@field connections integer open now
---@field accepted integer all that its servers got
---@field requests integer HTTP requests
---@field messages integer that it sent to the primary
---@field rss integer bytes
---@field cpu number ms, user and system
---@field lag number ms: the longest turn of its loop since the last call, or for how long it has taken no connection

--- Reads the numbers of one worker.
---@param place Place
---@return WorkerMetrics
function metrics.read(place)
  local pid = place.worker.process.pid
  local counts = place.lane:counts()
  return {
    id = place.worker.id,
    pid = pid,
    uptime = (process.hrtime() - place.startedAt) / 1e6,
    connections = math.max(counts.opened - counts.closed, 0) + counts.untaken,
    accepted = counts.opened,
    requests = counts.requests,
    messages = place.messages,
    rss = residentBytes(pid),
    cpu = cpuMilliseconds(pid),
    lag = math.max(counts.longestTurn, counts.waited),
  }
end

return metrics
