-- fork.lua COUNT: forks workers one after another and prints the median time from fork to listening, in ms.
local cluster = require("cluster")
local http = require("http")

if cluster.isPrimary then
  local left, times = tonumber(process.argv[2]), {}
  local function one()
    local started = process.hrtime()
    local worker = cluster.fork()
    worker:once("listening", function()
      times[#times + 1] = (process.hrtime() - started) / 1e6
      worker.process:kill("SIGKILL")
    end)
    worker:once("exit", function()
      left = left - 1
      if left > 0 then return one() end
      table.sort(times)
      print(times[math.ceil(#times / 2)])
      process.exit(0)
    end)
  end
  one()
else
  http.createServer(function(_, res) res:finish("hello world\n") end):listen(0, "127.0.0.1")
end
