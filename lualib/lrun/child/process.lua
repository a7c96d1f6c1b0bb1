--- ChildProcess: one asynchronous child. Owns the process handle (runtime/process/spawn.c), our ends of its pipes (as sockets, which
--- then own themselves) and, through lrun.ipc.channel, its channel.
--- Order of events: `spawn` or `error` a tick after the call; with a channel the messages and `disconnect`; `exit`; then
--- `close`, once every pipe and the channel have closed too. (Where another process holds the other end of the channel as
--- well, `exit` comes when all that was there is read.)
local uv = require("luv")
local errors = require("errors")
local events = require("events")
local process = require("process")
local spawn = require("lrun.core.spawn")
local calls = require("lrun.check.calls")
local plans = require("lrun.child.plan")
local signals = require("lrun.host.signals")
local sockets = require("lrun.core.sockets")
local stdio = require("lrun.child.stdio")

--- Event spawn()
--- Event error(err: Error)
--- Event exit(code: integer?, signal: string?)
--- Event close(code: integer?, signal: string?): after exit, once its pipes have closed
--- Event message(message: any, handle: any)
--- Event disconnect()
---@class ChildProcess: EventEmitter
---@field pid integer? nil when it did not start
---@field stdin Socket? nil where there is no pipe, as the next two
---@field stdout Socket?
---@field stderr Socket?
---@field stdio (Socket|false)[]? entry i is descriptor i − 1; nil when there was no descriptor left to start it
---@field connected boolean whether its channel is open
---@field channel { fd: integer, ref: fun(self), unref: fun(self) }?
---@field send (fun(self: ChildProcess, message: any, handle: any, options: table?, callback: fun(err: Error?)?): boolean)? with a channel
---@field disconnect fun(self: ChildProcess)? with a channel
---@field killed boolean whether `kill` has sent a signal
---@field exitCode integer? nil while it runs, and when a signal ended it
---@field signalCode string?
---@field spawnfile string
---@field spawnargs string[] argv[0] first
local ChildProcess = events.EventEmitter:extend("ChildProcess")

function ChildProcess:initialize()
  self.connected = false
  self.killed = false
  self.spawnargs = {}
  self._closesLeft = 1               -- the exit; each pipe and the channel add one
end

-- Which errors are an event and not thrown: Node's, and ENOMEM, which like EAGAIN may be over by the next time.
local NOT_STARTED = { EACCES = true, EAGAIN = true, EMFILE = true, ENFILE = true, ENOENT = true, ENOMEM = true }
local NO_DESCRIPTORS = { EMFILE = true, ENFILE = true }

local function closed(self)
  self._closesLeft = self._closesLeft - 1
  if self._closesLeft == 0 then self:emit("close", self.exitCode, self.signalCode) end
end

