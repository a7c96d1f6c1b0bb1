--- The prompt: reads a line, runs it as a coroutine, prints what it returns, while the loop goes on.
---
--- A line → complete Lua? else more lines → a chunk on a coroutine of its own, guarded so that Ctrl-C stops it → its values
--- are printed → the next prompt. A chunk that awaits gives the loop its time; the prompt returns when it is done, or
--- when Ctrl-C gives it up.
local vm = require("lrun.core.vm")
local interrupts = require("lrun.core.interrupt")
local chunks = require("lrun.repl.chunk")
local complete = require("lrun.repl.complete")
local histories = require("lrun.repl.history")
local consoles = require("lrun.repl.console")
local process = require("process")
local programs = require("lrun.host.modules")

local repl = {}

local CHUNK_NAME = "=repl"
local VALUES_KEPT = 100             -- _1, _2, …: older ones are let go

local HELP = [[
.editor        several lines at once: Ctrl-D runs them, Ctrl-C drops them
.exit          leave (so does Ctrl-D)
.help          this text
.load FILE     run a file here
.save FILE     write what was typed in this session to a file

_ is the last value, _1, _2, … all values so far. The built-in modules are there without require:
  ]]

local console, history
local colors = false
local pending                       -- lines of an input that is not complete yet
local editor = false                -- .editor: all lines are one input
local session = {}                  -- inputs, for .save
local valueCount = 0
local running                       -- the chunk that the prompt waits for

local function out(...) io.stdout:write(...) end

local function promptText() return editor and "" or pending and "... " or "> " end

local function prompt()
  running = nil
  console.prompt(promptText())
end

-- Evaluating ----------------------------------------------------------------------------------------------------------

local function compile(source) return chunks.compile(source, CHUNK_NAME) end

local function remember(value)
  valueCount = valueCount + 1
  rawset(_G, "_", value)
  rawset(_G, "_" .. valueCount, value)
  rawset(_G, "_" .. valueCount - VALUES_KEPT, nil)
end

local function show(value)
  local ok, text = pcall(require("inspect").inspect, value, { colors = colors, breakLength = console.columns() })
  return ok and text or "(cannot be shown: " .. tostring(text) .. ")"
end

local function printValues(count, ...)
  if count == 0 then return end
  local texts, long = {}, false
  for i = 1, count do
    local value = (select(i, ...))
    texts[i] = show(value)
    long = long or texts[i]:find("\n", 1, true)
    remember(value)
  end
  out(table.concat(texts, long and "\n" or "\t"), "\n")
end

local describeError = vm.handler(function(thread, err)
  return require("lrun.host.uncaught").describe(thread, err, { colors = colors, short = true })
end)

-- Reports the outcome once; a chunk that Ctrl-C gave up may still end later.
local function finish(chunk, ok, ...)
  if chunk.abandoned then return end
  chunk.done = true
  if ok then
    printValues(select("#", ...), ...)
  else
    local text = (...)
    if console.editing and text:find("interrupted!", 1, true) then out("\n") end -- the terminal showed ^C
    out(text, "\n")
  end
end

-- Compiled loops do not notice Ctrl-C: while a chunk runs no compiled code does, and what was typed is never compiled.
local function interpreted(f, ...)
  local compiling = jit.status()
  jit.off()
  jit.flush()
  local interrupted = interrupts.guard(f, ...)
  if interrupted then console.forget() end
  if compiling then jit.on() end
  return interrupted
end

local on = {}                       -- events of the console

local function evaluate(f)
  local chunk = {}
  running = chunk
  jit.off(f, true)
  console.release()
  local interrupted = interpreted(function()
    finish(chunk, xpcall(f, describeError))
    if chunk.suspended and not chunk.abandoned then prompt() end
  end)
  if chunk.done then return prompt() end
  chunk.suspended = true
  if interrupted then on.interrupt() end
end

local function addToHistory(entry)
  if history:add(entry) then console.history(history.entries) else console.remember(entry) end
end

local scope                         -- locals of what was typed

