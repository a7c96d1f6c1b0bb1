--- This process is the primary, under round robin.
local child_process = require("child_process")
local clients = require("spec.support.cluster.clients")
local cluster = require("cluster")
local uv = require("luv")
local processes = require("spec.support.processes")

local event, untilTrue = clients.event, clients.untilTrue

cluster.setupPrimary{ exec = uv.cwd() .. "/spec/support/cluster/worker.lua", args = {} }

local function fork(role, env)
  env = env or {}
  env.SPEC_ROLE = role
  return cluster.fork(env)
end

local function portOf(worker)
  return event(worker, "listening").port
end

local function stopAll()
  for _, running in pairs(cluster.metrics()) do process.kill(running.pid, "SIGKILL") end
  untilTrue(function() return next(cluster.workers) == nil and next(cluster.metrics()) == nil end, "the workers' end")
end

describe("cluster.fork", function()
  after_each(stopAll)

  it("tells a worker's life in order, on the worker and on the cluster", function()
    local seen = {}
    local removed = {}
    for _, name in ipairs{ "fork", "online", "listening", "disconnect", "exit" } do
      local function listener(worker) seen[#seen + 1] = name .. " " .. worker.id end
      cluster:on(name, listener)
      removed[name] = listener
    end
    local worker = fork("id")
    assert.same({}, seen)
    assert.equal(worker, cluster.workers[worker.id])
    assert.is_true(worker:isConnected())
    event(worker, "listening")
    assert.equal(worker, worker:disconnect())
    assert.is_nil(cluster.workers[worker.id])
    assert.equal(worker.process.pid, cluster.metrics()[worker.id].pid)
    local _, code, signal = event(cluster, "exit")
    for name, listener in pairs(removed) do cluster:off(name, listener) end
    assert.equal(0, code)
    assert.is_nil(signal)
    assert.is_true(worker.exitedAfterDisconnect)
    assert.is_nil(cluster.metrics()[worker.id])
    local id = " " .. worker.id
    assert.same({ "fork" .. id, "online" .. id, "listening" .. id, "disconnect" .. id, "exit" .. id }, seen)
  end)

  it("tells of a worker that was killed, and serves with another", function()
    local worker = fork("id")
    event(worker, "listening")
    worker:kill("SIGKILL")
    local code, signal = event(worker, "exit")
    assert.is_nil(code)
    assert.equal("SIGKILL", signal)
    assert.is_false(worker.exitedAfterDisconnect)
    local second = fork("id")
    assert.equal(tostring(second.id), next((clients.run(portOf(second), 1, 1))))
  end)

  it("outlives a worker that sends garbage, with a warning", function()
    local worker = fork("garbage")
    local warning = event(process, "warning")
    assert.truthy(warning.message:find(("worker %d failed: "):format(worker.id), 1, true))
    assert.equal(0, (event(worker, "exit")))     -- it has lost its channel
  end)

  it("ends a worker whose script does not exist with an exit event", function()
    local exec = cluster.settings.exec
    cluster.setupPrimary{ exec = "/nonexistent/worker.lua", silent = true }
    local worker = cluster.fork()
    cluster.setupPrimary{ exec = exec, silent = false }
    assert.equal(4, #worker.process.stdio)       -- standard streams and channel: the lane is the runtime's own
    assert.equal(127, (event(worker, "exit")))
  end)

  for _, role in ipairs{ "stuck", "asked", "draining" } do
    it(("leaves no worker behind when it is killed, not even one that is %s"):format(role), function()
      local primary = child_process.fork("spec/support/cluster/abandoned.lua", { role })
      local messages = {}
      primary:on("message", function(message) messages[#messages + 1] = message end)
      untilTrue(function() return messages[2] == "ready" end, "the worker")
      local pid = messages[1]
      assert.is_true(processes.alive(pid))
      primary:kill("SIGKILL")
      untilTrue(function() return not processes.alive(pid) end, "its worker's end")
    end)
  end

  it("refuses settings and environments of the wrong type", function()
    for _, settings in ipairs{ { exec = 1 }, { args = "x" }, { silent = "yes" }, { cwd = {} }, { stdio = 1 } } do
      assert.has_error(function() cluster.setupPrimary(settings) end)
    end
    assert.has_error(function() cluster.fork("x") end)
    assert.has_error(function() cluster:fork() end, "call cluster.fork(...) with a dot")
  end)

  it("survives a worker that floods it with messages", function()
    local count, last = 0, 0
    local worker = fork("flood")
    worker:on("message", function(message)
      count = count + 1
      last = message.n
    end)
    untilTrue(function() return count == 20000 end, "all messages")
    assert.equal(20000, last)
  end)

  it("survives a worker that asks for what nobody can listen on", function()
    local worker = fork("liar")
    assert.is_nil(event(worker, "listening").port)
    local answer
    clients.connect(portOf(worker), function(text) answer = text end)
    untilTrue(function() return answer end, "an answer")
    assert.equal(tostring(worker.id), answer)
  end)

  it("hears nothing of a socket that was closed as soon as it was bound", function()
    local worker = fork("brief")
    worker:on("listening", function() error("it does not listen any more") end)
    assert.equal("closed", event(worker, "message"))
    assert.is_false(worker:isDead())
  end)

  it("does not make a worker's own children workers", function()
    local message = event(fork("nested"), "message")
    assert.same({ primary = true }, message)
  end)
end)

describe("cluster.Worker", function()
  it("can be made by hand", function()
    local worker = cluster.Worker:new()
    assert.same({ 0, "none" }, { worker.id, worker.state })
    worker = cluster.Worker:new{ id = 3, state = "online", process = process }
    assert.same({ 3, "online", process }, { worker.id, worker.state, worker.process })
  end)
end)

describe("round robin", function()
  after_each(stopAll)

  it("gives every worker the same number of connections", function()
    for _ = 1, 4 do event(fork("id"), "listening") end
    local port = portOf(fork("id"))
    local answers, problems = clients.run(port, 500, 20)
    assert.same({}, problems)
    for id, count in pairs(answers) do assert.equal(100, count, "worker " .. id) end
  end)

  it("loses no connection when workers die that do not serve it", function()
    local keeper = fork("id")
    local port = portOf(keeper)
    for _ = 1, 3 do fork("mortal") end
    local deaths = 0
    local function onExit()
      deaths = deaths + 1
      fork("mortal")
    end
    cluster:on("exit", onExit)
    local _, problems = clients.drive(port, 40, function() return deaths >= 12 end, "deaths")
    cluster:off("exit", onExit)
    assert.same({}, problems)
  end)

  it("lets connections wait while all servers have as many as they want", function()
    local port = portOf(fork("hold", { SPEC_MAX = 1 }))
    event(fork("hold", { SPEC_MAX = 2 }), "listening")
    local held, ended = {}, 0
    for i = 1, 40 do held[i] = clients.connect(port, function() ended = ended + 1 end) end
    local function served()
      local open = 0
      for _, known in pairs(cluster.metrics()) do open = open + known.accepted end
      return open
    end
    untilTrue(function() return served() == 3 end, "as many as fit")
    assert.equal(0, ended)
    untilTrue(function()
      for _, handle in ipairs(held) do if not handle:is_closing() then handle:write("close") end end
      return ended == 40
    end, "all to be served")
    assert.equal(40, served())
  end)

  it("loses no connection when workers close their servers", function()
    local keeper = fork("id")
    local port = portOf(keeper)
    local listenings = 0
    local function onListening() listenings = listenings + 1 end
    cluster:on("listening", onListening)
    for _ = 1, 3 do fork("fickle") end
    local _, problems = clients.drive(port, 40, function() return listenings >= 24 end, "servers to open again")
    cluster:off("listening", onListening)
    assert.same({}, problems)
  end)

  it("keeps no descriptor of connections or of dead workers", function()
    local keeper = fork("id")
    local port = portOf(keeper)
    clients.run(port, 50, 10)
    local before = processes.descriptors()
    for _ = 1, 10 do
      local worker = fork("id")
      event(worker, "listening")
      clients.run(port, 100, 10)
      worker:kill("SIGKILL")
      event(worker, "exit")
    end
    untilTrue(function() return processes.descriptors() <= before end, "the descriptors to be closed")
  end)
end)

describe("listening in a worker", function()
  after_each(stopAll)

  local function listen(options, env)
    env = env or {}
    env.SPEC_OPTIONS = require("cjson").encode(options)
    local worker = fork("options", env)
    return event(worker, "message"), worker
  end

  it("tells the worker that a port is taken, and which", function()
    local server = uv.new_tcp()
    assert(server:bind("127.0.0.1", 0))
    assert(server:listen(1, function() end))
    local port = server:getsockname().port
    local message = listen{ host = "127.0.0.1", port = port }
    server:close()
    assert.equal("EADDRINUSE", message.code)
    assert.equal("listen EADDRINUSE: address already in use 127.0.0.1:" .. port, message.message)
  end)

  it("lets no worker have a port twice", function()
    assert.equal("EADDRINUSE", event(fork("twice"), "message").code)
  end)

  it("gives the n-th port 0 of each worker the same number", function()
    local first = event(fork("zero"), "message")
    local second = event(fork("zero"), "message")
    assert.same(first, second)
    assert.not_equal(first[1], first[2])
  end)

  it("takes a port as text, and shares no exclusive one", function()
    local message = listen{ host = "127.0.0.1", port = 0, exclusive = true }
    local port = message.address.port
    assert.equal("EADDRINUSE", listen{ host = "127.0.0.1", port = tostring(port), exclusive = true }.code)
    local shared = listen{ host = "127.0.0.1", port = "0" }
    assert.is_true(shared.address.port > 0)
  end)

  it("binds paths that only fit the kernel in a short form, relative to the worker", function()
    local directory = assert(uv.fs_mkdtemp("/tmp/lrun-spec-XXXXXX"))
    local deep = directory .. "/" .. ("d"):rep(60) .. "/" .. ("e"):rep(60)
    assert(uv.fs_mkdir(directory .. "/" .. ("d"):rep(60), 448))
    assert(uv.fs_mkdir(deep, 448))
    cluster.setupPrimary{ cwd = deep }
    local heard
    cluster:once("listening", function(_, address) heard = address end)
    local message, worker = listen{ path = "a.sock" }
    cluster.settings.cwd = nil
    untilTrue(function() return heard end, "the primary to hear of it")
    assert.same({ address = deep .. "/a.sock", port = -1, addressType = -1 }, heard)
    assert.equal("a.sock", message.address)
    assert.equal("socket", assert(uv.fs_stat(deep .. "/a.sock")).type)
    worker:disconnect()
    event(worker, "exit")
    assert.is_nil((uv.fs_stat(deep .. "/a.sock")))
    os.execute("rm -rf " .. directory)
  end)

  it("takes a descriptor of the primary's, which keeps it", function()
    local server = uv.new_tcp()
    assert(server:bind("127.0.0.1", 0))
    local port = server:getsockname().port
    for _ = 1, 2 do
      local message, worker = listen{ fd = server:fileno() }
      assert.equal(port, message.address.port)
      assert.equal(tostring(worker.id), next((clients.run(port, 1, 1))))
      worker:kill("SIGKILL")
      event(worker, "exit")
    end
    server:close()
  end)
end)

describe("cluster.disconnect", function()
  it("ends all workers and calls back", function()
    local list = { fork("id"), fork("id"), fork("id"):disconnect() }
    require("await")(cluster.disconnect)
    assert.is_nil(next(cluster.workers))
    for _, worker in ipairs(list) do assert.is_false(processes.alive(worker.process.pid)) end
    require("await")(cluster.disconnect)      -- calls back with no workers, too
  end)
end)

describe("lrun.cluster.metrics", function()
  after_each(stopAll)

  it("tells what the workers do", function()
    local worker = fork("id")
    local port = portOf(worker)
    clients.run(port, 30, 5)
    local known
    untilTrue(function()
      known = cluster.metrics()[worker.id]
      return known.connections == 0
    end, "the connections' end")
    assert.equal(worker.process.pid, known.pid)
    assert.equal(30, known.accepted)
    assert.is_true(known.uptime > 0 and known.rss > 1e6 and known.cpu >= 0 and known.lag >= 0)
  end)
end)
