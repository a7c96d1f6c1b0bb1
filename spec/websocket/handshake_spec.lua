--- A server's side of the handshake: what it answers, who is let in, where it stands (a server of its own, a given one, several on one,
--- none), and what becomes of all that when it closes.
local await = require("await")
local children = require("spec.support.children")
local echo = require("spec.support.websocket_echo")
local fs = require("fs")
local http = require("http")
local peer = require("spec.support.websocket_peer")
local servers = require("spec.support.servers")
local websocket = require("websocket")

describe("a WebSocket handshake", function()
  local server

  after_each(function()
    if server then server.close() end
    server = nil
    servers.close()
  end)

  local function status(options, address)
    options.any = true
    local connection = peer.connect(address or server.port, options)
    local code, headers = connection.status, connection.headers
    connection:destroy()
    return code, headers
  end

  -- Lets in, and echoes.
  local function works(options, address)
    local connection = peer.connect(address or server.port, options)
    connection:write(peer.client.text("hello")):expect("text hello")
    connection:write(peer.client.close(1000)):expect("close 1000"):expectEnd()
    return connection.headers
  end

  it("is answered with the key's answer", function()
    server = echo.server()
    local headers = works{}
    assert.equal("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", headers["sec-websocket-accept"])
    assert.same({ "websocket", "upgrade" }, { headers.upgrade:lower(), headers.connection:lower() })
    for _, name in ipairs{ "sec-websocket-protocol", "sec-websocket-extensions", "content-length", "transfer-encoding" } do
      assert.is_nil(headers[name])
    end
  end)

  it("may come in other cases, with other headers, and with a query", function()
    server = echo.server{ path = "/here" }
    local addresses = {}
    server.server:on("connection", function(_, req)
      addresses[#addresses + 1] = req.socket.remoteAddress .. " " .. tostring(req.socket.remotePort == server.port)
    end)
    works{ path = "/here", upgrade = "WebSocket", connection = "keep-alive, upgrade" }
    works{ path = "/here?a=/there", headers = { "Cookie: a=b", "Origin: http://somewhere" } }
    assert.equal("/here?a=/there", server.last().req.url)
    assert.equal("a=b", server.last().req.headers.cookie)
    assert.same({ "127.0.0.1 false", "127.0.0.1 false" }, addresses)
    assert.equal("127.0.0.1", server.last().req.socket.remoteAddress)      -- who has asked can ask again
  end)

  local refused = {
    { "no version", 426, { version = false } }, { "an older version", 426, { version = "8" } }, { "several", 426, { version = "13, 8" } },
    { "no key", 400, { key = false } }, { "a short key", 400, { key = "c2hvcnQ=" } }, { "a long one", 400, { key = "AAAAAAAAAAAAAAAAAAAAAAAAAA==" } },
    { "a key that is no base64", 400, { key = "!!!!!!!!!!!!!!!!!!!!!!==" } },
    { "two keys", 400, { headers = { "Sec-WebSocket-Key: " .. peer.KEY } } },
    { "POST", 405, { method = "POST", headers = { "Content-Length: 0" } } },
    { "another path", 400, { path = "/there" } }, { "a longer path", 400, { path = "/here/" } },
    { "another protocol", 400, { upgrade = "h2c" } },
    { "a protocol list with a hole", 400, { headers = { "Sec-WebSocket-Protocol: a,,b" } } },
    { "a protocol twice", 400, { headers = { "Sec-WebSocket-Protocol: a, b, a" } } },
    { "a protocol that is no token", 400, { headers = { 'Sec-WebSocket-Protocol: "a"' } } },
  }
  it("is refused with a status, and the connection ends", function()
    server = echo.server{ path = "/here" }
    for _, case in ipairs(refused) do
      local options = case[3]
      options.path, options.any, options.name = options.path or "/here", true, case[1]
      local connection = peer.connect(server.port, options)
      assert.equal(case[2], connection.status, case[1])
      if case[2] == 426 then assert.equal("13", connection.headers["sec-websocket-version"]) end
      if case[2] == 405 then assert.equal("GET", connection.headers.allow) end
      connection:wait("the end", function() end)
      connection:destroy()
    end
    assert.equal(0, #server.logs)
  end)

  it("is told to come with an upgrade where it is an ordinary request", function()
    server = echo.server()
    local code, headers = status{ upgrade = false, connection = false }
    assert.same({ 426, "websocket" }, { code, headers.upgrade })
  end)

  it("takes a protocol: the first, or the one that is chosen, or none", function()
    server = echo.server()
    local offer = { headers = { "Sec-WebSocket-Protocol: one, two" } }
    assert.equal("one", works(offer)["sec-websocket-protocol"])
    assert.equal("one", server.last().socket.protocol)
    server.close()
    local seen
    server = echo.server{ handleProtocols = function(protocols, req)
      seen = { protocols, req.url }
      return req.url ~= "/none" and protocols[2]
    end }
    assert.equal("two", works(offer)["sec-websocket-protocol"])
    assert.same({ { "one", "two" }, "/" }, seen)
    offer.path = "/none"
    assert.is_nil(works(offer)["sec-websocket-protocol"])
    assert.equal("", server.last().socket.protocol)
  end)

  it("asks verifyClient, which answers at once or later", function()
    server = echo.server{ verifyClient = function(info) return info.req.url == "/in" and info.origin == "http://me" and not info.secure end }
    works{ path = "/in", headers = { "Origin: http://me" } }
    assert.equal(401, (status{ path = "/in" }))
    server.close()
    server = echo.server{ verifyClient = function(info, decide)
      await.sleep(5)
      if info.req.url == "/in" then return decide(true) end
      decide(false, 402, "pay first", { ["X-Price"] = "5" })
    end }
    works{ path = "/in" }
    local code, headers = status{ path = "/out" }
    assert.same({ 402, "5" }, { code, headers["x-price"] })
    -- One that leaves meanwhile.
    local gone = peer.open(server.port)
    gone:write(peer.request{ path = "/in" })
    gone:destroy()
    works{ path = "/in" }
    assert.equal(2, #server.logs)
  end)

  it("is refused with 500 where the program errs, and others are not", function()
    local path = os.tmpname()
    fs.writeFileSync(path, [[
      local websocket = require("websocket")
      local server = websocket.WebSocketServer:new{ port = 0, host = "127.0.0.1", verifyClient = function(info)
        if info.req.url == "/throw" then error("thrown by verifyClient") end
        return true
      end }
      server:on("connection", function(socket, req)
        if req.url == "/late" then error("thrown by connection") end
        socket:on("message", function(data) socket:send(data) end)
      end)
      server:on("listening", function() process.send(server:address().port) end)
      process:on("disconnect", function() process.exit(0) end)
    ]])
    local child = require("child_process").fork(path, {}, { silent = true })
    local reported = ""
    child.stderr:on("data", function(data) reported = reported .. data end)
    local port = children.once(child, "message")
    assert.equal(500, (status({ path = "/throw" }, port)))
    peer.connect(port, { path = "/late" }):expect("close 1011"):destroy()
    works({}, port)
    children.eventually(function()
      return reported:find("thrown by verifyClient", 1, true) and reported:find("thrown by connection", 1, true)
    end)
    children.goodbye(child)
    fs.rmSync(path)
  end)

  it("comes from an origin of a list, or without one", function()
    local mine, other = { headers = { "Origin: https://me" } }, { headers = { "Origin: https://other" } }
    server = echo.server{ origins = { "https://me" } }
    works(mine)
    works{}
    assert.equal(403, (status(other)))
    server.close()
    server = echo.server{ origins = { "https://me", required = true } }
    works(mine)
    assert.equal(403, (status{}))
    server.close()
    server = echo.server{ origins = {} }
    assert.equal(403, (status(mine)))
    works{}
  end)

  it("may get more header lines, none that are no lines", function()
    server = echo.server()
    server.server:on("headers", function(lines, req)
      assert.matches("^HTTP/1%.1 101", lines[1])
      lines[#lines + 1] = "X-Path: " .. req.url
    end)
    assert.equal("/me", works{ path = "/me" }["x-path"])
  end)

  it("that is none goes to wsClientError where somebody listens", function()
    server = echo.server()
    local heard
    server.server:on("wsClientError", function(err, socket, req)
      heard = { err.message, req.url }
      socket:finish("HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    end)
    assert.equal(418, (status{ key = false, path = "/x" }))
    assert.same({ "Missing or invalid Sec-WebSocket-Key header", "/x" }, heard)
  end)

  it("may bring messages in the same packet, for listeners that are late", function()
    local wss = websocket.WebSocketServer:new{ port = 0, host = "127.0.0.1" }
    wss:on("connection", function(socket)
      socket:on("message", function(data) socket:send(data) end)
    end)
    await(function(done) wss:once("listening", done) end)
    local connection = peer.connect(wss:address().port, { behind = peer.client.text("early") .. peer.client.ping("p") })
    connection:expect("text early", "pong p")
    connection:destroy()
    await(function(done) wss:close(done) end)
  end)
end)

describe("a WebSocketServer", function()
  after_each(servers.close)

  local function code(connection)
    connection:destroy()
    return connection.status
  end

  it("stands on an http server, which goes on without it", function()
    local base = http.createServer(function(_, res) res:finish("plain") end)
    local port = servers.listen(base)
    local one = websocket.WebSocketServer:new{ server = base, path = "/one" }
    local two = websocket.WebSocketServer:new{ server = base, path = "/two" }
    local names = {}
    one:on("connection", function(socket) names[#names + 1] = "one" socket:close(1000) end)
    two:on("connection", function(socket) names[#names + 1] = "two" socket:close(1000) end)
    assert.same({ 101, 101, 400 }, { code(peer.connect(port, { path = "/one" })), code(peer.connect(port, { path = "/two" })),
      code(peer.connect(port, { path = "/three", any = true })) })
    children.eventually(function() return #names == 2 end)
    assert.same({ "one", "two" }, names)
    await(function(done) one:close(done) end)
    assert.equal(400, code(peer.connect(port, { path = "/one", any = true })))
    assert.equal(101, code(peer.connect(port, { path = "/two" })))
    await(function(done) two:close(done) end)
    assert.equal(0, base:listenerCount("upgrade"))
    local plain = peer.open(port)
    plain:write("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert.equal("HTTP/1.1 200 OK", (plain:head()))
    plain:destroy()
  end)

  it("leaves upgrades of other paths to other listeners", function()
    local base = http.createServer()
    local port = servers.listen(base)
    local wss = websocket.WebSocketServer:new{ server = base, path = "/ws" }
    base:on("upgrade", function(req, socket)
      if req.url == "/ws" then return end
      socket:finish("HTTP/1.1 299 Mine\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    end)
    assert.equal(299, code(peer.connect(port, { path = "/other", any = true })))
    assert.equal(101, code(peer.connect(port, { path = "/ws" })))
    wss:close()
  end)

  it("without a server takes what the program gives it, once, until it closes", function()
    local wss = websocket.WebSocketServer:new{ noServer = true }
    local base, second = http.createServer(), nil
    local port = servers.listen(base)
    base:on("upgrade", function(req, socket, head)
      wss:handleUpgrade(req, socket, head, function(ws, request)
        assert.equal(req, request)
        wss:emit("connection", ws, request)
      end)
      second = select(2, pcall(wss.handleUpgrade, wss, req, socket, head, function() end))
    end)
    local connections = 0
    wss:on("connection", function(ws)
      connections = connections + 1
      ws:on("message", function(data) ws:send(data) end)
    end)
    local connection = peer.connect(port)
    connection:write(peer.client.text("hello")):expect("text hello")
    assert.matches("more than once", second.message)
    assert.has_error(function() wss:address() end)
    local closed = false
    wss:close(function() closed = true end)
    assert.equal(503, code(peer.connect(port, { any = true })))
    assert.is_false(closed)
    connection:write(peer.client.close(1000)):expect("close 1000"):expectEnd()
    children.eventually(function() return closed end)
    assert.equal(1, connections)
  end)

  it("knows its sockets, and closes behind the last of them", function()
    local wss = websocket.WebSocketServer:new{ port = 0, host = "127.0.0.1" }
    await(function(done) wss:once("listening", done) end)
    local port = wss:address().port
    local one, two = peer.connect(port), peer.connect(port)
    local count = 0
    for socket in pairs(wss.clients) do
      assert.equal(1, socket.readyState)
      count = count + 1
    end
    assert.equal(2, count)
    local closed = false
    wss:close(function() closed = true end)
    assert.is_false(pcall(peer.open, port))
    one:write(peer.client.close(1000)):expect("close 1000"):expectEnd()
    assert.is_false(closed)
    for socket in pairs(wss.clients) do socket:terminate() end
    two:wait("the end", function() end)
    two:destroy()
    children.eventually(function() return closed end)
    assert.is_nil(next(wss.clients))
    local err
    wss:close(function(failure) err = failure end)
    children.eventually(function() return err end)
    assert.equal("ERR_SERVER_NOT_RUNNING", err.code)
  end)

  it("may keep no list of them", function()
    local server = echo.server{ clientTracking = false }
    local connection = peer.connect(server.port)
    assert.is_nil(server.server.clients)
    connection:write(peer.client.close(1000)):expect("close 1000"):expectEnd()
    await(function(done) server.server:close(done) end)
  end)

  it("emits the error of a port that is taken", function()
    local server = echo.server()
    local other = websocket.WebSocketServer:new{ port = server.port, host = "127.0.0.1" }
    assert.equal("EADDRINUSE", children.once(other, "error").code)
    server.close()
  end)

  it("says what is wrong with its options", function()
    local wrong = {
      { nil, "port.*server.*noServer" }, { {}, "port.*server.*noServer" }, { { port = 1, noServer = true }, "port.*server.*noServer" },
      { { port = 70000 }, "port" }, { { server = {} }, "http.Server" }, { { noServer = true, path = 1 }, "path" },
      { { noServer = true, maxPayload = -1 }, "maxPayload" }, { { noServer = true, maxPayload = "1" }, "maxPayload" },
      { { noServer = true, perMessageDeflate = 1 }, "perMessageDeflate" },
      { { noServer = true, perMessageDeflate = { serverMaxWindowBits = 16 } }, "serverMaxWindowBits" },
      { { noServer = true, perMessageDeflate = { threshold = -1 } }, "threshold" },
      { { noServer = true, origins = "http://x" }, "origins" }, { { noServer = true, origins = { 1 } }, "origins" },
      { { noServer = true, onBackpressure = "wait" }, "onBackpressure" }, { { noServer = true, verifyClient = true }, "verifyClient" },
      { { noServer = true, handleProtocols = {} }, "handleProtocols" }, { { noServer = true, idleTimeout = -1 }, "idleTimeout" },
      { { noServer = true, clientTracking = 1 }, "clientTracking" },
    }
    for i, case in ipairs(wrong) do
      local ok, err = pcall(websocket.WebSocketServer.new, websocket.WebSocketServer, case[1])
      assert.is_false(ok, "options " .. i)
      assert.matches(case[2], err.message)
    end
  end)

  it("has statuses that a browser can read", function()
    local server = echo.server()
    local connection = peer.open(server.port)
    connection:write((peer.request():gsub("HTTP/1%.1", "HTTP/1.0")))
    local line = connection:head()
    assert.matches("^HTTP/1%.1 400", line)
    connection:destroy()
    server.close()
  end)
end)
