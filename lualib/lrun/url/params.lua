--- URLSearchParams: the names and values of a query, in their order. One that belongs to a URL tells it of every change.
--- Source: WHATWG's URL standard, "URLSearchParams class"; bytes that are no UTF-8 stay as they are.
local encoding = require("lrun.core.encoding")
local calls = require("lrun.check.calls")
local errors = require("errors")

---@class URLSearchParams
---@field size integer how many pairs there are
local URLSearchParams = { name = "URLSearchParams" }
URLSearchParams.__index = function(self, key)
  if key == "size" then return #self._list end
  return URLSearchParams[key]
end

local PLAIN = encoding.set("*-._ ")

local function encode(text) return (encoding.percent(text, PLAIN):gsub(" ", "+")) end

local function text(value)
  local kind = type(value)
  if kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
    error(errors.argType("value", "string, number or boolean", value), 0)
  end
  return tostring(value)
end

local function name(value) return type(value) == "string" and value or text(value) end

-- A list of { name, value }.
local function parse(query)
  local list = {}
  for piece in query:gmatch("[^&]+") do
    local key, value = piece:match("^([^=]*)=(.*)$")
    list[#list + 1] = { encoding.fromPercent(key or piece, true), encoding.fromPercent(value or "", true) }
  end
  return list
end

local function copyOf(list)
  local copy = {}
  for i, pair in ipairs(list) do copy[i] = { pair[1], pair[2] } end
  return copy
end

local function fromTable(init)
  local list = {}
  if init[1] ~= nil then
    for i, pair in ipairs(init) do
      if type(pair) ~= "table" or pair[1] == nil or pair[2] == nil or pair[3] ~= nil then
        error(errors.argValue(("init[%d]"):format(i), pair, "must be a name and a value: { name, value }"), 0)
      end
      list[i] = { text(pair[1]), text(pair[2]) }
    end
    return list
  end
  local keys = {}
  for key in pairs(init) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for i, key in ipairs(keys) do list[i] = { text(key), text(init[key]) } end
  return list
end

--- Made from a query (with or without `?`), a list of `{ name, value }`, a table of values by name, or another one.
---@param init string|table|nil
---@return URLSearchParams
function URLSearchParams:new(init)
  if not rawequal(self, URLSearchParams) then calls.needsColon("URLSearchParams", "new") end
  if init ~= nil and type(init) ~= "string" and type(init) ~= "table" then
    error(errors.argType("init", "string or table", init), 0)
  end
  local list
  if type(init) == "string" then
    list = parse((init:gsub("^%?", "", 1)))
  elseif getmetatable(init or {}) == URLSearchParams then
    list = copyOf(init._list)
  else
    list = fromTable(init or {})
  end
  return setmetatable({ _list = list, _onChange = false }, URLSearchParams)
end

local function changed(self)
  if self._onChange then self._onChange(tostring(self)) end
end

--- The first value of a name.
---@param key string
---@return string? value
function URLSearchParams:get(key)
  key = name(key)
  for _, pair in ipairs(self._list) do if pair[1] == key then return pair[2] end end
end

--- Every value of a name.
---@param key string
---@return string[]
function URLSearchParams:getAll(key)
  key = name(key)
  local values = {}
  for _, pair in ipairs(self._list) do if pair[1] == key then values[#values + 1] = pair[2] end end
  return values
end

--- Whether the name is there, with this value if one is given.
---@param key string
---@param value string?
---@return boolean
function URLSearchParams:has(key, value)
  key = name(key)
  if value ~= nil then value = text(value) end
  for _, pair in ipairs(self._list) do
    if pair[1] == key and (value == nil or pair[2] == value) then return true end
  end
  return false
end

--- Adds a pair at the end.
---@param key string
---@param value string|number|boolean
function URLSearchParams:append(key, value)
  self._list[#self._list + 1] = { name(key), text(value) }
  changed(self)
end

-- Keeps what `keep` says.
local function filter(self, keep)
  local list = {}
  for _, pair in ipairs(self._list) do if keep(pair) then list[#list + 1] = pair end end
  self._list = list
  changed(self)
end

--- Takes a name away; with a value, only the pairs that have it.
---@param key string
---@param value string?
function URLSearchParams:delete(key, value)
  key = name(key)
  if value ~= nil then value = text(value) end
  filter(self, function(pair) return pair[1] ~= key or value ~= nil and pair[2] ~= value end)
end

--- Gives a name this one value: its first pair is changed, its others go; a new pair where there was none.
---@param key string
---@param value string|number|boolean
function URLSearchParams:set(key, value)
  key, value = name(key), text(value)
  if not self:has(key) then return self:append(key, value) end
  local found = false
  filter(self, function(pair)
    if pair[1] ~= key then return true end
    if found then return false end
    found = true
    pair[2] = value
    return true
  end)
end

-- As JavaScript compares: by UTF-16 units. They differ from bytes only where one text goes beyond U+FFFF and the other has
-- a letter from U+E000 on.
local function unitOrder(char)
  local byte = char:byte()
  return (byte >= 0xF0 and "\237\160\128" or "") .. char
end
local function sortKey(key) return (key:gsub("[\238-\244][\128-\191]*", unitOrder)) end

--- Sorts the pairs by name; those of one name keep their order.
function URLSearchParams:sort()
  local list = self._list
  local order, keys = {}, {}
  for i, pair in ipairs(list) do
    order[pair] = i
    keys[pair] = sortKey(pair[1])
  end
  table.sort(list, function(a, b)
    if keys[a] ~= keys[b] then return keys[a] < keys[b] end
    return order[a] < order[b]
  end)
  changed(self)
end

--- For a loop: `for name, value in params:entries() do`.
---@return fun(): string?, string? next
function URLSearchParams:entries()
  local i = 0
  return function()
    i = i + 1
    local pair = self._list[i]
    if pair then return pair[1], pair[2] end
  end
end

--- The names, one a pair: `for name in params:keys() do`.
---@return fun(): string? next
function URLSearchParams:keys()
  local next = self:entries()
  return function() return (next()) end
end

--- The values: `for value in params:values() do`.
---@return fun(): string? next
function URLSearchParams:values()
  local next = self:entries()
  return function() return (select(2, next())) end
end

URLSearchParams.__tostring = function(self)
  local pieces = {}
  for i, pair in ipairs(self._list) do pieces[i] = encode(pair[1]) .. "=" .. encode(pair[2]) end
  return table.concat(pieces, "&")
end

--- The query, without `?`.
---@return string
function URLSearchParams:toString() return tostring(self) end

calls.methods(URLSearchParams, "params", { new = true })

--- The pairs of a URL's query, which tell the URL of each change.
---@param query string
---@param onChange fun(query: string)
---@return URLSearchParams params
---@return fun(query: string) replace for when the URL has got another query
local function ofUrl(query, onChange)
  local params = URLSearchParams:new()
  params._list, params._onChange = parse(query), onChange
  return params, function(other) params._list = parse(other) end
end

return { URLSearchParams = URLSearchParams, ofUrl = ofUrl }
