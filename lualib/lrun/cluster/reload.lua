--- Replaces the workers one after another without a dropped request. Owns the timers of the replacements that run, not
--- the workers. One replacement: fork -> the new one is ready -> it has lived long enough -> the old one gets no more
--- connections and drains -> it ends by itself, by SIGTERM, or by SIGKILL. A new one that fails stops the round; the old
--- ones that are left go on. A call while a round runs asks for one more after it, in which all such calls join: each
--- callback comes after a round that began after its call.
local common = require("lrun.cluster.common")
local errors = require("errors")
local timers = require("timers")
local validate = require("lrun.check.validate")

local reload = {}

local DEFAULTS = {
  parallel = 1, waitReady = false, listenTimeout = 8000, minUptime = 0, drainTimeout = 30000, killTimeout = 1600,
}

-- How long a new worker that listens may take to listen on all that the old one listens on (ms).
local ALL_LISTENERS_GRACE = 1000

-- Options --------------------------------------------------------------------------------------------------------------

local function checkWorkers(list)
  validate.optional(validate.table, list, "options.workers")
  for i, worker in ipairs(list or {}) do
    if type(worker) ~= "table" or type(worker.isDead) ~= "function" then
      error(errors.argType(("options.workers[%d]"):format(i), "an instance of Worker", worker), 0)
    end
  end
end

local function readOptions(options)
  options = validate.optional(validate.table, options, "options") or {}
  validate.optional(validate.integer, options.parallel, "options.parallel", 1)
  validate.optional(validate.boolean, options.waitReady, "options.waitReady")
  for _, name in ipairs{ "listenTimeout", "minUptime", "drainTimeout", "killTimeout" } do
    validate.optional(validate.integer, options[name], "options." .. name, 0, 2147483647)
  end
  checkWorkers(options.workers)
  return setmetatable({ workers = options.workers }, { __index = function(_, name)
    local given = options[name]
    if given == nil then return DEFAULTS[name] end
    return given
  end })
end

-- The new worker -------------------------------------------------------------------------------------------------------

local function failureOf(worker, reason, old, cause)
  local consequence = old and ("; worker %d goes on"):format(old.id) or ""
  return errors.coded("ERR_CLUSTER_RELOAD", ("worker %d %s%s"):format(worker.id, reason, consequence), { cause = cause })
end

local function endOf(code, signal) return signal or "code " .. tostring(code) end

-- Calls done() or done(err) once: when the new worker can take over, or will not.
local function whenReady(primary, worker, old, options, done)
  local timer, grace
  local ready = false
  local onMessage, onServes, onOnline, onExit, onError

  local function finish(err)
    timers.clearTimeout(timer)
    if grace then timers.clearTimeout(grace) end
    worker:off("message", onMessage)
    primary.events:off("serves", onServes)
    worker:off("online", onOnline)
    worker:off("exit", onExit)
    worker:off("error", onError)
    done(err)
  end

  local function failure(reason, cause)
    worker.exitedAfterDisconnect = true       -- nobody shall replace it: the old one goes on
    finish(failureOf(worker, reason, old, cause))
  end

  local function onReady()
    if ready then return end
    ready = true
    if options.minUptime == 0 then return finish() end
    timers.clearTimeout(timer)
    timer = timers.setTimeout(finish, options.minUptime)
  end

  function onMessage(message)
    if options.waitReady and message == "ready" then onReady() end
  end
  function onServes(which)
    if which ~= worker or options.waitReady then return end
    if primary.listensOnAllOf(worker, old) then return onReady() end
    grace = grace or timers.setTimeout(onReady, ALL_LISTENERS_GRACE)
  end
  function onOnline()
    if not options.waitReady and not primary.listens(old) then onReady() end
  end
  function onExit(code, signal)
    local when = ready and ("within %d ms of being ready"):format(options.minUptime) or "before it was ready"
    failure(("ended %s (%s)"):format(when, endOf(code, signal)))
  end
  function onError(err)
    if worker.process.pid == nil then failure("could not be started: " .. tostring(err), err) end
  end

  timer = timers.setTimeout(function()
    failure(("was not ready within %d ms"):format(options.listenTimeout))
  end, options.listenTimeout)
  worker:on("message", onMessage)
  primary.events:on("serves", onServes)
  worker:on("online", onOnline)
  worker:on("exit", onExit)
  worker:on("error", onError)
end

