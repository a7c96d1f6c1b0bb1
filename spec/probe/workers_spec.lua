local probe = require("spec.support.probe")
local terminal = require("spec.support.terminal")

local CLUSTER = [[
local cluster = require("cluster")
if cluster.isPrimary then
  for _ = 1, 2 do cluster.fork() end
  local online = 0
  cluster:on("online", function()
    online = online + 1
    if online == 2 then print("ready") end
  end)
else
  require("timers").setInterval(function() end, 1000)
end
]]

describe("the workers of a primary", function()
  before_each(probe.begin)
  after_each(probe.finish)

  it("are shown by lrun top, and meant by PID#N", function()
    local _, pid = probe.start(CLUSTER)
    local out = probe.good({ "top", pid })
    assert.matches("^worker +pid +up +cpu +memory +conns +accepted +requests +req/s +messages +lag\n +1 ", out)
    local second = out:match("\n +2 +(%d+) ")
    assert.matches("\n +all ", out)
    local list = require("json").decode((probe.good({ "top", pid, "--json" })))
    assert.equal(second, tostring(list[2].pid))
    assert.equal(second .. "\n2\n", (probe.good({ "attach", pid .. "#2" }, "process.pid\nrequire('cluster').worker.id\n")))
    assert.matches("there is no worker 7 %(it has the workers 1, 2%)", probe.bad(1, { "stack", pid .. "#7" }))
    assert.matches("process %d+ is no primary with workers", probe.bad(1, { "top", second }))
    assert.matches("%-%-seconds is a number", probe.bad(2, { "top", pid, "--seconds", "0" }))
  end)

  it("are shown again and again on a terminal, until q", function()
    local _, pid = probe.start(CLUSTER)
    local screen = terminal.open{ args = { "top", pid, "--seconds", "0.1" }, columns = 110 }
    finally(function() screen:close() end)
    screen:waitFor("process " .. pid .. ": 2 workers")
    screen:waitFor("all ")
    screen:type("q")
    assert.equal(0, (screen:waitForExit()))
  end)
end)
