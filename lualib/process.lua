--- The process singleton, also the only global that lrun adds. Owns: exit and its events, signals, the nextTick queue,
--- the environment. Every function works with a dot and with a colon.
---
--- An end: `exit` (called, or the loop drained, or an uncaught error) → the `exit` event, once → `lrun.vm.exit`, which
--- lets the channels write what is queued.
local uv = require("luv")
local vm = require("lrun.core.vm")
local first = require("lrun.core.first")
local host = require("lrun.core.system")
local output = require("lrun.core.output")
local errors = require("errors")
local events = require("events")
local EventEmitter = events.EventEmitter

--- Event beforeExit(code: integer)
--- Event exit(code: integer)
--- Event uncaughtException(err: any, origin: string)
--- Event uncaughtExceptionMonitor(err: any, origin: string): before that, and also when nobody takes the error
--- Event warning(err: Error)
--- Event message(message: any, handle: any)
--- Event disconnect()
---@class process: EventEmitter
---@field pid integer
---@field ppid integer
---@field argv table<integer, string> [0] the path of lrun, [1] the script, [2]… its arguments
---@field argv0 string how lrun was called
---@field execPath string the path of lrun
---@field execArgv string[] lrun's own options
---@field env table<string, string> the real environment: reads, writes, `pairs`
---@field title string shows in `ps`
---@field platform string "linux"
---@field arch string "x64"
---@field version string
---@field versions table<string, string>
---@field features table<string, boolean>
---@field exitCode integer? what the process will end with; setting it to what is no whole number throws
---@field stdin Readable `fd`, `isTTY`, `setRawMode(on)`
---@field stdout StandardOutput
---@field stderr StandardOutput
---@field connected boolean? only with an IPC channel, as the next three
---@field channel { fd: integer, ref: fun(self), unref: fun(self) }?
---@field send (fun(message: any, handle: any, options: table?, callback: fun(err: Error?)?): boolean)?
---@field disconnect fun()?
---@field getuid fun(): integer
---@field geteuid fun(): integer
---@field getgid fun(): integer
---@field getegid fun(): integer
---@field setuid fun(id: integer|string) throws EPERM, ERR_UNKNOWN_CREDENTIAL, as the next five
---@field seteuid fun(id: integer|string)
---@field setgid fun(id: integer|string)
---@field setegid fun(id: integer|string)
---@field setgroups fun(groups: (integer|string)[])
---@field initgroups fun(user: integer|string, group: integer|string)
local process = EventEmitter:new()
local api = {}                      -- functions without self; wrapped below to work with dot and colon

-- Exit ----------------------------------------------------------------------------------------------------------------

local exiting = false
local exitCode                      -- what process.exitCode was set to

local function checkCode(code)
  if code == nil then return nil end
  if type(code) == "boolean" then return code and 0 or 1 end      -- as with Lua's os.exit
  return require("lrun.check.validate").integer(type(code) == "string" and tonumber(code) or code, "code")
end

-- The event has a coroutine of its own: a listener that waits does not put the end off.
local function finish(code)
  if not exiting then
    exiting, exitCode = true, code
    vm.enter(process.emit, "exit", code)
    code = exitCode or 0
  end
  vm.exit(code % 256)
end

--- Ends the process: the `exit` event, then what the channels still hold is written, then the end. Source: Node 20.
---@param code (integer|string|boolean)? default `process.exitCode`, else 0; true is 0, false 1
function api.exit(code) finish(checkCode(code) or exitCode or 0) end

--- Ends the process at once with SIGABRT and a core dump, without an event.
function api.abort()
  vm.flush(true)
  host.abort()
end

vm.hook("exit", function() finish(exitCode or require("lrun.host.main").unsettled() or 0) end)
vm.hook("beforeExit", function() if not exiting then process:emit("beforeExit", exitCode or 0) end end)
vm.hook("output", function(code) require("lrun.host.stdio").failed(code) end)
vm.hook("uncaught", function(coroutine, err) require("lrun.host.uncaught").handle(coroutine, err, exiting) end)

-- nextTick ------------------------------------------------------------------------------------------------------------

local ticks, tickCount, ticksDone = {}, 0, 0

