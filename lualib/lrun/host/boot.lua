--- The main coroutine: takes the options that runtime/host/options.c read, sets the globals, the channel and the cluster up,
--- then runs the steps (-l, -e, -p …), the script, or the REPL.
local uv = require("luv")
local process = require("process")
local programs = require("lrun.host.modules")

-- How many lines of help a screen holds is tested: keep it under 24.
local HELP = [[
Usage: lrun [options] script.lua [arguments]
       lrun [options] -          run standard input
       lrun                      REPL on a terminal, else run standard input

  -e CODE                run a string; may repeat
  -p CODE                run an expression and print its value
  -i                     REPL after the script
  -l NAME, -r NAME       require a module first
  -c FILE                check syntax, run nothing
  -j CMD, -O...          LuaJIT's own options
  --title NAME           process title
  --completion SHELL     a script that completes these options: bash, zsh, fish
  -v, --version          version, with the libraries' versions
  -h, --help             this help
  --                     end of options
]]

local function die(code, ...)
  io.stdout:flush()
  io.stderr:write("lrun: ", ...)
  io.stderr:write("\n")
  process.exit(code)
end

local function printVersion()
  local versions = process.versions
  print(("lrun %s (LuaJIT %s, libuv %s, luv %s, llhttp %s)"):format(
    versions.lrun, versions.luajit, versions.uv, versions.luv, versions.llhttp))
end

-- Reads a script; ends the process as a shell would when there is none: 127 missing, 126 unreadable.
local function readScript(path)
  local stat, _, code = uv.fs_stat(path)
  if not stat then die((code == "ENOENT" or code == "ENOTDIR") and 127 or 126, ("cannot run '%s': %s"):format(path,
    code == "ENOENT" and "no such file" or tostring(select(2, uv.fs_stat(path))):gsub("^%w+: ", ""):gsub(":.*$", ""))) end
  if stat.type == "directory" then die(126, ("cannot run '%s': it is a directory"):format(path)) end
  local file, reason = io.open(path, "rb")
  local text = file and file:read("*a")
  if file then file:close() end
  if not text then die(126, ("cannot run '%s': %s"):format(path, (reason or "cannot be read"):gsub("^.-: ", ""))) end
  return text
end

-- Standard input up to its end, or to a line `__END__`: what comes after that line is the script's to read.
local function readInput()
  local text, err = require("lrun.core.script_input").script()
  if not text then die(126, "cannot read standard input: ", err.message) end
  return (text:gsub("\n__END__$", "\n"))
end

-- A byte order mark and a #! line are no Lua; the line stays as an empty one, so that numbers are right.
local function compile(text, chunkName)
  text = text:gsub("^\239\187\191", "", 1)
  if text:byte(1) == 35 then text = text:gsub("^[^\n]*", "", 1) end
  local chunk, err = loadstring(text, chunkName)
  if not chunk then die(1, require("lrun.host.hints").below(err, text)) end
  return chunk
end

local function scriptPath(path)
  if uv.fs_stat(path) == nil and uv.fs_stat(path .. ".lua") then return path .. ".lua" end
  return path
end

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

local function loadJitModule(name)
  local ok, module = pcall(programs.require, "jit." .. name)
  if not ok then die(2, ("unknown LuaJIT command or jit.* modules not installed: -j %s"):format(name)) end
  return module
end

local steps = {}

steps["-l"] = function(name) programs.require(name) end

steps["-e"] = function(code, options) compile(code, "=(command line)")(unpack(options.args)) end

steps["-p"] = function(code, options)
  local chunk = loadstring("return " .. code, "=(command line)") or compile(code, "=(command line)")
  local results = { n = 0 }
  local function keep(...) results = { n = select("#", ...), ... } end
  keep(chunk(unpack(options.args)))
  local inspect = require("inspect").inspect
  for i = 1, results.n do
    local value = results[i]
    results[i] = type(value) == "string" and value or inspect(value)
  end
  print(table.concat(results, "\t", 1, results.n))
end

steps["-j"] = function(command)
  local name, arguments = command:match("^([^=]*)=?(.*)$")
  if jit[name] and name ~= "opt" then return jit[name]() end
  local list = {}
  for argument in arguments:gmatch("[^,]+") do list[#list + 1] = argument end
  loadJitModule(name).start(unpack(list))
end

steps["-O"] = function(flags)
  local list = {}
  for flag in flags:gmatch("[^,]+") do list[#list + 1] = flag end
  local ok, err = pcall(programs.require("jit.opt").start, unpack(#list > 0 and list or { 3 }))
  if not ok then die(2, tostring(err)) end
end

local function prepare(options)
  if options.title then process.title = options.title end
  require("lrun.host.globals").install(process)
  programs.install(options.script)
  io.stdout:setvbuf("line")
  if process.env.LRUN_CHANNEL_FD or process.env.NODE_CHANNEL_FD then require("lrun.ipc.channel").start() end
  if process.env.LRUN_CLUSTER_ID then require("cluster") end
  require("lrun.core.vm").collect()
end

local function runScript(options)
  local fromInput = options.script == "-"
  local path = not fromInput and scriptPath(options.script)
  local absolute = path and programs.absolute(path) or fromInput and "-"
  setArguments(options, absolute)
  prepare(options)
  for _, step in ipairs(options.steps) do steps[step.kind](step.value, options) end
  local chunk = fromInput and compile(readInput(), "=stdin") or compile(readScript(path), "@" .. path)
  options.text = nil
  chunk(unpack(options.args))
end

local function hasCode(options)
  for _, step in ipairs(options.steps) do
    if step.kind == "-e" or step.kind == "-p" then return true end
  end
  return false
end

local function runPromptWorker(options)
  setArguments(options)
  prepare(options)
  require("lrun.repl.worker").run()
end

local function run(options)
  if options.script == "lrun:worker" then return runPromptWorker(options) end
  if options.script then return runScript(options) end
  setArguments(options)
  prepare(options)
  for _, step in ipairs(options.steps) do steps[step.kind](step.value, options) end
end

-- The prompt comes after the script, whatever became of it.
local function runThenPrompt(options)
  local uncaught = require("lrun.host.uncaught")
  uncaught.keepAlive()
  xpcall(run, uncaught.report, options)
  require("repl").start()
end

local modes = {}

function modes.help() io.write(HELP) end
function modes.version() printVersion() end
function modes.completion(options) io.write(require("lrun.host.completion")[options.shell]) end

function modes.check(options)
  if options.script == "-" then compile(readInput(), "=stdin") else compile(readScript(options.script), "@" .. options.script) end
end

function modes.run(options)
  if not options.script and not hasCode(options) and not options.interactive then
    if uv.guess_handle(0) == "tty" then options.interactive = true else options.script = "-" end
  end
  if options.interactive then runThenPrompt(options) else run(options) end
end

return function(options) modes[options.mode](options) end
