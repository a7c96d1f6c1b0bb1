--- Sequential code over callbacks. A coroutine that awaits is suspended and resumed through the host's door, so an error
--- in it ends where one in a callback does. Nothing but the callback holds a waiting coroutine: dropping the callback
--- frees it.
local vm = require("lrun.core.vm")
local errors = require("errors")
local calls = require("lrun.check.calls")
local traceback = require("lrun.host.traceback")
local waiting = require("lrun.core.wait")

local newCallback, wait = waiting.callback, waiting.wait

-- Suspends until the callback that `begin` gets is called, and returns what that was given.
local function suspend(begin)
  local callback = newCallback()
  begin(callback)
  return wait(callback)
end

---@class await
---@overload fun(f: function, ...: any): ...any
local await = {}

--- Calls `f(..., callback)` and returns what the callback gets.
---@param f function whose last parameter is a callback
local function call(_, f, ...)
  if type(f) ~= "function" and not (getmetatable(f) or {}).__call then error(errors.argType("f", "function", f), 0) end
  local callback = newCallback()
  local count = select("#", ...)
  if count == 0 then
    f(callback)
  elseif count == 1 then
    f((...), callback)
  else
    local arguments = { ... }
    arguments[count + 1] = callback
    f(unpack(arguments, 1, count + 1))
  end
  return wait(callback)
end

--- Waits.
---@param ms number milliseconds
function await.sleep(ms)
  if type(ms) ~= "number" then error(errors.argType("ms", "number", ms), 0) end
  suspend(function(resume) require("timers").setTimeout(resume, ms) end)
end

--- Runs `f(...)` in a coroutine of its own, which starts at once.
---@param f function
function await.spawn(f, ...)
  if type(f) ~= "function" then error(errors.argType("f", "function", f), 0) end
  local origin = traceback.here()
  vm.enter(function(...)
    local co = coroutine.running()
    traceback.started(co, origin)
    f(...)
    traceback.started(co, nil)
  end, ...)
end

--- Runs the functions side by side and returns their first results in order. The first error is thrown here; the other
--- functions go on, and what becomes of them is dropped.
---@param functions function[]
---@return any[] results
function await.all(functions)
  if type(functions) ~= "table" then error(errors.argType("functions", "table", functions), 0) end
  local count = #functions
  for i = 1, count do
    if type(functions[i]) ~= "function" then error(errors.argType("functions[" .. i .. "]", "function", functions[i]), 0) end
  end
  local results, open = {}, count
  if count == 0 then return results end
  local parent = coroutine.running()
  local function failedAt(err)
    traceback.keep(err)
    return err
  end
  local failed, err = suspend(function(resume)
    for i = 1, count do
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
