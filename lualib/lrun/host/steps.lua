--- What runs before the script: -l NAME, -e CODE, -p CODE, -j CMD, -O FLAGS, in the order of the command line.
local process = require("process")
local programs = require("lrun.host.modules")

local steps = {}

local function die(code, text)
  io.stderr:write("lrun: ", text, "\n")
  process.exit(code)
end

local function compile(code)
  local chunk, err = loadstring(code, "=(command line)")
  return chunk or die(1, require("lrun.host.hints").below(err, code))
end

steps["-l"] = function(name) programs.require(name) end

steps["-e"] = function(code, options) compile(code)(unpack(options.args)) end

local function show(count, ...)
  local texts, inspect = {}, require("inspect").inspect
  for i = 1, count do
    local value = (select(i, ...))
    texts[i] = type(value) == "string" and value or inspect(value)
  end
  print(table.concat(texts, "\t", 1, count))
end

steps["-p"] = function(code, options)
  local chunk, err = require("lrun.repl.chunk").compile(code, "=(command line)")
  if not chunk then return die(1, require("lrun.host.hints").below(err, code)) end
  local function count(...) return select("#", ...), ... end
  show(count(chunk(unpack(options.args))))
end

-- Calls `f` when the process ends: also by Lua's os.exit, which asks nobody.
local function atEnd(f)
  local exit = os.exit
  process:on("exit", f)
  rawset(os, "exit", function(...)
    f()
    exit(...)
  end)
end

steps["-j"] = function(command)
  local name, arguments = command:match("^([^=]*)=?(.*)$")
  if jit[name] and name ~= "opt" then return jit[name]() end
  local list = {}
  for argument in arguments:gmatch("[^,]+") do list[#list + 1] = argument end
  local ok, module = pcall(programs.require, "jit." .. name)
  if not ok then die(2, ("unknown LuaJIT command or jit.* modules not installed: -j %s"):format(name)) end
  module.start(unpack(list))
  if module.stop then atEnd(module.stop) end           -- -jp: prints what it found
end

steps["-O"] = function(flags)
  local list = {}
  for flag in flags:gmatch("[^,]+") do list[#list + 1] = flag end
  local ok, err = pcall(programs.require("jit.opt").start, unpack(#list > 0 and list or { 3 }))
  if not ok then die(2, tostring(err)) end
end

--- Runs them all.
---@param options ReadOptions
local function run(options)
  for _, step in ipairs(options.steps) do steps[step.kind](step.value, options) end
end

return { run = run }
