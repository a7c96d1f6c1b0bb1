--- The coroutines of this process that wait: where each stands, and what it awaits.
local traceback = require("lrun.host.traceback")
local walk = require("lrun.probe.walk")
local wire = require("lrun.manager.wire")

local stacks = {}

local LIMIT = 1000                  -- ms that the process may stand still for it
local SHOWN = 200                   -- kinds of coroutines
local MAX_LEVELS = 100

local function isRuntime(info) return info.short_src:find("^lrun:") ~= nil or info.what == "C" or info.short_src:find("^%[builtin") end

-- Function of a module → "module.name".
local function publicNames()
  local names = {}
  local loaded = require("lrun.core.loaded")
  for _, module in ipairs(require("lrun.host.modules").names()) do
    local api = loaded[module]
    if type(api) == "table" then
      for name, value in next, api do
        if type(name) == "string" and type(value) == "function" and not name:find("^_") then names[value] = module .. "." .. name end
      end
    end
  end
  return names
end

local function describe(f, names)
  if names[f] then return names[f] end
  if type(f) ~= "function" then return nil end
  local info = debug.getinfo(f, "S")
  if info.what == "C" then return nil end
  return ("the callback of %s:%d"):format(info.short_src, info.linedefined)
end

-- What a coroutine awaits: the function of the runtime that the innermost line of the user's called, or what it gave `await` to call.
---@param given function? that
local function awaited(co, names, given)
  local found
  for level = 0, MAX_LEVELS do
    local info = debug.getinfo(co, level, "Snf")
    if not info or not isRuntime(info) then break end
    found = info
  end
  if not found then return nil end
  if names[found.func] then return names[found.func] end
  local module = found.short_src:match("^lrun:([%w_]+)%.lua$")
  if found.name and (found.namewhat == "field" or found.namewhat == "method") then
    return (module and module .. "." or found.func == coroutine.yield and "coroutine." or "") .. found.name
  end
  return given and describe(given, names) or found.name or found.short_src
end

local function textOf(co)
  local lines = {}
  for i, frame in ipairs(traceback.frames(co)) do lines[i] = frame.text end
  return lines
end

-- Coroutines that stand at the same place are one entry.
local function gather(threads, given)
  local list, byText, names = wire.list(), {}, publicNames()
  local left = 0
  for _, co in ipairs(threads) do
    local frames = textOf(co)
    local awaits = awaited(co, names, given[co])
    local key = table.concat(frames, "\n") .. "\n" .. (awaits or "")
    local known = byText[key]
    if known then known.count = known.count + 1
    elseif #frames == 0 then -- luacheck: ignore 542
      -- the runtime's own
    elseif #list >= SHOWN then left = left + 1
    else
      byText[key] = { count = 1, frames = wire.list(frames), awaits = awaits }
      list[#list + 1] = byText[key]
    end
  end
  return list, left
end

--- All of them.
---@return { coroutines: table[], left: integer, isWhole: boolean }
function stacks.waiting()
  local threads, given, own = {}, {}, coroutine.running()
  local walked = walk.all{ limit = LIMIT, visit = function(object, kind)
    if kind == "table" then
      local f, co = rawget(object, "awaits"), rawget(object, "coroutine")     -- the cell of an await (await.lua)
      if type(f) == "function" and type(co) == "thread" then given[co] = f end
    elseif kind == "thread" and object ~= own and coroutine.status(object) == "suspended" and debug.getinfo(object, 0, "l") then
      threads[#threads + 1] = object
    end
  end }
  local list, left = gather(threads, given)
  return { coroutines = list, left = left, isWhole = walked.isWhole }
end

--- The call.
function stacks.stack(_, _, answer) answer.ok(wire.pack(stacks.waiting())) end

return stacks
