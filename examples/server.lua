-- server.lua: one HTTP server on all processors. Each worker that dies is replaced, unless it could not even listen.
-- Run it with `lrun examples/server.lua`, ask it with `curl -i localhost:8000`, end it with Ctrl-C. PORT=8001 is another port.
local cluster = require("cluster")
local http = require("http")
local os = require("os")

local PORT = tonumber(process.env.PORT) or 8000

if cluster.isPrimary then
  print(("Primary %d is running"):format(process.pid))

  for _ = 1, #os.cpus() do cluster.fork() end

  local listened = {}
  cluster:on("listening", function(worker)
    print(("Worker %d started"):format(worker.process.pid))
    listened[worker.id] = true
  end)
  cluster:on("exit", function(worker)
    print(("worker %d died"):format(worker.id))
    if listened[worker.id] then cluster.fork() else process.exitCode = 1 end
  end)
else
  -- Workers can share any TCP connection: here an HTTP server's.
  http.createServer(function(req, res)
    res:writeHead(200)
    res:finish("hello world\n")
  end):listen(PORT)
end
