--- Replaces the workers one after another without a dropped request. Owns the timers of the replacements that run, not
--- the workers. One replacement: fork -> the new one is ready -> the old one gets no more connections and drains ->
--- it ends by itself, by SIGTERM, or by SIGKILL. A new one that fails stops the reload; the old ones that are left go on.
local errors = require("errors")
local timers = require("timers")
local validate = require("lrun.check.validate")

local reload = {}

local DEFAULTS = { parallel = 1, waitReady = false, listenTimeout = 8000, drainTimeout = 30000, killTimeout = 1600 }

-- How long a drained worker may take to end by itself, and how long a new one that listens may take to listen on all
-- that the old one listens on (ms).
local END_GRACE = 200
local ALL_LISTENERS_GRACE = 1000

local function readOptions(options)
  if options ~= nil then validate.table(options, "options") end
  options = options or {}
  validate.optional(validate.integer, options.parallel, "options.parallel", 1)
  validate.optional(validate.boolean, options.waitReady, "options.waitReady")
  for _, name in ipairs{ "listenTimeout", "drainTimeout", "killTimeout" } do
    validate.optional(validate.integer, options[name], "options." .. name, 0, 2147483647)
  end
  return setmetatable({}, { __index = function(_, name)
    local given = options[name]
    if given == nil then return DEFAULTS[name] end
    return given
  end })
end

local function failureOf(worker, reason, old, cause)
  local consequence = old and ("; worker %d goes on"):format(old.id) or ""
  return errors.coded("ERR_CLUSTER_RELOAD", ("worker %d %s%s"):format(worker.id, reason, consequence), { cause = cause })
end

local function endOf(code, signal) return signal or "code " .. tostring(code) end

-- Calls done() or done(err) once: when the new worker can take over, or will not.
local function whenReady(primary, worker, old, options, done)
  local timer, grace
  local onMessage, onListening, onOnline, onExit, onError

  local function finish(err)
    timers.clearTimeout(timer)
    if grace then timers.clearTimeout(grace) end
    worker:off("message", onMessage)
    worker:off("listening", onListening)
    worker:off("online", onOnline)
    worker:off("exit", onExit)
    worker:off("error", onError)
    done(err)
  end

  local function failure(reason, cause)
    worker.exitedAfterDisconnect = true       -- nobody shall replace it: the old one goes on
    finish(failureOf(worker, reason, old, cause))
  end

  function onMessage(message)
    if options.waitReady and message == "ready" then finish() end
  end
  function onListening()
    if options.waitReady then return end
    if primary.listensOnAllOf(worker, old) then return finish() end
    grace = grace or timers.setTimeout(finish, ALL_LISTENERS_GRACE)
  end
  function onOnline()
    if not options.waitReady and not primary.listens(old) then finish() end
  end
  function onExit(code, signal)
    failure(("ended before it was ready (%s)"):format(endOf(code, signal)))
  end
  function onError(err) failure("could not be started: " .. tostring(err), err) end

  timer = timers.setTimeout(function()
    failure(("was not ready within %d ms"):format(options.listenTimeout))
  end, options.listenTimeout)
  worker:on("message", onMessage)
  worker:on("listening", onListening)
  worker:on("online", onOnline)
  worker:on("exit", onExit)
  worker:on("error", onError)
end

-- Ends a worker that has drained, or had the time to.
local function terminate(worker, killTimeout)
  if worker:isDead() then return end
  worker:kill("SIGTERM")
  local timer = timers.setTimeout(function()
    if not worker:isDead() then worker:kill("SIGKILL") end
  end, killTimeout)
  worker:once("exit", function() timers.clearTimeout(timer) end)
end

-- Calls done() when the old worker is gone.
local function drain(worker, primary, options, done)
  if worker:isDead() then return done() end
  local limit, ending
  worker:once("exit", function()
    timers.clearTimeout(limit)
    if ending then timers.clearTimeout(ending) end
    done()
  end)
  limit = timers.setTimeout(function() terminate(worker, options.killTimeout) end, options.drainTimeout)
  worker:once("disconnect", function()
    ending = timers.setTimeout(function() terminate(worker, options.killTimeout) end, END_GRACE)
  end)
  primary.retire(worker)
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

local function toReplace(cluster)
  local list = {}
  for _, worker in pairs(cluster.workers) do
    if worker:isConnected() and not worker.exitedAfterDisconnect then list[#list + 1] = worker end
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

local callbacks     -- of the reload that runs

local function finish(cluster, err)
  local waiting = callbacks
  callbacks = nil
  cluster:emit("reload", err and "stopped" or "done")
  for _, callback in ipairs(waiting) do callback(err) end
end

--- Runs a reload, or joins the one that runs.
---@param cluster cluster
---@param primary { fork: function, retire: function, listens: function, listensOnAllOf: function }
---@param options table?
---@param callback fun(err: Error?)?
function reload.run(cluster, primary, options, callback)
  if type(options) == "function" and callback == nil then options, callback = nil, options end
  validate.optional(validate.func, callback, "callback")
  options = readOptions(options)
  if callbacks then
    callbacks[#callbacks + 1] = callback
    return
  end
  callbacks = { callback }
  local queue = toReplace(cluster)
  local running, replacements, failed = 0, {}, nil
  local function step()
    failed = failed or lost(replacements)
    while not failed and running < options.parallel and #queue > 0 do
      local old = table.remove(queue, 1)
      if not old:isDead() and old:isConnected() and not old.exitedAfterDisconnect then
        running = running + 1
        replace(cluster, primary, old, options, function(err, worker)
          running = running - 1
          failed = failed or err
          replacements[#replacements + 1] = worker
          step()
        end)
      end
    end
    if running == 0 and callbacks and (failed or #queue == 0) then finish(cluster, failed) end
  end
  require("process").nextTick(step)
end

return reload
