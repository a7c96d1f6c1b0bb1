local await = require("await")
local child_process = require("child_process")
local children = require("spec.support.children")
local faults = require("spec.support.faults")
local ffi = require("ffi")
local lrun = require("spec.support.lrun")
local processes = require("spec.support.processes")
local once, text = children.once, children.text
local spawn, spawnSync = child_process.spawn, child_process.spawnSync

ffi.cdef[[
  typedef int lrun_spec_pid;
  lrun_spec_pid fork(void);
  lrun_spec_pid waitpid(lrun_spec_pid pid, int *status, int options);
  void _exit(int status);
  void (*signal(int number, void (*handler)(int)))(int);
]]
local SIG_IGN = ffi.cast("void (*)(int)", 1)
local SIG_DFL = ffi.cast("void (*)(int)", 0)

local isRoot = process.getuid() == 0

-- What `sh -c script` says, started with these options.
local function says(options, script)
  options.stdio = { "ignore", "pipe", "inherit" }
  return (text(spawn("sh", { "-c", script }, options).stdout):gsub("\n$", ""))
end

local function folder()
  local path = os.tmpname()
  os.remove(path)
  assert(require("luv").fs_mkdir(path, 493))
  return path
end

local function writeProgram(path, source)
  local file = assert(io.open(path, "w"))
  file:write(source)
  file:close()
  assert(require("luv").fs_chmod(path, 493))
end

