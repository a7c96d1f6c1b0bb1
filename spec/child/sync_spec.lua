local child_process = require("child_process")
local timers = require("timers")
local processes = require("spec.support.processes")
local spawnSync, execFileSync, execSync = child_process.spawnSync, child_process.execFileSync, child_process.execSync

local MIB = 1024 * 1024

describe("synchronous children", function()
  it("describe how they ended", function()
    local result = spawnSync("sh", { "-c", "echo out; echo err >&2; exit 4" })
    assert.is_number(result.pid)
    assert.same({ false, "out\n", "err\n" }, result.output)
    assert.same({ "out\n", "err\n", 4 }, { result.stdout, result.stderr, result.status })
    assert.is_nil(result.signal)
    assert.is_nil(result.error)
    result = spawnSync("sh", { "-c", "kill -9 $$" })
    assert.equal("SIGKILL", result.signal)
    assert.is_nil(result.status)
    result = spawnSync("no-such-command", { "a" })
    assert.equal("ENOENT", result.error.code)
    assert.equal("spawnSync no-such-command ENOENT", tostring(result.error))
    assert.same({ "a" }, result.error.spawnargs)
    assert.is_nil(result.status)
  end)

  it("run nothing of the script meanwhile", function()
    local order = {}
    timers.setTimeout(function() order[#order + 1] = "timer" end, 1)
    process.nextTick(function() order[#order + 1] = "tick" end)
    spawnSync("sleep", { "0.05" })
    order[#order + 1] = "sync"
    require("await").sleep(5)
    assert.same({ "sync", "tick", "timer" }, order)
  end)

  it("feed 100 MiB to a child that reads slowly, not at all, or dies", function()
    local input = ("0123456789abcdef"):rep(100 * MIB / 16)
    assert.equal(#input .. "\n", execFileSync("sh", { "-c", "sleep 0.1; wc -c | tr -d ' '" }, { input = input }))
    local result = spawnSync("true", {}, { input = input })
    assert.same({ 0, nil }, { result.status, result.error })
    result = spawnSync("sh", { "-c", "head -c 1000 >/dev/null; kill -9 $$" }, { input = input })
    assert.equal("SIGKILL", result.signal)
    assert.is_nil(result.error)
  end)

  it("give input and output back unchanged", function()
    local bytes = {}
    for i = 0, 255 do bytes[#bytes + 1] = string.char(i) end
    local input = table.concat(bytes):rep(4096)
    assert.is_true(execFileSync("cat", {}, { input = input, maxBuffer = math.huge }) == input)
    assert.equal("", execFileSync("cat", {}, { input = "" }))
  end)

  it("enforce maxBuffer with the first bytes on the error", function()
    local ok, err = pcall(execFileSync, "sh", { "-c", "yes | head -c 3000000" }, { maxBuffer = 1001 })
    assert.is_false(ok)
    assert.equal("ENOBUFS", err.code)
    assert.equal(1001, #err.stdout)
    assert.equal("y\ny\n", err.stdout:sub(1, 4))
    local result = spawnSync("cat", { input = ("x"):rep(20 * MIB) }) -- it must not take its pipes' end for its input's
    assert.same({ "ENOBUFS", "SIGTERM" }, { result.error.code, result.signal })
    assert.equal(3000000, #execSync("yes | head -c 3000000", { maxBuffer = math.huge }))
  end)

  it("enforce their timeout although a grandchild holds the pipe", function()
    local started = process.uptime()
    local result = spawnSync("sh", { "-c", "echo early; sleep 5 & sleep 5" }, { timeout = 100 })
    assert.is_true(process.uptime() - started < 3)
    assert.equal("ETIMEDOUT", result.error.code)
    assert.equal("SIGTERM", result.signal)
    assert.equal("early\n", result.stdout)
  end)

  it("throw what went wrong", function()
    local ok, err = pcall(execSync, "echo out; echo bad >&2; exit 7", { stdio = "pipe" })
    assert.is_false(ok)
    assert.equal("Command failed: echo out; echo bad >&2; exit 7\nbad\n", err.message)
    assert.same({ 7, "out\n", "bad\n" }, { err.status, err.stdout, err.stderr })
    assert.is_number(err.pid)
    ok, err = pcall(execFileSync, "true", {}, { input = 5 })
    assert.is_false(ok)
    assert.equal("ERR_INVALID_ARG_TYPE", err.code)
    assert.is_nil(execSync("exit 0", { stdio = "ignore" }))
  end)

  it("leave no descriptor and no zombie after many calls", function()
    collectgarbage()               -- a fork costs by the size of this process
    spawnSync("true")
    local before = processes.descriptors()
    for _ = 1, 100 do spawnSync("true") end
    for _ = 1, 10 do
      spawnSync("no-such-command")
      spawnSync("sh", { "-c", "yes" }, { maxBuffer = 10 })
      spawnSync("sleep", { "5" }, { timeout = 1 })
    end
    assert.equal(before, processes.descriptors())
    assert.equal("", execSync(("ps -o pid= --ppid %d | grep -v \"^ *$$\\$\" | while read p; do grep -l zombie /proc/$p/status; done; true")
      :format(process.pid), { stdio = { "ignore", "pipe", "ignore" } }))
  end)
end)
