--- The verbs that change apps: words and options → calls of the daemon. Configurations are read here, and everything is checked before
--- the daemon hears of it.
local appRules = require("lrun.manager.app")
local client = require("lrun.manager.cli.client")
local config = require("lrun.manager.config")
local contexts = require("lrun.manager.cli.context")
local show = require("lrun.manager.cli.show")
local uv = require("luv")

local apps = {}

local function usage(text, ...) error({ usage = select("#", ...) > 0 and text:format(...) or text }, 0) end

local function warn(text) io.stderr:write("lrun: warning: ", text, "\n") end

-- Reading -------------------------------------------------------------------------------------------------------------

local function readInput()
  local parts = {}
  while true do
    local data, reason = uv.fs_read(0, 65536, -1)
    if not data then usage("standard input cannot be read: %s", reason) end
    if data == "" then return table.concat(parts) end
    parts[#parts + 1] = data
  end
end

-- The apps of a configuration, in their normal form.
local function readConfig(word, run, overrides)
  local read = config.read(word, { cwd = uv.cwd(), resolve = contexts.resolve, warn = warn, input = readInput })
  local section = run.options.env
  local context = contexts.make{ cwd = read.folder, section = section, home = run.home, warn = warn }
  local made, names = {}, {}
  for i, raw in ipairs(read.raw) do
    for field, value in pairs(overrides or {}) do raw[field] = value end
    made[i] = appRules.normalize(raw, context, config.label(read, raw, i))
    if names[made[i].name] then usage("%s: two apps are named '%s'", read.label, made[i].name) end
    names[made[i].name] = true
  end
  local unknown = section and #made > 0
  for _, each in ipairs(made) do
    if not each.unknownSection then unknown = false end
    each.unknownSection = nil
  end
  if unknown then warn(("no app has an env_%s"):format(section)) end
  return made, read.label
end

-- `--only a,b`
local function only(list, run, label)
  local text = run.options.only
  if not text then return list end
  local byName, chosen = {}, {}
  for _, each in ipairs(list) do byName[each.name] = each end
  for name in text:gmatch("[^,]+") do
    if not byName[name] then
      error({ exit = 3, code = "unknown-target", message = ("%s has no app '%s'"):format(label, name) }, 0)
    end
    chosen[#chosen + 1] = byName[name]
  end
  return chosen
end

local function fromConfig(word, run, overrides)
  local list, label = readConfig(word, run, overrides)
  return only(list, run, label)
end

-- Words that are configurations, and other words.
local function split(words)
  local configs, targets = {}, {}
  for _, word in ipairs(words) do
    if config.isName(word) then configs[#configs + 1] = word else targets[#targets + 1] = word end
  end
  return configs, targets
end

-- Calling -------------------------------------------------------------------------------------------------------------

local function callerEnvironment()
  local env = {}
  for name, value in pairs(process.env) do env[name] = value end
  return env
end

-- What happens meanwhile, for people at a terminal.
local function showProgress(connection, run)
  if run.options.json or uv.guess_handle(2) ~= "tty" then return end
  connection:stream("events", {}, function(event)
    if event.event == "connected" then return end
    local what = event.event == "reload" and "reload: " .. tostring(event.phase) or event.event
    local which = event.number and ("%s %d"):format(event.name, event.number) or event.name
    io.stderr:write(("%s: %s%s\n"):format(which, what, event.reason and (" (%s)"):format(event.reason) or ""))
  end, function() end)
end

-- The caller's environment goes once, not with each app.
local function shareBase(args)
  for _, app in ipairs(args.apps or {}) do
    if not app.filterEnv then
      args.base = args.base or app.base
      app.base = nil
    end
  end
end

local function call(run, verb, args)
  shareBase(args)
  local connection = run.connect{ start = true }
  args.wait = run.options.wait ~= false
  if args.wait then showProgress(connection, run) end
  local result = connection:call(verb, args, function(event)
    if event.note then io.stderr:write("lrun: ", event.note, "\n") end
  end)
  connection:close()
  return result
end

local function print(run, rows)
  if run.options.json then show.json(rows) else show.list(rows) end
end

-- start ---------------------------------------------------------------------------------------------------------------

local function isFile(word) return uv.fs_stat(contexts.resolve(uv.cwd(), word)) ~= nil end

-- The names of apps that there are; asks only where a word is no file.
local function isKnown(run, word)
  local connection = run.connect{ start = false }
  local documents
  if connection then
    documents = connection:call("list", {})
    connection:close()
  else
    documents = show.fromFiles(run.home)
  end
  return #require("lrun.manager.targets").match(documents, word) > 0 or word == "all"
end

local function fromWord(word, run, label)
  local raw = { script = word }
  for field, value in pairs(run.options.fields) do raw[field] = value end
  raw.args = run.options.rest
  local context = contexts.make{ cwd = uv.cwd(), section = nil, home = run.home, warn = warn }
  return appRules.normalize(raw, context, label)
end

function apps.start(run)
  local words = run.options.words
  if #words == 0 then usage("start: what shall be started? lrun start FILE, \"COMMAND\", CONFIG or NAME; see lrun start --help") end
  local list, targets = {}, {}
  for _, word in ipairs(words) do
    if config.isName(word) then
      for _, each in ipairs(fromConfig(word, run, run.options.fields)) do list[#list + 1] = each end
    elseif isFile(word) then list[#list + 1] = fromWord(word, run, word)
    elseif isKnown(run, word) then targets[#targets + 1] = word
    else list[#list + 1] = fromWord(word, run, word) end
  end
  if #words > 1 and run.options.fields.name then usage("start: --name names one app, and there are %d", #words) end
  print(run, call(run, "start", { apps = list, targets = targets, force = run.options.force or false }))
end

-- The others ----------------------------------------------------------------------------------------------------------

--- Whether targets mean nothing, where no daemon runs: none is started for that. Throws for one that is unknown.
function apps.isNothing(run, targets)
  local connection = run.connect{ start = false }
  if connection then
    connection:close()
    return false
  end
  return #require("lrun.manager.cli.asking").select(show.fromFiles(run.home), targets) == 0
end

local function targetVerb(verb)
  return function(run)
    local words = run.options.words
    if #words == 0 then usage("%s: which app? lrun %s NAME, a pattern, #ID, all, or a configuration", verb, verb) end
    local configs, targets = split(words)
    local list = {}
    for _, word in ipairs(configs) do
      for _, each in ipairs(fromConfig(word, run)) do list[#list + 1] = each end
    end
    local args = { targets = targets, name = verb == "restart" and run.options.fields.name or nil }
    if #configs > 0 then
      if #targets > 0 then usage("%s: either configurations or names", verb) end
      args.apps, args.targets = list, nil
    end
    if args.targets and apps.isNothing(run, targets) then return print(run, require("lrun.manager.wire").list()) end
    if run.options["update-env"] then args.env = callerEnvironment() end
    print(run, call(run, verb, args))
  end
end

apps.stop = targetVerb("stop")
apps.restart = targetVerb("restart")
apps.reload = targetVerb("reload")
apps.delete = targetVerb("delete")
apps.reset = targetVerb("reset")
apps.flush = targetVerb("flush")
apps.reopen = targetVerb("reopen")

for _, verb in ipairs{ "flush", "reopen" } do
  local inner = apps[verb]
  apps[verb] = function(run)
    if #run.options.words == 0 then run.options.words = { "all" } end
    inner(run)
  end
end

function apps.apply(run)
  local words = run.options.words
  if #words == 0 then
    for _, name in ipairs(config.DEFAULTS) do
      if isFile(name) then
        words = { name }
        break
      end
    end
  end
  if #words == 0 then usage("apply: which configuration? there is no lrun.config.lua here") end
  local list = {}
  for _, word in ipairs(words) do
    if not config.isName(word) then usage("apply: '%s' is no configuration: its name ends in .json, .config.lua or .config.js", word) end
    for _, each in ipairs(fromConfig(word, run)) do list[#list + 1] = each end
  end
  local args = { apps = list, dryRun = run.options["dry-run"] or false, prune = run.options.prune or false }
  local difference
  if args.dryRun then
    local connection = run.connect{ start = false }
    if connection then
      difference = connection:call("apply", args)
      connection:close()
    else
      difference = apps.differenceFromFiles(run, list, args.prune)
    end
  else
    difference = call(run, "apply", args)
  end
  if run.options.json then return show.json(difference) end
  local signs = { { "added", "+" }, { "changed", "~" }, { "removed", "-" }, { "unchanged", "=" } }
  for _, sign in ipairs(signs) do
    for _, name in ipairs(difference[sign[1]]) do io.stdout:write(sign[2], " ", name, "\n") end
  end
end

--- What `apply` would do where no daemon runs.
function apps.differenceFromFiles(run, list, prune)
  local wire = require("lrun.manager.wire")
  local difference = { added = wire.list(), changed = wire.list(), removed = wire.list(), unchanged = wire.list() }
  local _, records = show.fromFiles(run.home)
  local known, named = {}, {}
  for _, record in ipairs(records) do known[record.app.name] = record end
  for _, each in ipairs(list) do
    named[each.name] = true
    table.insert(difference[known[each.name] and "changed" or "added"], each.name)
  end
  for name in pairs(known) do
    if prune and not named[name] then table.insert(difference.removed, name) end
  end
  return difference
end

function apps.scale(run)
  local words = run.options.words
  if #words ~= 2 then usage("scale: lrun scale NAME N, +N or -N") end
  if not words[2]:find("^[+-]?%d+$") then usage("scale: '%s' is no number: write N, +N or -N", words[2]) end
  local result = call(run, "scale", { target = words[1], count = words[2] })
  if result.note then io.stderr:write("lrun: ", result.note, "\n") end
  print(run, result.rows)
end

function apps.signal(run)
  local words = run.options.words
  if #words < 2 then usage("signal: lrun signal SIGNAL TARGET…") end
  local values, fields = require("lrun.manager.values"), require("lrun.manager.fields")
  local signal, problem = values.read(fields.find("stopSignal"), words[1], contexts.system())
  if not signal then usage("signal: %s", problem) end
  local result = call(run, "signal", { signal = signal, targets = { unpack(words, 2) } })
  if run.options.json then show.json(result) end
end

function apps.send(run)
  local words = run.options.words
  if #words ~= 2 then usage("send: lrun send NAME LINE (quote a line of several words)") end
  local result = call(run, "send", { target = words[1], line = words[2] })
  if run.options.json then show.json(result) end
end

apps.readConfig = fromConfig
apps.fromWord = fromWord
apps.isFile = isFile
apps.call = call
apps.print = print
apps.client = client

return apps
