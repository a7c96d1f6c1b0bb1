local await = require("await")
local clients = require("spec.support.cluster.clients")
local processes = require("spec.support.processes")
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

  local function start(workers, env)
    env = env or {}
    port = env.PORT or program.port()
    env.PORT, env.WORKERS = port, workers
    supervisor = program.start("examples/supervise.lua", {}, env)
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

  it("reloads on SIGHUP", function()
    start(2)
    local first = served(port)
    supervisor.child:kill("SIGHUP")
    supervisor:line("%[%d+%] (SIGHUP): replacing the workers")
    supervisor:line("%[%d+%] (all workers are new)")
    assert.not_equal(first, served(port))
  end)

  it("gives way to a new primary on SIGUSR2", function()
    start(2)
    served(port)
    supervisor.child:kill("SIGUSR2")
    local new = tonumber((supervisor:line("%[%d+%] (%d+) has taken over")))
    assert.not_equal(supervisor.child.pid, new)
    served(port)
    process.kill(new, "SIGTERM")
    assert.equal(0, (supervisor:gone()))
  end)

  it("replaces a worker that has answered enough", function()
    start(1, { RECYCLE = 10 })
    local first = served(port)
    clients.untilTrue(function() return served(port) ~= first end, "another worker")
    clients.untilTrue(function() return not processes.alive(first) end, "the first one's end")
  end)

  it("ends, and forks no more, where another program has the port", function()
    local other = require("net").createServer()
    await(function(done) other:listen(0, done) end)
    start(2, { PORT = other:address().port })
    supervisor:line("%[%d+%] (no worker can listen on port %d+): giving up")
    assert.equal(1, (supervisor:gone()))
    await(function(done) other:close(done) end)
  end)

  it("answers what it has begun when its whole group is told to end", function()
    start(2)
    served(port)
    local load = clients.load(port, { keepAlive = 2, single = 2 })
    clients.untilTrue(function() return load.requests >= 20 end, "requests")
    supervisor:interrupt("SIGTERM")
    supervisor:gone()
    load.stop()
    -- Reset: its handshake was under way when the socket closed.
    for _, problem in ipairs(load.problems) do assert.matches("^connect ECONNRE[FS]", problem) end
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
