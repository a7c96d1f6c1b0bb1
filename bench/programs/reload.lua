-- reload.lua PORT WORKERS RELOADS: hello.lua in a cluster that reloads itself so often, then says so.
local cluster = require("cluster")
local http = require("http")

if cluster.isPrimary then
  local workers, left = tonumber(process.argv[3]), tonumber(process.argv[4])
  local listening = 0
  local function reload(err)
    if err or left == 0 then
      process.stdout:write(err and tostring(err) .. "\n" or "done\n")
      return
    end
    left = left - 1
    cluster.reload(reload)
  end
  cluster:on("listening", function()
    listening = listening + 1
    if listening == workers then process.stdout:write("ready\n") end
  end)
  process:on("SIGUSR2", function() reload() end)
  for _ = 1, workers do cluster.fork() end
else
  http.createServer(function(_, res) res:finish("hello world\n") end):listen(tonumber(process.argv[2]), "127.0.0.1")
end
