--- The worker of the cluster specs: what it is, its environment says.
---   SPEC_ROLE   one of the roles below
---   SPEC_PORT   where it listens (0)
local cluster = require("cluster")
local net = require("net")
local timers = require("timers")
local uv = require("luv")

local port = tonumber(process.env.SPEC_PORT) or 0
local roles = {}

-- Answers each connection with its id and closes it.
function roles.id()
  local server = net.createServer(function(socket)
    socket:on("error", function() end)
    socket:finish(tostring(cluster.worker.id))
  end)
  server:listen(port, "127.0.0.1")
  return server
end

-- The same, and dies by SIGKILL, once it has listened for a while, at moments when it serves nobody.
function roles.mortal()
  local open = 0
  local server = net.createServer(function(socket)
    open = open + 1
    socket:on("error", function() end)
    socket:on("close", function() open = open - 1 end)
    socket:finish(tostring(cluster.worker.id))
  end)
  local function maybeDie()
    if open == 0 then process.kill(process.pid, "SIGKILL") end
    timers.setTimeout(maybeDie, 3)
  end
  server:listen(port, "127.0.0.1", function() timers.setTimeout(maybeDie, 20 + cluster.worker.id % 7 * 5) end)
end

-- The same, and closes its server for a moment again and again.
function roles.fickle()
  local server = roles.id()
  local function close()
    server:close(function()
      server = roles.id()
      timers.setTimeout(close, 15)
    end)
  end
  timers.setTimeout(close, 15)
end

-- Writes what is no message to its channel.
function roles.garbage() uv.fs_write(process.channel.fd, ("\255"):rep(16), -1) end

-- Keeps connections open, at most SPEC_MAX; says id, then does what it reads: "close", or "block" as long as the file
-- SPEC_BLOCK exists.
function roles.hold()
  local server = net.createServer(function(socket)
    socket:on("error", function() end)
    socket:write(cluster.worker.id .. "\n")
    socket:on("data", function(text)
      if text:find("close") then return socket:finish() end
      while uv.fs_stat(process.env.SPEC_BLOCK) do uv.sleep(5) end
      socket:finish("blocked\n")
    end)
  end)
  server.maxConnections = tonumber(process.env.SPEC_MAX)
  server:listen(port, "127.0.0.1")
end

-- An HTTP server that takes SPEC_DELAY ms to answer.
function roles.http()
  local delay = tonumber(process.env.SPEC_DELAY) or 0
  require("http").createServer(function(_, res)
    local answer = tostring(cluster.worker.id)
    if delay == 0 then return res:finish(answer) end
    timers.setTimeout(function() res:finish(answer) end, delay)
  end):listen(port, "127.0.0.1")
  if process.env.SPEC_READY then process:on("message", function() process.send("ready") end) end
end

-- Is ready never.
function roles.mute() timers.setInterval(function() end, 1000) end

-- Tells how a second server on the same port fares.
function roles.twice()
  local first = net.createServer()
  first:listen(port, "127.0.0.1", function()
    local second = net.createServer()
    second:on("error", function(err) process.send{ code = err.code, message = err.message } end)
    second:listen(first:address().port, "127.0.0.1", function() process.send{ code = "none" } end)
  end)
end

-- Listens on port 0 twice and tells the ports.
function roles.zero()
  local first, second = net.createServer(), net.createServer()
  first:listen(0, "127.0.0.1", function()
    second:listen(0, "127.0.0.1", function()
      process.send{ first:address().port, second:address().port }
    end)
  end)
end

-- Listens as the options in SPEC_OPTIONS (JSON) say; tells the address or the error.
function roles.options()
  local options = require("cjson").decode(process.env.SPEC_OPTIONS)
  local server = net.createServer(function(socket) socket:finish(tostring(cluster.worker.id)) end)
  server:on("error", function(err) process.send{ code = err.code, message = err.message } end)
  server:listen(options, function() process.send{ address = server:address() } end)
end

-- Closes a socket of each kind in the listener that hears of its being bound.
function roles.brief()
  local udp, server = require("dgram").createSocket("udp4"), net.createServer()
  udp:bind(0, "127.0.0.1", function() udp:close() end)
  server:listen(0, "127.0.0.1", function() server:close(function() process.send("closed") end) end)
end

function roles.flood()
  for i = 1, 20000 do process.send{ n = i, filling = ("x"):rep(100) } end
end

-- Asks the primary for what nobody can listen on, and then for what it can.
function roles.liar()
  for _, request in ipairs{
    {}, { fd = "x" }, { fd = -1 }, { fd = 2 ^ 40 }, { address = {}, port = 0, addressType = 4 },
    { address = "127.0.0.1", port = 70000, addressType = 4 }, { address = "127.0.0.1", port = 0.5, addressType = 4 },
    { address = "127.0.0.1", port = "0", addressType = 4 }, { address = "127.0.0.1", port = 0, addressType = 4, backlog = "x" },
    { address = "127.0.0.1", port = 0, addressType = "none such" }, { addressType = -1 },
  } do
    request.cmd, request.act = "NODE_CLUSTER", "queryServer"
    process.send(request)
  end
  for _, message in ipairs{ { act = "listening" }, { act = "close", key = {} }, { act = {} }, { ack = 0 / 0 } } do
    message.cmd = "NODE_CLUSTER"
    process.send(message)
  end
  roles.id()
end

-- Has its loop stand still, once it has told its number.
function roles.stuck()
  process.send(process.pid, function() while true do uv.sleep(1000) end end)
end

function roles.timer()      -- has no server and does not end
  timers.setInterval(function() end, 1000)
end

function roles.crash() os.exit(7) end

-- An HTTP server on a port of this process alone.
function roles.exclusive()
  require("http").createServer(function(_, res) res:finish(tostring(cluster.worker.id)) end)
    :listen({ port = port, host = "127.0.0.1", exclusive = true }, function() process.send("listens") end)
end

-- An HTTP server, and what is to be done before the worker ends, by SPEC_DRAIN: "done" tells the primary and waits for
-- its word, "never" does not end it, "throws" fails.
function roles.drain()
  roles.http()
  cluster.worker:on("drain", function(done, ms)
    local how = process.env.SPEC_DRAIN
    process.send{ drain = how, ms = ms }
    if how == "throws" then error("oops") end
    if how == "done" then process:once("message", done) end
  end)
end

-- Lives on when it has disconnected.
function roles.asked()
  process.send(process.pid)
  roles.timer()
end

-- Tells its number, and never ends of itself.
function roles.draining()
  process.send(process.pid)
  roles.drain()
end

-- Tells its slot, and does not end when it is asked to.
function roles.slot()
  process.send{ slot = cluster.worker.slot, left = process.env.LRUN_CLUSTER_SLOT }
  process:on("SIGTERM", function() end)
  roles.timer()
end

-- A primary of its own: tells that its worker sees the environment of a first start.
function roles.nested()
  local child = require("child_process").fork(process.argv[1], {}, { env = setmetatable({ SPEC_ROLE = "inner" },
    { __index = process.env }) })
  child:on("message", function(message) process.send(message) end)
end

if cluster.isPrimary then
  process.send{ primary = cluster.isPrimary, lane = process.env.LRUN_LANE_FD, id = process.env.LRUN_CLUSTER_ID }
  process.disconnect()
else
  roles[process.env.SPEC_ROLE or "id"]()
end
