--- bus, by both drivers: the primary's memory, and a real redis-server where there is one. The promises are the same.
local await = require("await")
local child_process = require("child_process")
local fs = require("fs")
local programs = require("spec.support.busprogram")
local redis = require("redis")

local hasRedis = child_process.spawnSync("redis-server", { "--version" }).status == 0

local SOURCE = [[
  local queue, lock = nil, nil
  return {
    subscribe = function(pattern, options)
      bus:subscribe(pattern, function(message, topic) report(pattern, topic, message) end, options)
    end,
    publish = function(...) return bus:publish(...) end,
    respond = function(topic) bus:respond(topic, function(message)
      if message == "throw" then error("no answer") end
      if message == "die" then process.kill(process.pid, "SIGKILL") end
      return { message, cluster.worker.id }
    end) end,
    request = function(...) return bus:request(...) end,
    add = function(job, options) return bus:queue("q"):add(job, options) end,
    process = function(n)
      return bus:queue("q"):process(n, function(job, id, attempt)
        report("begin", job, attempt)
        if job == "hang" and attempt == 1 and cluster.worker.id == 1 then await.sleep(1e6) end
        if job == "fail" then error("went wrong") end
        report("end", job)
      end)
    end,
    stats = function() return bus:queue("q"):stats() end,
    failed = function() return bus:queue("q"):failed() end,
    retry = function(id) return bus:queue("q"):retry(id) end,
    lock = function(name, ttl)
      local got, err = bus:lock(name, ttl)
      lock = got or lock
      return got and got.fence, err
    end,
    release = function() lock:release() end,
    join = function(data) presence = bus:presence("room") return presence:join(data) end,
    list = function() return bus:presence("room"):list() end,
    watch = function()
      local watched = bus:presence("room")
      watched:on("join", function(data) report("join", data) end)
      watched:on("leave", function(data) report("leave", data) end)
    end,
    limit = function(...) return bus:limit(...) end,
  }
]]

local function has(reports, ...)
  local wanted = { ... }
  for _, each in ipairs(reports) do
    local same = true
    for i, value in ipairs(wanted) do same = same and each[i] == value end
    if same then return true end
  end
  return false
end