local function take(lines)
  local source = table.concat(lines, "\n")
  addToHistory(source)
  local chunk, err = compile(source)
  if not chunk then
    out(require("lrun.host.hints").below(err, source), "\n")
    return prompt()
  end
  session[#session + 1] = source
  evaluate(scope.chunk(source, compile))
end

-- Commands ------------------------------------------------------------------------------------------------------------

local commands = {}

function commands.help()
  out(HELP, table.concat(complete.modules(), ", "), "\n")
  prompt()
end

function commands.exit() process.exit() end

function commands.load(path)
  if path == "" then
    out("name a file: .load FILE\n")
    return prompt()
  end
  local file, reason = io.open(path, "rb")
  local text = file and file:read("*a")
  if file then file:close() end
  if not text then
    out(("cannot load '%s': %s\n"):format(path, reason and reason:gsub("^.*: ", "") or "it is no file"))
    return prompt()
  end
  text = text:gsub("^\239\187\191", ""):gsub("^#[^\n]*", "")
  local chunk, err = loadstring(text, "@" .. path)
  if not chunk then
    out(require("lrun.host.hints").below(err, text), "\n")
    return prompt()
  end
  session[#session + 1] = text
  require("lrun.repl.worker").loaded[path] = true
  evaluate(chunk)
end

-- An input as it may stand in a file between others: an expression is no statement, a `return` ends a chunk, and what starts
-- with a parenthesis goes on with the line above.
local function asStatements(source)
  local expression = source:match("^%s*=(.*)$") or not load(source, CHUNK_NAME, "t") and source
  if expression then return "_ = " .. expression end
  if not loadstring(source .. "\ndo end") then return "_ = (function()\n" .. source .. "\nend)()" end
  if source:find("^%s*%(") then return "do " .. source .. "\nend" end
  return source
end

function commands.save(path)
  if path == "" then
    out("name a file: .save FILE\n")
    return prompt()
  end
  local file, reason = io.open(path, "wb")
  local ok = file ~= nil
  for _, source in ipairs(session) do ok = ok and file:write(asStatements(source), "\n") end
  if file then ok = file:close() and ok end
  out(ok and ("saved to %s\n"):format(path) or ("cannot save to '%s': %s\n"):format(path, (reason or "?"):gsub("^.*: ", "")))
  prompt()
end

function commands.editor()
  editor, pending = true, {}
  out("-- several lines: Ctrl-D runs them, Ctrl-C drops them\n")
  prompt()
end

local function command(line)
  local name, argument = line:match("^%s*%.(%a+)%s*(.-)%s*$")
  if not name then return false end
  if commands[name] then
    history:add(line)
    console.remember(line)
    commands[name](argument)
  else
    out(("unknown command .%s; .help lists them\n"):format(name))
    prompt()
  end
  return true
end

-- Events of the console -----------------------------------------------------------------------------------------------

function on.line(line)
  if not pending and command(line) then return end
  if not pending and line:find("^%s*$") then return prompt() end
  pending = pending or {}
  pending[#pending + 1] = line
  if editor then return prompt() end
  local _, _, incomplete = compile(table.concat(pending, "\n"))
  if incomplete then return prompt() end
  local lines = pending
  pending = nil
  take(lines)
end

function on.eof()
  out("\n")
  if not editor then process.exit() end
  local lines = pending
  pending, editor = nil, false
  if #lines > 0 then take(lines) else prompt() end
end

function on.gone() process.exit() end

local hinted = false

function on.interrupt()
  if running then
    running.abandoned = true
    out("interrupted: the chunk that waited was given up\n")
    pending = nil
    return prompt()
  end
  console.cancel()
  if not pending and not hinted then
    hinted = true
    out("(Ctrl-D or .exit leaves)\n")
  end
  pending, editor = nil, false
  prompt()
end

function on.complete(before)
  local ok, partial, candidates = pcall(complete.complete, before, scope.environment, scope.names())
  if not ok or #candidates == 0 then return end
  local common = complete.common(candidates)
  if #common > #partial then return console.insert(common:sub(#partial + 1)) end
  if #candidates > 1 then
    out(require("lrun.repl.columns").format(candidates, console.columns()))
    io.stdout:flush()
  end
end

local move                          -- to older and newer inputs

function on.older(before, after) move(-1, before, after) end
function on.newer(before, after) move(1, before, after) end

function on.toomuch()
  out("more than 1 MiB was pasted: nothing of it was taken\n")
end

local searchKey

function on.search(before)
  searchKey = require("lrun.repl.search").start(console, history.entries, promptText(), before)
end

function on.key(key) searchKey(key) end

-- Start ---------------------------------------------------------------------------------------------------------------

-- The built-in modules as globals, loaded when first used.
local function offerModules()
  local names = {}
  for _, name in ipairs(complete.modules()) do names[name] = true end
  local meta = getmetatable(_G) or {}
  local before = meta.__index
  meta.__index = function(globals, key)
    if names[key] then
      local module = programs.require(key)
      rawset(globals, key, module)
      return module
    end
    if type(before) == "function" then return before(globals, key) end
    return before and before[key]
  end
  setmetatable(_G, meta)
end

-- Standard input is the prompt's: a second reader would take its keys away.
local function ownInput()
  getmetatable(process).__lazy.stdin = function()
    error(require("errors").coded("ERR_INVALID_STATE",
      "the prompt reads standard input: put what reads process.stdin into a file, and run it with lrun FILE"), 0)
  end
end

--- Starts the prompt on standard input and output. It ends the process when it is left.
function repl.start()
  if console then return end
  colors = require("lrun.host.colors").wanted(1)
  offerModules()
  local problem
  history, problem = histories.open()
  scope = require("lrun.repl.locals").new()
  move = require("lrun.repl.recall").new(function() return history.entries end,
    function(line) console.show(promptText(), line) end)
  console = consoles.open(function(kind, ...) on[kind](...) end)
  ownInput()
  require("lrun.host.uncaught").keepAlive()
  require("lrun.repl.worker").atPrompt = true
  if console.editing then
    local versions = process.versions
    out(("lrun %s (LuaJIT %s, libuv %s), .help tells more\n"):format(versions.lrun, versions.luajit, versions.uv))
  end
  if problem then out(problem, "\n") end
  console.history(history.entries)
  vm.enter(prompt)
end

return repl
