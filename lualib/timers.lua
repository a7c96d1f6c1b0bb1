--- Timers over luv: one uv_timer a Timeout, one check and one idle handle for all immediates.
local uv = require("luv")
local errors = require("errors")
local calls = require("lrun.check.calls")

local MAX_DELAY = 2147483647        -- as Node: a longer delay becomes 1 ms, with a warning

---@class Timeout
local Timeout = { name = "Timeout" }
Timeout.__index = Timeout

local function delayOf(ms)
  ms = tonumber(ms) or 1
  if ms > MAX_DELAY then
    require("process").emitWarning(("%.17g does not fit into a 32-bit signed integer.\nTimeout duration was set to 1."):format(ms),
      "TimeoutOverflowWarning")
    return 1
  end
  return ms >= 1 and math.floor(ms) or 1
end

-- The loop's clock stands still while Lua runs: without the update a timer would fire early.
local function start(timer)
  uv.update_time()
  uv.timer_start(timer._handle, timer._delay, timer._repeats and timer._delay or 0, timer._fire)
end

local function stop(timer)
  local handle = timer._handle
  if not handle then return end
  timer._handle = nil
  if not uv.is_closing(handle) then uv.close(handle) end
end

local function newTimeout(f, ms, repeats, ...)
  if type(f) ~= "function" then error(errors.argType("callback", "function", f), 0) end
  local count = select("#", ...)
  local arguments = count > 0 and { ... }
  local timer = setmetatable({ _delay = delayOf(ms), _repeats = repeats, _handle = uv.new_timer() }, Timeout)
  timer._fire = function()
    local handle = timer._handle
    -- refresh() from inside the callback starts the timer again, so it may only be closed afterwards.
    timer._fired = not repeats
    if not arguments then f() else f(unpack(arguments, 1, count)) end
    if not repeats and timer._fired and handle == timer._handle then stop(timer) end
  end
  start(timer)
  return timer
end

--- Keeps the loop alive until the timer has fired (the default).
---@return self
function Timeout:ref()
  self._unref = nil
  if self._handle then uv.ref(self._handle) end
  return self
end

--- Lets the loop end before the timer has fired.
---@return self
function Timeout:unref()
  self._unref = true
  if self._handle then uv.unref(self._handle) end
  return self
end

---@return boolean
function Timeout:hasRef() return self._handle ~= nil and uv.has_ref(self._handle) end

--- Starts the time anew, also after the timer has fired.
---@return self
function Timeout:refresh()
  if self._cleared then return self end
  self._fired = false
  if not self._handle then
    self._handle = uv.new_timer()
    if self._unref then uv.unref(self._handle) end
  end
  start(self)
  return self
end

--- The same as clearTimeout.
---@return self
function Timeout:close()
  self._cleared = true
  stop(self)
  return self
end

---@class Immediate
local Immediate = { name = "Immediate" }
Immediate.__index = Immediate

local queue = {}                    -- immediates of the next turn, in order
local waiting = 0                   -- how many of all queued keep the loop alive
local check, idle

local function keepAlive(change)
  waiting = waiting + change
  if waiting > 0 then
    if not uv.is_active(idle) then uv.idle_start(idle, function() end) end
  else
    uv.idle_stop(idle)
  end
end

local function runImmediates()
  local vm = require("lrun.core.vm")
  local turn = queue
  queue = {}
  for i = 1, #turn do
    local immediate = turn[i]
    if immediate._f then
      local f = immediate._f
      immediate._f = nil
      if immediate._ref then keepAlive(-1) end
      vm.enter(f, unpack(immediate, 1, immediate._count))
      vm.ticks()
    end
  end
  if #queue == 0 then uv.check_stop(check) end
end

local function forget(immediate)
  if not immediate._f then return end
  immediate._f = nil
  if immediate._ref then keepAlive(-1) end
end

---@return self
function Immediate:ref()
  if self._f and not self._ref then self._ref = true keepAlive(1) end
  return self
end

---@return self
function Immediate:unref()
  if self._f and self._ref then self._ref = false keepAlive(-1) end
  return self
end

---@return boolean
function Immediate:hasRef() return self._f ~= nil and self._ref end

local timers = {}

--- Calls `f(...)` once, `ms` milliseconds from now (1 to 2^31 − 1; anything else counts as 1). Source: Node 20.
---@param f function
---@param ms number?
---@return Timeout
function timers.setTimeout(f, ms, ...) return newTimeout(f, ms, false, ...) end

--- Calls `f(...)` every `ms` milliseconds.
---@param f function
---@param ms number?
---@return Timeout
function timers.setInterval(f, ms, ...) return newTimeout(f, ms, true, ...) end

--- Calls `f(...)` once, after the I/O events of this turn of the loop.
---@param f function
---@return Immediate
function timers.setImmediate(f, ...)
  if type(f) ~= "function" then error(errors.argType("callback", "function", f), 0) end
  if not check then
    check, idle = uv.new_check(), uv.new_idle()
    uv.unref(check)
  end
  local immediate = setmetatable({ ... }, Immediate)
  immediate._f, immediate._count, immediate._ref = f, select("#", ...), true
  queue[#queue + 1] = immediate
  if not uv.is_active(check) then uv.check_start(check, runImmediates) end
  keepAlive(1)
  return immediate
end

local function clear(timer)
  if timer == nil then return end
  if getmetatable(timer) == Immediate then return forget(timer) end
  if getmetatable(timer) == Timeout then timer:close() end
end

--- Forgets a timer; nil, or one that has fired, is fine.
---@param timer Timeout?
timers.clearTimeout = function(timer) return clear(timer) end

--- The same.
---@param timer Timeout?
timers.clearInterval = function(timer) return clear(timer) end

--- Forgets an immediate; nil, or one that has run, is fine.
---@param immediate Immediate?
timers.clearImmediate = function(immediate) return clear(immediate) end

calls.methods(Timeout, "timer")
calls.methods(Immediate, "immediate")
calls.functions(timers, "timers")

return timers
