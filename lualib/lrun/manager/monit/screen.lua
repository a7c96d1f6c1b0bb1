--- What the terminal monitor shows, as lines of text: the table of instances above, the log of the chosen one below. Plain values in and
--- out: the terminal's size and colours come from the caller.
local layout = require("lrun.manager.layout")
local units = require("lrun.manager.units")

local screen = {}

local COLUMNS = {
  { title = "id", right = true }, { title = "name" }, { title = "#", right = true }, { title = "state" }, { title = "pid", right = true },
  { title = "cpu", right = true }, { title = "memory", right = true }, { title = "conns", right = true }, { title = "req/s", right = true },
  { title = "lag", right = true }, { title = "restarts", right = true }, { title = "up", right = true },
}
local STATES = { online = "32", starting = "33", waiting = "33", stopping = "33", stopped = "90", failed = "31", down = "31" }

local function number(value, format) return value and (format or "%d"):format(value) or "-" end

--- The instances in the order in which they are shown.
---@param apps table[] of the model
---@return { app: table, instance: table }[]
function screen.entries(apps)
  local list = {}
  for _, app in ipairs(apps) do
    for _, each in ipairs(app.instances) do list[#list + 1] = { app = app, instance = each } end
  end
  return list
end

local function cells(entry)
  local each = entry.instance
  return {
    tostring(entry.app.id), entry.app.name, tostring(each.number), each.state, number(each.pid), number(each.cpu, "%.1f%%"),
    units.showSize(each.memory), number(each.connections), number(each.rps, "%.1f"), number(each.lag, "%d ms"), tostring(each.restarts),
    units.showDuration(each.uptime),
  }
end

local function painter(rows, chosen, first, colored)
  if not colored then return nil end
  return function(text, column, row)
    if row == 0 then return "\27[1m" .. text .. "\27[0m" end
    if row + first - 1 == chosen then return text end
    local color = column == 4 and STATES[rows[row][4]]
    return color and ("\27[%sm%s\27[0m"):format(color, text) or text
  end
end

local function fit(text, width) return layout.cut(text, width) end

-- A line of text without colours, padded; the chosen one is shown reversed, or by a mark where there are no colours.
local function marked(line, width, colored)
  local padded = line .. (" "):rep(width - layout.width(line))
  return colored and "\27[7m" .. padded .. "\27[0m" or padded
end

---@class MonitView
---@field apps table[] of the model
---@field chosen integer the entry that is chosen, from 1
---@field top integer the first entry that is shown, from 1
---@field log string[] lines of the chosen one
---@field message string?
---@field rows integer
---@field columns integer
---@field colored boolean

--- How many entries fit.
function screen.room(rows) return math.max(1, math.floor((rows - 4) * 0.55)) end

--- The lines of the screen, exactly `rows` of them.
---@param view MonitView
---@return string[]
function screen.lines(view)
  local entries = screen.entries(view.apps)
  local width = math.max(10, view.columns)
  local room = math.min(screen.room(view.rows), math.max(1, #entries))
  local shown = {}
  for i = view.top, math.min(#entries, view.top + room - 1) do shown[#shown + 1] = cells(entries[i]) end
  local prefix = view.colored and 0 or 2
  local made = layout.table(COLUMNS, shown, { width = width - prefix, paint = painter(shown, view.chosen, view.top, view.colored) })
  local online = 0
  for _, entry in ipairs(entries) do if entry.instance.state == "online" then online = online + 1 end end
  local title = ("lrun: %d instances, %d online"):format(#entries, online)
  if #entries > room then title = title .. (" (%d to %d)"):format(view.top, view.top + #shown - 1) end
  local lines = { fit(title, width) }
  for i, line in ipairs(made) do
    local isChosen = i > 1 and view.top + i - 2 == view.chosen
    if not view.colored then line = (isChosen and "> " or "  ") .. line end
    lines[#lines + 1] = isChosen and marked(fit(line, width), width, view.colored) or line
  end
  if #entries == 0 then lines[#lines + 1] = fit("no apps; lrun start FILE starts one", width) end
  local entry = entries[view.chosen]
  local label = entry and ("-- log of %s %d "):format(entry.app.name, entry.instance.number) or "-- "
  lines[#lines + 1] = fit(label .. ("-"):rep(math.max(0, width - layout.width(label))), width)
  local last = view.rows - 1
  local left = last - #lines
  for i = math.max(1, #view.log - left + 1), #view.log do
    if left > 0 then lines[#lines + 1] = fit(layout.plain(view.log[i]), width) end
  end
  while #lines < last do lines[#lines + 1] = "" end
  for i = #lines, last + 1, -1 do lines[i] = nil end
  lines[#lines + 1] = fit(view.message or "up/down choose   r restart   l reload   s stop   q quit", width)
  return lines
end

--- The bytes that turn one screen into another: only the lines that differ are written.
---@param before string[]
---@param after string[]
---@return string
function screen.difference(before, after)
  local parts = {}
  for i, line in ipairs(after) do
    if before[i] ~= line then parts[#parts + 1] = ("\27[%d;1H%s\27[K"):format(i, line) end
  end
  return table.concat(parts)
end

return screen
