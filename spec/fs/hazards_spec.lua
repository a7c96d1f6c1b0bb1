--- What an attempt to answer without a thread must never touch, or wait for: pipes, devices, leases, file systems over a wire,
--- calls that are refused.
local await = require("await")
local child_process = require("child_process")
local core = require("lrun.core.files")
local fs = require("fs")
local timers = require("timers")
local ways = require("lrun.fs.ways")
local files = require("spec.support.files")

local function tryStat(path) return ways.try("stat", path) end

local dir, at
local ended = {}

local function poolOnly(syscall, f)
  local before = fs.counters().calls[syscall] or { cache = 0, pool = 0 }
  f()
  local after = fs.counters().calls[syscall]
  assert.same({ 0, 1 }, { after.cache - before.cache, after.pool - before.pool }, syscall)
end

-- Starts a program of Lua; returns the child and a function that waits for its next line. `finish` ends its input and waits
-- for its end.
local function start(source, ...)
  local child = child_process.spawn(process.execPath, { "-e", source, ... }, { stdio = { "pipe", "pipe", "inherit" } })
  local text = ""
  child:once("close", function() ended[child] = true end)
  child.stdout:on("data", function(data) text = text .. data end)
  return child, function()
    files.eventually("a line", function() return text:find("\n", 1, true) end)
    local line
    line, text = text:match("^([^\n]*)\n(.*)$")
    return line
  end
end

local function finish(child)
  if child.stdin.writable then child.stdin:finish() end
  files.eventually("a child's end", function() return ended[child] end)
end