--- Calls `f(...)` after the running callback, before the loop sees any event.
---@param f function
function api.nextTick(f, ...)
  if type(f) ~= "function" then error(errors.argType("callback", "function", f), 0) end
  tickCount = tickCount + 1
  local count = select("#", ...)
  ticks[tickCount] = count == 0 and f or { f, count, ... }
  if tickCount == 1 then vm.tick() end
end

local DONE_LIMIT = 1024             -- ticks that have run and still have a place in the queue

-- Those that have run go, the others move up: ticks that queue ticks must not let the queue grow.
local function compact()
  local left = tickCount - ticksDone
  for i = 1, left do ticks[i] = ticks[ticksDone + i] end
  for i = left + 1, tickCount do ticks[i] = nil end
  tickCount, ticksDone = left, 0
end

local tickRuns = 0                  -- counts the calls of runTicks

-- Calls all, where this coroutine is the host's. The host calls it again, on another one, behind a tick that threw or that waits
-- and keeps the coroutine, and inside a tick that runs the loop itself.
local function runTicks()
  tickRuns = tickRuns + 1
  local run = tickRuns
  while ticksDone < tickCount do
    if ticksDone >= DONE_LIMIT and 2 * ticksDone >= tickCount then compact() end
    ticksDone = ticksDone + 1
    local tick = ticks[ticksDone]
    ticks[ticksDone] = false
    local count = type(tick) == "function" and 0 or tick[2]
    if count == 0 then tick()
    elseif count == 1 then tick[1](tick[3])          -- most: the compiler knows how many, without `unpack`
    elseif count == 2 then tick[1](tick[3], tick[4])
    elseif count == 3 then tick[1](tick[3], tick[4], tick[5])
    else tick[1](unpack(tick, 3, count + 2)) end
    if run ~= tickRuns then return end
  end
  compact()
end
vm.hook("tick", runTicks)

-- The environment -----------------------------------------------------------------------------------------------------

local getenv = os.getenv      -- luv's takes no more than 8 KiB

local env = setmetatable({}, {
  __index = function(_, name) return type(name) == "string" and getenv(name) or nil end,
  __newindex = function(_, name, value)
    name = tostring(name)
    if value == nil then uv.os_unsetenv(name) else uv.os_setenv(name, tostring(value)) end
    if name == "TZ" then host.tzset() end
  end,
  __pairs = function() return next, uv.os_environ(), nil end,
})

--- Sets the variables that a file names and the environment has not. Source: Node 20. Throws where it cannot be read.
---@param path string? default ".env"
function api.loadEnvFile(path)
  local err = require("lrun.host.env_file").load{ path == nil and ".env" or require("lrun.check.validate").string(path, "path") }
  if err then error(err, 0) end
end

-- Signals -------------------------------------------------------------------------------------------------------------

local signals = {}                  -- name → its uv_signal handle while somebody listens

local function watchSignal(name)
  if type(name) ~= "string" or signals[name] or not require("os").constants.signals[name] then return end
  local handle = uv.new_signal()
  local ok, _, code = handle:start(name:lower(), function()
    process:emit(name, name, require("os").constants.signals[name])
  end)
  if not ok then
    handle:close()
    error(errors.system(code, "uv_signal_start"), 0)
  end
  handle:unref()
  signals[name] = handle
end

local function unwatchSignal(name)
  local handle = signals[name]
  if not handle or process:listenerCount(name) > 0 then return end
  signals[name] = nil
  handle:close()
  if name == "SIGPIPE" then host.ignorePipe() else first.restore() end
  if name == "SIGUSR1" then require("lrun.core.probe").restore() end
  output.guard()
end

host.ignorePipe()
first.begin()

process:on("newListener", function(name) if type(name) == "string" and name:find("^SIG") then watchSignal(name) end end)
process:on("removeListener", function(name) if signals[name] then unwatchSignal(name) end end)

