-- workers.lua PORT WORKERS: hello.lua in a cluster; the twin of workers.js.
local cluster = require("cluster")
local http = require("http")

if cluster.isPrimary then
  for _ = 1, tonumber(process.argv[3]) do cluster.fork() end
else
  http.createServer(function(_, res) res:finish("hello world\n") end):listen(tonumber(process.argv[2]), "127.0.0.1")
end
