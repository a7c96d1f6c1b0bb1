--- JSON text and Lua values. Decoding is strict (RFC 8259, UTF-8) and says where the text is wrong; encoding says which
--- value cannot be encoded. Both are done in runtime/json/decode.c and runtime/json/encode.c, as for the IPC channel's JSON wire.
---
--- Tables: one whose keys are whole numbers from 1 is an array, any other an object. An empty table is `{}`, as with
--- lua-cjson, unless its metatable has `__jsontype = "array"`: then it is `[]`. A hole in an array is null; an array of
--- which more than half is holes (and longer than 10) is an error. Number keys of an object become strings.
--- Numbers: whole ones up to 2^53 print as such, others with as many digits as give the same number back.
local native = require("lrun.core.json")
local errors = require("errors")
local validate = require("lrun.check.validate")
local calls = require("lrun.check.calls")

local MAX_PATH = 200                -- characters of a path in a message

---@class json
---@field null any stands for null, where nil would leave a hole
local json = {
  null = native.null,               -- null in an array, where nil would leave a hole; a truthy value
}

local function lineAndColumn(text, offset)
  local line, start = 1, 1
  for at in text:sub(1, offset - 1):gmatch("\n()") do line, start = line + 1, at end
  return line, offset - start + 1
end

local function decodeError(text, offset, reason)
  local line, column = lineAndColumn(text, offset)
  return errors.coded("ERR_INVALID_JSON", ("Invalid JSON at line %d, column %d: %s"):format(line, column, reason),
    { line = line, column = column, offset = offset })
end

--- Reads JSON text. null is nil; in an array, where it would be a hole, it is `json.null`. Objects with a key twice keep
--- the last. Up to 1000 levels.
---@param text string
---@return any value
--- Throws an error object with `code` "ERR_INVALID_JSON", `line`, `column`, `offset` (bytes, from 1).
function json.decode(text)
  if type(text) ~= "string" then
    if text == json then calls.needsDot("json", "decode") end
    validate.string(text, "text")
  end
  local value, offset, reason = native.decode(text)
  if offset then error(decodeError(text, offset, reason), 0) end
  return value
end

local function describe(key)
  if type(key) == "string" then
    return key:find("^[%a_][%w_]*$") and "." .. key or ("[%q]"):format(key):gsub("\\\n", "\\n")
  end
  return ("[%s]"):format(tostring(key))
end

-- The path that `keys` make, up to where a table contains itself, if one does.
local function pathOf(value, keys)
  local parts, seen, cyclic = {}, {}, false
  for i, key in ipairs(keys) do
    if type(value) == "table" then
      if seen[value] then
        cyclic = true
        break
      end
      seen[value] = true
      value = rawget(value, key)
    end
    parts[i] = describe(key)
  end
  return (table.concat(parts):gsub("^%.", "")), cyclic
end

local function encodeError(value, reason, keys)
  local path, cyclic = pathOf(value, keys)
  if cyclic then reason = "it contains itself" end
  local shown = #path > MAX_PATH and path:sub(1, MAX_PATH) .. "..." or path
  return errors.coded("ERR_INVALID_ARG_VALUE",
    ("Cannot encode %s as JSON: %s"):format(shown == "" and "the value" or shown, reason), { path = path })
end

--- Writes a value as JSON text. nil is null. Up to 1000 levels; `/` is not escaped, strings must be UTF-8.
---@param value any
---@return string text
--- Throws an error object with `code` "ERR_INVALID_ARG_VALUE" and `path`, such as "users[3].name", for what JSON has
--- not: functions, userdata, NaN, infinities, tables that contain themselves, strings that are not UTF-8.
function json.encode(value)
  local text, reason, keys = native.encode(value)
  if not text and value == json then calls.needsDot("json", "encode") end
  if not text then error(encodeError(value, reason, keys), 0) end
  return text
end

calls.functions(json, "json", { encode = true, decode = true })  -- which look for a colon only where something is wrong

return json
