--- What is told of an app: the entry of `list`, of `show`, of `jlist`. Plain values in and out.
local fields = require("lrun.manager.fields")
local wire = require("lrun.manager.wire")

local report = {}

local function emptyInstance(number, restarts, state)
  return { number = number, state = state, restarts = restarts or 0 }
end

--- The state of an app, from its record and what its keeper told.
---@param record table
---@param status table? of the keeper; nil without one
---@param running boolean whether there is, or is about to be, a keeper
---@return string
function report.state(record, status, running)
  if running and status then return status.state end
  if running then return "starting" end
  if record.wanted == "running" then return "down" end
  return record.state == "failed" and "failed" or "stopped"
end

--- The entry of `list`.
---@param record table
---@param status table?
---@param running boolean
---@param now number ms
---@param figures (fun(pid: integer): table?)? memory (bytes) and cpu (percent) of a process
---@param metrics table<integer, table>? by number: connections, requests
---@return table
function report.row(record, status, running, now, figures, metrics)
  local app = record.app
  local state = report.state(record, status, running)
  local instances, known, started = {}, {}, nil
  for _, each in ipairs(running and status and status.instances or {}) do known[each.number] = each end
  local restarts = record.restartsTotal or 0
  for number = 0, app.instances - 1 do
    local each = known[number]
    local row
    if each then
      row = emptyInstance(number, each.restarts, each.state)
      row.pid = each.pid
      if each.pid then
        local use = figures and figures(each.pid) or {}
        row.uptime = each.started and math.max(0, now - each.started) or nil
        row.memory, row.cpu = use.memory, use.cpu
        started = math.min(started or math.huge, each.started or math.huge)
      end
      local counts = metrics and metrics[number]
      if counts then row.connections, row.requests, row.lag = counts.connections, counts.requests, counts.lag end
    else
      row = emptyInstance(number, (record.restarts or {})[tostring(number)], state == "failed" and "failed" or state)
    end
    instances[#instances + 1] = row
  end
  return {
    id = record.id, name = app.name, namespace = app.namespace, mode = app.mode, state = state,
    restarts = status and running and status.restarts or restarts,
    uptime = started and started < math.huge and math.max(0, now - started) or nil, instances = wire.list(instances),
  }
end

local LISTS = { strings = true, codes = true, addresses = true }

--- The document of `show`: the entry of `list` and the app's fields, without its environment.
---@param row table
---@param record table
---@param extra { keeper: integer?, reason: string?, lost: integer, paths: fun(number: integer): table }
---@return table
function report.show(row, record, extra)
  local app = record.app
  for _, field in ipairs(fields.list) do
    local value = app[field.name]
    if field.name ~= "env" and field.name ~= "instances" and row[field.name] == nil and value ~= nil then
      row[field.name] = LISTS[field.kind] and wire.list(value) or value
    end
  end
  row.env = nil
  row.kind = app.kind
  row.keeper, row.reason, row.lost = extra.keeper, extra.reason, extra.lost
  for _, each in ipairs(row.instances) do
    local paths = extra.paths(each.number)
    each.out, each.err = paths.out, paths.err
  end
  return row
end

local PM2_STATES = { online = "online", starting = "launching", stopping = "stopping", stopped = "stopped", waiting = "waiting restart",
  failed = "errored", down = "stopped" }

--- pm2's entries, one an instance.
---@param rows table[] of `show`
---@param now number ms
---@return table[]
function report.jlist(rows, now)
  local list = wire.list()
  for _, row in ipairs(rows) do
    for _, each in ipairs(row.instances) do
      list[#list + 1] = {
        pid = each.pid or 0, name = row.name, pm_id = row.id,
        monit = { memory = each.pid and each.memory or 0, cpu = each.pid and each.cpu or 0 },
        pm2_env = {
          status = PM2_STATES[each.state] or each.state, restart_time = each.restarts, pm_uptime = each.uptime and now - each.uptime or 0,
          instances = #row.instances, exec_mode = row.mode .. "_mode", namespace = row.namespace, name = row.name, pm_id = row.id,
          pm_exec_path = row.script, pm_cwd = row.cwd, args = wire.list(row.args or {}), exec_interpreter = row.interpreter or "none",
          pm_out_log_path = each.out, pm_err_log_path = each.err, autorestart = row.autorestart, watch = row.watch, NODE_APP_INSTANCE = each.number,
        },
      }
    end
  end
  return list
end

return report
