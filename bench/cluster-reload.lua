--- Rolling reloads of four workers under load: how many requests fail. Beside it pm2's reload of the same Node program;
--- pm2 is taken from the PATH, or else installed into the scratch directory where npm can do that.
local await = require("await")
local child_process = require("child_process")

local WORKERS, RELOADS, PM2_RELOADS = 4, 20, 3
local LOAD = { keepAlive = 8, single = 8 }

-- Waits for a line of a program's output.
local function line(child, wanted)
  await(function(callback)
    local text = ""
    local function onData(data)
      text = text .. data
      if not text:find(wanted, 1, true) then return end
      child.stdout:off("data", onData)
      callback()
    end
    child.stdout:on("data", onData)
  end)
end

-- Percent of the requests that failed while `work` ran.
local function failures(bench, port, work)
  local clients = dofile(bench.file("spec/support/cluster/clients.lua"))
  local load = clients.load(port, LOAD)
  await.sleep(200)
  work()
  await.sleep(200)
  load.stop()
  local failed = #load.problems
  bench.say("%d of %d requests failed%s", failed, load.requests + failed, failed > 0 and ": " .. load.problems[1] or "")
  return failed / (load.requests + failed) * 100
end

local function ours(bench)
  local port = bench.port()
  local args = { bench.file("bench/programs/reload.lua"), tostring(port), tostring(WORKERS), tostring(RELOADS) }
  local child = child_process.spawn(bench.lrun, args, { stdio = { "ignore", "pipe", "inherit" } })
  line(child, "ready")
  local failed = failures(bench, port, function()
    child:kill("SIGUSR2")
    line(child, "done")
  end)
  child:kill("SIGTERM")
  return failed
end

local function theirs(bench, pm2)
  local port = bench.port()
  local environment = { PM2_HOME = bench.scratch .. "/pm2", PM2_DISCRETE_MODE = "true" }
  for name, value in pairs(process.env) do environment[name] = environment[name] or value end
  -- Waits for the command alone: the daemon that it starts would hold a pipe.
  local function run(...)
    local child = child_process.spawn(pm2, { ... }, { env = environment, stdio = "ignore" })
    local code = await(function(callback) child:once("exit", callback) end)
    if code ~= 0 then error(("pm2 %s ended with code %s"):format((...), tostring(code)), 0) end
  end
  run("start", bench.file("bench/programs/hello.js"), "--name", "hello", "-i", tostring(WORKERS), "--", tostring(port))
  local ok, failed = pcall(failures, bench, port, function()
    for _ = 1, PM2_RELOADS do run("reload", "hello") end
  end)
  run("kill")
  if not ok then error(failed, 0) end
  return failed
end

local function findPm2(bench)
  local installed = bench.scratch .. "/node_modules/.bin/pm2"
  local path = bench.find("pm2") or bench.executable(installed) and installed
  local npm = not path and bench.find("node") and bench.find("npm")
  if npm then
    bench.say("installing pm2")
    local err = await(child_process.execFile, npm,
      { "install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", bench.scratch, "pm2@5" })
    path = not err and bench.executable(installed) and installed
  end
  bench.skipped.pm2 = not path or nil
  return path
end

return {
  order = 34,
  needs = {},
  run = function(bench)
    local work = ("failed requests, rolling reloads of %d workers"):format(WORKERS)
    bench.row{ work = work, unit = "%", lrun = ours(bench), target = "<= 0" }
    local pm2 = findPm2(bench)
    if pm2 then bench.row{ work = work .. ", pm2 with node", unit = "%", lrun = theirs(bench, pm2) } end
  end,
}
