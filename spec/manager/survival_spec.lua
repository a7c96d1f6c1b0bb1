local await = require("await")
local fs = require("fs")
local manager = require("spec.support.manager")

describe("what survives what", function()
  local home, port

  before_each(function()
    home = manager.home()
    port = manager.freePort()
    home:write("web.lua", manager.server("v1"))
  end)
  after_each(function() home:close() end)

  local function startWeb()
    home:ok({ "start", "web.lua", "-i", "2" }, { env = { PORT = tostring(port) } })
    return home:pids("web")
  end

  it("the daemon's death under load: no request fails, and it comes back by itself", function()
    local pids = startWeb()
    local daemon = home:daemon()
    local load = manager.load(port)
    load.more(20)
    process.kill(daemon, "SIGKILL")
    assert.same(pids, home:pids("web"))
    manager.wait("another daemon", function()
      local out, _, code = home:run{ "ping", "--json" }
      return code == 0 and require("json").decode(out).pid ~= daemon
    end)
    load.more(20)
    assert.equal(0, load.stop().failed)
    assert.same(pids, home:pids("web"))
  end)

  it("a keeper's death: the port stays open, other processes answer", function()
    local before = startWeb()
    local keeper = home:keeper("web")
    process.kill(keeper, "SIGKILL")
    -- Refused would be "ECONNREFUSED": the connection waits for the next worker.
    local body, status = manager.get(port)
    if not body then
      assert.not_equal("ECONNREFUSED", status)
      body = manager.get(port)
    end
    assert.truthy(body and body:find("^v1 "))
    manager.wait("new processes", function()
      local app = home:app("web")
      return app.state == "online" and app.instances[1].pid ~= before[1]
    end)
    for _, pid in ipairs(before) do assert.is_false(manager.isAlive(pid)) end
    assert.not_equal(keeper, home:keeper("web"))
    assert.equal(1, home:app("web").instances[1].restarts)
  end)

  it("both deaths at once: the next command has it all again", function()
    startWeb()
    home:start("job", manager.idle)
    home:start("gone", manager.idle)
    home:ok{ "stop", "gone" }
    local keepers = { home:keeper("web"), home:keeper("job") }
    local daemon = home:daemon()
    for _, pid in ipairs{ daemon, keepers[1], keepers[2] } do process.kill(pid, "SIGKILL") end
    home:ok{ "start", "gone" }
    for _, name in ipairs{ "web", "job", "gone" } do home:waitState(name, "online") end
    assert.truthy(manager.get(port))
  end)

  it("a keeper's death leaves no process of a plain app behind", function()
    home:write("tree.lua", 'require("child_process").spawn("sh", { "-c", "setsid sleep 311 & wait" }, { stdio = "ignore" })\n' .. manager.idle)
    home:ok{ "start", "tree.lua", "--min-uptime", "50" }
    local function sleepers()
      local found = {}
      for _, pid in ipairs(home:members()) do
        if (manager.slurp("/proc/" .. pid .. "/cmdline") or ""):find("sleep%z311") then found[#found + 1] = pid end
      end
      return found
    end
    local old = manager.wait("the sleeper", function()
      local found = sleepers()
      return #found == 1 and found[1]
    end)
    process.kill(home:keeper("tree"), "SIGKILL")
    manager.wait("another sleeper alone", function()
      local found = sleepers()
      return #found == 1 and found[1] ~= old
    end)
  end)

  it("a socket that nobody answers on, and a pid that is another's now", function()
    home:start("app", manager.idle)
    local daemon, keeper = home:daemon(), home:keeper("app")
    process.kill(daemon, "SIGSTOP")       -- it cannot come back between the two
    process.kill(keeper, "SIGKILL")
    process.kill(daemon, "SIGKILL")
    manager.wait("their ends", function() return not manager.isAlive(daemon) and not manager.isAlive(keeper) end)
    assert.is_true(#fs.readdirSync(home.state .. "/keepers") >= 1)
    local path = home.state .. "/apps/app.json"
    local record = require("json").decode(manager.slurp(path))
    record.keeper.pid = process.pid       -- this process is not its keeper
    local file = io.open(path, "w")
    file:write(require("json").encode(record))
    file:close()
    home:write("other.lua", manager.idle)
    home:ok{ "start", "other.lua", "--min-uptime", "50" }
    home:waitState("app", "online")
    assert.is_true(manager.isAlive(process.pid))
  end)

  it("a state file that is lost while its app runs: the keeper knows it", function()
    home:start("app", manager.idle)
    local pids = home:pids("app")
    local daemon = home:daemon()
    process.kill(daemon, "SIGSTOP")
    fs.rmSync(home.state .. "/apps/app.json")
    fs.rmSync(home.state .. "/apps/.app.last")
    process.kill(daemon, "SIGKILL")
    manager.wait("the daemon's end", function() return not manager.isAlive(daemon) end)
    manager.wait("the app in the list", function() return home:app("app") ~= nil end)
    assert.same(pids, home:pids("app"))
    manager.wait("its state file", function() return fs.existsSync(home.state .. "/apps/app.json") end)
  end)

  it("two first commands at once: one daemon", function()
    home:write("app.lua", manager.idle)
    local children = {}
    for i = 1, 4 do children[i] = home:spawn{ "start", "app.lua", "-n", "n" .. i, "--min-uptime", "50" } end
    for _, child in ipairs(children) do
      manager.wait("its end", function() return child.ended end)
      assert.equal(0, child.ended.code, child.err)
    end
    local daemons = 0
    for _, pid in ipairs(home:members()) do
      local command = manager.slurp("/proc/" .. pid .. "/cmdline") or ""
      if command:find("lrun daemon", 1, true) or command:find("lrun:daemon", 1, true) then daemons = daemons + 1 end
    end
    assert.equal(1, daemons)
    local ids = {}
    for _, app in ipairs(home:json{ "list" }) do ids[app.id] = true end
    assert.same({ [0] = true, true, true, true }, ids)
  end)

  it("SIGTERM of the daemon stops the apps, and resurrect brings them back", function()
    startWeb()
    local daemon = home:daemon()
    process.kill(daemon, "SIGTERM")
    manager.wait("its end", function() return not manager.isAlive(daemon) end)
    assert.equal("down", home:app("web").state)
    assert.equal(0, #home:members())
    home:ok{ "resurrect" }
    assert.truthy(manager.get(port))
  end)

  it("a reader of events that stands still: the others go on, and it is told what it lost", function()
    home:start("app", 'process.stdout:write("x")\n' .. manager.idle)
    local stopped = home:spawn({ "-e", [[
      local uv = require("luv")
      local pipe = uv.new_pipe(false)
      pipe:connect(process.env.LRUN_HOME .. "/daemon.sock", function()
        pipe:write('{"id":1,"call":"events"}\n')
        print("connected")
        require("timers").setInterval(function() end, 1000)
      end)
    ]] })
    stopped.waitFor("connected")
    local daemon = home:daemon()
    for _ = 1, 5 do home:ok{ "restart", "app" } end
    assert.is_true(manager.isAlive(daemon))
    assert.equal(5, home:app("app").restarts)
    await.sleep(1)
  end)
end)
