--- The process manager beside pm2: start, the list of a hundred apps, reloads under load, memory, an idle machine, and what a connection
--- through the manager costs beside the bare cluster. pm2 is taken from the PATH or from where cluster-reload.lua installs it.
local await = require("await")
local child_process = require("child_process")
local fs = require("fs")
local json = require("json")

local APPS, IDLE_APPS, IDLE_SECONDS, LISTS = 100, 20, 10, 15

-- A manager with a home of its own: runs commands, and ends all of it.
local function managerOf(bench, command, env)
  local environment = {}
  for name, value in pairs(process.env) do environment[name] = value end
  for name, value in pairs(env) do environment[name] = value end
  local self = { cwd = bench.scratch .. "/manager" }
  fs.mkdirSync(self.cwd, { recursive = true })
  -- Ends with the command alone: a daemon that it started may hold a pipe.
  function self.run(...)
    local out = self.cwd .. "/out.txt"
    local fd = fs.openSync(out, "w")
    local child = child_process.spawn(command, { ... }, { cwd = self.cwd, env = environment, stdio = { "ignore", fd, "ignore" } })
    local code = await(function(done) child:once("exit", done) end)
    fs.closeSync(fd)
    if code ~= 0 then error(("%s %s ended with code %s"):format(command, (...), tostring(code)), 0) end
    return fs.readFileSync(out, "utf8")
  end
  function self.time(...)
    local started = process.hrtime()
    self.run(...)
    return (process.hrtime() - started) / 1e6
  end
  function self.median(count, ...)
    local list = {}
    for i = 1, count do list[i] = self.time(...) end
    return bench.median(list)
  end
  function self.write(name, text)
    local file = assert(io.open(self.cwd .. "/" .. name, "w"))
    file:write(text)
    file:close()
  end
  return self
end

local function many(count, prefix)
  local apps = {}
  for i = 1, count do apps[i] = { name = prefix .. i, script = "./idle.sh", interpreter = "sh", min_uptime = 100 } end
  return json.encode{ apps = apps }
end

local function prepare(manager)
  manager.write("idle.sh", "exec sleep 100000\n")
  manager.write("idle.lua", 'process.send("ready") require("timers").setInterval(function() end, 1000)\n')
  manager.write("idle.js", "process.send('ready'); setInterval(() => {}, 1000);\n")
  manager.write("many.json", many(APPS, "n"))
  manager.write("few.json", many(IDLE_APPS, "m"))
end

local function started(manager, script)
  local list = {}
  for i = 1, 7 do
    list[i] = manager.time("start", script, "--wait-ready")
    manager.run("delete", "idle")
  end
  return list
end

-- Percent of a processor that daemon, keepers and apps take while nothing is asked of them.
local function idleCpu(bench, pids)
  local function total()
    local sum = 0
    for _, pid in ipairs(pids) do sum = sum + bench.cpuOf(pid) end
    return sum
  end
  local before = total()
  await.sleep(IDLE_SECONDS * 1000)
  return (total() - before) / IDLE_SECONDS * 100
end

-- Failed requests of a hundred while the app is reloaded twice.
local function failures(bench, manager, port, name)
  local clients = dofile(bench.file("spec/support/cluster/clients.lua"))
  local load = clients.load(port, { keepAlive = 4, single = 4 })
  await.sleep(200)
  for _ = 1, 2 do manager.run("reload", name) end
  await.sleep(200)
  load.stop()
  return #load.problems / (load.requests + #load.problems) * 100
end

