local await = require("await")
local child_process = require("child_process")
local fs = require("fs")
local timers = require("timers")
local AbortController = require("abort").AbortController
local files = require("spec.support.files")
local fails = files.fails

local dir, at

-- Another process that locks the file, says "locked", and gives it up at the first byte that it reads.
local HOLDER = [[
local fs = require("fs")
local fd = fs.openSync(process.argv[1], "w")
fs.flockSync(fd, process.argv[2])
process.stdout:write("locked\n")
process.stdin:once("data", function()
  fs.flockSync(fd, "un")
  process.stdout:write("free\n")
end)
process.stdin:on("end", function() process.exit(0) end)
]]

local function hold(kind)
  local child = child_process.spawn(process.execPath, { "-e", HOLDER, at("lock"), kind }, { stdio = { "pipe", "pipe", "inherit" } })
  await(function(done) child.stdout:once("data", done) end)
  return child
end

local function finish(child)
  await(function(done)
    child:once("close", done)
    child.stdin:finish()
  end)
end

describe("fs.flock", function()
  before_each(function() dir, at = files.directory() end)
  after_each(function() fs.rmSync(dir, { recursive = true, force = true }) end)

  it("excludes other processes, in both forms", function()
    local child = hold("ex")
    local fd = fs.openSync(at("lock"), "w")
    for _, call in pairs(files.forms) do
      local err = fails(call, "flock", fd, "sh", { nonblock = true })
      assert.same({ "EAGAIN", "flock", "EAGAIN: resource temporarily unavailable, flock" }, { err.code, err.syscall, err.message })
    end
    child.stdin:write("x")
    fs.flockSync(fd, "ex")                                         -- waits for the other
    fs.flockSync(fd, "un")
    finish(child)
    fs.closeSync(fd)
  end)

  it("shares shared locks", function()
    local child = hold("sh")
    local fd = fs.openSync(at("lock"), "w")
    for _, call in pairs(files.forms) do
      call("flock", fd, "sh")
      call("flock", fd, "un")
      assert.equal("EAGAIN", fails(call, "flock", fd, "ex", { nonblock = true }).code)
    end
    finish(child)
    fs.closeSync(fd)
  end)

  it("waits without holding up the loop or the pool", function()
    local child = hold("ex")
    local fds, locked = {}, 0
    for i = 1, 20 do                                               -- more than the pool has threads
      fds[i] = fs.openSync(at("lock"), "w")
      fs.flock(fds[i], "sh", function(err)
        assert.is_nil(err)
        locked = locked + 1
      end)
    end
    for _ = 1, 50 do assert.truthy(select(2, await(fs.readFile, "/proc/self/status"))) end
    local ticks = 0
    await(function(done)
      local timer
      timer = timers.setInterval(function()
        ticks = ticks + 1
        if ticks < 30 then return end
        timers.clearInterval(timer)
        done()
      end, 1)
    end)
    assert.equal(0, locked)
    child.stdin:write("x")
    files.eventually("20 locks", function() return locked == 20 end)
    finish(child)
    for _, fd in ipairs(fds) do fs.closeSync(fd) end
  end)

  it("takes the lock of a process that was killed", function()
    local child = hold("ex")
    local fd = fs.openSync(at("lock"), "w")
    child:kill("SIGKILL")
    assert.is_nil((await(fs.flock, fd, "ex")))
    fs.closeSync(fd)
  end)

  it("ends its wait by a signal", function()
    local child = hold("ex")
    local fd = fs.openSync(at("lock"), "w")
    local before = #fs.readdirSync("/proc/self/fd")
    local controller = AbortController:new()
    local err = await(function(done)
      fs.flock(fd, "ex", { signal = controller.signal }, done)
      timers.setTimeout(function() controller:abort("enough") end, 30)
    end)
    assert.same({ "ABORT_ERR", "enough" }, { err.code, err.cause })
    assert.equal("ABORT_ERR", (await(fs.flock, fd, "ex", { signal = controller.signal })).code)
    assert.equal(before, #fs.readdirSync("/proc/self/fd"))
    finish(child)
    -- Nobody has it: what was aborted did not take it later.
    local other = fs.openSync(at("lock"), "w")
    fs.flockSync(other, "ex", { nonblock = true })
    fs.closeSync(other)
    fs.closeSync(fd)
  end)

  it("fails when its descriptor is closed, and never locks another file of that number", function()
    local child = hold("ex")
    local fd = fs.openSync(at("lock"), "w")
    local err
    fs.flock(fd, "ex", function(e) err = e end)
    await(function(done) timers.setTimeout(done, 10) end)
    fs.closeSync(fd)
    assert.equal(fd, fs.openSync(at("other"), "w"))
    files.eventually("the failure", function() return err end)
    assert.equal("EBADF", err.code)
    local other = fs.openSync(at("other"), "w")
    fs.flockSync(other, "ex", { nonblock = true })
    fs.closeSync(other)
    fs.closeSync(fd)
    finish(child)
  end)

  it("gives the lock up with the file", function()
    local one, two = fs.openHandleSync(at("lock"), "w"), fs.openHandleSync(at("lock"), "w")
    assert.is_nil((await(one.flock, one, "ex")))
    assert.equal("EAGAIN", fails(two.flockSync, two, "sh", { nonblock = true }).code)
    one:closeSync()
    two:flockSync("sh", { nonblock = true })
    two:closeSync()
  end)

  it("names a wrong argument", function()
    for _, call in pairs(files.forms) do
      assert.truthy(fails(call, "flock", "1", "ex").message:find('"fd"', 1, true))
      assert.truthy(fails(call, "flock", 0, nil).message:find('"kind"', 1, true))
      assert.truthy(fails(call, "flock", 0, "shared").message:find("must be one of: 'sh', 'ex', 'un'", 1, true))
      assert.truthy(fails(call, "flock", 0, "sh", { nonblock = 1 }).message:find("options.nonblock", 1, true))
      assert.same({ "EBADF", "flock" }, { fails(call, "flock", 99999, "sh").code, fails(call, "flock", 99999, "sh").syscall })
    end
    assert.equal("ERR_INVALID_ARG_TYPE", fails(fs.flock, 0, "sh").code)
    assert.equal("ERR_INVALID_ARG_TYPE", fails(fs.flock, 0, "sh", { signal = 1 }, function() end).code)
  end)
end)
