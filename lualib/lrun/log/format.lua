--- Lines of the log: JSON for programs, text for people. Nothing here throws, whatever it is given.
local errors = require("errors")
local inspect = require("inspect").inspect
local json = require("json")

local format = {}

local OWN = { time = true, level = true, process = true, worker = true, text = true }

local function cleaned(text) return (text:gsub("[\128-\255]", "?")) end

-- A value as JSON; what JSON cannot say is text.
local function encode(value)
  if errors.isError(value) then value = { message = value.message, code = value.code } end
  local ok, text = pcall(json.encode, value)
  if ok then return text end
  local shown
  ok, shown = pcall(function() return type(value) == "string" and value or inspect(value) end)
  return json.encode(cleaned(ok and shown or type(value)))
end

local function keysOf(fields)
  local keys = {}
  for key in pairs(fields) do if not OWN[key] then keys[#keys + 1] = key end end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  return keys
end

---@class LogEntry
---@field time string ISO 8601
---@field level string
---@field process integer
---@field worker integer?
---@field text string
---@field fields table

--- One line of JSON. The log's own fields win over those of the program.
---@param entry LogEntry
---@return string
function format.json(entry)
  local parts = { '{"time":', encode(entry.time), ',"level":', encode(entry.level), ',"process":', entry.process }
  local function add(...) for i = 1, select("#", ...) do parts[#parts + 1] = (select(i, ...)) end end
  if entry.worker then add(',"worker":', entry.worker) end
  add(',"text":', encode(entry.text))
  for _, key in ipairs(keysOf(entry.fields)) do add(",", encode(tostring(key)), ":", encode(entry.fields[key])) end
  add("}\n")
  return table.concat(parts)
end

local COLORS = { debug = "\27[2m", info = "\27[32m", warn = "\27[33m", error = "\27[31m" }
local PLAIN = "\27[0m"

local function shown(value)
  if errors.isError(value) then return tostring(value) end
  if type(value) == "string" then return value:find("[%s%c\"=]") and ("%q"):format(value):gsub("\\\n", "\\n") or value end
  local ok, text = pcall(inspect, value)
  return ok and text:gsub("%s*\n%s*", " ") or type(value)
end

--- One line of text.
---@param entry LogEntry
---@param colored boolean
---@return string
function format.text(entry, colored)
  local level = ("%-5s"):format(entry.level)
  if colored then level = COLORS[entry.level] .. level .. PLAIN end
  local parts = { entry.time:match("T(.-)Z$"), " ", level, " " }
  if entry.worker then parts[#parts + 1] = ("[%d] "):format(entry.worker) end
  parts[#parts + 1] = entry.text:gsub("\n", "\n  ")
  for _, key in ipairs(keysOf(entry.fields)) do
    local field = tostring(key) .. "=" .. shown(entry.fields[key])
    parts[#parts + 1] = " " .. (colored and COLORS.debug .. field .. PLAIN or field)
  end
  parts[#parts + 1] = "\n"
  return table.concat(parts)
end

return format