describe("fs without a thread", function()
  before_each(function() dir, at = files.directory() end)
  after_each(function() fs.rmSync(dir, { recursive = true, force = true }) end)

  it("does not open named pipes", function()
    child_process.execFileSync("mkfifo", { at("pipe") })
    assert.is_false(ways.try("open", at("pipe"), 0))
    assert.is_false(core.tryReadFile(at("pipe")))
    local err, stats = await(fs.stat, at("pipe"))
    assert.is_nil(err)
    assert.is_true(stats:isFIFO())
    -- Nobody has opened it for reading: who opens it for writing without waiting is told so.
    assert.equal("ENXIO", files.fails(fs.openSync, at("pipe"), fs.constants.O_WRONLY + fs.constants.O_NONBLOCK).code)
    local fd
    poolOnly("open", function()
      fs.open(at("pipe"), "r", function(_, opened) fd = opened end)
      local out = fs.openSync(at("pipe"), "w")
      files.eventually("the pipe", function() return fd end)
      fs.writeSync(out, "x")
      fs.closeSync(out)
    end)
    poolOnly("read", function() assert.same({ nil, "x" }, { await(fs.read, fd, 10) }) end)
    poolOnly("close", function() await(fs.close, fd) end)
  end)

  it("lets no open that waits hold up the end of the process", function()
    child_process.execFileSync("mkfifo", { at("pipe") })
    for ending, want in pairs{ ["process.exit(3)"] = 3, ["os.exit(4)"] = 4, ["error('uncaught')"] = 1 } do
      local code = files.run(([[
        require("fs").readFile(process.argv[1], function() end)
        require("timers").setTimeout(function() %s end, 20)
      ]]):format(ending), at("pipe"))
      assert.equal(want, code, ending)
    end
  end)

  it("does not open devices, terminals and sockets", function()
    for _, path in ipairs{ "/dev/null", "/dev/zero", "/dev/tty", "/proc/self/status" } do
      assert.is_false(ways.try("open", path, 0), path)
      assert.is_false(core.tryReadFile(path), path)
    end
    assert.same({ nil, "" }, { await(fs.readFile, "/dev/null") })
    local fd = fs.openSync("/dev/zero")
    poolOnly("read", function() assert.same({ nil, "\0\0" }, { await(fs.read, fd, 2) }) end)
    fs.closeSync(fd)
    local server = require("net").createServer()
    await(function(done) server:listen(at("socket"), done) end)
    assert.is_false(ways.try("open", at("socket"), 0))
    assert.equal("ENXIO", (await(fs.open, at("socket"))).code)
    server:close()
  end)

  it("opens the thing that it has looked at, whatever its name leads to by then", function()
    if not files.areTried(dir) then return pending("the mount of the folder is in no table here") end
    fs.writeFileSync(at("file"), "text")
    child_process.execFileSync("mkfifo", { at("pipe") })
    fs.linkSync(at("file"), at("name"))
    -- The name leads to the pipe and to the file in turn; whoever could write the pipe had a reader: it was opened.
    local child, line = start([[
      local fs = require("fs")
      local dir, running, woken = process.argv[1], true, 0
      process.stdin:on("end", function() running = false end):resume()
      print("ready")
      local O = fs.constants
      local function turn(i)
        for j = 1, 50 do
          fs.linkSync(dir .. (j % 2 == 0 and "/file" or "/pipe"), dir .. "/new")
          fs.renameSync(dir .. "/new", dir .. "/name")
          local ok, fd = pcall(fs.openSync, dir .. "/pipe", O.O_WRONLY + O.O_NONBLOCK)
          if ok then woken = woken + 1 fs.closeSync(fd) end
        end
        if running then return require("timers").setImmediate(turn) end
        print(woken)
      end
      turn()
    ]], dir)
    assert.equal("ready", line())
    local opened, left = 0, 0
    for i = 1, 40000 do
      local fd = ways.try("open", at("name"), 0)
      if fd then
        opened = opened + 1
        assert.is_true(fs.fstatSync(fd):isFile())
        fs.closeSync(fd)
      else
        left = left + 1
      end
      if i % 1000 == 0 then await(timers.setImmediate) end
    end
    child.stdin:finish()
    assert.equal("0", line())
    assert.is_true(opened > 0 and left > 0)
    finish(child)
  end)

  it("does not wait for a lease", function()
    fs.writeFileSync(at("file"), "leased")
    local child, line = start([[
      local ffi, fs = require("ffi"), require("fs")
      ffi.cdef "int fcntl(int, int, ...); void (*signal(int, void (*)(int)))(int);"
      ffi.C.signal(29, ffi.cast("void (*)(int)", 1))        -- SIGIO: ignored
      local fd = fs.openSync(process.argv[1], "r+")
      print(ffi.C.fcntl(fd, 1024, ffi.cast("int", 1)))       -- F_SETLEASE, F_WRLCK
      process.stdin:once("data", function() ffi.C.fcntl(fd, 1024, ffi.cast("int", 2)) end)
      process.stdin:on("end", function() process.exit(0) end)
    ]], at("file"))
    if line() ~= "0" then
      finish(child)
      return pending("no leases here")
    end
    assert.is_false(ways.try("open", at("file"), 0))
    local text
    fs.readFile(at("file"), function(_, data) text = data end)
    for _ = 1, 30 do await(timers.setImmediate) end
    assert.equal(6, select(2, await(fs.stat, at("file"))).size)
    assert.is_nil(text)
    child.stdin:write("x")
    files.eventually("the file", function() return text end)
    assert.equal("leased", text)
    finish(child)
  end)

  it("asks no file system over a wire or in user space", function()
    fs.writeFileSync(at("file"), "text")
    fs.mkdirSync(at("folder"))
    local asked = { stat = at("file"), readFile = at("file"), open = at("file"), readdir = at("folder"), realpath = at("file") }
    local table_ = fs.readFileSync("/proc/self/mountinfo")
    for _, kind in ipairs{ "fuse.sshfs", "nfs4", "9p", "cifs", "autofs", "unheard" } do
      fs.writeFileSync(at("mounts"), (table_:gsub(" %- %S+ ", " - " .. kind .. " ")))
      core.mountsFrom(at("mounts"))
      for name, try in pairs{ stat = tryStat, readFile = core.tryReadFile, readdir = core.tryKey, realpath = core.tryRealpath } do
        assert.is_false(try(asked[name]), kind .. " " .. name)
      end
      assert.is_false(ways.try("open", at("file"), 0), kind)
      local fd = fs.openSync(at("file"))
      assert.is_false(ways.try("read", fd, 10, 0), kind)
      assert.is_false(ways.try("fstat", fd), kind)
      assert.is_false(ways.try("close", fd), kind)
      fs.closeSync(fd)
      assert.same({ nil, "text" }, { await(fs.readFile, at("file")) })
      assert.equal(4, select(2, await(fs.stat, at("file"))).size)
    end
    -- A table that does not have it, and none.
    fs.writeFileSync(at("mounts"), "1 1 0:1 / / rw - ext4 /dev/none rw\nnonsense\n\n - \n")
    for _, path in ipairs{ at("mounts"), at("none") } do
      core.mountsFrom(path)
      assert.is_false(tryStat(at("file")))
    end
    core.mountsFrom(nil)
  end)

  -- A child that may not make the system calls, as a container has it; prints what it found.
  local CONFINED = [[
    local ffi, fs, await = require("ffi"), require("fs"), require("await")
    local errno, numbers = tonumber(process.argv[1]), process.argv[2]
    local path, folder = process.argv[3], process.argv[4]
    ffi.cdef "struct filter { uint16_t code; uint8_t jt, jf; uint32_t k; }; struct program { uint16_t length; struct filter *filter; }; \z
      int prctl(int, unsigned long, ...);"
    local code = { { 0x20, 0, 0, 0 } }                                     -- the call's number
    for number in numbers:gmatch("%d+") do
      code[#code + 1] = { 0x15, 0, 1, tonumber(number) }                   -- is it this one?
      code[#code + 1] = { 0x06, 0, 0, 0x00050000 + errno }                 -- then it fails so
    end
    code[#code + 1] = { 0x06, 0, 0, 0x7fff0000 }                           -- else it is made
    local filter = ffi.new("struct filter[?]", #code)
    for i, each in ipairs(code) do filter[i - 1] = each end
    local program = ffi.new("struct program", #code, filter)
    local function long(value) return ffi.cast("unsigned long", value) end
    assert(ffi.C.prctl(38, 1, long(0), long(0), long(0)) == 0)              -- PR_SET_NO_NEW_PRIVS
    if ffi.C.prctl(22, 2, program) ~= 0 then print("unable") process.exit(0) end      -- PR_SET_SECCOMP
    local function must(err, value) if err then error(err) end return value end
    for _ = 1, 3 do
      assert(must(await(fs.stat, path)).size == 4)
      assert(must(await(fs.readFile, path)) == "text")
      local fd = must(await(fs.open, path))
      assert(must(await(fs.read, fd, 10)) == "text")
      assert(must(await(fs.fstat, fd)).size == 4)
      must(await(fs.close, fd))
      assert(must(await(fs.readdir, folder))[1] == "name")
      must(await(fs.access, path, fs.constants.R_OK))
      assert(must(await(fs.realpath, path)) == path)
      assert((await(fs.stat, path .. "none")).code == "ENOENT")
      assert((await(fs.access, path .. "none")).code == "ENOENT")
      assert((await(fs.readdir, path)).code == "ENOTDIR")
      assert(fs.statSync(path).size == 4)
      assert(fs.readFileSync(path) == "text")
    end
    table.sort(fs.counters().refused)
    print(table.concat(fs.counters().refused, " "))
  ]]
  local NUMBERS = ({
    x64 = { openat2 = 437, statx = 332, preadv2 = 327, faccessat2 = 439 },
    arm64 = { openat2 = 437, statx = 291, preadv2 = 286, faccessat2 = 439 },
  })[process.arch]

  for _, name in ipairs{ "openat2", "preadv2", "faccessat2" } do
    for code, errno in pairs{ EPERM = 1, ENOSYS = 38 } do
      it(("takes a refused %s for an answer, once: %s"):format(name, code), function()
        if not NUMBERS then return pending("the system calls' numbers here are not known") end
        if not files.areTried(dir) then return pending("the mount of the folder is in no table here") end
        fs.writeFileSync(at("file"), "text")
        fs.mkdirSync(at("folder"))
        fs.writeFileSync(at("folder/name"), "")
        local status, out, err = files.run(CONFINED, tostring(errno), tostring(NUMBERS[name]), at("file"), at("folder"))
        assert.equal("", err)
        assert.equal(0, status)
        if out == "unable\n" then return pending("no seccomp here") end
        -- On tmpfs nothing is read with preadv2.
        if not (name == "preadv2" and out == "\n") then assert.equal(name .. "\n", out) end
      end)
    end
  end

  it("does without all of them together", function()
    if not NUMBERS then return pending("the system calls' numbers here are not known") end
    fs.writeFileSync(at("file"), "text")
    fs.mkdirSync(at("folder"))
    fs.writeFileSync(at("folder/name"), "")
    local list = ("%d %d %d"):format(NUMBERS.openat2, NUMBERS.preadv2, NUMBERS.faccessat2)
    local status, out, err = files.run(CONFINED, "1", list, at("file"), at("folder"))
    assert.same({ "", 0 }, { err, status })
    if out == "unable\n" then return pending("no seccomp here") end
    assert.truthy(out:find("openat2"))
  end)
end)
