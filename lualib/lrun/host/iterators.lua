--- Coroutines that wait (`await`) and how they are resumed, also those that the program made itself.
---
--- A coroutine of the host's is parked: the callback resumes it. One of `coroutine.wrap` that a generic `for` calls has its
--- loop wait in its place: it yields MARK and the cell of its wait to the function below, which suspends the loop's
--- coroutine for the same cell, and hands the results down. Any other coroutine of the program's is parked as well: the call
--- that resumed it returns, which makes it a task of its own; what it yields later nobody gets, and a warning says so.
local errors = require("errors")
local waiting = require("lrun.core.wait")

local resume, isyieldable, plainWrap = coroutine.resume, coroutine.isyieldable, coroutine.wrap
local park, running = waiting.park, waiting.running

local iterators = {}

local MARK = {}
local wrapped = setmetatable({}, { __mode = "k" })  -- coroutine → true while only its wrapper resumes it

--- Suspends the coroutine that runs until `wake(cell, ...)`; returns what that is given.
---@param cell table
function iterators.suspend(cell)
  local co, own = running()
  cell.coroutine = co
  if own then return park() end
  if wrapped[co] then return park(MARK, cell) end
  cell.foreign = true
  return park()
end

local warned = false

local function warn(co)
  if warned then return end
  warned = true
  local traceback = require("lrun.host.traceback")
  local place = traceback.place(traceback.frames(co))
  require("process").emitWarning(("%sa coroutine that waited in await yields to nobody: the call that resumed it has returned. "
    .. "Iterate over it with `for value in coroutine.wrap(f) do`, or hand its values over by a callback"):format(
    place and ("%s:%d: "):format(place.path, place.line) or ""))
end

local SURE = 100                    -- values that any coroutine has room for

--- Resumes what waits for the cell, once. What is no cell waits for nothing.
---@param cell table|integer
function iterators.wake(cell, ...)
  if type(cell) ~= "table" or cell.over then return end
  local co = cell.coroutine
  if select("#", ...) > SURE then waiting.room(co, select("#", ...)) end
  cell.over = true
  if waiting.resume(co, ...) and cell.foreign then warn(co) end
end

-- Whether the function that calls this was called by a generic `for`.
local function isIterating()
  local info = debug.getinfo(2, "n")
  return info.name == "(for generator)"
end

local pass

local function go(co, ...) return pass(co, resume(co, ...)) end

function pass(co, ok, value, cell, ...)
  if not ok then error(value, type(value) == "string" and 2 or 0) end
  if value ~= MARK then return value, cell, ... end
  if not isIterating() then
    wrapped[co] = nil
    cell.foreign = true
    return
  end
  if not isyieldable() then
    error(errors.coded("ERR_INVALID_STATE", "a loop inside a function that was called from C cannot wait for its iterator"), 0)
  end
  return go(co, iterators.suspend(cell))
end

--- Lua's own, but for an iterator that waits.
---@param f function
---@return function
function iterators.wrap(f)
  if type(f) ~= "function" then return plainWrap(f) end           -- throws
  local co = coroutine.create(f)
  wrapped[co] = true
  return function(...) return pass(co, resume(co, ...)) end
end

rawset(coroutine, "wrap", iterators.wrap)

return iterators
