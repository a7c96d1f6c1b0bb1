--- "Did you mean …?": of a list of names the one that was probably meant.
local similar = {}

-- How many letters must be put in, taken out, changed or swapped with their neighbour to make `b` of `a`.
local function distance(a, b)
  local before, row = {}, {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local last = before
    before, row = row, { [0] = i }
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      row[j] = math.min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        row[j] = math.min(row[j], last[j - 2] + 1)
      end
    end
  end
  return row[#b]
end

--- The name that is nearest: one mistake in short names, two in those of five letters and more.
---@param name string
---@param names string[]
---@return string?
function similar.nearest(name, names)
  local best, least
  for _, each in ipairs(names) do
    local count = math.abs(#each - #name) <= 2 and distance(name:lower(), each:lower()) or math.huge
    if count <= (#each >= 5 and 2 or 1) and (not least or count < least) then best, least = each, count end
  end
  return best
end

return similar
