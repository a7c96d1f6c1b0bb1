local lrun = require("spec.support.lrun")
local await = require("await")
local timers = require("timers")

describe("process", function()
  it("works with dots and colons", function()
    assert.equal(process.cwd(), process:cwd())
    assert.equal(process, process:on("x", function() end))
    assert.equal(process, process.on("x", function() end))
    assert.equal(2, process.listenerCount("x"))
    process:removeAllListeners("x")
  end)

  it("knows how it was called where the system cannot tell its path", function()
    local out = lrun.eval([[
      require("luv").exepath = function() end
      rawset(process, "execPath", nil)       -- it was asked for before the script
      print(process.execPath == process.argv0)]])
    assert.equal("true\n", out)
  end)

  it("reads and writes the real environment", function()
    process.env.LRUN_SPEC = 5
    assert.equal("5", process.env.LRUN_SPEC)
    assert.equal("5", os.getenv("LRUN_SPEC"))
    local seen
    for name, value in pairs(process.env) do if name == "LRUN_SPEC" then seen = value end end
    assert.equal("5", seen)
    process.env.LRUN_SPEC = ("x"):rep(100000)
    assert.equal(100000, #process.env.LRUN_SPEC)
    process.env.LRUN_SPEC = nil
    assert.is_nil(os.getenv("LRUN_SPEC"))
  end)

  it("follows a change of TZ", function()
    local out = lrun.eval("for _, zone in ipairs{ 'UTC', 'XXX-9', 'YYY+5' } do process.env.TZ = zone print(os.date('%H', 0)) end")
    assert.equal("00\n09\n19\n", out)
  end)

  it("fires exit once with the code, beforeExit when the loop drained", function()
    local out, _, code = lrun.eval([[
      process:on("exit", function(code) print("exit", code) process.exit(9) end)
      process:on("beforeExit", function(code) print("before", code) end)
      process.exitCode = 4]])
    assert.equal("before\t4\nexit\t4\n", out)
    assert.equal(9, code)
    out, _, code = lrun.eval([[
      process:on("exit", function(code) print("exit", code) end)
      process:on("beforeExit", function() print("before") end)
      process.exit(3)]])
    assert.equal("exit\t3\n", out)
    assert.equal(3, code)
  end)

  it("goes on while beforeExit gives the loop more to do", function()
    local out = lrun.eval([[
      local n = 0
      process:on("beforeExit", function()
        n = n + 1
        if n < 3 then require("timers").setTimeout(function() print("more", n) end, 1) end
      end)]])
    assert.equal("more\t1\nmore\t2\n", out)
  end)

  it("ends with 1 and the user's line for an uncaught error, in the script and in a callback", function()
    local _, err, code = lrun.run({ "-" }, "\nlocal x = nil\nprint(x.y)\n")
    assert.equal(1, code)
    assert.truthy(err:find("^stdin:3: attempt to index local 'x' %(a nil value%)\n"), err)
    _, err, code = lrun.run({ "-" }, "require('timers').setTimeout(function()\n  error({ code = 'X' })\nend, 1)")
    assert.equal(1, code)
    assert.truthy(err:find("stdin:2", 1, true), err)
    assert.is_nil(err:find("lrun:", 1, true), err)
  end)

  it("gives an uncaught error to uncaughtException untouched, and goes on", function()
    local out, err, code = lrun.eval([[
      local thrown = { value = 7 }
      process:on("uncaughtException", function(e, origin) print(e == thrown, e.value, origin) end)
      require("timers").setTimeout(function() print("later") end, 1)
      error(thrown)]])
    assert.equal("true\t7\tuncaughtException\nlater\n", out)
    assert.equal("", err)
    assert.equal(0, code)
  end)

  it("gives uncaughtException what an exit listener throws, and ends all the same", function()
    local out, _, code = lrun.eval([[
      process:on("uncaughtException", function(e) print("caught " .. e) end)
      process:on("exit", function(code) print("exit " .. code) error("late", 0) end)
      process.exit(3)]])
    assert.equal("exit 3\ncaught late\n", out)
    assert.equal(3, code)
  end)

  it("ends with 7, and without the exit event, when a listener for uncaughtException throws", function()
    local out, err, code = lrun.run({ "-" }, [[
process:on("exit", function() print("exit") end)
process:on("uncaughtExceptionMonitor", function(e, origin) print(e, origin) end)
process:on("uncaughtException", function()
  error("again")
end)
error("first", 0)]])
    assert.equal("first\tuncaughtException\n", out)
    assert.truthy(err:find("^stdin:4: again\nstack traceback:\n\tstdin:4: "), err)
    assert.equal(7, code)
  end)

  it("does not put its end off for an exit listener that waits", function()
    local out, _, code = lrun.eval([[
      process:on("exit", function() print("exit") require("await").sleep(1) print("late") end)
      require("timers").setInterval(function() end, 1)
      process.exit(3)]])
    assert.equal("exit\n", out)
    assert.equal(3, code)
  end)

  it("prints warnings and tells of them, with type, code and detail", function()
    local out, err = lrun.eval([[
      process:on("warning", function(w) print(w.name, w.message, w.code) end)
      process.emitWarning("careful")
      process.emitWarning("old", { type = "DeprecationWarning", code = "D1", detail = "use new" })
      process.emitWarning(require("errors").Error:new("as it is"))]])
    assert.equal("Warning\tcareful\tnil\nDeprecationWarning\told\tD1\nError\tas it is\tnil\n", out)
    assert.equal("(lrun:N) Warning: careful\n(lrun:N) [D1] DeprecationWarning: old\nuse new\n(lrun:N) Error: as it is\n",
      (err:gsub("lrun:%d+", "lrun:N")))
  end)

  it("throws for wrong arguments, naming them", function()
    local function message(f, ...)
      local ok, err = pcall(f, ...)
      assert.is_false(ok)
      return err.message
    end
    for _, code in ipairs{ "x", 1.5, {} } do
      assert.matches('"code"', message(process.exit, code))
      assert.matches('"code"', message(function() process.exitCode = code end))
    end
    assert.is_nil(process.exitCode)
    assert.matches('"prevValue.user"', message(process.cpuUsage, {}))
    assert.matches('"prevValue.system"', message(process.cpuUsage, { user = 1, system = -1 }))
    assert.matches('"mask"', message(process.umask, -1))
    assert.matches("'mask'", message(process.umask, "9"))
    assert.matches('"warning" argument', message(process.emitWarning))
    assert.matches('"options.type"', message(process.emitWarning, "x", { type = 5 }))
    assert.equal('The "user" argument must be of type string or number. Received nil', message(process.initgroups))
  end)

  it("runs ticks after the script, each once, also when one throws", function()
    local out = lrun.eval([[
      process:on("uncaughtException", function(e) print((e:gsub("^.-: ", ""))) end)
      process.nextTick(print, "a", nil, "b")
      process.nextTick(function() process.nextTick(print, "nested") error("bad tick") end)
      process.nextTick(print, "last")
      print("script")]])
    assert.equal("script\na\tnil\tb\nbad tick\nlast\nnested\n", out)
  end)

  it("runs the ticks behind one that waits or yields, and goes on with it later", function()
    local out, err, code = lrun.eval([[
      local await, timers = require("await"), require("timers")
      process:on("uncaughtException", function(e) print((e:gsub("^.-: ", ""))) end)
      process.nextTick(function()
        process.nextTick(print, "nested")
        print("waits", await(timers.setImmediate))
        process.nextTick(print, "tick of one that waited")
        error("has waited")
      end)
      process.nextTick(function() coroutine.yield("lost") end)
      process.nextTick(print, "second", nil)
      process.nextTick(function() error("last") end)]])
    assert.same({ "second\tnil\nlast\nnested\nwaits\nhas waited\ntick of one that waited\n", "", 0 }, { out, err, code })
  end)

  it("holds memory flat while ticks queue ticks", function()
    local out = lrun.eval([[
      local left, before = 400000, nil
      local function tick()
        left = left - 1
        if left > 0 then return process.nextTick(tick) end
        if left < 0 then return end
        collectgarbage()
        print(collectgarbage("count") - before < 2048)
      end
      before = collectgarbage("count")
      tick() tick()]])
    assert.equal("true\n", out)
  end)

  it("lets a script run the loop itself, as programs for luv do, also in a tick", function()
    local out, err, code = lrun.eval([[
      local uv, net = require("luv"), require("net")
      local server = net.createServer(function(socket) socket:finish("served") end)
      server:listen(0, function()
        net.connect(server:address().port):on("data", function(data) print(data) server:close() end)
      end)
      uv.run()
      print("after")
      process.nextTick(function()
        require("timers").setTimeout(function()
          process.nextTick(print, "tick in loop")
          print((select(2, pcall(uv.run, "nowait"))))     -- the loop is not to be entered from inside
        end, 1)
        uv.run()
        print("after in tick")
      end)
      process.nextTick(print, "tick")]])
    assert.equal("served\nafter\ntick\nthe loop is running: a callback cannot run it again\ntick in loop\nafter in tick\n", out)
    assert.same({ "", 0 }, { err, code })
  end)

  it("delivers signals by name, and restores the default with the last listener", function()
    local name, number = await(function(done)
      local alive = timers.setTimeout(done, 5000)
      process:once("SIGUSR2", function(...)
        timers.clearTimeout(alive)
        done(...)
      end)
      process.kill(process.pid, "SIGUSR2")
    end)
    assert.same({ "SIGUSR2", 12 }, { name, number })
    local _, _, code = lrun.eval([[
      local function f() print("heard") end
      process:on("SIGTERM", f)
      process:off("SIGTERM", f)
      process.kill(process.pid, "sigterm")
      require("timers").setTimeout(function() end, 2000)]])
    assert.equal(128 + 15, code)
  end)

  it("ignores SIGPIPE, also after somebody listened for it, and its children do not", function()
    local out, _, code = lrun.eval([[
      process:on("SIGPIPE", function() end):removeAllListeners("SIGPIPE")
      process.kill(process.pid, "SIGPIPE")
      require("timers").setTimeout(function()
        for _, status in ipairs{ io.popen("cat /proc/self/status"):read("*a"), require("child_process").execSync("cat /proc/self/status") } do
          local ignored = tonumber(status:match("SigIgn:%s*%x+(%x%x%x%x)"), 16)
          print(math.floor(ignored / 2 ^ 12) % 2)
        end
      end, 1)]])
    assert.equal("0\n0\n", out)
    assert.equal(0, code)
  end)

  it("tests for a process with signal 0 and knows unknown signals", function()
    assert.is_true(process.kill(process.pid, 0))
    local ok, err = pcall(process.kill, process.pid, "SIGFOO")
    assert.is_false(ok)
    assert.same({ "ERR_UNKNOWN_SIGNAL", "Unknown signal: SIGFOO" }, { err.code, err.message })
    ok, err = pcall(process.kill, 2 ^ 22 + 1, 0)
    assert.is_false(ok)
    assert.same({ "ESRCH", "kill" }, { err.code, err.syscall })
  end)

  it("passes arguments the Node way and the Lua way", function()
    local out = lrun.run({ "-", "a", "b c" }, "print(..., process.argv[2], process.argv[3], arg[1], arg[0], process.argv[0] == process.execPath)")
    assert.equal("a\ta\tb c\ta\t-\ttrue\n", (out:gsub("^a\tb c\t", "a\t")))
  end)

  it("changes the directory and names both in the error", function()
    local before = process.cwd()
    process.chdir("/")
    assert.equal("/", process.cwd())
    process.chdir(before)
    local ok, err = pcall(process.chdir, "/nonexistent")
    assert.is_false(ok)
    assert.equal("ENOENT", err.code)
    assert.equal(("ENOENT: no such file or directory, chdir '%s' -> '/nonexistent'"):format(before), err.message)
  end)

  it("may open as many descriptors as the system lets it, and so may its children", function()
    local pipe = io.popen("ulimit -Sn 64; ulimit -Hn; '" .. process.execPath .. "' -e 'os.execute([[ulimit -Sn]])'")
    local hard, soft = pipe:read("*l", "*l")
    pipe:close()
    assert.equal(hard, soft)
  end)

  it("tells its use of memory and time", function()
    assert.is_true(process.memoryUsage().rss > process.memoryUsage().heapUsed)
    local before = process.cpuUsage()
    assert.is_true(process.cpuUsage(before).user >= 0)
    assert.is_true(process.uptime() > 0 and process.hrtime() > 0)
    assert.equal("number", type(process.resourceUsage().maxRSS))
  end)
end)
