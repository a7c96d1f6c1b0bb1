local abort = require("abort")
local await = require("await")
local child_process = require("child_process")
local children = require("spec.support.children")
local processes = require("spec.support.processes")
local once, text = children.once, children.text
local spawn = child_process.spawn

local function throws(code, f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  assert.equal(code, err.code)
  return err
end

describe("spawn", function()
  it("emits spawn, exit and close in this order", function()
    local child, order = spawn("true"), {}
    for _, name in ipairs{ "close", "exit", "spawn" } do
      child:on(name, function(...) order[#order + 1] = { name, ... } end)
    end
    assert.is_number(child.pid)
    once(child, "close")
    assert.same({ { "spawn" }, { "exit", 0 }, { "close", 0 } }, order)
    assert.equal(0, child.exitCode)
    assert.is_nil(child.signalCode)
    assert.is_false(child:kill())
    assert.is_false(child.killed)
  end)

  it("reports a command that is missing, no program, or a directory", function()
    local plain = os.tmpname()
    for file, code in pairs{ ["no-such-command"] = "ENOENT", ["/"] = "EACCES", [plain] = "EACCES" } do
      local child = spawn(file, { "a", "b" })
      assert.is_nil(child.pid)
      local err = once(child, "error")
      assert.equal(code, err.code)
      assert.equal("spawn " .. file .. " " .. code, tostring(err))
      assert.equal("spawn " .. file, err.syscall)
      assert.equal(file, err.path)
      assert.same({ "a", "b" }, err.spawnargs)
      assert.is_true(err.errno < 0)
    end
    os.remove(plain)
  end)

  it("reports a cwd that does not exist, and survives input for a command that is missing", function()
    local child = spawn("true", { cwd = "/no/such/folder" })
    local err = once(child, "error")
    assert.equal("spawn true ENOENT", tostring(err))
    assert.equal("ENOENT: no such file or directory, chdir '/no/such/folder'", tostring(err.cause))
    err = throws("ENOTDIR", spawn, "true", {}, { cwd = "/etc/passwd" })
    assert.equal("ENOTDIR: not a directory, chdir '/etc/passwd'", tostring(err.cause))
    assert.equal("E2BIG", throws("E2BIG", spawn, "true", { ("x"):rep(3000000) }).code)
    child = spawn("no-such-command", { stdio = { "pipe", "pipe", "pipe", "ipc" } })
    local lost = {}
    child.stdin:write("lost", function(e) lost[1] = e.code end)
    child:send("lost", function(e) lost[2] = e.code end)
    child.stdin:finish("as well")
    local code
    child:on("close", function(c) code = c end)
    assert.equal("ENOENT", once(child, "error").code)
    children.eventually(function() return code end)
    assert.is_true(code < 0)
    assert.same({ "EPIPE", "ERR_IPC_CHANNEL_CLOSED" }, lost)
  end)

  it("hands cwd, env, argv0 and arguments on", function()
    assert.equal("/usr\n", text(spawn("pwd", { cwd = "/usr" }).stdout))
    assert.equal(process.cwd() .. "\n", text(spawn("pwd", { cwd = "" }).stdout))
    assert.equal("A=1\nB=true\n", text(spawn("sh", { "-c", "env | grep '^[AB]=' | sort" },
      { env = { A = 1, B = true, PATH = process.env.PATH } }).stdout))
    assert.equal("named", text(spawn("/bin/sh", { "-c", "printf %s \"$(tr '\\0' '\\n' </proc/$$/cmdline | head -1)\"" },
      { argv0 = "named" }).stdout))
    assert.equal("a b|c", text(spawn("printf", { "%s|%s", "a b", "c" }).stdout))
  end)

  it("has descriptors of every form", function()
    local child = spawn("sh", { "-c", "cat <&3; echo four >&4; echo two >&2" },
      { stdio = { "ignore", "ignore", "pipe", "pipe", "pipe" } })
    assert.is_nil(child.stdin)
    assert.is_nil(child.stdout)
    assert.is_false(child.stdio[1])
    assert.equal(child.stderr, child.stdio[3])
    child.stdio[4]:finish("ignored")
    local two, four
    child.stderr:on("data", function(d) two = d end)
    child.stdio[5]:on("data", function(d) four = d end)
    once(child, "close")
    assert.same({ "two\n", "four\n" }, { two, four })
  end)

  it("gives the child the descriptors of its slots and no others", function()
    local file, stdio = io.open("/dev/null"), { "ignore", "pipe", "inherit" }
    assert.equal("0\n1\n2\n3\n", text(spawn("ls", { "/proc/self/fd" }, { stdio = stdio }).stdout)) -- 3 is its own
    file:close()
    file = io.open("/dev/null")
    assert.equal("0\n1\n2\n3\n", child_process.spawnSync("ls", { "/proc/self/fd" }, { stdio = stdio }).stdout)
    for slot = 4, 20 do stdio[slot] = file end -- one of them is the file's own
    assert.equal("", text(spawn("sh", { "-c", "for i in 3 9 11 19; do cat <&$i; done" }, { stdio = stdio }).stdout))
    file:close()
  end)

  it("lends descriptors and streams", function()
    local sink = spawn("cat", { stdio = { "pipe", "pipe", "inherit" } })
    local writer = spawn("echo", { "lent" }, { stdio = { "ignore", sink.stdin, "ignore" } })
    once(writer, "close")
    sink.stdin:finish()
    assert.equal("lent\n", text(sink.stdout))
    local pair = spawn("cat", { stdio = { "pipe", "pipe" } })
    local fd = pair.stdin._handle:fileno()
    once(spawn("echo", { "number" }, { stdio = { "ignore", fd, "ignore" } }), "close")
    pair.stdin:finish()
    assert.equal("number\n", text(pair.stdout))
    local file = io.tmpfile()
    file:write("ours, ")
    once(spawn("echo", { "its" }, { stdio = { "ignore", file, "ignore" } }), "close")
    child_process.spawnSync("echo", { "synchronous" }, { stdio = { "ignore", file } })
    file:seek("set")
    assert.equal("ours, its\nsynchronous\n", file:read("*a"))
    file:close()
    throws("ERR_INVALID_ARG_VALUE", spawn, "true", {}, { stdio = { file } })
  end)

  it("reads nothing of a stream that it only lends", function()
    assert.equal("all of it", child_process.execFileSync(process.execPath, { "-e", [[
      local spawn = require("child_process").spawn
      local function run(command, input) return spawn(command, { stdio = { input, "inherit" } }) end
      run("true", process.stdin):on("close", function()
        run("true", "ignore"):on("close", function() run("cat", process.stdin) end)
      end)]] }, { input = "all of it" }))
  end)

  it("sees the shell and its arguments", function()
    local child = spawn("echo $((1 + 1))", { "'x'" }, { shell = true })
    assert.equal("/bin/sh", child.spawnfile)
    assert.same({ "/bin/sh", "-c", "echo $((1 + 1)) 'x'" }, child.spawnargs)
    assert.equal("2 x\n", text(child.stdout))
    assert.equal("true", spawn("true", { shell = "" }).spawnfile)
  end)

  it("starts a group of its own when detached, and lets the parent go", function()
    local child = spawn("sleep", { "100" }, { detached = true, stdio = "ignore" })
    child:unref()
    child:ref()
    local line = assert(io.open("/proc/" .. child.pid .. "/stat")):read("*a")
    assert.equal(child.pid, tonumber(line:match("%) %a %d+ (%d+)")))
    process.kill(-child.pid, "SIGKILL")
    local code, signal = once(child, "exit")
    assert.is_nil(code)
    assert.equal("SIGKILL", signal)
    assert.equal("SIGKILL", child.signalCode)
  end)

  it("kills by timeout and by an abort signal, once", function()
    local _, signal = once(spawn("sleep", { "100" }, { timeout = 20, killSignal = "SIGINT" }), "exit")
    assert.equal("SIGINT", signal)
    local controller = abort.AbortController:new()
    local child, errors = spawn("sleep", { "100" }, { signal = controller.signal }), {}
    child:on("error", function(err) errors[#errors + 1] = err end)
    local reason = {}
    controller:abort(reason)
    controller:abort()
    once(child, "close")
    assert.equal(1, #errors)
    assert.equal("ABORT_ERR", errors[1].code)
    assert.equal(reason, errors[1].cause)
    assert.equal(0, controller.signal:listenerCount("abort"))
  end)

  it("watches no clock and no signal for a child that did not start", function()
    local signal = abort.AbortController:new().signal
    local child = spawn("no-such-command", { timeout = 1e9, signal = signal }) -- the timer would fail this file's end
    once(child:on("error", function() end), "close")
    assert.equal(0, signal:listenerCount("abort"))
  end)

  it("throws for wrong arguments before anything is started", function()
    throws("ERR_INVALID_ARG_VALUE", spawn, "a\0b")
    throws("ERR_INVALID_ARG_VALUE", spawn, "true", { "a\0b" })
    throws("ERR_INVALID_ARG_VALUE", spawn, "true", {}, { cwd = "a\0b" })
    throws("ERR_INVALID_ARG_VALUE", spawn, "true", {}, { argv0 = "a\0b" })
    throws("ERR_INVALID_ARG_VALUE", spawn, "true", {}, { env = { X = "a\0b" } })
    throws("ERR_INVALID_ARG_VALUE", spawn, "true", {}, { shell = "a\0b" })
    throws("ERR_INVALID_ARG_TYPE", spawn, "true", {}, { env = "X" })
    throws("ERR_INVALID_ARG_VALUE", spawn, "true", {}, { stdio = "nothing" })
    throws("ERR_INVALID_ARG_VALUE", spawn, "true", {}, { stdio = { "nothing" } })
    throws("ERR_INVALID_ARG_VALUE", spawn, "true", {}, { stdio = { {} } })
    throws("ERR_INVALID_ARG_VALUE", spawn, "true", {}, { stdio = { 2 ^ 32 } })
    throws("ERR_INVALID_ARG_VALUE", spawn, "true", {}, { stdio = { { fd = 0.5 } } })
    throws("ERR_OUT_OF_RANGE", spawn, "true", {}, { stdio = { [5000] = "pipe" } })
    throws("ERR_IPC_ONE_PIPE", spawn, "true", {}, { stdio = { "ipc", "ipc" } })
    throws("ERR_IPC_SYNC_FORK", child_process.spawnSync, "true", {}, { stdio = { "ipc" } })
    throws("ERR_UNKNOWN_SIGNAL", spawn, "true", {}, { killSignal = "SIGNOTHING" })
    throws("ERR_INVALID_ARG_TYPE", spawn, "true", {}, { signal = {} })
    throws("ERR_OUT_OF_RANGE", spawn, "true", {}, { timeout = -1 })
    throws("ERR_INVALID_ARG_VALUE", spawn, "true", {}, { serialization = "xml" })
    throws("ERR_CHILD_PROCESS_IPC_REQUIRED", child_process.fork, children.fixture, {}, { stdio = { "pipe" } })
    assert.equal('The "file" argument must be of type string. Received nil', tostring(throws("ERR_INVALID_ARG_TYPE", spawn)))
    local child = spawn("sleep", { "100" })
    throws("ERR_UNKNOWN_SIGNAL", child.kill, child, "SIGNOTHING")
    child:kill("sigkill")
    once(child, "close")
    assert.truthy(tostring(throws("ERR_INVALID_ARG_TYPE", child.kill)):find("child:kill(...) with a colon", 1, true))
    local forked = child_process.fork(children.fixture)
    assert.equal("call child:send(...) with a colon", tostring(throws("ERR_INVALID_ARG_TYPE", forked.send, {})))
    forked:kill("SIGKILL")
    once(forked, "close")
  end)

  it("has streams also for whom asks late", function()
    local child = spawn("echo", { "late" })
    local got
    child:on("exit", function() child.stdout:on("data", function(data) got = data end) end)
    once(child, "close")
    assert.equal("late\n", got)
    child = spawn("echo", { "too late" })
    once(child, "close")
    local stdin, stdout = child.stdin, child.stdio[2]
    assert.is_true(stdin.destroyed and stdout.destroyed)
    assert.equal(stdout, child.stdout)
    local lost
    stdin:write("lost", function(err) lost = err.code end)
    children.eventually(function() return lost end)
    child = spawn("true", { stdio = { "ignore", "ignore", "inherit" } })
    once(child, "close")
    assert.is_nil(child.stdout)
    assert.same({ false, false, false }, child.stdio)
  end)

  it("closes once nobody holds its pipes any more, also where nobody reads them", function()
    local file = os.tmpname()
    local child, isClosed = spawn("sh", { "-c", "sleep 60 & echo $! > " .. file }), false
    child:on("close", function() isClosed = true end)
    once(child, "exit")
    await.sleep(20)
    assert.is_false(isClosed)
    process.kill(tonumber(assert(io.open(file)):read("*l")), "SIGKILL")
    children.eventually(function() return isClosed end)
    os.remove(file)
  end)

  it("leaves no descriptor and no zombie", function()
    once(spawn("true"), "close")
    local before, last = processes.descriptors(), nil
    for _ = 1, 30 do
      local child = spawn("echo", { "x" })
      last = child.pid
      once(child, "close")
      once(spawn("no-such-command"):on("error", function() end), "close")
    end
    children.eventually(function() return processes.descriptors() <= before end)
    assert.is_nil(io.open("/proc/" .. last .. "/stat"))
  end)

  it("tells out of descriptors by an error event", function()
    local output = text(spawn("sh", { "-c", "ulimit -n 24; exec \"$0\" -e \"$1\"", process.execPath, [[
      local spawn, failed, started, closed = require("child_process").spawn, 0, 0, 0
      local children = {}
      for i = 1, 8 do
        local child = spawn("sleep", { "1" })
        children[i] = child
        child:on("error", function(err)
          assert(err.code == "EMFILE" or err.code == "EAGAIN", tostring(err))
          failed = failed + 1
        end)
        child:on("spawn", function() started = started + 1 child:kill() end)
        child:on("close", function()
          closed = closed + 1
          if closed == 8 then io.write(failed > 0 and started > 0 and "ok" or "no") end
        end)
      end
    ]] }, { stdio = { "ignore", "pipe", "inherit" } }).stdout)
    assert.equal("ok", output)
  end)
end)

describe("exec and execFile", function()
  it("give what was written, and an error that tells how it failed", function()
    local err, out, errOut = await(child_process.exec, "echo out; echo err >&2; exit 3")
    assert.same({ "out\n", "err\n" }, { out, errOut })
    assert.equal(3, err.code)
    assert.is_nil(err.signal)
    assert.is_false(err.killed)
    assert.equal("echo out; echo err >&2; exit 3", err.cmd)
    assert.equal("Command failed: echo out; echo err >&2; exit 3\nerr\n", err.message)
    err, out = await(child_process.execFile, "printf", { "%s", "$HOME" })
    assert.is_nil(err)
    assert.equal("$HOME", out)
  end)

  it("cut at maxBuffer, by bytes, over several chunks", function()
    local err, out = await(child_process.execFile, "sh", { "-c", "printf 12345; sleep 0.05; printf 67890" }, { maxBuffer = 7 })
    assert.equal("ERR_CHILD_PROCESS_STDIO_MAXBUFFER", err.code)
    assert.same({ "1234567", "1234567", "" }, { out, err.stdout, err.stderr })
    err, out = await(child_process.execFile, "printf", { "x" }, { maxBuffer = 0 })
    assert.equal("ERR_CHILD_PROCESS_STDIO_MAXBUFFER", err.code)
    assert.equal("", out)
  end)

  it("end at their timeout although a grandchild holds the pipe", function()
    local err = await(child_process.exec, "sleep 5 & sleep 5", { timeout = 50 })
    assert.is_true(err.killed)
    assert.equal("SIGTERM", err.signal)
  end)

  it("refuse a callback that is none", function()
    throws("ERR_INVALID_ARG_TYPE", child_process.exec, "true", {}, 5)
    throws("ERR_INVALID_ARG_TYPE", child_process.execFile, "true", {}, {}, 5)
  end)
end)
