--- The way to a process: SIGUSR1, then its report, then its socket.
local uv = require("luv")
local await = require("await")
local calls = require("lrun.manager.calls")
local home = require("lrun.manager.home")
local processes = require("lrun.probe.cli.process")
local report = require("lrun.probe.cli.report")

local connect = {}

local HEARD = 1500                  -- ms in which any process that can has written its report
local PENDING = 8000                -- and one that gets no processor
local PAUSE = 5

local function fail(code, text, hint) error({ exit = 1, code = code, message = text, hint = hint }, 0) end

local function sleep(ms) await(function(done)
  local timer = uv.new_timer()
  timer:start(ms, 0, function()
    timer:close()
    done()
  end)
end) end

local function signal(process)
  local ok, _, code = uv.kill(process.pid, "sigusr1")
  if ok then return end
  if code == "ESRCH" then fail("unknown-target", ("process %d has ended"):format(process.pid)) end
  fail("forbidden", ("process %d cannot be sent a signal: %s"):format(process.pid, code))
end

connect.sleep = sleep

--- Asks a process for its report.
---@param process ProbedProcess
---@return ProbeReport? report nil: it does not hear: only the kernel knows
function connect.report(process)
  local since, folders = uv.hrtime(), processes.folders(process)
  signal(process)
  while true do
    local found = report.take(process, folders, since)
    if found and found.state == "forbidden" then
      fail("forbidden", ("process %d may not be looked into: it was started with --no-inspect or LRUN_INSPECT=0"):format(process.pid))
    end
    if found then return found end
    local waited = (uv.hrtime() - since) / 1e6
    local now = processes.look(process.pid)
    if not now or now.state == "Z" then fail("unknown-target", ("process %d has ended"):format(process.pid)) end
    if waited > HEARD and not now.isPending then
      fail("deaf", ("process %d takes SIGUSR1 for itself (process:on(\"SIGUSR1\")), or has no folder for its socket: %s"):format(
        process.pid, table.concat(folders, " or ")))
    end
    if waited > (now.state == "R" and PENDING or HEARD) then return nil end
    sleep(PAUSE)
  end
end

local function connectTo(folder, name) return await(function(done) home.connect(folder, name, done) end) end

-- Of a process that interprets Lua code its hook tells more than its handler.
local function better(process, found, since)
  for _ = 1, 40 do
    if found.state ~= "interpreter" and found.state ~= "compiler" then break end
    sleep(PAUSE)
    found = report.take(process, { found.folder }, since) or found
  end
  return found
end

--- The report of a process that does not return, once its hook has told more.
---@param process ProbedProcess
---@return ProbeReport?
function connect.settled(process)
  local since = uv.hrtime()
  local found = connect.report(process)
  return found and better(process, found, since)
end

--- Connects to a process.
---@param process ProbedProcess
---@param patience number ms for it to come back to its loop
---@return Calls? connection nil when it did not
---@return ProbeReport? report where it was when it was asked; without a connection, where it is; nil when it does not hear
function connect.open(process, patience)
  local since = uv.hrtime()
  local found = connect.report(process)
  if not found then return nil, nil end
  local deadline = uv.hrtime() + patience * 1e6
  local name, who = ("%d.sock"):format(process.inner), ("process %d"):format(process.pid)
  repeat
    local pipe = connectTo(found.folder, name)
    local left = math.max(1, (deadline - uv.hrtime()) / 1e6)
    local connection = pipe and calls.greet(pipe, who, math.ceil(left))
    if connection then
      return connection, better(process, found, since)
    end
    if not processes.look(process.pid) then fail("unknown-target", ("process %d has ended"):format(process.pid)) end
    sleep(PAUSE)
  until uv.hrtime() > deadline
  return nil, connect.settled(process)
end

--- Connects, or throws what keeps the process from answering.
---@param process ProbedProcess
---@return Calls connection
---@return ProbeReport report
function connect.must(process)
  local connection, found = connect.open(process, 5000)
  if connection then return connection, found end
  if not found then fail("deaf", ("process %d hears no signal: %s"):format(process.pid, processes.kernel(process.pid))) end
  local lines = report.lines(process, found.frames)
  fail("busy", ("process %d does not return to its loop%s"):format(process.pid, lines[1] and ": it is at " .. lines[1]:gsub("    | .*$", "") or ""),
    ("lrun stack %d tells more"):format(process.pid))
end

return connect
