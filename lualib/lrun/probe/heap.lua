--- What the memory of this process holds: objects and bytes by type and by class, and the largest tables with the way to them.
--- Bytes are what LuaJIT allocates for an object, as far as Lua can tell; what is not reachable (garbage), machine code and the
--- buffers of C are in the total only. The process stands still meanwhile.
local probe = require("lrun.core.probe")
local walk = require("lrun.probe.walk")
local wire = require("lrun.manager.wire")

local heap = {}

local LARGEST, CLASSES = 20, 40

-- Sizes of LuaJIT's objects, with 64-bit references.
local TABLE, NODE, SLOT, STRING, FUNCTION, UPVALUE, PROTOTYPE, THREAD, USERDATA = 64, 24, 8, 25, 40, 48, 104, 96 + 48 * 8, 48

local function powerOfTwo(n)
  local size = 1
  while size < n do size = size * 2 end
  return size
end

-- → bytes, entries
local function sizeOfTable(t)
  local length, entries = #t, 0                 -- `#` of the table itself: LuaJIT asks no metamethod
  for _ in next, t do entries = entries + 1 end
  local inArray = math.min(length, entries)
  local bytes = TABLE
  if inArray > 0 then bytes = bytes + powerOfTwo(inArray + 1) * SLOT end
  if entries > inArray then bytes = bytes + powerOfTwo(entries - inArray) * NODE end
  return bytes, entries
end

local function nameOfClass(object)
  local meta = debug.getmetatable(object)
  if type(meta) ~= "table" then return nil end
  local name = rawget(meta, "name")
  if type(name) ~= "string" then name = rawget(meta, "__name") end
  return type(name) == "string" and name or nil
end

local function newCounter()
  local found = {}
  return found, function(name, bytes)
    local each = found[name]
    if not each then
      each = { name = name, count = 0, bytes = 0 }
      found[name] = each
    end
    each.count, each.bytes = each.count + 1, each.bytes + bytes
  end
end

-- The prototypes and upvalues that functions share are counted once.
local function newFunctions(count)
  local info, seen = require("jit.util").funcinfo, {}
  return function(f)
    local about = info(f)
    if not about.bytecodes then return FUNCTION + (about.upvalues or 0) * SLOT end
    for i = 1, about.upvalues do
      local id = debug.upvalueid(f, i)
      if not seen[id] then
        seen[id] = true
        count("upvalue", UPVALUE)
      end
    end
    local key = ("%s:%d:%d:%d"):format(about.source, about.linedefined, about.lastlinedefined, about.bytecodes)
    if not seen[key] then
      seen[key] = true
      count("prototype", PROTOTYPE + about.bytecodes * 5 + (about.gcconsts + about.nconsts) * SLOT + about.upvalues * 2)
    end
    return FUNCTION + about.upvalues * SLOT
  end
end

-- Keeps the largest.
local function newLargest(limit)
  local list, least = {}, 0
  return list, function(object, bytes, entries)
    if bytes <= least then return end
    list[#list + 1] = { object = object, bytes = bytes, entries = entries }
    if #list < 4 * limit then return end
    table.sort(list, function(a, b) return a.bytes > b.bytes end)
    for i = #list, limit + 1, -1 do list[i] = nil end
    least = list[limit].bytes
  end
end

local function sorted(found, limit)
  local list = wire.list()
  for _, each in pairs(found) do list[#list + 1] = each end
  table.sort(list, function(a, b)
    if a.bytes ~= b.bytes then return a.bytes > b.bytes end
    return a.name < b.name
  end)
  for i = #list, limit + 1, -1 do list[i] = nil end
  return list
end

--- Counts.
---@return { total: number, types: table[], classes: table[], tables: table[] }
function heap.count()
  local total = collectgarbage("count") * 1024
  local types, count = newCounter()
  local classes, countClass = newCounter()
  local largest, offer = newLargest(LARGEST)
  local sizeOfFunction = newFunctions(count)
  local strings = {}
  local function onString(text)
    if strings[text] then return end
    strings[text] = true
    count("string", STRING + #text)
  end
  local function visit(object, kind)
    local bytes, entries
    if kind == "table" then
      bytes, entries = sizeOfTable(object)
      offer(object, bytes, entries)
    elseif kind == "function" then bytes = sizeOfFunction(object)
    elseif kind == "thread" then kind, bytes = "coroutine", THREAD
    else
      local size = probe.size(object)
      if not size then return end
      bytes = USERDATA + size
    end
    count(kind, bytes)
    local class = (kind == "table" or kind == "userdata") and nameOfClass(object)
    if class then countClass(class, bytes) end
  end
  local walked = walk.all{ visit = visit, onString = onString }
  table.sort(largest, function(a, b) return a.bytes > b.bytes end)
  local tables = wire.list()
  for i = 1, math.min(LARGEST, #largest) do
    local each = largest[i]
    tables[i] = { path = walked:path(each.object), class = nameOfClass(each.object), bytes = each.bytes, entries = each.entries }
  end
  return { total = total, types = sorted(types, math.huge), classes = sorted(classes, CLASSES), tables = tables }
end

--- The call.
function heap.heap(_, _, answer) answer.ok(wire.pack(heap.count())) end

return heap
