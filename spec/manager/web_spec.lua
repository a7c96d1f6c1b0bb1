local guard = require("lrun.manager.web.guard")
local json = require("json")
local manager = require("spec.support.manager")
local metrics = require("lrun.manager.web.metrics")
local models = require("lrun.manager.web.model")

describe("who may ask the page's server", function()
  local rules = { token = "secret", host = "127.0.0.1" }
  local function refusal(request) return (guard.refusal(request, rules)) end

  it("has the token, by address or by header", function()
    assert.is_nil(refusal{ host = "127.0.0.1:80", token = "secret" })
    assert.is_nil(refusal{ host = "localhost:80", authorization = "Bearer secret" })
    assert.is_nil(refusal{ host = "[::1]:80", token = "secret" })
    for _, wrong in ipairs{ "", "secre", "secrets", "SECRET" } do assert.equal(401, refusal{ host = "127.0.0.1", token = wrong }) end
    assert.equal(401, refusal{ host = "127.0.0.1", authorization = "Basic secret" })
    assert.equal(401, refusal{ host = "127.0.0.1" })
  end)

  it("asks this host, from a page of this host", function()
    assert.equal(421, refusal{ host = "evil.example", token = "secret" })
    assert.equal(421, refusal{ token = "secret" })
    assert.equal(421, refusal{ host = "10.0.0.1", token = "secret" })
    assert.is_nil((guard.refusal({ host = "10.0.0.1:90", token = "secret" }, { token = "secret", host = "0.0.0.0" })))
    assert.equal(421, (guard.refusal({ host = "evil.example", token = "secret" }, { token = "secret", host = "0.0.0.0" })))
    assert.is_nil(refusal{ host = "127.0.0.1:80", origin = "http://127.0.0.1:80", token = "secret" })
    for _, wrong in ipairs{ "http://evil.example", "null", "http://127.0.0.1:81", "http://127.0.0.1:80.evil.example" } do
      assert.equal(403, refusal{ host = "127.0.0.1:80", origin = wrong, token = "secret" })
    end
  end)
end)

describe("the model of the page", function()
  local function app(requests, pid)
    return { { id = 0, name = "a", state = "online", restarts = 0, instances = { { number = 0, pid = pid or 5, state = "online", restarts = 0,
      cpu = 2, memory = 10, connections = 3, requests = requests, lag = 4 } } } }
  end

  it("makes rates of counters, and none across a restart", function()
    local model = models.new()
    assert.equal(0, model:take(app(100), 1000).apps[1].total.rps)
    assert.equal(25, model:take(app(150), 3000).apps[1].total.rps)
    assert.equal(0, model:take(app(10, 6), 5000).apps[1].total.rps)
  end)

  it("keeps ten minutes, and forgets what is gone", function()
    local model = models.new()
    for i = 1, models.KEPT + 20 do model:take(app(i), i * models.STEP) end
    assert.equal(models.KEPT, #model.history[0])
    assert.equal(600000, models.KEPT * models.STEP)
    model:take({}, 1e9)
    assert.is_nil(next(model.history))
    for i = 1, 600 do model:mark{ event = "restart", id = 0, time = i } end
    assert.equal(500, #model.marks)
    assert.is_false(model:mark{ event = "start", id = 0 })
  end)
end)

describe("Prometheus' text", function()
  it("has a line an instance, with names escaped", function()
    local text = metrics.text{ { name = 'a"b\\c', instances = { { number = 0, state = "online", restarts = 2, memory = 5 }, { number = 1,
      state = "stopped", restarts = 0 } } } }
    assert.truthy(text:find('lrun_instance_up{app="a\\"b\\\\c",instance="0"} 1\n', 1, true))
    assert.truthy(text:find('lrun_instance_up{app="a\\"b\\\\c",instance="1"} 0\n', 1, true))
    assert.truthy(text:find('lrun_instance_memory_bytes{app="a\\"b\\\\c",instance="0"} 5\n', 1, true))
    assert.is_nil(text:find('memory_bytes{app="a\\"b\\\\c",instance="1"}', 1, true))
  end)
end)

describe("lrun web", function()
  local home

  before_each(function() home = manager.home() end)
  after_each(function() home:close() end)

  local function serve(...)
    local child = home:spawn{ "web", "--port", "0", ... }
    local address = child.waitFor("(http://[^%s]+)\n")
    return address, tonumber(address:match(":(%d+)/")), address:match("token=(%w+)")
  end

  it("tells apps, figures and lines, and changes nothing without --control", function()
    home:start("app", 'print("hello line")\n' .. manager.idle)
    local _, port, token = serve()
    local body, status = manager.get(port, "/api/list?token=" .. token)
    assert.equal(200, status)
    assert.equal("app", json.decode(body)[1].name)
    body = manager.get(port, "/metrics", { Authorization = "Bearer " .. token })
    assert.truthy(body:find('lrun_instance_up{app="app",instance="0"} 1', 1, true))
    assert.equal(404, select(2, manager.get(port, "/api/logs?target=nosuch&token=" .. token)))
    local before = home:pids("app")
    local _, refused = require("await")(function(done)
      local request = require("http").request({ host = "127.0.0.1", port = port, path = "/api/restart?target=app&token=" .. token,
        method = "POST" },
        function(response)
          response:resume()
          done(nil, response.statusCode)
        end)
      request:finish()
    end)
    assert.equal(403, refused)
    assert.same(before, home:pids("app"))
  end)

  it("shows no value of an environment", function()
    home:write("app.lua", manager.idle)
    home:ok({ "start", "app.lua", "--min-uptime", "50" }, { env = { SECRET_VALUE = "never-shown-anywhere" } })
    local _, port, token = serve("--control")
    for _, path in ipairs{ "/", "/api/list", "/api/history", "/metrics" } do
      local body, status = manager.get(port, path .. "?token=" .. token)
      assert.equal(200, status, path)
      assert.is_nil(body:find("never-shown-anywhere", 1, true))
    end
  end)

  it("goes on when the daemon was replaced", function()
    home:start("app", manager.idle)
    local _, port, token = serve()
    local daemon = home:daemon()
    process.kill(daemon, "SIGKILL")
    manager.wait("the app online again", function()
      local body = manager.get(port, "/api/list?token=" .. token)
      return body and json.decode(body)[1].state == "online"
    end)
  end)
end)
