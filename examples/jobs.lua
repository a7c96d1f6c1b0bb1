-- Work that outlives its request: POST / adds a job, workers do it, GET / tells how many there are. With REDIS_URL several machines
-- share the queue; without it it is the primary's.
-- Run it:  lrun examples/jobs.lua    then  curl -d hello localhost:8000; curl localhost:8000
local bus = require("bus")
local cluster = require("cluster")
local http = require("http")
local json = require("json")
local os = require("os")

local AT_ONCE = 4                    -- jobs in each worker
local port = tonumber(process.env.PORT) or 8000

bus.connect(process.env.REDIS_URL)

if cluster.isPrimary then
  for _ = 1, os.availableParallelism() do cluster.fork() end
  cluster:once("listening", function(_, address) print(("http://localhost:%d"):format(address.port)) end)
  return
end

local queue = bus:queue("work")

-- A job may be done twice, when a worker dies in it: so it must do no harm.
queue:process(AT_ONCE, function(job, id, attempt)
  print(("worker %d does job %s, attempt %d: %s"):format(cluster.worker.id, id, attempt, job.text))
end)

http.createServer(function(req, res)
  if req.method == "POST" then
    local id, err = queue:add({ text = req:body() }, { attempts = 3, backoff = 1000 })
    res:writeHead(id and 202 or 503, { ["Content-Type"] = "application/json" })
    return res:finish(json.encode(id and { id = id } or { error = err.message }) .. "\n")
  end
  local stats, err = queue:stats()
  res:writeHead(stats and 200 or 503, { ["Content-Type"] = "application/json" })
  res:finish(json.encode(stats or { error = err.message }) .. "\n")
end):listen(port)
