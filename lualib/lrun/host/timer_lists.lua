--- The timers that wait, in lists by their duration, as a program with a limit on every request needs them: setting and
--- clearing one costs no more than a place in a list. The order in which timers fire is Node's.
---
--- A list holds the timers of one duration, the oldest first, so its first is its next. A heap holds the lists by when they
--- are due (`expiry`; of two at the same time the one that was put there first). One timer of the host's (runtime/host/
--- timing.c) is armed for the first list; it keeps the loop alive while a timer does.
---
--- Timers and lists are tables whose fields are numbered: so each is one block of memory, half of what named ones need, and
--- so much less for the collector. Only this file knows the numbers.
local ffi = require("ffi")
local vm = require("lrun.core.vm")
local timing = require("lrun.core.timing")

local now, armHost = ffi.cast("double (*)(void)", timing.now), ffi.cast("void (*)(double)", timing.arm)
local keepHost = ffi.cast("void (*)(bool)", timing.keep)
local unpack = unpack

local timerLists = {}

local IDLE_LISTS = 1024             -- that may stay without timers until they are due: the next one needs no new list

local lists = {}                    -- duration → list
local heap, size = {}, 0
local idle = 0                      -- lists without timers
local serial = 0                    -- counts the lists' places in the heap
local armed = math.huge             -- when the host's timer fires
local kept = 0                      -- timers that keep the loop alive
local keeping = false               -- what the host knows of that
local firing = false

-- A timer's fields
local F = 0                         -- what is called; false once it is cleared
local MS, REPEATS, REF = 1, 2, 3
local STARTED = 4                   -- when its time began
local LIST, BEFORE, AFTER = 5, 6, 7 -- where it waits; else false
local ARGUMENTS = 8                 -- for the function, with their number as `n`; few have it

-- A list's fields
local DURATION, EXPIRY, SERIAL = 0, 1, 2
local FIRST, LAST = 3, 4            -- of its timers; false without any
local AT = 5                        -- its place in the heap

-- The heap ------------------------------------------------------------------------------------------------------------

local function precedes(a, b) return a[EXPIRY] < b[EXPIRY] or a[EXPIRY] == b[EXPIRY] and a[SERIAL] < b[SERIAL] end

local function put(list, at)
  heap[at] = list
  list[AT] = at
end

local function up(list, at)
  while at > 1 do
    local parent = (at - at % 2) / 2
    if not precedes(list, heap[parent]) then break end
    put(heap[parent], at)
    at = parent
  end
  put(list, at)
end

local function down(list, at)
  while true do
    local child = 2 * at
    if child > size then break end
    if child < size and precedes(heap[child + 1], heap[child]) then child = child + 1 end
    if not precedes(heap[child], list) then break end
    put(heap[child], at)
    at = child
  end
  put(list, at)
end

local function forget(list)
  local at, last = list[AT], heap[size]
  heap[size] = nil
  size = size - 1
  lists[list[DURATION]] = nil
  if last == list then return end
  if at > 1 and precedes(last, heap[(at - at % 2) / 2]) then up(last, at) else down(last, at) end
end

local function newList(ms, expiry)
  serial = serial + 1
  local list = { [0] = 0, 0, 0, false, false, 0 }
  list[DURATION], list[EXPIRY], list[SERIAL] = ms, expiry, serial
  lists[ms] = list
  size = size + 1
  up(list, size)
  return list
end

-- The host's timer ----------------------------------------------------------------------------------------------------

local function arm(expiry, time)
  armed = expiry
  armHost(expiry > time and expiry - time or 1)
end

local function keep(change)
  kept = kept + change
  if firing or (kept > 0) == keeping then return end
  keeping = kept > 0
  keepHost(keeping)
end

-- Lists ---------------------------------------------------------------------------------------------------------------

local function insert(timer, time)
  local ms = timer[MS]
  local list = lists[ms]
  if not list then
    list = newList(ms, time + ms)
    if list[EXPIRY] < armed and not firing then arm(list[EXPIRY], time) end
  elseif not list[FIRST] then
    idle = idle - 1
  end
  local last = list[LAST]
  timer[STARTED], timer[LIST], timer[BEFORE], timer[AFTER] = time, list, last, false
  if last then last[AFTER] = timer else list[FIRST] = timer end
  list[LAST] = timer
