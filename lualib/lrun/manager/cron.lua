--- Patterns of time in five or six fields: [second] minute hour day month weekday. Lists, ranges, steps, names of months and
--- days, `@daily` and its kin. When day and weekday are both given, either will do, as in cron. Plain values in and out.
local cron = {}

local MONTHS = { jan = 1, feb = 2, mar = 3, apr = 4, may = 5, jun = 6, jul = 7, aug = 8, sep = 9, oct = 10, nov = 11, dec = 12 }
local DAYS = { sun = 0, mon = 1, tue = 2, wed = 3, thu = 4, fri = 5, sat = 6 }
local FIELDS = {
  { name = "second", min = 0, max = 59 },
  { name = "minute", min = 0, max = 59 },
  { name = "hour", min = 0, max = 23 },
  { name = "day", min = 1, max = 31 },
  { name = "month", min = 1, max = 12, names = MONTHS },
  { name = "weekday", min = 0, max = 7, names = DAYS },
}
local SHORT = {
  ["@yearly"] = "0 0 1 1 *", ["@annually"] = "0 0 1 1 *", ["@monthly"] = "0 0 1 * *", ["@weekly"] = "0 0 * * 0",
  ["@daily"] = "0 0 * * *", ["@midnight"] = "0 0 * * *", ["@hourly"] = "0 * * * *",
}
local LONGEST = 366 * 9         -- days; the 29th of February is eight years away at most

local function number(text, field)
  local value = field.names and field.names[text:lower()] or text:match("^%d+$") and tonumber(text)
  if value and value >= field.min and value <= field.max then return value end
end

-- One entry of a list: `*`, `n`, `a-b`, each with `/step`.
local function readEntry(entry, field, set)
  local range, step = entry:match("^([^/]+)/?(.*)$")
  if not range or entry:find("/$") then return false end
  step = step == "" and 1 or tonumber(step:match("^%d+$"))
  if not step or step < 1 then return false end
  local first, last
  if range == "*" then
    first, last = field.min, field.name == "weekday" and 6 or field.max
  else
    local from, to = range:match("^(%w+)-(%w+)$")
    first = number(from or range, field)
    last = to and number(to, field) or not to and (entry:find("/") and field.max or first)
  end
  if not first or not last or first > last then return false end
  for value = first, last, step do set[value] = true end
  return true
end

local function readField(text, field)
  local set = { any = text == "*" }
  if text:find("^,") or text:find(",$") or text:find(",,") then return nil end
  for entry in text:gmatch("[^,]+") do
    if not readEntry(entry, field, set) then return nil end
  end
  if field.name == "weekday" and set[7] then set[0] = true end
  return set
end

---@class CronPattern
---@field second table<integer, boolean>
---@field minute table<integer, boolean>
---@field hour table<integer, boolean>
---@field day table<integer, boolean>
---@field month table<integer, boolean>
---@field weekday table<integer, boolean>

--- Reads a pattern.
---@param text string
---@return CronPattern? pattern
---@return string? problem which names the pattern
function cron.parse(text)
  if type(text) ~= "string" then return nil, "a pattern of time is a text such as \"0 3 * * *\"" end
  local words = {}
  for word in (SHORT[text:lower()] or text):gmatch("%S+") do words[#words + 1] = word end
  if #words == 5 then table.insert(words, 1, "0") end
  if #words ~= 6 then
    return nil, ("'%s' is no pattern of time: it has five fields (minute hour day month weekday), or six with seconds first"):format(text)
  end
  local pattern = {}
  for i, field in ipairs(FIELDS) do
    pattern[field.name] = readField(words[i], field)
    if not pattern[field.name] then
      return nil, ("'%s' is no pattern of time: '%s' is no %s (%d to %d)"):format(text, words[i], field.name, field.min, field.max)
    end
  end
  if not cron.next(pattern, os.time()) then return nil, ("'%s' never comes: no such day"):format(text) end
  return pattern
end

local function isDay(pattern, date)
  if not pattern.month[date.month] then return false end
  local day, weekday = pattern.day[date.day] or false, pattern.weekday[date.wday - 1] or false
  if pattern.day.any then return weekday end
  if pattern.weekday.any then return day end
  return day or weekday
end

-- The first time of a day, at or after what `from` says.
local function inDay(pattern, date, from)
  for hour = from.hour, 23 do
    if pattern.hour[hour] then
      local firstMinute = hour == from.hour and from.min or 0
      for minute = firstMinute, 59 do
        if pattern.minute[minute] then
          local firstSecond = hour == from.hour and minute == from.min and from.sec or 0
          for second = firstSecond, 59 do
            if pattern.second[second] then
              local time = os.time{ year = date.year, month = date.month, day = date.day, hour = hour, min = minute, sec = second }
              if os.date("*t", time).hour == hour then return time end       -- else the clocks leave that hour out
            end
          end
        end
      end
    end
  end
end

--- The first moment after `time` that the pattern means, in local time.
---@param pattern CronPattern
---@param time integer seconds
---@return integer? next nil when there is none
function cron.next(pattern, time)
  local from = os.date("*t", time + 1)
  local date = from
  for _ = 1, LONGEST do
    if isDay(pattern, date) then
      local found = inDay(pattern, date, from)
      if found and found > time then return found end
    end
    date = os.date("*t", os.time{ year = date.year, month = date.month, day = date.day + 1, hour = 12 })
    from = { hour = 0, min = 0, sec = 0 }
  end
end

return cron
