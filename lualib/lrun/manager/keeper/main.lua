--- The process of a keeper: `lrun:keeper`, started by the daemon with a channel, or by `lrun run`. Links the policy (keeper.lua) to whoever
--- asks: at first the process that started it, later any daemon that connects to its socket. Without a daemon it goes on, and starts
--- one. Ends when its app has stopped and the daemon knows.
local uv = require("luv")
local checks = require("lrun.manager.keeper.checks")
local home = require("lrun.manager.home")
local keepers = require("lrun.manager.keeper.keeper")
local link = require("lrun.manager.link")
local reload = require("lrun.manager.keeper.reload")
local revive = require("lrun.manager.revive")
local tree = require("lrun.manager.keeper.tree")

local REVIVE_EVERY = 2000       -- ms between attempts to have a daemon again

local main = {}

local keeper, daemon, options, listener, reviver
local ending = false

local function tell(name, args, handle)
  if daemon and not daemon.closed then daemon:call(name, args, nil, handle) end
end

-- The end of this process: the daemon has to hear of the app's end, so that it is not taken for a crash.
local function finish()
  if ending then return end
  ending = true
  keeper.logs:close()
  if listener and not listener:is_closing() then listener:close() end
  if options.socketName then uv.fs_unlink(options.home .. "/keepers/" .. options.socketName) end
  process.exit(0)
end

local function onIdle()
  if not keeper or ending then return end
  if main.handedOver then return finish() end
  if not daemon or daemon.closed then
    main.finishWhenHeard = true
    return
  end
  daemon:call("ended", keeper:status(), function(err) if not err then finish() end end)
end

local function sendSocket(held)
  local handle = require("lrun.manager.keeper.sockets").open(held)
  if not handle then return end
  tell("socket", { key = held.key, path = held.path }, handle)
  handle:close()
end

local function failure(problem) return problem and { code = "failed", message = problem } or nil end

local calls = {}

local function begin(args)
  options = args
  if args.umask then require("lrun.core.system").umask(args.umask) end
  local handles = main.adopted or {}
  main.adopted = nil
  keeper = keepers.new{
    app = args.app, home = args.home, mark = args.mark, sink = args.sink, tell = tell, onIdle = onIdle,
    write = function(text) io.stdout:write(text) io.stdout:flush() end,
    onBound = sendSocket, onReleased = function(key) tell("released", { key = key }) end,
  }
  process.title = ("lrun keeper: %s"):format(args.app.name)
  require("lrun.cluster.listen").store = keeper.sockets
  for _, each in ipairs(handles) do keeper.sockets:adopt(each.key, each.path, each.handle) end
  tree.adopt(function(pid) return keeper:owns(pid) end)
  if args.sweep then tree.sweep(args.sweep) end
end

function calls.begin(args, answer)
  begin(args)
  keeper:start(args.restarts, function(problem) answer(failure(problem), keeper:status()) end)
  checks.start(keeper)
  if not args.attached then main.listen() end
end

--- A socket of a former keeper, before `begin`.
function calls.adopt(args, answer, handle)
  main.adopted = main.adopted or {}
  if handle then table.insert(main.adopted, { key = args.key, path = args.path, handle = handle }) end
  answer(nil, true)
end

function calls.stop(args, answer)
  if args.killTimeout then keeper.app.killTimeout = math.min(keeper.app.killTimeout, args.killTimeout) end
  keeper:stop(args.reason or "stop", function() answer(nil, keeper:status()) end)
end

local function configure(app)
  local problem = keeper:configure(app)
  checks.start(keeper)
  return problem
end

function calls.restart(args, answer)
  if args.app then
    local problem = configure(args.app)
    if problem then return answer(failure(problem)) end
  end
  if args.app and args.app.instances ~= keeper.count then
    return keeper:scale(args.app.instances, function(problem)
      if problem then return answer(failure(problem), keeper:status()) end
      keeper:restart(args.reason or "restart", nil, function(fault) answer(failure(fault), keeper:status()) end)
    end)
  end
  keeper:restart(args.reason or "restart", nil, function(problem) answer(failure(problem), keeper:status()) end)
end

function calls.reload(args, answer)
  local function done(problem) answer(failure(problem), keeper:status()) end
  if not reload.isGentle(keeper) then
    return calls.restart({ app = args.app, reason = args.reason or "reload" }, answer)
  end
  reload.run(keeper, { reason = args.reason or "reload", app = args.app, done = function(problem)
    if problem or not args.app or args.app.instances == keeper.count then return done(problem) end
    keeper:scale(args.app.instances, done)
  end })
  if args.app then checks.start(keeper) end
end

function calls.configure(args, answer)
  answer(failure(configure(args.app)), keeper:status())
end

