--- The primary's side of `cluster`: settings, fork, and the life of each worker. What workers listen on is
--- lrun.cluster.listeners'. Owns the worker objects and their lanes (`lane` closes when the worker's process has ended).
local EventEmitter = require("events").EventEmitter
local bound = require("lrun.net.listen")
local calls = require("lrun.check.calls")
local common = require("lrun.cluster.common")
local errors = require("errors")
local listeners = require("lrun.cluster.listeners")
local process = require("process")
local schedule = require("lrun.cluster.schedule")
local timers = require("timers")
local validate = require("lrun.check.validate")

local Worker, send = common.Worker, common.send

-- How long after a worker's end its channel may still bring messages (ms).
local CHANNEL_GRACE = 500

-- When the `exit` of a worker comes that could not be started (ms): what starts another then does not do nothing else.
local NOT_STARTED_PAUSE = 100

local KILL_TIMEOUT = 1600     -- ms from SIGTERM to SIGKILL

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
---@field ticketRotation integer? ms between new keys for the session tickets of TLS servers, 12 hours
---@field keepListening integer? ms for which a port stays open whose last worker has died, 5000

--- Event fork(worker: Worker)
--- Event online(worker: Worker)
--- Event listening(worker: Worker, address: { address: string, port: integer, addressType: integer|string })
--- Event message(worker: Worker, message: any, handle: any)
--- Event disconnect(worker: Worker)
--- Event exit(worker: Worker, code: integer?, signal: string?)
--- Event setup(settings: ClusterSettings)
--- Event reload(phase: string, worker: Worker?)
--- Event handover(phase: string, pid: integer?)
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

local intercom = EventEmitter:new()     -- "disconnect": no worker is left; "serves" (worker): one of its servers listens
local places = {}                       -- worker → what its listeners know of it (Place)
local living = {}                       -- worker → true until its end is told; `workers` lacks those asked to disconnect
local lastId = 0

local function readPolicy()
  for _, variable in ipairs{ "LRUN_CLUSTER_SCHED_POLICY", "NODE_CLUSTER_SCHED_POLICY" } do
    local named, problem = schedule.named(process.env[variable])
    if named then return named end
    if problem then process.emitWarning(variable .. ": " .. problem) end
  end
  return schedule.SCHED_RR
end
cluster.schedulingPolicy = readPolicy()

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
  validate.optional(validate.integer, settings.ticketRotation, "settings.ticketRotation", 1, 2147483647)
  validate.optional(validate.integer, settings.keepListening, "settings.keepListening", 0, 2147483647)
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
  if not listeners.policy then
    if not schedule.isPolicy(cluster.schedulingPolicy) then
      error(errors.argValue("cluster.schedulingPolicy", cluster.schedulingPolicy), 0)
    end
    listeners.policy = cluster.schedulingPolicy
  end
  local exec = process.argv[1] or require("lrun.repl.worker").script()
  local merged = { args = scriptArguments(), exec = exec, execArgv = process.execArgv, silent = false }
  for name, value in pairs(cluster.settings) do merged[name] = value end
  for name, value in pairs(settings or {}) do merged[name] = value end
  cluster.settings = merged
  listeners.keepFor = merged.keepListening or listeners.keepFor
  process.nextTick(function() cluster:emit("setup", merged) end)
end

--- The older name of `setupPrimary`.
cluster.setupMaster = cluster.setupPrimary

-- Listening ----------------------------------------------------------------------------------------------------------

local function onQueryServer(worker, message)
  if worker.exitedAfterDisconnect or not places[worker] then return end       -- it is about to close all it has
  listeners.query(places[worker], message, function(fields, handle)
    fields.ack = message.seq
    send(worker.process, fields, handle)
  end)
end

-- A primary that takes over tells the old one when all that it has from it is served.
if bound.inherited then
  local inherit = require("lrun.cluster.inherit")
  intercom:on("serves", inherit.check)
end

local function onListening(worker, message)
  if places[worker] and not worker.exitedAfterDisconnect then listeners.listening(places[worker], message.key) end
  local address = { address = message.address, port = message.port, addressType = message.addressType }
  worker.state = "listening"
  worker:emit("listening", address)
  cluster:emit("listening", worker, address)
  intercom:emit("serves", worker)
end

local function onRoom(worker, message)
  if places[worker] then listeners.room(places[worker], message.key, message.room == true) end
end

-- Servers on sockets of the worker's own: a reload asks whether a replacement has them, too.
local function onOwnListening(worker, message)
  local place = places[worker]
  if not place or type(message.number) ~= "number" or type(message.key) ~= "string" then return end
  place.own[message.number] = message.key
  intercom:emit("serves", worker)
end

local function onOwnClosed(worker, message)
  local place = places[worker]
  if place and type(message.number) == "number" then place.own[message.number] = nil end
end

-- Workers ------------------------------------------------------------------------------------------------------------

