local await = require("await")
local child_process = require("child_process")
local clients = require("spec.support.cluster.clients")

-- Starts spec/support/cluster/limited.lua with few descriptors.
local function start(scenario)
  return child_process.spawn("/bin/sh",
    { "-c", 'ulimit -n 128; exec "$0" "$@"', process.execPath, "spec/support/cluster/limited.lua", scenario },
    { stdio = { "ignore", "pipe", "inherit" } })
end

describe("a primary with few descriptors", function()
  it("tells by an error event that a worker could not be started, and can start one later", function()
    local child, text = start("fork"), ""
    child.stdout:on("data", function(data) text = text .. data end)
    assert.equal(0, (await(function(callback) child:once("close", callback) end)))
    assert.equal("EMFILE\tnil\nonline\t0\n", text)
  end)

  it("leaves a burst in the kernel's queue until the workers have caught up", function()
    local child = start("burst")
    local port = tonumber(clients.event(child.stdout, "data"):match("%d+"))
    local answers, problems = clients.run(port, 300, 300)
    assert.same({}, problems)
    assert.same({ served = 300 }, answers)
    child:kill("SIGTERM")
    assert.equal(0, (await(function(callback) child:once("close", callback) end)))
  end)

  it("closes what it cannot accept instead of letting it hang, and accepts again when there are descriptors", function()
    local child = start("exhausted")
    local port = tonumber(clients.event(child.stdout, "data"):match("%d+"))
    local answers = clients.run(port, 5, 5)
    assert.same({ [""] = 5 }, answers)
    child:kill("SIGUSR2")
    clients.drive(port, 1, function() return (clients.run(port, 1, 1)).served == 1 end, "an answer")
    child:kill("SIGTERM")
    assert.equal(0, (await(function(callback) child:once("close", callback) end)))
  end)
end)
