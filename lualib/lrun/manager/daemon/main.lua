--- The daemon: `lrun:daemon`, one for each LRUN_HOME, held by a lock. Names and ids, state files, schedules, watching, events; and copies of
--- what keepers listen on. No line of a log and no connection of an app passes through it, and its end ends nothing.
local uv = require("luv")
local await = require("await")
local home = require("lrun.manager.home")
local registries = require("lrun.manager.daemon.registry")
local server = require("lrun.manager.daemon.server")
local supervise = require("lrun.core.supervise")
local verbs = require("lrun.manager.daemon.verbs")
local wire = require("lrun.manager.wire")

local main = {}

local context = {}
local subscribers = {}          -- client → its answer
local warnings = {}             -- told to the next client, once
local startedAt = uv.now()
local listener, lock
local ready = false
local queue = {}                -- calls that came before all keepers were found

local function milliseconds()
  local seconds, microseconds = uv.gettimeofday()
  return seconds * 1000 + math.floor(microseconds / 1000)
end

local function greeting()
  local told = warnings
  warnings = {}
  return { version = process.versions.lrun, protocol = wire.VERSION, pid = process.pid, warnings = #told > 0 and told or nil }
end

local function say(text)
  io.stderr:write(os.date("%Y-%m-%d %H:%M:%S"), " daemon ", process.pid, ": ", text, "\n")
end

-- Events --------------------------------------------------------------------------------------------------------------

local function emit(entry, event)
  event.name, event.id = entry.record.app.name, entry.record.id
  event.time = event.time or milliseconds()
  for _, answer in pairs(subscribers) do answer.event(event) end
end

-- The end -------------------------------------------------------------------------------------------------------------

local function exit(code)
  context.registry:saveAll()
  say("ends")
  if listener and not listener:is_closing() then listener:close() end
  uv.fs_unlink(context.home .. "/daemon.sock")
  process.exit(code)
end

-- After what was answered has been written.
local function exitSoon()
  local timer = uv.new_timer()
  timer:start(1, 0, function() exit(0) end)
end

local own = {}

function own.ping() return { pid = process.pid, version = process.versions.lrun, uptime = uv.now() - startedAt } end

--- The daemon goes, the keepers stay.
function own.leave()
  await(function(done) context.registry.overseer:leave(context.registry:list(), done) end)
  exitSoon()
  return { pid = process.pid }
end

local function subscribe(client, answer)
  subscribers[client] = answer
  local before = client.onClose
  client.onClose = function()
    subscribers[client] = nil
    if before then before() end
  end
  answer.event{ event = "connected", time = milliseconds() }
end

-- What calls left behind is given back once nobody calls any more: a daemon is idle for most of its life.
local IDLE = 300                -- ms
local PAUSE = 120               -- per cent of what lives, at which garbage is collected: a heap that never grew needs no shrinking
local idleTimer

local function collectWhenIdle()
  idleTimer = idleTimer or uv.new_timer()
  idleTimer:start(IDLE, 0, function()
    collectgarbage()
    collectgarbage()
    supervise.trim()
  end)
end

local PRIVATE = { due = true, stopAll = true, restartEntry = true }

local function perform(client, call, args, answer)
  if call == "events" then return subscribe(client, answer) end
  local verb = own[call] or not PRIVATE[call] and verbs[call]
  if not verb then
    return answer.fail{ code = "unknown-call", message = ("no call '%s'"):format(call), exit = 2 }
  end
  -- Apps of one caller have its environment in common.
  for _, app in ipairs(type(args.apps) == "table" and args.apps or {}) do
    if type(app) == "table" then app.base = app.base or args.base end
  end
  await.spawn(function()
    local ok, result = pcall(verb, context, args, answer)
    collectWhenIdle()
    if ok then return answer.ok(result) end
    if type(result) ~= "table" or not result.exit then
      io.stderr:write("lrun daemon: ", call, ": ", type(result) == "table" and result.message or tostring(result), "\n")
      result = { code = "internal", message = type(result) == "table" and result.message or tostring(result), exit = 1 }
    end
    answer.fail(result)
  end)
end

local function onCall(client, call, args, answer)
  if ready then return perform(client, call, args, answer) end
  queue[#queue + 1] = function() perform(client, call, args, answer) end
end

-- The beginning -------------------------------------------------------------------------------------------------------

local function takeLock()
  local fd = uv.fs_open(context.home .. "/daemon.lock", "a", 384)
  if not fd then return false end
  lock = fd
  return supervise.lock(fd) == true
end

local function notify(text)
  local name = process.env.NOTIFY_SOCKET
  if name then supervise.sendNotice(name, text) end
end

local function watchdog()
  local microseconds = tonumber(process.env.WATCHDOG_USEC)
  if not microseconds then return end
  local every = math.max(100, math.floor(microseconds / 2000))
  local timer = uv.new_timer()
  timer:start(every, every, function() notify("WATCHDOG=1") end)
end

-- What should run and lost its keeper while there was no daemon.
local function restartLost(resurrect)
  if resurrect then
    return await.spawn(function() pcall(verbs.resurrect, context, {}) end)
  end
  for _, entry in ipairs(context.registry:list()) do
    local record = entry.record
    if record.wanted == "running" and not record.down and not context.registry.runs(entry) then
      for number, count in pairs(record.restarts or {}) do record.restarts[number] = count + 1 end
      context.registry.overseer:launch(entry, {}, function() end)
    end
  end
end

local function onSignals()
  local function stop()
    notify("STOPPING=1")
    await.spawn(function()
      pcall(verbs.stopAll, context)
      exit(0)
    end)
  end
  process:once("SIGTERM", stop)
  process:once("SIGINT", stop)
  process:on("SIGHUP", function() end)
end

--- Runs the process.
---@param args string[]
function main.run(args)
  process.title = "lrun daemon"
  jit.off()                     -- what it does seldom twice costs less to interpret than to compile, and to keep
  local found = home.path(process.env)
  context.home = found
  home.make(found)
  if not takeLock() then process.exit(0) end
  say("version " .. process.versions.lrun .. " begins")
  context.emit, context.exitSoon = emit, exitSoon
  context.registry = registries.new{
    home = found, onStatus = function() end, onEvent = emit,
    onDue = function(entry, reason) verbs.due(context, entry, reason) end,
  }
  warnings = context.registry:load()
  onSignals()
  -- Clients may connect, and wait, while keepers are looked for.
  local code
  listener, code = server.listen{ folder = found, name = "daemon.sock", greeting = greeting, onCall = onCall }
  if not listener then
    io.stderr:write("lrun daemon: cannot listen in ", found, ": ", tostring(code), "\n")
    process.exit(1)
  end
  context.registry.overseer:find(function(hello) return context.registry:claim(hello) end, function()
    for _, warning in ipairs(context.registry.recovered) do warnings[#warnings + 1] = warning end
    ready = true
    local waiting = queue
    queue = {}
    restartLost(args[1] == "resurrect")
    for _, call in ipairs(waiting) do call() end
    notify("READY=1")
    watchdog()
  end)
  require("lrun.core.vm").collect()
  collectgarbage("setpause", PAUSE)
  collectWhenIdle()
end

main.lock = function() return lock end

return main