local handlers = {
  queryServer = onQueryServer,
  listening = onListening,
  close = function(worker, message) listeners.closed(worker, message.key) end,
  room = onRoom,
  ownListening = onOwnListening,
  ownClosed = onOwnClosed,
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
  listeners.redistribute()
end

local function onExit(worker, code, signal)
  closeLane(worker)
  listeners.leave(worker, not worker.exitedAfterDisconnect)
  removeWorker(worker)
  worker.exitedAfterDisconnect = worker.exitedAfterDisconnect == true
  worker.state = "dead"
  worker:emit("exit", code, signal)
  cluster:emit("exit", worker, code, signal)
end

local function onDisconnect(worker)
  listeners.leave(worker, not worker.exitedAfterDisconnect)
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
-- where nobody listens for it the cluster goes on with a warning. One that could not be started has its `exit`, too: what
-- replaces workers that ended replaces it.
local function followErrors(worker)
  worker.process:on("error", function(err)
    local neverStarted = worker.process.pid == nil
    if neverStarted then
      closeLane(worker)
      removeWorker(worker)
      worker.state = "dead"
      timers.setTimeout(onExit, NOT_STARTED_PAUSE, worker, err.errno, nil)
    end
    if (neverStarted or err.code == "EPROTO") and worker:listenerCount("error") == 0 then
      local what = neverStarted and "could not be started" or "failed"
      return process.emitWarning(("worker %d %s: %s"):format(worker.id, what, tostring(err)))
    end
    worker:emit("error", err)
  end)
end

-- The lowest number that no living worker has; the replacement of a worker has the same.
local function freeSlot(replaces)
  local place = replaces and places[replaces]
  if place then return place.slot end
  local taken = {}
  for _, each in pairs(places) do taken[each.slot] = true end
  local slot = 1
  while taken[slot] do slot = slot + 1 end
  return slot
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

local function workerEnvironment(ids, laneFd, env)
  local all = {}
  for name, value in pairs(process.env) do all[name] = value end
  for name, value in pairs(env or {}) do all[name] = value end
  all.LRUN_CLUSTER_ID, all.LRUN_CLUSTER_SLOT = tostring(ids.id), tostring(ids.slot)
  all.LRUN_LANE_FD = tostring(laneFd)
  return all
end

local function startProcess(ids, laneEnd, env)
  local settings = cluster.settings
  local stdio, laneFd = stdioWithLane(settings, laneEnd)
  local child = require("child_process").fork(settings.exec, settings.args, {
    cwd = settings.cwd, env = workerEnvironment(ids, laneFd, env), execArgv = settings.execArgv, stdio = stdio,
    serialization = settings.serialization, silent = settings.silent, uid = settings.uid, gid = settings.gid,
    groups = settings.groups, umask = settings.umask, nice = settings.nice, limits = settings.limits,
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

-- What the system refuses is no fault of the call: the worker fails, later.
local function startWithLane(ids, env)
  local lane, laneEnd = listeners.lane()
  if not lane then return neverStarted(laneEnd) end
  local ok, child = pcall(startProcess, ids, laneEnd, env)
  if ok then return child, lane end
  lane:close()
  if errors.isError(child) and child.syscall then return neverStarted(child) end
  error(child, 0)
end

local function forkWorker(env, replaces)
  if env ~= nil then validate.table(env, "env") end
  cluster.setupPrimary()
  local ids = { id = lastId + 1, slot = freeSlot(replaces) }
  local child, lane = startWithLane(ids, env)
  lastId = ids.id
  local worker = Worker:new{ id = ids.id, slot = ids.slot, process = child }
  local place = {
    worker = worker, lane = lane, slot = ids.slot, env = env, replaces = replaces,
    startedAt = process.hrtime(), messages = 0, given = 0, own = {},
  }
  places[worker] = place
  living[worker] = true
  cluster.workers[ids.id] = worker
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

-- It leaves `workers` and gets no more connections at once; `limit` is what it is told of the time that it has.
local function askToDisconnect(worker, fields)
  worker.exitedAfterDisconnect = true
  fields.act = "disconnect"
  send(worker.process, fields)
  listeners.leave(worker, false)
end

-- SIGTERM, and later SIGKILL, to whoever is still there after so many milliseconds.
local function endAfter(workers, timeout, killTimeout)
  timers.setTimeout(function()
    for worker in pairs(workers) do
      if living[worker] then common.terminate(worker, killTimeout) end
    end
  end, timeout):unref()
end

---@param options { drain: boolean?, limit: integer?, killTimeout: integer }
local function disconnectAll(options)
  local all, asked = {}, {}
  for worker in pairs(living) do all[worker] = true end
  for _, worker in pairs(cluster.workers) do
    if worker:isConnected() then
      cluster.workers[worker.id] = nil
      worker.exitedAfterDisconnect = true
      asked[#asked + 1] = worker
    end
  end
  if options.limit then endAfter(all, options.limit, options.killTimeout) end
  local function ask()
    for _, worker in ipairs(asked) do
      if options.drain then common.endWhenDrained(worker, options.killTimeout) end
      askToDisconnect(worker, { drain = options.drain, limit = options.limit })
    end
  end
  if options.drain then listeners.whenTaken(places, ask) else ask() end
end

--- Disconnects all workers. With a `timeout` (ms) connections that wait for their next request are answered once more, as
--- in a reload, and workers that are not gone by then get SIGTERM, and `killTimeout` (1600 ms) later SIGKILL. Source: Node 20, but for the options.
---@param options { timeout: integer?, killTimeout: integer? }?
---@param callback fun()? called when no worker is left
---@overload fun(callback: fun())
function cluster.disconnect(options, callback)
  if type(options) == "function" and callback == nil then options, callback = nil, options end
  options = validate.optional(validate.table, options, "options") or {}
  validate.optional(validate.integer, options.timeout, "options.timeout", 0, 2147483647)
  validate.optional(validate.integer, options.killTimeout, "options.killTimeout", 0, 2147483647)
  validate.optional(validate.func, callback, "callback")
  if callback then intercom:once("disconnect", callback) end
  intercom:emit("ending")
  listeners.closeKept()
  if next(living) == nil then
    process.nextTick(function() intercom:emit("disconnect") end)
    return
  end
  if options.timeout then listeners.finish() end
  disconnectAll{ drain = options.timeout ~= nil, limit = options.timeout, killTimeout = options.killTimeout or KILL_TIMEOUT }
end

--- Asks the worker to close its servers, to wait for their connections and for its `drain` listeners, and to close its
--- channel; it leaves `cluster.workers` at once. Source: Node 20.
---@return Worker self
function Worker:disconnect()
  cluster.workers[self.id] = nil
  askToDisconnect(self, {})
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
local forReload = { events = intercom }

function forReload.fork(old) return forkWorker(places[old] and places[old].env, old) end

function forReload.listens(worker)
  local place = places[worker]
  return listeners.uses(worker) or place ~= nil and next(place.own) ~= nil
end

function forReload.listensOnAllOf(worker, old)
  if not listeners.servesAllOf(worker, old) then return false end
  local has = {}
  for _, key in pairs(places[worker] and places[worker].own or {}) do has[key] = true end
  for _, key in pairs(places[old] and places[old].own or {}) do if not has[key] then return false end end
  return true
end

function forReload.retire(worker, limit) askToDisconnect(worker, { drain = true, limit = limit }) end

---@class ReloadOptions
---@field parallel integer? workers replaced at once, 1
---@field workers Worker[]? only these
---@field waitReady boolean? a new worker is ready when it sends "ready", not when it listens
---@field listenTimeout integer? ms for a new worker to be ready, 8000
---@field minUptime integer? ms that it must live after that before the old one is drained, 0
---@field drainTimeout integer? ms for an old one to finish, 30000
---@field killTimeout integer? ms from SIGTERM to SIGKILL, past the drain limit, 1600

--- Replaces all workers without a refused or dropped request. Event `reload (phase, worker)`: fork, ready (the new
--- one), drain, exit (the old one) for each, failed (a new one), and at last done or stopped. A call while a reload
--- runs asks for one more round after it. Source: ours, not Node's.
---@param options ReloadOptions?
---@param callback fun(err: Error?)? `ERR_CLUSTER_RELOAD`: a new worker failed, the old one goes on
function cluster.reload(options, callback)
  return require("lrun.cluster.reload").run(cluster, forReload, options, callback)
end

---@class HandoverOptions
---@field exec string? the script, this one's
---@field args string[]? its arguments, this one's
---@field execArgv string[]? lrun's own options, this one's
---@field execPath string? the lrun to run, this one
---@field env table<string, any>? laid over this one's environment
---@field cwd string?
---@field listenTimeout integer? ms for the new primary to listen wherever this one does, 8000
---@field minUptime integer? ms that it must live after that, 0
---@field drainTimeout integer? ms for this one's workers and servers to finish, 30000
---@field killTimeout integer? ms from SIGTERM to SIGKILL, 1600

--- Starts a new primary that takes all listening sockets over; when its workers listen there, this one's finish what they
--- do, the callback comes, and this process exits. A new one that fails is ended, and this one goes on. Event
--- `handover (phase, pid)`: fork, ready, drain, done; failed. Source: ours, not Node's.
---@param options HandoverOptions?
---@param callback fun(err: Error?, pid: integer?)? `ERR_CLUSTER_HANDOVER`: the new one failed, this one goes on
function cluster.handover(options, callback)
  return require("lrun.cluster.handover").run({
    cluster = cluster, events = intercom, places = places,
    retireAll = function(limits, done)
      if next(living) == nil then return done() end
      intercom:once("disconnect", done)
      disconnectAll{ drain = true, limit = limits.limit, killTimeout = limits.killTimeout }
    end,
  }, options, callback)
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
