local probe = require("spec.support.probe")
local await = require("await")

-- A process that is in the state that its text leads to. It prints "ready" before; what follows takes a moment.
local function stackOf(pid, pattern)
  for _ = 1, 100 do
    local out = probe.good({ "stack", pid })
    if out:find(pattern) then return out end
    await.sleep(20)
  end
  error("lrun stack never told of " .. pattern .. ":\n" .. probe.good({ "stack", pid }), 2)
end

describe("lrun stack", function()
  before_each(probe.begin)
  after_each(probe.finish)

  it("tells what the coroutines of a process await, each place once", function()
    local _, pid = probe.start([[
local await = require("await")
local fs = require("fs")
local function innermost() await.sleep(1e6) end
local function outer() innermost() return 1 end
for _ = 1, 3 do await.spawn(outer) end
await.spawn(function() await(function(callback) waiting = callback end) end)
local generator = coroutine.create(function() coroutine.yield(1) end)
coroutine.resume(generator)
kept = generator
require("timers").setInterval(function() end, 1000)
print("ready")
]])
    local out = stackOf(pid, "3 coroutines")
    assert.matches("answers from its loop", out)
    assert.matches("3 coroutines, waiting for await.sleep\n\t[^\n]*app.lua:3: in function 'innermost'\n\t[^\n]*app.lua:4: in function ", out)
    assert.matches("a coroutine, waiting for the callback of [^\n]*app.lua:6\n\t[^\n]*app.lua:6", out)
    assert.matches("a coroutine, waiting for coroutine.yield\n\t[^\n]*app.lua:7", out)
    local json = require("json").decode((probe.good({ "stack", pid, "--json" })))
    assert.is_true(json.returns)
    assert.equal(3, #json.waiting.coroutines)
  end)

  it("tells of a compiled loop without an end the trace, its place, and the callers", function()
    local _, pid = probe.start([[
local function hot(n)
  local x = 0
  while true do
    x = x + n % 7
  end
end
local function caller(...) local a = hot(...) return a end
print("ready")
io.stdout:flush()
pcall(caller, 3)
]])
    local out = stackOf(pid, "machine code")
    assert.matches("runs machine code that LuaJIT has compiled %(trace %d+, which begins at [^\n]*app.lua:3%), and does not return", out)
    assert.matches("\t[^\n]*app.lua:3: in function 'hot' ", out)
    assert.matches("\t[^\n]*app.lua:7: in function 'caller'\n\t[^\n]*app.lua:10: in main chunk\n", out)
    assert.matches("told by: the trace", out)
  end)

  it("tells of a compiled loop in a callback, also of one in a side trace of its own", function()
    local _, pid = probe.start([[
local function leaf(i) if i % 3 == 0 then return i end return -i end
local function spin()
  local a = 0
  for i = 1, 1e15 do
    a = a + leaf(i) + math.sin(i)
    if i % 7 == 0 then a = a - 1 end
  end
end
require("timers").setTimeout(function() spin() print(1) end, 1)
print("ready")
]])
    local out = stackOf(pid, "machine code")
    assert.matches("app.lua:%d: in function 'spin'", out)
    assert.matches("app.lua:9: in function", out)
  end)

  it("tells of an interpreted loop by an interrupt, and leaves a hook of the program's in place", function()
    local app, pid = probe.start([[
jit.off()
local count = 0
debug.sethook(function() count = count + 1 end, "", 1000)
print("ready")
local n = 0
local function slow() n = n + 1 end
local stop = os.time() + 3
while os.time() < stop do slow() end
local before = count
for _ = 1, 10000 do slow() end
print("hook", count > before)
]])
    local out = stackOf(pid, "interpreted")
    assert.matches("app.lua:%d: in main chunk", out)
    assert.matches("told by: the interrupt", out)
    app:line("hook\ttrue")
  end)

  it("tells of C code that does not return Lua's stack and what the kernel says", function()
    local lock = probe.write("lock", "")
    local text = ([[
local ffi = require("ffi")
ffi.cdef"int flock(int fd, int op); int open(const char *path, int flags);"
local function take(path) local code = ffi.C.flock(ffi.C.open(path, 2), 2) return code end
print("ready")
io.stdout:flush()
take(%q)
require("timers").setInterval(function() end, 1000)
print("taken")
io.stdout:flush()
os.execute("exec sleep 1000")
]]):format(lock)
    local holder = probe.start(text)
    holder:line("taken")
    local _, pid = probe.start(text)
    local out = stackOf(pid, "flock")
    assert.matches("is in a C function", out)
    assert.matches("\t[^\n]*app.lua:3: in function 'take'[^\n]*\n\t[^\n]*app.lua:6: in main chunk\n", out)
    assert.matches("the kernel: it sleeps in the system call flock", out)
    out = stackOf(tostring(holder.child.pid), "wait4")
    assert.matches("\t[^\n]*app.lua:10: in main chunk", out)
  end)

  it("tells of one that hears no signal what the kernel says", function()
    local _, pid = probe.start([[
local ffi = require("ffi")
ffi.cdef"int sigprocmask(int how, const unsigned long *set, void *old);"
ffi.C.sigprocmask(0, ffi.new("unsigned long[16]", 512), nil)
require("timers").setInterval(function() end, 1e6)
print("ready")
]])
    local out = stackOf(pid, "epoll")
    assert.matches("^process " .. pid .. " hears no signal: it sleeps in the system call epoll_p?wait[^\n]*\ntold by: the kernel\n$", out)
    assert.matches("hears no signal: it sleeps", probe.bad(1, { "heap", pid }))
  end)

  it("harms no process that is asked again and again", function()
    local app, pid = probe.start([[
local function work(n) local t = {} for i = 1, n do t[i] = ("x"):rep(i % 50) .. i end return #table.concat(t) end
local sum = 0
print("ready")
io.stdout:flush()
for i = 1, 4000 do sum = sum + work(i % 200) % 7 end
print("sum", sum)
]])
    for _ = 1, 60 do
      if app._closed or not pcall(process.kill, tonumber(pid), "SIGUSR1") then break end
      await.sleep(2)
    end
    local sum = 0
    local function work(n) local t = {} for i = 1, n do t[i] = ("x"):rep(i % 50) .. i end return #table.concat(t) end
    for i = 1, 4000 do sum = sum + work(i % 200) % 7 end
    assert.equal(tostring(sum), (app:line("sum\t(%d+)")))
    assert.equal(0, (app:gone()))
  end)
end)
