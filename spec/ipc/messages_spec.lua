local await = require("await")
local child_process = require("child_process")
local children = require("spec.support.children")
local errors = require("errors")
local ffi = require("ffi")
local once, ask, goodbye = children.once, children.ask, children.goodbye

local MIB = 1024 * 1024

-- What must hold on either wire.
local function shared(wire)
  local options = { serialization = wire }

  describe("the channel on the " .. wire .. " wire", function()
    it("carries values both ways", function()
      local child = children.fork("echo", options)
      assert.is_true(child.connected)
      for _, value in ipairs{
        "", "text", "üñí\1\r\n\"\\\127", 0, -1, 1.5, 2 ^ 53, 1e300, 0.1, true, false, { 1, 2, 3 }, { a = { b = { c = "d" } } }, {},
        { list = { { x = 1 }, { x = 2 } }, flag = false }, ("x"):rep(70000),
      } do
        assert.same(value, ask(child, value))
      end
      goodbye(child)
      assert.is_false(child.connected)
      assert.is_nil(child.channel)
    end)

    it("keeps the order of a burst, and says when to wait", function()
      local child = children.fork("echo", options)
      local count, full, written, got = 5000, 0, 0, {}
      child:kill("SIGSTOP")           -- a reader that keeps up would never let the channel fill
      for i = 1, count do
        if not child:send({ i = i, pad = ("p"):rep(100) }, function(err)
          assert.is_nil(err)
          written = written + 1
        end) then full = full + 1 end
      end
      assert.is_true(full > 0)
      assert.equal(0, written)
      child:kill("SIGCONT")
      await(function(done)
        child:on("message", function(message)
          got[#got + 1] = message.i
          if #got == count then done() end
        end)
      end)
      for i = 1, count do assert.equal(i, got[i]) end
      assert.equal(count, written)
      goodbye(child)
    end)

    it("carries 64 MiB", function()
      local child = children.fork("echo", options)
      local big = ("0123456789abcdef"):rep(4 * MIB)
      assert.is_true(ask(child, big) == big)
      assert.equal("small", ask(child, "small"))
      goodbye(child)
    end)

    it("delivers what was sent just before process.exit", function()
      local child = children.fork("goodbye", options, 200, 2000)
      local count, codes = 0, nil
      child:on("message", function(message)
        count = count + 1
        assert.equal(count, message.i)
        assert.equal(2000, #message.text)
      end)
      child:on("exit", function(code) codes = code end)
      once(child, "close")
      assert.same({ 200, 3 }, { count, codes })
    end)

    it("sends what is queued before it disconnects", function()
      local child = children.fork("slow", options, 3000)
      local result
      child:on("message", function(message) result = message end)
      for i = 1, 3000 do child:send({ i = i, pad = ("p"):rep(200) }) end
      child:disconnect()
      assert.is_false(child.connected)
      once(child, "close")
      assert.equal(0, child.exitCode)
      assert.is_nil(result)          -- what comes after a disconnect has nobody to hear it
    end)

    it("keeps memory flat on both sides when the receiver is slow and the sender waits", function()
      local count = wire == "lua" and 100000 or 30000
      local child = children.fork("slow", options, count)
      local sent = 0
      local function pump()
        while sent < count do
          sent = sent + 1
          if not child:send({ i = sent, pad = "0123456789" }, sent % 500 == 0 and pump or nil) and sent % 500 == 0 then return end
        end
      end
      pump()
      local result = once(child, "message")
      assert.equal(count, result.received)
      assert.is_true(result.rss < 64 * MIB)
      assert.is_true(process.memoryUsage().rss < 600 * MIB)
      goodbye(child)
    end)

    it("keeps messages for a listener that comes late", function()
      local child = children.fork("late", options)
      assert.equal("ready", once(child, "message"))
      local got = {}
      child:on("message", function(message) got[#got + 1] = message end)
      for i = 1, 3 do child:send(i) end
      children.eventually(function() return #got == 3 end)
      assert.same({ 1, 2, 3 }, got)
      goodbye(child)
    end)

    it("emits disconnect in the child when its parent ends or disconnects", function()
      local child = children.fork("disconnects", { serialization = wire, silent = true })
      once(child, "message")
      child:disconnect()
      assert.equal("disconnected", children.text(child.stdout))
      local output = children.text(child_process.spawn(process.execPath, { "-e", ([[
        local child = require("child_process").fork(%q, { "disconnects" }, { serialization = %q })
        child:on("message", function() process.kill(process.pid, "SIGKILL") end)]]):format(children.fixture, wire) },
        { stdio = { "ignore", "pipe", "inherit" } }).stdout)
      assert.equal("disconnected", output)
    end)

    it("fails sends to a channel that is closed", function()
      local child = children.fork("nothing", options)
      once(child, "close")
      local failures = {}
      child:on("error", function(err) failures[#failures + 1] = err end)
      assert.is_false(child:send("x"))
      assert.is_false(child:send("x", function(err) failures[#failures + 1] = err end))
      child:disconnect()
      children.eventually(function() return #failures == 3 end)
      assert.equal("ERR_IPC_DISCONNECTED", failures[1].code)
      assert.equal("ERR_IPC_CHANNEL_CLOSED", failures[2].code)
      assert.equal("ERR_IPC_CHANNEL_CLOSED", failures[3].code)
    end)

    it("tells the callbacks of a peer that was killed, which may send again", function()
      local child = children.fork("stuck", options)
      once(child, "message")
      local outcomes, again = {}, {}
      local function resent(err) again[#again + 1] = err and err.code or "written" end
      for _ = 1, 4 do
        child:send(("x"):rep(MIB), function(err)
          outcomes[#outcomes + 1] = err and err.code or "written"
          child:send("again", resent)
        end)
      end
      child:kill("SIGKILL")
      once(child, "close")
      children.eventually(function() return #again == 4 end)
      assert.equal("ERR_IPC_CHANNEL_CLOSED", outcomes[4])
      assert.equal("ERR_IPC_CHANNEL_CLOSED", again[4])
    end)

    it("refuses what cannot be sent, and sends nothing", function()
      local child = children.fork("echo", options)
      local cyclic = {}
      cyclic.cyclic = cyclic
      local function code(...)
        local ok, err = pcall(child.send, child, ...)
        assert.is_false(ok)
        return err.code
      end
      assert.equal("ERR_MISSING_ARGS", code(nil))
      assert.equal("ERR_MISSING_ARGS", code())
      assert.equal("ERR_INVALID_ARG_TYPE", code(print))
      assert.equal("ERR_INVALID_ARG_TYPE", code(coroutine.create(print)))
      assert.equal("ERR_INVALID_ARG_TYPE", code(io.stdout))
      assert.equal("ERR_INVALID_ARG_VALUE", code({ f = print }))
      assert.equal("ERR_INVALID_ARG_VALUE", code({ deep = { io.stdout } }))
      assert.equal("ERR_INVALID_ARG_VALUE", code(cyclic))
      assert.equal("ERR_INVALID_HANDLE_TYPE", code("x", {}))
      assert.equal("ERR_INVALID_HANDLE_TYPE", code("x", "socket"))
      assert.equal("ERR_INVALID_ARG_TYPE", code("x", nil, "options"))
      assert.equal("after", ask(child, "after"))
      goodbye(child)
    end)

    it("refuses what cannot be sent also amid much that can", function()
      local child = children.fork("echo", options)
      local deep, received, sent = {}, 0, 0
      for _ = 1, 2000 do deep = { deep } end
      child:on("message", function() received = received + 1 end)
      local wrong = { { f = print }, { { coroutine.create(print) } }, deep, { [print] = 1 } }
      for i = 1, 4000 do
        local bad = i % 97 == 0 and wrong[i % #wrong + 1]
        local ok, err = pcall(child.send, child, bad or { cmd = "x", id = i, list = { 1, 2, { 3 } } })
        assert.equal(not bad, ok)
        if bad then assert.equal("ERR_INVALID_ARG_VALUE", err.code) else sent = sent + 1 end
      end
      children.eventually(function() return received == sent end)
      goodbye(child)
    end)

    it("can be on descriptor 0", function()
      local child = child_process.spawn(process.execPath, { children.fixture, "echo" },
        { stdio = { "ipc", "inherit", "inherit" }, serialization = wire })
      assert.same({ a = 1 }, ask(child, { a = 1 }))
      goodbye(child)
    end)

    it("keeps internal messages to themselves", function()
      local child = children.fork("echo", options)
      local internal
      child:on("internalMessage", function(message) internal = message end)
      child:send{ cmd = "NODE_SECRET" }
      assert.equal("plain", ask(child, "plain"))
      assert.is_nil(internal)        -- the child did not hear it as a message, so did not send it back
      goodbye(child)
    end)

    it("answers a listener that throws or waits, and goes on", function()
      local child = children.fork("echo", options)
      local got = {}
      child:on("message", function(message)
        while message == 2 and #got < 3 do await.sleep(1) end
        got[#got + 1] = message
      end)
      for i = 1, 4 do child:send(i) end
      children.eventually(function() return #got == 4 end)
      assert.same({ 1, 3, 4, 2 }, got)
      goodbye(child)
    end)
  end)
end

shared("lua")
shared("json")

describe("the lua wire", function()
  it("keeps tables as they are", function()
    local child = children.fork("echo")
    for _, value in ipairs{
      { 1, nil, 3, name = "mixed" }, { [-1] = "a", [2.5] = "b", [true] = false }, { "\0\255\128" }, { [1e15] = 1 }, { { {} } },
    } do
      assert.same(value, ask(child, value))
    end
    local same = ask(child, errors.Error:new("message", { code = "CODE" }))
    assert.same({ "message", "CODE" }, { same.message, same.code })
    assert.is_nil(getmetatable(same))
    assert.equal("1LL", tostring(ask(child, 1LL)))
    goodbye(child)
  end)
end)

describe("the json wire", function()
  it("has Node's conventions", function()
    local child = children.fork("echo", { serialization = "json" })
    local null = require("cjson").null
    assert.same({ 1, null, 3 }, ask(child, { 1, nil, 3 }))
    assert.same({ ["1"] = "a", x = 1 }, ask(child, { "a", x = 1 }))
    assert.same({ b = 1 }, ask(child, { a = null, b = 1 }))
    assert.same({ null }, ask(child, { 0 / 0 }))
    assert.equal(1 / 3, ask(child, 1 / 3))
    assert.equal(9007199254740991, ask(child, 9007199254740991))
    local ok, err = pcall(child.send, child, { [true] = 1 })
    assert.is_false(ok)
    assert.equal("ERR_INVALID_ARG_VALUE", err.code)
    goodbye(child)
  end)

  -- What the module `json` refuses.
  it("lets through what JSON.stringify would, and bytes of strings as they are", function()
    local child = children.fork("echo", { serialization = "json" })
    local null = require("json").null
    assert.same({ null, null, "a\255\226\128\168\0" }, ask(child, { 1 / 0, -1 / 0, "a\255\226\128\168\0" }))
    assert.same({ ["100"] = 1 }, ask(child, { [100] = 1 }))
    assert.equal("no such thing", ask(child, errors.Error:new("no such thing", { code = "X" })).message)
    local cycle = {}
    cycle.cycle = cycle
    for value, reason in pairs{ [cycle] = "too deep to serialize", [{ print }] = "'function'", [{ 1LL }] = "'cdata'" } do
      local ok, err = pcall(child.send, child, value)
      assert.is_false(ok)
      assert.truthy(err.message:find("The argument 'message' cannot be sent: ", 1, true))
      assert.truthy(err.message:find(reason, 1, true), err.message)
    end
    goodbye(child)
  end)

  it("leaves what is no text to be refused by whoever wants text, however often it came as a key", function()
    local child = children.fork("echo", { serialization = "json" })
    for i = 1, 10 do assert.same({ ["\255key"] = i, ["k\195\164se"] = i }, ask(child, { ["\255key"] = i, ["k\195\164se"] = i })) end
    local json = require("json")
    local ok, err = pcall(json.decode, '{"\255key":1}')
    assert.is_false(ok)
    assert.truthy(err.message:find("string that is not UTF-8", 1, true), err.message)
    assert.same({ ["k\195\164se"] = 1 }, json.decode('{"k\195\164se":1}'))
    goodbye(child)
  end)
end)

describe("NODE_CHANNEL_FD", function()
  -- As Node's wire is, byte for byte.
  it("names a descriptor that carries a JSON text and a newline a message", function()
    local child = child_process.spawn(process.execPath, { children.fixture, "echo" },
      { env = { NODE_CHANNEL_FD = 3 }, stdio = { "ignore", "inherit", "inherit", "pipe" } })
    local wire, got = child.stdio[4], ""
    wire:on("data", function(data) got = got .. data end)
    wire:write('{"a":[1,null,"\\u00e9\\n"]}\n"tw')
    wire:write('o"\n')
    children.eventually(function() return got:find("two") end)
    assert.equal('{"a":[1,null,"é\\n"]}\n"two"\n', got)
    wire:finish()
    once(child, "close")
    assert.equal(0, child.exitCode)
  end)
end)

describe("fork", function()
  it("hands env, execArgv and arguments on, and hides the channel", function()
    local child = children.fork("environment", { env = { HOME = "x", PATH = process.env.PATH }, execArgv = { "-O2" } }, "HOME", "b")
    local got = once(child, "message")
    assert.equal("x", got.env)
    assert.is_nil(got.channel)
    assert.same({ "-O2" }, got.execArgv)
    assert.same({ "environment", "HOME", "b" }, got.argv)
    once(child, "close")
  end)

  it("keeps nobody alive by itself, but by a listener or by ref", function()
    local output = children.text(child_process.spawn(process.execPath, { "-e", ([[
      local child = require("child_process").fork(%q, { "idle" })
      child:unref()
      child:on("message", function() end)
      child.channel:unref()
      process:on("exit", function() io.write("ended") child:kill() end)]]):format(children.fixture) },
      { stdio = { "ignore", "pipe", "inherit" } }).stdout)
    assert.equal("ended", output)
  end)

  it("is not confused by a grandchild that inherits the environment", function()
    local child = child_process.fork(children.fixture, { "echo" })
    assert.equal("x", ask(child, "x"))
    local grandchild = child_process.spawnSync(process.execPath, { "-e", "io.write(tostring(process.send))" })
    assert.equal("nil", grandchild.stdout)
    goodbye(child)
  end)
end)

describe("large messages on the lua wire", function()
  local function rows(count)
    local list = {}
    for i = 1, count do list[i] = { id = i, name = "row " .. i, price = i / 2, nested = { flag = i % 2 == 0, ["key " .. i] = i } } end
    return list
  end

  it("arrive as they left, whatever names its keys", function()
    local child = children.fork("echo")
    for round = 1, 6 do
      local list = rows(100 * round)
      list.extra = { name = "row", id = { name = { id = "deep" } } }
      list[("own %d"):format(round)] = { [1.5] = "float", [true] = "boolean", name = "name" }
      assert.same(list, (ask(child, list)))
      assert.same({ name = "small", id = round }, (ask(child, { name = "small", id = round })))
    end
    goodbye(child)
  end)

  it("leave no garbage that nobody collects", function()
    local script = os.tmpname()
    local file = assert(io.open(script, "w"))
    file:write([[
      if process.send then return process:on("message", function(m) process.send(m) end) end
      local list = {}
      for i = 1, 1000 do list[i] = { id = i, name = "row " .. i, nested = { flag = true, ["key " .. i] = i } } end
      local child, left, most = require("child_process").fork(process.argv[1]), 300, 0
      child:on("message", function()
        left, most = left - 1, math.max(most, collectgarbage("count"))
        if left > 0 then return child:send(list) end
        print(most)
        child:disconnect()
      end)
      child:send(list)]])
    file:close()
    local program = child_process.spawn(process.execPath, { script }, { stdio = { "ignore", "pipe", "inherit" } })
    local most = children.text(program.stdout)
    assert.is_true(tonumber(most) < 20 * 1024, most) -- some 100 MiB were decoded
    os.remove(script)
  end)

  it("are refused whole for one value that cannot be sent", function()
    local child = children.fork("echo")
    for _, bad in ipairs{ print, coroutine.create(print), io.stdout, ffi.cast("void *", 8) } do
      local list = rows(1000)
      list[700].nested.bad = bad
      local ok, err = pcall(child.send, child, list)
      assert.same({ false, "ERR_INVALID_ARG_VALUE" }, { ok, err.code })
    end
    assert.equal("after", (ask(child, "after")))
    goodbye(child)
  end)
end)

describe("a channel whose system calls fail for a moment", function()
  local faults = require("spec.support.faults")
  teardown(faults.clean)

  -- Both ends run with the faults; what goes out and comes back is complete and in order.
  local program = [[
    local cp, net = require("child_process"), require("net")
    if process.send then
      process:on("message", function(m, handle)
        process.send(m, handle, nil, function() if handle then handle:close() end end)
      end)
      return
    end
    local child = cp.fork(process.argv[1], {}, { serialization = process.argv[2], stdio = { "ignore", "inherit", "inherit", "ipc" } })
    local server, got, handles = net.createServer(), 0, 0
    child:on("message", function(m, handle)
      got = got + 1
      assert(m.id == got, "out of order")
      if handle then
        handles = handles + 1
        handle:close()
      end
      if got < 40 then return child:send({ id = got + 1, text = ("x"):rep(3000) }, got % 10 == 0 and server or nil) end
      print(got, handles)
      server:close()
      child:disconnect()
    end)
    server:listen(0, "127.0.0.1", function() child:send{ id = 1 } end)]]

  for _, fault in ipairs{
    "sendmsg ENOMEM 3 2;recvmsg ENOMEM 4 2", "sendmsg ENOBUFS 1 1;recvmsg ENOBUFS 1 1", "recvmsg ENOMEM 12 5",
    "sendmsg 109 12 3", -- ETOOMANYREFS, for which libuv has no name
  } do
    for _, wire in ipairs{ "lua", "json" } do
      it("loses nothing: " .. fault .. ", " .. wire, function()
        local env = faults.environment{ fault }
        if not env then return pending("there is no C compiler") end
        local script = os.tmpname()
        local file = assert(io.open(script, "w"))
        file:write(program)
        file:close()
        local child = child_process.spawn(process.execPath, { script, wire }, { env = env, stdio = { "ignore", "pipe", "inherit" } })
        assert.equal("40\t3\n", children.text(child.stdout))
        os.remove(script)
      end)
    end
  end

  it("still delivers what was sent right before the end", function()
    local env = faults.environment{ "sendmsg ENOMEM 1 2" }
    if not env then return pending("there is no C compiler") end
    local child, got = children.fork("goodbye", { env = env }, 20, 1000), 0
    child:on("message", function() got = got + 1 end)
    children.once(child, "close")
    assert.equal(20, got)
  end)
end)

describe("a child's end", function()
  for _, wire in ipairs{ "lua", "json" } do
    it("comes behind its messages and disconnect, " .. wire, function()
      for round = 1, 8 do
        local child, order = children.fork("goodbye", { serialization = wire }, 30, 5000), {}
        for _, name in ipairs{ "message", "disconnect", "exit", "close" } do
          child:on(name, function(m) order[#order + 1] = name == "message" and m.i or name end)
        end
        if round % 2 == 0 then
          child:once("spawn", function() child_process.spawnSync("sleep", { "0.05" }) end) -- meanwhile it ends
        end
        children.once(child, "close")
        local wanted = {}
        for i = 1, 30 do wanted[i] = i end
        for i, name in ipairs{ "disconnect", "exit", "close" } do wanted[30 + i] = name end
        assert.same(wanted, order)
        assert.equal(3, child.exitCode)
      end
    end)
  end

  it("is told although somebody else holds its channel", function()
    local script = os.tmpname()
    local file = assert(io.open(script, "w"))
    file:write([[
      local child = require("child_process").spawn("sleep", { "60" }, { stdio = { "ignore", "ignore", "ignore", process.channel.fd } })
      process.send(child.pid)
      process.exit(5)]])
    file:close()
    local child, pid, disconnected = child_process.fork(script), nil, false
    child:on("message", function(m) pid = m end)
    child:on("disconnect", function() disconnected = true end)
    local code = children.once(child, "exit")
    assert.same({ 5, false }, { code, disconnected })
    process.kill(pid, "SIGKILL")
    children.once(child, "close")
    assert.is_true(disconnected)
    os.remove(script)
  end)
end)

describe("messages that have only gathered", function()
  it("go out before the process blocks, or starts or kills another", function()
    for _, how in ipairs{
      'cp.spawnSync("sh", { "-c", "read line" }, { stdio = { 4 } })',
      'cp.spawn("true", { stdio = "ignore" }) while not io.open(done) do local _ = 1 end',
      'sleeper:kill("SIGKILL") while not io.open(done) do local _ = 1 end',
    } do
      local script, done = os.tmpname(), os.tmpname()
      os.remove(done)
      local file = assert(io.open(script, "w"))
      file:write(([[
        local cp, done = require("child_process"), %q
        local sleeper = cp.spawn("sleep", { "60" }, { stdio = "ignore", deathSignal = "SIGKILL" })
        for i = 1, 5 do process.send(i) end
        %s
        process.exit(0)]]):format(done, how))
      file:close()
      local child = child_process.fork(script, { stdio = { "ignore", "inherit", "inherit", "ipc", "pipe" } })
      await(function(callback) child:on("message", function(m) if m == 5 then callback() end end) end)
      assert(io.open(done, "w")):close() -- only now it may go on
      if how:find("read line", 1, true) then child.stdio[5]:finish("\n") else child.stdio[5]:destroy() end
      assert.equal(0, (children.once(child, "exit")))
      os.remove(script)
      os.remove(done)
    end
  end)
end)

describe("an internal message", function()
  it("leaves no descriptor when nobody listens for these", function()
    local processes = require("spec.support.processes")
    local script = os.tmpname()
    local file = assert(io.open(script, "w"))
    file:write([[
      local net, dgram, uv = require("net"), require("dgram"), require("luv")
      local server = net.createServer():listen(0, "127.0.0.1", function()
        local raw, udp = uv.new_tcp("inet"), dgram.createSocket("udp4")
        udp:bind(0, "127.0.0.1", function()
          for _ = 1, 10 do
            process.send({ cmd = "NODE_NONE" }, server)
            process.send({ cmd = "NODE_NONE" }, raw)
            process.send({ cmd = "NODE_NONE" }, udp)
          end
          process.send("done", function() process.exit(0) end)
        end)
      end)]])
    file:close()
    local cluster = require("cluster")
    cluster.setupPrimary{ exec = script }
    for _, fork in ipairs{ function() return child_process.fork(script) end, cluster.fork } do
      local before, child = processes.descriptors(), fork()
      local done
      child:on("message", function(m) done = m end)
      children.once(child.process or child, "close")
      assert.equal("done", done)
      children.eventually(function() return processes.descriptors() < before + 5 end) -- a cluster keeps some
    end
    os.remove(script)
  end)
end)
