--- `fs.flock`: a lock that waits asks again, after 1 ms at first and every 20 ms in the end: no thread waits for it, so any
--- number may, and a signal ends the wait. It asks through a copy of the descriptor, which keeps the file open meanwhile.
local uv = require("luv")
local core = require("lrun.core.files")
local vm = require("lrun.core.vm")
local process = require("process")
local timers = require("timers")
local aborting = require("lrun.check.aborting")
local validate = require("lrun.check.validate")
local arguments = require("lrun.fs.arguments")
local fsCall = require("lrun.fs.call")

local KINDS = { sh = core.LOCK_SH, ex = core.LOCK_EX, un = core.LOCK_UN }
local FIRST_PAUSE, LONGEST_PAUSE = 1, 20        -- ms

---@class FlockOptions
---@field nonblock boolean? true: fails with `EAGAIN` where it would wait
---@field signal AbortSignal? ends the wait: `ABORT_ERR`. Not for flockSync

local lock = {}

local function check(fd, kind, options)
  arguments.fd(fd)
  validate.string(kind, "kind")
  if not KINDS[kind] then validate.oneOf(kind, "kind", { "sh", "ex", "un" }) end
  options = arguments.options(options)
  return KINDS[kind], arguments.flag(options, "nonblock"), arguments.signal(options.signal)
end

local function failure(code) return fsCall.error(code, "flock") end

--- Blocks the process until the lock is there.
function lock.sync(fd, kind, options)
  local operation, nonblock = check(fd, kind, options)
  if not nonblock then vm.flush() end
  local ok, code = core.flock(fd, nonblock and operation + core.LOCK_NB or operation)
  if not ok then error(failure(code), 0) end
end

-- Asks until the lock is there, or nobody waits any more (`over`).
local function ask(state, pause)
  state.timer = nil
  core.tryFlock(state.copy, state.operation, function(ok, code)
    if not ok and code == "EAGAIN" and not state.nonblock and not state.over and core.isSame(state.fd, state.copy) then
      state.timer = timers.setTimeout(ask, pause, state, math.min(pause * 2, LONGEST_PAUSE))
      return
    end
    state.finish(code)
  end)
end

-- What the callback gets: nothing, or the error.
local function outcome(state, code)
  if code and state.over then return aborting.failure(state.signal) end
  if not core.isSame(state.fd, state.copy) then return failure("EBADF") end
  return code and failure(code) or nil
end

--- Calls back when the lock is there.
function lock.async(...)
  local callback, list, count = fsCall.arguments(...)
  local fd, kind, options = unpack(list, 1, count)
  local operation, nonblock, signal = check(fd, kind, options)
  if signal and signal.aborted then return process.nextTick(callback, aborting.failure(signal)) end
  local copy, refused = core.duplicate(fd)
  if not copy then return process.nextTick(callback, failure(refused)) end
  local state = { fd = fd, copy = copy, operation = operation, nonblock = nonblock, signal = signal }
  local function onAbort()
    state.over = true
    if not state.timer then return end          -- the attempt that is under way ends it
    timers.clearTimeout(state.timer)
    state.finish("EAGAIN")
  end
  -- The copy goes first: it would keep the lock when the program closes its own descriptor in the callback.
  function state.finish(code)
    if signal then signal:off("abort", onAbort) end
    local err = outcome(state, code)
    uv.fs_close(copy, function() callback(err) end)
  end
  if signal then signal:on("abort", onAbort) end
  ask(state, FIRST_PAUSE)
end

return lock