-- The old worker -------------------------------------------------------------------------------------------------------

-- Calls done() when the old worker is gone.
local function drain(worker, primary, options, done)
  if worker:isDead() then return done() end
  local limit = timers.setTimeout(common.terminate, options.drainTimeout, worker, options.killTimeout)
  worker:once("exit", function()
    timers.clearTimeout(limit)
    done()
  end)
  common.endWhenDrained(worker, options.killTimeout)
  primary.retire(worker, options.drainTimeout)
end

local function replace(cluster, primary, old, options, done)
  local ok, worker = pcall(primary.fork, old)
  if not ok then return done(worker) end
  cluster:emit("reload", "fork", worker)
  whenReady(primary, worker, old, options, function(err)
    if err then
      if not worker:isDead() and worker.process.pid then worker:kill("SIGKILL") end
      cluster:emit("reload", "failed", worker)
      return done(err)
    end
    cluster:emit("reload", "ready", worker)
    cluster:emit("reload", "drain", old)
    drain(old, primary, options, function()
      cluster:emit("reload", "exit", old)
      done(nil, worker)
    end)
  end)
end

-- Rounds ---------------------------------------------------------------------------------------------------------------

local function isReplaceable(worker)
  return worker:isConnected() and not worker:isDead() and not worker.exitedAfterDisconnect
end

local function toReplace(cluster, wanted)
  local only, list = wanted and {}, {}
  for _, worker in ipairs(wanted or {}) do only[worker] = true end
  for _, worker in pairs(cluster.workers) do
    if isReplaceable(worker) and (not only or only[worker]) then list[#list + 1] = worker end
  end
  table.sort(list, function(a, b) return a.id < b.id end)
  return list
end

-- Why the new version is not to be trusted with more: one of its workers was ready, took over, and ended.
local function lost(replacements)
  for _, worker in ipairs(replacements) do
    if worker:isDead() and not worker.exitedAfterDisconnect then
      local child = worker.process
      return failureOf(worker, ("ended after it was ready (%s)"):format(endOf(child.exitCode, child.signalCode)))
    end
  end
end

local running           -- the round that runs: { options, callbacks }
local waiting           -- the one after it

local start

local function finish(cluster, primary, err)
  local callbacks = running.callbacks
  running, waiting = waiting, nil
  if running then start(cluster, primary, running) end
  cluster:emit("reload", err and "stopped" or "done")
  for _, callback in ipairs(callbacks) do callback(err) end
end

local function run(cluster, primary, options)
  local queue = toReplace(cluster, options.workers)
  local busy, replacements, failed, ended = 0, {}, nil, false
  local function step()
    failed = failed or lost(replacements)
    while not failed and busy < options.parallel and #queue > 0 do
      local old = table.remove(queue, 1)
      if isReplaceable(old) then
        busy = busy + 1
        replace(cluster, primary, old, options, function(err, worker)
          busy = busy - 1
          failed = failed or err
          replacements[#replacements + 1] = worker
          step()
        end)
      end
    end
    if busy > 0 or ended or not failed and #queue > 0 then return end
    ended = true
    finish(cluster, primary, failed)
  end
  step()
end

function start(cluster, primary, round)
  require("process").nextTick(run, cluster, primary, round.options)
end

-- The workers of two calls that share a round; nil: all.
local function both(one, other)
  if not one or not other then return nil end
  local list = {}
  for _, worker in ipairs(one) do list[#list + 1] = worker end
  for _, worker in ipairs(other) do list[#list + 1] = worker end
  return list
end

--- Whether a reload runs.
---@return boolean
function reload.runs() return running ~= nil end

--- Runs a reload, or has one more round after the one that runs.
---@param cluster cluster
---@param primary { fork: function, retire: function, listens: function, listensOnAllOf: function, events: EventEmitter }
---@param options ReloadOptions?
---@param callback fun(err: Error?)?
function reload.run(cluster, primary, options, callback)
  if type(options) == "function" and callback == nil then options, callback = nil, options end
  validate.optional(validate.func, callback, "callback")
  options = readOptions(options)
  if not running then
    running = { options = options, callbacks = { callback } }
    return start(cluster, primary, running)
  end
  if waiting then options.workers = both(waiting.options.workers, options.workers) end
  waiting = { options = options, callbacks = waiting and waiting.callbacks or {} }
  waiting.callbacks[#waiting.callbacks + 1] = callback
end

return reload
