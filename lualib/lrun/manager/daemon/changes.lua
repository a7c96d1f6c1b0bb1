--- Two of the daemon's verbs that compare what is with what shall be: `apply`, which touches only what differs, and `scale`. `acts` are the
--- functions of verbs.lua that do one thing to one app.
local await = require("await")
local appRules = require("lrun.manager.app")
local order = require("lrun.manager.order")
local wire = require("lrun.manager.wire")

local changes = {}

local FAILED, USAGE, UNKNOWN = 1, 2, 3
local MAX_INSTANCES = 1000

-- Fields that can change without a new process.
local function needsProcess(differences)
  local GENTLE = { killTimeout = 1, stopSignal = 1, maxMemory = 1, cron = 1, watch = 1, ignoreWatch = 1, watchDelay = 1, minUptime = 1,
    maxRestarts = 1, restartDelay = 1, backoff = 1, autorestart = 1, stopExitCodes = 1, listenTimeout = 1, minReady = 1, health = 1, after = 1,
    namespace = 1, logKeep = 1, logSize = 1, treekill = 1, shutdownWithMessage = 1, instances = 1 }
  for _, name in ipairs(differences) do if not GENTLE[name] then return true end end
  return false
end

local function update(acts, context, entry, app, differences, args, answer)
  app.base = entry.record.app.base
  if not context.registry.runs(entry) then
    acts.redefine(entry, app)
    return acts.launch(context, entry)
  end
  if needsProcess(differences) then return acts.reload(context, entry, args, app, answer) end
  local count = app.instances
  app.instances = entry.record.app.instances
  acts.ask(context, entry, "configure", { app = app })
  acts.redefine(entry, app)
  if count ~= app.instances then
    acts.ask(context, entry, "scale", { count = count })
    entry.record.app.instances = count
  end
  acts.save(context, entry, "is changed")
end

local function apply(acts, context, args, answer)
  local registry = context.registry
  acts.checkTogether(context, args.apps)
  local difference = { added = wire.list(), changed = wire.list(), removed = wire.list(), unchanged = wire.list() }
  local work, named = {}, {}
  for _, app in ipairs(args.apps) do
    named[app.name] = true
    local entry = registry:find(app.name)
    local differences = entry and appRules.differences(entry.record.app, app)
    local isUp = entry and acts.isBusy(context, entry)
    local kind = not entry and "added" or (#differences > 0 or not isUp) and "changed" or "unchanged"
    table.insert(difference[kind], app.name)
    if kind ~= "unchanged" then work[#work + 1] = { name = app.name, after = app.after, app = app, known = entry, differences = differences } end
  end
  local gone = {}
  if args.prune then
    for _, entry in ipairs(registry:list()) do
      if not named[entry.record.app.name] then
        table.insert(difference.removed, entry.record.app.name)
        gone[#gone + 1] = entry
      end
    end
  end
  if args.dryRun then return difference end
  for _, one in ipairs(work) do
    if not one.known then one.added = registry:add(one.app) end
    one.entry = one
  end
  local function run()
    acts.inWaves(order.reversed(acts.byName(gone)), function(entry)
      acts.stop(context, entry, "delete")
      registry:remove(entry)
    end)
    acts.inWaves(order.waves(work), function(one)
      if one.added then return acts.launch(context, one.added) end
      update(acts, context, one.known, one.app, one.differences, args, answer)
    end)
  end
  if args.wait == false then acts.background(run) else run() end
  return difference
end

local function scale(acts, context, args)
  local entries = acts.select(context, { args.target })
  if #entries ~= 1 then acts.fail(UNKNOWN, ("'%s' is not one app"):format(tostring(args.target))) end
  local entry = entries[1]
  local app = entry.record.app
  local sign, number = tostring(args.count):match("^([+-]?)(%d+)$")
  if not number then acts.fail(USAGE, ("'%s' is no number: write N, +N or -N"):format(tostring(args.count))) end
  local count = tonumber(number)
  if sign == "+" then count = app.instances + count elseif sign == "-" then count = app.instances - count end
  if count < 1 then acts.fail(USAGE, ("%s cannot have %d instances; lrun stop %s ends it"):format(app.name, count, app.name)) end
  if count > MAX_INSTANCES then acts.fail(USAGE, ("%d instances are more than %d"):format(count, MAX_INSTANCES)) end
  if count == app.instances then
    return { note = ("%s has %d already: nothing to do"):format(app.name, count), rows = acts.rows(context, entries) }
  end
  local list = acts.perform(context, args, entries, function()
    if entry.link then
      local err, status = await(function(done) context.registry.overseer:call(entry, "scale", { count = count }, done) end)
      if status then entry.status = status end
      app.instances = count
      if err then
        context.registry:save(entry)
        acts.fail(FAILED, ("%s: %s"):format(app.name, err.message))
      end
    else
      app.instances = count
    end
    acts.save(context, entry, "is scaled")
  end)
  return { rows = list }
end

--- Adds them to the verbs.
---@param verbs table
---@param acts table
function changes.add(verbs, acts)
  function verbs.apply(context, args, answer) return apply(acts, context, args, answer) end
  function verbs.scale(context, args) return scale(acts, context, args) end
end

return changes
