local manager = require("spec.support.manager")

describe("the process manager", function()
  local home

  before_each(function() home = manager.home() end)
  after_each(function() home:close() end)

  it("starts a script, lists it, and stops it", function()
    home:start("app", manager.idle)
    local app = home:app("app")
    assert.equal("online", app.state)
    assert.equal("fork", app.mode)
    local pid = app.instances[1].pid
    assert.is_true(manager.isAlive(pid))
    assert.equal(pid .. "\n", (home:ok{ "pid", "app" }))
    home:ok{ "stop", "app" }
    assert.is_false(manager.isAlive(pid))
    assert.equal("stopped", home:app("app").state)
    home:ok{ "start", "app" }
    assert.equal("online", home:app("app").state)
    home:ok{ "delete", "app" }
    assert.is_nil(home:app("app"))
  end)

  it("tells on standard error what to type, with the code of the fault, and touches nothing", function()
    local cases = {
      { 2, { "start" }, "lrun start FILE" },
      { 2, { "start", "nosuch.lua" }, "nosuch.lua" },
      { 2, { "start", "." }, "directory" },
      { 2, { "start", "app.lua", "--kill-timeot", "1s" }, "--kill-timeout" },
      { 2, { "start", "app.lua", "-i", "10000" }, "10000" },
      { 2, { "start", "app.lua", "--max-memory", "300" }, "300M" },
      { 2, { "start", "app.lua", "--uid", "nosuchuser" }, "nosuchuser" },
      { 2, { "start", "app.lua", "--interpreter", "nosuchprogram" }, "nosuchprogram" },
      { 2, { "start", "app.lua", "--cron", "0 0 30 2 *" }, "never" },
      { 2, { "start", "two.json" }, "two apps are named 'a'" },
      { 2, { "start", "cut.json" }, "cut.json" },
      { 2, { "start", "throws.config.lua" }, "throws.config.lua:2" },
      { 2, { "stop" }, "lrun stop NAME" },
      { 3, { "stop", "nosuch" }, "nosuch" },
      { 2, { "scale", "x", "many" }, "many" },
      { 2, { "logs", "--lines", "all" }, "all" },
      { 2, { "signal", "SIGTREM", "all" }, "SIGTERM" },
      { 4, { "ping" }, "no daemon" },
    }
    home:write("app.lua", manager.idle)
    home:write("two.json", '{"apps":[{"name":"a","script":"app.lua"},{"name":"a","script":"app.lua"}]}')
    home:write("cut.json", '{"apps":[')
    home:write("throws.config.lua", "\nerror('no')")
    for _, case in ipairs(cases) do
      local out, err, code = home:run(case[2])
      assert.equal(case[1], code, table.concat(case[2], " ") .. ": " .. err)
      assert.truthy(err:find(case[3], 1, true), err)
      assert.equal("", out)
      assert.equal(1, select(2, err:gsub("\n", "")), err)
    end
    local json = require("json").decode((home:run{ "stop", "nosuch", "--json" }))
    assert.equal("unknown-target", json.error.code)
    assert.is_nil(home:app("app"))
  end)

  it("starts two apps of one script beside each other with -f, and names the way without", function()
    home:start("app", manager.idle)
    local _, err, code = home:run{ "start", "app.lua" }
    assert.equal(1, code)
    assert.truthy(err:find("restart", 1, true) and err:find("-f", 1, true))
    home:ok{ "start", "app.lua", "-f", "--min-uptime", "50" }
    assert.equal("online", home:app("app-2").state)
  end)

  it("starts apps after those that they need, and ends them before", function()
    home:write("app.lua", manager.idle)
    home:write("apps.json", [[{ "apps": [
      { "name": "c", "script": "app.lua", "minUptime": 50, "after": ["b"] },
      { "name": "b", "script": "app.lua", "minUptime": 50, "after": ["a"] },
      { "name": "a", "script": "app.lua", "minUptime": 50 } ] }]])
    home:ok{ "start", "apps.json" }
    local follower = home:spawn{ "events", "--json" }
    follower.waitFor('"connected"')
    home:ok{ "stop", "apps.json" }
    home:ok{ "start", "a", "b", "c" }
    manager.wait("the events", function() return select(2, follower.out:gsub('"event":"online"', "")) == 3 end)
    local order = {}
    for line in follower.out:gmatch("[^\n]+") do
      local event = require("json").decode(line)
      if event.event == "stopped" or event.event == "online" then order[#order + 1] = event.event .. " " .. event.name end
    end
    assert.equal("stopped c,stopped b,stopped a,online a,online b,online c", table.concat(order, ","))
    home:write("circle.json", '{"apps":[{"name":"x","script":"app.lua","after":["x"]}]}')
    assert.equal(2, select(3, home:run{ "start", "circle.json" }))
  end)

  it("keeps an instance's number in its environment, and its own port with incrementVar", function()
    home:write("app.sh", 'echo "$LRUN_APP $LRUN_INSTANCE $NODE_APP_INSTANCE $PORT"\nexec sleep 60\n')
    home:ok({ "start", "app.sh", "-i", "3", "--merge-logs", "--increment-var", "PORT", "--min-uptime", "50" }, { env = { PORT = "7000" } })
    local lines = {}
    for line in home:log("app"):gmatch("[^\n]+") do lines[#lines + 1] = line end
    table.sort(lines)
    assert.same({ "app 0 0 7000", "app 1 1 7001", "app 2 2 7002" }, lines)
  end)

  it("has its apps' names and its options completed by bash", function()
    home:start("first", manager.idle)
    home:write("completion.bash", (home:ok{ "--completion", "bash" }))
    local function complete(words, count)
      local script = ("source completion.bash; COMP_WORDS=(%s); COMP_CWORD=%d; _lrun 2>/dev/null; echo \"${COMPREPLY[*]}\""):format(words, count)
      local path = process.execPath:match("^(.*)/[^/]*$") .. ":" .. process.env.PATH
      return (home:ok({ "-c", script }, { program = "bash", env = { PATH = path } }))
    end
    assert.truthy(complete("lrun stop fir", 2):find("first%f[^%w.]"))
    assert.equal("--kill-timeout\n", complete("lrun start --kill-t", 2))
    assert.equal("restart\n", complete("lrun resta", 1))
  end)

  it("renames, also what runs", function()
    home:start("app", manager.idle)
    home:ok{ "restart", "app", "--name", "other" }
    assert.is_nil(home:app("app"))
    assert.equal("online", home:app("other").state)
    home:ok{ "kill" }
    home:ok{ "resurrect" }
    assert.equal("online", home:app("other").state)
    assert.is_nil(home:app("app"))
  end)

  it("works in an LRUN_HOME whose path is longer than a socket's address", function()
    home:close()
    home = manager.home(("x"):rep(150) .. "/" .. ("y"):rep(100))
    home:start("app", manager.idle)
    assert.equal("online", home:app("app").state)
    local keeper = home:keeper("app")
    process.kill(home:daemon(), "SIGKILL")
    manager.wait("a daemon that knows the app", function() return home:app("app").state == "online" end)
    assert.equal(keeper, home:keeper("app"))
  end)

  it("writes and removes the file of a process id", function()
    home:start("app", manager.idle, "-p", "app.pid")
    assert.equal(home:pids("app")[1] .. "\n", manager.slurp(home.dir .. "/app.pid"))
    home:ok{ "stop", "app" }
    assert.is_nil(manager.slurp(home.dir .. "/app.pid"))
  end)

  it("gives an app its limits, its mask and its niceness", function()
    home:write("app.sh", 'echo "$(ulimit -n) $(umask) $(nice)"\nexec sleep 60\n')
    home:ok{ "start", "app.sh", "--limits", "nofile=123", "--umask", "027", "--nice", "5", "--min-uptime", "50" }
    assert.truthy(home:ok{ "show", "app" }:find("\numask +027\n"))
    manager.wait("its line", function() return home:log("app"):find("\n") end)
    assert.equal("123 0027 5\n", home:log("app"))
  end)

  it("replaces an instance whose health check fails", function()
    home:write("app.lua", [[
      local sick = false
      require("timers").setTimeout(function() sick = true end, 400)
      require("http").createServer(function(_, res)
        res.statusCode = sick and 500 or 200
        res:finish("x")
      end):listen(tonumber(process.env.PORT), "127.0.0.1")
    ]])
    local port = manager.freePort()
    home:write("apps.json", ([[{ "apps": [{ "script": "app.lua", "port": %d, "ready": { "http": "/" }, "minUptime": 50,
      "health": { "http": "/ok", "every": 100, "fails": 2 } }] }]]):format(port))
    home:ok{ "start", "apps.json" }
    local follower = home:spawn{ "events", "--json" }
    follower.waitFor('"reason":"health"')
    manager.wait("a restart", function() return home:app("app").restarts >= 1 end)
  end)
end)
