-- A limit on requests by address, shared by all workers: ten a second, then 429 with Retry-After.
-- Run it:  lrun examples/ratelimit.lua    (PORT=9000 for another port)
local cluster = require("cluster")
local http = require("http")
local os = require("os")
local shared = require("shared")

local REQUESTS, WINDOW = 10, 1000    -- so many in so many ms
local port = tonumber(process.env.PORT) or 8000

if cluster.isPrimary then
  for _ = 1, os.availableParallelism() do cluster.fork() end
  cluster:once("listening", function(_, address) print(("http://localhost:%d"):format(address.port)) end)
  return
end

local requests = shared.dict("requests")
http.createServer(function(req, res)
  local allowed, left, wait = requests:limit(req.socket.remoteAddress, REQUESTS, WINDOW)
  res:setHeader("X-RateLimit-Remaining", left)
  if allowed then return res:finish("hello\n") end
  res:writeHead(429, { ["Retry-After"] = math.ceil(wait / 1000) })
  res:finish("too many requests\n")
end):listen(port)
