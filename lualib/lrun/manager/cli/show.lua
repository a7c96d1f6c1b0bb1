--- What commands print: tables for people, documents for --json. Reads the state files where there is no daemon.
local json = require("json")
local layout = require("lrun.manager.layout")
local report = require("lrun.manager.report")
local state = require("lrun.manager.state")
local units = require("lrun.manager.units")
local wire = require("lrun.manager.wire")

local show = {}

local COLORS = { online = 32, starting = 33, waiting = 33, stopping = 33, stopped = 90, failed = 31, down = 31 }

local function isColored()
  if process.env.NO_COLOR and process.env.NO_COLOR ~= "" then return false end
  return require("luv").guess_handle(1) == "tty" and process.env.TERM ~= "dumb"
end

--- Prints a document.
function show.json(value)
  local ok, text = pcall(json.encode, value)
  if not ok then text = json.encode(wire.clean(value)) end
  io.stdout:write(text, "\n")
end

local COLUMNS = {
  { title = "id", right = true }, { title = "name" }, { title = "#", right = true }, { title = "namespace" }, { title = "mode" },
    { title = "state" },
  { title = "pid", right = true }, { title = "restarts", right = true }, { title = "uptime", right = true }, { title = "cpu", right = true },
  { title = "memory", right = true },
}

local function cells(app, each)
  return {
    tostring(app.id), app.name, tostring(each.number), app.namespace, app.mode, each.state, each.pid and tostring(each.pid) or "-",
    tostring(each.restarts), units.showDuration(each.uptime), each.cpu and ("%.1f%%"):format(each.cpu) or "-", units.showSize(each.memory),
  }
end

--- Prints the table of apps, a line an instance.
---@param rows table[]
function show.list(rows)
  local lines = {}
  for _, app in ipairs(rows) do
    for _, each in ipairs(app.instances) do lines[#lines + 1] = cells(app, each) end
  end
  if #lines == 0 then return io.stdout:write("no apps; lrun start FILE starts one\n") end
  local colored = isColored()
  local columns = colored and require("lrun.core.sockets").windowSize(1) or nil
  local made = layout.table(COLUMNS, lines, { width = columns, paint = function(text, column, row)
    if not colored then return text end
    if row == 0 then return "\27[1m" .. text .. "\27[0m" end
    local color = column == 6 and COLORS[lines[row][6]]
    return color and ("\27[%dm%s\27[0m"):format(color, text) or text
  end })
  io.stdout:write(table.concat(made, "\n"), "\n")
end

local FIRST = { "name", "id", "namespace", "state", "reason", "mode", "script", "args", "cwd", "interpreter", "keeper", "restarts",
  "uptime", "lost" }

local function text(name, value)
  if type(value) == "table" then
    if name == "listen" then
      local list = {}
      for i, each in ipairs(value) do list[i] = each.path or ("%s:%d"):format(each.host or "*", each.port) end
      return table.concat(list, " ")
    end
    return next(value) ~= nil and json.encode(value) or "-"
  end
  if name == "uptime" or name == "killTimeout" or name == "listenTimeout" or name == "minUptime" or name == "minReady" or name == "restartDelay"
    or name == "backoff" or name == "watchDelay" then return units.showDuration(value) .. (" (%d ms)"):format(value) end
  if name == "maxMemory" or name == "logSize" then return units.showSize(value) end
  if name == "umask" and type(value) == "number" then return ("%03o"):format(value) end
  if name == "lost" then return ("%d lines of the log"):format(value) end
  return layout.plain(tostring(value))
end

--- Prints what `show` tells of one app.
function show.app(app)
  local done = { instances = true, kind = true }
  local function line(name)
    if done[name] or app[name] == nil then return end
    done[name] = true
    io.stdout:write(("%-20s %s\n"):format(name, text(name, app[name])))
  end
  for _, name in ipairs(FIRST) do line(name) end
  local rest = {}
  for name in pairs(app) do rest[#rest + 1] = name end
  table.sort(rest)
  for _, name in ipairs(rest) do line(name) end
  for _, each in ipairs(app.instances) do
    io.stdout:write(("instance %-11d %s, pid %s, %d restarts, up %s, cpu %s, memory %s\n"):format(each.number, each.state, each.pid or "-",
      each.restarts, units.showDuration(each.uptime), each.cpu and ("%.1f%%"):format(each.cpu) or "-", units.showSize(each.memory)))
    if each.connections then
      io.stdout:write(("%20s connections %d, requests %d, loop lag %s ms\n"):format("", each.connections, each.requests or 0, each.lag or "-"))
    end
    io.stdout:write(("%20s out %s\n%20s err %s\n"):format("", each.out, "", each.err))
  end
end

-- Without a daemon ----------------------------------------------------------------------------------------------------

--- The apps as `show` tells them, from the state files: what should run is down.
---@param path string LRUN_HOME
---@return table[] documents
---@return table[] records
function show.fromFiles(path)
  local records, warnings = state.readAll(path, false)
  for _, warning in ipairs(warnings) do io.stderr:write("lrun: ", warning, "\n") end
  local paths = require("lrun.manager.keeper.logs").paths
  local list = wire.list()
  for i, record in ipairs(records) do
    local row = report.row(record, nil, false, 0)
    list[i] = report.show(row, record, { lost = 0, reason = record.reason, paths = function(number) return paths(record.app, path, number) end })
  end
  return list, records
end

--- The entries of `list` among what `show` tells.
function show.rows(documents)
  local list = wire.list()
  for i, each in ipairs(documents) do
    local instances = wire.list()
    for j, one in ipairs(each.instances) do
      instances[j] = { number = one.number, pid = one.pid, state = one.state, restarts = one.restarts, uptime = one.uptime,
        memory = one.memory, cpu = one.cpu }
    end
    list[i] = { id = each.id, name = each.name, namespace = each.namespace, mode = each.mode, state = each.state, restarts = each.restarts,
      uptime = each.uptime, instances = instances }
  end
  return list
end

return show
