local await = require("await")
local buffers = require("string.buffer")
local channels = require("lrun.core.channel")
local child_process = require("child_process")
local children = require("spec.support.children")
local EventEmitter = require("events").EventEmitter
local ipc = require("lrun.ipc.channel")
local sockets = require("lrun.core.sockets")
local uv = require("luv")
local processes = require("spec.support.processes")

-- A channel whose other end is a bare pipe.
local function open(wire)
  local ours, theirs = channels.pair()
  local target = EventEmitter:new()
  target.connected = false
  ipc.setup(target, ours, { wire = wire })
  local peer = uv.new_pipe(false)
  assert(peer:open(theirs))
  target.got, target.errors = {}, {}
  target:on("message", function(message) target.got[#target.got + 1] = message end)
  target:on("error", function(err) target.errors[#target.errors + 1] = err end)
  target:on("disconnect", function() target.gone = true end)
  return target, peer
end

local function close(target, peer)
  if not peer:is_closing() then peer:close() end
  children.eventually(function() return target.gone end)
end

local function frame(kind, body)
  local length = #body + 1
  return string.char(length % 256, math.floor(length / 256) % 256, math.floor(length / 65536) % 256, math.floor(length / 2 ^ 24), kind)
    .. body
end

local function message(value) return frame(1, buffers.encode(value)) end

describe("the frame reader", function()
  for wire, stream in pairs{
    lua = message{ a = 1 } .. message("two") .. message{ 3, { x = "y" } },
    json = '{"a":1}\n"two"\n\n[3,{"x":"y"}]\n',
  } do
    it("takes the " .. wire .. " wire split at every byte", function()
      for cut = 0, #stream do
        local target, peer = open(wire)
        peer:write(stream:sub(1, cut))
        await.sleep(0)
        peer:write(stream:sub(cut + 1))
        children.eventually(function() return #target.got == 3 end)
        assert.same({ { a = 1 }, "two", { 3, { x = "y" } } }, target.got)
        assert.same({}, target.errors)
        close(target, peer)
      end
    end)

    it("survives the " .. wire .. " wire broken at every byte", function()
      for at = 1, #stream do
        for _, byte in ipairs{ "\0", "\255", "{" } do
          local target, peer = open(wire)
          peer:write(stream:sub(1, at - 1) .. byte .. stream:sub(at + 1))
          peer:shutdown()
          children.eventually(function() return target.gone end)
          assert.is_true(#target.errors <= 1)
          if target.errors[1] then
            assert.equal("EPROTO", target.errors[1].code)
            assert.truthy(tostring(target.errors[1]):find("The IPC channel was closed: ", 1, true))
          end
          assert.is_false(target.connected)
          close(target, peer)
        end
      end
    end)
  end

  it("names keys by number once it was told of them, and by no number that it was not told of", function()
    local function told(...)
      local names = { ... }
      for i, name in ipairs(names) do names[i] = string.char(#name) .. name end
      return frame(5, table.concat(names))
    end
    -- One pair in the hash part; 15 is the tag of a number, 32 + n that of a string of n bytes.
    local function named(number, value) return frame(1, "\9\1\15" .. string.char(number) .. value) end
    local x, one = "\33x", "\6\1\0\0\0"
    local target, peer = open("lua")
    peer:write(told("a", "bc") .. named(0, x) .. named(1, one) .. told("d") .. named(2, one) .. frame(1, "\9\2\15\0" .. one .. "\15\1" .. x))
    children.eventually(function() return #target.got == 4 end)
    assert.same({ { a = "x" }, { bc = 1 }, { d = 1 }, { a = 1, bc = "x" } }, target.got)
    close(target, peer)
    local many, long = {}, ("k"):rep(65)
    for i = 1, 225 do many[i] = "key " .. i end
    for _, bytes in ipairs{
      named(0, x), told("a") .. named(1, x), told("a", "a"), told("a") .. told("a"), told(""), told(long), told(unpack(many)),
      frame(5, "\2a"), told("a") .. frame(1, "\9\1\33a" .. one), told("a") .. frame(1, "\9\2\15\0" .. one .. "\15\0" .. one),
      told("a") .. frame(1, "\15\0"), told("a") .. frame(1, "\9\1\15"), told("a") .. frame(1, "\9\1\33b\15\0"),
    } do
      target, peer = open("lua")
      peer:write(bytes)
      children.eventually(function() return target.gone end)
      assert.equal("EPROTO", target.errors[1].code)
      assert.same({}, target.got)
      close(target, peer)
    end
  end)

  it("closes a channel for lengths, kinds and bodies that lie", function()
    for _, bytes in ipairs{
      "\0\0\0\0\1", "\1\0\0\0\0", "\1\0\0\0\9", "\1\0\0\0\6", "\255\255\255\255\1", "\1\0\0\64\1", "\2\0\0\0\3x", frame(1, ""), frame(1, "\9"),
      frame(1, "\9\255\255\255\255\127"), frame(1, "\10\255\255\255\255\127"), frame(1, "\32\32"), frame(1, "\255\255\255\255\255"),
      frame(1, "\4\1\0\0\0"), frame(1, "\14\0\8"), frame(1, "\9\1\0\6\1\0\0\0"), frame(1, ("\10\1"):rep(200) .. "\0"), frame(3, ""),
      frame(4, ""), frame(1, "\9\2\33a\1\33a\1"), frame(1, "\9\1\7" .. ("\255"):rep(8) .. "\1"), frame(1, "\9\1\0\1"),
    } do
      local target, peer = open("lua")
      peer:write(message("before") .. bytes .. message("after"))
      children.eventually(function() return target.gone end)
      assert.same({ "before" }, target.got)
      assert.equal(1, #target.errors)
      assert.equal("EPROTO", target.errors[1].code)
      close(target, peer)
    end
  end)

  it("closes a channel for a key that comes twice, also when compiled code reads it", function()
    local twice = {
      "\9\2\33a\1\33a\1", "\9\2\6\1\0\0\0\1\7\0\0\0\0\0\0\240\63\1", "\9\2\1\1\1\1", "\9\2\33a\1\255\33\0\0\0a\1",
      "\11\2\1\1\0\1\6\1\0\0\0\1", "\9\1\33x\9\2\33a\1\33a\1",
    }
    local good = { key = 1, yek = 2, [1] = "one", [-1] = "minus one", [0.5] = { true, [true] = false }, list = { 1, 2, 3 } }
    for round = 1, 48 do
      local target, peer = open("lua")
      peer:write(message(good):rep(round % 40) .. frame(1, twice[round % #twice + 1]) .. message(good))
      children.eventually(function() return target.gone end)
      assert.equal(round % 40, #target.got)
      if target.got[1] then assert.same(good, target.got[1]) end
      assert.equal("EPROTO", target.errors[1].code)
      close(target, peer)
    end
  end)

  it("gives a message without its handle when none came", function()
    local target, peer = open("lua")
    peer:write(frame(2, buffers.encode{ cmd = "NODE_HANDLE", type = "net.Socket", msg = "alone" }))
    children.eventually(function() return #target.got == 1 end)
    assert.equal("alone", target.got[1])
    close(target, peer)
  end)

  it("takes answers of a peer that is gone already", function()
    local target, peer = open("lua")
    local handle, arrived = uv.new_tcp("inet"), false
    peer:read_start(function() arrived = true end)
    target:send("takes a handle", handle)
    handle:close()
    children.eventually(function() return arrived end)
    peer:try_write(frame(3, "") .. message("last words"))
    peer:close()
    target:send("to nobody")
    children.eventually(function() return target.gone end)
    assert.same({ { "last words" }, {} }, { target.got, target.errors })
  end)

  it("gives nothing more to an end that has disconnected", function()
    for wire, stream in pairs{ lua = message("first") .. message("second"), json = '"first"\n"second"\n' } do
      local target, peer = open(wire)
      target:once("message", function() target.disconnect() end)
      peer:write(stream)
      children.eventually(function() return target.gone end)
      assert.same({ "first" }, target.got)
      close(target, peer)
    end
  end)

  it("closes descriptors that nobody named", function()
    collectgarbage()
    local before = processes.descriptors()
    local target = open("lua")
    local ours, theirs = channels.pair()
    sockets.close(ours)
    local other = EventEmitter:new()
    local sender = uv.new_pipe(true)
    local a, b = channels.pair()
    ipc.setup(other, a, { wire = "lua" })
    assert(sender:open(b))
    local lent = uv.new_pipe(false)
    assert(lent:open(theirs))
    other:on("message", function() other.got = true end)
    sender:write2(message("with a stranger"), lent)
    children.eventually(function() return other.got end)
    sender:close()
    lent:close()
    target:disconnect()
    children.eventually(function() return target.gone and not other.connected end)
    children.eventually(function() return processes.descriptors() <= before + 2 end)
  end)

  it("refuses no more than a message of garbage: other channels go on", function()
    local bad, badPeer = open("json")
    local good, goodPeer = open("json")
    badPeer:write("garbage\n")
    goodPeer:write('"fine"\n')
    children.eventually(function() return bad.gone and good.got[1] end)
    assert.equal("fine", good.got[1])
    close(bad, badPeer)
    close(good, goodPeer)
  end)

  it("writes what is left at exit though a signal comes in between", function()
    local size = 4 * 1024 * 1024
    local ours, theirs = channels.pair()
    local child = child_process.spawn(process.execPath, { "-e", ([[
      process:on("SIGUSR2", function() end)
      process:on("exit", function() io.stdout:write("exiting") io.stdout:flush() end)
      process.send(("x"):rep(%d))
      process.exit(0)]]):format(size) }, { env = { LRUN_CHANNEL_FD = "3", LRUN_CHANNEL_SERIALIZATION = "lua" },
      stdio = { "ignore", "pipe", "inherit", theirs } })
    sockets.close(theirs)
    assert.equal("exiting", children.once(child.stdout, "data"))
    children.eventually(function() return processes.state(child.pid) == "S" end)     -- it waits for this reader
    assert.is_true(child:kill("SIGUSR2"))
    children.eventually(function() return processes.state(child.pid) ~= "R" end)
    local got, reader = 0, uv.new_pipe(false)
    assert(reader:open(ours))
    await(function(done)
      reader:read_start(function(_, bytes)
        if not bytes then return reader:close(done) end
        got = got + #bytes
      end)
    end)
    assert.equal(#message(("x"):rep(size)), got)
  end)

  it("does not read on without bound for a script that does not listen", function()
    local ours, theirs = channels.pair()
    local target = EventEmitter:new()
    ipc.setup(target, ours, { wire = "lua" })
    local peer = uv.new_pipe(false)
    assert(peer:open(theirs))
    local block, written = message(("x"):rep(1024 * 1024)), 0
    for _ = 1, 64 do peer:write(block, function(err) if not err then written = written + 1 end end) end
    await.sleep(100)
    assert.is_true(written < 40)
    local got = 0
    target:on("message", function() got = got + 1 end)
    children.eventually(function() return got == 64 end)
    peer:close()
    children.once(target, "disconnect")
  end)
end)