function calls.rename(args, answer)
  keeper.app.name = args.name
  answer(failure(configure(keeper.app)), keeper:status())
end

function calls.scale(args, answer)
  keeper:scale(args.count, function(problem) answer(failure(problem), keeper:status()) end)
end

function calls.signal(args, answer) answer(nil, keeper:signal(args.signal)) end
function calls.send(args, answer) answer(nil, keeper:send(args.line)) end
function calls.reset(_, answer)
  keeper:reset()
  answer(nil, keeper:status())
end
function calls.metrics(_, answer) answer(nil, { metrics = keeper:metrics(), lost = keeper.logs:lost() }) end
function calls.flush(_, answer)
  keeper.logs:empty(keeper.count)
  answer(nil, true)
end
function calls.reopen(_, answer)
  keeper.logs:reopen()
  answer(nil, true)
end
function calls.sockets(_, answer)
  keeper.sockets:each(function(key, path, handle) tell("socket", { key = key, path = path }, handle) end)
  answer(nil, true)
end
function calls.hello(_, answer)
  answer(nil, { id = options.id, name = keeper.app.name, pid = process.pid, version = process.versions.lrun, status = keeper:status(),
    mark = keeper.mark, app = keeper.app, ended = main.finishWhenHeard })
end
--- The app has another keeper now: its instances drain, then this one ends. The sockets stay the other's.
function calls.handOver(_, answer)
  answer(nil, true)
  keeper.tell = function() end
  if daemon then daemon:close() end
  main.handedOver = true
  keeper.sockets:letGo()
  keeper:stop("reload", function() end)
end
--- The daemon ends and wants no other yet.
function calls.bye(_, answer)
  main.bye = true
  answer(nil, true)
end
function calls.quit(_, answer)
  answer(nil, true)
  finish()
end

-- Links ---------------------------------------------------------------------------------------------------------------

local function onCall(name, args, answer, handle)
  local call = calls[name]
  if not call then return answer{ code = "unknown", message = ("no call '%s'"):format(tostring(name)) } end
  if not keeper and name ~= "begin" and name ~= "adopt" then return answer{ code = "unknown", message = "it has not begun" } end
  call(args, answer, handle)
end

local function stopReviving()
  if reviver then reviver:close() end
  reviver = nil
end

local function startReviving()
  if reviver or ending then return end
  reviver = uv.new_timer()
  -- Not all keepers at the same moment; the daemon's lock lets only one of theirs live.
  local first = 5 + uv.os_getpid() % 20
  reviver:start(first, REVIVE_EVERY, function()
    if daemon and not daemon.closed then return stopReviving() end
    local child = revive.daemon(options.home, false, main.env)
    local pid = child.pid
    keeper:own(pid)
    child:on("exit", function() keeper:disown(pid) end)
  end)
end

local function onLinkClosed(closed)
  if closed ~= daemon then return end
  daemon = nil
  if ending then return end
  if main.handedOver then return end
  if not keeper then return process.exit(1) end
  if options.attached then
    return keeper:stop("stop", function() end)
  end
  if main.bye then
    main.bye = false
    return
  end
  startReviving()
end

local function take(made)
  local before = daemon
  daemon = made
  stopReviving()
  if before and not before.closed then before:close() end
  if main.finishWhenHeard then onIdle() end
end

--- The socket by which a later daemon finds this keeper.
function main.listen()
  local supervise, system = require("lrun.core.supervise"), require("lrun.core.system")
  options.socketName = ("%d.%d.sock"):format(options.id, process.pid)
  listener = home.listen(options.home .. "/keepers", options.socketName, function(server)
    local client = uv.new_pipe(false)
    if not server:accept(client) then return client:close() end
    local uid = supervise.peer(client:fileno())
    if uid ~= system.geteuid() and uid ~= 0 then return client:close() end
    local made
    -- A command that only looks whether somebody is there is no daemon: one says hello.
    local function onDaemonCall(name, args, answer, handle)
      if name == "hello" then take(made) end
      onCall(name, args, answer, handle)
    end
    made = link.over(client, onDaemonCall, function() onLinkClosed(made) end)
  end)
end

--- Runs the process.
function main.run()
  process.title = "lrun keeper"
  -- A cluster's primary takes on its app's environment; a daemon shall not have that.
  main.env = {}
  for name, value in pairs(process.env) do main.env[name] = value end
  process:on("SIGINT", function() end)
  process:on("SIGHUP", function() end)
  process:on("SIGTERM", function()
    if keeper then keeper:stop("stop", function() end) else process.exit(0) end
  end)
  if not process.connected then
    io.stderr:write("lrun: a keeper is started by the daemon: use lrun start\n")
    process.exit(2)
  end
  local made
  made = link.new(process, onCall, function() onLinkClosed(made) end)
  daemon = made
end

return main
