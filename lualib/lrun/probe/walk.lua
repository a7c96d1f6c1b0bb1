--- Walks all that Lua can reach in this process, nearest first: from the globals, the modules that were loaded, the registry.
--- An object is seen once, by the shortest way to it, which can be told: names of fields and of upvalues. What is held weakly
--- only is not followed.
local uv = require("luv")

local walk = {}

local isObject = { table = true, ["function"] = true, thread = true, userdata = true }

local function isName(key) return type(key) == "string" and key:find("^[%a_][%w_]*$") ~= nil end

local function keyText(key)
  if isName(key) then return "." .. key end
  if type(key) == "string" then return (("[%q]"):format(#key > 40 and key:sub(1, 40) .. "…" or key):gsub("\n", "n")) end
  if type(key) == "number" or type(key) == "boolean" then return ("[%s]"):format(tostring(key)) end
  return ("[%s]"):format(type(key))
end

-- A step of the way from an object to another: what it is, and its name.
local KEY, FIELD, META, UPVALUE, ENVIRONMENT, LOCAL = 1, 2, 3, 4, 5, 6

local function stepText(kind, name)
  if kind == FIELD then return keyText(name) end
  if kind == KEY then return "<key>" end
  if kind == META then return "<metatable>" end
  if kind == UPVALUE then return "(upvalue " .. name .. ")" end
  if kind == ENVIRONMENT then return "<environment>" end
  return "(local " .. name .. ")"
end

local function place(f)
  local info = debug.getinfo(f, "S")
  return info.what == "C" and "C function" or ("%s:%d"):format(info.short_src, info.linedefined)
end

---@class Walk
---@field isWhole boolean false when the time was up
---@field objects any[] in the order in which they were reached
---@field places table<any, integer> of each object among them
---@field parents (integer|false)[] the place of the one by which each was reached
local Walk = {}
Walk.__index = Walk

--- The way to an object, such as `hugeTable.inside`, `app.lua:5(upvalue cache)`.
---@param object any
---@return string
function Walk:path(object)
  local parts, at = {}, self.places[object]
  while at do
    local each = self.objects[at]
    if self.roots[each] then
      table.insert(parts, 1, self.roots[each])
      break
    end
    if type(each) == "function" and #parts > 0 then
      table.insert(parts, 1, place(each))      -- says more than the way to it
      break
    end
    table.insert(parts, 1, stepText(self.kinds[at], self.names[at]))
    at = self.parents[at]
  end
  local text = table.concat(parts):gsub("^%.", "")
  return text ~= "" and text or "_G"
end

local function reach(self, object, from, kind, name)
  if self.places[object] then return end
  local count = self.count + 1
  self.count, self.places[object], self.objects[count] = count, count, object
  self.parents[count], self.kinds[count], self.names[count] = from, kind, name or false
end

local function ofTable(self, t, at)
  local meta = debug.getmetatable(t)
  local mode = type(meta) == "table" and rawget(meta, "__mode")
  local weakKeys = type(mode) == "string" and mode:find("k", 1, true)
  local weakValues = type(mode) == "string" and mode:find("v", 1, true)
  if meta then reach(self, meta, at, META) end
  local onString = self.onString
  for key, value in next, t do
    local keyType, valueType = type(key), type(value)
    if keyType == "string" then if onString then onString(key) end
    elseif isObject[keyType] and not weakKeys then reach(self, key, at, KEY) end
    if valueType == "string" then if onString then onString(value) end
    elseif isObject[valueType] and not weakValues then reach(self, value, at, FIELD, key) end
  end
end

local function ofFunction(self, f, at)
  for i = 1, 255 do
    local name, value = debug.getupvalue(f, i)
    if not name then break end
    if isObject[type(value)] then reach(self, value, at, UPVALUE, name ~= "" and name or "#" .. i)
    elseif type(value) == "string" and self.onString then self.onString(value) end
  end
  local environment = debug.getfenv(f)
  if environment then reach(self, environment, at, ENVIRONMENT) end
end

local DEEPEST = 1000                -- frames of a coroutine

local function ofThread(self, co, at)
  if co == self.own then return end
  for level = 0, DEEPEST do
    local info = debug.getinfo(co, level, "f")
    if not info then break end
    reach(self, info.func, at, LOCAL, "function")
    for i = 1, 250 do
      local name, value = debug.getlocal(co, level, i)
      if not name then break end
      if isObject[type(value)] then reach(self, value, at, LOCAL, name)
      elseif type(value) == "string" and self.onString then self.onString(value) end
    end
  end
end

local function ofUserdata(self, object, at)
  local meta = debug.getmetatable(object)
  if meta then reach(self, meta, at, META) end
  local environment = debug.getfenv(object)
  if environment then reach(self, environment, at, ENVIRONMENT) end
end

local FOLLOW = { table = ofTable, ["function"] = ofFunction, thread = ofThread, userdata = ofUserdata }

-- How the first objects are named; the first is the nearest.
local function addRoots(self)
  local function root(object, name)
    self.roots[object] = name
    reach(self, object, false, KEY)
  end
  root(_G, "")
  root(package.loaded, "package.loaded")
  root(require("lrun.core.loaded"), "lrun")
  root(debug.getregistry(), "registry")
end

local LOOK_AT_CLOCK = 4096          -- objects

--- Walks.
---@param options { visit: fun(object: any, kind: string), onString: fun(text: string)?, limit: number? } `limit`: ms
---@return Walk
function walk.all(options)
  local self = setmetatable({ places = {}, objects = {}, parents = {}, kinds = {}, names = {}, roots = {}, count = 0,
    onString = options.onString, own = coroutine.running(), isWhole = true }, Walk)
  addRoots(self)
  local objects, visit = self.objects, options.visit
  local stop = options.limit and uv.hrtime() + options.limit * 1e6
  local at = 1
  while at <= self.count do
    local object = objects[at]
    local kind = type(object)
    visit(object, kind)
    FOLLOW[kind](self, object, at)
    at = at + 1
    if stop and at % LOOK_AT_CLOCK == 0 and uv.hrtime() > stop then
      self.isWhole = false
      break
    end
  end
  return self
end

return walk
