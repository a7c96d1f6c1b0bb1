-- spread.lua WORKERS CONNECTIONS: makes connections to a cluster of its own, 32 at a time, and prints by how many percent
-- the least loaded worker stayed behind the most loaded one.
local cluster = require("cluster")
local net = require("net")

local function primary(workers, connections)
  local counts, started, ended, listening = {}, 0, 0, 0
  local function report()
    local least, most = math.huge, 0
    for id in pairs(cluster.workers) do
      local count = counts[tostring(id)] or 0
      least, most = math.min(least, count), math.max(most, count)
    end
    print((most - least) / most * 100)
    process.exit(0)
  end
  local function connect(port)
    if started == connections then return end
    started = started + 1
    local socket = net.connect(port, "127.0.0.1")
    socket:on("data", function(id) counts[id] = (counts[id] or 0) + 1 end)
    socket:on("close", function()
      ended = ended + 1
      if ended == connections then return report() end
      connect(port)
    end)
  end
  cluster:on("listening", function(_, address)
    listening = listening + 1
    if listening < workers then return end
    for _ = 1, 32 do connect(address.port) end
  end)
  for _ = 1, workers do cluster.fork() end
end

if cluster.isPrimary then
  primary(tonumber(process.argv[2]), tonumber(process.argv[3]))
else
  net.createServer(function(socket) socket:finish(tostring(cluster.worker.id)) end):listen(0, "127.0.0.1")
end