local function promises(start)
  local machine
  before_each(function() machine = start(2) end)
  after_each(function() machine:stop() end)

  it("tells each subscriber once, and the publisher too unless it is told not to", function()
    machine:run(1, "subscribe", "a.*")
    machine:run(1, "subscribe", "a.**")
    machine:run(2, "subscribe", "a.b")
    machine:run(0, "subscribe", "**", { self = false })
    machine:run(1, "publish", "a.b", { text = "\0\255" })
    machine:run(0, "publish", "a.b", "from the primary")
    machine:run(2, "publish", "a.b", "not to oneself", { self = false })
    machine:run(1, "publish", "end", "end")
    machine:wait(function(reports) return has(reports, 0, "**", "end") end)
    local count = {}
    for _, each in ipairs(machine.reports) do
      local key = ("%d %s %s"):format(each[1], each[2], type(each[4]) == "table" and "table" or each[4])
      count[key] = (count[key] or 0) + 1
    end
    assert.same({
      ["1 a.* table"] = 1, ["1 a.** table"] = 1, ["2 a.b table"] = 1, ["0 ** table"] = 1,
      ["1 a.* from the primary"] = 1, ["1 a.** from the primary"] = 1, ["2 a.b from the primary"] = 1,
      ["1 a.* not to oneself"] = 1, ["1 a.** not to oneself"] = 1, ["0 ** not to oneself"] = 1, ["0 ** end"] = 1,
    }, count)
  end)

  it("answers requests in turn, and says what went wrong at the other side", function()
    machine:run(1, "respond", "topic")
    machine:run(2, "respond", "topic")
    local by = {}
    for i = 1, 10 do
      local answer = machine:run(0, "request", "topic", i)
      assert.equal(i, answer[1])
      by[answer[2]] = (by[answer[2]] or 0) + 1
    end
    assert(by[1] and by[2])
    local answer, err = machine:run(0, "request", "topic", "throw")
    assert.is_nil(answer)
    assert.equal("ERR_BUS_RESPONDER", err.code)
    assert(err.message:find("no answer", 1, true))
    answer, err = machine:run(0, "request", "topic", "die", 5000)
    assert.is_nil(answer)
    assert.equal("ERR_BUS_RESPONDER", err.code)
    assert.equal(5, machine:run(0, "request", "topic", 5)[1])   -- the other one
    answer, err = machine:run(0, "request", "none", 1, 50)
    assert.is_nil(answer)
    assert.equal("ETIMEDOUT", err.code)
    assert(err.message:find("nobody responds", 1, true))
  end)

  it("gives a job whose worker died to another, and fails one that throws", function()
    machine:run(1, "process", 1)
    local id = machine:run(0, "add", "hang", { id = "mine" })
    assert.equal("mine", id)
    assert.equal("mine", machine:run(0, "add", "other", { id = "mine" }))
    machine:wait(function(reports) return has(reports, 1, "begin", "hang") end)
    machine:run(2, "process", 2)
    machine:kill(1)
    machine:wait(function(reports) return has(reports, 2, "end", "hang") end)
    machine:run(0, "add", "fail", { attempts = 3, backoff = 1 })
    machine:wait(function(reports) return has(reports, 2, "begin", "fail", 3) end)
    local failed
    repeat failed = machine:run(0, "failed") until #failed == 1
    assert.equal("fail", failed[1].job)
    assert(failed[1].error:find("went wrong", 1, true))
    assert.is_true(machine:run(0, "retry", failed[1].id))
    assert.is_false(machine:run(0, "retry", "nobody"))
    repeat failed = machine:run(0, "failed") until #failed == 1
    assert.same({ waiting = 0, active = 0, delayed = 0, failed = 1 }, machine:run(0, "stats"))
  end)

  it("does jobs by priority, in their order", function()
    for i, priority in ipairs{ 0, 5, -1, 5, 0 } do machine:run(0, "add", i, { priority = priority }) end
    machine:run(1, "process", 1)
    machine:wait(function(reports) return has(reports, 1, "end", 3) end)
    local order = {}
    for _, each in ipairs(machine.reports) do if each[2] == "begin" then order[#order + 1] = each[3] end end
    assert.same({ 2, 4, 1, 5, 3 }, order)
  end)

  it("has one holder of a lock, with a growing fence, and frees a dead one's", function()
    local first = machine:run(1, "lock", "l", 60000)
    assert.is_nil((machine:run(2, "lock", "l", 60000)))
    assert.is_nil((machine:run(1, "lock", "l", 60000)))
    machine:run(1, "release")
    local second                           -- what one has given back reaches the other when Redis has it
    repeat second = machine:run(2, "lock", "l", 60000) until second
    assert(second > first)
    machine:kill(2)
    local third
    repeat third = machine:run(1, "lock", "l", 60000) until third
    assert(third > second)
  end)

  it("knows who is there, and who has gone", function()
    machine:run(0, "watch")
    machine:run(1, "join", "one")
    machine:run(2, "join", "two")
    machine:wait(function(reports) return has(reports, 0, "join", "one") and has(reports, 0, "join", "two") end)
    assert.equal(2, #machine:run(0, "list"))
    machine:kill(2)
    machine:wait(function(reports) return has(reports, 0, "leave", "two") end)
    assert.same({ "one" }, machine:run(1, "list"))
  end)

  it("limits all processes together", function()
    local allowed = 0
    for i = 1, 12 do if machine:run(i % 3, "limit", "k", 7, 60000) then allowed = allowed + 1 end end
    assert.equal(7, allowed)
    local ok, left, wait = machine:run(0, "limit", "k", 7, 60000)
    assert.same({ false, 0 }, { ok, left })
    assert(wait > 0 and wait <= 60000)
  end)
end

describe("bus of one machine", function()
  promises(function(workers) return programs.start(SOURCE, { workers = workers }) end)

  it("says what is missing", function()
    local path = fs.mkdtempSync("/tmp/lrun-bus-") .. "/program.lua"
    local function fails(code, text)
      fs.writeFileSync(path, code)
      local err = await(child_process.execFile, process.execPath, { path })
      assert(err and tostring(err):find(text, 1, true), tostring(err))
    end
    fails("require('bus'):publish('a', 1)", "Call bus.connect() first")
    fails("require('bus').connect('http://nowhere')", "it must be redis://")
    fails("local b = require('bus') b.connect() b.connect('redis://h')", "one a process")
    fails("local b = require('bus') b.connect() b.publish('a', 1)", "call bus:publish(...) with a colon")
    fails([[
      local cluster = require("cluster")
      if cluster.isPrimary then return cluster.fork():on("exit", function(code) process.exit(code) end) end
      local bus = require("bus")
      bus.connect()
      local done, err = bus:publish("a", 1)
      error(err)]], "The primary has no bus: call bus.connect() in it, too")
    fs.rmSync(path:match("^(.*)/"), { recursive = true })
  end)
end)

if hasRedis then
  describe("bus over redis", function()
    local folder, path, server, client

    setup(function()
      folder = fs.mkdtempSync("/tmp/lrun-bus-redis-")
      path = folder .. "/socket"
      server = child_process.spawn("redis-server", { "--port", "0", "--unixsocket", path, "--save", "", "--dir", folder }, { stdio = "ignore" })
      client = redis.connect{ path = path, retry = { min = 5, max = 20 } }
      client:on("error", function() end)
      client:ping()
    end)
    teardown(function()
      client:disconnect()
      server:kill("SIGKILL")
      await(function(callback) server:once("exit", callback) end)
      fs.rmSync(folder, { recursive = true })
    end)

    local function start(workers)
      client:flushall()
      return programs.start(SOURCE, { workers = workers, url = "redis+unix://" .. path })
    end
    promises(start)

    it("joins two machines: messages, jobs, locks; a machine that dies holds nothing for ever", function()
      local a = start(1)
      local b = programs.start(SOURCE, { workers = 1, url = "redis+unix://" .. path })
      b:run(1, "subscribe", "news")
      a:run(1, "publish", "news", "hello")
      b:wait(function(reports) return has(reports, 1, "news", "news", "hello") end)
      a:run(1, "process", 1)
      b:run(0, "add", "hang")
      a:wait(function(reports) return has(reports, 1, "begin", "hang") end)
      local fence = a:run(1, "lock", "l", 500)
      assert.is_nil((b:run(1, "lock", "l", 500)))
      a.child:kill("SIGKILL")           -- the whole machine
      b:run(1, "process", 1)
      b:wait(function(reports) return has(reports, 1, "begin", "hang") end)
      local second
      repeat second = b:run(0, "lock", "l", 500) until second
      assert(second > fence)
      a:stop()
      b:stop()
    end)

    it("does every job at least once while workers are killed at random", function()
      local a = start(3)
      for worker = 1, 3 do a:run(worker, "process", 2) end
      for i = 1, 60 do
        a:run(0, "add", i)
        if i == 20 or i == 40 then a:kill(i / 20) end
      end
      a:wait(function(reports)
        local ended = {}
        for _, each in ipairs(reports) do if each[2] == "end" then ended[each[3]] = true end end
        for i = 1, 60 do if not ended[i] then return false end end
        return true
      end)
      a:stop()
    end)
  end)
end
