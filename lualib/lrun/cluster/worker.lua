--- A worker's side of `cluster`: the worker object, its channel to the primary, and its end. What its servers listen on is
--- lrun.cluster.servers'.
---
--- A gentle end: the primary asks, or the script calls `disconnect` → the event `drain` → servers are closed → their
--- connections have ended, and every `drain` listener is done → the channel is closed → the primary ends the process, or it
--- ends by itself.
local calls = require("lrun.check.calls")
local common = require("lrun.cluster.common")
local farewells = require("lrun.cluster.leaving")
local orphan = require("lrun.core.orphan")
local process = require("process")
local servers = require("lrun.cluster.servers")
local uncaught = require("lrun.host.uncaught")
local vm = require("lrun.core.vm")

local Worker, send = common.Worker, common.send

local cluster = common.newCluster(false)

-- Ending --------------------------------------------------------------------------------------------------------------

local leaving = false       -- it was this process that closed the channel, when it was done

local function disconnectChannel()
  leaving = true
  if process.connected then process:disconnect() end
end

-- Calls `finished()` once each listener for `drain` has called its `done`. One that throws is printed, and is done: the
-- others, and the requests under way, go on.
local function emitDrain(worker, limit, finished)
  local left = 1
  local function oneDone()
    left = left - 1
    if left == 0 then finished() end
  end
  for _, listener in ipairs(worker:listeners("drain")) do
    left = left + 1
    local called = false
    local function done()
      if called then return end
      called = true
      oneDone()
    end
    -- On a coroutine of its own: one that waits does not hold up the others.
    vm.enter(function()
      if not xpcall(listener, uncaught.report, done, limit) then done() end
    end)
  end
  oneDone()
end

---@param options { byPrimary: boolean?, gently: boolean?, limit: integer? }
local function disconnect(worker, options)
  worker.exitedAfterDisconnect = true
  local left = 2
  local function done()
    left = left - 1
    if left > 0 then return end
    local told = not options.byPrimary and send(process, { act = "exitedAfterDisconnect" }, nil, disconnectChannel)
    if not told then disconnectChannel() end
  end
  if worker:listenerCount("drain") == 0 then farewells.run(options.limit) end
  emitDrain(worker, options.limit, done)
  servers.close(options.gently or false, done)
end

--- Closes this worker's servers, waits for their connections and for the listeners of `drain`, then closes the channel.
--- Source: Node 20.
---@return Worker self
function Worker:disconnect()
  if self.state ~= "disconnecting" and self.state ~= "destroying" then
    self.state = "disconnecting"
    disconnect(self, {})
  end
  return self
end

--- Ends this worker with code 0, once the primary knows that it was meant to. Source: Node 20.
function Worker:destroy()
  if self.state == "destroying" then return end
  self.exitedAfterDisconnect = true
  if not self:isConnected() then process.exit(0) end
  self.state = "destroying"
  process:once("disconnect", function() process.exit(0) end)
  send(process, { act = "exitedAfterDisconnect" }, nil, disconnectChannel)
end

--- The same as `destroy`.
Worker.kill = Worker.destroy

calls.methods(Worker, "worker")

-- Start ---------------------------------------------------------------------------------------------------------------

local function onMessage(worker, message)
  if message.act ~= "disconnect" or worker.state == "disconnecting" then return end
  worker.state = "disconnecting"
  disconnect(worker, { byPrimary = true, gently = message.drain, limit = message.limit })
end

---@param id integer
---@param slot integer
---@return cluster
local function start(id, slot)
  local worker = Worker:new{ id = id, slot = slot, process = process, state = "online" }
  cluster.worker = worker
  process:on("error", function(err) worker:emit("error", err) end)
  orphan.watch()      -- to the end: a loop that stands still does not see the channel's end, and after it there is none to see
  process:once("disconnect", function()
    worker:emit("disconnect")
    if not leaving then process.exit(0) end    -- the primary is gone, or the script wanted it so
  end)
  common.receive(process, function(message) onMessage(worker, message) end)
  servers.start(function() worker.state = "listening" end)
  send(process, { act = "online" })
  return cluster
end

return { start = start }
