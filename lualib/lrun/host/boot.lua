--- The main coroutine: reads the command line, sets the globals, the channel and the cluster up, then runs the steps (-l, -e,
--- -p …), the script, a command of lrun's, or the prompt. The way of a plain script is here; what else the command line may ask
--- for is in lrun/host/modes.lua and steps.lua, which a plain script does not load.
local uv = require("luv")
local main = require("lrun.host.main")
local process = require("process")
local programs = require("lrun.host.modules")

local boot = {}

--- Ends the process with one line that says why.
---@param code integer
---@param ... string
function boot.die(code, ...)
  io.stderr:write("lrun: ", ...)
  io.stderr:write("\n")
  process.exit(code)
end

-- Why a file cannot be read, as a shell says it, and the exit code that a shell has for it: 127 missing, 126 unreadable.
local function whyNot(path)
  local stat, reason, code = uv.fs_stat(path)
  if not stat then
    local text = code == "ENOENT" and "no such file" or reason:gsub("^%w+: ", ""):gsub(":.*$", "")
    return text, (code == "ENOENT" or code == "ENOTDIR") and 127 or 126
  end
  if stat.type == "directory" then return "it is a directory", 126 end
end

-- A word that may be meant for one of our commands.
local function verbHint(word)
  local names = {}
  for i, verb in ipairs(require("lrun.host.verbs").list) do names[i] = verb.name end
  local found = require("lrun.manager.nearest").name(word, names)
  return found and ("; did you mean 'lrun %s'?"):format(found) or ""
end

--- The text of a script; without one the process ends as a shell would.
---@param path string
---@return string
function boot.readScript(path)
  local file, reason = io.open(path, "rb")
  local text = file and file:read("*a")
  if file then file:close() end
  if text then return text end
  local why, code = whyNot(path)
  if code == 127 and path:find("^%l+$") then why = why .. verbHint(path) end
  return boot.die(code or 126, ("cannot run '%s': %s"):format(path, why or (reason or "cannot be read"):gsub("^.-: ", "")))
end

--- The script on standard input.
---@return string
function boot.readInput()
  local text, err = require("lrun.host.script_input")()
  return text or boot.die(126, "cannot read standard input: ", err)
end

--- The chunk of a text. A byte order mark and a #! line are no Lua; the line stays as an empty one, so that numbers are right.
---@param text string
---@param chunkName string
---@return function
function boot.compile(text, chunkName)
  text = text:gsub("^\239\187\191", "", 1)
  if text:byte(1) == 35 then text = text:gsub("^[^\n]*", "", 1) end
  local chunk, err = loadstring(text, chunkName)
  return chunk or boot.die(1, require("lrun.host.hints").below(err, text))
end

local function scriptPath(path)
  if uv.fs_stat(path) == nil and uv.fs_stat(path .. ".lua") then return path .. ".lua" end
  return path
end

-- `script`: its absolute path, "-", or nil; then the arguments move up.
local function setArguments(options, script)
  process.argv0 = options.lrun
  local argv = { [0] = process.execPath, script }
  local arg = { [-1] = options.lrun, [0] = options.script }
  for i, argument in ipairs(options.args) do
    argv[script and i + 1 or i] = argument
    arg[i] = argument
  end
  process.argv = argv
  process.execArgv = options.execArgv
  rawset(_G, "arg", arg)
end

-- LuaJIT's numbers are the same in each process; a script that seeds them itself has its own.
local function seedRandom()
  local a, b, c, d, e, f = uv.random(6):byte(1, 6)
  math.randomseed(((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f)
end

-- What the environment, and files for it, ask for.
local function heedEnvironment(options)
  if options.envFiles then
    local err = require("lrun.host.env_file").load(options.envFiles)
    if err then boot.die(9, "--env-file: ", tostring(err)) end
  end
  local env = process.env
  if env.LRUN_WATCH then require("lrun.host.watched").start() end
  if env.LRUN_CHANNEL_FD or env.NODE_CHANNEL_FD then require("lrun.ipc.channel").start() end
  if env.LRUN_CLUSTER_ID then require("cluster") end
  if env.LRUN_HANDOVER then require("lrun.cluster.inherit").start() end
end

local function prepare(options)
  if options.title then process.title = options.title end
  require("lrun.host.globals").install(process)
  programs.install(options.script)
  seedRandom()
  heedEnvironment(options)
  require("lrun.core.vm").collect()
end

local function runSteps(options)
  if #options.steps > 0 then require("lrun.host.steps").run(options) end
end

local function runScript(options)
  local fromInput = options.script == "-"
  if not fromInput then options.script = scriptPath(options.script) end
  setArguments(options, fromInput and "-" or programs.absolute(options.script))
  prepare(options)
  runSteps(options)
  local chunk = fromInput and boot.compile(boot.readInput(), "=stdin")
    or boot.compile(boot.readScript(options.script), "@" .. options.script)
  chunk(unpack(options.args))
end

-- Processes of lrun's own: a worker that the prompt forked, the manager's.
local INTERNAL = {
  ["lrun:worker"] = "lrun.repl.worker", ["lrun:daemon"] = "lrun.manager.daemon.main", ["lrun:keeper"] = "lrun.manager.keeper.main",
}

--- Runs what has no script: one of these, a command of lrun's.
---@param options ReadOptions
---@param module string it has `run(args, options)`
function boot.runModule(options, module)
  options.script = nil
  setArguments(options)
  prepare(options)
  runSteps(options)
  require(module).run(options.args, options)
end

--- Runs what the command line names.
---@param options ReadOptions
function boot.run(options)
  if options.verb then return boot.runModule(options, require("lrun.host.verbs").find(options.verb).module) end
  if INTERNAL[options.script] then return boot.runModule(options, INTERNAL[options.script]) end
  if options.script then return runScript(options) end
  setArguments(options)
  prepare(options)
  runSteps(options)
end

-- A command line that begins with a file's name needs no table of options.
local function read(argv)
  local first = argv[1]
  if not first or first:byte() == 45 or not first:find("[./:]") then return require("lrun.host.options").read(argv) end
  return { lrun = argv[0], mode = "run", script = first, args = { unpack(argv, 2) }, execArgv = {}, steps = {}, code = 0 }
end

return function(argv)
  local options, err = read(argv)
  if not options then return boot.die(2, err, " (try 'lrun --help')") end
  main.began()
  if options.mode == "run" and options.script and not options.interactive then
    boot.run(options)
  else
    require("lrun.host.modes").run(boot, options)
  end
  main.ended()
end
