--- What the daemon does for each call. A verb runs on a coroutine of its own and may wait; it returns what is answered, or throws
--- { code, message, hint?, exit }. `context` has the registry and what only main.lua can do.
local await = require("await")
local appRules = require("lrun.manager.app")
local figures = require("lrun.manager.daemon.figures")
local names = require("lrun.manager.names")
local order = require("lrun.manager.order")
local report = require("lrun.manager.report")
local targets = require("lrun.manager.targets")
local uv = require("luv")
local wire = require("lrun.manager.wire")

local verbs = {}

local FAILED, USAGE, UNKNOWN = 1, 2, 3

local function fail(exit, message, hint, code)
  error({ code = code or (exit == USAGE and "usage" or exit == UNKNOWN and "unknown-target" or "failed"), message = message, hint = hint,
    exit = exit }, 0)
end

local function milliseconds()
  local seconds, microseconds = uv.gettimeofday()
  return seconds * 1000 + math.floor(microseconds / 1000)
end

local function nameOf(entry) return entry.record.app.name end

-- Targets -------------------------------------------------------------------------------------------------------------

local function select(context, list)
  if type(list) ~= "table" or #list == 0 then fail(USAGE, "which app? name a target, or all") end
  local found, unknown = targets.select(context.registry:views(), list)
  if not found then fail(UNKNOWN, ("no app matches '%s'"):format(unknown), "lrun list shows what there is") end
  local entries = {}
  for i, view in ipairs(found) do entries[i] = view.entry end
  return entries
end

-- Runs f(entry) for all of them at once, each on a coroutine; throws the first failure when all have ended.
local function each(entries, f)
  if #entries == 0 then return end
  local failed
  await(function(done)
    local left = #entries
    for _, entry in ipairs(entries) do
      await.spawn(function()
        local ok, err = pcall(f, entry)
        if not ok and not failed then failed = err end
        left = left - 1
        if left == 0 then done() end
      end)
    end
  end)
  if failed then error(failed, 0) end
end

local function byName(entries)
  local list = {}
  for i, entry in ipairs(entries) do
    list[i] = { name = nameOf(entry), after = entry.record.app.after, entry = entry }
  end
  return list
end

local function inWaves(waves, f)
  for _, wave in ipairs(waves) do
    local entries = {}
    for i, view in ipairs(wave) do entries[i] = view.entry end
    each(entries, f)
  end
end

-- Rows ----------------------------------------------------------------------------------------------------------------

local function ask(context, entry, name, args)
  local err, result = await(function(done) context.registry.overseer:call(entry, name, args or {}, done) end)
  if err then error({ code = err.code, message = err.message, exit = FAILED }, 0) end
  return result
end

