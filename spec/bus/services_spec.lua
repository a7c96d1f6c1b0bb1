--- The hub's queues and locks over drivers that are made here: what they ask of one, and how often.
local await = require("await")
local bus = require("bus")
local fake = require("spec.support.fakeredis")
local locks = require("lrun.bus.locks")
local queues = require("lrun.bus.queues")
local timers = require("timers")

local MONTHS = 90 * 24 * 3600 * 1000  -- ms: more than a timer can wait

local function ignore() end

local function session() return { emit = ignore, closed = false } end

-- Whether a timer was asked to wait longer than it can.
local function overflows(f)
  local warned = false
  local function listener() warned = true end
  process:on("warning", listener)
  f()
  await(function(callback) timers.setImmediate(callback) end)
  process:off("warning", listener)
  return warned
end

describe("the hub's locks", function()
  local asked
  local driver = {
    lock = function(_, _, _, answer) asked[#asked + 1] = answer end,
    unlock = ignore, renewLock = ignore,
  }

  before_each(function()
    asked = {}
    locks.start(driver)
  end)

  it("try for an office once at a time, however many processes go meanwhile", function()
    local candidate = session()
    locks.methods.stand(candidate, ignore, "office")
    for _ = 1, 5 do locks.leave(session()) end
    assert.equal(1, #asked)
    asked[1](nil, nil)
    assert.equal(2, #asked)
    locks.leave(candidate)
    asked[2](nil, nil)
    assert.equal(2, #asked)
  end)

  it("may live longer than a timer can wait", function()
    local holder = session()
    local token
    assert.is_false(overflows(function()
      locks.methods.lock(holder, function(_, given) token = given end, "l", MONTHS)
      asked[1](nil, 1)
    end))
    assert.is_string(token)
    locks.leave(holder)
  end)
end)

describe("the hub's queues", function()
  local taken
  local api = {
    onAdded = ignore, watch = ignore, renew = ignore, release = ignore,
    take = function(_, n, _, answer) taken[#taken + 1] = { n = n, answer = answer } end,
  }

  before_each(function()
    taken = {}
    queues.start{ queue = api }
  end)

  it("remember what a process does when it says anew how much it takes", function()
    local worker = session()
    queues.methods.process(worker, ignore, "q", 1)
    taken[1].answer(nil, { { id = "1", token = "t", bytes = "", attempt = 1 } })
    queues.methods.process(worker, ignore, "q", 3)
    assert.equal(2, #taken)
    assert.equal(2, taken[2].n)
    queues.leave(worker)
  end)

  it("wait for a job that is months away", function()
    local worker = session()
    assert.is_false(overflows(function()
      queues.methods.process(worker, ignore, "later", 1)
      taken[1].answer(nil, {}, MONTHS)
    end))
    queues.leave(worker)
  end)
end)

describe("the driver of Redis", function()
  it("renews any number of leases, some hundreds a command", function()
    local server = fake.start(function(words) return words[1] == "SCRIPT" and fake.bulk("digest") or nil end)
    local driver = require("lrun.bus.redis").new{ host = "127.0.0.1", port = server.port, retry = false }
    local jobs = {}
    for i = 1, 5000 do jobs[i] = { id = tostring(i), token = "t" } end
    driver.queue.renew("q", jobs, 4000)
    await(function(callback) driver.queue.retry("q", "1", callback) end)
    assert.equal(10 + 1, server:count("EVALSHA"))
    server:close()
  end)
end)

describe("bus:presence", function()
  it("keeps nothing of one that nobody listens to", function()
    bus.connect()
    local kept = setmetatable({ bus:presence("t") }, { __mode = "v" })
    kept[1]:list()
    collectgarbage()
    collectgarbage()
    assert.is_nil(kept[1])
  end)
end)

describe("bus:request", function()
  it("refuses a time that no timer can wait", function()
    bus.connect()
    local ok, err = pcall(bus.request, bus, "topic", 1, math.huge)
    assert.is_false(ok)
    assert.equal("ERR_OUT_OF_RANGE", err.code)
  end)
end)
