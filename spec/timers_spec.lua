local timers = require("timers")
local await = require("await")
local lrun = require("spec.support.lrun")

describe("timers", function()
  it("keeps Node's order: ticks, then timers, then immediates after I/O", function()
    local seen = {}
    await(require("fs").stat, ".")    -- now the loop is at its I/O events: immediates come next, however late it is
    await(function(done)
      timers.setTimeout(function()
        seen[#seen + 1] = "timeout"
        process.nextTick(function()
          seen[#seen + 1] = "tick in timeout"
          done()
        end)
      end, 1)
      timers.setImmediate(function() seen[#seen + 1] = "immediate" end)
      process.nextTick(function() seen[#seen + 1] = "tick" end)
    end)
    assert.same({ "tick", "immediate", "timeout", "tick in timeout" }, seen)
  end)

  it("runs ticks between two immediates of one turn", function()
    local seen = {}
    await(function(done)
      timers.setImmediate(function()
        process.nextTick(function() seen[#seen + 1] = "tick" end)
        seen[#seen + 1] = "first"
      end)
      timers.setImmediate(function()
        seen[#seen + 1] = "second"
        done()
      end)
    end)
    assert.same({ "first", "tick", "second" }, seen)
  end)

  it("passes the arguments, nils included", function()
    local count, a, b, c = await(function(done)
      timers.setTimeout(function(...) done(select("#", ...), ...) end, 1, 1, nil, 3)
    end)
    assert.same({ 3, 1, nil, 3 }, { count, a, b, c })
  end)

  it("repeats an interval until it is cleared", function()
    local count = await(function(done)
      local n, interval = 0, nil
      interval = timers.setInterval(function()
        n = n + 1
        if n == 3 then
          timers.clearInterval(interval)
          done(n)
        end
      end, 1)
    end)
    assert.equal(3, count)
  end)

  it("takes a delay that is too long for 1 ms, and warns", function()
    local out, err = lrun.eval([[
      process:on("warning", function(w) print(w.name) end)
      require("timers").setTimeout(function() print("fired") end, 2 ^ 31)]])
    assert.equal("TimeoutOverflowWarning\nfired\n", out)
    assert.truthy(err:find("TimeoutOverflowWarning: 2147483648 does not fit into a 32-bit signed integer", 1, true), err)
  end)

  it("forgets what was cleared", function()
    timers.clearTimeout(timers.setTimeout(function() error("cleared") end, 1))
    timers.clearImmediate(timers.setImmediate(function() error("cleared") end))
    timers.clearTimeout(nil)
    await.sleep(5)
  end)

  it("starts anew by refresh, also after it fired", function()
    local fired = 0
    local timer
    await(function(done)
      timer = timers.setTimeout(function()
        fired = fired + 1
        done()
      end, 1)
    end)
    timer:refresh()
    await.sleep(10)
    assert.equal(2, fired)
  end)

  it("tells and changes whether it keeps the loop alive", function()
    local timer = timers.setTimeout(function() end, 1000)
    assert.is_true(timer:hasRef())
    assert.is_false(timer:unref():hasRef())
    assert.is_true(timer:ref():hasRef())
    timers.clearTimeout(timer)
    assert.is_false(timer:hasRef())
  end)

  it("refuses a callback that is no function", function()
    local ok, err = pcall(timers.setTimeout, "x", 1)
    assert.is_false(ok)
    assert.equal("ERR_INVALID_ARG_TYPE", err.code)
    ok, err = pcall(function() timers:setTimeout(print, 1) end)
    assert.is_false(ok)
    assert.equal("call timers.setTimeout(...) with a dot", err.message)
  end)
end)
