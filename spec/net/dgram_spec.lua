local abort = require("abort")
local await = require("await")
local dgram = require("dgram")
local lrun = require("spec.support.lrun")

local function message(f, ...) return tostring(select(2, pcall(f, ...))) end

local function bound(kind, ...)
  local socket = dgram.createSocket(kind)
  local arguments, count = { ... }, select("#", ...)
  await(function(done)
    arguments[count + 1] = done
    socket:bind(unpack(arguments, 1, count + 1))
  end)
  return socket
end

local function close(socket) await(function(done) socket:close(done) end) end

-- Sends and waits for what arrives.
local function exchange(receiver, send)
  return await(function(done)
    receiver:once("message", done)
    send()
  end)
end

describe("dgram", function()
  it("binds to all addresses by default and tells where", function()
    local socket = bound("udp4")
    local address = socket:address()
    assert.same({ "0.0.0.0", "IPv4" }, { address.address, address.family })
    assert.is_true(address.port > 0)
    close(socket)
    socket = bound("udp6", 0, "::1")
    assert.same({ "::1", "IPv6" }, { socket:address().address, socket:address().family })
    close(socket)
  end)

  it("sends and receives, over both families, also nothing at all", function()
    for kind, host in pairs{ udp4 = "127.0.0.1", udp6 = "::1" } do
      local receiver, sender = bound(kind, 0, host), dgram.createSocket(kind)
      local port = receiver:address().port
      local data, from = exchange(receiver, function() sender:send("hello", port, host) end)
      assert.equal("hello", data)
      assert.same({ host, kind == "udp4" and "IPv4" or "IPv6", sender:address().port, 5 },
        { from.address, from.family, from.port, from.size })
      assert.equal("", exchange(receiver, function() sender:send("", port, host) end))
      assert.equal("ell", exchange(receiver, function() sender:send("hello", 1, 3, port, host) end))
      assert.equal("abc", exchange(receiver, function() sender:send({ "a", "bc" }, port, host) end))
      local big = ("\0\255"):rep(16000)
      assert.equal(big, exchange(receiver, function() sender:send(big, port, host) end))
      local err, size = await(function(done) sender:send("1234567", port, kind == "udp4" and "localhost" or host, done) end)
      assert.same({ nil, 7 }, { err, size })
      close(sender)
      close(receiver)
    end
  end)

  it("sends to its own host when it is told none", function()
    local receiver, sender = bound("udp4"), dgram.createSocket("udp4")
    assert.equal("home", exchange(receiver, function() sender:send("home", receiver:address().port) end))
    close(sender)
    close(receiver)
  end)

  it("looks names up by its option", function()
    local asked
    local socket = dgram.createSocket{ type = "udp4", lookup = function(host, family, callback)
      asked = { host, family }
      callback(nil, "127.0.0.1", 4)
    end }
    await(function(done) socket:bind(0, "here.test", done) end)
    assert.same({ "here.test", 4 }, asked)
    assert.equal("127.0.0.1", socket:address().address)
    close(socket)
  end)

  it("remembers its peer after connect, until disconnect", function()
    local receiver, sender = bound("udp4", 0, "127.0.0.1"), dgram.createSocket("udp4")
    local port = receiver:address().port
    await(function(done) sender:connect(port, "127.0.0.1", done) end)
    assert.equal(port, sender:remoteAddress().port)
    assert.equal("x", exchange(receiver, function() sender:send("x") end))
    assert.matches("Already connected", message(sender.send, sender, "x", port))
    assert.matches("Already connected", message(sender.connect, sender, port))
    sender:disconnect()
    assert.matches("Not connected", message(sender.remoteAddress, sender))
    assert.equal("y", exchange(receiver, function() sender:send("y", port, "127.0.0.1") end))
    close(sender)
    close(receiver)
  end)

  it("tells of an address in use, and of one that is not ours", function()
    local first = bound("udp4", 0, "127.0.0.1")
    local function errorOf(...)
      local arguments = { ... }
      local socket = dgram.createSocket("udp4")
      local err = await(function(done)
        socket:on("error", done)
        socket:bind(unpack(arguments))
      end)
      close(socket)
      return err
    end
    local port = first:address().port
    local err = errorOf(port, "127.0.0.1")
    assert.same({ "EADDRINUSE", "bind", "127.0.0.1", port }, { err.code, err.syscall, err.address, err.port })
    assert.equal("EADDRNOTAVAIL", errorOf(0, "8.8.8.8").code)
    assert.equal("ENOTFOUND", errorOf(0, "nosuch.invalid").code)
    close(first)
  end)

  it("shares a port with reuseAddr or reusePort", function()
    for _, option in ipairs{ "reuseAddr", "reusePort" } do
      local first = bound({ type = "udp4", [option] = true }, 0, "127.0.0.1")
      local second = bound({ type = "udp4", [option] = true }, first:address().port, "127.0.0.1")
      close(first)
      close(second)
    end
  end)

  it("receives what is sent to a group that it joined, on loopback", function()
    local socket = bound({ type = "udp4", reuseAddr = true })
    socket:addMembership("224.0.0.114", "127.0.0.1")
    socket:setMulticastInterface("127.0.0.1")
    assert.is_true(socket:setMulticastLoopback(true))
    assert.equal(1, socket:setMulticastTTL(1))
    assert.equal("to all", exchange(socket, function() socket:send("to all", socket:address().port, "224.0.0.114") end))
    socket:dropMembership("224.0.0.114", "127.0.0.1")
    close(socket)
  end)

  it("has its kernel settings", function()
    local socket = dgram.createSocket{ type = "udp4", recvBufferSize = 20000 }
    assert.equal("EBADF", select(2, pcall(socket.setTTL, socket, 5)).code)
    assert.equal("EBADF", select(2, pcall(socket.address, socket)).code)
    await(function(done) socket:bind(0, done) end)
    socket:setBroadcast(true)
    assert.equal(5, socket:setTTL(5))
    assert.is_true(socket:getRecvBufferSize() >= 20000)
    socket:setSendBufferSize(30000)
    assert.is_true(socket:getSendBufferSize() >= 30000)
    assert.same({ 0, 0 }, { socket:getSendQueueSize(), socket:getSendQueueCount() })
    close(socket)
    assert.equal("ERR_SOCKET_DGRAM_NOT_RUNNING", select(2, pcall(socket.close, socket)).code)
  end)

  it("still sends what was sent before close", function()
    local receiver, sender = bound("udp4", 0, "127.0.0.1"), dgram.createSocket("udp4")
    assert.equal("last words", exchange(receiver, function()
      sender:send("last words", receiver:address().port, "127.0.0.1")
      sender:close()
    end))
    close(receiver)
  end)

  it("closes when its signal is aborted, and lets the process end unreferenced", function()
    local controller = abort.AbortController:new()
    local socket = bound({ type = "udp4", signal = controller.signal }, 0)
    await(function(done)
      socket:on("close", done)
      controller:abort()
    end)
    local _, _, code = lrun.run{ "-e", "local s = require('dgram').createSocket('udp4') s:bind(0) s:unref()" }
    assert.equal(0, code)
  end)

  it("throws for wrong arguments, naming them", function()
    local socket = dgram.createSocket("udp4")
    assert.matches("Bad socket type", message(dgram.createSocket, "tcp"))
    assert.matches('"options" argument', message(dgram.createSocket))
    assert.matches("options.reuseAddr", message(dgram.createSocket, { type = "udp4", reuseAddr = 1 }))
    assert.matches('"listener" argument', message(dgram.createSocket, "udp4", 5))
    assert.matches("options.port should be", message(socket.bind, socket, 70000))
    assert.matches('"address" argument', message(socket.bind, socket, 0, true))
    assert.matches("Port should be", message(socket.send, socket, "x"))
    assert.matches("Port should be > 0 and < 65536. Received type number %(0%)", message(socket.send, socket, "x", 0))
    assert.matches('"address" argument', message(socket.send, socket, "x", 80, 5))
    assert.matches('"msg" argument', message(socket.send, socket, 5, 1))
    assert.matches('"msg%[2%]"', message(socket.send, socket, { "a", 5 }, 1))
    assert.matches('"address" argument', message(socket.send, socket, "x", 1, true))
    assert.matches('"callback" argument', message(socket.send, socket, "x", 1, "::1", 5))
    assert.matches("outside of buffer bounds", message(socket.send, socket, "abc", 2, 2, 1))
    assert.matches('"ttl"', message(socket.setTTL, socket, 0))
    assert.matches('"multicastAddress"', message(socket.addMembership, socket))
    assert.matches("call socket:bind", message(socket.bind, 0))
    close(socket)
  end)
end)
