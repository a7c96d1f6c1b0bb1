--- `lrun heap`: what a process's memory holds, as tables.
local connect = require("lrun.probe.cli.connect")
local layout = require("lrun.manager.layout")
local units = require("lrun.manager.units")

local heap = {}

local function print(columns, rows)
  io.stdout:write(table.concat(layout.table(columns, rows), "\n"), "\n")
end

local COUNTED = { { title = "" }, { title = "objects", right = true }, { title = "bytes", right = true }, { title = "", right = true } }

local function counted(title, list)
  if #list == 0 then return end
  local rows = {}
  for i, each in ipairs(list) do rows[i] = { each.name, ("%d"):format(each.count), ("%d"):format(each.bytes), units.showSize(each.bytes) } end
  COUNTED[1].title = title
  print(COUNTED, rows)
  io.stdout:write("\n")
end

--- The command.
function heap.run(run)
  local process = require("lrun.probe.cli.target").find(run)
  local connection = connect.must(process)
  local found = connection:call("heap", {})
  connection:close()
  if run.options.json then return require("lrun.manager.cli.show").json(found) end
  local reached = 0
  for _, each in ipairs(found.types) do reached = reached + each.bytes end
  io.stdout:write(("process %d: Lua's memory is %s; what can be reached is %s of it\n\n"):format(process.pid, units.showSize(found.total),
    units.showSize(reached)))
  counted("type", found.types)
  counted("class", found.classes)
  local rows = {}
  for i, each in ipairs(found.tables) do
    rows[i] = { ("%d"):format(each.entries), units.showSize(each.bytes), each.path .. (each.class and "  (" .. each.class .. ")" or "") }
  end
  print({ { title = "entries", right = true }, { title = "bytes", right = true }, { title = "the largest tables, and the way to them" } }, rows)
end

return heap
