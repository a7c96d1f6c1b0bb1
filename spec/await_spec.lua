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
    local ok, err = pcall(await.all, { function() await.sleep(1) error("bad", 0) end, function() await.sleep(5) end })
    assert.is_false(ok)
    assert.equal("bad", err)
    await.sleep(10)
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

  it("ends endless recursion with an error", function()
    local out, err, code = lrun.run({ "-" },
      "local function f()\n  require('await').spawn(f)\nend\nprocess:on('exit', print)\nf()")
    assert.same({ "1\n", 1 }, { out, code })
    assert.truthy(err:find("^stdin:2: stack overflow"), err)
  end)

  it("wants a dot", function()
    local ok, err = pcall(function() await:sleep(1) end)
    assert.is_false(ok)
    assert.equal("call await.sleep(...) with a dot", err.message)
  end)
end)
