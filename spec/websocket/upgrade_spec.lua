local await = require("await")
local children = require("spec.support.children")
local core = require("lrun.core.websocket")
local encoding = require("lrun.core.encoding")
local http = require("http")
local https = require("https")
local extension = require("lrun.websocket.extension")
local peer = require("spec.support.websocket_peer")
local pki = require("spec.support.pki")
local servers = require("spec.support.servers")
local websocket = require("websocket")

-- How a connection goes over from HTTP: without a socket where nobody asks for one, and what `req.socket` is then.
describe("an upgrade", function()
  after_each(servers.close)

  local function connections(server) return await(function(done) server:getConnections(function(_, count) done(count) end) end) end

  it("is counted by the http server once, whatever is asked of req.socket", function()
    for _, asks in ipairs{ true, false } do
      local port, base = servers.serve()
      local wss = websocket.WebSocketServer:new{ server = base }
      local seen = {}
      wss:on("connection", function(socket, req)
        if asks then seen[#seen + 1] = req.socket.remoteAddress end
        socket:on("message", function(data) socket:send(data) end)
      end)
      for _ = 1, 3 do
        local client = peer.connect(port)
        client:write(peer.client.text("hello")):expect("text hello")
        assert.equal(1, connections(base))
        client:write(peer.client.close(1000)):expect("close 1000"):expectEnd()
        children.eventually(function() return connections(base) == 0 end)
      end
      assert.equal(asks and 3 or 0, #seen)
    end
  end)

  it("has a req.socket that writes nothing into the WebSocket's stream", function()
    local port, base = servers.serve()
    local wss = websocket.WebSocketServer:new{ server = base }
    wss:on("connection", function(socket, req)
      req.socket:on("error", function() end)
      req.socket:write("noise")
      req.socket:destroy()
      socket:send("hello")
    end)
    local client = peer.connect(port)
    client:expect("text hello")
    client:write(peer.client.close(1000)):expect("close 1000"):expectEnd()
  end)

  it("tells over TLS who the client is", function()
    if not pki.has("openssl") then return pending("needs the program openssl") end
    local port, base = servers.listen(https.createServer(pki.options("server", {
      ca = pki.ca.cert, requestCert = true, rejectUnauthorized = false,
    })))
    local wss = websocket.WebSocketServer:new{ server = base }
    local told
    wss:on("connection", function(socket, req)
      told = { req.socket.encrypted, req.socket.authorized, req.socket:getPeerCertificate().subject.CN ~= nil, req.socket.remoteAddress }
      socket:close(1000)
    end)
    local client = websocket.WebSocket:new("wss://localhost:" .. port, pki.options("client", {
      ca = pki.ca.cert, lookup = function(_, _, callback) callback(nil, "127.0.0.1", 4) end,
    }))
    await(function(done) client:once("close", function() done() end) end)
    assert.same({ true, true, true, "127.0.0.1" }, told)
    children.eventually(function() return connections(base) == 0 end)
  end)

  -- Upgrades one after the other, which are closed again; how far the heap grew above what it was, in KB.
  local function upgrades(count)
    local port, base = servers.serve()
    local wss = websocket.WebSocketServer:new{ server = base }
    local before, most, last = collectgarbage("count"), 0, nil
    for _ = 1, count do
      local client = peer.connect(port)
      most = math.max(most, collectgarbage("count"))
      if last then last:destroy() end
      last = client
    end
    last:destroy()
    children.eventually(function() return next(wss.clients) == nil end)
    return most - before
  end

  it("gives back what HTTP had of many connections before the heap has doubled", function()
    collectgarbage()
    collectgarbage()
    local living = collectgarbage("count")
    assert.is_true(upgrades(600) < living * 0.75)
  end)

  it("leaves a collector alone that the program has stopped", function()
    collectgarbage()
    collectgarbage("stop")
    local grown = upgrades(300)
    collectgarbage("restart")
    assert.is_true(grown > 300 * 2)
  end)

  it("goes by its socket where another listener of upgrade is there, too", function()
    local port, base = servers.serve()
    local wss = websocket.WebSocketServer:new{ server = base, path = "/here" }
    wss:on("connection", function(socket) socket:send("ours") end)
    base:on("upgrade", function(req, socket)
      if req.url ~= "/here" then socket:finish("HTTP/1.1 418 Short\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") end
    end)
    peer.connect(port, { path = "/here" }):expect("text ours"):destroy()
    local other = peer.connect(port, { path = "/there", any = true })
    assert.equal(418, other.status)
    other:destroy()
  end)

  it("waits for the responses before it on its connection", function()
    local finish
    local port, base = servers.serve(function(_, res) finish = function() res:finish("plain") end end)
    local wss = websocket.WebSocketServer:new{ server = base }
    wss:on("connection", function(socket) socket:on("message", function(data) socket:send("got " .. data) end) end)
    local client = peer.open(port)
    client:write("GET / HTTP/1.1\r\nHost: x\r\n\r\n" .. peer.request() .. peer.client.text("early"))
    children.eventually(function() return finish ~= nil end)
    finish()
    assert.matches("^HTTP/1.1 200", (client:head()))
    client:wait("the body", function()
      if #client.bytes < 5 then return nil end
      assert.equal("plain", client.bytes:sub(1, 5))
      client.bytes = client.bytes:sub(6)
      return true
    end)
    assert.matches("^HTTP/1.1 101", (client:head()))
    client:expect("text got early"):destroy()
  end)

  it("lets a program that decides in shouldHandle take its time", function()
    local port, base = servers.listen(http.createServer())
    local wss = websocket.WebSocketServer:new{ server = base }
    function wss.shouldHandle(_, req)
      await.sleep(20)
      return req.url == "/here"
    end
    wss:on("connection", function(socket) socket:on("message", function(data) socket:send("got " .. data) end) end)
    local client = peer.connect(port, { path = "/here", behind = peer.client.text("early") })
    client:expect("text got early"):destroy()
    local other = peer.connect(port, { path = "/there", any = true })
    assert.equal(400, other.status)
    other:destroy()
  end)
end)

describe("the pieces of a handshake", function()
  it("are SHA-1 of any length", function()
    for text, digest in pairs{
      [""] = "da39a3ee5e6b4b0d3255bfef95601890afd80709", abc = "a9993e364706816aba3e25717850c26c9cd0d89d",
      ["abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"] = "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
      [("a"):rep(1000000)] = "34aa973cd4c4daa4f61eeb2bdbad27316534016f",
    } do assert.equal(digest, encoding.hex(core.sha1(text))) end
  end)

  it("are lists of extensions, or none", function()
    assert.same({ { name = "a", parameters = { b = "1", c = true, d = "e" } }, { name = "f", parameters = {} } },
      extension.parse('a; b=1;c ; d = "e" ,, f'))
    assert.same({}, extension.parse(""))
    assert.is_true(extension.parse("a; b; b=1")[1].twice)
    for _, bad in ipairs{ ";", "a;", "a; =1", "a; b=", 'a; b="c', 'a; b="c d"', 'a; b=""', "a b", "a; b c", "a, b; c=\1", 'a; b="c\\""' } do
      assert.is_nil(extension.parse(bad), bad)
    end
  end)

  it("agree on the smaller window, and tell ours from theirs", function()
    local agreed, answer = extension.accept("permessage-deflate; server_max_window_bits=11; client_max_window_bits=13", { serverMaxWindowBits = 12 })
    assert.equal("permessage-deflate; server_max_window_bits=11; client_max_window_bits=13", answer)
    assert.same({ inflate = 13, inflateGoesOn = true, deflate = 11, deflateGoesOn = true }, agreed)
    agreed = extension.agree("permessage-deflate; server_no_context_takeover; client_max_window_bits=10", {})
    assert.same({ inflate = 15, inflateGoesOn = false, deflate = 10, deflateGoesOn = true }, agreed)
    for _, bad in ipairs{
      "permessage-deflate; client_max_window_bits", "permessage-deflate; server_max_window_bits=16", "permessage-deflate, permessage-deflate",
      "x", "permessage-deflate; a", "permessage-deflate; server_no_context_takeover=1",
    } do assert.is_nil(extension.agree(bad, {}), bad) end
    assert.is_nil(extension.agree("permessage-deflate", { serverNoContextTakeover = true }))
    assert.is_nil(extension.agree("permessage-deflate; server_max_window_bits=12", { serverMaxWindowBits = 11 }))
  end)
end)
