--- Values as text that a person can read and, where that is possible, Lua can read back: what the prompt and `lrun -p`
--- print.
---
--- A value becomes text from the inside out: each table first asks for the text of its entries, then chooses the
--- narrowest layout that holds them: one line, columns of short items, one entry a line.

local loaded = require("lrun.core.loaded")

---@class inspect
---@overload fun(value: any, options: InspectOptions?): string
local inspect = {}

---@class InspectOptions
---@field depth number? tables inside tables that are shown; default 2, `math.huge` for all
---@field colors boolean? with terminal escapes; default false
---@field breakLength integer? columns of a line; default 80
---@field maxLength integer? entries of one table that are shown; default 100
---@field maxStringLength integer? bytes of one string that are shown; default 10000
---@field showHidden boolean? also private fields (`_name`) of objects, and metatables; default false

local DEFAULTS = { depth = 2, colors = false, breakLength = 80, maxLength = 100, maxStringLength = 10000, showHidden = false }
local ENTRY_BUDGET = 20000          -- entries of all tables together: what is shared is shown again each time
local DEPTH_LIMIT = 500             -- whatever `depth` says: each level takes a piece of the stack

local STYLES = {
  string = "32", number = "33", boolean = "33", ["nil"] = "1", ["function"] = "36", special = "36", cdata = "33",
  thread = "35", userdata = "35", more = "90", error = "31",
}

local KEYWORDS = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat return then true until
while]]):gmatch("%a+") do KEYWORDS[word] = true end

local function paint(state, style, text)
  if not state.colors then return text end
  return ("\27[%sm%s\27[0m"):format(STYLES[style], text)
end

-- Strings -------------------------------------------------------------------------------------------------------------

local ESCAPES = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ["\\"] = "\\\\" }

-- The length of the UTF-8 character that starts at `i`, or nil when there is none.
local function utf8Length(text, i)
  local a, b, c, d = text:byte(i, i + 3)
  local function follows(byte) return byte and byte >= 0x80 and byte < 0xC0 end
  if a >= 0xC2 and a < 0xE0 then return follows(b) and not (a == 0xC2 and b < 0xA0) and 2 or nil end
  if a >= 0xE0 and a < 0xF0 then
    local valid = follows(b) and follows(c) and not (a == 0xE0 and b < 0xA0) and not (a == 0xED and b >= 0xA0)
    return valid and 3 or nil
  end
  if a >= 0xF0 and a < 0xF5 then
    local valid = follows(b) and follows(c) and follows(d) and not (a == 0xF0 and b < 0x90) and not (a == 0xF4 and b >= 0x90)
    return valid and 4 or nil
  end
end

