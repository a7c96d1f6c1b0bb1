--- A new primary in place of this one, without a gap: `cluster.handover`. Owns the new process until it has taken over, and
--- the timers of that.
---   start: the new primary gets copies of all listening sockets (descriptors, told by LRUN_HANDOVER; see
---   lrun.cluster.inherit) -> its workers listen on them -> `ready` -> it has lived long enough ->
---   this primary accepts no more, leaves socket files, says `go` -> its workers drain, its own servers close ->
---   the callback -> exit.
--- A new primary that dies, or is not ready in time, is ended; this one has served all the while, and goes on.
local bound = require("lrun.net.listen")
local channels = require("lrun.core.channel")
local child_process = require("child_process")
local common = require("lrun.cluster.common")
local encoding = require("lrun.core.encoding")
local errors = require("errors")
local buffers = require("string.buffer")
local leaving = require("lrun.cluster.leaving")
local listeners = require("lrun.cluster.listeners")
local process = require("process")
local sockets = require("lrun.core.sockets")
local timers = require("timers")
local validate = require("lrun.check.validate")
local EventEmitter = require("events").EventEmitter

local handover = {}

local DEFAULTS = { listenTimeout = 8000, minUptime = 0, drainTimeout = 30000, killTimeout = 1600 }

local running               -- the handover that is under way
local over = false          -- one was, and this process is at its end

-- Options --------------------------------------------------------------------------------------------------------------

local function readOptions(options)
  options = validate.optional(validate.table, options, "options") or {}
  for _, name in ipairs{ "exec", "cwd", "execPath" } do
    validate.optional(validate.string, options[name], "options." .. name)
  end
  for _, name in ipairs{ "args", "execArgv", "env" } do
    validate.optional(validate.table, options[name], "options." .. name)
  end
  for name in pairs(DEFAULTS) do
    validate.optional(validate.integer, options[name], "options." .. name, 0, 2147483647)
  end
  return setmetatable({}, { __index = function(_, name)
    if options[name] == nil then return DEFAULTS[name] end
    return options[name]
  end })
end

local function failure(message, cause)
  return errors.coded("ERR_CLUSTER_HANDOVER", message, { cause = cause })
end

-- What goes over -------------------------------------------------------------------------------------------------------

local function nameOf(request)
  if request.fd then return "descriptor " .. request.fd end
  if request.addressType == -1 then return (request.address:gsub("%z", "@")) end
  return ("%s:%s"):format(request.address or "*", request.port)
end

-- The request as plain values: it may have a metatable, and the worker's message in it.
local FIELDS = { "address", "port", "addressType", "fd", "backlog", "ipv6Only", "reuseAddr", "readableAll", "writableAll", "index" }

local function plain(request)
  local copy = {}
  for _, name in ipairs(FIELDS) do copy[name] = request[name] end
  return copy
end

local function describe(each, handles)
  local file = bound.fileOf(handles[1])
  return {
    key = each.key, name = nameOf(each.request), request = plain(each.request), kind = handles[1]:get_type(), path = file,
    handles = handles,
  }
end

