local await = require("await")
local clients = require("spec.support.cluster.clients")
local fresh = require("spec.support.cluster.fresh")
local schedule = require("lrun.cluster.schedule")

local POLICIES = {
  none = schedule.SCHED_NONE,
  rr = schedule.SCHED_RR,
  reuseport = schedule.SCHED_REUSEPORT,
  least = schedule.SCHED_LEAST,
  sticky = schedule.SCHED_STICKY,
  ["function"] = function(workers) return workers[math.random(#workers)] end,
}

local function spread(answers)
  local least, most = math.huge, 0
  for _, count in pairs(answers) do least, most = math.min(least, count), math.max(most, count) end
  return least, most
end

for name, policy in pairs(POLICIES) do
  describe("under the policy " .. name, function()
    local cluster
    before_each(function() cluster = fresh.cluster(policy) end)
    after_each(function() cluster.stopAll() end)

    it("all connections are answered", function()
      local _, port = cluster.start("id")
      cluster.start("id")
      cluster.start("id")
      local _, problems = clients.run(port, 300, 10)
      assert.same({}, problems)
    end)

    it("no connection is lost when workers die that do not serve it", function()
      local _, port = cluster.start("id")
      for _ = 1, 2 do cluster.fork{ SPEC_ROLE = "mortal" } end
      local deaths = 0
      cluster:on("exit", function()
        deaths = deaths + 1
        cluster.fork{ SPEC_ROLE = "mortal" }
      end)
      local _, problems = clients.drive(port, 20, function() return deaths >= 4 end, "deaths")
      assert.same({}, problems)
    end)

    it("a worker's second server on its port gets EADDRINUSE", function()
      local worker = cluster.start("twice")
      local message = clients.event(worker, "message")
      assert.equal("EADDRINUSE", message.code)
    end)

    it("the n-th port 0 is the same for all", function()
      local first = cluster.fork{ SPEC_ROLE = "zero" }
      local ports = clients.event(first, "message")
      local second = cluster.fork{ SPEC_ROLE = "zero" }
      assert.same(ports, clients.event(second, "message"))
    end)

    it("metrics count what the workers got", function()
      local worker, port = cluster.start("id")
      clients.run(port, 25, 5)
      clients.untilTrue(function() return cluster.metrics()[worker.id].connections == 0 end, "the connections' end")
      assert.equal(25, cluster.metrics()[worker.id].accepted)
    end)
  end)
end

describe("SCHED_LEAST", function()
  local cluster
  before_each(function() cluster = fresh.cluster(schedule.SCHED_LEAST) end)
  after_each(function() cluster.stopAll() end)

  it("spreads evenly, and makes up for what a busy machine kept from one", function()
    local _, port = cluster.start("id")
    for _ = 1, 3 do cluster.start("id") end
    local counts, least, most = {}, 0, math.huge
    for _ = 1, 6 do
      local answers, problems = clients.run(port, 1500, 8)
      assert.same({}, problems)
      for id, count in pairs(answers) do counts[id] = (counts[id] or 0) + count end
      least, most = spread(counts)
      if most - least <= most * 0.1 then break end
    end
    assert.is_true(most - least <= most * 0.1, least .. " to " .. most)
  end)

  it("gives nothing to a worker that is blocked", function()
    local release = os.tmpname()                -- it is blocked as long as this file exists
    local blocked, port = cluster.start("hold", { SPEC_BLOCK = release })
    local done
    local first = clients.connect(port, function(text) done = text end)
    clients.untilTrue(function() return cluster.metrics()[blocked.id].accepted == 1 end, "the only worker to have it")
    cluster.start("id")
    cluster.start("id")
    first:write("block")
    clients.untilTrue(function() return cluster.metrics()[blocked.id].lag > 250 end, "it to be stuck, also where all are busy")
    local answers, problems = clients.run(port, 100, 12)
    os.remove(release)
    assert.is_nil(done, "it was not blocked")
    assert.same({}, problems)
    assert.is_nil(answers[blocked.id .. "\n"])
    clients.untilTrue(function() return done end, "the blocked one's answer")
    assert.equal(blocked.id .. "\nblocked\n", done)
  end)

  it("counts open connections, wherever they were closed", function()
    local first, port = cluster.start("hold")
    local held = {}
    for i = 1, 6 do held[i] = clients.connect(port) end
    clients.untilTrue(function() return cluster.metrics()[first.id].connections == 6 end, "the connections")
    cluster.start("hold")
    for i = 7, 12 do held[i] = clients.connect(port) end
    clients.untilTrue(function()
      local total = 0
      for _, known in pairs(cluster.metrics()) do total = total + known.connections end
      return total == 12
    end, "all connections")
    assert.equal(6, cluster.metrics()[first.id].connections)
    for _, handle in ipairs(held) do handle:close() end
    clients.untilTrue(function() return cluster.metrics()[first.id].connections == 0 end, "their end")
  end)
end)

describe("SCHED_STICKY", function()
  local cluster
  before_each(function() cluster = fresh.cluster(schedule.SCHED_STICKY) end)
  after_each(function() cluster.stopAll() end)

  local function whoServes(port)
    local byClient = {}
    for i = 1, 40 do
      local from = "127.0.1." .. i
      local answers = clients.run(port, 3, 1, from)
      local id, count = next(answers)
      assert.equal(3, count, from .. " did not stay with one worker")
      byClient[from] = id
    end
    return byClient
  end

  it("keeps each address with one worker, and moves only those of one that dies", function()
    local _, port = cluster.start("id")
    local second = cluster.start("id")
    cluster.start("id")
    local before = whoServes(port)
    second:kill("SIGKILL")
    clients.event(second, "exit")
    local after, moved = whoServes(port), 0
    for from, id in pairs(before) do
      if id == tostring(second.id) then moved = moved + 1 else assert.equal(id, after[from]) end
    end
    assert.is_true(moved > 0)
    local replacement = cluster.start("id")     -- takes the slot, and so the clients, of the one that died
    local again = whoServes(port)
    for from, id in pairs(before) do
      assert.equal(id == tostring(second.id) and tostring(replacement.id) or id, again[from])
    end
  end)
end)

describe("a policy of the program's", function()
  local cluster, warnings
  local function onWarning(warning) warnings[#warnings + 1] = tostring(warning) end
  before_each(function()
    warnings = {}
    process:on("warning", onWarning)
  end)
  after_each(function()
    process:off("warning", onWarning)
    cluster.stopAll()
  end)

  it("decides by what it is told", function()
    local told
    cluster = fresh.cluster(function(workers, info)
      told = info
      return workers[#workers]
    end)
    local first, port = cluster.start("id")
    local last = cluster.start("id")
    local answers = clients.run(port, 5, 1, "127.0.1.9")
    assert.same({ [tostring(last.id)] = 5 }, answers)
    assert.equal("127.0.1.9", told.remoteAddress)
    assert.equal(port, told.localPort)
    assert.is_true(told.remotePort > 0)
    assert.equal("number", type(told.connections[first.id]))
    assert.same({}, warnings)
  end)

  for what, policy in pairs{
    throws = function() error("no idea") end,
    ["returns nothing"] = function() end,
    ["returns a stranger"] = function() return { id = 1 } end,
    waits = function() await.sleep(1000) end,
  } do
    it("that " .. what .. " is told of by a warning, and the next in turn takes the connection", function()
      cluster = fresh.cluster(policy)
      local _, port = cluster.start("id")
      cluster.start("id")
      local began = process.hrtime()
      local answers, problems = clients.run(port, 20, 1)
      assert.same({}, problems)
      local least, most = spread(answers)
      assert.equal(least, most)
      local seconds = (process.hrtime() - began) / 1e9
      assert.is_true(#warnings >= 1 and #warnings <= 1 + seconds, #warnings .. " warnings")   -- not one a connection
    end)
  end

  it("that returns a dead worker loses nothing", function()
    local first
    cluster = fresh.cluster(function() return first end)
    local port
    first, port = cluster.start("id")
    local second = cluster.start("id")
    first:kill("SIGKILL")
    local answers, problems = clients.run(port, 20, 2)
    assert.same({}, problems)
    assert.is_true((answers[tostring(second.id)] or 0) > 0)
  end)
end)

describe("cluster.schedulingPolicy", function()
  it("is refused when there is no such policy", function()
    assert.has_error(function() fresh.cluster(17) end)
    assert.has_error(function() fresh.cluster("rr") end)
  end)

  it("is read from the environment, with a warning for a name that is none", function()
    local warnings = {}
    local function onWarning(warning) warnings[#warnings + 1] = tostring(warning) end
    local function policyFor(ours, nodes)
      process.env.LRUN_CLUSTER_SCHED_POLICY, process.env.NODE_CLUSTER_SCHED_POLICY = ours, nodes
      require("lrun.core.loaded")["lrun.cluster.primary"] = nil
      local policy = require("lrun.cluster.primary").schedulingPolicy
      process.env.LRUN_CLUSTER_SCHED_POLICY, process.env.NODE_CLUSTER_SCHED_POLICY = nil, nil
      return policy
    end
    assert.equal(schedule.SCHED_RR, policyFor())
    assert.equal(schedule.SCHED_NONE, policyFor(nil, "none"))
    assert.equal(schedule.SCHED_LEAST, policyFor("least", "none"))
    process:on("warning", onWarning)
    assert.equal(schedule.SCHED_RR, policyFor("fastest"))
    await.sleep(1)
    process:off("warning", onWarning)
    assert.equal(1, #warnings)
    assert.matches("fastest", warnings[1])
  end)
end)

for _, name in ipairs{ "rr", "least", "sticky" } do
  describe("a stopped worker under the policy " .. name, function()
    local cluster
    before_each(function() cluster = fresh.cluster(POLICIES[name]) end)
    after_each(function() cluster.stopAll() end)

    it("keeps what it was given before it was noticed, and no more; that is not lost with it", function()
      local first, port = cluster.start("id")
      local second = cluster.start("id")
      process.kill(first.process.pid, "SIGSTOP")
      local answers, waiting = {}, 0
      local function connect()
        waiting = waiting + 1
        clients.connect(port, function(text)
          waiting = waiting - 1
          answers[text] = (answers[text] or 0) + 1
        end)
      end
      local other = tostring(second.id)
      -- Until somebody waits for the stopped one; a client that sticks to the other one gives it nothing to do.
      for i = 1, 40 do
        connect()
        clients.untilTrue(function() return (answers[other] or 0) + waiting >= i end, "an end")
      end
      clients.untilTrue(function()
        return waiting == 0 or cluster.metrics()[first.id].connections >= waiting
      end, "those that wait to be with the stopped one")
      local stuck = waiting
      if stuck == 0 then return assert.equal("sticky", name) end
      clients.untilTrue(function() return cluster.metrics()[first.id].lag >= 1000 end, "its lag to show")
      for _ = 1, 10 do connect() end
      clients.untilTrue(function() return waiting == stuck end, "the others' answers")
      assert.equal(50 - stuck, answers[other])
      first:kill("SIGKILL")
      clients.untilTrue(function() return waiting == 0 end, "the answers of those that waited")
      assert.same({ [other] = 50 }, answers)
    end)
  end)
end
