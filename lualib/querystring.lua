--- The queries of URLs and the bodies of HTML forms: `a=1&b=2` and tables. Source: Node 20. A name that comes again is a
--- list; bytes that are no UTF-8 stay as they are.
local encoding = require("lrun.core.encoding")
local calls = require("lrun.check.calls")
local validate = require("lrun.check.validate")

---@class querystring
local querystring = {}

local PLAIN = encoding.set("!'()*-._~")
local MAX_KEYS = 1000

--- Percent-encodes what cannot stand in a name or a value.
---@param text string
---@return string
function querystring.escape(text) return encoding.percent(validate.string(text, "text"), PLAIN) end

--- The opposite of `escape`. A `%` without two digits stays, and so does `+`.
---@param text string
---@return string
function querystring.unescape(text) return encoding.fromPercent(validate.string(text, "text"), false) end

local function add(result, name, value)
  local present = result[name]
  if present == nil then
    result[name] = value
  elseif type(present) == "table" then
    present[#present + 1] = value
  else
    result[name] = { present, value }
  end
end

-- `+` is a space before `decode` looks, as in Node.
local function decoded(text, decode)
  if not decode then
    local plain = not text:find("%", 1, true) and not text:find("+", 1, true)
    return plain and text or encoding.fromPercent(text, true)
  end
  local ok, value = pcall(decode, (text:gsub("+", " ")))
  return ok and value or encoding.fromPercent(text, true)
end

local function separator(value, name, default)
  if value == nil or value == "" then return default end
  return validate.string(value, name)
end

---@class QueryParseOptions
---@field maxKeys integer? names that are read, 1000; 0 for all
---@field decodeURIComponent (fun(text: string): string)? instead of `unescape`

--- Reads a query. Source: Node 20's `querystring.parse`.
---@param text string without the `?`
---@param sep string? between pairs, `"&"`
---@param eq string? between name and value, `"="`
---@param options QueryParseOptions?
---@return table<string, string|string[]> values
function querystring.parse(text, sep, eq, options)
  validate.string(text, "text")
  sep, eq = separator(sep, "sep", "&"), separator(eq, "eq", "=")
  options = validate.optional(validate.table, options, "options") or {}
  local left = validate.optional(validate.integer, options.maxKeys, "options.maxKeys") or MAX_KEYS
  local decode = validate.optional(validate.func, options.decodeURIComponent, "options.decodeURIComponent")
  if left <= 0 then left = math.huge end
  local result, at = {}, 1
  while at <= #text and left > 0 do
    local first, last = text:find(sep, at, true)
    local pair = text:sub(at, first and first - 1)
    local split, splitEnd = pair:find(eq, 1, true)
    if pair ~= "" then
      local name = split and pair:sub(1, split - 1) or pair
      add(result, decoded(name, decode), split and decoded(pair:sub(splitEnd + 1), decode) or "")
      left = left - 1
    end
    at = last and last + 1 or #text + 1
  end
  return result
end

local function primitive(value)
  if type(value) == "string" then return value end
  if type(value) == "boolean" then return tostring(value) end
  if type(value) == "number" and value - value == 0 then return tostring(value) end
  return ""
end

local function keysInOrder(values)
  local names = {}
  for name in pairs(values) do names[#names + 1] = name end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  return names
end

---@class QueryStringifyOptions
---@field encodeURIComponent (fun(text: string): string)? instead of `escape`

--- Writes a query, names in alphabetical order. A list gives its name once for each entry; what is no string, finite
--- number or boolean is empty. Source: Node 20's `querystring.stringify`, which keeps the order of a JavaScript object.
---@param values table<string, string|number|boolean|any[]>
---@param sep string? between pairs, `"&"`
---@param eq string? between name and value, `"="`
---@param options QueryStringifyOptions?
---@return string text
function querystring.stringify(values, sep, eq, options)
  if type(values) ~= "table" then return "" end
  sep, eq = separator(sep, "sep", "&"), separator(eq, "eq", "=")
  options = validate.optional(validate.table, options, "options") or {}
  local encode = validate.optional(validate.func, options.encodeURIComponent, "options.encodeURIComponent")
    or querystring.escape
  local pieces = {}
  for _, name in ipairs(keysInOrder(values)) do
    local value, prefix = values[name], encode(primitive(name)) .. eq
    if type(value) ~= "table" then
      pieces[#pieces + 1] = prefix .. encode(primitive(value))
    else
      for _, each in ipairs(value) do pieces[#pieces + 1] = prefix .. encode(primitive(each)) end
    end
  end
  return table.concat(pieces, sep)
end

--- The same as `parse`.
querystring.decode = querystring.parse

--- The same as `stringify`.
querystring.encode = querystring.stringify

calls.functions(querystring, "querystring")

return querystring