-- Bytes from 0x80 on: whole UTF-8 characters stay, anything else is shown as \xHH.
local function escapeHigh(text)
  local out, i = {}, 1
  while i <= #text do
    local byte = text:byte(i)
    local length = byte < 0x80 and 1 or utf8Length(text, i)
    out[#out + 1] = length and text:sub(i, i + length - 1) or ("\\x%02X"):format(byte)
    i = i + (length or 1)
  end
  return table.concat(out)
end

local function quote(text)
  if not text:find('[%c"\\\128-\255]') then return '"' .. text .. '"' end
  local mark = text:find('"', 1, true) and not text:find("'", 1, true) and "'" or '"'
  local escaped = text:gsub("[%c\\" .. mark .. "]", function(char)
    if char == mark then return "\\" .. mark end
    return ESCAPES[char] or ("\\x%02X"):format(char:byte())
  end)
  if escaped:find("[\128-\255]") then escaped = escapeHigh(escaped) end
  return mark .. escaped .. mark
end

local function formatString(state, text)
  local hidden = #text - state.maxStringLength
  if hidden <= 0 then return paint(state, "string", quote(text)) end
  return paint(state, "string", quote(text:sub(1, state.maxStringLength))) ..
    paint(state, "more", ("... %d more byte%s"):format(hidden, hidden == 1 and "" or "s"))
end

-- Other values without entries ----------------------------------------------------------------------------------------

local function formatNumber(number)
  if number ~= number then return "nan" end
  if number == math.huge then return "math.huge" end
  if number == -math.huge then return "-math.huge" end
  if number == 0 then return 1 / number < 0 and "-0" or "0" end
  if number == math.floor(number) and math.abs(number) < 2 ^ 53 then return ("%d"):format(number) end
  local short = ("%.14g"):format(number)
  return tonumber(short) == number and short or ("%.17g"):format(number)
end

local function formatFunction(f)
  local info = debug.getinfo(f, "S")
  if info.what == "C" or info.linedefined < 0 or info.short_src:find("^lrun:") then return "<function: built-in>" end
  return ("<function: %s:%d>"):format(info.short_src, info.linedefined)
end

-- Of a value whose own conversion fails, the type.
local function safeText(value)
  local ok, text = pcall(tostring, value)
  return ok and type(text) == "string" and text or type(value)
end

local function isNull(value)
  local json = loaded["lrun.core.json"] or loaded.cjson
  return json ~= nil and value == json.null
end

local leaves = {
  string = formatString,
  number = function(state, value) return paint(state, "number", formatNumber(value)) end,
  boolean = function(state, value) return paint(state, "boolean", tostring(value)) end,
  ["nil"] = function(state) return paint(state, "nil", "nil") end,
  ["function"] = function(state, value) return paint(state, "function", formatFunction(value)) end,
  thread = function(state, value)
    return paint(state, "thread", ("<%s, %s>"):format(tostring(value), coroutine.status(value)))
  end,
  cdata = function(state, value)
    local text = safeText(value)
    return paint(state, "cdata", text:find("^cdata<") and "<" .. text .. ">" or text)
  end,
  userdata = function(state, value)
    if isNull(value) then return paint(state, "nil", "json.null") end
    return paint(state, "userdata", "<" .. safeText(value) .. ">")
  end,
}

-- Tables --------------------------------------------------------------------------------------------------------------

local function metatableOf(value)
  local meta = debug.getmetatable(value)
  return type(meta) == "table" and meta or nil
end

local function field(t, name)
  local value = rawget(t, name)
  return type(value) == "string" and value ~= "" and value or nil
end

local function nameOf(class) return field(class, "name") or field(class, "__name") end

-- A class is its instances' metatable and has a name.
local function classOf(value)
  local meta = metatableOf(value)
  return meta and nameOf(meta) and meta or nil
end

local function isClass(value)
  return field(value, "name") and (rawget(value, "__index") ~= nil or rawget(value, "__getters") ~= nil)
end

local function isError(value)
  local class = classOf(value)
  return class and rawget(class, "name") == "Error" and rawget(value, "message") ~= nil
end

local RANKS = { number = 1, string = 2, boolean = 3 }

local function before(a, b)
  local rankA, rankB = RANKS[type(a)] or 4, RANKS[type(b)] or 4
  if rankA ~= rankB then return rankA < rankB end
  if rankA == 1 or rankA == 2 then return a < b end
  return ("%p"):format(a) < ("%p"):format(b)
end

-- How many entries from 1 on have no hole between them.
local function sequenceLength(t)
  local n = 0
  while rawget(t, n + 1) ~= nil do n = n + 1 end
  return n
end

local function formatKey(state, key)
  if type(key) == "string" then
    if key:find("^[%a_][%w_]*$") and not KEYWORDS[key] then return key end
    return "[" .. paint(state, "string", quote(key)) .. "]"
  end
  if type(key) == "table" then return ("[<table: %p>]"):format(key) end
  return "[" .. (leaves[type(key)](state, key)) .. "]"
end

local function isHiddenKey(key) return type(key) == "string" and key:find("^_") end

local ERROR_FIELDS_SHOWN_ELSEWHERE = { message = true, stack = true }

-- What a table holds as its own `__pairs` tells it, which may make it up, without end.
local function entriesByPairs(t, iterate)
  local values, count = {}, 0
  local ok = pcall(function()
    for key, value in iterate(t) do
      values[key], count = value, count + 1
      if count == ENTRY_BUDGET then break end
    end
  end)
  return ok and values or t
end

-- Whether the numbered fields of a class's objects are as private as those whose names begin with an underscore.
local function hidesItems(state, class) return class and not state.showHidden and rawget(class, "hidesItems") == true end

-- The keys beside the sequence, sorted, and what they hold.
local function otherKeys(state, t, length, class)
  local keys, values = {}, t
  local meta = metatableOf(t)
  local iterate = meta and rawget(meta, "__pairs")
  if type(iterate) == "function" then values = entriesByPairs(t, iterate) end
  local failed = isError(t)
  for key in next, values do
    local inSequence = type(key) == "number" and key >= 1 and key <= length and key == math.floor(key)
    local hidden = class and not state.showHidden and isHiddenKey(key) or type(key) == "number" and hidesItems(state, class)
    if not inSequence and not hidden and not (failed and ERROR_FIELDS_SHOWN_ELSEWHERE[key]) then keys[#keys + 1] = key end
  end
  table.sort(keys, before)
  return keys, values
end

local function saysSomething(value)
  local kind = type(value)
  return kind == "string" and value ~= "" or kind == "number" and value ~= 0 or value == true
end

-- Computed fields of an object that hold something short to say; `inherited`: also those of the classes above its own.
local function addComputed(keys, values, t, class, inherited)
  local getters = rawget(class, "__getters")
  if type(getters) ~= "table" then return keys, values end
  local copy, seen = {}, {}
  for _, key in ipairs(keys) do copy[key], seen[key] = rawget(values, key), true end
  while type(getters) == "table" do
    for name, compute in next, getters do
      if not seen[name] and type(name) == "string" and type(compute) == "function" then
        seen[name] = true
        local ok, value = pcall(compute, t)
        if ok and saysSomething(value) then keys[#keys + 1], copy[name] = name, value end
      end
    end
    local meta = inherited and getmetatable(getters)
    getters = type(meta) == "table" and meta.__index or nil
  end
  table.sort(keys, before)
  return keys, copy
end

local function visibleWidth(text)
  if not text:find("[\27\128-\191]") then return #text end
  local plain = text:gsub("\27%[[%d;]*m", "")
  local _, continuation = plain:gsub("[\128-\191]", "")
  return #plain - continuation
end

local function pad(text, width, left)
  local space = (" "):rep(width - visibleWidth(text))
  return left and space .. text or text .. space
end

-- Short items in columns of equal width, numbers to the right; nil when columns would not help.
local function inColumns(state, items, indent, numeric)
  if #items <= 6 then return end
  local widest, total = 0, 0
  for _, item in ipairs(items) do
    local width = visibleWidth(item)
    widest, total = math.max(widest, width), total + width
  end
  local columns = math.floor((state.breakLength - indent - 2) / (widest + 2))
  columns = math.min(columns, 16, math.ceil(math.sqrt(2.5 * (total / #items + 2) * #items) / (total / #items + 2)))
  if columns < 2 then return end
  local lines = {}
  for first = 1, #items, columns do
    local row = {}
    for i = first, math.min(first + columns - 1, #items) do
      local last = i == #items
      local text = items[i] .. (last and "" or ",")
      row[#row + 1] = numeric and pad(text, widest + (last and 0 or 1), true)
        or (i == first + columns - 1 or last) and text or pad(text, widest + 1)
    end
    lines[#lines + 1] = table.concat(row, " ")
  end
  return lines
end

local format

local function more(state, hidden)
  return paint(state, "more", ("... %d more"):format(hidden))
end

-- The texts of all entries; also whether all belong to the sequence, and whether all are numbers.
local function entriesOf(state, t, class, level, indent)
  local texts, length = {}, hidesItems(state, class) and 0 or sequenceLength(t)
  local keys, values = otherKeys(state, t, length, class)
  if class then keys, values = addComputed(keys, values, t, class, level == 0) end
  local numeric, count = true, 0
  local function add(key, value, named)
    local prefix = named and formatKey(state, key) .. " = " or ""
    texts[#texts + 1] = prefix .. format(state, value, level + 1, indent + 2, indent + 2 + visibleWidth(prefix))
    count = count + 1
    state.entries = state.entries + 1
  end
  local function full(hidden)
    if hidden <= 0 or count < state.maxLength and state.entries < ENTRY_BUDGET then return false end
    texts[#texts + 1] = more(state, hidden)
    return true
  end
  local firstNamed = 1
  while type(keys[firstNamed]) == "number" and keys[firstNamed] < 1 do
    add(keys[firstNamed], rawget(values, keys[firstNamed]), true)
    firstNamed = firstNamed + 1
  end
  for i = 1, length do
    if full(length - i + 1) then break end
    local value = rawget(t, i)
    numeric = numeric and type(value) == "number"
    add(i, value, false)
  end
  count = 0
  for i = firstNamed, #keys do
    if full(#keys - i + 1) then break end
    add(keys[i], rawget(values, keys[i]), true)
  end
  local meta = metatableOf(t)
  if meta and (state.showHidden or not class and not rawget(meta, "__pairs")) then
    texts[#texts + 1] = paint(state, "special", "<metatable>") .. " = " ..
      (class and "<" .. nameOf(class) .. ">" or format(state, meta, level + 1, indent + 2, indent + 16))
  end
  return texts, #keys == 0 and length > 0, numeric
end

local function layout(state, prefix, texts, list, numeric, indent, column)
  if #texts == 0 then return prefix .. "{}" end
  local single = prefix .. "{ " .. table.concat(texts, ", ") .. " }"
  local flat = not single:find("\n", 1, true)
  local fits = flat and (column + #single <= state.breakLength or column + visibleWidth(single) <= state.breakLength)
  if fits and not (list and #texts > 24) then return single end
  local lines = flat and list and inColumns(state, texts, indent, numeric)
  local separator = lines and "\n" or ",\n"
  lines = lines or texts
  local margin = (" "):rep(indent + 2)
  return prefix .. "{\n" .. margin .. table.concat(lines, separator .. margin) .. "\n" .. (" "):rep(indent) .. "}"
end

local function ownText(t)
  local meta = metatableOf(t)
  local convert = meta and not isError(t) and rawget(meta, "__tostring")
  if type(convert) ~= "function" then return end
  local ok, text = pcall(convert, t)
  return ok and type(text) == "string" and text or nil
end

local function prefixOf(state, t, class)
  if isError(t) then
    local name = field(t, "name") or "Error"
    return paint(state, "error", ("[%s: %s]"):format(name, tostring(rawget(t, "message")))), true
  end
  if class then return nameOf(class) .. " " end
  return ""
end

local function formatTable(state, t, level, indent, column)
  local seen = state.seen
  if seen[t] then
    if not state.references[t] then
      state.referenceCount = state.referenceCount + 1
      state.references[t] = state.referenceCount
    end
    return paint(state, "special", ("<circular *%d>"):format(state.references[t]))
  end
  if isClass(t) and not (state.showHidden and level == 0) then
    local super = rawget(t, "super")
    local parent = type(super) == "table" and field(super, "name")
    return paint(state, "special", "<class " .. t.name .. (parent and ": " .. parent or "") .. ">")
  end
  local class = classOf(t)
  local text = ownText(t)
  if text then return text end
  local prefix, failed = prefixOf(state, t, class)
  if level > state.depth or level > DEPTH_LIMIT then
    if failed then return prefix end
    return next(t) == nil and prefix .. "{}" or prefix .. "{" .. paint(state, "special", "...") .. "}"
  end
  seen[t] = true
  local texts, list, numeric = entriesOf(state, t, class, level, indent)
  seen[t] = nil
  if failed then
    if #texts == 0 then return prefix end
    prefix = prefix .. " "
  end
  local reference = state.references[t]
  if reference then prefix = paint(state, "special", ("<ref *%d>"):format(reference)) .. " " .. prefix end
  return layout(state, prefix, texts, list, numeric, indent, column)
end

function format(state, value, level, indent, column)
  local leaf = leaves[type(value)]
  if leaf then return leaf(state, value) end
  return formatTable(state, value, level, indent, column)
end

local function fail(name, expected, value)
  local message = ('The "%s" argument must be of type %s. Received %s'):format(name, expected,
    value == nil and "nil" or "type " .. type(value))
  local ok, errors = pcall(require, "errors")
  error(ok and errors.argType and errors.argType(name, expected, value) or message, 0)
end

local function checkOption(name, value)
  local expected = type(DEFAULTS[name])
  if type(value) ~= expected then fail("options." .. name, expected, value) end
end

--- `value` as text. Keys are sorted; a table inside itself is shown as `<circular *1>`, an object under its class's name;
--- strings are quoted as Lua, bytes that are no text as `\xHH`. Never calls what it shows, but for `__tostring`, `__pairs`
--- and computed fields. Source: ours, after Node's `util.inspect`.
---@param value any
---@param options InspectOptions?
---@return string
function inspect.inspect(value, options)
  if options ~= nil and type(options) ~= "table" then fail("options", "table", options) end
  local state = { seen = {}, references = {}, referenceCount = 0, entries = 0 }
  for name, default in pairs(DEFAULTS) do
    local given = options and options[name]
    if given ~= nil then checkOption(name, given) else given = default end
    state[name] = given
  end
  return format(state, value, 0, 0, 0)
end

return setmetatable(inspect, { __call = function(_, value, options) return inspect.inspect(value, options) end })
