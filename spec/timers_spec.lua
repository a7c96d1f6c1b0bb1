local timers = require("timers")
local await = require("await")
local uv = require("luv")
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

  it("calls every immediate of a turn, also behind one that waits, yields or throws, and none of the next", function()
    local out, err, code = lrun.eval([[
      local timers, await, uv = require("timers"), require("await"), require("luv")
      local seen = {}
      local function see(what) seen[#seen + 1] = what end
      process:on("uncaughtException", function(err) see(tostring(err):match("%a+$")) end)
      timers.setImmediate(function()
        timers.setImmediate(see, "next turn")
        see("waits")
        await(timers.setImmediate)
        see("has waited")
      end)
      timers.setImmediate(function() coroutine.yield("lost") end)
      timers.setImmediate(see, "first")
      timers.setImmediate(function() process.nextTick(see, "tick") error("thrown") end)
      timers.setImmediate(see, "second")
      local cleared
      timers.setImmediate(function() timers.clearImmediate(cleared) end)
      cleared = timers.setImmediate(see, "cleared")
      timers.setImmediate(function()
        timers.setImmediate(see, "also next")
        error("last")
      end)
      local check = uv.new_check()
      check:start(function() see("-") end)
      check:unref()
      process:on("exit", function() print(table.concat(seen, " ")) end)]])
    assert.same({ "- waits first thrown tick second last - next turn has waited also next\n", "", 0 }, { out, err, code })
  end)

  it("calls every timer that is due, also behind one that waits, yields or throws", function()
    local out, err, code = lrun.eval([[
      local timers, await = require("timers"), require("await")
      local seen = {}
      local function see(what) seen[#seen + 1] = what end
      process:on("uncaughtException", function(err) see(tostring(err):match("%a+$")) end)
      timers.setTimeout(function()
        process.nextTick(see, "tick")
        see("waits")
        await.sleep(30)
        see("has waited")
      end, 1)
      timers.setTimeout(function() coroutine.yield("lost") end, 1)
      timers.setTimeout(see, 1, "first")
      timers.setTimeout(function() process.nextTick(see, "another tick") error("thrown") end, 1)
      timers.setTimeout(see, 2, "second")
      local cleared
      timers.setTimeout(function() timers.clearTimeout(cleared) error("last") end, 2)
      cleared = timers.setTimeout(see, 2, "cleared")
      local stop = require("luv").hrtime() + 5e6
      while require("luv").hrtime() < stop do end         -- all are due now
      process:on("exit", function() print(table.concat(seen, " ")) end)]])
    assert.same({ "waits tick first thrown another tick second last has waited\n", "", 0 }, { out, err, code })
  end)

  it("repeats an interval whose function waits, yields or throws", function()
    local out, err, code = lrun.eval([[
      local timers, await = require("timers"), require("await")
      local thrown, counts = 0, { 0, 0, 0 }
      process:on("uncaughtException", function() thrown = thrown + 1 end)
      local function each(index, after)
        local interval
        interval = timers.setInterval(function()
          counts[index] = counts[index] + 1
          if counts[index] == 3 then timers.clearInterval(interval) end
          after()
        end, 1)
      end
      each(1, function() await.sleep(3) end)
      each(2, function() coroutine.yield("lost") end)
      each(3, function() error("thrown") end)
      process:on("exit", function() print(counts[1], counts[2], counts[3], thrown) end)]])
    assert.same({ "3\t3\t3\t3\n", "", 0 }, { out, err, code })
  end)

  it("lets I/O have its turn between an immediate and the one that it sets", function()
    local read
    require("fs").readFile("spec/timers_spec.lua", function() read = true end)
    local turns = 0
    await(function(done)
      local function step()
        turns = turns + 1
        if read then done() else timers.setImmediate(step) end
      end
      step()
    end)
    assert.is_true(turns > 0)
  end)

  it("keeps no room for a burst of immediates", function()
    local left, done = 100000, nil
    local function one()
      left = left - 1
      if left == 0 then timers.setImmediate(done) end
    end
    await(function(callback)
      done = callback
      for _ = 1, left do timers.setImmediate(one) end
    end)
    await(timers.setImmediate)
    await(timers.setImmediate)
    for _ = 1, 2 do collectgarbage() end
    local before = collectgarbage("count")
    left = 100000
    await(function(callback)
      done = callback
      for _ = 1, left do timers.setImmediate(one) end
    end)
    await(timers.setImmediate)
    await(timers.setImmediate)
    for _ = 1, 2 do collectgarbage() end
    assert.is_true(collectgarbage("count") - before < 512)
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

  it("leaves the loop its turn beside an interval that takes longer than its time", function()
    local turns, others = 0, 0
    local check = require("luv").new_check()
    check:start(function() others = others + 1 end)
    require("await")(function(done)
      local interval
      interval = timers.setInterval(function()
        local stop = require("luv").hrtime() + 5e6
        while require("luv").hrtime() < stop do end -- luacheck: ignore 542
        turns = turns + 1
        if turns < 10 then return end
        timers.clearInterval(interval)
        done()
      end, 1)
    end)
    check:close()
    assert.is_true(others >= 8, others .. " turns")
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

  it("fires by the time they are due, of one time the list that is there longer, as Node does", function()
    local seen = {}
    local function note(name) return function() seen[#seen + 1] = name end end
    local function block(ms)
      local stop = process.hrtime() + ms * 1e6
      while process.hrtime() < stop do end
    end
    await(function(done)
      timers.setTimeout(note("300 a"), 300)
      timers.setTimeout(note("200 a"), 200)
      timers.setTimeout(note("250 a"), 250)
      block(3)
      timers.setTimeout(note("200 b"), 200)
      timers.setTimeout(note("1 a"), 1)
      timers.setTimeout(done, 350)
      block(360)
      timers.setTimeout(note("1 b"), 1)       -- its list is due, and it goes with it once it is due itself
      block(3)
    end)
    assert.same({ "1 a", "1 b", "200 a", "200 b", "250 a", "300 a" }, seen)
  end)

  it("keeps the order of many, of which many are cleared", function()
    local random = 12345
    local function next(n)
      random = (random * 1103515245 + 12345) % 2147483648
      return math.floor(random / 65536) % n + 1
    end
    local set, fired, left = {}, {}, 0
    await(function(done)
      for i = 1, 2000 do
        local ms = next(60)
        set[i] = timers.setTimeout(function()
          fired[#fired + 1] = { ms = ms, i = i }
          left = left - 1
          if left == 0 then done() end
        end, ms)
        left = left + 1
        if i % 3 == 0 then
          local at = next(i)
          if set[at] then left = left - 1 end
          timers.clearTimeout(set[at])
          set[at] = nil
        end
      end
      local stop = process.hrtime() + 100e6     -- all are due then
      while process.hrtime() < stop do end
    end)
    local count = 0
    for _ in pairs(set) do count = count + 1 end
    assert.equal(count, #fired)
    local over = {}                             -- durations whose list has fired
    for i = 2, #fired do
      local a, b = fired[i - 1], fired[i]
      if a.ms == b.ms then
        assert.is_true(a.i < b.i)
      else
        over[a.ms] = true
        assert.is_nil(over[b.ms])
      end
    end
  end)

  it("loses no timer to another one's error, clearing, or new timers", function()
    local out, err = lrun.eval([[
      local timers = require("timers")
      process:on("uncaughtException", function(e) print("caught", e) end)
      local c
      timers.setTimeout(function() error("a", 0) end, 5)
      timers.setTimeout(function()
        print("b")
        timers.clearTimeout(c)
        process.nextTick(print, "tick")
        timers.setTimeout(print, 5, "f")
        timers.setTimeout(print, 1, "e")
      end, 5)
      c = timers.setTimeout(print, 5, "c")
      timers.setTimeout(print, 5, "d")
      local stop = process.hrtime() + 20e6
      while process.hrtime() < stop do end]])
    assert.equal("caught\ta\nb\ntick\nd\ne\nf\n", out, err)
  end)

  it("forgets lists of durations that come once", function()
    collectgarbage()
    local before = collectgarbage("count")
    for i = 1, 100000 do timers.clearTimeout(timers.setTimeout(print, 1000 + i)) end
    collectgarbage()
    assert.is_true(collectgarbage("count") - before < 256)
  end)

  it("ends the process while timers that keep nothing alive wait", function()
    local out = lrun.eval([[
      local timers = require("timers")
      timers.setTimeout(print, 60000, "late"):unref()
      timers.setInterval(print, 60000, "late"):unref()
      local interval
      interval = timers.setInterval(function() print("interval") interval:unref() end, 1)
      timers.setImmediate(print, "never"):unref()
      local again = timers.setTimeout(print, 1, "again"):unref()
      process:on("beforeExit", function() if not again:hasRef() then again:ref():refresh() again = { hasRef = print } end end)]])
    assert.matches("interval\n", out)
    assert.matches("again\n", out)
    assert.is_nil(out:find("late"))
  end)

  it("refuses a callback that is no function", function()
    local ok, err = pcall(timers.setTimeout, "x", 1)
    assert.is_false(ok)
    assert.equal("ERR_INVALID_ARG_TYPE", err.code)
    ok, err = pcall(function() timers:setTimeout(print, 1) end)
    assert.is_false(ok)
    assert.equal("call timers.setTimeout(...) with a dot", err.message)
    ok, err = pcall(function() timers:clearTimeout(nil) end)
    assert.is_false(ok)
    assert.equal("call timers.clearTimeout(...) with a dot", err.message)
  end)

  it("runs ticks behind each timer and immediate, also behind one that waited for a tick", function()
    local function order(start)
      local list = {}
      local function add(what) list[#list + 1] = what end
      await(function(done)
        for i = 1, 4 do
          start(function()
            add("call" .. i)
            process.nextTick(add, "tick" .. i)
            if i == 2 then await(process.nextTick) add("on") end
            if i == 4 then start(done) end
          end)
        end
      end)
      return list
    end
    local expected = { "call1", "tick1", "call2", "tick2", "on", "call3", "tick3", "call4", "tick4" }
    assert.same(expected, order(timers.setImmediate))
    assert.same(expected, order(function(f)
      timers.setTimeout(f, 1)
      local start = uv.hrtime()
      while uv.hrtime() - start < 2e6 do end
    end))
  end)

  it("shows of a timer what the program gave it, and takes fields of the program", function()
    local inspect = require("inspect")
    local timer = timers.setTimeout(function() end, 1000, "argument")
    assert.equal("Timeout {}", inspect.inspect(timer))
    timer.mine = { 1 }
    assert.equal("Timeout { mine = { 1 } }", inspect.inspect(timer))
    assert.equal("{ Timeout { mine = { 1 } } }", inspect.inspect{ timer })
    timers.clearTimeout(timer)
    assert.is_false(timer:hasRef())
    assert.equal(1, timer.mine[1])
  end)
end)