local function ours(bench)
  local manager = managerOf(bench, bench.lrun, { LRUN_HOME = bench.scratch .. "/manager-home", NO_COLOR = "1" })
  prepare(manager)
  local result = { start = bench.median(started(manager, "idle.lua")) }
  local port = bench.port()
  manager.run("start", bench.file("bench/programs/hello.js"), "--name", "hello", "-i", "2", "--", tostring(port))
  result.failed = failures(bench, manager, port, "hello")
  manager.run("delete", "hello")

  manager.run("start", "few.json")
  local ping = json.decode(manager.run("ping", "--json"))
  local pids = { ping.pid }
  result.daemon, result.keeper = bench.pss(ping.pid), 0
  for i = 1, IDLE_APPS do
    local show = json.decode(manager.run("show", "m" .. i, "--json"))
    pids[#pids + 1] = show.keeper
    pids[#pids + 1] = show.instances[1].pid
    result.keeper = math.max(result.keeper, bench.pss(show.keeper))
  end
  result.idle = idleCpu(bench, pids)
  manager.run("delete", "all")

  manager.run("start", "many.json")
  result.list = manager.median(LISTS, "jlist")
  await.sleep(1000)                  -- the daemon gives back what the start took
  result.daemonOfMany = bench.pss(ping.pid)
  manager.run("kill")
  return result
end

local function theirs(bench, pm2)
  local manager = managerOf(bench, pm2, { PM2_HOME = bench.scratch .. "/manager-pm2", PM2_DISCRETE_MODE = "true" })
  prepare(manager)
  local ok, result = pcall(function()
    local found = { start = bench.median(started(manager, "idle.js")) }
    local port = bench.port()
    manager.run("start", bench.file("bench/programs/hello.js"), "--name", "hello", "-i", "2", "--", tostring(port))
    found.failed = failures(bench, manager, port, "hello")
    manager.run("delete", "hello")
    manager.run("start", "few.json")
    local daemon = tonumber(fs.readFileSync(bench.scratch .. "/manager-pm2/pm2.pid", "utf8"))
    found.daemon = bench.pss(daemon)
    found.idle = idleCpu(bench, bench.tree(daemon))
    manager.run("delete", "all")
    manager.run("start", "many.json")
    found.list = manager.median(5, "jlist")
    return found
  end)
  pcall(manager.run, "kill")
  if not ok then error(result, 0) end
  return result
end

-- Processor time of a request with a new connection: a cluster of the manager's, and one that runs by itself (µs).
local function connections(bench)
  local manager = managerOf(bench, bench.lrun, { LRUN_HOME = bench.scratch .. "/manager-home" })
  local port = bench.port()
  manager.write("web.lua", ('require("http").createServer(function(_, res) res:finish("hello world\\n") end):listen(%d, "127.0.0.1")\n'):format(port))
  manager.run("start", "web.lua", "-i", "2")
  local pid = json.decode(manager.run("show", "web", "--json")).keeper
  local bare = bench.startServers{ { "bare", function(own) return bench.lrun, { bench.file("bench/programs/workers.lua"), own, 2 } end } }
  local servers = { { name = "managed", pid = pid, port = port }, bare[1] }
  local median = bench.load(servers, { connections = 64, seconds = 1, rounds = 7, mayFail = true, headers = { "Connection: close" } })
  bench.stop(bare[1])
  manager.run("kill")
  return median.managed.cpu, median.bare.cpu
end

local function findPm2(bench)
  local installed = bench.scratch .. "/node_modules/.bin/pm2"
  return bench.find("pm2") or bench.executable(installed) and installed or nil
end

return {
  order = 36,
  needs = { "wrk" },
  run = function(bench)
    local node = bench.find("node")
    if not node then return bench.say("the manager's row needs node") end
    local lrun = ours(bench)
    local pm2 = findPm2(bench)
    local other = pm2 and theirs(bench, pm2) or {}
    bench.row{ work = ("list of %d apps as JSON"):format(APPS), unit = "ms", lrun = lrun.list, target = "<= 15" }
    bench.compare("start an app and wait until it is ready", "ms", lrun.start, { { "pm2", other.start } })
    bench.compare(("list %d apps as JSON"):format(APPS), "ms", lrun.list, { { "pm2", other.list, "<= 0.1" } })
    bench.row{ work = "failed requests, two reloads of an unmodified Node cluster under load", unit = "%", lrun = lrun.failed, target = "<= 0" }
    if other.failed then bench.row{ work = "the same by pm2", unit = "%", lrun = other.failed } end
    bench.compare("memory of the manager's daemon (PSS)", "MB", lrun.daemon, { { "pm2", other.daemon } })
    bench.row{ work = ("memory of the daemon with %d apps (PSS)"):format(APPS), unit = "MB", lrun = lrun.daemonOfMany, target = "<= 4" }
    bench.row{ work = "memory of a keeper (PSS)", unit = "MB", lrun = lrun.keeper, target = "<= 3" }
    bench.compare(("processor of %d idle apps and their manager"):format(IDLE_APPS), "%", lrun.idle, { { "pm2", other.idle } })
    local managed, bare = connections(bench)
    bench.compare("CPU a request, new connection each, 2 managed workers", "µs", managed, { { "bare cluster", bare, "<= 1.1" } })
  end,
}
