--- What both sides of a cluster share: the module's own fields, the class Worker, and control messages with answers.
--- A control message is an internal one (`cmd = "NODE_CLUSTER"`) with a `seq` number; the answer carries it as `ack`.
local EventEmitter = require("events").EventEmitter
local calls = require("lrun.check.calls")
local schedule = require("lrun.cluster.schedule")
local timers = require("timers")

local common = {}

--- Event online()
--- Event listening(address: { address: string, port: integer, addressType: integer|string })
--- Event message(message: any, handle: any)
--- Event disconnect()
--- Event exit(code: integer?, signal: string?)
--- Event error(err: Error)
--- Event drain(done: fun(), ms: integer?): in the worker, which is to end: it may finish what it does, and then calls `done`
---@class Worker: EventEmitter
---@field id integer counts from 1
---@field slot integer the lowest number from 1 that no living worker has; a replacement takes it over
---@field process ChildProcess in the primary; in the worker itself, `process`
---@field exitedAfterDisconnect boolean? set by disconnect, and for good at the worker's disconnect event
---@field state string none, online, listening, disconnecting, disconnected, destroying, dead
local Worker = EventEmitter:extend("Worker")

--- Makes a worker object and passes its process's messages on.
---@param options { id: integer?, slot: integer?, process: ChildProcess?, state: string? }?
function Worker:initialize(options)
  options = options or {}
  self.id = options.id or 0
  self.slot = options.slot or 0
  self.state = options.state or "none"
  self.process = options.process
  if not self.process then return end
  self.process:on("message", function(message, handle) self:emit("message", message, handle) end)
end

--- Sends a message to the worker, or, in the worker, to the primary. Source: Node 20.
---@param message any
---@return boolean accepted
function Worker:send(message, ...)
  return self.process:send(message, ...)
end

--- Whether the channel between primary and worker is open.
---@return boolean
function Worker:isConnected()
  return self.process.connected == true
end

--- Whether the worker's process has ended.
---@return boolean
function Worker:isDead()
  return self.process.exitCode ~= nil or self.process.signalCode ~= nil
end

calls.methods(Worker, "worker")
common.Worker = Worker

--- What the module `cluster` is on both sides.
---@param isPrimary boolean
---@return cluster
function common.newCluster(isPrimary)
  local cluster = EventEmitter:new()
  cluster.isPrimary, cluster.isMaster, cluster.isWorker = isPrimary, isPrimary, not isPrimary
  cluster.Worker = Worker
  for name, policy in pairs(schedule) do
    if name:find("^SCHED_") then cluster[name] = policy end
  end
  return cluster
end

--- SIGTERM now, SIGKILL after `killTimeout` ms if it is still there then.
---@param worker Worker
---@param killTimeout integer
function common.terminate(worker, killTimeout)
  if worker:isDead() then return end
  worker:kill("SIGTERM")
  local timer = timers.setTimeout(function()
    if not worker:isDead() then worker:kill("SIGKILL") end
  end, killTimeout)
  worker:once("exit", function() timers.clearTimeout(timer) end)
end

local END_GRACE = 200       -- ms for a worker that has drained to end by itself

--- Ends a worker that drains once it has: its channel is closed then, and nothing else shall keep it.
---@param worker Worker
---@param killTimeout integer ms from SIGTERM to SIGKILL
function common.endWhenDrained(worker, killTimeout)
  local ending
  worker:once("disconnect", function()
    ending = timers.setTimeout(common.terminate, END_GRACE, worker, killTimeout)
  end)
  worker:once("exit", function() if ending then timers.clearTimeout(ending) end end)
end

local seq = 0
local waiting = {}      -- seq → callback; no answer can come after the channel's end

--- Sends a control message.
---@param target any a ChildProcess, or process
---@param fields table becomes the message
---@param handle any?
---@param callback fun(reply: table, handle: any)?
---@return boolean sent
function common.send(target, fields, handle, callback)
  if not target.connected then return false end
  seq = seq + 1
  fields.cmd, fields.seq = "NODE_CLUSTER", seq
  if callback then waiting[seq] = callback end
  target:send(fields, handle, nil, function() end)   -- a failed write shows as the channel's end
  return true
end

-- Modules that use the channels between primary and workers, by the `cmd` of their messages. They are loaded when one comes.
local SERVICES = {
  NODE_LRUN_SHARED = "lrun.shared.changes", NODE_LRUN_BUS = "lrun.bus.link", NODE_LRUN_TLS = "lrun.tls.tickets",
  NODE_LRUN_WEBSOCKET = "lrun.websocket.publish",
}

-- Only an answer brings a handle that somebody waits for; one with a foreign message may be another listener's.
local function dropHandle(target, message, handle)
  local foreign = message.cmd ~= "NODE_CLUSTER" and not SERVICES[message.cmd]
  if handle == nil or foreign and target:listenerCount("internalMessage") > 1 then return end
  require("lrun.ipc.handles").drop(handle)
end

--- Calls `onMessage(message)` for control messages, and the callbacks of `send` for answers; passes other modules' messages on
--- to them.
function common.receive(target, onMessage)
  target:on("internalMessage", function(message, handle)
    local callback = message.cmd == "NODE_CLUSTER" and message.ack ~= nil and waiting[message.ack]
    if callback then
      waiting[message.ack] = nil
      return callback(message, handle)
    end
    dropHandle(target, message, handle)
    local service = SERVICES[message.cmd]
    if service then return require(service).receive(target, message) end
    if message.cmd == "NODE_CLUSTER" and message.act then onMessage(message) end
  end)
end

return common
