--- An upgrade of the primary itself: real primaries, in processes of their own.
local await = require("await")
local child_process = require("child_process")
local clients = require("spec.support.cluster.clients")
local fs = require("fs")
local net = require("net")
local processes = require("spec.support.processes")
local program = require("spec.support.program")

local SCRIPT = "spec/support/cluster/successor.lua"

local running, directory

-- Starts the first primary; `env` for it and those to come. Returns the program, its pid, its workers' port, its own.
local function start(env)
  for name, value in pairs(env or {}) do process.env[name] = value end
  running = program.start(SCRIPT)
  for name in pairs(env or {}) do process.env[name] = nil end
  local own = tonumber((running:line("own 1 (%d+) %d+")))
  local port = tonumber(running.output:match("listening 1 (%d+)") or running:line("listening 1 (%d+)"))
  return running, tonumber((running:line("primary 1 is (%d+)"))), port, own
end

local function signal(pid, name) process.kill(pid, name) end

local function get(port) return (program.get(port, "/")) end

before_each(function() directory = fs.mkdtempSync("/tmp/lrun-spec-") end)
after_each(function()
  if running then
    pcall(running.interrupt, running, "SIGKILL")
    running:gone()
    running = nil
  end
  os.execute("rm -rf " .. directory)
end)

for _, policy in ipairs{ "rr", "none", "reuseport", "least" } do
  describe("cluster.handover under the policy " .. policy, function()
    it("puts a new primary in the place of the old one, and drops no request", function()
      local path = directory .. "/a.sock"
      local old, pid, port, own = start{ LRUN_CLUSTER_SCHED_POLICY = policy, SPEC_SOCKET = path }
      local load = clients.load(port, { keepAlive = 2, single = 2 })
      clients.untilTrue(function() return load.requests >= 20 end, "requests")
      signal(pid, "SIGUSR2")
      local new = tonumber((old:line("over (%d+)")))
      local before = load.requests
      clients.untilTrue(function() return load.requests >= before + 20 or #load.problems > 0 end, "requests to the new one")
      load.stop()
      assert.same({}, load.problems)
      assert.equal("2", get(port))
      assert.equal("2", get(own))
      assert.equal(old.output:match("own 1 (%d+ %d+)"), old.output:match("own 2 (%d+ %d+)"))
      clients.untilTrue(function() return not processes.alive(pid) end, "the old one's end")
      assert.is_true(fs.existsSync(path))           -- the old one's exit has left it
      assert.equal("2", (await(function(done)
        local socket, text = net.connect(path), ""
        socket:on("data", function(data) text = text .. data end)
        socket:on("close", function() done(text:match("\r\n\r\n(.*)$")) end)
        socket:write("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
      end)))
      signal(new, "SIGTERM")
      old:gone()
      assert.is_false(fs.existsSync(path))
      running = nil
    end)
  end)
end

describe("cluster.handover", function()
  it("works again, and tells its phases", function()
    local old, pid, port = start()
    for version = 2, 3 do
      signal(pid, "SIGUSR2")
      for _, phase in ipairs{ "fork", "ready", "drain", "done" } do
        assert.equal(phase, (old:line("phase (%w+)")))
      end
      pid = tonumber((old.output:match(("primary %d is (%%d+)"):format(version))))
      assert.equal(tostring(version), get(port))
    end
  end)

  for how, reason in pairs{
    dies = "ended before it was ready %(code 3%); this one goes on",
    hangs = "was not ready within 400 ms: it does not listen on .*127%.0%.0%.1:0.*; this one goes on",
    elsewhere = "was not ready within 400 ms: it does not listen on .*127%.0%.0%.1:0.*; this one goes on",
    brief = "ended within 20000 ms of being ready %(code 4%); this one goes on",
  } do
    it(("leaves the old primary when the new one fails (%s), and says so"):format(how), function()
      local old, pid, port, own = start{
        SPEC_NEXT = how, SPEC_HANDOVER = how == "brief" and '{"minUptime":20000,"listenTimeout":20000}' or '{"listenTimeout":400,"killTimeout":100}',
      }
      local new
      signal(pid, "SIGUSR2")
      assert.matches("^the new primary %(pid %d+%) " .. reason .. "$", (old:line("failed (.*)")))
      new = tonumber(old.output:match("the new primary %(pid (%d+)%)"))
      assert.is_false(processes.alive(new))
      assert.equal("1", get(own))
      clients.untilTrue(function() return get(port) == "1" end, "the old workers alone")
      assert.is_true(processes.alive(pid))
    end)
  end

  it("hands over a cluster without sockets, to one that lives", function()
    running = program.start(SCRIPT, {}, { SPEC_JOBS = 1, SPEC_NEXT = "dies" })
    local pid = tonumber((running:line("primary 1 is (%d+)")))
    process.kill(pid, "SIGUSR2")
    assert.matches("ended before it was ready", (running:line("failed (.*)")))
    running:interrupt("SIGKILL")
    running:gone()
    running = program.start(SCRIPT, {}, { SPEC_JOBS = 1 })
    pid = tonumber((running:line("primary 1 is (%d+)")))
    process.kill(pid, "SIGUSR2")
    assert.equal(running:line("primary 2 is (%d+)"), running:line("over (%d+)"))
  end)

  it("refuses a second one meanwhile", function()
    local old, pid = start()
    signal(pid, "SIGHUP")
    assert.equal("a handover is under way", (old:line("failed (.*)")))
    old:line("over %d+")
  end)

  it("is given up when the old primary is told to end", function()
    local old, pid = start{ SPEC_NEXT = "hangs" }
    signal(pid, "SIGUSR2")
    old:line("phase fork")
    signal(pid, "SIGTERM")
    old:gone()                          -- the new one, too, which holds the same pipe
    running = nil
  end)

  it("hands over sockets that systemd gave", function()
    local socket = net.createServer()
    await(function(done) socket:listen(0, "127.0.0.1", done) end)
    local port = socket:address().port
    local child = child_process.spawn("/bin/sh", { "-c", "LISTEN_PID=$$ exec \"$0\" \"$@\"", process.execPath, SCRIPT }, {
      detached = true, stdio = { "ignore", "pipe", "inherit", socket },
      env = setmetatable({ LISTEN_FDS = "1", SPEC_FD = "3" }, { __index = process.env, __pairs = function()
        local all = { LISTEN_FDS = "1", SPEC_FD = "3" }
        for name, value in pairs(process.env) do all[name] = all[name] or value end
        return next, all, nil
      end }),
    })
    local output = ""
    child.stdout:on("data", function(text) output = output .. text end)
    local function shows(pattern)
      clients.untilTrue(function() return output:find(pattern) end, pattern .. " in\n" .. output)
      return output:match(pattern)
    end
    shows("primary 1 is %d+")
    await(function(done) socket:close(done) end)
    assert.equal("1", get(port))
    process.kill(tonumber(output:match("primary 1 is (%d+)")), "SIGUSR2")
    shows("over %d+")
    assert.equal("2", get(port))
    process.kill(-child.pid, "SIGKILL")
    await(function(done) child:once("close", done) end)
  end)

  it("refuses options of the wrong kind", function()
    local cluster = require("cluster")
    for _, options in ipairs{
      { listenTimeout = -1 }, { minUptime = "x" }, { exec = 1 }, { args = "x" }, { env = 1 }, { cwd = {} }, 5,
    } do
      assert.has_error(function() cluster.handover(options) end)
    end
    assert.has_error(function() cluster.handover({}, 1) end)
  end)
end)
