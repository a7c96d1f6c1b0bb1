--- What keeps a cluster's ports served: slots, gentle ends, sockets that outlive the last worker.
local await = require("await")
local clients = require("spec.support.cluster.clients")
local fresh = require("spec.support.cluster.fresh")
local processes = require("spec.support.processes")
local schedule = require("lrun.cluster.schedule")

local event, untilTrue = clients.event, clients.untilTrue

describe("a worker's slot", function()
  local cluster
  before_each(function() cluster = fresh.cluster(schedule.SCHED_RR) end)
  after_each(function() cluster.stopAll() end)

  it("is the lowest that no living worker has, on both sides", function()
    local workers = {}
    for i = 1, 3 do
      workers[i] = cluster.fork{ SPEC_ROLE = "slot", LRUN_CLUSTER_SLOT = "9" }
      assert.equal(i, workers[i].slot)
      assert.same({ slot = i }, event(workers[i], "message"))
    end
    workers[2]:kill("SIGKILL")
    event(workers[2], "exit")
    assert.equal(2, cluster.fork{ SPEC_ROLE = "slot" }.slot)
    assert.equal(4, cluster.fork{ SPEC_ROLE = "slot" }.slot)
  end)

  it("goes over to the replacement", function()
    for _ = 1, 2 do cluster.start("http") end
    local slots = {}
    cluster:on("reload", function(phase, worker) if phase == "fork" then slots[#slots + 1] = worker.slot end end)
    assert.is_nil((await(cluster.reload)))
    assert.same({ 1, 2 }, slots)
  end)
end)

describe("the event drain", function()
  local cluster
  before_each(function() cluster = fresh.cluster(schedule.SCHED_RR) end)
  after_each(function() cluster.stopAll() end)

  it("holds a replaced worker's end until its listener is done", function()
    local old = cluster.start("drain", { SPEC_DRAIN = "done" })
    local finished
    cluster.reload({ drainTimeout = 20000 }, function(err) finished = err or true end)
    assert.same({ drain = "done", ms = 20000 }, event(old, "message"))
    assert.is_true(old:isConnected())
    assert.is_nil(finished)
    old:send("go on")
    untilTrue(function() return finished end, "the reload")
    assert.is_true(finished)
    assert.equal(true, old.exitedAfterDisconnect)
  end)

  it("comes when a worker is asked to disconnect, without a limit where there is none", function()
    local worker = cluster.start("drain", { SPEC_DRAIN = "done" })
    worker:disconnect()
    assert.same({ drain = "done" }, event(worker, "message"))
    worker:send("go on")
    assert.equal(0, (event(worker, "exit")))
  end)

  it("ends with the limit when its listener is never done", function()
    local old = cluster.start("drain", { SPEC_DRAIN = "never" })
    assert.is_nil((await(cluster.reload, { drainTimeout = 100, killTimeout = 10000 })))
    assert.equal("SIGTERM", old.process.signalCode)
  end)

  it("is over for a listener that throws, and the worker answers what it has begun", function()
    cluster.setupPrimary{ silent = true }
    local worker, port = cluster.start("drain", { SPEC_DRAIN = "throws", SPEC_DELAY = 100 })
    local printed, answer = "", nil
    worker.process.stderr:on("data", function(text) printed = printed .. text end)
    local client = clients.connect(port, function(text) answer = text end)
    client:write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    untilTrue(function() return cluster.metrics()[worker.id].requests == 1 end, "the request")
    worker:disconnect()
    assert.equal(0, (event(worker, "exit")))
    untilTrue(function() return answer end, "the answer")
    assert.matches("^HTTP/1.1 200", answer)
    untilTrue(function() return printed:find("worker%.lua:%d+: oops") end, "the report")
  end)
end)

describe("cluster.disconnect with a timeout", function()
  local cluster
  before_each(function() cluster = fresh.cluster(schedule.SCHED_RR) end)
  after_each(function() cluster.stopAll() end)

  it("ends who does not end by itself by SIGTERM, then by SIGKILL, and calls back", function()
    local gentle = cluster.start("http")
    local stubborn, timer = cluster.fork{ SPEC_ROLE = "slot" }, cluster.fork{ SPEC_ROLE = "timer" }
    event(stubborn, "message")
    untilTrue(function() return timer.state == "online" end, "the other one")
    await(cluster.disconnect, { timeout = 100, killTimeout = 100 })
    assert.equal(0, gentle.process.exitCode)
    assert.equal("SIGKILL", stubborn.process.signalCode)
    assert.equal("SIGTERM", timer.process.signalCode)
    assert.is_nil(next(cluster.metrics()))
  end)

  it("still answers the clients that wait in the kernel", function()
    local _, port = cluster.start("http", { SPEC_DELAY = 20 })
    local answers, problems = {}, {}
    for _ = 1, 20 do
      clients.connect(port, function(text, problem)
        answers[#answers + 1] = text:match("^HTTP/1.1 (%d+)")
        problems[#problems + 1] = problem
      end):write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    end
    await(cluster.disconnect, { timeout = 20000 })      -- before this process has been to its loop, which accepts
    untilTrue(function() return #answers + #problems >= 20 end, "all ends")
    assert.same({}, problems)
    assert.equal(20, #answers)
  end)

  it("ends one that is stopped", function()
    local worker = cluster.start("http")
    process.kill(worker.process.pid, "SIGSTOP")
    await(cluster.disconnect, { timeout = 50, killTimeout = 50 })
    assert.equal("SIGKILL", worker.process.signalCode)
  end)

  it("refuses options of the wrong kind", function()
    for _, options in ipairs{ { timeout = -1 }, { timeout = "x" }, { killTimeout = 0.5 }, 5 } do
      assert.has_error(function() cluster.disconnect(options) end)
    end
  end)
end)

for name, policy in pairs{ rr = schedule.SCHED_RR, none = schedule.SCHED_NONE, reuseport = schedule.SCHED_REUSEPORT } do
  describe("a port whose last worker died, under the policy " .. name, function()
    local cluster
    before_each(function() cluster = fresh.cluster(policy) end)
    after_each(function() cluster.stopAll() end)

    it("has its clients wait for the next worker", function()
      local worker, port = cluster.start("http")
      worker:kill("SIGKILL")
      event(worker, "exit")
      local answer, problem
      local client = clients.connect(port, function(text, failed) answer, problem = text, failed end)
      client:write("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
      cluster.start("http")
      untilTrue(function() return answer end, "the answer")
      assert.is_nil(problem)
      assert.matches("^HTTP/1.1 200.*2$", answer)
    end)

    it("is closed when nobody comes, or when it was meant", function()
      cluster.setupPrimary{ keepListening = 50 }
      local worker, port = cluster.start("id")
      worker:kill("SIGKILL")
      event(worker, "exit")
      untilTrue(function() return (select(2, clients.run(port, 1, 1)))[1] == "connect ECONNREFUSED" end, "its end")
      worker, port = cluster.start("id")
      worker:disconnect()
      event(worker, "exit")
      assert.same({ "connect ECONNREFUSED" }, (select(2, clients.run(port, 1, 1))))
    end)
  end)
end

describe("a port that is kept", function()
  local cluster
  before_each(function() cluster = fresh.cluster(schedule.SCHED_RR) end)
  after_each(function() cluster.stopAll() end)

  it("makes room for a worker that asks for it under another address", function()
    local worker, port = cluster.start("id")
    worker:kill("SIGKILL")
    event(worker, "exit")
    local other = cluster.fork{ SPEC_ROLE = "options", SPEC_OPTIONS = ('{"port":%d}'):format(port) }
    local message = event(other, "message")
    assert.equal(port, message.address and message.address.port, message.code)
  end)

  it("refuses a time that is none", function()
    for _, time in ipairs{ -1, "x", 0.5 } do
      assert.has_error(function() cluster.setupPrimary{ keepListening = time } end)
    end
  end)
end)

describe("a replacement of a worker with a port of its own", function()
  local cluster
  before_each(function() cluster = fresh.cluster(schedule.SCHED_RR) end)
  after_each(function() cluster.stopAll() end)

  it("is ready when its servers listen; the old one answers, and ends", function()
    local old = cluster.fork{ SPEC_ROLE = "exclusive" }
    event(old, "message")
    local phases = {}
    cluster:on("reload", function(phase) phases[#phases + 1] = phase end)
    assert.is_nil((await(cluster.reload)))
    assert.same({ "fork", "ready", "drain", "exit", "done" }, phases)
    assert.is_true(old:isDead())
  end)

  it("overlaps with the old one on a port with reusePort", function()
    local port = require("spec.support.program").port()
    local env = { SPEC_ROLE = "options", SPEC_OPTIONS = ('{"port":%d,"host":"127.0.0.1","reusePort":true}'):format(port) }
    local old = cluster.fork(env)
    event(old, "message")
    assert.equal("1", next((clients.run(port, 1, 1))))
    assert.is_nil((await(cluster.reload)))
    assert.same({ ["2"] = 10 }, (clients.run(port, 10, 2)))
    assert.is_true(old:isDead())
  end)

  it("fails when the port is taken, and the old one goes on", function()
    local port = require("spec.support.program").port()
    local old = cluster.fork{ SPEC_ROLE = "exclusive", SPEC_PORT = port }
    event(old, "message")
    cluster.setupPrimary{ silent = true }       -- what the new one dies of is printed
    local err = await(cluster.reload)
    assert.equal("ERR_CLUSTER_RELOAD", err.code)
    local load = clients.load(port, { keepAlive = 1, single = 1 })
    untilTrue(function() return load.requests >= 4 end, "answers of the old one")
    load.stop()
    assert.same({}, load.problems)
    assert.is_false(old:isDead())
  end)
end)

describe("cluster.reload", function()
  local cluster
  before_each(function() cluster = fresh.cluster(schedule.SCHED_RR) end)
  after_each(function() cluster.stopAll() end)

  it("replaces only the workers that it is given", function()
    local first = cluster.start("http")
    local second = cluster.start("http")
    assert.is_nil((await(cluster.reload, { workers = { second } })))
    assert.equal(first, cluster.workers[1])
    assert.is_nil(cluster.workers[2])
    assert.is_table(cluster.workers[3])
    local _, err = pcall(cluster.reload, { workers = { 1 } })
    assert.matches('"options.workers%[1%]" property must be an instance of Worker', err.message)
  end)

  it("has a new worker live for a while before it drains the old one", function()
    local old = cluster.start("http")
    local since
    cluster:on("reload", function(phase, worker)
      if phase == "fork" then worker:once("listening", function() since = process.hrtime() end) end
      if phase == "drain" then since = (process.hrtime() - since) / 1e6 end
    end)
    assert.is_nil((await(cluster.reload, { minUptime = 150 })))
    assert.is_true(since >= 149, since)
    assert.is_false(processes.alive(old.process.pid))
  end)
end)

describe("a worker that cannot be started", function()
  it("has its error and then its exit, so that what replaces it goes on", function()
    local cluster = fresh.cluster(schedule.SCHED_RR)
    local child_process = require("child_process")
    local fork, attempts = child_process.fork, 0
    -- The system's refusal of memory, which no test can bring about by itself.
    child_process.fork = function(...)
      attempts = attempts + 1
      if attempts == 1 then error(require("errors").system("ENOMEM", "spawn"), 0) end
      return fork(...)
    end
    local seen = {}
    local worker = cluster.fork{ SPEC_ROLE = "id" }
    worker:on("error", function(err) seen[#seen + 1] = err.code end)
    cluster:on("exit", function(which, code)
      seen[#seen + 1] = "exit " .. which.id .. " " .. code
      cluster.fork{ SPEC_ROLE = "id" }
    end)
    local listening = event(cluster, "listening")
    child_process.fork = fork
    assert.same({ "ENOMEM", "exit 1 -12" }, seen)
    assert.equal(2, listening.id)
    assert.equal(1, listening.slot)
    cluster.stopAll()
  end)
end)
