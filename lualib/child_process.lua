--- Starting other programs, and more of this one. Source: Node 20.
--- Arguments are checked and made into a plan (lrun.child.plan, lrun.child.stdio); the plan is run by a ChildProcess
--- (lrun.child.process) or to its end (lrun.child.sync).
local errors = require("errors")
local process = require("process")
local timers = require("timers")
local aborting = require("lrun.check.aborting")
local calls = require("lrun.check.calls")
local plans = require("lrun.child.plan")
local stdio = require("lrun.child.stdio")
local validate = require("lrun.check.validate")
local ChildProcess = require("lrun.child.process")

---@alias Slot "pipe"|"overlapped"|"ignore"|"inherit"|"ipc"|integer|table|false one entry of `stdio`

---@class SpawnOptions
---@field cwd string?
---@field env table<string, any>? replaces the environment
---@field argv0 string?
---@field stdio (string|Slot[])? entry i is descriptor i − 1; "pipe" by default
---@field detached boolean? leads a session of its own
---@field uid integer?
---@field gid integer?
---@field groups (integer|string)[]? supplementary groups, ids or names; with `uid` and none given those of its user. Not Node's, as the next four
---@field umask (integer|string)? a number, or octal digits
---@field nice integer? −20 to 19: its priority, whatever this process has
---@field limits table<string, integer|string|table>? "nofile", "as", "core", … → a number, "1G", "unlimited", or `{ soft, hard }`
---@field deathSignal (string|integer)? what it gets when this process ends
---@field shell (boolean|string)?
---@field timeout integer? ms
---@field killSignal (string|integer)? SIGTERM by default
---@field signal AbortSignal?
---@field serialization ("lua"|"advanced"|"json")?

---@class ForkOptions: SpawnOptions
---@field execPath string? this lrun by default
---@field execArgv string[]?
---@field silent boolean? pipes in place of this process's streams

---@class ExecOptions: SpawnOptions
---@field maxBuffer number? bytes of one stream, 1 MiB by default

---@class SyncOptions: ExecOptions
---@field input string? for its standard input

---@class SyncResult
---@field pid integer 0 when it did not start
---@field output (string|false)[] entry i is descriptor i − 1
---@field stdout string?
---@field stderr string?
---@field status integer? the exit code
---@field signal string?
---@field error Error?

---@class child_process
---@field ChildProcess ChildProcess the class
local child_process = { ChildProcess = ChildProcess }

-- spawn ---------------------------------------------------------------------------------------------------------------

local function abort(child, signal, killSignal)
  local ok, sent = pcall(child.kill, child, killSignal)
  if not ok then return child:emit("error", sent) end
  if sent then child:emit("error", aborting.failure(signal)) end
end

local function limited(child, timeout, killSignal)
  local timer = timers.setTimeout(function()
    local ok, err = pcall(child.kill, child, killSignal)
    if not ok then child:emit("error", err) end
  end, timeout)
  child:once("exit", function() timers.clearTimeout(timer) end)
end

local function start(file, args, options)
  local killSignal = plans.check(options)
  local plan = plans.make(file, args, options)
  local child = ChildProcess:new()
  child:_start(plan, options)
  if not child.pid then return child end
  local signal = options.signal
  if signal then aborting.follow(child, signal, function() abort(child, signal, killSignal) end, "exit") end
  if options.timeout and options.timeout > 0 then limited(child, options.timeout, killSignal) end
  return child
end

--- Starts a program. One that cannot be started is an `error` event, such as `spawn nosuch ENOENT`.
---@param command string looked up in PATH
---@param args string[]?
---@param options SpawnOptions?
---@return ChildProcess
function child_process.spawn(command, args, options)
  plans.file(command)
  args, options = plans.arguments(args, options)
  return start(command, args, options)
end

-- exec, execFile ------------------------------------------------------------------------------------------------------

