--- A socket, once it is open: what is sent and told, the close handshake from both sides, holding a peer up, time limits, wrong use.
local await = require("await")
local children = require("spec.support.children")
local echo = require("spec.support.websocket_echo")
local peer = require("spec.support.websocket_peer")
local websocket = require("websocket")

local once, eventually = children.once, children.eventually

-- A server without listeners: the specs add theirs.
local function listen(options)
  local all = { port = 0, host = "127.0.0.1" }
  for name, value in pairs(options or {}) do all[name] = value end
  local server = websocket.WebSocketServer:new(all)
  await(function(done) server:once("listening", function() done() end) end)
  return server, server:address().port
end

local function stop(server)
  for socket in pairs(server.clients) do socket:terminate() end
  await(function(done) server:close(function() done() end) end)
end

describe("a WebSocket", function()
  local server, port

  before_each(function() server, port = listen() end)
  after_each(function() stop(server) end)

  -- A raw client, and the server's socket of it.
  local function pair(options)
    local socket
    server:once("connection", function(made) socket = made end)
    local connection = peer.connect(port, options)
    eventually(function() return socket end)
    return socket, connection
  end

  -- Two of ours, and what each is told at the end.
  local function both()
    local ends, socket = {}, nil
    local client = websocket.WebSocket:new("ws://127.0.0.1:" .. port)
    server:once("connection", function(made) socket = made end)
    once(client, "open")
    eventually(function() return socket end)
    for name, each in pairs{ client = client, server = socket } do
      each:on("error", function(err) ends[name .. " error"] = err.code end)
      each:on("close", function(code, reason) ends[name] = ("%d %s"):format(code, reason) end)
    end
    return client, socket, function()
      eventually(function() return ends.client and ends.server end)
      return ends
    end
  end

  it("sends text, numbers, bytes, and messages in parts", function()
    local socket, connection = pair()
    socket:send("text")
    socket:send(42)
    socket:send("\0\255", { binary = true })
    socket:send("part one, ", { fin = false })
    socket:ping("between")
    socket:send("part two", { fin = false })
    socket:send("")
    socket:send("next")
    connection:expect("text text", "text 42", "binary \0\255", "text… part one, ", "ping between", "continuation… part two", "continuation",
      "text next")
    connection:destroy()
  end)

  it("calls back when the kernel has it, or with an error", function()
    local socket, connection = pair()
    local order = {}
    local function note(name) return function(err) order[#order + 1] = err and name .. ": " .. err.code or name end end
    socket:send("a", note("a"))
    socket:send("b", { binary = true }, note("b"))
    socket:ping("c", note("c"))
    socket:pong(note("d"))
    socket:send(("x"):rep(3000000), note("e"))
    for _ = 1, 5 do connection:next() end
    eventually(function() return #order == 5 end)
    assert.same({ "a", "b", "c", "d", "e" }, order)
    assert.equal(0, socket.bufferedAmount)
    socket:terminate()
    socket:send("late", note("f"))
    eventually(function() return #order == 6 end)
    assert.equal("f: ERR_INVALID_STATE", order[6])
    assert.is_false(socket:send("later"))
    connection:destroy()
  end)

  it("writes what one turn sends in one piece", function()
    local socket, connection = pair()
    for i = 1, 100 do socket:send("message " .. i) end
    local pieces = 0
    local resume = connection.handle
    resume:read_stop()
    resume:read_start(function(_, data)
      pieces = pieces + 1
      connection.parts[#connection.parts + 1] = data
      if connection.waiting then
        local wake = connection.waiting
        connection.waiting = nil
        wake()
      end
    end)
    for i = 1, 100 do connection:expect("text message " .. i) end
    assert.equal(1, pieces)
    connection:destroy()
  end)

  it("tells pings and pongs, and answers pings before anybody does", function()
    local socket, connection = pair()
    local told = {}
    socket:on("ping", function(data) told[#told + 1] = "ping " .. data socket:send("heard") end)
    socket:on("pong", function(data) told[#told + 1] = "pong " .. data end)
    connection:write(peer.client.ping("1") .. peer.client.pong("2")):expect("pong 1", "text heard")
    eventually(function() return #told == 2 end)
    assert.same({ "ping 1", "pong 2" }, told)
    connection:destroy()
  end)

  local closings = {
    { "a client that says why", function(client) client:close(1000, "work complete") end, "1000 work complete", "1000 work complete" },
    { "a server that says why", function(_, socket) socket:close(4001, "going away") end, "4001 going away", "4001 going away" },
    { "one without a code", function(client) client:close() end, "1005 ", "1005 " },
    { "both at once", function(client, socket) client:close(4001, "c") socket:close(4002, "s") end, "4002 s", "4001 c" },
    { "a client that ends at once", function(client) client:terminate() end, "1006 ", "1006 " },
    { "a server that does", function(_, socket) socket:terminate() end, "1006 ", "1006 " },
    { "somebody who does so twice", function(client) client:close(1000) client:close(4000) client:terminate() end, "1006 ", nil },
  }
  for _, case in ipairs(closings) do
    it("is closed by " .. case[1], function()
      local client, socket, wait = both()
      case[2](client, socket)
      local ends = wait()
      assert.equal(case[3], ends.client)
      if case[4] then assert.equal(case[4], ends.server) end
      assert.is_nil(ends["client error"] or ends["server error"])
      assert.same({ 3, 3, nil }, { client.readyState, socket.readyState, server.clients[socket] })
    end)
  end

  it("sends all before its close, hears what comes before the answer, and waits for that", function()
    local socket, connection = pair()
    local heard, code = {}, nil
    socket:on("message", function(data) heard[#heard + 1] = data end)
    socket:on("close", function(value) code = value end)
    local large = ("x"):rep(2000000)
    socket:send("before")
    socket:send(large)
    socket:close(1001, "later")
    assert.equal(2, socket.readyState)
    assert.is_false(socket:send("behind"))
    connection:expect("text before", "text " .. large, "close 1001 later")
    assert.is_nil(connection.ended)
    connection:write(peer.client.text("one moment") .. peer.client.close(4321)):expectEnd()
    eventually(function() return code end)
    assert.same({ { "one moment" }, 4321 }, { heard, code })
  end)

  it("is ended where the answer to its close never comes", function()
    stop(server)
    server, port = listen{ closeTimeout = 100 }
    local socket, connection = pair()
    local code
    socket:on("close", function(value) code = value end)
    socket:close(1000)
    connection:expect("close 1000")
    connection:wait("the end", function() end)
    connection:destroy()
    eventually(function() return code end)
    assert.equal(1006, code)
  end)

  it("is ended where the peer never ends the connection behind its close", function()
    stop(server)
    server, port = listen{ closeTimeout = 100 }
    local socket, connection = pair()
    local code
    socket:on("close", function(value) code = value end)
    connection:write(peer.client.close(1000)):expect("close 1000")
    eventually(function() return code end)
    assert.equal(1000, code)
    connection:destroy()
  end)

  it("is pinged, and ended when nothing comes", function()
    stop(server)
    server, port = listen{ pingInterval = 40, idleTimeout = 200 }
    local quiet, silent = pair{ name = "the quiet one" }
    local polite, answering = pair{ name = "the polite one" }
    local code, pongs = nil, 0
    quiet:on("close", function(value) code = value end)
    polite:on("pong", function() pongs = pongs + 1 end)
    while not code do
      local frame = answering:next()
      assert.equal("ping", peer.describe(frame))
      answering:write(peer.client.pong(frame.data))
    end
    assert.equal(1006, code)
    assert.is_true(pongs >= 2)
    for _ = 1, 8 do answering:write(peer.client.pong(answering:next().data)) end
    assert.equal(1, polite.readyState)
    silent:destroy()
    answering:destroy()
  end)

  it("holds its peer up while it is paused, and misses nothing", function()
    local socket, connection = pair()
    local heard = {}
    socket:on("message", function(data) heard[#heard + 1] = data end)
    connection:write(peer.client.text("one"))
    eventually(function() return #heard == 1 end)
    socket:pause()
    assert.is_true(socket.isPaused)
    connection:write(peer.client.text("two") .. peer.client.text("three"))
    await.sleep(20)
    assert.same({ "one" }, heard)
    socket:resume()
    eventually(function() return #heard == 3 end)
    socket:on("message", function(data) if data == "four" then socket:pause() end end)
    connection:write(peer.client.text("four") .. peer.client.text("five"))
    eventually(function() return #heard == 4 end)
    await.sleep(20)
    assert.equal(4, #heard)
    socket:resume()
    eventually(function() return heard[5] == "five" end)
    connection:destroy()
  end)

  it("gives its messages to a loop, one at a time, up to the end", function()
    local socket, connection = pair()
    local got, working, most = {}, 0, 0
    await.spawn(function()
      for data, isBinary in socket:messages() do
        working = working + 1
        most = math.max(most, working)
        await.sleep(1)
        got[#got + 1] = (isBinary and "binary " or "text ") .. data
        working = working - 1
      end
      got[#got + 1] = "end"
    end)
    connection:write(peer.client.text("1") .. peer.client.binary("2") .. peer.client.text("3") .. peer.client.close(1000))
    connection:expect("close 1000"):expectEnd()
    eventually(function() return got[4] end)
    assert.same({ "text 1", "binary 2", "text 3", "end" }, got)
    assert.equal(1, most)
    for _ in socket:messages() do error("a message behind the end") end
  end)

  it("gives a loop's rest out when the connection was cut", function()
    local socket, connection = pair()
    local got = {}
    connection:write(peer.client.text("1") .. peer.client.text("2") .. peer.client.text("3"))
    await.spawn(function()
      for data in socket:messages() do
        got[#got + 1] = data
        await.sleep(5)
        if data == "1" then connection:destroy() end
      end
      got[#got + 1] = "end"
    end)
    eventually(function() return got[#got] == "end" end)
    assert.same({ "1", "2", "3", "end" }, got)
  end)

  it("has a loop wait for a client that connects, and ends it where that fails", function()
    server:on("connection", function(socket)
      socket:send("hello")
      socket:close(1000)
    end)
    local client, got = websocket.WebSocket:new("ws://127.0.0.1:" .. port), {}
    for data in client:messages() do got[#got + 1] = data end
    assert.same({ "hello" }, got)
    client = websocket.WebSocket:new("ws://127.0.0.1:1")
    client:on("error", function() end)
    for _ in client:messages() do error("a message from nobody") end
  end)

  it("returns false past the limit, and drains", function()
    stop(server)
    server, port = listen{ backpressureLimit = 100000 }
    local socket, connection = pair()
    connection:pause()
    local drained, count = 0, 0
    socket:on("drain", function() drained = drained + 1 end)
    while socket:send(("d"):rep(10000)) do count = count + 1 end
    assert.is_true(socket.bufferedAmount > 100000 and socket.bufferedAmount < 250000)
    assert.equal(1, socket.readyState)
    connection:resume()
    for _ = 1, count + 1 do connection:next() end
    eventually(function() return drained == 1 end)
    assert.is_true(socket:send("more"))
    connection:expect("text more")
    connection:destroy()
  end)

  it("is closed where its peer takes nothing for stallTimeout, whatever waits", function()
    stop(server)
    server, port = listen{ backpressureLimit = 0, stallTimeout = 150 }
    local socket, connection = pair()
    connection:pause()
    local code
    socket:on("close", function(value) code = value end)
    socket:send(("s"):rep(20000000))
    eventually(function() return code end)
    assert.equal(1006, code)
    connection:destroy()
  end)

  it("says what is used wrongly, and goes on", function()
    local client, socket, wait = both()
    local function fails(pattern, method, ...)
      local ok, err = pcall(client[method], client, ...)
      assert.is_false(ok, method)
      assert.matches(pattern, tostring(err.message or err))
    end
    fails("json%.encode", "send", { a = 1 })
    for _, value in ipairs{ true, print, io.stdout } do fails("data", "send", value) end
    fails("data", "send", nil)
    fails("UTF%-8", "send", "\255")
    fails("options", "send", "x", 5)
    fails("125", "ping", ("p"):rep(126))
    fails("125", "pong", ("p"):rep(126))
    fails("json%.encode", "ping", {})
    for _, code in ipairs{ 0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 1000.5, "1000" } do fails("code", "close", code) end
    fails("123", "close", 1000, ("r"):rep(124))
    fails("UTF%-8", "close", 1000, "\255")
    fails("reason", "close", 1000, {})
    fails("WebSocketServer", "subscribe", "x")
    fails("WebSocketServer", "publish", "x", "y")
    assert.matches("socket:send%(", select(2, pcall(client.send, "text")).message)
    assert.matches("json%.encode", select(2, pcall(server.publish, server, "topic", {})).message)
    assert.matches("topic", select(2, pcall(server.publish, server, 5, "x")).message)
    assert.equal(1, client.readyState)
    socket:on("message", function(data) socket:send("echo " .. data) end)
    client:send("right")
    assert.equal("echo right", (once(client, "message")))
    client:close(4999, ("r"):rep(123))
    assert.equal("4999 " .. ("r"):rep(123), wait().server)
  end)

  it("cannot send before it is open", function()
    local client = websocket.WebSocket:new("ws://127.0.0.1:" .. port)
    for _, method in ipairs{ "send", "ping", "pong" } do
      assert.matches("CONNECTING", select(2, pcall(client[method], client, "early")).message)
    end
    assert.equal(0, client.bufferedAmount)
    once(client, "open")
    client:terminate()
    once(client, "close")
  end)

  it("leaves nothing behind in a thousand connections", function()
    server:on("connection", function(socket) socket:on("message", function(data) socket:send(data) end) end)
    local function some(count)
      for _ = 1, count do
        local connection = peer.connect(port)
        connection:write(peer.client.text("hello")):expect("text hello")
        connection:write(peer.client.close(1000)):expect("close 1000"):expectEnd()
      end
      collectgarbage()
      collectgarbage()
      return collectgarbage("count")
    end
    some(200)
    local before = some(200)
    assert.is_true(some(600) - before < 200)
    eventually(function() return next(server.clients) == nil end)
  end)
end)

describe("a WebSocket's echo", function()
  it("is the same over many sizes and both kinds, both ends ours, with and without compression", function()
    for _, deflate in ipairs{ false, true, { serverNoContextTakeover = true, clientNoContextTakeover = true, threshold = 0 } } do
      local server = echo.server{ perMessageDeflate = deflate, maxPayload = 10000000 }
      local client = websocket.WebSocket:new("ws://127.0.0.1:" .. server.port, nil, { perMessageDeflate = deflate })
      once(client, "open")
      assert.equal(deflate and "permessage-deflate" or "", client.extensions)
      for _, size in ipairs{ 0, 1, 7, 125, 126, 4095, 65535, 65536, 200000, 5000000 } do
        for _, isBinary in ipairs{ false, true } do
          local data = (isBinary and "\0\1\254\255" or "abc\226\130\172"):rep(math.ceil(size / 6)):sub(1, size)
          if not isBinary then data = data:gsub("[\226\130]+$", function(cut) return ("x"):rep(#cut) end) end
          client:send(data, { binary = isBinary })
          local got, kind = once(client, "message")
          assert.is_true(got == data and kind == isBinary, size .. " bytes")
        end
      end
      client:close(1000)
      once(client, "close")
      server.settled()
      assert.same({ 1000, {} }, { server.last().code, server.last().errors })
      server.close()
    end
  end)
end)
