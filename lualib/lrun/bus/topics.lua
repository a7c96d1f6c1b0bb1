--- Topics: names with dots, and patterns of them. `*` is one part, `**` any number of parts, one at least. Pure functions.
local topics = {}

-- A pattern without stars is a topic.
function topics.isPattern(pattern) return pattern:find("*", 1, true) ~= nil end

local compiled = setmetatable({}, { __mode = "v" })

local function compile(pattern)
  local known = compiled[pattern]
  if known then return known end
  local parts = {}
  for part in (pattern .. "."):gmatch("([^.]*)%.") do
    if part == "**" then
      parts[#parts + 1] = ".+"
    else
      parts[#parts + 1] = (part:gsub("[^%w*]", "%%%0"):gsub("%*", "[^.]*"))
      if part == "*" then parts[#parts] = "[^.]+" end
    end
  end
  known = { "^" .. table.concat(parts, "%.") .. "$" }
  compiled[pattern] = known
  return known
end

--- Whether a pattern fits a topic.
---@param pattern string
---@param topic string
---@return boolean
function topics.fits(pattern, topic)
  if pattern == topic then return true end
  return topics.isPattern(pattern) and topic:find(compile(pattern)[1]) ~= nil
end

--- The pattern of Redis that fits at least the same topics.
---@param pattern string
---@return string
function topics.glob(pattern) return (pattern:gsub("[%[%]?\\^]", "\\%0"):gsub("%*+", "*")) end

return topics
