local await = require("await")
local clients = require("spec.support.cluster.clients")
local net = require("net")
local os = require("os")
local program = require("spec.support.program")
local processes = require("spec.support.processes")

local REQUESTS = 40

-- All that a connection of its own brings for one request.
local function request(port)
  return await(function(done)
    local socket, received = net.connect(port, "127.0.0.1"), {}
    socket:on("data", function(data) received[#received + 1] = data end)
    socket:on("error", function(err) received[#received + 1] = err.message end)
    socket:on("close", function() done(table.concat(received)) end)
    socket:write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
  end)
end

describe("examples/handoff", function()
  local master, port

  before_each(function()
    port = program.port()
    master = program.start("examples/handoff/master.lua", {}, { PORT = port })
    local listened, workers = master:line("listening on port (%d+) with (%d+) workers")
    assert.equal(port, tonumber(listened))
    assert.equal(os.availableParallelism(), tonumber(workers))
  end)

  after_each(function()
    pcall(master.interrupt, master, "SIGKILL")
    master:gone()
  end)

  it("answers every connection in a worker, and keeps none", function()
    assert.truthy(request(port):find("\r\n\r\nhello world\n", 1, true))
    local before = processes.descriptors(master.child.pid)
    local answers = {}
    for i = 1, REQUESTS do
      answers[i] = function() return request(port) end
    end
    for _, answer in ipairs(await.all(answers)) do
      assert.truthy(answer:find("^HTTP/1.1 200 OK\r\n.*\r\n\r\nhello world\n$"), answer)
    end
    clients.untilTrue(function() return processes.descriptors(master.child.pid) <= before + 1 end, "the descriptors to be closed")
  end)

  it("ends with its workers on Ctrl-C", function()
    master:interrupt("SIGINT")
    local _, signal = master:gone()
    assert.equal("SIGINT", signal)
  end)
end)