-- Signals that end nothing by themselves (SIGUSR1 is the probe's); all others do where nobody listens.
local HARMLESS = { SIGCHLD = true, SIGCONT = true, SIGSTOP = true, SIGTSTP = true, SIGTTIN = true, SIGTTOU = true, SIGURG = true,
  SIGWINCH = true, SIGPIPE = true, SIGUSR1 = true }

-- A signal that may reach this process: what only collects goes to the kernel, all of it where this is the end.
local function flushBefore(pid, number)
  if number == 0 or pid > 0 and pid ~= process.pid then return end
  local last = true
  for name, each in pairs(require("os").constants.signals) do
    if each == number and (HARMLESS[name] or signals[name]) then last = false end
  end
  vm.flush(last)
end

--- Sends a signal; 0 only tests whether the process is there. Throws ESRCH, EPERM, ERR_UNKNOWN_SIGNAL.
---@param pid integer
---@param signal string|integer? name in any case, or number; default SIGTERM
---@return true
function api.kill(pid, signal)
  if type(pid) ~= "number" or pid ~= math.floor(pid) then error(errors.argType("pid", "integer", pid), 0) end
  local number = require("lrun.host.signals").number(signal == nil and "SIGTERM" or signal, "signal", true)
  output.flush()
  flushBefore(pid, number)
  local ok, _, code = uv.kill(pid, number)
  if not ok then error(errors.system(code, "kill"), 0) end
  return true
end

--- Tells the service manager how this process is, as sd_notify(3) does: `READY=1`, `STATUS=…`, `WATCHDOG=1`. Source: ours.
---@param state string lines of `NAME=value`
---@return boolean sent false where no NOTIFY_SOCKET is in the environment
---@return Error? err
function api.notify(state) return require("lrun.net.notify")(state) end

-- Facts ---------------------------------------------------------------------------------------------------------------

local started = uv.hrtime()

--- Seconds since this process started.
---@return number
function api.uptime() return (uv.hrtime() - started) / 1e9 end

--- A monotonic clock in nanoseconds.
---@return number
function api.hrtime() return tonumber(uv.hrtime()) end

--- The working directory.
---@return string
function api.cwd()
  local dir, _, code = uv.cwd()
  if not dir then error(errors.system(code, "uv_cwd"), 0) end
  return dir
end

--- Changes the working directory. Throws `ENOENT: …, chdir 'a' -> 'b'`.
---@param dir string
function api.chdir(dir)
  require("lrun.check.validate").string(dir, "directory")
  local ok, _, code = uv.chdir(dir)
  if not ok then error(errors.system(code, "chdir", { path = uv.cwd() or "", dest = dir }), 0) end
end

--- Bytes: `rss` the resident set, `heapUsed` and `heapTotal` Lua's heap, `external` what is resident beside it.
---@return { rss: integer, heapUsed: number, heapTotal: number, external: number }
function api.memoryUsage()
  local rss, heap = uv.resident_set_memory(), collectgarbage("count") * 1024
  return { rss = rss, heapUsed = heap, heapTotal = heap, external = math.max(0, rss - heap) }
end

local function micros(time) return time.sec * 1000000 + time.usec end

--- CPU time of this process in microseconds; with an earlier result, since then.
---@param previous { user: integer, system: integer }?
---@return { user: integer, system: integer }
function api.cpuUsage(previous)
  if previous ~= nil then
    local validate = require("lrun.check.validate")
    validate.table(previous, "prevValue")
    validate.number(previous.user, "prevValue.user", 0)
    validate.number(previous.system, "prevValue.system", 0)
  end
  local usage = uv.getrusage()
  local user, system = micros(usage.utime), micros(usage.stime)
  if previous then user, system = user - previous.user, system - previous.system end
  return { user = user, system = system }
end

--- Resource usage as getrusage(2) tells it, under Node's names; times in microseconds, `maxRSS` in KiB.
---@return table<string, integer>
function api.resourceUsage()
  local u = uv.getrusage()
  return {
    userCPUTime = micros(u.utime), systemCPUTime = micros(u.stime), maxRSS = u.maxrss, sharedMemorySize = u.ixrss,
    unsharedDataSize = u.idrss, unsharedStackSize = u.isrss, minorPageFault = u.minflt, majorPageFault = u.majflt,
    swappedOut = u.nswap, fsRead = u.inblock, fsWrite = u.oublock, ipcSent = u.msgsnd, ipcReceived = u.msgrcv,
    signalsCount = u.nsignals, voluntaryContextSwitches = u.nvcsw, involuntaryContextSwitches = u.nivcsw,
  }
end

--- The file mode creation mask; sets it when one is given (a number, or a string of octal digits). Returns the old one.
---@param mask (integer|string)?
---@return integer before
function api.umask(mask)
  if mask == nil then return host.umask() end
  return host.umask(require("lrun.fs.arguments").mode(mask, "mask"))
end

for _, name in ipairs{ "getuid", "getgid", "geteuid", "getegid" } do api[name] = host[name] end

local function identity(name, lookup)
  api[name] = function(...)
    local ok, err = host[name](...)
    if not ok then error(err, 0) end
    return lookup and ok or nil
  end
end
identity("setuid") identity("setgid") identity("seteuid") identity("setegid") identity("setgroups") identity("initgroups")

-- "(lrun:12) [CODE] Type: message"
local function printWarning(warning)
  local code = warning.code and ("[%s] "):format(warning.code) or ""
  local detail = warning.detail and "\n" .. warning.detail or ""
  io.stderr:write(("(lrun:%d) %s%s: %s%s\n"):format(uv.os_getpid(), code, warning.name, tostring(warning), detail))
end

--- Emits a `warning` event, and prints the warning on standard error.
---@param text string|Error an error keeps its own name
---@param options string|{ type: string?, code: string?, detail: string? }? the warning's type, its `name`: "Warning"
function api.emitWarning(text, options)
  if type(text) ~= "string" and not errors.isError(text) then error(errors.argType("warning", "string or Error", text), 0) end
  if type(options) == "string" then options = { type = options } end
  local validate = require("lrun.check.validate")
  options = validate.optional(validate.table, options, "options") or {}
  for _, name in ipairs{ "type", "code", "detail" } do
    validate.optional(validate.string, options[name], "options." .. name)
  end
  local warning = errors.isError(text) and text
    or errors.Error:new(text, { name = options.type or "Warning", code = options.code, detail = options.detail })
  api.nextTick(function()
    printWarning(warning)
    process:emit("warning", warning)
  end)
end

-- The object ----------------------------------------------------------------------------------------------------------

local function stream(name) return function() return require("lrun.host.stdio")[name]() end end

local streams = { stdin = stream("stdin"), stdout = stream("stdout"), stderr = stream("stderr") }

local computed = {
  title = function() return uv.get_process_title() end,
  ppid = function() return uv.os_getppid() end,
  exitCode = function() return exitCode end,
  version = function() return "v" .. host.versions().lrun end,
  versions = host.versions,
  execPath = function() return uv.exepath() or process.argv0 end,     -- without /proc
  platform = function() return jit.os:lower() end,
  arch = function() return jit.arch end,
  features = function() return { ipv6 = true, ipc = true, inspector = false, tls = true } end,
}

for name, f in pairs(api) do
  process[name] = function(self, ...)
    if self == process then return f(...) end
    return f(self, ...)
  end
end

for name, method in pairs(EventEmitter) do
  if type(method) == "function" and not name:find("^_") and name ~= "new" and name ~= "extend" and name ~= "getter" then
    process[name] = function(self, ...)
      if self == process then return method(process, ...) end
      return method(process, self, ...)
    end
  end
end

process.pid = uv.os_getpid()
process.env = env
process.argv = {}
process.execArgv = {}

local CHANGES = { title = true, ppid = true, exitCode = true } -- the rest is made when first asked for, then kept

return setmetatable(process, {
  name = "process",
  __getters = computed,             -- what the prompt shows and completes …
  __lazy = streams,                 -- … and only completes: looking must not open them
  __index = function(self, key)
    local compute = computed[key] or streams[key]
    if not compute then return EventEmitter[key] end
    local value = compute()
    if not CHANGES[key] then rawset(self, key, value) end
    return value
  end,
  __newindex = function(self, key, value)
    if key == "title" then
      uv.set_process_title(tostring(value))
    elseif key == "exitCode" then
      exitCode = checkCode(value)
    else
      rawset(self, key, value)
    end
  end,
})
