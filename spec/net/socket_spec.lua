local uv = require("luv")
local net = require("net")
local abort = require("abort")
local await = require("await")
local timers = require("timers")
local lrun = require("spec.support.lrun")
local sockets = require("spec.support.sockets")

local connected = sockets.connected

local function message(f, ...) return tostring(select(2, pcall(f, ...))) end

local function closed(socket)
  if not socket._closeEmitted then return await(function(done) socket:on("close", done) end) end
end

describe("net.Socket", function()
  it("knows both ends and counts bytes", function()
    connected({}, function(client, accepted, server)
      assert.equal(server:address().port, client.remotePort)
      assert.same({ "127.0.0.1", "IPv4" }, { client.remoteAddress, client.remoteFamily })
      assert.equal(client.localPort, accepted.remotePort)
      assert.equal(client.localPort, client:address().port)
      assert.equal("open", client.readyState)
      assert.is_false(client.pending)
      client:write("12345")
      assert.equal("12345", await(function(done) accepted:on("data", done) end))
      assert.same({ 5, 5 }, { client.bytesWritten, accepted.bytesRead })
      await(function(done)
        accepted:on("close", done)
        accepted:destroy()
      end)
      assert.same({ "127.0.0.1", server:address().port }, { accepted.remoteAddress, accepted.localPort })
    end)
  end)

  it("emits end, finish and close in Node's order on both sides", function()
    connected({}, function(client, accepted)
      local order = {}
      for _, name in ipairs{ "end", "finish", "close" } do
        client:on(name, function(hadError) order[#order + 1] = "client " .. name .. (name == "close" and tostring(hadError) or "") end)
        accepted:on(name, function() order[#order + 1] = "accepted " .. name end)
      end
      client:resume()
      accepted:resume()
      client:finish("bye")
      closed(client)
      closed(accepted)
      assert.same({ "client finish", "accepted end", "accepted finish", "client end", "client closefalse" },
        { order[1], order[2], order[3], order[4] == "accepted close" and order[5] or order[4],
          order[6] == "accepted close" and order[5] or order[6] })
    end)
  end)

  it("notices its peer's end though nobody reads, and closes", function()
    connected({}, function(client, accepted)
      client:finish()
      closed(accepted)
      closed(client)
      assert.is_true(client.readableEnded and accepted.readableEnded)
    end)
  end)

  it("can still write after its peer's end with allowHalfOpen", function()
    connected({ server = { allowHalfOpen = true } }, function(client, accepted)
      client:finish("question")
      accepted:resume()
      await(function(done) accepted:on("end", done) end)
      assert.equal("writeOnly", accepted.readyState)
      local answer = ""
      client:on("data", function(chunk) answer = answer .. chunk end)
      timers.setTimeout(function() accepted:finish("answer") end, 5)
      closed(client)
      assert.equal("answer", answer)
    end)
  end)

  it("carries 64 MiB both ways unchanged, with bounded buffers", function()
    connected({ server = {} }, function(client, accepted)
      accepted:pipe(accepted)
      local block = {}
      for i = 1, 4096 do block[i] = ("%08d%08d"):format(i, i * 7) end
      local chunk = table.concat(block)
      local left, received, most = 1024, 0, 0
      local function send()
        while left > 0 do
          left = left - 1
          if not client:write(chunk) then return client:once("drain", send) end
        end
        client:finish()
      end
      local expected, offset = chunk, 0
      client:on("data", function(data)
        most = math.max(most, accepted.writableLength + accepted.readableLength)
        local at = 1
        while at <= #data do
          local piece = math.min(#data - at + 1, #expected - offset)
          if data:sub(at, at + piece - 1) ~= expected:sub(offset + 1, offset + piece) then error("bytes differ") end
          at, offset = at + piece, (offset + piece) % #expected
        end
        received = received + #data
      end)
      send()
      closed(client)
      assert.equal(1024 * #chunk, received)
      assert.is_true(most <= 256 * 1024, "buffered " .. most)
    end)
  end)

  it("stops the kernel read while it is paused", function()
    connected({}, function(client, accepted)
      accepted:on("data", function() end)
      accepted:pause()
      local chunk, written = ("x"):rep(65536), 0
      while client:write(chunk) or client.writableLength < 1024 * 1024 do
        written = written + 1
        if written > 2000 then error("a paused reader took everything") end
        await.sleep(0)
      end
      assert.is_true(accepted.bytesRead <= 1024 * 1024)
      assert.is_true(client.writableLength > 0)
      accepted:resume()
      await(function(done) client:on("drain", done) end)
    end)
  end)

  it("reads nothing before resume with pauseOnConnect", function()
    connected({ server = { pauseOnConnect = true } }, function(client, accepted)
      client:write("early")
      await.sleep(5)
      assert.equal(0, accepted.bytesRead)
      local data = await(function(done)
        accepted:on("data", done)
        accepted:resume()
      end)
      assert.equal("early", data)
    end)
  end)

  it("gives ECONNRESET to the other side after resetAndDestroy", function()
    connected({}, function(client, accepted)
      local err
      client:on("error", function(e) err = e end)
      accepted:resetAndDestroy()
      local hadError = await(function(done) client:on("close", done) end)
      assert.same({ "ECONNRESET", "read", true }, { err.code, err.syscall, hadError })
    end)
  end)

  it("gets EPIPE or ECONNRESET, not a signal, for writing to a peer that is gone", function()
    connected({ client = { allowHalfOpen = true } }, function(client, accepted)
      accepted:destroy()
      closed(accepted)
      local err = await(function(done)
        client:on("error", done)
        local function again()
          if client.destroyed then return end
          client:write("x")
          timers.setTimeout(again, 1)
        end
        again()
      end)
      assert.is_true(err.code == "EPIPE" or err.code == "ECONNRESET")
    end)
  end)

  it("calls back every write, also those lost to destroy", function()
    connected({}, function(client, accepted)
      accepted:pause()
      local called, errs = 0, 0
      for _ = 1, 100 do
        client:write(("x"):rep(100000), function(err)
          called = called + 1
          if err then errs = errs + 1 end
        end)
      end
      client:destroy()
      closed(client)
      assert.equal(100, called)
      assert.is_true(errs > 0)
    end)
  end)

  it("emits timeout after silence, and only then", function()
    connected({}, function(client, accepted)
      local lastWrite = 0
      accepted:on("data", function() end)
      local ticking = timers.setInterval(function()
        lastWrite = uv.now()
        client:write("x")
      end, 5)
      client:setTimeout(30)
      local fired = 0
      client:on("timeout", function() fired = fired + 1 end)
      await.sleep(60)
      assert.equal(0, fired)
      timers.clearInterval(ticking)
      await(function(done) client:once("timeout", done) end)
      assert.is_true(uv.now() - lastWrite >= 30)
      await.sleep(40)
      assert.equal(1, fired)
      client:write("again")
      await(function(done) client:once("timeout", done) end)
      client:setTimeout(0)
      assert.equal(0, client.timeout)
    end)
  end)

  it("gives its handle away with what was received and not read", function()
    connected({}, function(client, accepted)
      client:write("unread")
      while accepted.readableLength < 6 do await.sleep(1) end
      local server = accepted._server
      local handle = accepted._handle
      assert.equal("unread", accepted:_unread())
      accepted:_detach()
      closed(accepted)
      assert.is_true(accepted.destroyed)
      assert.equal(1, server._connections)
      local again = net.Socket:new{ handle = handle }
      again:write("still open")
      assert.equal("still open", await(function(done) client:on("data", done) end))
      again:destroy()
      server:_connectionClosed(handle)
    end)
  end)

  it("wraps both ends of a socket pair given as descriptors", function()
    local pair = uv.socketpair("stream", nil, { nonblock = true }, { nonblock = true })
    local one, two = net.Socket:new{ fd = pair[1] }, net.Socket:new(pair[2])
    one:finish("by number")
    local text = ""
    two:on("data", function(chunk) text = text .. chunk end)
    closed(two)
    closed(one)
    assert.equal("by number", text)
  end)

  it("connects again after it was closed", function()
    connected({}, function(client, accepted, server)
      local port = server:address().port
      local heard = ""
      client:on("data", function(data) heard = heard .. data end)
      client:destroy()
      closed(client)
      server:on("connection", function(socket) socket:on("error", function() end):finish("again") end)
      for _ = 1, 2 do
        client:connect(port, "127.0.0.1")
        await(function(done) client:once("close", done) end)
      end
      assert.equal("againagain", heard)
      client:connect(port, "127.0.0.1")
      await(function(done) client:once("connect", done) end)
      local closes = 0
      client:on("close", function() closes = closes + 1 end)
      client:destroy()
      client:connect(port, "127.0.0.1")          -- before the first is closed
      await(function(done) client:once("connect", done) end)
      client:destroy()
      while closes < 2 do await(function(done) client:once("close", done) end) end
    end)
  end)

  it("stays piped when it connects again", function()
    connected({}, function(client, _, server)
      local sink, got = require("stream").PassThrough:new(), ""
      client:pipe(sink)
      sink:on("data", function(data) got = got .. data end)
      client:destroy()
      closed(client)
      server:on("connection", function(socket) socket:finish("piped") end)
      client:connect(server:address().port, "127.0.0.1")
      await(function(done) sink:once("end", done) end)
      assert.equal("piped", got)
    end)
  end)

  it("fails a write after its peer's end with EPIPE", function()
    connected({}, function(client, accepted)
      client:resume()
      accepted:finish()
      closed(client)
      assert.equal("EPIPE", await(function(done) client:write("x", done) end).code)
    end)
  end)

  it("destroys itself when its signal is aborted", function()
    local controller = abort.AbortController:new()
    connected({ client = { signal = controller.signal } }, function(client)
      local err = await(function(done)
        client:on("error", done)
        controller:abort("enough")
      end)
      assert.same({ "ABORT_ERR", "enough" }, { err.code, err.cause })
    end)
  end)

  it("lets the process end while it is open and unreferenced", function()
    local script = [[
      local net = require("net")
      local server = net.createServer(function(s) s:unref() end)
      server:listen(0, "127.0.0.1", function()
        net.connect(server:address().port, "127.0.0.1", function() server:unref() end):unref()
      end)]]
    local _, stderr, code = lrun.run{ "-e", script }
    assert.same({ "", 0 }, { stderr, code })
  end)
end)

describe("connecting", function()
  local function errorOf(...)
    local socket = net.connect(...)
    local err = await(function(done) socket:on("error", done) end)
    local hadError = await(function(done) socket:on("close", done) end)
    assert.is_true(hadError)
    return err
  end

  it("takes no host for this machine, and no name that a NUL cuts short for another", function()
    connected({}, function(_, _, server)
      local second
      await(function(done) second = net.connect(server:address().port, "", done) end)
      second:destroy()
      local err = await(function(done) net.connect(server:address().port, "localhost\0x"):on("error", done) end)
      assert.equal("ENOTFOUND", err.code)
    end)
  end)

  it("fails with the address in the message", function()
    local err = errorOf(1, "127.0.0.1")
    assert.equal("connect ECONNREFUSED 127.0.0.1:1", tostring(err))
    assert.same({ "ECONNREFUSED", "connect", "127.0.0.1", 1 }, { err.code, err.syscall, err.address, err.port })
    assert.equal("connect ENOENT /nonexistent.sock", tostring(errorOf("/nonexistent.sock")))
    err = errorOf{ port = 80, host = "nosuch.invalid" }
    assert.same({ "getaddrinfo ENOTFOUND nosuch.invalid", "nosuch.invalid" }, { tostring(err), err.hostname })
  end)

  it("emits lookup, connect, ready, and writes what was written before", function()
    local server = net.createServer(function(socket) socket:pipe(socket) end)
    await(function(done) server:listen(0, done) end)
    local order = {}
    local client = net.connect(server:address().port, "localhost")
    assert.is_true(client.connecting and client.pending)
    assert.equal("opening", client.readyState)
    for _, name in ipairs{ "lookup", "connect", "ready" } do client:on(name, function() order[#order + 1] = name end) end
    client:write("early ")
    client:finish("bird")
    local text = ""
    client:on("data", function(chunk) text = text .. chunk end)
    closed(client)
    assert.equal("early bird", text)
    while order[1] == "lookup" and order[2] == "lookup" do table.remove(order, 1) end
    assert.same({ "lookup", "connect", "ready" }, order)
    await(function(done) server:close(done) end)
  end)

  it("tries the next address when one refuses, and the families in turn", function()
    local server = net.createServer(function(socket) socket:finish(socket.localAddress) end)
    await(function(done) server:listen(0, "127.0.0.1", done) end)
    local seen = {}
    local client = net.connect{ port = server:address().port, host = "two.example", lookup = function(host, options, callback)
      assert.equal("two.example", host)
      assert.is_true(options.all)
      process.nextTick(callback, nil,
        { { address = "::1", family = 6 }, { address = "::2", family = 6 }, { address = "127.0.0.1", family = 4 } })
    end }
    client:on("lookup", function(_, address) seen[#seen + 1] = address end)
    assert.equal("127.0.0.1", await(function(done) client:on("data", done) end))
    assert.same({ "::1", "127.0.0.1", "::2" }, seen)
    closed(client)
    await(function(done) server:close(done) end)
  end)

  -- A listener that takes no connection and whose backlog is full: the next one gets no answer.
  local function silence(port)
    local listener, handles = uv.new_tcp(), {}
    assert(listener:bind("127.0.0.1", port))
    local function connect()
      local handle = uv.new_tcp()
      handles[#handles + 1] = handle
      handle:connect("127.0.0.1", port, function() end)
    end
    await(function(done)
      assert(listener:listen(1, function() done() end))
      connect()
    end)
    for _ = 1, 8 do connect() end
    handles[#handles + 1] = listener
    return function() for _, handle in ipairs(handles) do handle:close() end end
  end

  it("does not wait for an address that does not answer", function()
    local server = net.createServer(function(socket) socket:finish("second") end)
    await(function(done) server:listen(0, "::1", done) end)
    local unsilence = silence(server:address().port)
    local client = net.connect{
      port = server:address().port, host = "slow.example", autoSelectFamilyAttemptTimeout = 20,
      lookup = function(_, _, callback)
        callback(nil, { { address = "127.0.0.1", family = 4 }, { address = "::1", family = 6 } })
      end,
    }
    assert.equal("second", await(function(done) client:on("data", done) end))
    closed(client)
    unsilence()
    await(function(done) server:close(done) end)
  end)

  it("reads nothing when it was paused before it connected, until resume", function()
    local server = net.createServer(function(socket) socket:finish("hello") end)
    await(function(done) server:listen(0, done) end)
    local socket, data = net.Socket:new(), nil
    socket:on("data", function(chunk) data = chunk end)
    socket:pause()
    await(function(done) socket:connect(server:address().port, done) end)
    await.sleep(5)
    assert.is_nil(data)
    socket:resume()
    closed(socket)
    assert.equal("hello", data)
    await(function(done) server:close(done) end)
  end)

  it("finishes after connecting what was finished before", function()
    local text = ""
    local server = net.createServer(function(socket) socket:on("data", function(chunk) text = text .. chunk end) end)
    await(function(done) server:listen(0, done) end)
    local socket = net.Socket:new()
    socket:finish()
    await.sleep(1)
    assert.is_false(socket.writableFinished)
    socket:connect(server:address().port)
    closed(socket)
    assert.is_true(socket.writableFinished)
    await(function(done) server:close(done) end)
  end)

  it("closes quietly when it is destroyed before the connection stands", function()
    for _, host in ipairs{ "127.0.0.1", "localhost" } do
      local client = net.connect(1, host)
      local writeError
      client:on("error", function() error("an error nobody asked for") end)
      client:write("x", function(err) writeError = err end)
      client:destroy()
      assert.is_false(await(function(done) client:on("close", done) end))
      assert.equal("ERR_SOCKET_CLOSED_BEFORE_CONNECTION", writeError.code)
    end
  end)

  it("throws for wrong arguments, naming them", function()
    assert.matches('"options" or "port" or "path"', message(net.connect))
    assert.matches("Port should be", message(net.connect, 70000))
    assert.matches('"host" argument', message(net.connect, 80, true))
    assert.matches("options.port", message(net.connect, { port = true }))
    assert.matches("options.host", message(net.connect, { port = 1, host = 5 }))
    assert.matches("options.path", message(net.connect, { path = 5 }))
    assert.matches("without null bytes", message(net.connect, "a\0b"))
    assert.matches("options.family", message(net.connect, { port = 1, family = 5 }):gsub("'", '"'))
    assert.matches("options.lookup", message(net.connect, { port = 1, lookup = 5 }))
    assert.matches("Invalid IP address", message(net.connect, { port = 1, localAddress = "x" }))
    assert.matches("options.signal", message(net.connect, { port = 1, signal = 5 }))
    assert.matches("options.autoSelectFamily", message(net.connect, { port = 1, autoSelectFamily = 5 }))
    assert.matches("options.noDelay", message(net.connect, { port = 1, noDelay = 5 }))
    assert.matches("options.keepAliveInitialDelay", message(net.connect, { port = 1, keepAliveInitialDelay = "x" }))
    assert.matches('"connectListener" argument', message(net.connect, 80, "localhost", 5))
    assert.matches('"connectListener" argument', message(net.connect, { port = 1 }, 5))
    assert.matches("options.objectMode", message(net.Socket.new, net.Socket, { objectMode = true }))
    assert.matches("options.allowHalfOpen", message(net.Socket.new, net.Socket, { allowHalfOpen = 5 }))
    assert.matches("options.handle", message(net.Socket.new, net.Socket, { handle = 5 }))
    assert.matches("options.handle", message(net.Socket.new, net.Socket, { handle = io.stdout }))
    assert.matches("options.fd", message(net.Socket.new, net.Socket, { fd = "x" }))
    assert.matches('"options" argument', message(net.Socket.new, net.Socket, "x"))
    local socket = net.Socket:new()
    assert.matches('"msecs" argument', message(socket.setTimeout, socket, "x"))
    assert.matches('"msecs" is out of range', message(socket.setTimeout, socket, math.huge))
    assert.matches('"encoding" argument', message(socket.write, socket, "x", 5))
    assert.matches('"encoding" argument', message(socket.finish, socket, "x", 5))
    assert.matches('"callback" argument', message(socket.setTimeout, socket, 1, 5))
    assert.matches('"initialDelay" argument', message(socket.setKeepAlive, socket, true, "x"))
    assert.matches("call socket:setTimeout", message(socket.setTimeout, 5))
    assert.equal("closed", socket.readyState)
  end)
end)
