--- `lrun stack`: where a process is. One that comes back to its loop tells itself what its coroutines await; of one that does not
--- the report of its signal handler tells, or the kernel.
local connect = require("lrun.probe.cli.connect")
local processes = require("lrun.probe.cli.process")
local report = require("lrun.probe.cli.report")

local stack = {}

local PATIENCE = 700                -- ms

local function titleOf(process)
  local line = processes.read(("/proc/%d/cmdline"):format(process.pid)) or ""
  return (line:gsub("%z+$", ""):gsub("%z", " "):gsub("%c", "?"):sub(1, 100))
end

local function write(lines)
  for _, line in ipairs(lines) do io.stdout:write("\t", line, "\n") end
end

local STATES = {
  trace = "runs machine code that LuaJIT has compiled", lua = "runs Lua code, interpreted", c = "is in a C function",
  collector = "collects garbage", compiler = "compiles a trace", interpreter = "runs Lua code, interpreted",
  unknown = "does not return to its loop",
}

local TOLD = {
  trace = "the trace that it is in, read from LuaJIT's memory: the innermost line is where the trace begins",
  lua = "the interrupt: a hook at the next instruction", c = "LuaJIT's stack, read by the signal's handler",
}

-- A process that does not answer.
local function printBusy(process, found)
  local text = STATES[found.state]
  if found.trace and found.begins then
    text = ("%s (trace %d, which begins at %s:%d)"):format(text, found.trace, found.begins.source, found.begins.line)
  end
  io.stdout:write(("process %d %s, and does not return to its loop\n"):format(process.pid, text))
  local lines = report.lines(process, found.frames)
  write(lines)
  if #lines == 0 or found.state == "c" then io.stdout:write("the kernel: ", processes.kernel(process.pid), "\n") end
  io.stdout:write("told by: ", #lines == 0 and "the kernel" or TOLD[found.state] or TOLD.c, "\n")
end

local function printWaiting(process, answer, found)
  io.stdout:write(("process %d (%s) answers from its loop\n"):format(process.pid, titleOf(process)))
  local lines = report.lines(process, found.frames)
  if #lines > 0 and (found.state == "lua" or found.state == "trace") then
    io.stdout:write("when it was asked it ran\n")
    write(lines)
  end
  for _, each in ipairs(answer.coroutines) do
    local who = each.count == 1 and "a coroutine" or ("%d coroutines"):format(each.count)
    io.stdout:write(("%s, waiting%s\n"):format(who, each.awaits and " for " .. each.awaits or ""))
    write(each.frames)
  end
  if #answer.coroutines == 0 then io.stdout:write("no coroutine waits\n") end
  if answer.left > 0 then io.stdout:write(("… and %d more places\n"):format(answer.left)) end
  if not answer.isWhole then io.stdout:write("not all of its memory was looked at: it is large\n") end
end

--- The command.
function stack.run(run)
  local process = require("lrun.probe.cli.target").find(run)
  local connection, found = connect.open(process, PATIENCE)
  local answer
  if connection then
    answer = connection:call("stack", {})
    connection:close()
  end
  if run.options.json then
    return require("lrun.manager.cli.show").json{ pid = process.pid, returns = connection ~= nil, report = found, waiting = answer,
      kernel = not connection and processes.kernel(process.pid) or nil }
  end
  if answer then return printWaiting(process, answer, found) end
  if found then return printBusy(process, found) end
  io.stdout:write(("process %d hears no signal: %s\ntold by: the kernel\n"):format(process.pid, processes.kernel(process.pid)))
end

return stack
