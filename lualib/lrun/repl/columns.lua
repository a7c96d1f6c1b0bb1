--- Words in columns, as ls(1) shows names.
local columns = {}

--- Lines of text, each with its newline.
---@param words string[]
---@param width integer of the terminal
---@return string
function columns.format(words, width)
  local widest = 0
  for _, word in ipairs(words) do widest = math.max(widest, #word + 2) end
  local count = math.max(1, math.floor(width / widest))
  local rows, lines = math.ceil(#words / count), {}
  for row = 1, rows do
    local line = {}
    for i = row, #words, rows do line[#line + 1] = ("%-" .. widest .. "s"):format(words[i]) end
    lines[row] = table.concat(line):gsub("%s+$", "") .. "\n"
  end
  return table.concat(lines)
end

return columns
