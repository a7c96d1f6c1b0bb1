--- `lrun attach`: a prompt whose inputs run in another process (lrun/probe/session.lua). Lines → complete Lua? → a call → its text →
--- the next prompt. What the process prints is shown when it comes. On a pipe there is no prompt, and the end of the input is
--- the end.
local uv = require("luv")
local chunks = require("lrun.repl.chunk")
local complete = require("lrun.repl.complete")
local connect = require("lrun.probe.cli.connect")
local consoles = require("lrun.repl.console")

local attach = {}

local SLOW = 5000                   -- ms after which it is said how to stop an input
local PROMPT = 200                  -- ms after which one that had awaited is asked by its signal
local DEAF = 2000                   -- ms in which an input that is stopped should have ended

local HELP = [[
.exit          leave; the process goes on (so does Ctrl-D)
.help          this text

Inputs run in the process: its globals, the modules that it has loaded (package.loaded), `await`. Locals are this prompt's.
_ is the last value. Ctrl-C stops an input that does not end.
]]

local process, connection, console, history, move
local colors = false
local pending, running
local searchKey

local function out(...) io.stdout:write(...) end

local function promptText() return not console.editing and "" or pending and "... " or ("%d> "):format(process.pid) end

local function prompt() console.prompt(promptText()) end

local function leave(code)
  if connection then connection:close() end
  io.stdout:flush()
  require("process").exit(code)
end

local function say(text) io.stderr:write("lrun: ", text, "\n") end

local function after(ms, f)
  local timer = uv.new_timer()
  timer:start(ms, 0, f)
  return timer
end

-- The answer, or nil when the process is gone.
local function ask(call, args)
  local ok, answer = pcall(connection.call, connection, call, args)
  if ok then return answer end
  if type(answer) == "table" and answer.code == "gone" then return nil end
  return { text = type(answer) == "table" and answer.message or tostring(answer), failed = true }
end

local function gone()
  if connection.ended and connection.closing then return end
  if console.editing then out("\n") end
  say(("process %d has ended"):format(process.pid))
  leave(1)
end

local function evaluate(source)
  running = true
  console.release()
  local slow = after(SLOW, function() say("the input still runs: Ctrl-C stops it") end)
  local answer = ask("eval", { source = source, colors = colors, columns = console.columns() })
  slow:close()
  running = nil
  if not answer then return gone() end
  if answer.failed or (answer.count or 0) > 0 then out(answer.text, "\n") end
  prompt()
end

local function take(source)
  if console.editing then
    if history:add(source) then console.history(history.entries) else console.remember(source) end
  end
  evaluate(source)
end

local commands = {
  help = function()
    out(HELP)
    prompt()
  end,
  exit = function()
    connection.closing = true
    leave(0)
  end,
}

local on = {}                       -- events of the console

function on.line(line)
  local name = not pending and line:match("^%s*%.(%a+)%s*$")
  if name then
    if commands[name] then return commands[name]() end
    out(("unknown command .%s; .help lists them\n"):format(name))
    return prompt()
  end
  if not pending and line:find("^%s*$") then return prompt() end
  pending = pending or {}
  pending[#pending + 1] = line
  local source = table.concat(pending, "\n")
  local _, _, incomplete = chunks.compile(source, "=attach")
  if incomplete then return prompt() end
  pending = nil
  take(source)
end

function on.eof()
  if pending and not console.editing then
    local source = table.concat(pending, "\n")
    pending = nil
    return evaluate(source)         -- says what is wrong; the end comes again
  end
  if console.editing then out("\n") end
  commands.exit()
end

function on.gone() commands.exit() end

local function interrupt()
  connection.pipe:write('{"id":0,"call":"interrupt"}\n')
  after(PROMPT, function() if running then uv.kill(process.pid, "sigusr1") end end):unref()
  local timer = after(DEAF, function()
    if running then
      say(("it does not stop: it may be in a C function, or in code that LuaJIT has compiled; lrun stack %d tells, Ctrl-\\ leaves"):format(
        process.pid))
    end
  end)
  timer:unref()
end

function on.interrupt()
  if running then return interrupt() end
  console.cancel()
  pending = nil
  prompt()
end

function on.complete(before)
  local answer = ask("complete", { before = before })
  if not answer or answer.failed or #answer.candidates == 0 then return end
  local common = complete.common(answer.candidates)
  if #common > #answer.partial then return console.insert(common:sub(#answer.partial + 1), before) end
  if #answer.candidates > 1 then
    out(require("lrun.repl.columns").format(answer.candidates, console.columns()))
    io.stdout:flush()
  end
end

function on.older(before, after_) move(-1, before, after_) end
function on.newer(before, after_) move(1, before, after_) end
function on.toomuch() out("more than 1 MiB was pasted: nothing of it was taken\n") end

function on.search(before)
  searchKey = require("lrun.repl.search").start(console, history.entries, promptText(), before)
end

function on.key(key) searchKey(key) end

local function listen()
  connection:stream("output", {}, function(event)
    out(event.output)
    io.stdout:flush()
  end, function() if not connection.closing then gone() end end)
  connection.onLost = function(count) say(("%d pieces of what it printed are missing: they came too fast"):format(count)) end
end

--- The command.
function attach.run(run)
  process = require("lrun.probe.cli.target").find(run)
  connection = connect.must(process)
  colors = require("lrun.host.colors").wanted(1)
  history = require("lrun.repl.history").open()
  move = require("lrun.repl.recall").new(function() return history.entries end,
    function(line) console.show(promptText(), line) end)
  console = consoles.open(function(kind, ...) on[kind](...) end)
  if console.editing then
    out(("process %d, lrun %s; .help tells more, Ctrl-D leaves it running\n"):format(process.pid, connection.version))
    console.history(history.entries)
  end
  listen()
  prompt()
  require("await")(function() end)  -- until `leave`
end

return attach
