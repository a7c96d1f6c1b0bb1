-- shared.lua WHAT COUNT: what a dictionary of all workers costs. Prints microseconds a call, or, for `workers`, calls a second.
--   get-number, get-string, incr, table (a Lua table's increment), message (to the primary and back), workers (two count at once)
local cluster = require("cluster")
local shared = require("shared")

local what, count = process.argv[2], tonumber(process.argv[3])

local function timed(f)
  local started = process.hrtime()
  for _ = 1, count do f() end
  return (process.hrtime() - started) / count / 1000
end

local function startWorkers(n)
  local results, started = 0, nil
  for _ = 1, n do cluster.fork() end
  cluster:on("message", function(worker, message)
    if message == "ask" then return worker:send("answer") end
    if message == "ready" then
      results = results + 1
      if results < n then return end
      started, results = process.hrtime(), 0
      for _, each in pairs(cluster.workers) do each:send("go") end
      return
    end
    results = results + 1
    if results < n then return end
    local seconds = (process.hrtime() - started) / 1e9
    print(what == "workers" and n * count / seconds or seconds / count * 1e6)
    process.exit(0)
  end)
end

if cluster.isWorker then
  local dict, left = shared.dict("bench"), count
  process:on("message", function(message)
    if message == "go" and what == "workers" then
      for _ = 1, count do dict:incr("n", 1, 0) end
      return process.send("done")
    end
    if left == 0 then return process.send("done") end
    left = left - 1
    process.send("ask")
  end)
  return process.send("ready")
end

if what == "workers" then return startWorkers(2) end
if what == "message" then return startWorkers(1) end
local dict, plain = shared.dict("bench"), { n = 0 }
for i = 1, 1000 do dict:set("key " .. i, i) end
dict:set("n", 1)
dict:set("text", "a short string")
local calls = {
  ["get-number"] = function() dict:get("n") end,
  ["get-string"] = function() dict:get("text") end,
  incr = function() dict:incr("n", 1) end,
  table = function() plain.n = plain.n + 1 end,
}
print(timed(calls[what]))