-- Gathers one stream's output up to a limit; `text` gives what there is.
local function collect(stream, limit, exceeded)
  local chunks, length = {}, 0
  if stream then
    stream:on("data", function(chunk)
      if chunks.full then return end
      length = length + #chunk
      if length > limit then
        chunk = chunk:sub(1, limit - (length - #chunk))
        chunks.full = true
      end
      chunks[#chunks + 1] = chunk
      if chunks.full then exceeded() end
    end)
  end
  return function() return table.concat(chunks) end
end

local function commandLine(file, args)
  if #args == 0 then return file end
  return file .. " " .. table.concat(args, " ")
end

local function commandFailed(child, killed, code, signal, cmd, stderr)
  if code and code < 0 then code = errors.system(code, "spawn").code end
  return errors.Error:new(("Command failed: %s\n%s"):format(cmd, stderr),
    { code = code, killed = child.killed or killed, signal = signal })
end

local function gather(child, file, args, options, callback)
  local err, ended, killed, timer
  local stdout, stderr
  local limit = options.maxBuffer or plans.MAX_BUFFER
  local function finish(code, signal)
    if ended then return end
    ended = true
    if timer then timers.clearTimeout(timer) end
    if not callback then return end
    if not err and code == 0 then return callback(nil, stdout(), stderr()) end
    local cmd, out, errOut = commandLine(file, args), stdout(), stderr()
    err = err or commandFailed(child, killed or false, code, signal, cmd, errOut)
    if type(err) == "table" then err.cmd, err.stdout, err.stderr = cmd, out, errOut end
    callback(err, out, errOut)
  end
  local function dropOutput()
    if child.stdout then child.stdout:destroy() end
    if child.stderr then child.stderr:destroy() end
  end
  local function kill()
    dropOutput()
    killed = true
    local ok, failure = pcall(child.kill, child, options.killSignal)
    if ok then return end
    err = failure
    finish()
  end
  local function exceeded(name)
    return function()
      err = errors.coded("ERR_CHILD_PROCESS_STDIO_MAXBUFFER", name .. " maxBuffer length exceeded")
      kill()
    end
  end
  if options.timeout and options.timeout > 0 then timer = timers.setTimeout(kill, options.timeout) end
  stdout = collect(child.stdout, limit, exceeded("stdout"))
  stderr = collect(child.stderr, limit, exceeded("stderr"))
  child:on("close", finish)
  child:on("error", function(e)
    err = e
    dropOutput()
    finish()
  end)
end

-- (file[, args][, options][, callback]), each of which may be left out or nil.
local function fileArguments(args, options, callback)
  if type(args) == "function" then
    args, options, callback = nil, nil, args
  elseif type(options) == "function" then
    options, callback = nil, options
  end
  args, options = plans.arguments(args, options)
  if callback ~= nil then validate.func(callback, "callback") end
  return args, options, callback
end

local function run(file, args, options, callback)
  local child = start(file, args, {
    cwd = options.cwd, env = options.env, uid = options.uid, gid = options.gid, shell = options.shell, argv0 = options.argv0,
    signal = options.signal, killSignal = options.killSignal, windowsHide = options.windowsHide, detached = options.detached,
    groups = options.groups, umask = options.umask, nice = options.nice, limits = options.limits, deathSignal = options.deathSignal,
  })
  gather(child, file, args, options, callback)
  return child
end

--- Runs a program without a shell and gathers its output.
---@param file string
---@param args string[]?
---@param options ExecOptions? without `stdio`
---@param callback fun(err: Error?, stdout: string, stderr: string)? err.code: the exit code, or a name; `signal`, `killed`, `cmd`, `stdout`, `stderr`
---@return ChildProcess
function child_process.execFile(file, args, options, callback)
  plans.file(file)
  args, options, callback = fileArguments(args, options, callback)
  plans.check(options)
  return run(file, args, options, callback)
end

local function withShell(options)
  local copy = {}
  for name, value in pairs(options) do copy[name] = value end
  if type(copy.shell) ~= "string" then
    if copy.shell ~= nil then validate.boolean(copy.shell, "options.shell") end
    copy.shell = true
  end
  return copy
end

--- Runs a command in a shell and gathers its output.
---@param command string
---@param options ExecOptions? `shell` is a path, /bin/sh by default
---@param callback fun(err: Error?, stdout: string, stderr: string)?
---@return ChildProcess
function child_process.exec(command, options, callback)
  plans.file(command, "command")
  if type(options) == "function" then options, callback = nil, options end
  if options ~= nil then validate.table(options, "options") end
  if callback ~= nil then validate.func(callback, "callback") end
  options = withShell(options or {})
  plans.check(options)
  return run(command, {}, options, callback)
end

-- fork ----------------------------------------------------------------------------------------------------------------

local function hasChannel(slots)
  for _, slot in pairs(slots) do if slot == "ipc" then return true end end
  return false
end

local function forkStdio(options)
  local option = options.stdio
  if type(option) == "string" then return stdio.fromWord(option, "ipc") end
  if option == nil then return stdio.fromWord(options.silent and "pipe" or "inherit", "ipc") end
  if type(option) ~= "table" or not hasChannel(option) then
    error(errors.coded("ERR_CHILD_PROCESS_IPC_REQUIRED",
      "Forked processes must have an IPC channel, missing value 'ipc' in options.stdio"), 0)
  end
  return option
end

-- lrun's own options are handed on, but not the code that this process was given instead of a script.
local HAS_VALUE = { ["-e"] = true, ["-p"] = true }
local function inheritedOptions()
  local list, skip = {}, false
  for _, option in ipairs(process.execArgv) do
    if skip then skip = false
    elseif HAS_VALUE[option] then skip = true
    elseif option ~= "-i" then list[#list + 1] = option end
  end
  return list
end

local function checkList(list, name)
  validate.table(list, name)
  return list
end

--- Starts a script in another lrun, with an IPC channel.
---@param modulePath string
---@param args string[]?
---@param options ForkOptions?
---@return ChildProcess
function child_process.fork(modulePath, args, options)
  validate.string(modulePath, "modulePath")
  plans.file(modulePath, "modulePath")
  args, options = plans.arguments(args, options)
  local copy = {}
  for name, value in pairs(options) do copy[name] = value end
  local execPath = options.execPath == nil and process.execPath or plans.file(options.execPath, "options.execPath")
  local own = options.execArgv ~= nil and checkList(options.execArgv, "options.execArgv")
  local all = {}
  for _, each in ipairs(own or execPath == process.execPath and inheritedOptions() or {}) do all[#all + 1] = each end
  all[#all + 1] = modulePath
  for i = 1, #args do all[#all + 1] = args[i] end
  validate.optional(validate.boolean, options.silent, "options.silent")
  copy.stdio = forkStdio(options)
  copy.shell = nil
  return start(execPath, all, copy)
end

-- Synchronous calls ---------------------------------------------------------------------------------------------------

--- Runs a program to its end; nothing else of this process runs meanwhile.
---@param command string
---@param args string[]?
---@param options SyncOptions?
---@return SyncResult result
function child_process.spawnSync(command, args, options)
  plans.file(command)
  args, options = plans.arguments(args, options)
  return (require("lrun.child.sync").run(command, args, options))
end

--- Runs a program to its end and returns its output. Throws when it fails, with `status`, `signal`, `stdout`, `stderr`, `pid`.
---@param file string
---@param args string[]?
---@param options SyncOptions? without `stdio` its standard error is shown on ours
---@return string? stdout
function child_process.execFileSync(file, args, options)
  plans.file(file)
  args, options = plans.arguments(args, options)
  local sync = require("lrun.child.sync")
  return sync.output(sync.run(file, args, options), options, commandLine(options.argv0 or file, args))
end

--- Runs a command in a shell to its end and returns its output. Throws as execFileSync does.
---@param command string
---@param options SyncOptions?
---@return string? stdout
function child_process.execSync(command, options)
  plans.file(command, "command")
  if options ~= nil then validate.table(options, "options") end
  options = withShell(options or {})
  local sync = require("lrun.child.sync")
  return sync.output(sync.run(command, {}, options), options, command)
end

calls.functions(child_process, "child_process", { ChildProcess = true })

return child_process
