--- Tables as text: columns as wide as what is in them; the widest are cut where the line would be too long, and the last left
--- out. Plain values in and
--- out; colours come from the caller as a function.
local layout = {}

local NARROWEST = 8             -- columns of the terminal that a column of text keeps; numbers are never cut

--- The columns that a text takes: bytes that continue a character of UTF-8 take none.
---@param text string
---@return integer
function layout.width(text)
  if not text:find("[\128-\191]") then return #text end
  return #text - select(2, text:gsub("[\128-\191]", ""))
end

--- Cuts a text to a width; what was cut is shown by "…".
---@param text string
---@param width integer
---@return string
function layout.cut(text, width)
  if layout.width(text) <= width then return text end
  if width < 1 then return "" end
  local kept, used = {}, 0
  for character in text:gmatch("[%z\1-\127\192-\255][\128-\191]*") do
    if used >= width - 1 then break end
    kept[#kept + 1], used = character, used + 1
  end
  return table.concat(kept) .. "…"
end

--- What a terminal would take for a command is shown as "?".
---@param text string
---@return string
function layout.plain(text)
  if not text:find("[%z\1-\31\127]") then return text end
  return (text:gsub("[%z\1-\31\127]", "?"))
end

local function columnWidths(columns, rows, limit)
  local widths, total = {}, (#columns - 1) * 2
  for i, column in ipairs(columns) do
    widths[i] = layout.width(column.title)
    for _, row in ipairs(rows) do widths[i] = math.max(widths[i], layout.width(row[i] or "")) end
    total = total + widths[i]
  end
  while limit and total > limit do
    local widest = 0
    for i, column in ipairs(columns) do
      local width = widths[i] or 0
      if not column.right and width > NARROWEST and width > (widths[widest] or 0) then widest = i end
    end
    if widest > 0 then
      widths[widest], total = widths[widest] - 1, total - 1
    elseif #widths > 1 then
      total = total - table.remove(widths) - 2        -- the last column is left out
    else
      widths[1], total = math.max(1, limit), limit
    end
  end
  return widths
end

--- Lines of a table.
---@param columns { title: string, right: boolean? }[]
---@param rows string[][]
---@param options { width: integer?, paint: (fun(text: string, column: integer, row: integer): string)? }? row 0 is the head
---@return string[] lines
function layout.table(columns, rows, options)
  options = options or {}
  local widths = columnWidths(columns, rows, options.width)
  local function line(cells, number)
    local parts = {}
    for i = 1, #widths do
      local column = columns[i]
      local text = layout.cut(layout.plain(cells[i] or ""), widths[i])
      local pad = (" "):rep(widths[i] - layout.width(text))
      if options.paint then text = options.paint(text, i, number) end
      if column.right then parts[i] = pad .. text else parts[i] = i == #widths and text or text .. pad end
    end
    return (table.concat(parts, "  "):gsub("%s+$", ""))
  end
  local titles = {}
  for i, column in ipairs(columns) do titles[i] = column.title end
  local lines = { line(titles, 0) }
  for number, row in ipairs(rows) do lines[#lines + 1] = line(row, number) end
  return lines
end

return layout
