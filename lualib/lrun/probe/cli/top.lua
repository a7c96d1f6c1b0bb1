--- `lrun top`: the workers of a primary, as cluster.metrics tells of them: once, or again and again on a terminal.
local uv = require("luv")
local connect = require("lrun.probe.cli.connect")
local layout = require("lrun.manager.layout")
local units = require("lrun.manager.units")

local top = {}

local COLUMNS = {
  { title = "worker", right = true }, { title = "pid", right = true }, { title = "up", right = true }, { title = "cpu", right = true },
  { title = "memory", right = true }, { title = "conns", right = true }, { title = "accepted", right = true }, { title = "requests", right = true },
  { title = "req/s", right = true }, { title = "messages", right = true }, { title = "lag", right = true },
}

-- What happened between two looks; at the first one, since the worker's start.
local function rates(each, before)
  local ms = before and each.uptime - before.uptime or each.uptime
  if ms <= 0 then return 0, 0 end
  local cpu, requests = each.cpu - (before and before.cpu or 0), each.requests - (before and before.requests or 0)
  return 100 * cpu / ms, 1000 * requests / ms
end

local function rows(list, before)
  local made, sum = {}, { cpu = 0, rate = 0, rss = 0, connections = 0, accepted = 0, requests = 0, messages = 0 }
  for i, each in ipairs(list) do
    local previous = before[each.id]
    local cpu, rate = rates(each, previous and previous.pid == each.pid and previous or nil)
    made[i] = { ("%d"):format(each.id), ("%d"):format(each.pid), units.showDuration(each.uptime), ("%.1f%%"):format(cpu), units.showSize(each.rss),
      ("%d"):format(each.connections), ("%d"):format(each.accepted), ("%d"):format(each.requests), ("%.1f"):format(rate),
      ("%d"):format(each.messages), ("%.0f ms"):format(each.lag) }
    sum.cpu, sum.rate = sum.cpu + cpu, sum.rate + rate
    for _, name in ipairs{ "rss", "connections", "accepted", "requests", "messages" } do sum[name] = sum[name] + each[name] end
  end
  made[#made + 1] = { "all", "", "", ("%.1f%%"):format(sum.cpu), units.showSize(sum.rss), ("%d"):format(sum.connections),
    ("%d"):format(sum.accepted), ("%d"):format(sum.requests), ("%.1f"):format(sum.rate), ("%d"):format(sum.messages), "" }
  return made
end

local function byId(list)
  local found = {}
  for _, each in ipairs(list) do found[each.id] = each end
  return found
end

local CLEAR_LINE, CLEAR_BELOW, HOME, OTHER_SCREEN, BACK = "\27[K", "\27[J", "\27[H", "\27[?1049h\27[?25l", "\27[?25h\27[?1049l"

local function draw(process, list, before)
  local columns, height = require("lrun.core.sockets").windowSize(1)
  local lines = { ("process %d: %d workers   %s   q leaves"):format(process.pid, #list, os.date("%H:%M:%S")), "" }
  for _, line in ipairs(layout.table(COLUMNS, rows(list, before), { width = columns })) do lines[#lines + 1] = line end
  io.stdout:write(HOME)
  for i = 1, math.min(#lines, (height or 24) - 1) do io.stdout:write(lines[i], CLEAR_LINE, "\r\n") end
  io.stdout:write(CLEAR_BELOW)
  io.stdout:flush()
end

local function live(process, connection, seconds)
  local stop = false
  local input = require("process").stdin
  local function leave()
    stop = true
    connection:close()
    io.stdout:write(BACK)
    io.stdout:flush()
    require("process").exit(0)
  end
  if input.isTTY then
    input:setRawMode(true)
    input:on("data", function(data) if tostring(data):find("[q\3\4]") then leave() end end)
  end
  require("process"):on("SIGINT", leave)
  require("process"):on("SIGTERM", leave)
  io.stdout:write(OTHER_SCREEN)
  local before = {}
  while not stop do
    local ok, list = pcall(connection.call, connection, "metrics", {})
    if stop then return end
    if not ok then
      io.stdout:write(BACK)
      error(list, 0)
    end
    draw(process, list, before)
    before = byId(list)
    connect.sleep(seconds * 1000)
  end
end

--- The command.
function top.run(run)
  local seconds = run.options.seconds == nil and 1 or tonumber(run.options.seconds)
  if not seconds or seconds < 0.1 or seconds > 3600 then
    error({ usage = ("top: --seconds is a number from 0.1 to 3600, not '%s'"):format(run.options.seconds) }, 0)
  end
  local process = require("lrun.probe.cli.target").find(run, true)
  local connection = connect.must(process)
  local list = connection:call("metrics", {})
  local terminal = uv.guess_handle(1) == "tty" and (os.getenv("TERM") or "dumb") ~= "dumb"
  if terminal and not run.options.json then return live(process, connection, seconds) end
  connection:close()
  if run.options.json then return require("lrun.manager.cli.show").json(list) end
  io.stdout:write(table.concat(layout.table(COLUMNS, rows(list, {})), "\n"), "\n")
end

return top
