--- A primary that SIGUSR2 has replaced by a new one; SPEC_NEXT says how that fares: good, dies, hangs, elsewhere, brief (it
--- dies when it was ready for a while). SPEC_HANDOVER has the options (JSON), SPEC_SOCKET the path of a unix socket, SPEC_FD
--- a descriptor for the workers, SPEC_JOBS a cluster without sockets. Prints what happens, a line each; SIGTERM ends it gently.
local cluster = require("cluster")
local http = require("http")
local json = require("json")
local timers = require("timers")

local version = tonumber(process.env.SPEC_VERSION) or 1
local how = version > 1 and process.env.SPEC_NEXT or "good"
local descriptor, path = tonumber(process.env.SPEC_FD), process.env.SPEC_SOCKET

local function answer(_, res) res:finish(tostring(version)) end

local function worker()
  if process.env.SPEC_JOBS then return timers.setInterval(function() end, 1000) end
  if how == "hangs" then return timers.setInterval(function() end, 1000) end
  if how == "elsewhere" then return http.createServer(answer):listen(0, "127.0.0.2") end
  http.createServer(answer):listen(descriptor and { fd = descriptor } or { port = 0, host = "127.0.0.1" })
  if path then http.createServer(answer):listen(path) end
end

local function handOver()
  local options = json.decode(process.env.SPEC_HANDOVER or "{}")
  options.env = { SPEC_VERSION = version + 1 }
  cluster.handover(options, function(err, pid) print(err and "failed " .. err.message or "over " .. pid) end)
end

local function primary()
  if how == "dies" then process.exit(3) end
  if descriptor then
    assert(tonumber(process.env.LISTEN_PID) == process.pid and process.env.LISTEN_FDS == "1", "no sockets were passed")
    process.env.LISTEN_PID, process.env.LISTEN_FDS = nil, nil
  end
  local listening = 0
  cluster:on("listening", function(_, address)
    listening = listening + 1
    if address.port > 0 then print(("listening %d %d"):format(version, address.port)) end
    if listening == (path and 4 or 2) then print(("primary %d is %d"):format(version, process.pid)) end
    if how == "brief" and listening == 2 then timers.setTimeout(process.exit, 2500, 4) end      -- ready by then
  end)
  cluster:on("handover", function(phase) print("phase " .. phase) end)
  process:on("SIGUSR2", handOver)
  process:on("SIGHUP", function()
    handOver()
    handOver()
  end)
  process:on("SIGTERM", function() cluster.disconnect({ timeout = 5000 }, function() process.exit(0) end) end)
  for _ = 1, 2 do cluster.fork() end
  if process.env.SPEC_JOBS then return print(("primary %d is %d"):format(version, process.pid)) end
  if how ~= "hangs" and how ~= "elsewhere" then
    local first, second = http.createServer(answer), http.createServer()
    first:listen(0, "127.0.0.1")
    second:listen(0, "127.0.0.1", function()
      print(("own %d %d %d"):format(version, first:address().port, second:address().port))
    end)
  end
end

if cluster.isPrimary then primary() else worker() end