local function everything()
  local list = {}
  for _, each in ipairs(listeners.all()) do
    local entry = describe(each, each.handles)
    entry.several, entry.serving = each.several, each.serving
    list[#list + 1] = entry
  end
  for _, each in ipairs(bound.servers()) do
    local entry = describe(each, { each.handle })
    entry.own, entry.serving = true, 1
    list[#list + 1] = entry
  end
  return list
end

local function namesOf(entries)
  local names = {}
  for _, entry in ipairs(entries) do if entry.serving > 0 then names[#names + 1] = entry.name end end
  return table.concat(names, ", ")
end

-- The stdio of the new process: entry i is descriptor i − 1 there. The service manager's sockets keep their numbers.
local function layOut(entries, channelEnd)
  local stdio = { "inherit", "inherit", "inherit" }
  for fd = 3, 2 + bound.fromManager do stdio[#stdio + 1] = sockets.serves(fd) and fd or "ignore" end
  local function add(fd)
    stdio[#stdio + 1] = fd
    return #stdio - 1
  end
  local told = { fromManager = bound.fromManager, channel = add(channelEnd), sockets = {} }
  for i, entry in ipairs(entries) do
    local fds = {}
    for j, handle in ipairs(entry.handles) do fds[j] = add(handle:fileno()) end
    local copy = { fds = fds }
    for name, value in pairs(entry) do if name ~= "handles" then copy[name] = value end end
    told.sockets[i] = copy
  end
  return stdio, encoding.base64(buffers.encode(told), false)
end

local function environment(options, text)
  local env = {}
  for name, value in pairs(process.env) do env[name] = value end
  for name, value in pairs(options.env or {}) do env[name] = value end
  env.LRUN_HANDOVER = text
  return env
end

-- The program may have been replaced on disk: that is what a handover is for.
local function programPath(options)
  return options.execPath or (process.execPath:gsub(" %(deleted%)$", ""))
end

local function commandLine(options)
  local list = {}
  for _, each in ipairs(options.execArgv or process.execArgv) do list[#list + 1] = each end
  list[#list + 1] = options.exec or process.argv[1]
  if options.args then
    for _, each in ipairs(options.args) do list[#list + 1] = each end
  else
    for i = 2, #process.argv do list[#list + 1] = process.argv[i] end
  end
  return list
end

-- Starting it ----------------------------------------------------------------------------------------------------------

local function launch(state)
  local ours, theirs = channels.pair()
  if not ours then error(theirs, 0) end
  state.entries = everything()
  state.missing = namesOf(state.entries)          -- until the new one says what is left of that
  local stdio, text = layOut(state.entries, theirs)
  local ok, child = pcall(child_process.spawn, programPath(state.options), commandLine(state.options), {
    stdio = stdio, env = environment(state.options, text), cwd = state.options.cwd,
  })
  sockets.close(theirs)
  if not ok then
    sockets.close(ours)
    error(child, 0)
  end
  local peer = EventEmitter:new()
  require("lrun.ipc.channel").setup(peer, ours, { wire = "lua" })
  return child, peer
end

local function tell(state, phase) state.primary.cluster:emit("handover", phase, state.child and state.child.pid) end

local function finish(state, err)
  running = nil
  timers.clearTimeout(state.timer)
  process:off("exit", state.onExit)
  state.primary.events:off("ending", state.onEnding)
  tell(state, err and "failed" or "done")
  if state.callback then state.callback(err, not err and state.child.pid or nil)
  elseif err then process.emitWarning(err) end
end

-- The new one is not to be trusted: it ends, and its workers with it.
local function fail(state, reason, cause)
  if state.failed or state.ready then return end
  state.failed = failure(("the new primary%s %s; this one goes on"):format(
    state.child and state.child.pid and (" (pid %d)"):format(state.child.pid) or "", reason), cause)
  timers.clearTimeout(state.timer)
  local child = state.child
  if not child or not child.pid or child.exitCode ~= nil or child.signalCode ~= nil then
    return process.nextTick(finish, state, state.failed)
  end
  child:kill("SIGTERM")
  state.timer = timers.setTimeout(function() child:kill("SIGKILL") end, state.options.killTimeout)
end

-- The end of this one --------------------------------------------------------------------------------------------------

local function closeOwnServers(done)
  local waiting = 1
  local function closed()
    waiting = waiting - 1
    if waiting == 0 then done() end
  end
  for _, each in ipairs(bound.servers()) do
    waiting = waiting + 1
    if each.server._drain then each.server:_drain(closed) else each.server:close(closed) end
  end
  closed()
end

local function drain(state)
  local options, waiting, limit = state.options, 2, nil
  local function leave()
    if not limit then return end
    timers.clearTimeout(limit)
    limit = nil
    process.nextTick(process.exit)       -- also where the callback waits for something
    finish(state)
  end
  local function one()
    waiting = waiting - 1
    if waiting == 0 then leave() end
  end
  limit = timers.setTimeout(leave, options.drainTimeout + options.killTimeout + 1000)
  state.primary.retireAll({ limit = options.drainTimeout, killTimeout = options.killTimeout }, one)
  leaving.run(options.drainTimeout)
  closeOwnServers(one)
end

local function retire(state)
  state.ready, over = true, true
  tell(state, "drain")
  listeners.stop()
  for _, entry in ipairs(state.entries) do
    for _, handle in ipairs(entry.handles) do bound.leaveFile(handle) end
  end
  common.send(state.peer, { act = "go" })
  process.notify(("MAINPID=%d"):format(state.child.pid))
  listeners.whenTaken(state.primary.places, function() drain(state) end)
end

-- Watching it ----------------------------------------------------------------------------------------------------------

local function endOf(code, signal) return signal or "code " .. tostring(code) end

local function onReady(state)
  if state.failed or state.ready or state.lives then return end
  state.lives = true
  timers.clearTimeout(state.timer)
  tell(state, "ready")
  if state.options.minUptime == 0 then return retire(state) end
  state.timer = timers.setTimeout(function() if not state.failed then retire(state) end end, state.options.minUptime)
end

local function onLate(state)
  local where = state.missing ~= "" and (": it does not listen on %s"):format(state.missing) or ""
  fail(state, ("was not ready within %d ms%s"):format(state.options.listenTimeout, where))
end

local function watch(state)
  local child = state.child
  child:on("error", function(err)
    if child.pid == nil then fail(state, "could not be started: " .. tostring(err), err) end
  end)
  child:on("exit", function(code, signal)
    if state.failed then return finish(state, state.failed) end
    local when = state.lives and ("within %d ms of being ready"):format(state.options.minUptime) or "before it was ready"
    fail(state, ("ended %s (%s)"):format(when, endOf(code, signal)))
  end)
  common.receive(state.peer, function(message)
    if message.act == "ready" then onReady(state) end
    if message.act == "missing" and type(message.names) == "string" then state.missing = message.names end
  end)
  state.timer = timers.setTimeout(onLate, state.options.listenTimeout, state)
  -- This one is told to end meanwhile: then the service is to end.
  state.onExit = function()
    if not state.ready then child:kill(state.lives and "SIGTERM" or "SIGKILL") end
  end
  process:on("exit", state.onExit)
  state.onEnding = function() fail(state, "is not needed: this one was told to end") end
  state.primary.events:on("ending", state.onEnding)
end

local function refusal(options)
  if over then return "this primary has been replaced already" end
  if running then return "a handover is under way" end
  if not options.exec and not process.argv[1] then return "this program has no script: options.exec names one" end
  if process.pid == 1 then return "the first process of a container cannot be replaced: the container ends with it" end
  local reload = package.loaded["lrun.cluster.reload"]
  if reload and reload.runs() then return "a reload is under way" end
end

--- Starts a new primary, and ends this one when that has taken over.
---@param primary { cluster: cluster, events: EventEmitter, places: table, retireAll: function }
---@param options HandoverOptions?
---@param callback fun(err: Error?, pid: integer?)?
function handover.run(primary, options, callback)
  if type(options) == "function" and callback == nil then options, callback = nil, options end
  validate.optional(validate.func, callback, "callback")
  options = readOptions(options)
  local reason = refusal(options)
  if reason then
    local err = failure(reason)
    if not callback then return process.emitWarning(err) end
    return process.nextTick(callback, err)
  end
  local state = { primary = primary, options = options, callback = callback }
  running = state
  local ok, child, peer = pcall(launch, state)
  if not ok then
    return process.nextTick(function()
      running = nil
      local err = failure("the new primary could not be started: " .. tostring(child), child)
      if callback then callback(err) else process.emitWarning(err) end
    end)
  end
  state.child, state.peer = child, peer
  watch(state)
  tell(state, "fork")
end

--- Whether this process is to end for the one that replaces it.
---@return boolean
function handover.isOver() return over end

return handover