describe("a child that is launched", function()
  teardown(faults.clean)

  it("is one of a thousand, each reported once, while signals come and others die", function()
    local hits, others, left, running = 0, {}, 1000, 0
    local function hit() hits = hits + 1 end
    process:on("SIGUSR2", hit)
    for i = 1, 20 do
      others[i] = ffi.C.fork()
      if others[i] == 0 then ffi.C._exit(40 + i) end
    end
    local seen, wrong = {}, {}
    await(function(done)
      local function next()
        while left > 0 and running < 20 do
          local i = left
          left, running = left - 1, running + 1
          if i % 5 == 0 then process.kill(process.pid, "SIGUSR2") end
          local child = i % 3 == 0 and spawn("sh", { "-c", "kill -9 $$" }, { stdio = "ignore" })
            or spawn("sh", { "-c", "exit " .. i % 100 }, { stdio = "ignore" })
          child:on("exit", function(code, signal)
            local wanted = i % 3 == 0 and "SIGKILL" or i % 100
            if seen[i] or (signal or code) ~= wanted then wrong[#wrong + 1] = { i, code, signal } end
            seen[i] = true
            running = running - 1
            if left == 0 and running == 0 then done() else next() end
          end)
        end
      end
      next()
    end)
    process:removeListener("SIGUSR2", hit)
    assert.same({}, wrong)
    assert.equal(1000, #seen)
    assert.is_true(hits > 0)
    local status = ffi.new("int[1]")
    for i, pid in ipairs(others) do              -- those are not ours to wait for: their status is still there
      assert.equal(pid, ffi.C.waitpid(pid, status, 0))
      assert.equal(40 + i, bit.rshift(status[0], 8))
    end
  end)

  it("has no signal blocked or ignored, whatever its parent does", function()
    ffi.C.signal(10, SIG_IGN)
    local status = says({}, "grep -E '^Sig(Blk|Ign)' /proc/self/status")
    ffi.C.signal(10, SIG_DFL)
    assert.equal(2, select(2, status:gsub("\t0000000000000000", "")))
  end)

  it("is looked up in the PATH that it is given", function()
    local path = folder()
    writeProgram(path .. "/first", "#!/bin/sh\necho found\n")
    writeProgram(path .. "/plain", "echo script \"$@\"\n")
    local env = { PATH = "/no/such/folder:" .. path .. ":/bin:/usr/bin" }
    assert.equal("found\n", text(spawn("first", { env = env }).stdout))
    assert.equal("script a b\n", text(spawn("plain", { "a", "b" }, { env = env }).stdout))
    assert.equal("found\n", text(spawn("first", { env = { PATH = "" }, cwd = path }).stdout))
    assert.equal("ENOENT", once(spawn("first", { env = { PATH = "/bin" } }), "error").code)
    assert.equal("0\n", spawnSync("id", { "-u" }, { env = {}, stdio = { "ignore", "pipe" } }).stdout:gsub("%d+", "0"))
    require("luv").fs_chmod(path .. "/first", 420)
    assert.equal("EACCES", once(spawn("first", { env = { PATH = path .. ":/bin" } }), "error").code)
    os.remove(path .. "/first")
    os.remove(path .. "/plain")
    os.remove(path)
  end)

  it("gets descriptors that are slots of one another", function()
    local a, b = assert(io.tmpfile()), assert(io.tmpfile())
    local slots = {}
    for i = 1, 40 do slots[i] = i <= 3 and "ignore" or i % 2 == 0 and a or b end
    local result = spawnSync("sh", { "-c", "for i in 3 5 7 9; do echo a$i >&$i; done; for i in 4 6 8; do echo b$i >&$i; done" },
      { stdio = slots })
    assert.equal(0, result.status)
    a:seek("set")
    b:seek("set")
    assert.equal("a3\na5\na7\na9\n", a:read("*a"))
    assert.equal("b4\nb6\nb8\n", b:read("*a"))
    a:close()
    b:close()
    assert.equal("out\n", (spawnSync("sh", { "-c", "echo out >&2" }, { stdio = { "ignore", "ignore", "pipe" } }).stderr))
  end)

  it("is heard of although SIGCHLD was ignored when this program was started", function()
    local output = text(spawn("sh", { "-c", "trap '' CHLD; exec \"$0\" -e \"$1\"", process.execPath, [[
      local cp = require("child_process")
      io.write(cp.spawnSync("sh", { "-c", "exit 3" }).status, " ")
      cp.spawn("sh", { "-c", "exit 4" }):on("exit", function(code) io.write(code) end)]] },
      { stdio = { "ignore", "pipe", "inherit" } }).stdout)
    assert.equal("3 4", output)
  end)

  it("exits although somebody else took its status", function()
    local child = spawn("true", { stdio = "ignore" })
    assert.equal(child.pid, ffi.C.waitpid(child.pid, nil, 0))
    local code, signal = once(child, "exit")
    assert.same({ 255, nil }, { code, signal })
  end)

  it("is watched by SIGCHLD where the kernel has no pidfd, and told no descriptor where it has no close_range", function()
    local env = faults.environment{ "434 ENOSYS 1 1000000", "436 ENOSYS 1 1000000" }
    if not env then return pending("there is no C compiler") end
    local child = spawn(process.execPath, { "-e", [[
      local cp, left, codes = require("child_process"), 20, {}
      local file = io.open("/dev/null")
      for i = 1, 20 do
        cp.spawn("sh", { "-c", "exit " .. i }, { stdio = "ignore" }):on("exit", function(code)
          codes[i], left = code, left - 1
          if left > 0 then return end
          local sync = cp.spawnSync("sh", { "-c", "ls /proc/self/fd | tr '\\n' ' '; kill -9 $$" })
          print(table.concat(codes, " "), sync.signal, sync.stdout)
        end)
      end]] }, { env = env, stdio = { "ignore", "pipe", "inherit" } })
    assert.equal("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20\tSIGKILL\t0 1 2 3 \n", text(child.stdout))
  end)

  it("that is refused leaves no descriptor and no zombie", function()
    local before = processes.descriptors()
    for _ = 1, 10 do
      once(spawn("true", { limits = { nofile = { 20, 10 } } }), "error")
      assert.equal("EINVAL", spawnSync("true", { limits = { nofile = { 20, 10 } } }).error.code)
      assert.has_error(function() spawn("true", { stdio = { 9999 } }) end)
    end
    children.eventually(function() return processes.descriptors() <= before end)
    assert.equal(-1, ffi.C.waitpid(-1, nil, 1))
  end)
end)

describe("a child's attributes", function()
  it("are set", function()
    assert.equal("0027", says({ umask = "027" }, "umask"):sub(-4))
    assert.equal("0077", says({ umask = 63 }, "umask"):sub(-4))
    assert.equal("7", says({ nice = 7 }, "nice"))
    assert.equal("64 128 0", says({ limits = { nofile = { 64, 128 }, core = 0 } }, "echo $(ulimit -Sn) $(ulimit -Hn) $(ulimit -c)"))
    assert.equal("4194304", says({ limits = { as = "4G" } }, "ulimit -v"))
    assert.equal(says({}, "ulimit -Hn"), says({ limits = { nofile = { soft = 50 } } }, "ulimit -Hn"))
    local result = spawnSync("sh", { "-c", "umask; ulimit -n" }, { umask = 0, limits = { nofile = 99 } })
    assert.truthy(result.stdout:find("^0000?\n99\n$"))
    assert.equal("5\n", child_process.execFileSync("nice", {}, { nice = 5 }))
    local err, out = await(child_process.execFile, "nice", {}, { nice = 5 })
    assert.same({ nil, "5\n" }, { err, out })
  end)

  it("that the system refuses are an error event with the system call, and nothing runs", function()
    local cases = {
      { { limits = { nofile = { 20, 10 } } }, "EINVAL", "setrlimit", "limits.nofile" },
      { { groups = { "no such group" } }, "ENOENT", "getgrnam", "groups" },
      { { groups = { 4294967295 } }, isRoot and "EINVAL" or "EPERM", "setgroups", "groups" },
    }
    if not isRoot then cases[#cases + 1] = { { nice = -5 }, "EACCES", "setpriority", "nice = -5" } end
    local file = os.tmpname()
    for _, case in ipairs(cases) do
      local options, code, syscall, named = unpack(case)
      os.remove(file)
      local child = spawn("touch", { file }, options)
      assert.is_nil(child.pid)
      local err = once(child, "error")
      assert.same({ code, syscall }, { err.code, err.syscall })
      assert.truthy(err.message:find(named, 1, true), err.message)
      assert.same({ "touch", { file } }, { err.path, err.spawnargs })
      local result = spawnSync("touch", { file }, options)
      assert.same({ code, syscall, 0 }, { result.error.code, result.error.syscall, result.pid })
      local ok, thrown = pcall(child_process.execFileSync, "touch", { file }, options)
      assert.same({ false, code }, { ok, thrown.code })
      assert.is_nil(io.open(file))
    end
  end)

  it("that cannot be meant throw at the call", function()
    local cases = {
      { { groups = "daemon" }, "ERR_INVALID_ARG_TYPE" }, { { groups = { true } }, "ERR_INVALID_ARG_TYPE" },
      { { groups = { -1 } }, "ERR_OUT_OF_RANGE" }, { { groups = { gid = 5 } }, "ERR_INVALID_ARG_VALUE" },
      { { umask = 512 }, "ERR_OUT_OF_RANGE" }, { { umask = "9" }, "ERR_INVALID_ARG_VALUE" },
      { { nice = 20 }, "ERR_OUT_OF_RANGE" }, { { nice = "5" }, "ERR_INVALID_ARG_TYPE" },
      { { limits = 5 }, "ERR_INVALID_ARG_TYPE" }, { { limits = { files = 5 } }, "ERR_INVALID_ARG_VALUE" },
      { { limits = { nofile = -1 } }, "ERR_OUT_OF_RANGE" }, { { limits = { as = "1X" } }, "ERR_INVALID_ARG_VALUE" },
      { { limits = { as = true } }, "ERR_INVALID_ARG_TYPE" }, { { limits = { as = {} } }, "ERR_INVALID_ARG_VALUE" },
      { { deathSignal = "SIGNOTHING" }, "ERR_UNKNOWN_SIGNAL" },
    }
    for _, case in ipairs(cases) do
      for _, start in ipairs{ spawn, spawnSync } do
        local ok, err = pcall(start, "true", {}, case[1])
        assert.same({ false, case[2] }, { ok, ok or err.code })
      end
    end
    local _, err = pcall(spawn, "true", {}, { limits = { nofiles = 5 } })
    assert.truthy(err.message:find("options.limits.nofiles", 1, true) and err.message:find("nofile, nproc", 1, true))
  end)

  it("are never root's groups when the user is another", function()
    if not isRoot then return pending("only root can become another user") end
    assert.equal("65534", says({ uid = 65534, gid = 65534 }, "id -G"))
    assert.is_nil((" " .. says({ uid = 65534 }, "id -G") .. " "):find(" 0 ", 1, true))
    assert.equal("65534 1 2", says({ uid = 65534, gid = 65534, groups = { 1, 2 } }, "id -G"))
    assert.equal("65534", says({ uid = 65534, gid = 65534, groups = {} }, "id -G"))
  end)

  it("include a signal for when this process ends, however early that is", function()
    local grandchild = tonumber((lrun.eval([[
      local child = require("child_process").spawn("sleep", { "100" }, { stdio = "ignore", deathSignal = "SIGTERM" })
      print(child.pid)
      process.kill(process.pid, "SIGKILL")]])))
    children.eventually(function() return not processes.alive(grandchild) end)
  end)
end)
