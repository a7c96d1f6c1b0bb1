--- Which of the names that there are is nearest to one that there is not. Plain values in and out.
local nearest = {}

-- Edits (insert, delete, change, swap of neighbours) from a to b; stops counting past `limit`.
local function distance(a, b, limit)
  if math.abs(#a - #b) > limit then return limit + 1 end
  local before, row = nil, {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local current = { [0] = i }
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      local best = math.min(row[j] + 1, current[j - 1] + 1, row[j - 1] + (same and 0 or 1))
      if before and i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        best = math.min(best, before[j - 2] + 1)
      end
      current[j] = best
    end
    before, row = row, current
  end
  return row[#b]
end

local function plain(name) return (name:lower():gsub("[-_]", "")) end

--- The nearest name, nil when none is near. Case, hyphens and underscores count for little; a beginning counts as near.
---@param name string
---@param names string[] in the order of preference among equals
---@return string? found
function nearest.name(name, names)
  local wanted = plain(name)
  local limit = math.max(1, math.floor(#wanted / 3))
  local best, score = nil, math.huge
  for _, each in ipairs(names) do
    local candidate = plain(each)
    local far = distance(wanted, candidate, limit)
    if far > limit and #wanted >= 3 and candidate:sub(1, #wanted) == wanted then far = limit end
    if far <= limit and far < score then best, score = each, far end
  end
  return best
end

--- The same as words to append: `; did you mean 'x'?`, or nothing.
---@param name string
---@param names string[]
---@return string
function nearest.hint(name, names)
  local found = nearest.name(name, names)
  return found and ("; did you mean '%s'?"):format(found) or ""
end

return nearest
