--- Sequential code over callbacks. A coroutine that awaits is suspended and resumed through the host's door, so an error
--- in it ends where one in a callback does. Nothing but the callback holds a waiting coroutine: dropping the callback
--- frees it.
---
--- An await → its callback comes while the function runs: the results wait here, nothing is suspended. Or it comes later:
--- then it finds the cell of the wait, which holds the coroutine. In an iterator (lrun/host/iterators.lua) the loop waits.
local ffi = require("ffi")
local vm = require("lrun.core.vm")
local waiting = require("lrun.core.wait")
local errors = require("errors")
local validate = require("lrun.check.validate")
local calls = require("lrun.check.calls")
local iterators = require("lrun.host.iterators")
local traceback = require("lrun.host.traceback")

local isyieldable = coroutine.isyieldable
local able, surelyAble = waiting.able, ffi.cast("bool (*)(void *)", waiting.surelyAble)
local host = ffi.cast("void *", waiting.host)
local rawequal, select, type = rawequal, select, type
local suspend, wake = iterators.suspend, iterators.wake

-- Results of a callback that came at once, until its await has taken them: they are its own for as long as no other await
-- does the same. `owner` is that callback.
local owner, count = nil, 0
local first, second, third          -- up to three; more are a table in `first`
local displaced = setmetatable({}, { __mode = "k" })    -- callback → results, when another one came in between

local function displace() displaced[owner] = { count, first, second, third } end

local function takeDisplaced(callback)
  local kept = displaced[callback]
  displaced[callback] = nil
  if kept[1] > 3 then return unpack(kept[2], 1, kept[1]) end
  return unpack(kept, 2, kept[1] + 1)
end

local function take()
  local a, b, c = first, second, third
  owner, first, second, third = nil, nil, nil, nil
  if count == 2 then return a, b end
  if count == 1 then return a end
  if count == 0 then return end
  if count == 3 then return a, b, c end
  return unpack(a, 1, count)
end

-- Callbacks are made ahead: making functions is nothing that the compiler can do, so a loop of awaits that come at once
-- leaves its trace only once for so many. Each serves one await and is given away with it: it alone tells a first call from
-- a second one, which may come at any time.
local MOST = 64
local fresh, left, wanted = {}, 0, 2
local compiled = true               -- compiled code awaits, as far as is known

local WAIT = {}                     -- what an await tells its callback, with the cell, when it begins to wait

-- `state` is the callback itself until its first call; or the cell of its wait; or nil, when it has been called.
local function called(state, ...)
  if type(state) == "function" then
    local a, b, c = ...
    if rawequal(a, WAIT) then return b end       -- what comes may compare itself
    if owner then displace() end
    owner, count, first, second, third = state, select("#", ...), a, b, c
    if count > 3 then first = { ... } end
  elseif state then
    wake(state, ...)
  end
  return nil
end

local function make()
  for i = 1, wanted do
    local state
    state = function(...) state = called(state, ...) end
    fresh[i] = state
  end
  left = wanted
  compiled = able()                 -- surelyAble is worth another try
  if wanted < MOST then wanted = 2 * wanted end
end
jit.off(make)

local function refuse()
  if coroutine.running() == nil then
    error(errors.coded("ERR_INVALID_STATE",
      "await must be called inside a coroutine: a request handler, a listener, the main script, or await.spawn"), 0)
  end
  error(errors.coded("ERR_INVALID_STATE", "await cannot wait inside a function that was called from C, such as table.sort's "
    .. "or string.gsub's, or a file that dofile runs"), 0)
end

local function begin(callback, f, ...)
  local arguments = { ... }
  local last = select("#", ...) + 1
  arguments[last] = callback
  f(unpack(arguments, 1, last))
end

--- Calls `f(..., callback)` and returns what the callback gets. Only the callback's first call counts.
---@param f function whose last parameter is a callback
local function call(_, f, ...)
  if type(f) ~= "function" and not (getmetatable(f) or {}).__call then error(errors.argType("f", "function", f), 0) end
  -- Whether a coroutine can wait is nothing that the compiler can ask either. To ask through the FFI is slow where the call is
  -- not compiled, but then that says false.
  if compiled then compiled = surelyAble(host) end
  if not compiled and not isyieldable() then refuse() end
  if left == 0 then make() end
  local callback = fresh[left]
  fresh[left] = false
  left = left - 1
  local given = select("#", ...)
  if given == 0 then
    f(callback)
  elseif given == 1 then
    f((...), callback)
  elseif given == 2 then
    local a, b = ...
    f(a, b, callback)
  elseif given == 3 then
    local a, b, c = ...
    f(a, b, c, callback)
  else
    begin(callback, f, ...)
  end
  if owner == callback then return take() end
  if displaced[callback] then return takeDisplaced(callback) end
  local cell = { awaits = false, coroutine = false, over = false, foreign = false }     -- constants: made in one copy
  cell.awaits = f                   -- for who looks into the process
  callback(WAIT, cell)
  return suspend(cell)
end

---@class await
---@overload fun(f: function, ...: any): ...any
local await = {}

--- Waits.
---@param ms number milliseconds
function await.sleep(ms)
  if type(ms) ~= "number" then error(errors.argType("ms", "number", ms), 0) end
  call(await, function(resume) require("timers").setTimeout(resume, ms) end)
end

local starting                      -- the coroutine of the task that is being started, until it has ended

-- Another task may start, and end, while one does; and one that waited may end while another starts.
local function task(parent, f, ...)
  local co = coroutine.running()
  starting = co
  traceback.join(co, parent)
  f(...)
  traceback.join(co, nil)
  if starting == co then starting = nil end
end

--- Runs `f(...)` in a coroutine of its own, which starts at once.
---@param f function
function await.spawn(f, ...)
  validate.func(f, "f")
  local outer = starting
  vm.enter(task, coroutine.running(), f, ...)
  local waits = starting
  starting = outer
  if waits then traceback.started(waits, require("lrun.host.places").here()) end     -- and the caller goes on
end

--- Runs the functions side by side and returns their first results in order. The first error is thrown here; the other
--- functions go on, and what becomes of them is dropped.
---@param functions function[]
---@return any[] results
function await.all(functions)
  validate.table(functions, "functions")
  local all = #functions
  for i = 1, all do
    if type(functions[i]) ~= "function" then error(errors.argType("functions[" .. i .. "]", "function", functions[i]), 0) end
  end
  local results, open = {}, all
  if all == 0 then return results end
  local parent = coroutine.running()
  local function failedAt(err)
    traceback.keep(err)
    return err
  end
  local failed, err = call(await, function(resume)
    for i = 1, all do
      vm.enter(function()
        local co = coroutine.running()
        traceback.join(co, parent)
        local ok, result = xpcall(functions[i], failedAt)
        traceback.join(co, nil)
        if not ok then return resume(true, result) end
        results[i] = result
        open = open - 1
        if open == 0 then resume(false) end
      end)
    end
  end)
  if failed then error(err, 0) end
  return results
end

calls.functions(await, "await")

return setmetatable(await, { __call = call })
