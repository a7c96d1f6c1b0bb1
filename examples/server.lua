-- server.lua: one HTTP server on all processors. Each worker that dies is replaced.
-- Run it with `lrun examples/server.lua`, ask it with `curl -i localhost:8000`, end it with Ctrl-C.
local cluster = require("cluster")
local http = require("http")
local os = require("os")

if cluster.isPrimary then
  print(("Primary %d is running"):format(process.pid))

  for _ = 1, #os.cpus() do cluster.fork() end

  cluster:on("exit", function(worker)
    print(("worker %d died"):format(worker.process.pid))
    cluster.fork()
  end)
else
  -- Workers can share any TCP connection: here an HTTP server's.
  http.createServer(function(req, res)
    res:writeHead(200)
    res:finish("hello world\n")
  end):listen(8000)

  print(("Worker %d started"):format(process.pid))
end