end

local function take(timer)
  local list, before, after = timer[LIST], timer[BEFORE], timer[AFTER]
  if before then before[AFTER] = after else list[FIRST] = after end
  if after then after[BEFORE] = before else list[LAST] = before end
  timer[LIST], timer[BEFORE], timer[AFTER] = false, false, false
  if list[FIRST] then return end
  if idle < IDLE_LISTS then idle = idle + 1 else forget(list) end
end

--- A timer of the class, whose time begins.
---@param class table the metatable
---@param f function
---@param ms integer
---@param repeats boolean
---@param arguments table|false
function timerLists.new(class, f, ms, repeats, arguments)
  local timer = { [0] = false, 0, false, true, 0, false, false, false }     -- constants: made in one copy
  timer[F], timer[MS], timer[REPEATS] = f, ms, repeats
  if arguments then timer[ARGUMENTS] = arguments end
  keep(1)
  insert(timer, now())
  return setmetatable(timer, class)
end

--- Starts the time of a timer that was not cleared, anew where it runs.
function timerLists.restart(timer)
  if not timer[F] then return end
  if timer[LIST] then take(timer) elseif timer[REF] then keep(1) end
  insert(timer, now())
end

--- Clears the timer.
function timerLists.clear(timer)
  timer[F] = false
  if not timer[LIST] then return end
  take(timer)
  if timer[REF] then keep(-1) end
end

--- Whether the timer keeps the loop alive while it waits.
---@param on boolean
function timerLists.ref(timer, on)
  if timer[REF] == on then return end
  timer[REF] = on
  if timer[LIST] then keep(on and 1 or -1) end
end

--- Whether it does now.
---@return boolean
function timerLists.hasRef(timer) return timer[REF] and timer[LIST] ~= false end

-- Firing --------------------------------------------------------------------------------------------------------------

local firingAt = 0                  -- what is due then is called
local called, calledAt = false, false   -- the timer whose function was called last; when, of a repeated one
local runs = 0                      -- counts the calls of `fire`

local function call(timer)
  take(timer)
  if timer[REF] then kept = kept - 1 end
  called, calledAt = timer, timer[REPEATS] and now()
  local f, arguments = timer[F], timer[ARGUMENTS]
  if arguments then f(unpack(arguments, 1, arguments.n)) else f() end
end

-- After the call: a repeated timer's next time counts from before it.
local function settle()
  local timer, started = called, calledAt
  called = false
  if not timer or not started or timer[LIST] or not timer[F] then return end
  if timer[REF] then kept = kept + 1 end
  insert(timer, started)
end

-- The list's first timer is not due yet.
local function putOff(list)
  serial = serial + 1
  list[EXPIRY], list[SERIAL] = math.max(list[FIRST][STARTED] + list[DURATION], firingAt + 1), serial
  down(list, list[AT])
end

local function drop(list)
  idle = idle - 1
  forget(list)
end

--- The host's timer has fired: all that were due then are called, where this coroutine is the host's. One that waits takes the
--- coroutine with it, and one that throws ends it: the host calls this again for the others, on another coroutine and not as a
--- beginning. What has become due meanwhile comes in the next turn, as in Node, or an interval that takes longer than its time
--- would leave the loop nothing for others.
---@param begins boolean
function timerLists.fire(begins)
  if begins then firing, armed, firingAt = true, math.huge, now() else settle() end
  runs = runs + 1
  local run = runs
  if not begins then vm.ticks() end               -- of the one before
  while size > 0 and heap[1][EXPIRY] <= firingAt do
    local list = heap[1]
    local timer = list[FIRST]
    if not timer then
      drop(list)
    elseif firingAt - timer[STARTED] < list[DURATION] then
      putOff(list)
    else
      call(timer)
      if run ~= runs then return end
      settle()
      vm.ticks()
    end
  end
  firing = false
  if size > 0 then arm(heap[1][EXPIRY], now()) end
  keep(0)
end

return timerLists
