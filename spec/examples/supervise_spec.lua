local clients = require("spec.support.cluster.clients")
local program = require("spec.support.program")

local get = program.get

local function served(port)
  local body
  clients.untilTrue(function()
    body = get(port, "/")
    return body
  end, "an answer")
  return tonumber(body:match("hello from (%d+)"))
end

describe("examples/supervise.lua", function()
  local port, supervisor

  local function start(workers)
    port = program.port()
    process.env.PORT, process.env.WORKERS = port, workers
    supervisor = program.start("examples/supervise.lua")
    process.env.PORT, process.env.WORKERS = nil, nil
    supervisor:line("%[(%d+)%] serving port %d+")
  end

  after_each(function()
    pcall(supervisor.interrupt, supervisor, "SIGKILL")
    supervisor:gone()
  end)

  it("replaces a worker that crashed, and stops on SIGTERM", function()
    start(1)
    local first = served(port)
    get(port, "/crash")
    assert.equal(first, tonumber((supervisor:line("%[%d+%] worker (%d+) died %(code 1%)"))))
    assert.not_equal(first, served(port))
    supervisor.child:kill("SIGTERM")
    assert.equal(0, (supervisor:gone()))
  end)

  it("reloads on SIGUSR2", function()
    start(2)
    local first = served(port)
    supervisor.child:kill("SIGUSR2")
    supervisor:line("%[%d+%] (SIGUSR2): replacing the workers")
    supervisor:line("%[%d+%] (all workers are new)")
    assert.not_equal(first, served(port))
  end)

  it("stops on Ctrl-C, which reaches the workers too", function()
    start(2)
    served(port)
    supervisor:interrupt("SIGINT")
    assert.equal(0, (supervisor:gone()))
  end)

  it("gives up after too many crashes", function()
    start(12)
    served(port)
    local scan = assert(io.popen("pgrep -P " .. supervisor.child.pid))
    local pids = scan:read("*a")
    scan:close()
    for pid in pids:gmatch("%d+") do pcall(process.kill, tonumber(pid), "SIGKILL") end     -- the last may be gone by then
    supervisor:line("%[%d+%] (%d+) crashes in 60 s: giving up")
    assert.equal(1, (supervisor:gone()))
  end)
end)
