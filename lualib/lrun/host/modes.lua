--- What a command line may ask for but a script: help, version, completion, a check of syntax, the prompt, standard input.
local uv = require("luv")
local process = require("process")

local modes = {}

function modes.help() io.write(require("lrun.host.options").help()) end

function modes.version()
  local versions = process.versions
  print(("lrun %s (LuaJIT %s, libuv %s, luv %s, llhttp %s)"):format(
    versions.lrun, versions.luajit, versions.uv, versions.luv, versions.llhttp))
end

function modes.licenses() io.write((require("lrun.host.notices"))) end

function modes.completion(_, options) io.write(require("lrun.host.completion").script(options.shell)) end

function modes.check(boot, options)
  if options.script == "-" then return boot.compile(boot.readInput(), "=stdin") end
  boot.compile(boot.readScript(options.script), "@" .. options.script)
end

function modes.test(boot, options) boot.runModule(options, "lrun.host.test") end

-- The program reads files of variables itself, each time.
function modes.watch(boot, options)
  options.watched, options.script, options.envFiles, options.title = options.script, nil, nil, nil
  boot.runModule(options, "lrun.host.watch")
end

-- The prompt comes after the script, whatever became of it.
local function runThenPrompt(boot, options)
  local uncaught = require("lrun.host.uncaught")
  uncaught.keepAlive()
  xpcall(boot.run, uncaught.report, options)
  require("repl").start()
end

modes["run"] = function(boot, options)
  if not options.script and options.code == 0 and not options.interactive then
    if uv.guess_handle(0) == "tty" then options.interactive = true else options.script = "-" end
  end
  if options.interactive then runThenPrompt(boot, options) else boot.run(options) end
end

return { run = function(boot, options) modes[options.mode](boot, options) end }
