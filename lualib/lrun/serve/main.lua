--- `lrun serve` in the foreground: one process, or workers of a cluster. It prints its address on standard output, and ends with 0 on SIGINT
--- and SIGTERM when what is under way is sent; a second one ends it at once.
local cluster = require("cluster")
local server = require("lrun.serve.server")

local serve = {}

local function fail(text)
  io.stderr:write("lrun: ", text, "\n")
  process.exit(1)
end

local function announce(options, port)
  io.stdout:write(("%s\n"):format(server.address(options, port)))
  io.stdout:flush()
  if process.send then process.send("ready") end
end

-- Calls `stop` at the first signal; the second ends the process.
local function onEnd(stop)
  local ending = false
  local function ended()
    if ending then process.exit(130) end
    ending = true
    stop()
  end
  process:on("SIGINT", ended)
  process:on("SIGTERM", ended)
end

local function listen(made, options, onListening, onError)
  made:on("error", onError)
  made:listen(options.port, options.host, function() onListening(made:address().port) end)
end

local function alone(options)
  local made = server.make(options)
  listen(made, options, function(port) announce(options, port) end, function(err) fail(server.problem(options, err)) end)
  onEnd(function()
    made:close(function() process.exit(0) end)
    made:closeIdleConnections()
  end)
end

-- A worker's end is its primary's affair; Ctrl-C reaches it, too.
local function work(options)
  process:on("SIGINT", function() end)
  local made = server.make(options)
  listen(made, options, function() end, function(err)
    process.send({ problem = server.problem(options, err) }, function() process.exit(1) end)
  end)
end

local function lead(options, count)
  local ending, announced = false, false
  cluster.setupPrimary{ exec = "serve", args = options.arguments }
  cluster:on("message", function(_, message)
    if type(message) == "table" and message.problem then fail(message.problem) end
  end)
  cluster:on("listening", function(_, address)
    if announced then return end
    announced = true
    announce(options, address.port)
  end)
  cluster:on("exit", function(worker, code)
    if ending or worker.exitedAfterDisconnect then return end
    if not announced then process.exit(code ~= 0 and code or 1) end
    cluster.fork()
  end)
  for _ = 1, count do cluster.fork() end
  onEnd(function()
    ending = true
    cluster.disconnect(function() process.exit(0) end)
  end)
end

--- Serves until it is ended.
---@param options ServeOptions `arguments`: of the command line, for workers
---@param count integer? workers; nil or 1: this process alone
function serve.run(options, count)
  if cluster.isWorker then return work(options) end
  if count and count > 1 then return lead(options, count) end
  return alone(options)
end

return serve
