local await = require("await")
local child_process = require("child_process")
local fs = require("fs")
local lrun = require("spec.support.lrun")

local TIMEOUT = 20000

-- Runs a script with its output on a pipe; `onStart(child)` may do what it likes. Returns what it wrote, the code, the signal.
local function run(script, onStart, stderr)
  local child = child_process.spawn(process.execPath, { "-e", script },
    { stdio = { "pipe", "pipe", stderr or "inherit" }, timeout = TIMEOUT, killSignal = "SIGKILL" })
  local out = {}
  if child.stderr then child.stderr:on("data", function(data) out.stderr = (out.stderr or "") .. data end) end
  if onStart then onStart(child, out) else child.stdin:finish() end
  if child.stdout:listenerCount("data") == 0 then child.stdout:on("data", function(data) out[#out + 1] = data end) end
  local code, signal = await(function(done) child:once("close", done) end)
  return table.concat(out), code, signal, out.stderr
end

local function numbers(from, to)
  local list = {}
  for i = from, to do list[#list + 1] = i .. "\n" end
  return table.concat(list)
end

describe("standard output", function()
  it("keeps one order, whoever writes: Lua, the stream, C, stderr, children", function()
    local out = (lrun.run{ "-e", [[
      local ffi = require("ffi")
      ffi.cdef("int printf(const char *, ...); int fork(void); int waitpid(int, int *, int);")
      local n = 0
      local function next() n = n + 1 return n end
      for _ = 1, 30 do
        print(next())
        io.write(next(), "\n")
        io.stdout:write(next(), "\n")
        process.stdout:write(next() .. "\n")
        ffi.C.printf("%d\n", ffi.cast("int", next()))
        os.execute("echo " .. next())
        print(next())
        io.popen("cat 1>&2", "w"):close()
        print(next())
        require("child_process").spawnSync("echo", { next() }, { stdio = "inherit" })
        print(next())
        if ffi.C.fork() == 0 then
          print(next())
          os.exit(0)
        end
        ffi.C.waitpid(-1, nil, 0)
        next()
      end
      local child = require("child_process").spawn("sh", { "-c", "echo " .. next() }, { stdio = "inherit" })
      child:on("exit", function() print(next()) end)]] })
    assert.equal(numbers(1, 332), out)
  end)

  it("keeps its order with standard error on the same descriptor", function()
    local pipe = io.popen(("'%s' -e '%s' 2>&1"):format(process.execPath, [[
      for i = 1, 200, 4 do
        print(i)
        io.stderr:write(i + 1, "\n")
        io.write(i + 2, "\n")
        process.stderr:write(i + 3 .. "\n")
      end
      print(201)
      error("lrun: 202", 0)]]))
    local text = pipe:read("*a")
    pipe:close()
    assert.equal(numbers(1, 201) .. "(command line):8: lrun: 202\n", (text:gsub("^(.-202\n).*$", "%1")))
  end)

  it("is seen while the program goes on computing", function()
    local seen = {}
    local _, code = run([[
      for i = 1, 100 do print(i) end
      io.write("not a line")
      while true do end]], function(child)
      local text = ""
      child.stdout:on("data", function(data)
        text = text .. data
        if text:find("not a line") then
          seen = text
          child:kill("SIGKILL")
        end
      end)
    end)
    assert.equal(numbers(1, 100) .. "not a line", seen)
    assert.is_nil(code)
  end)

  it("is seen while the program waits for its input", function()
    local out = run([[
      for i = 1, 100 do print(i) end
      io.write("name? ")
      print(io.read())]], function(child, out)
      child.stdout:on("data", function(data)
        out[#out + 1] = data
        if table.concat(out):find("name%? $") then child.stdin:finish("Lua\n") end
      end)
    end)
    assert.equal(numbers(1, 100) .. "name? Lua\n", out)
  end)

  it("loses nothing to a signal, an abort, os.exit, an error", function()
    local ends = {
      { "process.kill(process.pid) while true do end", nil, "SIGTERM" },
      { "ffi.C.raise(15)", nil, "SIGTERM" }, { "ffi.C.raise(1)", nil, "SIGHUP" }, { "ffi.C.raise(2)", nil, "SIGINT" },
      { "ffi.C.raise(12)", nil, "SIGUSR2" }, { "process.abort()", nil, "SIGABRT" }, { "ffi.C.abort()", nil, "SIGABRT" },
      { "os.exit(3)", 3 }, { "process.exit(4)", 4 }, { "ffi.C.exit(5)", 5 }, { "error('x')", 1 },
    }
    for _, each in ipairs(ends) do
      local out, code, signal = run([[
        local ffi = require("ffi")
        ffi.cdef("int raise(int); void abort(void); void exit(int);")
        for i = 1, 1000 do print(i) end ]] .. each[1], nil, "ignore")
      assert.equal(numbers(1, 1000), out, each[1])
      assert.same({ each[2], each[3] }, { code, signal }, each[1])
    end
  end)

  it("loses nothing to a signal while it waits for a slow reader, nor waits for ever for one that sleeps", function()
    local function stopped(reads)
      return run([[
        for i = 1, 1e9 do
          print(i)
          if i == 20000 then io.stderr:write("the pipe is full") end
        end]], function(child, out)
        child.stdout:on("data", function(data) out[#out + 1] = data end)
        child.stdout:pause()
        child.stderr:once("data", function()
          child:kill("SIGTERM")
          if reads then child.stdout:resume() else child:once("exit", function() child.stdout:resume() end) end
        end)
      end, "pipe")
    end
    local out, _, signal = stopped(true)
    assert.equal("SIGTERM", signal)
    local count = select(2, out:gsub("\n", ""))
    assert.is_true(count >= 20000)
    assert.equal(numbers(1, count), out)
    assert.equal("SIGTERM", (select(3, stopped(false))))
  end)

  it("is complete on descriptors that somebody made non-blocking, and so is standard error", function()
    local uv = require("luv")
    for fd, script in pairs{
      [1] = "for i = 1, 20000 do print(('x'):rep(99)) end", [2] = "for i = 1, 20 do io.stderr:write(('x'):rep(1e5)) end",
    } do
      local pair = assert(uv.socketpair("stream", nil, { nonblock = true }, { nonblock = true }))
      local reader, size = uv.new_pipe(false), 0
      reader:open(pair[1])
      local child = child_process.spawn(process.execPath, { "-e", script },
        { stdio = { "ignore", fd == 1 and pair[2] or "ignore", fd == 2 and pair[2] or "inherit" } })
      uv.fs_close(pair[2])
      child:once("exit", function() end)
      await(function(done)
        reader:read_start(function(_, chunk)
          if chunk then size = size + #chunk else reader:close(done) end
        end)
      end)
      assert.equal(2000000, size)
    end
  end)

  it("may be asked to gather otherwise", function()
    local out = run([[
      io.stdout:setvbuf("no")
      for i = 1, 50 do io.write(i, "\n") end
      io.stdout:setvbuf("line")
      for i = 51, 100 do print(i) end
      assert(io.stdout:setvbuf("full", 1000) and io.stdout:flush() and io.flush())
      for i = 101, 150 do io.stdout:write(i, "\n") end
      assert(not pcall(io.stdout.setvbuf, io.stdout, "never"))
      process.kill(process.pid, "SIGKILL")]])
    assert.equal(numbers(1, 150), out)
  end)

  it("prints what Lua's own print prints", function()
    local out = (lrun.run{ "-e", [[
      print()
      print(nil, true, 1, -1, 0, -0, 1.5, 1e15, 2^31, -2^31, -2^31 - 1, 1e300, "a\0b")
      print(setmetatable({}, { __tostring = function() return "mine" end }))
      print(("x"):rep(10000), ("y"):rep(70000), 7)
      tostring = function(v) return "<" .. v .. ">" end
      print(1, "a")
      tostring = function() return {} end
      print(pcall(print, 1))
      tostring = nil
      print(pcall(print, 1))]] })
    assert.equal("\nnil\ttrue\t1\t-1\t0\t-0\t1.5\t1e+15\t2147483648\t-2147483648\t-2147483649\t1e+300\ta\0b\nmine\n"
      .. ("x"):rep(10000) .. "\t" .. ("y"):rep(70000) .. "\t7\n<1>\t<a>\n", out)
  end)

  it("tells of a full disk once, and goes on", function()
    if not fs.existsSync("/dev/full") then return pending("no /dev/full") end
    local full = assert(io.open("/dev/full", "wb"))
    local child = child_process.spawn(process.execPath, { "-e", [[
      process:on("warning", function(warning) io.stderr:write(warning.name, " ", warning.code, "\n") end)
      for i = 1, 3 do print(i) io.write(i) process.stdout:write("x") end
      process.stdout:write("y", function(err) io.stderr:write("callback ", err.code, "\n") end)
      require("timers").setTimeout(function()
        print("again")
        process.stdout:on("error", function(err) io.stderr:write("stream ", err.code, "\n") process.exit(0) end)
        print("and again")
      end, 10)]] }, { stdio = { "ignore", full, "pipe" } })
    local text = ""
    child.stderr:on("data", function(data) text = text .. data end)
    assert.equal(0, (await(function(done) child:once("close", done) end)))
    full:close()
    assert.equal("callback ENOSPC\nOutputWarning ENOSPC\nstream ENOSPC\n", text)
  end)

  it("ends the program when its reader is gone, unless somebody listens", function()
    local function piped(script)
      local stderr = os.tmpname()
      os.execute(("{ '%s' -e '%s' 2>'%s'; echo $? >>'%s'; } | true"):format(process.execPath, script, stderr, stderr))
      local file = io.open(stderr)
      local text = file:read("*a")
      file:close()
      os.remove(stderr)
      return text
    end
    assert.matches("write EPIPE.*\n1\n$", piped("while true do print(1) end"))
    assert.matches("write EPIPE.*\n1\n$", piped("while true do io.write(1) end"))
    assert.matches("write EPIPE.*\n1\n$", piped(
      "require(\"timers\").setInterval(function() process.stdout:write(\"x\") end, 1)"))
    assert.equal("EPIPE\n0\n", piped([[
      process.stdout:on("error", function(err) io.stderr:write(err.code, "\n") end)
      local n = 0
      local timer
      timer = require("timers").setInterval(function()
        pcall(print, n)
        n = n + 1
        if n == 100 then require("timers").clearInterval(timer) end
      end, 1)]]))
  end)

  it("has fileno and seek, for those who ask C", function()
    local path = os.tmpname()
    os.execute(("'%s' -e '%s' >%s"):format(process.execPath, [[
      local ffi = require("ffi")
      ffi.cdef("typedef struct FILE FILE; int fileno(FILE *);")
      for i = 1, 100 do io.write("0123456789") end
      io.stdout:write(" ", io.stdout:seek("cur"), " ", ffi.C.fileno(io.stdout), ffi.C.fileno(io.stderr))]], path))
    local file = io.open(path)
    assert.equal(" 1000 12", file:read("*a"):sub(1001))
    file:close()
    os.remove(path)
  end)
end)
