--- The primary's side of `cluster`: settings, fork, the life of each worker, and the listeners that workers ask for.
--- Owns: the worker objects and their lanes (`lane` closes when the worker's process has ended), and `listeners`.
local EventEmitter = require("events").EventEmitter
local calls = require("lrun.check.calls")
local common = require("lrun.cluster.common")
local errors = require("errors")
local handoff = require("lrun.core.handoff")
local listen = require("lrun.cluster.listen")
local process = require("process")
local schedule = require("lrun.cluster.schedule")
local timers = require("timers")
local validate = require("lrun.check.validate")

local Worker, send = common.Worker, common.send

-- How long after a worker's end its channel may still bring messages (ms).
local CHANNEL_GRACE = 500

---@class ClusterSettings
---@field exec string? the worker's script: this one
---@field args string[]? its arguments: this script's
---@field execArgv string[]? lrun's own options: this process's
---@field cwd string?
---@field serialization string?
---@field silent boolean? false: workers write where the primary does
---@field stdio any as for child_process.fork
---@field uid integer?
---@field gid integer?

--- Event fork(worker: Worker)
--- Event online(worker: Worker)
--- Event listening(worker: Worker, address: { address: string, port: integer, addressType: integer|string })
--- Event message(worker: Worker, message: any, handle: any)
--- Event disconnect(worker: Worker)
--- Event exit(worker: Worker, code: integer?, signal: string?)
--- Event setup(settings: ClusterSettings)
--- Event reload(phase: string, worker: Worker?)
---@class cluster: EventEmitter
---@field isPrimary boolean
---@field isMaster boolean the same
---@field isWorker boolean the opposite
---@field worker Worker? in a worker: itself
---@field Worker Worker the class
---@field SCHED_RR integer the primary gives each connection to the next worker
---@field SCHED_NONE integer the workers share the socket
---@field SCHED_REUSEPORT integer a socket for each worker
---@field SCHED_LEAST integer the worker with the fewest connections
---@field SCHED_STICKY integer one address to one worker
---@field workers table<integer, Worker> by id
---@field settings table what the next fork goes by; empty before the first setupPrimary or fork
---@field schedulingPolicy integer|function SCHED_RR unless set before the first fork
local cluster = common.newCluster(true)

cluster.workers = {}
cluster.settings = {}

local intercom = EventEmitter:new()     -- "disconnect": no worker is left
local listeners = {}                    -- key → listener
local listenersById = {}                -- the number that lanes know it by → listener
local places = {}                       -- worker → { worker, lane, seat }
local living = {}                       -- worker → true until its end is told; `workers` lacks those asked to disconnect
local lastId, lastListener = 0, 0
local policy                            -- fixed by the first setupPrimary or fork
local hub

local function readPolicy()
  for _, variable in ipairs{ "LRUN_CLUSTER_SCHED_POLICY", "NODE_CLUSTER_SCHED_POLICY" } do
    local named, problem = schedule.named(process.env[variable])
    if named then return named end
    if problem then process.emitWarning(variable .. ": " .. problem) end
  end
  return schedule.SCHED_RR
end
cluster.schedulingPolicy = readPolicy()

-- Warnings -----------------------------------------------------------------------------------------------------------

local WARNING_EVERY = 1000    -- ms; what happens with every connection is told once a second
local warnedAt = {}

local function warn(text)
  local now = process.hrtime() / 1e6
  if warnedAt[text] and now - warnedAt[text] < WARNING_EVERY then return end
  if next(warnedAt) and not warnedAt[text] then
    for known, at in pairs(warnedAt) do if now - at >= WARNING_EVERY then warnedAt[known] = nil end end
  end
  warnedAt[text] = now
  process.emitWarning(text)
end

-- The hub ------------------------------------------------------------------------------------------------------------

local function assignWaiting()
  while true do
    local id = hub:next()
    if not id then return end
    local listener = listenersById[id]
    if listener then listener:assign() else hub:drop() end
  end
end

-- After a change that may have set connections free.
local function redistribute()
  if not hub then return end
  repeat assignWaiting() until not hub:flush()
end

-- Settings -----------------------------------------------------------------------------------------------------------

local function scriptArguments()
  local args = {}
  for i = 2, #process.argv do args[#args + 1] = process.argv[i] end
  return args
end

local function checkSettings(settings)
  validate.optional(validate.string, settings.exec, "settings.exec")
  validate.optional(validate.table, settings.args, "settings.args")
  validate.optional(validate.table, settings.execArgv, "settings.execArgv")
  validate.optional(validate.string, settings.cwd, "settings.cwd")
  validate.optional(validate.boolean, settings.silent, "settings.silent")
  local stdio = settings.stdio
  if stdio ~= nil and type(stdio) ~= "string" and type(stdio) ~= "table" then
    error(errors.argType("settings.stdio", "string or table", stdio), 0)
  end
end

--- Changes what later forks go by; each call adds to the last. The `setup` event tells the result. Source: Node 20.
---@param settings ClusterSettings?
function cluster.setupPrimary(settings)
  if settings ~= nil then
    validate.table(settings, "settings")
    checkSettings(settings)
  end
  if not policy then
    if not schedule.isPolicy(cluster.schedulingPolicy) then
      error(errors.argValue("cluster.schedulingPolicy", cluster.schedulingPolicy), 0)
    end
    policy = cluster.schedulingPolicy
  end
  local exec = process.argv[1] or require("lrun.repl.worker").path
  local merged = { args = scriptArguments(), exec = exec, execArgv = process.execArgv, silent = false }
  for name, value in pairs(cluster.settings) do merged[name] = value end
  for name, value in pairs(settings or {}) do merged[name] = value end
  cluster.settings = merged
  process.nextTick(function() cluster:emit("setup", merged) end)
end

--- The older name of `setupPrimary`.
cluster.setupMaster = cluster.setupPrimary

-- Listening ----------------------------------------------------------------------------------------------------------

local function dropListener(key, listener)
  listeners[key] = nil
  listenersById[listener.id] = nil
end

local function leaveListeners(worker)
  for key, listener in pairs(listeners) do
    if listener.users[worker] and listener:remove(worker) then dropListener(key, listener) end
  end
  redistribute()
end

-- Under SCHED_REUSEPORT the kernel would let a worker have a port twice.
local function listensAlready(worker, message)
  for _, listener in pairs(listeners) do
    if listener.users[worker] and listener:has(message.address, message.port) then return true end
  end
  return false
end

local function openListener(key, message)
  hub = hub or handoff.hub(assignWaiting)
  lastListener = lastListener + 1
  local listener, code = listen.open{ id = lastListener, hub = hub, policy = policy, request = message, warn = warn }
  if not listener then return nil, code end
  listeners[key] = listener
  listenersById[listener.id] = listener
  return listener
end

local function onQueryServer(worker, message)
  if worker.exitedAfterDisconnect or not places[worker] then return end       -- it is about to close all it has
  local key = ("%s:%s:%s:%s:%s"):format(tostring(message.address), tostring(message.port), tostring(message.addressType),
    tostring(message.fd), tostring(message.index))
  local function reply(fields, handle)
    fields.key, fields.ack = key, message.seq
    send(worker.process, fields, handle)
  end
  if not listen.isRequest(message) then return reply{ errno = "EINVAL" } end
  local listener = listeners[key]
  if not listener and listensAlready(worker, message) then return reply{ errno = "EADDRINUSE" } end
  if not listener then
    local code
    listener, code = openListener(key, message)
    if not listener then return reply{ errno = code } end
  end
  listener:add(places[worker], reply)
  if next(listener.users) == nil then
    listener:close()
    dropListener(key, listener)
  end
end

local function onListening(worker, message)
  local listener = listeners[message.key]
  if listener and places[worker] and not worker.exitedAfterDisconnect then
    listener:listening(places[worker])
    redistribute()
  end
  local address = { address = message.address, port = message.port, addressType = message.addressType }
  worker.state = "listening"
  worker:emit("listening", address)
  cluster:emit("listening", worker, address)
end

local function onRoom(worker, message)
  local listener = listeners[message.key]
  if not listener or not places[worker] then return end
  listener:roomChanged(places[worker], message.room == true)
  redistribute()
end

local function onClose(worker, message)
  local listener = listeners[message.key]
  if listener and listener:remove(worker) then dropListener(message.key, listener) end
  redistribute()
end

-- Workers ------------------------------------------------------------------------------------------------------------

local handlers = {
  queryServer = onQueryServer,
  listening = onListening,
  close = onClose,
  room = onRoom,
  online = function(worker)
    worker.state = "online"
    worker:emit("online")
    cluster:emit("online", worker)
  end,
  exitedAfterDisconnect = function(worker, message)
    worker.exitedAfterDisconnect = true
    send(worker.process, { ack = message.seq })
  end,
}

local function removeWorker(worker)
  if not living[worker] then return end
  living[worker] = nil
  cluster.workers[worker.id] = nil
  if next(living) == nil then intercom:emit("disconnect") end
end

local function closeLane(worker)
  local place = places[worker]
  if not place then return end
  places[worker] = nil
  for _, other in pairs(places) do
    if other.replaces == worker then other.replaces = nil end
  end
  if not place.lane then return end
  place.lane:close()
  redistribute()
end

local function onExit(worker, code, signal)
  closeLane(worker)
  leaveListeners(worker)
  removeWorker(worker)
  worker.exitedAfterDisconnect = worker.exitedAfterDisconnect == true
  worker.state = "dead"
  worker:emit("exit", code, signal)
  cluster:emit("exit", worker, code, signal)
end

local function onDisconnect(worker)
  leaveListeners(worker)
  worker.exitedAfterDisconnect = worker.exitedAfterDisconnect == true
  if worker.state ~= "dead" then worker.state = "disconnected" end
  worker:emit("disconnect")
  cluster:emit("disconnect", worker)
end

-- The end of the process and of its channel come in any order; the program sees disconnect, then exit.
local function followEnd(worker)
  local ended
  worker.process:once("exit", function(code, signal)
    if not worker:isConnected() then return onExit(worker, code, signal) end
    closeLane(worker)
    local timer = timers.setTimeout(function()
      if worker:isConnected() then worker.process:disconnect() end
    end, CHANNEL_GRACE)
    timer:unref()
    ended = function() onExit(worker, code, signal) end
  end)
  worker.process:once("disconnect", function()
    onDisconnect(worker)
    if ended then ended() end
  end)
end

-- A process that could not be started (the process limit, no memory), or that sends garbage, is an `error` of its worker;
-- where nobody listens for it the cluster goes on with a warning.
local function followErrors(worker)
  worker.process:on("error", function(err)
    local neverStarted = worker.process.pid == nil
    if neverStarted then
      closeLane(worker)
      removeWorker(worker)
      worker.state = "dead"
    end
    if (neverStarted or err.code == "EPROTO") and worker:listenerCount("error") == 0 then
      local what = neverStarted and "could not be started" or "failed"
      return process.emitWarning(("worker %d %s: %s"):format(worker.id, what, tostring(err)))
    end
    worker:emit("error", err)
  end)
end

-- The lowest number that no living worker sits on; the replacement of a worker sits on the same.
local function freeSeat(replaces)
  local place = replaces and places[replaces]
  if place then return place.seat end
  local taken = {}
  for _, each in pairs(places) do taken[each.seat] = true end
  local seat = 1
  while taken[seat] do seat = seat + 1 end
  return seat
end

local function stdioWithLane(settings, laneEnd)
  local stdio = settings.stdio
  if type(stdio) == "string" then
    stdio = { stdio, stdio, stdio, "ipc" }
  elseif type(stdio) ~= "table" then
    local each = settings.silent and "pipe" or "inherit"
    stdio = { each, each, each, "ipc" }
  end
  local slots = {}
  for i = 1, #stdio do slots[i] = stdio[i] end
  slots[#slots + 1] = laneEnd
  return slots, #slots - 1
end

local function workerEnvironment(id, laneFd, env)
  local all = {}
  for name, value in pairs(process.env) do all[name] = value end
  for name, value in pairs(env or {}) do all[name] = value end
  all.LRUN_CLUSTER_ID = tostring(id)
  all.LRUN_LANE_FD = tostring(laneFd)
  return all
end

local function startProcess(id, laneEnd, env)
  local settings = cluster.settings
  local stdio, laneFd = stdioWithLane(settings, laneEnd)
  local child = require("child_process").fork(settings.exec, settings.args, {
    cwd = settings.cwd, env = workerEnvironment(id, laneFd, env), execArgv = settings.execArgv, stdio = stdio,
    serialization = settings.serialization, silent = settings.silent, uid = settings.uid, gid = settings.gid,
  })
  child.stdio[laneFd + 1] = nil       -- the program did not ask for it
  return child
end

-- What stands for a process that could not even be tried: it fails as one that could not be started.
local function neverStarted(err)
  local child = EventEmitter:new()
  child.connected, child.killed, child.stdio, child.exitCode = false, false, {}, err.errno
  function child:send() return false end
  function child:kill() return false end
  function child:disconnect() end
  process.nextTick(function() child:emit("error", err) end)
  return child
end

local function startWithLane(id, env)
  local lane, laneEnd = hub:lane()
  if not lane then return neverStarted(laneEnd) end
  local ok, child = pcall(startProcess, id, laneEnd, env)
  if ok then return child, lane end
  lane:close()
  error(child, 0)
end

local function forkWorker(env, replaces)
  if env ~= nil then validate.table(env, "env") end
  cluster.setupPrimary()
  hub = hub or handoff.hub(assignWaiting)
  local id = lastId + 1
  local child, lane = startWithLane(id, env)
  lastId = id
  local worker = Worker:new{ id = id, process = child }
  local place = {
    worker = worker, lane = lane, seat = freeSeat(replaces), env = env, replaces = replaces,
    startedAt = process.hrtime(), messages = 0, given = 0,
  }
  places[worker] = place
  living[worker] = true
  cluster.workers[id] = worker
  worker:on("message", function(message, handle)
    place.messages = place.messages + 1
    cluster:emit("message", worker, message, handle)
  end)
  followErrors(worker)
  followEnd(worker)
  common.receive(child, function(message)
    local handler = handlers[message.act]
    if handler then handler(worker, message) end
  end)
  process.nextTick(function() cluster:emit("fork", worker) end)
  return worker
end

--- Starts a worker. The `fork` event follows after the call. Source: Node 20.
---@param env table<string, any>? laid over the primary's environment
---@return Worker
function cluster.fork(env) return forkWorker(env) end

--- Disconnects all workers. Source: Node 20.
---@param callback fun()? called when no worker is left
function cluster.disconnect(callback)
  validate.optional(validate.func, callback, "callback")
  if callback then intercom:once("disconnect", callback) end
  if next(living) == nil then
    process.nextTick(function() intercom:emit("disconnect") end)
    return
  end
  for _, worker in pairs(cluster.workers) do
    if worker:isConnected() then worker:disconnect() end
  end
end

--- Asks the worker to close its servers, to wait for their connections, and to close its channel; it leaves
--- `cluster.workers` at once. Source: Node 20.
---@return Worker self
function Worker:disconnect()
  self.exitedAfterDisconnect = true
  cluster.workers[self.id] = nil
  send(self.process, { act = "disconnect" })
  leaveListeners(self)
  return self
end

--- Sends the worker a signal. Source: Node 20.
---@param signal string|integer? SIGTERM by default
function Worker:kill(signal)
  self.process:kill(signal or "SIGTERM")
end

--- The same as `kill`.
Worker.destroy = Worker.kill

-- What reload.lua may do with workers.
local forReload = {}

function forReload.fork(old) return forkWorker(places[old] and places[old].env, old) end

function forReload.listens(worker)
  for _, listener in pairs(listeners) do if listener.users[worker] then return true end end
  return false
end

function forReload.listensOnAllOf(worker, old)
  for _, listener in pairs(listeners) do
    if listener.users[old] and not listener:serves(worker) then return false end
  end
  return true
end

function forReload.retire(worker)
  worker.exitedAfterDisconnect = true
  send(worker.process, { act = "disconnect", drain = true })
  leaveListeners(worker)
end

--- Replaces all workers without a refused or dropped request. Event `reload (phase, worker)`: fork, ready (the new
--- one), drain, exit (the old one) for each, failed (a new one), and at last done or stopped. A call while a reload
--- runs joins it. Source: ours, not Node's.
---@param options { parallel: integer?, waitReady: boolean?, listenTimeout: integer?, drainTimeout: integer?, killTimeout: integer? }?
---@param callback fun(err: Error?)? `ERR_CLUSTER_RELOAD`: a new worker failed, the old one goes on
function cluster.reload(options, callback)
  return require("lrun.cluster.reload").run(cluster, forReload, options, callback)
end

--- What the workers do at this moment, by id. Costs them nothing. Source: ours, not Node's.
---@return table<integer, WorkerMetrics>
function cluster.metrics()
  local read, all = require("lrun.cluster.metrics").read, {}
  for worker in pairs(living) do
    local place = places[worker]
    if place and worker.process.pid then all[worker.id] = read(place) end
  end
  return all
end

calls.methods(Worker, "worker")
calls.functions(cluster, "cluster")

return cluster