-- A stream that the child reads is not read here meanwhile. What is no socket has nobody here who reads it ahead.
local function lend(self, stream)
  if not stream._lend then return end
  stream:_lend()
  self._lent[#self._lent + 1] = stream
end

-- Streams -------------------------------------------------------------------------------------------------------------
-- They are made when somebody asks for one: until then there is only our end of each pipe, in `_slots`.

local function makeStreams(self)
  local slots = self._slots
  if not slots then return end
  self._slots = nil
  local streams = {}
  for i, slot in ipairs(slots) do
    streams[i] = false
    if slot.kind == "pipe" then
      local isOpen = slot.ours ~= nil
      streams[i] = stdio.stream(slot, i)
      if isOpen then streams[i]:once("close", function() closed(self) end) end
    end
  end
  self.stdio = streams
  self.stdin, self.stdout, self.stderr = streams[1] or nil, streams[2] or nil, streams[3] or nil
end

for _, name in ipairs{ "stdio", "stdin", "stdout", "stderr" } do
  ChildProcess:getter(name, function(self)
    makeStreams(self)
    return rawget(self, name)
  end)
end

-- Closes our end of a pipe for which no stream was made.
local function closePipe(self, slot)
  sockets.close(slot.ours)
  slot.ours = nil
  process.nextTick(closed, self)
end

-- A pipe that has ended and that nobody has asked for is done with; one that still brings something needs a stream.
local function closeEnded(self)
  for _, slot in ipairs(self._slots) do
    if slot.ours then
      if not sockets.ended(slot.ours) then return makeStreams(self) end
      closePipe(self, slot)
    end
  end
end

-- Output that nobody reads is read and dropped, so that its end comes; what was lent is ours again.
local function flushStdio(self)
  if self._slots then closeEnded(self) end
  for _, stream in ipairs(rawget(self, "stdio") or {}) do
    if stream and stream.readable and not stream._lent then stream:resume() end
  end
  for _, stream in ipairs(self._lent) do stream:_takeBack() end
end

local function finish(self, exitCode, signalCode)
  self.exitCode, self.signalCode = exitCode, signalCode
  self._handle = nil
  local slot, stdin = self._slots and self._slots[1], rawget(self, "stdin")
  if stdin then stdin:destroy() elseif slot and slot.kind == "pipe" and slot.ours then closePipe(self, slot) end
end

local function emitExit(self)
  if self._exited then return end
  self._exited = true
  process.nextTick(flushStdio, self)
  process.nextTick(closed, self)
  self:emit("exit", self.exitCode, self.signalCode)
end

-- What it had sent comes first, and `disconnect`.
local function onExit(self, status, signal)
  if signal > 0 then finish(self, nil, signals.name(signal) or tostring(signal)) else finish(self, status, nil) end
  if not self._channelOpen then return emitExit(self) end
  self._exitWaits = true
  self._drainChannel(function() emitExit(self) end)
end

local function onNotStarted(self, err)
  finish(self, err.errno, nil)
  process.nextTick(flushStdio, self)
  process.nextTick(closed, self)
  self:emit("error", err)
end

-- Keeps what the slots lend and what the pipes need.
local function keepSlots(self, slots)
  for _, slot in ipairs(slots) do
    if slot.lent then lend(self, slot.lent) end
    if slot.kind == "pipe" then self._closesLeft = self._closesLeft + 1 end
  end
  self._slots = slots
end

-- Another lrun gets its values as they are; any other program is taken to speak Node's language.
local function wireFor(file)
  local name = file:match("[^/]*$")
  if file == process.execPath or name:find("^lrun") then return "lua" end
  if name:find("^node") then return "json" end
  local stat, own = uv.fs_stat(file), uv.fs_stat(process.execPath)
  local same = stat and own and stat.ino == own.ino and stat.dev == own.dev
  return same and "lua" or "json"
end

local function makeChannel(self, slot, wire)
  local fd = slot.ours
  slot.ours = nil
  self._closesLeft = self._closesLeft + 1
  self._channelOpen = true
  self._drainChannel = require("lrun.ipc.channel").setup(self, fd, { wire = wire, onClosed = function()
    self._channelOpen = false
    if self._exitWaits then emitExit(self) end
    closed(self)
  end })
end

local function channelVariables(index, wire)
  local fd = tostring(index - 1)
  if wire == "lua" then return { LRUN_CHANNEL_FD = fd, LRUN_CHANNEL_SERIALIZATION = "lua" } end
  return { NODE_CHANNEL_FD = fd, NODE_CHANNEL_SERIALIZATION_MODE = "json" }
end

-- Opens what the slots need and starts the child. nil and the error when that fails.
local function launch(self, plan, slots)
  local numbers, err = stdio.open(slots)
  if not numbers then return nil, err end
  plan.stdio = numbers
  local handle, pid = spawn.start(plan, function(status, signal) return onExit(self, status, signal) end)
  stdio.close(slots, "theirs")
  return handle, pid
end

--- Starts it. Throws for what the system refuses to this process (EPERM); a child that cannot be started is an `error`
--- event.
---@param plan table by lrun.child.plan
---@param options table checked
function ChildProcess:_start(plan, options)
  local slots, channel = stdio.parse(options.stdio, false)
  local wire = channel and (plans.wire(options.serialization) or wireFor(plan.file))
  plan.env = plans.environment(options.env, channel and channelVariables(channel, wire))
  self.spawnfile, self.spawnargs = plan.file, plan.args
  self._lent = {}
  local handle, pid = launch(self, plan, slots)
  if handle then
    self._handle, self.pid = handle, pid
    process.nextTick(self.emit, self, "spawn")
  else
    local err = pid
    local failure = plans.failure(err, plan, "spawn")
    if not err.refused and not NOT_STARTED[err.code] then
      stdio.close(slots, "ours")
      error(errors.system(err.errno, "spawn", { cause = failure.cause }), 0)
    end
    require("lrun.host.places").note(self)
    process.nextTick(onNotStarted, self, failure)
    if NO_DESCRIPTORS[err.code] then return stdio.close(slots, "ours") end
  end
  keepSlots(self, slots)
  if channel then makeChannel(self, slots[channel], wire) end
end

--- Sends a signal. Source: Node 20.
---@param signal string|integer? default SIGTERM; 0 only tests whether it runs
---@return boolean sent false when it is gone
function ChildProcess:kill(signal)
  local number = signals.number(signal == nil and "SIGTERM" or signal, "signal", true)
  if not self._handle then return false end
  local sent, err = self._handle:kill(number)
  if sent then
    self.killed = true
    return true
  end
  if err.code == "EINVAL" or err.code == "ENOSYS" then error(err, 0) end
  if err.code ~= "ESRCH" then self:emit("error", err) end
  return false
end

--- Has this process wait for the child (the default).
function ChildProcess:ref()
  if self._handle then self._handle:ref() end
end

--- Lets this process end before the child; its pipes and a channel that is listened to have a `ref` of their own.
function ChildProcess:unref()
  if self._handle then self._handle:unref() end
end

calls.methods(ChildProcess, "child")

return ChildProcess
