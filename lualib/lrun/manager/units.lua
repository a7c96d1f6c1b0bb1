--- Durations and sizes as people write them: "1.5s" is 1500 ms, "300M" is 314572800 bytes. Plain values in and out.
local units = {}

local MS = { ms = 1, s = 1000, m = 60000, min = 60000, h = 3600000, d = 86400000 }
local BYTES = { b = 1, k = 1024, m = 1024 ^ 2, g = 1024 ^ 3, t = 1024 ^ 4 }

-- The longest that a timer can be, about 24 days.
units.MAX_DURATION = 2147483647
units.MAX_SIZE = 2 ^ 53

-- Below this a size without a unit is taken for one whose unit was forgotten.
local FORGOTTEN_UNIT = 64 * 1024

local function whole(value, max, what)
  if value ~= value or value < 0 or value > max then return nil, ("%s is out of range"):format(what) end
  return math.floor(value + 0.5)
end

--- Reads a duration.
---@param value any a number of ms, or a text such as "500ms", "1.5s", "2m", "1h", "1d"; digits alone are ms
---@return integer? ms
---@return string? problem
function units.duration(value)
  if type(value) == "number" then return whole(value, units.MAX_DURATION, value) end
  if type(value) ~= "string" then return nil, "a duration is a number of ms or a text such as \"1.5s\"" end
  local number, unit = value:lower():match("^%s*([%d.]+)%s*(%a*)%s*$")
  number = tonumber(number)
  local factor = unit and MS[unit == "" and "ms" or unit]
  if not number or not factor then return nil, ("'%s' is no duration: write 500, \"500ms\", \"1.5s\", \"2m\" or \"1h\""):format(value) end
  return whole(number * factor, units.MAX_DURATION, "'" .. value .. "'")
end

--- Reads a size.
---@param value any a number of bytes, or a text such as "300M", "64K", "1.5G"
---@return integer? bytes
---@return string? problem
function units.size(value)
  if type(value) == "number" then return whole(value, units.MAX_SIZE, value) end
  if type(value) ~= "string" then return nil, "a size is a number of bytes or a text such as \"300M\"" end
  local number, unit = value:lower():match("^%s*([%d.]+)%s*(%a?)i?b?%s*$")
  number = tonumber(number)
  local factor = unit and BYTES[unit == "" and "b" or unit]
  if not number or not factor then return nil, ("'%s' is no size: write \"300M\", \"64K\" or \"1G\""):format(value) end
  if unit == "" and not value:lower():find("b") and number < FORGOTTEN_UNIT then
    return nil, ("'%s' has no unit: write \"%sM\" or \"%sK\""):format(value, number, number)
  end
  return whole(number * factor, units.MAX_SIZE, "'" .. value .. "'")
end

--- A size for people: "12.3 MB".
---@param bytes number?
---@return string
function units.showSize(bytes)
  if not bytes then return "-" end
  for _, each in ipairs{ { 1024 ^ 3, "GB" }, { 1024 ^ 2, "MB" }, { 1024, "KB" } } do
    if bytes >= each[1] then return ("%.1f %s"):format(bytes / each[1], each[2]) end
  end
  return ("%d B"):format(bytes)
end

--- A duration for people: "3d 4h", "12s".
---@param ms number?
---@return string
function units.showDuration(ms)
  if not ms then return "-" end
  local seconds = math.floor(ms / 1000)
  if seconds < 60 then return seconds .. "s" end
  local minutes = math.floor(seconds / 60)
  if minutes < 60 then return ("%dm %ds"):format(minutes, seconds % 60) end
  local hours = math.floor(minutes / 60)
  if hours < 48 then return ("%dh %dm"):format(hours, minutes % 60) end
  return ("%dd %dh"):format(math.floor(hours / 24), hours % 24)
end

return units
