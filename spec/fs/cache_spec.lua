--- What is in memory is answered without the pool: which way was taken, that the answers are the same, and that the loop
--- turns meanwhile. `fs.counters()` tells the way.
local await = require("await")
local core = require("lrun.core.files")
local ffi = require("ffi")
local fs = require("fs")
local timers = require("timers")
local files = require("spec.support.files")

ffi.cdef[[ int posix_fadvise(int fd, long offset, long length, int advice); ]]
local POSIX_FADV_DONTNEED = 4

local dir, at

-- What `f` adds to the counters of the system call.
local function ways(syscall, f)
  local before = fs.counters().calls[syscall] or { cache = 0, pool = 0 }
  f()
  local after = fs.counters().calls[syscall] or { cache = 0, pool = 0 }
  return { cache = after.cache - before.cache, pool = after.pool - before.pool }
end

local function succeed(err, ...)
  assert.is_nil(err)
  return ...
end

-- Puts the file out of the kernel's cache, where its file system lets it go.
local function forget(path)
  local fd = fs.openSync(path, "r+")
  fs.fsyncSync(fd)
  ffi.C.posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED)
  fs.closeSync(fd)
end

-- Whether a file that is to be forgotten is. Asking has the kernel read it.
local function forgets(path)
  forget(path)
  local fd = fs.openSync(path)
  local cold = require("lrun.fs.ways").try("read", fd, 100, 0) == false
  fs.closeSync(fd)
  return cold
end

local function wait(ms) await(function(done) timers.setTimeout(done, ms) end) end

-- Whether this kernel and this file system answer at all.
local function attempts()
  fs.writeFileSync(at("probe"), "x")
  return require("lrun.fs.ways").try("stat", at("probe")) ~= false and core.tryReadFile(at("probe")) == "x"
end

