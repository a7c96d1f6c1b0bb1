local manager = require("spec.support.manager")

describe("apps of the manager", function()
  local home

  before_each(function() home = manager.home() end)
  after_each(function() home:close() end)

  it("are looked into by their names, one of several instances by its number, a cluster by its keeper", function()
    home:start("one", manager.idle)
    home:start("many", manager.idle, "--instances", "2", "--ready", "uptime")
    local one, many = home:pids("one"), home:pids("many")
    assert.equal(one[1] .. "\n", (home:ok({ "attach", "one" }, { input = "process.pid\n" })))
    assert.equal(many[2] .. "\n", (home:ok({ "attach", "many#1" }, { input = "process.pid\n" })))
    assert.matches("process " .. one[1] .. " %b() answers from its loop", (home:ok{ "stack", "one#0" }))
    local list = home:json{ "top", "many" }
    assert.same(many, { list[1].pid, list[2].pid })
    local _, err, code = home:run{ "heap", "many" }
    assert.equal("lrun: heap: 'many' has 2 instances: name one: many#0 many#1\n", err)
    assert.equal(2, code)
    _, err, code = home:run{ "heap", "many#3" }
    assert.equal("lrun: 'many' has no instance 3 (it has 2)\n", err)
    assert.equal(3, code)
    home:ok{ "stop", "one" }
    _, err, code = home:run{ "attach", "one" }
    assert.equal("lrun: 'one' does not run (lrun start one)\n", err)
    assert.equal(3, code)
  end)

  it("and their keeper and daemon are not disturbed by SIGUSR1", function()
    home:start("one", manager.idle)
    local pids, daemon, keeper = home:pids("one"), home:daemon(), home:keeper("one")
    for _, pid in ipairs{ daemon, keeper, pids[1] } do
      process.kill(pid, "SIGUSR1")
      assert.matches("answers from its loop", (home:ok{ "stack", tostring(pid) }))
    end
    assert.same(pids, home:pids("one"))
    assert.equal(daemon, home:daemon())
    assert.equal(0, home:app("one").restarts)
  end)
end)
