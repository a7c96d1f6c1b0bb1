local await = require("await")
local fs = require("fs")
local manager = require("spec.support.manager")

describe("a reload", function()
  local home, port

  before_each(function()
    home = manager.home()
    port = manager.freePort()
  end)
  after_each(function() home:close() end)

  local function config(fields)
    local text = ('{ "apps": [{ "name": "web", "script": "%s", "minReady": 50, "minUptime": 50, "env": { "PORT": "%d" }%s }] }'):format(
      fields.script, port, fields.more or ', "instances": 2')
    home:write("web.json", text)
  end

  -- Reloads under load: all requests are answered, first by the old version, then by the new one. `cut`: how many may be cut short.
  local function underLoad(action, cut)
    local load = manager.load(port)
    load.more(20)
    action(load)
    load.more(20)
    local stats = load.stop()
    if (stats.kinds.cut or 0) <= (cut or 0) then stats.kinds.cut = nil end
    local kinds = {}
    for kind, count in pairs(stats.kinds) do kinds[#kinds + 1] = kind .. " " .. count end
    assert.equal("", table.concat(kinds, ", "))
    return stats
  end

  it("of a Lua cluster loses no request", function()
    home:write("web.lua", manager.server("v1"))
    config{ script = "web.lua" }
    home:ok{ "start", "web.json" }
    local before = home:pids("web")
    local stats = underLoad(function()
      home:write("web.lua", manager.server("v2"))
      home:ok{ "reload", "web" }
    end)
    assert.is_true(stats.bodies.v1 > 0 and stats.bodies.v2 > 0)
    for i, each in ipairs(home:app("web").instances) do
      assert.equal(i - 1, each.number)
      assert.equal(1, each.restarts)
      assert.is_false(manager.isAlive(before[i]))
    end
  end)

  it("of a program that takes its socket loses no request", function()
    local server = manager.server("v1"):gsub('tonumber%(process.env.PORT%), "127.0.0.1"', "{ fd = 3 }")
      :gsub('require%("http"%)', 'local server = require("http")', 1)
      .. '\nprocess:on("SIGTERM", function() server:close(function() process.exit(0) end) end)\n'
    home:write("web.lua", server)
    config{ script = "web.lua", more = (', "mode": "fork", "listen": ["127.0.0.1:%d"]'):format(port) }
    home:ok{ "start", "web.json" }
    local before = home:pids("web")
    local stats = underLoad(function()
      home:write("web.lua", (server:gsub("v1", "v2")))
      home:ok{ "reload", "web" }
    end)
    assert.is_true(stats.bodies.v1 > 0 and stats.bodies.v2 > 0)
    assert.not_equal(before[1], home:pids("web")[1])
  end)

  it("to a version that does not start, or does not live, leaves the old one and says why", function()
    home:write("web.lua", manager.server("v1"))
    config{ script = "web.lua", more = ', "instances": 2, "minReady": 1500' }
    home:ok{ "start", "web.json" }
    local before = home:pids("web")
    underLoad(function()
      for _, broken in ipairs{ 'error("not today")',
        manager.server("v2") .. '\nrequire("timers").setTimeout(function() error("not today") end, 1)' } do
        home:write("web.lua", broken)
        local out, err, code = home:run{ "reload", "web" }
        assert.equal(1, code)
        assert.equal("", out)
        assert.truthy(err:find("not today", 1, true), err)
        assert.same(before, home:pids("web"))
      end
      home:write("web.lua", manager.server("v1"))
    end, 4)       -- what the one that lived a moment had taken: at most one a client
    for _, each in ipairs(home:app("web").instances) do assert.equal(0, each.restarts) end
  end)

  it("by a configuration that cannot work leaves the old fields, too", function()
    home:write("web.lua", manager.server("v1"))
    config{ script = "web.lua" }
    home:ok{ "start", "web.json" }
    home:write("broken.lua", 'error("broken")')
    config{ script = "broken.lua" }
    assert.equal(1, select(3, home:run{ "reload", "web.json" }))
    assert.equal(home.dir .. "/web.lua", home:json{ "show", "web" }.script)
    home:ok{ "restart", "web" }
    assert.truthy(manager.get(port):find("^v1 "))
  end)

  it("of what shares no port is a restart, and says so", function()
    home:start("plain", manager.idle)
    local _, err = home:ok{ "reload", "plain" }
    assert.truthy(err:find("plain[^\n]*restart"))
    assert.equal(1, home:app("plain").restarts)
  end)

  it("that is asked for while one runs is one more round after it", function()
    home:write("web.lua", manager.server("v1"))
    config{ script = "web.lua" }
    home:ok{ "start", "web.json" }
    local children = {}
    for i = 1, 3 do children[i] = home:spawn{ "reload", "web" } end
    for _, child in ipairs(children) do
      manager.wait("its end", function() return child.ended end)
      assert.equal(0, child.ended.code, child.err)
    end
    local restarts = home:app("web").instances[1].restarts
    assert.is_true(restarts == 2 or restarts == 3, tostring(restarts))
  end)

  it("is ended by a stop", function()
    home:write("web.lua", manager.server("v1"))
    config{ script = "web.lua", more = ', "instances": 2, "minReady": 20000' }
    home:ok{ "start", "web.json" }
    local child = home:spawn{ "reload", "web" }
    manager.wait("a new process", function() return #home:members() > 5 end)
    home:ok{ "stop", "web" }
    manager.wait("the reload's end", function() return child.ended end)
    assert.equal(1, child.ended.code)
    assert.equal("stopped", home:app("web").state)
    assert.is_nil((manager.get(port)))
  end)

  it("by update of daemon and keepers loses no request, and keeps a plain app's process", function()
    home:write("web.lua", manager.server("v1"))
    config{ script = "web.lua" }
    home:ok{ "start", "web.json" }
    home:start("plain", manager.idle)
    local plain, daemon, keeper = home:pids("plain"), home:daemon(), home:keeper("web")
    underLoad(function() home:ok{ "update" } end)
    assert.same(plain, home:pids("plain"))
    assert.not_equal(daemon, home:daemon())
    assert.not_equal(keeper, home:keeper("web"))
    assert.is_false(manager.isAlive(keeper))
  end)

  it("by update leaves a unix socket's file to the next keeper, whose end removes it", function()
    local path = home.dir .. "/web.sock"
    home:write("web.lua", ('require("http").createServer(function(_, res) res:finish("v1") end):listen(%q)\n'):format(path))
    home:ok{ "start", "web.lua", "-i", "2", "--min-ready", "100" }
    local function status()
      return await(function(done)
        local request = require("http").get({ socketPath = path, path = "/", agent = false }, function(response)
          response:resume()
          response:on("end", function() done(response.statusCode) end)
        end)
        request:on("error", function(err) done(err.code) end)
      end)
    end
    for _ = 1, 2 do
      local keeper = home:keeper("web")
      home:ok{ "update" }
      assert.not_equal(keeper, home:keeper("web"))
      assert.equal(200, status())
    end
    home:ok{ "reload", "web" }
    assert.equal(200, status())
    home:ok{ "stop", "web" }
    assert.is_false(fs.existsSync(path))
  end)
end)
