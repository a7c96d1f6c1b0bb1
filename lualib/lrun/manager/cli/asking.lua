--- The verbs that only ask: with a daemon they ask it, without one they read the state files; they start none.
local environment = require("lrun.manager.environment")
local show = require("lrun.manager.cli.show")
local targets = require("lrun.manager.targets")
local wire = require("lrun.manager.wire")

local asking = {}

local function usage(text, ...) error({ usage = text:format(...) }, 0) end

local function unknown(target)
  error({ exit = 3, code = "unknown-target", message = ("no app matches '%s'"):format(target), hint = "lrun list shows what there is" }, 0)
end

-- The documents of all apps, and the records where there is no daemon.
local function documents(run)
  local connection = run.connect{ start = false }
  if not connection then return show.fromFiles(run.home) end
  local list = connection:call("showAll", {})
  connection:close()
  return list
end

-- The documents of those that targets mean.
local function chosen(run, words)
  local connection = run.connect{ start = false }
  if not connection then return asking.select(show.fromFiles(run.home), words) end
  local list = connection:call("show", { targets = words })
  connection:close()
  return list
end

local function select(list, words)
  local found, target = targets.select(list, words)
  if not found then unknown(target) end
  return found
end

function asking.list(run)
  local connection = run.connect{ start = false }
  local rows
  if connection then
    rows = connection:call("list", {})
    connection:close()
  else
    rows = show.rows((show.fromFiles(run.home)))
  end
  if run.options.json then return show.json(wire.list(rows)) end
  if not run.options.names then return show.list(rows) end
  for _, app in ipairs(rows) do io.stdout:write(app.name, "\n") end
end

function asking.jlist(run)
  local seconds, microseconds = require("luv").gettimeofday()
  show.json(require("lrun.manager.report").jlist(documents(run), seconds * 1000 + math.floor(microseconds / 1000)))
end

function asking.show(run)
  local words = run.options.words
  if #words == 0 then usage("show: which app? lrun show NAME") end
  local found = chosen(run, words)
  if run.options.json then return show.json(#found == 1 and found[1] or wire.list(found)) end
  for i, each in ipairs(found) do
    if i > 1 then io.stdout:write("\n") end
    show.app(each)
  end
end

function asking.env(run)
  local words = run.options.words
  if #words ~= 1 then usage("env: lrun env NAME") end
  local connection = run.connect{ start = false }
  local env
  if connection then
    env = connection:call("env", { targets = words })
    connection:close()
  else
    local list, records = show.fromFiles(run.home)
    local found = select(list, words)
    for _, record in ipairs(records) do if record.app.name == found[1].name then env = environment.of(record.app) end end
  end
  if not run.options.reveal then env = environment.masked(env) end
  if run.options.json then return show.json(env) end
  local names = {}
  for name in pairs(env) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do io.stdout:write(name, "=", env[name], "\n") end
end

function asking.pid(run)
  local words = run.options.words
  local connection = run.connect{ start = false }
  local list = connection and connection:call("list", {}) or show.fromFiles(run.home)
  if connection then connection:close() end
  local found = #words > 0 and select(list, words) or list
  local pids = wire.list()
  for _, app in ipairs(found) do
    for _, each in ipairs(app.instances) do pids[#pids + 1] = each.pid end
  end
  if run.options.json then return show.json(pids) end
  for _, pid in ipairs(pids) do io.stdout:write(pid, "\n") end
end

function asking.ping(run)
  local connection = run.connect{ start = false }
  if not connection then error({ exit = 4, code = "no-daemon", message = "no daemon runs" }, 0) end
  local answer = connection:call("ping", {})
  connection:close()
  if run.options.json then return show.json(answer) end
  io.stdout:write(("the daemon runs: pid %d, version %s\n"):format(answer.pid, answer.version))
end

local function eventText(event)
  local when = os.date("%H:%M:%S", math.floor((event.time or 0) / 1000))
  local which = event.name or ""
  if event.number then which = ("%s %d"):format(which, event.number) end
  local more = {}
  for _, name in ipairs{ "phase", "pid", "code", "signal", "reason", "delay" } do
    if event[name] ~= nil then more[#more + 1] = ("%s %s"):format(name, tostring(event[name])) end
  end
  return ("%s %-20s %-10s %s"):format(when, which, event.event, table.concat(more, ", "))
end

function asking.events(run)
  local connection = run.connect{ start = false }
  if not connection then error({ exit = 4, code = "no-daemon", message = "no daemon runs" }, 0) end
  local function onEvent(event)
    if run.options.json then show.json(event)
    else io.stdout:write(eventText(event), "\n") end
    io.stdout:flush()
  end
  -- The daemon may be replaced: its events go on.
  require("await")(function()
    local function follow(from)
      from:stream("events", {}, onEvent, function()
        require("await").spawn(function()
          local client = require("lrun.manager.cli.client")
          for _ = 1, 50 do
            client.sleep(100)
            local ok, again = pcall(run.connect, { start = false })
            if ok and again then return follow(again) end
          end
          io.stderr:write("lrun: the daemon has ended\n")
          process.exit(4)
        end)
      end)
    end
    follow(connection)
  end)
end

asking.chosen = chosen
asking.select = select

return asking
