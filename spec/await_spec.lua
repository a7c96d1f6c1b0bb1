local await = require("await")
local timers = require("timers")
local lrun = require("spec.support.lrun")

describe("await", function()
  it("returns what the callback gets, at once or later", function()
    local a, b, c = await(function(x, done) done(x, nil, 3) end, 1)
    assert.same({ 1, nil, 3 }, { a, b, c })
    assert.equal("later", await(function(done) timers.setTimeout(done, 1, "later") end))
  end)

  it("ignores a callback that is called twice", function()
    local again
    assert.equal(1, await(function(done)
      again = done
      done(1)
    end))
    again(2)
  end)

  it("tells the caller of more values than a coroutine can hold, and goes on waiting", function()
    local many = {}
    for i = 1, 7990 do many[i] = i end
    local ok, err
    assert.equal("enough", await(function(done)
      timers.setImmediate(function()
        ok, err = pcall(done, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, unpack(many))
        done("enough")
      end)
    end))
    assert.is_false(ok)
    assert.matches("too many results", err)
    ok, err = pcall(await.spawn, function() end, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, unpack(many))
    assert.is_false(ok)
    assert.matches("too many arguments", err)
  end)

  it("lets others run meanwhile", function()
    local order = {}
    await.spawn(function()
      await.sleep(1)
      order[#order + 1] = "spawned"
    end)
    order[#order + 1] = "first"
    await.sleep(20)
    assert.same({ "first", "spawned" }, order)
  end)

  it("waits for all and keeps their order", function()
    assert.same({ "slow", "fast" }, await.all{
      function() await.sleep(5) return "slow" end,
      function() return "fast" end,
    })
    assert.same({}, await.all{})
  end)

  it("throws the first error of all", function()
    local ended
    local ok, err = pcall(await.all, {
      function() await.sleep(1) error("bad", 0) end,
      function()
        await.sleep(5)
        timers.setImmediate(function() ended() end)
      end,
    })
    assert.is_false(ok)
    assert.equal("bad", err)
    await(function(done) ended = done end)      -- the other's end harms nobody
  end)

  it("lets an error in a spawned coroutine end where a callback's would", function()
    local _, err, code = lrun.run({ "-" }, [[
local await = require("await")
await.spawn(function()
  await.sleep(1)
  error("late")
end)
await.sleep(1000)]])
    assert.equal(1, code)
    assert.truthy(err:find("^stdin:4: late"), err)
  end)

  it("tells where each task was started, also of tasks that start or end while another one starts", function()
    local function startOf(failing)
      local _, err = lrun.run({ "-" }, ([[
local await = require("await")
local resume
await.spawn(function() await(function(callback) resume = callback end) end)
await.spawn(function()
  resume()
  await.spawn(function() end)
  await.spawn(function()
    await.sleep(1)
    if %q == "inner" then error("inner") end
  end)
  await.sleep(5)
  error("outer")
end)]]):format(failing))
      return err:match(failing .. ".-%(awaited from%)\n%s*(stdin:%d+)"), err
    end
    assert.equal("stdin:7", startOf("inner"))
    assert.equal("stdin:4", startOf("outer"))
  end)

  it("leaves a coroutine of the program's dead when it has ended", function()
    local ended, seen = {}, {}
    local function all(count, start)       -- until each has called back, and its coroutine has ended
      await(function(done)
        local left = count
        local function over()
          left = left - 1
          if left == 0 then timers.setImmediate(done) end
        end
        for i = 1, count do start(i, over) end
      end)
    end
    all(20, function(i, over)
      ended[i] = coroutine.create(function()
        await.sleep(1)
        over()
      end)
      assert(coroutine.resume(ended[i]))
    end)
    all(40, function(i, over)
      timers.setTimeout(function()
        for _, co in ipairs(ended) do seen[coroutine.status(co)] = true end
        await.sleep(1)
        over()
      end, i % 3)
    end)
    for _, co in ipairs(ended) do seen[coroutine.status(co)] = true end
    assert.same({ dead = true }, seen)
  end)

  it("takes functions only, and needs a coroutine", function()
    local ok, err = pcall(await, 5)
    assert.is_false(ok)
    assert.equal("ERR_INVALID_ARG_TYPE", err.code)
    ok, err = pcall(await.sleep, "x")
    assert.is_false(ok)
    assert.equal('The "ms" argument must be of type number. Received type string (\'x\')', err.message)
  end)

  it("says so, before anything happens, where it cannot wait", function()
    local called = false
    local ok, err = pcall(table.sort, { 2, 1 }, function() await(function() called = true end) end)
    assert.same({ false, "ERR_INVALID_STATE", false }, { ok, err.code, called })
    assert.truthy(err.message:find("table.sort", 1, true))
  end)

  it("says so also in code that is compiled, and nowhere else", function()
    local calls = 0
    local function f(done)
      calls = calls + 1
      done(nil, calls)
    end
    local function many()
      local sum = 0
      for _ = 1, 500 do sum = sum + select(2, await(f)) end
      return sum
    end
    many()
    local function refused()
      local before = calls
      local ok, err = pcall(many)
      assert.same({ false, "ERR_INVALID_STATE", before }, { ok, err.code, calls })
    end
    for _ = 1, 10 do
      many()
      local compared = 0
      table.sort({ 3, 2, 1 }, function(a, b)
        refused()
        compared = compared + 1
        return a < b
      end)
      assert.is_true(compared > 0)
      assert.equal("b", (("a"):gsub("a", function()
        refused()
        return "b"
      end)))
      local before = calls
      assert.is_true(coroutine.wrap(function()          -- a coroutine can wait, and what C calls inside it cannot
        many()
        table.sort({ 2, 1 }, function(a, b)
          refused()
          return a < b
        end)
        many()
        return true
      end)())
      await.spawn(many)
      await(function(done) process.nextTick(function() done(many()) end) end)
      assert.equal(before + 2000, calls)
    end
  end)

  it("knows a callback that is called again from the one of the next await, however late", function()
    local old = {}
    local function atOnce(done)
      old[#old + 1] = done
      done("first")
    end
    for round = 1, 300 do
      assert.equal("first", await(atOnce))
      local first = old[#old]
      assert.equal("mine", await(function(done)         -- while the function of another await runs
        first("stale")
        done("mine")
        first("stale")
        done("again")
      end))
      if round % 50 == 0 then
        assert.equal("mine", await(function(done)       -- while another await waits
          timers.setImmediate(function()
            for _, callback in ipairs(old) do callback("stale") end
            done("mine")
          end)
        end))
      end
    end
    local seen = {}
    for _, callback in ipairs(old) do
      assert.is_nil(seen[callback])
      seen[callback] = true
    end
  end)

  it("takes no results of a function that threw", function()
    local late
    for _ = 1, 100 do
      local ok, err = pcall(await, function(done)
        done("called")
        error("thrown", 0)
      end)
      assert.same({ false, "thrown" }, { ok, err })
      assert.is_false((pcall(await, function(done)
        late = done
        error("thrown", 0)
      end)))
      late("late")
      assert.equal("later", await(function(done)
        late("too late")
        timers.setImmediate(done, "later")
      end))
      late("late")
      assert.equal(1, await(function(done) done(1) end))
    end
  end)

  it("holds neither a callback that has served nor its results", function()
    local held = setmetatable({}, { __mode = "v" })
    local function round(waits)
      for i = 1, 200 do
        local value = { i }
        held[#held + 1] = value
        local got = await(function(done)
          held[#held + 1] = done
          if waits then timers.setImmediate(done, value) else done(value) end
        end)
        if got ~= value then error("another's value") end     -- luassert would hold it
        pcall(await, function(done)
          held[#held + 1] = value
          done(value)
          error("thrown")
        end)
      end
    end
    await.all{ function() round(false) end, function() round(true) end }       -- on stacks of their own
    await(timers.setImmediate)
    await(function(done) done() end)
    for _ = 1, 2 do collectgarbage() end
    assert.is_nil(next(held))
  end)

  it("ends endless recursion with an error", function()
    local out, err, code = lrun.run({ "-" },
      "local function f()\n  require('await').spawn(f)\nend\nprocess:on('exit', print)\nf()")
    assert.same({ "1\n", 1 }, { out, code })
    assert.truthy(err:find("^stdin:2: stack overflow"), err)
  end)

  it("returns any number of results that come at once, also when another await comes in between", function()
    local function gives(...)
      local values, count = { ... }, select("#", ...)
      local got, n = {}, nil
      local function take(...) got, n = { ... }, select("#", ...) end
      take(await(function(done)
        done(unpack(values, 1, count))
        done("again")
        assert.equal("inner", await(function(inner) inner("inner") end))
        await.sleep(1)
        done("late")
      end))
      assert.same({ count, values }, { n, got })
    end
    gives()
    gives(nil)
    gives(1)
    gives(nil, nil)
    gives(1, 2, 3)
    gives(1, nil, 3, nil, 5)
  end)

  it("returns a value that compares itself without asking it", function()
    local ffi = require("ffi")
    local point = ffi.metatype("struct { int x; }", { __eq = function() error("asked") end })
    local function give(value, callback) callback(value) end
    for i = 1, 200 do assert.equal(i, await(give, point(i)).x) end
    assert.equal(1, await(function(callback) timers.setImmediate(callback, point(1)) end).x)
  end)

  it("waits inside an iterator: its loop gets every value", function()
    local function values(count)
      return coroutine.wrap(function()
        for i = 1, count do
          await.sleep(1)
          coroutine.yield(i)
        end
      end)
    end
    local function doubled(count)
      return coroutine.wrap(function()
        for value in values(count) do
          coroutine.yield(2 * value, await(function(done) timers.setImmediate(done, "later") end))
        end
      end)
    end
    local got = {}
    for value in values(3) do got[#got + 1] = value end
    for value, when in doubled(2) do got[#got + 1] = value .. when end
    assert.same({ 1, 2, 3, "2later", "4later" }, got)
  end)

  it("lets the error of an iterator that waited end its loop", function()
    local ok, err = pcall(function()
      for _ in coroutine.wrap(function()
        await.sleep(1)
        error({ "thrown" })
      end) do end -- luacheck: ignore 542
    end)
    assert.same({ false, { "thrown" } }, { ok, err })
  end)

  it("starts a task where a coroutine is called and not iterated over, and warns of what it yields", function()
    local out, err, code = lrun.run({ "-" }, [[
local await = require("await")
for i = 1, 2 do
  coroutine.wrap(function()
    await.sleep(1)
    await.sleep(1)
    print("task", i)
  end)()
end
local step = coroutine.wrap(function()
  await.sleep(1)
  coroutine.yield(1)
end)
print("started", step())
await.sleep(20)]])
    assert.same({ "started\ntask\t1\ntask\t2\n", 0 }, { out, code })
    assert.matches("Warning: stdin:11: a coroutine that waited in await yields to nobody", err)
    assert.equal(1, select(2, err:gsub("\n", "")))
  end)

  it("ends the program with 13 and the place, where the main script waits for what nobody will do", function()
    local function ends(script, ...)
      local _, err, code = lrun.run({ "-" }, script)
      assert.equal(..., code, err)
      return err
    end
    assert.matches("^stdin:2: the script waits here", ends("process:on('exit', print)\nrequire('await')(function() end)", 13))
    assert.matches("^stdin:2: the script waits here", ends([[
local await = require("await")
for _ in coroutine.wrap(function() await(function() end) end) do end]], 13))
    assert.equal("", ends("process.exitCode = 5\nrequire('await')(function() end)", 5))
    assert.equal("", ends("require('await').spawn(function() require('await')(function() end) end)", 0))
    assert.equal("", ends("process:on('exit', function() process.exit(0) end) process.exitCode = 0 coroutine.yield()", 0))
  end)

  it("wants a dot", function()
    local ok, err = pcall(function() await:sleep(1) end)
    assert.is_false(ok)
    assert.equal("call await.sleep(...) with a dot", err.message)
  end)
end)
