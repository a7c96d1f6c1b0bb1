--- The command line of the manager, and of what looks into a running process (lrun/probe): finds the verb, reads its options, does
--- it, and ends with its code.
---   0 what was asked for is so · 1 it is not · 2 usage or configuration · 3 no such target · 4 daemon out of reach · 5 time is up
local uv = require("luv")
local await = require("await")
local home = require("lrun.manager.home")
local nearest = require("lrun.manager.nearest")
local options = require("lrun.manager.cli.options")
local units = require("lrun.manager.units")
local verbs = require("lrun.manager.cli.verbs")

local main = {}

local TIMEOUT = 60000           -- ms

local function finish(code)
  io.stdout:flush()
  process.exit(code)
end

local function report(err, isJson)
  local exit, code, message, hint
  if type(err) == "table" and err.usage then
    exit, code, message = 2, "usage", err.usage
  elseif type(err) == "table" and err.message then
    exit, code, message, hint = err.exit or (err.code == 4 and 4) or 1, err.code, err.message, err.hint
    if code == 4 then code = "home" end
  else
    exit, code, message = 1, "internal", tostring(err)
  end
  if isJson then
    require("lrun.manager.cli.show").json{ error = { code = tostring(code), message = message, hint = hint } }
  else
    io.stderr:write("lrun: ", message, hint and (" (%s)"):format(hint) or "", "\n")
  end
  return exit
end

local function limit(run, isJson)
  local given = run.options.timeout
  local ms = TIMEOUT
  if given then
    local problem
    ms, problem = units.duration(given)
    if not ms then error({ usage = ("%s: --timeout: %s"):format(run.verb.name, problem) }, 0) end
  end
  local timed = false
  for _, option in ipairs(run.verb.options()) do if option.name == "timeout" then timed = true end end
  if not timed then return end
  local timer = uv.new_timer()
  timer:start(ms, 0, function()
    report({ exit = 5, code = "timeout", message = ("%s: time is up after %s; it is still under way"):format(run.verb.name,
      given or "60s") }, isJson)
    finish(5)
  end)
  timer:unref()
end

local function findVerb(name)
  local verb = verbs.find(name)
  if verb then return verb end
  for _, each in ipairs(require("lrun.probe.verbs").list) do if each.name == name then return each end end
  local names = {}
  for _, each in ipairs(verbs.list) do names[#names + 1] = each.name end
  error({ usage = ("unknown command '%s'%s"):format(name, nearest.hint(name, names)) }, 0)
end

local function perform(name, args)
  local verb = findVerb(name)
  for _, argument in ipairs(args) do
    if argument == "--" then break end
    if argument == "--help" or argument == "-h" then return io.stdout:write(verbs.help(verb)) end
  end
  local spec = { name = verb.name, options = verb.options(), numbers = verb.numbers }
  local run = { verb = verb, options = options.read(spec, args) }
  if run.options["wait-ready"] then run.options.fields.ready = "message" end
  main.isJson = run.options.json or verb.name == "jlist"
  if verbs.find(name) then run.home = home.path(process.env) end
  function run.connect(how)
    run.home = run.home or home.path(process.env)
    return require("lrun.manager.cli.client").open(run.home, how)
  end
  limit(run, main.isJson)
  require(verb.module)[verb.call](run)
end

--- `lrun help VERB`, or `lrun VERB --help`.
function main.help(args)
  local ok, err = pcall(function() io.stdout:write(verbs.help(findVerb(args[1]))) end)
  if not ok then finish(report(err, false)) end
end

--- Runs a verb to its end.
---@param args string[]
---@param invoked { verb: string }
function main.run(args, invoked)
  local name = invoked.verb
  for _, argument in ipairs(args) do if argument == "--json" then main.isJson = true elseif argument == "--" then break end end
  await.spawn(function()
    local ok, err = pcall(perform, name, args)
    if ok then return finish(process.exitCode or 0) end
    finish(report(err, main.isJson))
  end)
end

return main