-- What clusters count, asked of all keepers at once; one that does not answer is left out.
local function metricsOf(context, entries)
  local found = {}
  local asked = {}
  for _, entry in ipairs(entries) do
    if entry.link and entry.record.app.mode == "cluster" then asked[#asked + 1] = entry end
  end
  if #asked == 0 then return found end
  await(function(done)
    local left, over = #asked, false
    local timer = uv.new_timer()
    local function finish()
      if over then return end
      over = true
      timer:close()
      done()
    end
    timer:start(1000, 0, finish)
    for _, entry in ipairs(asked) do
      context.registry.overseer:call(entry, "metrics", {}, function(err, result)
        if not err then
          found[entry] = {}
          for _, one in ipairs(result.metrics) do found[entry][one.number] = one end
        end
        left = left - 1
        if left == 0 then finish() end
      end)
    end
  end)
  return found
end

local function row(context, entry, metrics)
  return report.row(entry.record, entry.status, context.registry.runs(entry), milliseconds(), figures.of, metrics and metrics[entry])
end

local function rows(context, entries)
  local metrics = metricsOf(context, entries)
  local list = wire.list()
  for i, entry in ipairs(entries) do list[i] = row(context, entry, metrics) end
  return list
end

local function show(context, entry, metrics)
  local extra = { lost = entry.status and entry.status.lost or 0 }
  if entry.link then
    local ok, result = pcall(ask, context, entry, "metrics")
    if ok then extra.lost = result.lost end
    extra.keeper = entry.record.keeper and entry.record.keeper.pid
    extra.reason = entry.status and entry.status.reason
  else
    extra.reason = entry.record.reason
  end
  extra.paths = function(number) return require("lrun.manager.keeper.logs").paths(entry.record.app, context.home, number) end
  return report.show(row(context, entry, metrics), entry.record, extra)
end

function verbs.list(context) return rows(context, context.registry:list()) end

--- All apps as `show` tells them; for jlist, and for logs without targets.
function verbs.showAll(context)
  local entries = context.registry:list()
  local metrics, list = metricsOf(context, entries), wire.list()
  for i, entry in ipairs(entries) do list[i] = show(context, entry, metrics) end
  return list
end

function verbs.show(context, args)
  local entries = select(context, args.targets)
  local metrics, list = metricsOf(context, entries), wire.list()
  for i, entry in ipairs(entries) do list[i] = show(context, entry, metrics) end
  return list
end

function verbs.env(context, args)
  local entry = select(context, args.targets)[1]
  if not entry then fail(UNKNOWN, "there are no apps") end
  return require("lrun.manager.environment").of(entry.record.app)
end

-- Starting ------------------------------------------------------------------------------------------------------------

-- A disk that takes no more does not keep anybody from doing what was asked for; what could not be kept is told behind it, and
-- written as soon as it can be.
local function save(context, entry, done)
  local problem = context.registry:save(entry)
  if problem then fail(FAILED, ("'%s' %s, but %s"):format(nameOf(entry), done, problem)) end
end

local function launch(context, entry)
  local record = entry.record
  record.wanted, record.down, record.state, record.reason = "running", nil, nil, nil
  context.registry:save(entry)
  local err = await(function(done) context.registry.overseer:launch(entry, {}, done) end)
  if err then
    context.registry:save(entry)
    fail(FAILED, ("%s did not start: %s"):format(nameOf(entry), err.message))
  end
  save(context, entry, "is started")
end

-- Returns what could not be kept.
local function stop(context, entry, reason, down)
  local record = entry.record
  record.down = down or nil
  if not down then record.wanted = "stopped" end
  if context.registry.runs(entry) then record.state, record.reason = nil, nil end
  context.registry:save(entry)
  await(function(done) context.registry.overseer:stop(entry, reason, nil, done) end)
  return context.registry:save(entry)
end

local function failUnkept(entry, problem)
  if problem then fail(FAILED, ("'%s' is stopped, but %s"):format(nameOf(entry), problem)) end
end

local function checkApp(app)
  if type(app) ~= "table" or type(app.script) ~= "string" or type(app.instances) ~= "number" or type(app.args) ~= "table" then
    fail(USAGE, "an app has to be in its normal form")
  end
  local problem = names.problem(app.name)
  if problem then fail(USAGE, problem) end
end

-- Names twice in one configuration, circles, apps that nobody has.
local function checkTogether(context, apps)
  local seen = {}
  for _, app in ipairs(apps) do
    checkApp(app)
    if seen[app.name] then fail(USAGE, ("two apps are named '%s'"):format(app.name)) end
    seen[app.name] = true
  end
  local ok, err = pcall(appRules.checkOrder, apps, function(name) return context.registry:find(name) ~= nil end)
  if not ok then fail(USAGE, type(err) == "table" and err.usage or tostring(err)) end
end

local function isBusy(context, entry)
  return context.registry.runs(entry) and not (entry.status and entry.status.state == "failed")
end

-- What does not fit to be waited for by the caller.
local function background(f)
  await.spawn(function()
    local ok, err = pcall(f)
    if not ok and type(err) ~= "table" then io.stderr:write("lrun daemon: ", tostring(err), "\n") end
  end)
end

local function perform(context, args, entries, f)
  if args.wait == false then
    background(f)
  else
    f()
  end
  return rows(context, entries)
end

-- A running app that failed in part is ended first.
local function restartFailed(context, entry)
  if context.registry.runs(entry) then stop(context, entry, "restart") end
end

local function running(name)
  fail(FAILED, ("'%s' is running already"):format(name),
    ("lrun restart %s starts it anew; lrun start -f starts another one beside it"):format(name), "running")
end

-- Other fields for an app that is known; its counters stay.
local function redefine(entry, app, keepBase)
  if keepBase then app.base = entry.record.app.base end
  entry.record.app = app
end

-- An app whose file cannot be written is not begun: nobody would know of it later.
local function refuseUnkept(context, added)
  local problem
  for _, entry in ipairs(added) do problem = problem or context.registry:save(entry) end
  if not problem then return end
  for _, entry in ipairs(added) do context.registry:remove(entry) end
  fail(FAILED, problem)
end

function verbs.start(context, args)
  local apps, registry = args.apps or {}, context.registry
  local entries = args.targets and #args.targets > 0 and select(context, args.targets) or {}
  for _, entry in ipairs(entries) do
    if isBusy(context, entry) then running(nameOf(entry)) end
  end
  checkTogether(context, apps)
  if args.force then
    local taken = {}
    for _, app in ipairs(apps) do
      local function isTaken(name) return registry:find(name) ~= nil or taken[name] end
      if isTaken(app.name) then app.name = names.free(app.name, isTaken) end
      taken[app.name] = true
    end
  end
  for _, app in ipairs(apps) do
    local known = registry:find(app.name)
    if known and isBusy(context, known) then running(app.name) end
  end
  local added = {}
  for _, app in ipairs(apps) do
    local entry = registry:find(app.name)
    if entry then
      redefine(entry, app)
    else
      entry = registry:add(app)
      added[#added + 1] = entry
    end
    entries[#entries + 1] = entry
  end
  refuseUnkept(context, added)
  return perform(context, args, entries, function()
    inWaves(order.waves(byName(entries)), function(entry)
      restartFailed(context, entry)
      launch(context, entry)
    end)
  end)
end

function verbs.resurrect(context, args)
  local entries = {}
  for _, entry in ipairs(context.registry:list()) do
    if entry.record.wanted == "running" and not context.registry.runs(entry) then entries[#entries + 1] = entry end
  end
  return perform(context, args, entries, function()
    inWaves(order.waves(byName(entries)), function(entry) launch(context, entry) end)
  end)
end

-- Ending --------------------------------------------------------------------------------------------------------------

-- The entries that targets, or the apps of a configuration, mean. `others`: apps that are not known.
local function chosen(context, args)
  if not args.apps then return select(context, args.targets), {} end
  local entries, others = {}, {}
  for _, app in ipairs(args.apps) do
    local entry = context.registry:find(app.name)
    if entry then entries[#entries + 1] = entry else others[#others + 1] = app end
  end
  return entries, others
end

local function known(context, args)
  local entries, others = chosen(context, args)
  if #entries == 0 and #others > 0 then fail(UNKNOWN, ("no app is named '%s'"):format(others[1].name)) end
  return entries
end

function verbs.stop(context, args)
  local entries = known(context, args)
  return perform(context, args, entries, function()
    inWaves(order.reversed(byName(entries)), function(entry) failUnkept(entry, stop(context, entry, "stop")) end)
  end)
end

function verbs.delete(context, args)
  local entries = known(context, args)
  local list = rows(context, entries)
  local function work()
    inWaves(order.reversed(byName(entries)), function(entry)
      stop(context, entry, "delete")
      context.registry:remove(entry)
      context.emit(entry, { event = "deleted", time = milliseconds() })
    end)
  end
  if args.wait == false then background(work) else work() end
  return list
end

--- Ends all apps, which `resurrect` starts again. Throws, when all have ended, where that could not be kept.
function verbs.stopAll(context)
  local entries = {}
  for _, entry in ipairs(context.registry:list()) do
    if entry.record.wanted == "running" then entries[#entries + 1] = entry end
  end
  inWaves(order.reversed(byName(entries)), function(entry) failUnkept(entry, stop(context, entry, "stop", true)) end)
end

function verbs.kill(context)
  local ok, err = pcall(verbs.stopAll, context)
  context.exitSoon()
  if not ok then error(err, 0) end
  return { pid = process.pid }
end

-- Changing ------------------------------------------------------------------------------------------------------------

-- With the caller's environment, or another definition.
local function newDefinition(entry, args, byConfig)
  local app = byConfig[nameOf(entry)]
  if app then return app end
  if args.env or args.fields then
    local copy = {}
    for key, value in pairs(entry.record.app) do copy[key] = value end
    if args.env then copy.base = require("lrun.manager.environment").inherited(args.env, copy.filterEnv) end
    for key, value in pairs(args.fields or {}) do copy[key] = value end
    return copy
  end
end

local function configured(args)
  local found = {}
  for _, app in ipairs(args.apps or {}) do found[app.name] = app end
  return found
end

-- A keeper of another version of lrun goes with its app's restart.
local function isOld(entry) return entry.version ~= nil and entry.version ~= process.versions.lrun end

local function restart(context, entry, args, app, reason)
  if app then redefine(entry, app) end
  local record = entry.record
  if context.registry.runs(entry) and (isOld(entry) or not entry.link) then
    stop(context, entry, "restart")
    for number, count in pairs(record.restarts) do record.restarts[number] = count + 1 end
  end
  if not context.registry.runs(entry) then return launch(context, entry) end
  record.wanted, record.down, record.state, record.reason = "running", nil, nil, nil
  context.registry:save(entry)
  local err, status = await(function(done)
    context.registry.overseer:call(entry, "restart", { app = app, reason = reason or "restart" }, done)
  end)
  if status then entry.status = status end
  if err then
    context.registry:save(entry)
    fail(FAILED, ("%s did not start: %s"):format(nameOf(entry), err.message))
  end
  save(context, entry, "is restarted")
end
verbs.restartEntry = restart

local function startOthers(context, others)
  local entries = {}
  checkTogether(context, others)
  for i, app in ipairs(others) do entries[i] = context.registry:add(app) end
  return entries
end

local function rename(context, entry, name)
  local problem = names.problem(name)
  if problem then fail(USAGE, problem) end
  if context.registry:find(name) then fail(USAGE, ("the name '%s' is taken"):format(name)) end
  problem = context.registry:rename(entry, name)
  if problem then fail(FAILED, problem) end
  if entry.link then ask(context, entry, "rename", { name = name }) end
end

function verbs.restart(context, args)
  local entries, others = chosen(context, args)
  local byConfig = configured(args)
  if args.name then
    if #entries ~= 1 then fail(USAGE, "--name renames one app") end
    rename(context, entries[1], args.name)
  end
  local added = startOthers(context, others)
  local all = { unpack(entries) }
  for _, entry in ipairs(added) do all[#all + 1] = entry end
  return perform(context, args, all, function()
    inWaves(order.waves(byName(all)), function(entry)
      restart(context, entry, args, newDefinition(entry, args, byConfig))
    end)
  end)
end

local function isGentle(app) return app.mode == "cluster" or app.listen ~= nil end

local function reload(context, entry, args, app, answer)
  if not entry.link then return restart(context, entry, args, app, "reload") end
  local record = entry.record
  local before = record.app
  local gentle = isGentle(before) and isGentle(app or before) and before.mode == (app or before).mode
  if not gentle then
    if answer then answer.event{ note = ("%s shares no port: it is restarted"):format(nameOf(entry)) } end
    return restart(context, entry, args, app, "reload")
  end
  local err, status = await(function(done) context.registry.overseer:call(entry, "reload", { app = app, reason = "reload" }, done) end)
  if err then
    if app then context.registry.overseer:call(entry, "configure", { app = before }, function() end) end
    fail(FAILED, ("the reload of %s was stopped, the old version runs on: %s"):format(nameOf(entry), err.message))
  end
  if app then redefine(entry, app) end
  entry.status = status
  save(context, entry, "is reloaded")
end

function verbs.reload(context, args, answer)
  local entries, others = chosen(context, args)
  local byConfig = configured(args)
  local added = startOthers(context, others)
  local all = { unpack(entries) }
  for _, entry in ipairs(added) do all[#all + 1] = entry end
  return perform(context, args, all, function()
    inWaves(order.waves(byName(all)), function(entry)
      reload(context, entry, args, newDefinition(entry, args, byConfig), answer)
    end)
  end)
end

--- A change of time or of files.
function verbs.due(context, entry, reason)
  if not entry.link or entry.record.wanted ~= "running" or entry.busy then return end
  if entry.status and (entry.status.state == "stopping") then return end
  entry.busy = true
  context.registry.overseer:call(entry, reason == "cron" and "restart" or "restart", { reason = reason }, function()
    entry.busy = false
  end)
end

require("lrun.manager.daemon.changes").add(verbs, {
  ask = ask, save = save, launch = launch, stop = stop, reload = reload, redefine = redefine, isBusy = isBusy, checkTogether = checkTogether,
  inWaves = inWaves, byName = byName, background = background, perform = perform, rows = rows, select = select, fail = fail,
})

-- Small ones ----------------------------------------------------------------------------------------------------------

function verbs.signal(context, args)
  local entries = select(context, args.targets)
  local count = 0
  for _, entry in ipairs(entries) do
    if entry.link then count = count + ask(context, entry, "signal", { signal = args.signal }) end
  end
  if count == 0 and #entries > 0 then fail(FAILED, ("'%s' does not run"):format(nameOf(entries[1]))) end
  return { signalled = count }
end

function verbs.send(context, args)
  local entry = select(context, { args.target })[1]
  if not entry then fail(UNKNOWN, "there are no apps") end
  if not entry.link then fail(FAILED, ("'%s' does not run"):format(nameOf(entry))) end
  if ask(context, entry, "send", { line = args.line }) == 0 then fail(FAILED, ("'%s' takes no input"):format(nameOf(entry))) end
  return { sent = true }
end

local function tellKeepers(context, args, call, without)
  local entries = select(context, args.targets)
  each(entries, function(entry)
    if entry.link then ask(context, entry, call) elseif without then without(entry) end
  end)
  return rows(context, entries)
end

function verbs.reset(context, args)
  local entries = select(context, args.targets)
  each(entries, function(entry)
    entry.record.restarts, entry.record.restartsTotal = {}, 0
    if entry.link then entry.status = ask(context, entry, "reset") end
    save(context, entry, "is reset")
  end)
  return rows(context, entries)
end

function verbs.flush(context, args)
  return tellKeepers(context, args, "flush", function(entry)
    local paths = require("lrun.manager.keeper.logs").paths
    for number = 0, entry.record.app.instances - 1 do
      for _, path in pairs(paths(entry.record.app, context.home, number)) do
        local stat = uv.fs_stat(path)
        local file = stat and stat.type == "file" and io.open(path, "w")
        if file then file:close() end
      end
    end
  end)
end

function verbs.reopen(context, args) return tellKeepers(context, args, "reopen") end

function verbs.save(context)
  local problem = context.registry:saveAll()
  if problem then fail(FAILED, problem) end
  return { saved = #context.registry:list() }
end

--- Replaces the keepers of clusters, after an update of the daemon.
function verbs.renew(context)
  local entries = {}
  for _, entry in ipairs(context.registry:list()) do
    if entry.link and entry.record.app.mode == "cluster" and entry.status and entry.status.state == "online" then entries[#entries + 1] = entry end
  end
  each(entries, function(entry)
    local err = await(function(done) context.registry.overseer:renew(entry, done) end)
    if err then
      context.registry:save(entry)
      fail(FAILED, ("the keeper of %s could not be replaced: %s"):format(nameOf(entry), err.message))
    end
    save(context, entry, "has another keeper")
  end)
  return rows(context, context.registry:list())
end

return verbs
