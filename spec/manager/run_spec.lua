local child_process = require("child_process")
local manager = require("spec.support.manager")
local service = require("lrun.manager.cli.service")
local supervise = require("lrun.core.supervise")
local uv = require("luv")

describe("lrun run", function()
  local home

  before_each(function() home = manager.home() end)
  after_each(function() home:close() end)

  it("ends with its only app's code, or signal", function()
    home:write("code.sh", "exit 7\n")
    home:write("signal.sh", "kill -KILL $$\n")
    local function code(...) return select(3, home:run{ "run", ... }) end
    assert.equal(7, code("code.sh", "--no-autorestart"))
    assert.equal(7, code("code.sh", "--stop-exit-codes", "7"))
    assert.equal(128 + 9, code("signal.sh", "--no-autorestart"))
    home:write("fine.sh", "exit 0\n")
    assert.equal(0, code("fine.sh", "--no-autorestart"))
  end)

  it("ends with 1 when one of several failed", function()
    home:write("a.sh", "exit 0\n")
    home:write("b.sh", "exit 3\n")
    home:write("apps.json", '{ "apps": [{ "script": "a.sh", "autorestart": false }, { "script": "b.sh", "autorestart": false }] }')
    assert.equal(1, select(3, home:run{ "run", "apps.json" }))
  end)

  it("shows lines as they are, with names, or as JSON, and leaves no file", function()
    home:write("app.sh", 'echo "a line"\n')
    assert.equal("a line\n", (home:run{ "run", "app.sh", "--no-autorestart", "--raw" }))
    assert.equal("app 0 | a line\n", (home:run{ "run", "app.sh", "--no-autorestart" }))
    local entry = require("json").decode((home:run{ "run", "app.sh", "--no-autorestart", "--json" }))
    assert.equal("a line", entry.line)
    assert.is_nil(uv.fs_stat(home.state))
  end)

  it("reloads on SIGHUP and ends with 0 after SIGINT, its apps before it", function()
    local port = manager.freePort()
    home:write("web.lua", manager.server("v1"))
    local child = home:spawn({ "run", "web.lua", "-i", "2", "--min-ready", "50" }, { env = { PORT = tostring(port) } })
    manager.wait("the port", function() return manager.get(port) end)
    home:write("web.lua", manager.server("v2"))
    child:kill("SIGHUP")
    manager.wait("the new version", function() return (manager.get(port) or ""):find("^v2 ") end)
    manager.wait("the end of the reload", function() return child.err:find("reload done", 1, true) end)
    child:kill("SIGINT")
    manager.wait("its end", function() return child.ended end)
    assert.equal(0, child.ended.code, child.err)
    assert.equal(0, #home:members())
  end)

  it("takes its apps along when it is killed", function()
    home:write("app.lua", manager.idle)
    local child = home:spawn{ "run", "app.lua", "--min-uptime", "50" }
    manager.wait("the app", function() return #home:members() >= 3 end)
    child:kill("SIGKILL")
    manager.wait("nothing left", function() return #home:members() == 0 end)
  end)

  it("restarts when files change, as dev", function()
    home:write("code/app.lua", 'print("up")\n' .. manager.idle)
    local child = home:spawn({ "dev", "app.lua", "--raw", "--min-uptime", "50" }, { cwd = home.dir .. "/code" })
    child.waitFor("up\n")
    manager.wait("another one", function()
      home:write("code/other.lua", "return " .. tostring(uv.hrtime()))
      return select(2, child.out:gsub("up\n", "")) >= 2
    end)
    child:kill("SIGINT")
    manager.wait("its end", function() return child.ended end)
    assert.equal(0, child.ended.code)
  end)
end)

describe("under systemd", function()
  it("the unit is one that systemd accepts, whatever the paths", function()
    local unit = service.unit{ lrun = "/usr/bin/lrun", home = "/var/lib/my lrun%x", path = "/usr/bin:/bin" }
    assert.truthy(unit:find('Environment="LRUN_HOME=/var/lib/my lrun%%x"', 1, true))
    assert.truthy(unit:find("KillMode=process", 1, true))
    local verify = child_process.spawnSync("systemd-analyze", { "--version" })
    if verify.error then return end
    local folder = assert(uv.fs_mkdtemp(uv.os_tmpdir() .. "/lrun-unit-XXXXXX"))
    local file = io.open(folder .. "/lrun-spec.service", "w")
    file:write((service.unit{ lrun = process.execPath, home = folder, path = "/usr/bin:/bin" }))
    file:close()
    local result = child_process.spawnSync("systemd-analyze", { "verify", folder .. "/lrun-spec.service" })
    child_process.spawnSync("rm", { "-rf", folder })
    for line in (result.stderr or ""):gmatch("[^\n]+") do assert.is_nil(line:find("lrun-spec", 1, true), line) end
  end)

  it("the daemon says when it is ready, that it lives, and that it stops; apps outlive its death, not its end", function()
    local home = manager.home()
    home:start("app", manager.idle)
    home:ok{ "kill" }
    local name = "@lrun-spec-" .. process.pid
    local fd = assert(supervise.noticeSocket(name))
    local heard = {}
    local poll = uv.new_poll(fd)
    poll:start("r", function()
      local text = supervise.receiveNotice(fd)
      while text do
        heard[#heard + 1] = text
        text = supervise.receiveNotice(fd)
      end
    end)
    local function has(word)
      return function()
        for _, text in ipairs(heard) do if text == word then return true end end
      end
    end
    local daemon = home:spawn({ "lrun:daemon", "resurrect" }, { env = { NOTIFY_SOCKET = name, WATCHDOG_USEC = "400000" } })
    manager.wait("READY=1", has("READY=1"))
    manager.wait("WATCHDOG=1", has("WATCHDOG=1"))
    home:waitState("app", "online")
    local environment = manager.slurp("/proc/" .. home:pids("app")[1] .. "/environ")
    assert.is_nil(environment:find("NOTIFY_SOCKET", 1, true))
    local pids = home:pids("app")
    process.kill(home:daemon(), "SIGKILL")
    manager.wait("another daemon", function() return daemon.ended and home:app("app").state == "online" end)
    assert.same(pids, home:pids("app"))
    local second = home:daemon()
    process.kill(second, "SIGTERM")
    manager.wait("its end", function() return not manager.isAlive(second) end)
    assert.is_false(manager.isAlive(pids[1]))
    poll:close()
    uv.fs_close(fd)
    home:close()
  end)
end)
