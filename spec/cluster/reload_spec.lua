local clients = require("spec.support.cluster.clients")
local fresh = require("spec.support.cluster.fresh")
local await = require("await")
local schedule = require("lrun.cluster.schedule")
local timers = require("timers")

local function ids(cluster)
  local list = {}
  for id in pairs(cluster.workers) do list[#list + 1] = id end
  table.sort(list)
  return list
end

for name, policy in pairs{ rr = schedule.SCHED_RR, none = schedule.SCHED_NONE, reuseport = schedule.SCHED_REUSEPORT,
  least = schedule.SCHED_LEAST } do
  describe("cluster.reload under the policy " .. name, function()
    local cluster
    before_each(function() cluster = fresh.cluster(policy) end)
    after_each(function() cluster.stopAll() end)

    for _, delay in ipairs{ 0, 30 } do
      it(("drops no request (answers take %d ms)"):format(delay), function()
        local port
        for _ = 1, 2 do port = select(2, cluster.start("http", { SPEC_DELAY = delay })) end
        local load = clients.load(port, { keepAlive = 4, single = 4 })
        for round = 1, 2 do
          clients.untilTrue(function() return load.requests >= 20 * round end, "requests")
          assert.is_nil((await(cluster.reload)))
        end
        load.stop()
        assert.same({}, load.problems)
        assert.same({ 5, 6 }, ids(cluster))
      end)
    end
  end)
end

describe("lrun.cluster.reload", function()
  local cluster
  before_each(function() cluster = fresh.cluster(schedule.SCHED_RR) end)
  after_each(function() cluster.stopAll() end)

  it("tells its phases", function()
    cluster.start("http")
    local phases = {}
    cluster:on("reload", function(phase, worker)
      phases[#phases + 1] = phase .. (worker and " " .. worker.id or "")
    end)
    assert.is_nil((await(cluster.reload)))
    assert.same({ "fork 2", "ready 2", "drain 1", "exit 1", "done" }, phases)
  end)

  it("keeps nothing of the workers that it has replaced", function()
    cluster.start("http")
    local gone = setmetatable({}, { __mode = "k" })
    for _ = 1, 10 do
      for _, worker in pairs(cluster.workers) do gone[worker] = true end
      assert.is_nil((await(cluster.reload)))
    end
    clients.untilTrue(function()
      collectgarbage()
      local kept = 0
      for _ in pairs(gone) do kept = kept + 1 end
      return kept <= 5                          -- a stack, or compiled code, may still know some
    end, "them to be collected")
  end)

  it("replaces several at a time when asked to", function()
    for _ = 1, 4 do cluster.start("http") end
    local running, most = 0, 0
    cluster:on("reload", function(phase)
      if phase == "fork" then running = running + 1 elseif phase == "exit" then running = running - 1 end
      most = math.max(most, running)
    end)
    assert.is_nil((await(cluster.reload, { parallel = 2 })))
    assert.equal(2, most)
    assert.same({ 5, 6, 7, 8 }, ids(cluster))
  end)

  it("has one more round for all that ask while one runs, even if that fails", function()
    cluster.start("http")
    local order, phases = {}, {}
    cluster:on("reload", function(phase)
      if phase == "done" or phase == "stopped" then phases[#phases + 1] = phase end
    end)
    local function note(name)
      return function(err) order[#order + 1] = name .. (err and " failed" or "") end
    end
    local script = cluster.settings.exec
    cluster.setupPrimary{ exec = "/nonexistent/worker.lua", silent = true }
    cluster:once("reload", function() cluster.setupPrimary{ exec = script, silent = false } end)     -- it was forked
    cluster.reload(note("first"))
    cluster.reload({ workers = {} }, note("second"))
    cluster.reload(note("third"))
    clients.untilTrue(function() return #order == 3 end, "all callbacks")
    assert.same({ "first failed", "second", "third" }, order)
    assert.same({ "stopped", "done" }, phases)
    clients.untilTrue(function() return #ids(cluster) == 1 end, "the failed one's end")
    assert.same({ 3 }, ids(cluster))
  end)

  it("waits for the word of a worker when asked to", function()
    local old = cluster.start("http", { SPEC_READY = "1" })
    local seen = {}
    cluster:on("listening", function(worker)
      if worker == old then return end
      seen[#seen + 1] = "listening"
      timers.setTimeout(function()
        seen[#seen + 1] = "asked"
        worker:send("say so")
      end, 20)
    end)
    cluster:on("reload", function(phase) if phase == "ready" then seen[#seen + 1] = phase end end)
    assert.is_nil((await(cluster.reload, { waitReady = true })))
    assert.same({ "listening", "asked", "ready" }, seen)
  end)

  it("keeps the old worker when the new one dies, and says so", function()
    local old, port = cluster.start("http")
    cluster.setupPrimary{ exec = "/nonexistent/worker.lua", silent = true }
    local asked
    cluster:on("exit", function(worker) asked = worker.exitedAfterDisconnect end)
    local err = await(cluster.reload)
    clients.untilTrue(function() return asked ~= nil end, "the new one's exit event")
    assert.is_true(asked)                       -- so that a supervisor does not replace it
    assert.equal("ERR_CLUSTER_RELOAD", err.code)
    assert.matches("code 127", err.message)
    assert.same({ old.id }, ids(cluster))
    assert.is_false(old.exitedAfterDisconnect == true)
    local load = clients.load(port, { keepAlive = 1, single = 1 })
    clients.untilTrue(function() return load.requests + #load.problems >= 10 end, "answers")
    load.stop()
    assert.same({}, load.problems)
  end)

  it("stops when a new worker ends that had taken over, and keeps the old ones that are left", function()
    local _, port = cluster.start("hold")
    local held = clients.connect(port)
    clients.untilTrue(function() return cluster.metrics()[1].accepted == 1 end, "the only worker to have it")
    local second = cluster.start("hold")
    cluster:on("reload", function(phase, worker)
      if phase ~= "ready" then return end
      worker:kill("SIGKILL")
      worker:once("exit", function() held:write("close") end)    -- until then the old one cannot end
    end)
    local err = await(cluster.reload)
    assert.equal("ERR_CLUSTER_RELOAD", err.code)
    assert.equal("worker 3 ended after it was ready (SIGKILL)", err.message)
    assert.same({ second.id }, ids(cluster))
  end)

  it("keeps the old worker when the new one does not listen in time", function()
    local old = cluster.start("http")
    local fork = cluster.fork
    cluster.setupPrimary{ exec = cluster.settings.exec:gsub("worker%.lua$", "mute.lua") }
    local err = await(cluster.reload, { listenTimeout = 100 })
    assert.equal("ERR_CLUSTER_RELOAD", err.code)
    assert.matches("within 100 ms", err.message)
    clients.untilTrue(function() return #ids(cluster) == 1 end, "the new one's end")
    assert.same({ old.id }, ids(cluster))
    assert.equal(fork, cluster.fork)
  end)

  it("ends a worker that does not end by itself", function()
    cluster.start("http")
    local stubborn = cluster.fork{ SPEC_ROLE = "timer" }
    clients.event(stubborn, "online")
    assert.is_nil((await(cluster.reload, { drainTimeout = 100, killTimeout = 100 })))
    assert.is_true(stubborn:isDead())
    assert.equal("SIGTERM", stubborn.process.signalCode)
  end)

  it("refuses options of the wrong kind", function()
    for _, options in ipairs{ { parallel = 0 }, { listenTimeout = -1 }, { waitReady = 1 }, { drainTimeout = "x" } } do
      assert.has_error(function() cluster.reload(options) end)
    end
    assert.has_error(function() cluster.reload({}, 1) end)
  end)
end)