describe("fs without a thread", function()
  before_each(function() dir, at = files.directory() end)
  after_each(function() fs.rmSync(dir, { recursive = true, force = true }) end)

  it("is what this machine can do", function()
    if not attempts() then pending("no cached answers here: " .. table.concat(core.refused(), ", ")) end
  end)

  it("answers each function from the cache", function()
    if not attempts() then return end
    fs.writeFileSync(at("file"), "some text")
    fs.symlinkSync("file", at("link"))
    local fd = fs.openSync(at("file"))
    -- When a link is followed first, its time of access is written down: that is not for an attempt.
    wait(30)
    fs.statSync(at("link"))
    local CACHE = { cache = 1, pool = 0 }
    local function check(syscall, want, name, ...)
      local arguments, count, got = { ... }, select("#", ...), nil
      assert.same(CACHE, ways(syscall, function() got = succeed(await(fs[name], unpack(arguments, 1, count))) end), name)
      if want ~= nil then assert.same(want, got, name) end
      return got
    end
    assert.equal(9, check("stat", nil, "stat", at("link")).size)
    assert.is_true(check("lstat", nil, "lstat", at("link")):isSymbolicLink())
    assert.equal(9, check("fstat", nil, "fstat", fd).size)
    check("access", nil, "access", at("file"))
    check("access", nil, "access", at("file"), fs.constants.R_OK)
    check("readlink", "file", "readlink", at("link"))
    check("realpath", at("file"), "realpath", at("link"))
    check("readFile", "some text", "readFile", at("link"))
    check("read", "some", "read", fd, 4)
    check("read", "text", "read", fd, 100, 5)
    check("read", "", "read", fd, 100, 9)
    local opened = check("open", nil, "open", at("file"))
    check("close", nil, "close", opened)
    assert.is_false(pcall(fs.fstatSync, opened))
    assert.same(CACHE, ways("access", function() assert.is_true((await(fs.exists, at("file")))) end))
    -- A name that is not there is final, too, once the directory's answer is in memory.
    await(fs.stat, at("none"))
    assert.same(CACHE, ways("stat", function()
      local err = await(fs.stat, at("none"))
      assert.equal(("ENOENT: no such file or directory, stat '%s'"):format(at("none")), err.message)
    end))
    fs.closeSync(fd)
  end)

  it("leaves the pool what may wait or changes something", function()
    fs.writeFileSync(at("file"), "text")
    local fd = fs.openSync(at("file"), "r+")
    local function pool(syscall, ...)
      local arguments, count = { ... }, select("#", ...)
      assert.same({ cache = 0, pool = 1 }, ways(syscall, function() succeed(await(unpack(arguments, 1, count))) end), syscall)
    end
    pool("write", fs.write, fd, "more")
    pool("open", fs.open, at("new"), "w")
    pool("unlink", fs.unlink, at("file"))
    pool("close", fs.close, fd)                                     -- it was written to
    local last = fs.openSync(at("new"))
    fs.unlinkSync(at("new"))
    pool("close", fs.close, last)                                   -- its end takes the file along
  end)

  it("reads large files in parts, turn by turn", function()
    if not attempts() then return end
    local data = {}
    for i = 1, 12 do data[i] = string.char(i):rep(1024 * 1024 + i) end
    data = table.concat(data)
    fs.writeFileSync(at("big"), data)
    for name, read in pairs{
      readFile = function(done) fs.readFile(at("big"), done) end,
      read = function(done)
        local fd = fs.openSync(at("big"))
        fs.read(fd, #data + 5, function(err, text)
          fs.closeSync(fd)
          done(err, text)
        end)
      end,
    } do
      local turns, over = 0, false
      local function count()
        turns = turns + 1
        if not over then timers.setImmediate(count) end
      end
      timers.setImmediate(count)
      local text = succeed(await(read))
      over = true
      assert.is_true(text == data, name)
      assert.is_true(turns >= 10, ("%s took %d turns"):format(name, turns))
    end
  end)

  it("waits for a disk on the pool alone, while the loop turns", function()
    if not attempts() then return end
    local data = ("0123456789abcdef"):rep(200000)
    fs.writeFileSync(at("cold"), data)
    if not forgets(at("cold")) then return pending("this file system keeps what it is told to forget") end
    local last, worst, ticks = process.hrtime(), 0, 0
    local timer = timers.setInterval(function()
      local now = process.hrtime()
      worst, last, ticks = math.max(worst, now - last), now, ticks + 1
    end, 1)
    forget(at("cold"))
    assert.is_true(data == succeed(await(fs.readFile, at("cold"))))
    local fd = fs.openSync(at("cold"))
    -- What is in use just now is not forgotten.
    files.eventually("a read by the pool", function()
      forget(at("cold"))
      return ways("read", function()
        assert.is_true(data:sub(1001, 3000) == succeed(await(fs.read, fd, 2000, 1000)))
      end).pool == 1
    end)
    -- Cached in part: what there is, and the rest from the pool.
    forget(at("cold"))
    fs.readSync(fd, 4096, 0)
    assert.is_true(data == succeed(await(fs.read, fd, #data, 0)))
    fs.closeSync(fd)
    while ticks < 3 do wait(1) end
    timers.clearInterval(timer)
    assert.is_true(worst < 2e9, ("the loop stood still for %.0f ms"):format(worst / 1e6))
  end)

  it("tells what is in a directory now", function()
    if not attempts() then return end
    for i = 1, 20 do fs.writeFileSync(at("name" .. i), "") end
    local function names() return succeed(await(fs.readdir, dir)) end
    local want = fs.readdirSync(dir)
    -- What was changed just now is not kept; a while later it is.
    local kept
    for _ = 1, 200 do
      kept = ways("scandir", function() assert.same(want, names()) end).cache == 1
      if kept then break end
      wait(20)
    end
    assert.is_true(kept)
    names()[1] = "spoiled"                     -- the list is the program's
    assert.same(want, names())
    local changes = {
      function() fs.writeFileSync(at("another"), "") end, function() fs.unlinkSync(at("name1")) end,
      function() fs.renameSync(at("name2"), at("name0")) end, function() fs.mkdirSync(at("inner")) end,
    }
    for _ = 1, 3 do
      for _, change in ipairs(changes) do
        pcall(change)
        assert.same(fs.readdirSync(dir), names())
      end
      wait(60)
      names()
      pcall(fs.unlinkSync, at("another"))
      pcall(fs.rmdirSync, at("inner"))
      assert.same(fs.readdirSync(dir), names())
      wait(60)
    end
    local entries = succeed(await(fs.readdir, dir, { withFileTypes = true }))
    assert.same({ true, fs.readdirSync(dir)[1] }, { entries[1]:isFile(), entries[1].name })
    assert.equal("ENOTDIR", (await(fs.readdir, at("name3"))).code)
  end)

  it("does not tell what may not be read any more", function()
    if process.getuid() ~= 0 then return pending("only root can become another user") end
    fs.chmodSync(dir, "755")
    fs.mkdirSync(at("closed"))
    fs.writeFileSync(at("closed/secret"), "text")
    fs.chmodSync(at("closed"), "700")
    wait(100)
    local code, out = files.run([[
      local fs, await = require("fs"), require("await")
      local dir = process.argv[1]
      for _ = 1, 5 do assert(select(2, await(fs.readdir, dir))[1] == "secret") end
      assert(select(2, await(fs.readFile, dir .. "/secret")) == "text")
      local open = fs.openSync(dir .. "/secret")
      process.setgroups({}) process.setgid(65534) process.setuid(65534)
      local function codeOf(err) return err and err.code or "none" end
      print(codeOf(await(fs.readdir, dir)), codeOf(await(fs.stat, dir .. "/secret")), codeOf(await(fs.readFile, dir .. "/secret")),
        codeOf(await(fs.access, dir, fs.constants.R_OK)), codeOf(await(fs.access, dir)), select(2, await(fs.read, open, 4)))
    ]], at("closed"))
    assert.same({ 0, "EACCES\tEACCES\tEACCES\tEACCES\tnone\ttext\n" }, { code, out })
  end)

  it("leaves no descriptor behind 500 readers of one file, of which half go midway", function()
    local data = ("line of text\n"):rep(30000)
    fs.writeFileSync(at("file"), data)
    succeed(await(fs.readFile, at("file")))
    local before, open, whole = #fs.readdirSync("/proc/self/fd"), 500, 0
    await(function(done)
      for i = 1, 500 do
        local stream, parts = fs.createReadStream(at("file")), {}
        stream:on("data", function(piece)
          parts[#parts + 1] = piece
          if i % 2 == 0 and #parts == 2 then stream:destroy() end
        end)
        stream:on("end", function() if table.concat(parts) == data then whole = whole + 1 end end)
        stream:on("close", function()
          open = open - 1
          if open == 0 then done() end
        end)
      end
    end)
    assert.equal(250, whole)
    assert.equal(before, #fs.readdirSync("/proc/self/fd"))
  end)

  it("counts", function()
    local counters = fs.counters()
    local cache, pool = 0, 0
    for _, each in pairs(counters.calls) do cache, pool = cache + each.cache, pool + each.pool end
    assert.same({ cache, pool }, { counters.cache, counters.pool })
    assert.same({}, counters.refused)
  end)
end)
