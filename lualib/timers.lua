--- Timers and immediates. Timeouts wait in lrun/host/timer_lists.lua; immediates wait here, for the next turn of the loop.
local ffi = require("ffi")
local vm = require("lrun.core.vm")
local timing = require("lrun.core.timing")
local errors = require("errors")
local calls = require("lrun.check.calls")
local lists = require("lrun.host.timer_lists")

local setCheck, setIdle = ffi.cast("void (*)(bool)", timing.check), ffi.cast("void (*)(bool)", timing.idle)

local MAX_DELAY = 2147483647        -- as Node: a longer delay becomes 1 ms, with a warning

---@class Timeout
local Timeout = { name = "Timeout", hidesItems = true }
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

-- The compiler leaves a call with any number of arguments alone: what most give is none.
local function pack(...) return { n = select("#", ...), ... } end

local timers = {}

-- Hot functions, which look for a colon in the place of a dot only where something is wrong anyhow.
local function refuse(name, f)
  if f == timers then calls.needsDot("timers", name) end
  error(errors.argType("callback", "function", f), 0)
end

--- Keeps the loop alive until the timer has fired (the default).
---@return self
function Timeout:ref()
  lists.ref(self, true)
  return self
end

--- Lets the loop end before the timer has fired.
---@return self
function Timeout:unref()
  lists.ref(self, false)
  return self
end

---@return boolean
function Timeout:hasRef() return lists.hasRef(self) end

--- Starts the time anew, also after the timer has fired.
---@return self
function Timeout:refresh()
  lists.restart(self)
  return self
end

--- The same as clearTimeout.
---@return self
function Timeout:close()
  lists.clear(self)
  return self
end

---@class Immediate
local Immediate = { name = "Immediate", hidesItems = true }
Immediate.__index = Immediate

-- An immediate's fields are numbered, as a timer's are.
local F, REF, ARGUMENTS = 0, 1, 2   -- what is called, false once it was or is cleared; whether it keeps the loop alive

local queue, count = {}, 0          -- immediates of the next turn, in order
local turn, last, done = {}, 0, 0   -- those of this turn, and how many of them have been called
local runs = 0                      -- counts the calls of runImmediates
local waiting = 0                   -- how many of all queued keep the loop alive
local checking, idling = false, false   -- what the host knows of that

local function update()
  if idling ~= (waiting > 0) then
    idling = waiting > 0
    setIdle(idling)
  end
end

local MOST_KEPT = 1024              -- places that a list of immediates keeps for those of later turns

local function begin()
  turn, queue = queue, last <= MOST_KEPT and turn or {}
  last, count, done = count, 0, 0
end

-- Calls all of a turn, where this coroutine is the host's. One that waits takes the coroutine with it, and one that throws ends
-- it: the host calls this again for the others, on another coroutine and not as a beginning.
local function runImmediates(begins)
  if begins then begin() end
  runs = runs + 1
  local run = runs
  if not begins then vm.ticks() end               -- of the one before
  while done < last do
    done = done + 1
    local immediate = turn[done]
    turn[done] = false
    local f, arguments = immediate[F], immediate[ARGUMENTS]
    if f then
      immediate[F] = false
      if immediate[REF] then waiting = waiting - 1 end
      if arguments then f(unpack(arguments, 1, arguments.n)) else f() end
      if run ~= runs then return end
      if done < last then vm.ticks() end
    end
  end
  if count == 0 then
    checking = false
    setCheck(false)
  end
  update()
end

local function forget(immediate)
  if not immediate[F] then return end
  immediate[F] = false
  if not immediate[REF] then return end
  waiting = waiting - 1
  update()
end

---@return self
function Immediate:ref()
  if self[F] and not self[REF] then
    self[REF] = true
    waiting = waiting + 1
    update()
  end
  return self
end

---@return self
function Immediate:unref()
  if self[F] and self[REF] then
    self[REF] = false
    waiting = waiting - 1
    update()
  end
  return self
end

---@return boolean
function Immediate:hasRef() return self[F] ~= false and self[REF] end

timing.open(lists.fire, runImmediates)

--- Calls `f(...)` once, `ms` milliseconds from now (1 to 2^31 − 1; anything else counts as 1). Source: Node 20.
---@param f function
---@param ms number?
---@return Timeout
function timers.setTimeout(f, ms, ...)
  if type(f) ~= "function" then refuse("setTimeout", f) end
  return lists.new(Timeout, f, delayOf(ms), false, select("#", ...) > 0 and pack(...))
end

--- Calls `f(...)` every `ms` milliseconds.
---@param f function
---@param ms number?
---@return Timeout
function timers.setInterval(f, ms, ...)
  if type(f) ~= "function" then refuse("setInterval", f) end
  return lists.new(Timeout, f, delayOf(ms), true, select("#", ...) > 0 and pack(...))
end

--- Calls `f(...)` once, after the I/O events of this turn of the loop.
---@param f function
---@return Immediate
function timers.setImmediate(f, ...)
  if type(f) ~= "function" then refuse("setImmediate", f) end
  local immediate = { [0] = false, true, false }     -- constants: made in one copy
  immediate[F] = f
  if select("#", ...) > 0 then immediate[ARGUMENTS] = pack(...) end
  setmetatable(immediate, Immediate)
  count = count + 1
  queue[count] = immediate
  waiting = waiting + 1
  if not checking then
    checking = true
    setCheck(true)
  end
  if not idling then update() end
  return immediate
end

local function clear(timer, name)
  if timer == nil then return end
  if timer == timers then calls.needsDot("timers", name) end
  local class = getmetatable(timer)
  if class == Timeout then
    lists.clear(timer)
  elseif class == Immediate then
    forget(timer)
  end
end

--- Forgets a timer; nil, or one that has fired, is fine.
---@param timer Timeout?
function timers.clearTimeout(timer) clear(timer, "clearTimeout") end

--- The same.
---@param timer Timeout?
function timers.clearInterval(timer) clear(timer, "clearInterval") end

--- Forgets an immediate; nil, or one that has run, is fine.
---@param immediate Immediate?
function timers.clearImmediate(immediate) clear(immediate, "clearImmediate") end

calls.methods(Timeout, "timer")
calls.methods(Immediate, "immediate")

return timers
