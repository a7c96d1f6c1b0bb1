--- A client: addresses, what its request says, who does not let it in, redirects, TLS, unix sockets, and giving up meanwhile.
local await = require("await")
local children = require("spec.support.children")
local echo = require("spec.support.websocket_echo")
local fs = require("fs")
local http = require("http")
local https = require("https")
local os = require("os")
local peer = require("spec.support.websocket_peer")
local pki = require("spec.support.pki")
local servers = require("spec.support.servers")
local tlsSupport = require("spec.support.tls")
local urls = require("url")
local websocket = require("websocket")

local WebSocket = websocket.WebSocket

-- What becomes of a client: whether it opened, and its error.
local function outcome(socket)
  local opened, failure = false, nil
  socket:on("open", function()
    opened = true
    socket:close(1000)
  end)
  socket:on("error", function(err) failure = err end)
  local code = children.once(socket, "close")
  assert.equal(3, socket.readyState)
  return opened, failure, code
end

describe("a WebSocket client", function()
  local server

  before_each(function() server = echo.server() end)
  after_each(function()
    server.close()
    servers.close()
  end)

  local function base() return "ws://127.0.0.1:" .. server.port end

  it("connects to what a URL names, as text or as an object", function()
    for _, url in ipairs{ base(), base() .. "/", "http" .. base():sub(3), urls.URL:new(base() .. "/a?b=c") } do
      local socket = WebSocket:new(url)
      assert.equal(0, socket.readyState)
      assert.is_true((outcome(socket)))
    end
    children.eventually(function() return #server.logs == 4 end)
    assert.equal("/a?b=c", server.logs[4].req.url)
    local socket = WebSocket:new(base())
    assert.equal(base() .. "/", socket.url)
    outcome(socket)
  end)

  it("sends headers, an origin, credentials, protocols, and nothing of its own twice", function()
    local seen
    server.server:on("connection", function(_, req) seen = req end)
    local socket = WebSocket:new("ws://me:p%40ss@127.0.0.1:" .. server.port, { "one", "two" },
      { headers = { ["X-Mine"] = "1", Cookie = "a=b" }, origin = "https://me" })
    children.once(socket, "open")
    assert.same({ "one", "" }, { socket.protocol, socket.extensions })
    children.eventually(function() return seen end)
    local headers = seen.headers
    assert.same({ "1", "a=b", "https://me", "Basic bWU6cEBzcw==", "13", "one,two" }, { headers["x-mine"], headers.cookie, headers.origin,
      headers.authorization, headers["sec-websocket-version"], (headers["sec-websocket-protocol"]:gsub(" ", "")) })
    assert.equal(24, #headers["sec-websocket-key"])
    socket:terminate()
    children.once(socket, "close")
    -- Options in the second place.
    socket = WebSocket:new(base(), { origin = "https://other" })
    children.once(socket, "open")
    socket:terminate()
    children.once(socket, "close")
    assert.equal("https://other", seen.headers.origin)
  end)

  it("connects over TLS, with the checks of https", function()
    if not pki.has("openssl") then return pending("no openssl") end
    local secure = https.createServer(pki.options("server"))
    local port = servers.listen(secure)
    local wss = websocket.WebSocketServer:new{ server = secure }
    wss:on("connection", function(socket, req)
      assert.is_true(req.socket.encrypted)
      socket:on("message", function(data) socket:send(data) end)
    end)
    local url = ("wss://localhost:%d/"):format(port)
    local opened, failure = outcome(WebSocket:new(url))
    assert.is_false(opened)
    assert.is_truthy(failure.code)
    local socket = WebSocket:new(url, { ca = pki.ca.cert })
    children.once(socket, "open")
    local large = ("over TLS "):rep(100000)
    for _, text in ipairs{ "small", large, "small again" } do
      socket:send(text)
      assert.is_true(children.once(socket, "message") == text)
    end
    socket:close(1000)
    assert.equal(1000, (children.once(socket, "close")))
    wss:close()
  end)

  it("gets the code of a fault of TLS, as the server's socket does", function()
    if not pki.has("openssl") then return pending("no openssl") end
    local secure = https.createServer(pki.options("server"))
    local inner = servers.listen(secure)
    local wss = websocket.WebSocketServer:new{ server = secure }
    for _, way in ipairs{ "down", "up" } do
      local changes, failures = {}, {}
      local socket = WebSocket:new(("wss://localhost:%d/"):format(tlsSupport.proxy(inner, changes)), { ca = pki.ca.cert })
      local accepted = children.once(wss, "connection")
      if socket.readyState == WebSocket.CONNECTING then children.once(socket, "open") end
      local spoiled = way == "down" and socket or accepted
      for _, each in ipairs{ socket, accepted } do
        each:on("error", function(err)
          failures[#failures + 1] = each
          assert.equal(each == spoiled and "ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC" or "ERR_SSL_SSLV3_ALERT_BAD_RECORD_MAC", err.code)
          assert.equal("SSL routines", err.library)
          each:send("too late", function() end)
        end)
      end
      changes[way] = tlsSupport.spoiled
      if way == "down" then accepted:send("x") else socket:send("x") end
      local code = children.once(spoiled, "close")
      assert.equal(1006, code)
      assert.equal(spoiled, failures[1])
      socket:terminate()
    end
    wss:close()
  end)

  it("connects over a unix socket", function()
    local folder = fs.mkdtempSync(os.tmpdir() .. "/lrun-ws-")
    local http_server = http.createServer()
    servers.listen(http_server, folder .. "/socket")
    local wss = websocket.WebSocketServer:new{ server = http_server }
    local seen
    wss:on("connection", function(_, req) seen = req.url end)
    assert.is_true((outcome(WebSocket:new("ws+unix:" .. folder .. "/socket:/room?a=b"))))
    assert.equal("/room?a=b", seen)
    assert.is_true((outcome(WebSocket:new("ws+unix:" .. folder .. "/socket"))))
    assert.equal("/", seen)
    local opened, failure = outcome(WebSocket:new("ws+unix:" .. folder .. "/nobody"))
    assert.same({ false, "ENOENT" }, { opened, failure.code })
    wss:close()
    servers.close()
    fs.rmSync(folder, { recursive = true })
  end)

  it("says that nobody listens, and closes", function()
    local opened, failure, code = outcome(WebSocket:new("ws://127.0.0.1:1"))
    assert.same({ false, "ECONNREFUSED", 1006 }, { opened, failure.code, code })
  end)

  -- A server that answers upgrades by their path.
  local function redirecting()
    local seen = {}
    local plain = http.createServer()
    local port = servers.listen(plain)
    plain:on("upgrade", function(req, socket, head)
      seen[#seen + 1] = req
      local status, location = req.url:match("^/(%d+)/(.*)$")
      if status == "401" then
        return socket:finish("HTTP/1.1 401 Unauthorized\r\nX-Why: no ticket\r\nContent-Length: 9\r\nConnection: close\r\n\r\nno ticket")
      end
      if status then
        return socket:finish(("HTTP/1.1 %s Moved\r\nLocation: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"):format(status, location))
      end
      server.server:handleUpgrade(req, socket, head, function(ws) server.server:emit("connection", ws, req) end)
    end)
    return "ws://127.0.0.1:" .. port, seen
  end

  it("hands an unexpected response over, or fails by its status", function()
    local url = redirecting()
    local socket, body = WebSocket:new(url .. "/401/"), nil
    socket:on("unexpected-response", function(req, res)
      assert.same({ "GET", 401, "no ticket" }, { req.method, res.statusCode, res.headers["x-why"] })
      body = res:body()
      socket:terminate()
    end)
    local opened, failure = outcome(socket)
    assert.same({ false, "no ticket" }, { opened, body })
    assert.matches("before the connection was established", failure.message)
    opened, failure = outcome(WebSocket:new(url .. "/401/"))
    assert.is_false(opened)
    assert.matches("401", failure.message)
  end)

  it("follows redirects where it may, and no more than it may", function()
    local url, seen = redirecting()
    local _, failure = outcome(WebSocket:new(url .. "/302//in"))
    assert.matches("302", failure.message)
    for _, status in ipairs{ 301, 302, 303, 307, 308 } do
      local socket, steps = WebSocket:new(("%s/%d/%s/302//in"):format(url, status, url), { followRedirects = true }), {}
      socket:on("redirect", function(to) steps[#steps + 1] = to end)
      assert.is_true((outcome(socket)))
      assert.equal(url .. "/in", socket.url)
      assert.equal(2, #steps)
    end
    for i = #seen, 1, -1 do seen[i] = nil end
    local loop = "/302/" .. url
    _, failure = outcome(WebSocket:new(url .. loop:rep(5), { followRedirects = true, maxRedirects = 3 }))
    assert.matches("redirects", failure.message)
    assert.equal(4, #seen)
    for _, bad in ipairs{ "ftp://127.0.0.1/", "ws://" } do
      local opened
      opened, failure = outcome(WebSocket:new(url .. "/302/" .. bad, { followRedirects = true }))
      assert.is_false(opened)
      assert.is_truthy(failure)
    end
  end)

  it("takes credentials along a redirect to the same place alone", function()
    local one, seenOne = redirecting()
    local two, seenTwo = redirecting()
    local options = { followRedirects = true, headers = { Authorization = "Bearer x", Cookie = "id=1", ["X-Other"] = "kept" } }
    assert.is_true((outcome(WebSocket:new(one .. "/302//in", options))))
    assert.same({ "Bearer x", "id=1" }, { seenOne[2].headers.authorization, seenOne[2].headers.cookie })
    assert.is_true((outcome(WebSocket:new(one .. "/302/" .. two .. "/in", options))))
    local headers = seenTwo[1].headers
    assert.same({ nil, nil, "kept" }, { headers.authorization, headers.cookie, headers["x-other"] })
    -- Nor back again.
    assert.is_true((outcome(WebSocket:new(("%s/302/%s/302/%s/in"):format(one, two, one), { followRedirects = true, auth = "me:secret" }))))
    assert.is_truthy(seenOne[4].headers.authorization)
    assert.is_nil(seenTwo[2].headers.authorization)
  end)

  it("may be given up while it connects", function()
    local silent = peer.listen(function() end)
    for _, how in ipairs{ "close", "terminate" } do
      local socket = WebSocket:new("ws://127.0.0.1:" .. silent.port)
      socket[how](socket)
      local opened, failure, code = outcome(socket)
      assert.same({ false, 1006 }, { opened, code })
      assert.matches("before the connection was established", failure.message)
    end
    silent.close()
  end)

  it("ends at once when its server has gone without a close frame", function()
    for _, reset in ipairs{ false, true } do
      local raw = peer.listen(function(connection)
        connection:accept(nil, peer.server.text("last words"))
        await.sleep(20)
        connection:destroy(reset)
      end)
      local log, heard = echo.client("ws://127.0.0.1:" .. raw.port), nil
      log.socket:on("message", function(data) heard = data end)
      children.eventually(function() return log.code end)
      assert.same({ 1006, {}, "last words" }, { log.code, log.errors, heard })
      raw.close()
    end
  end)

  it("says what is wrong with its arguments", function()
    local wrong = {
      { { "nonsense" }, "URL" }, { { "ftp://localhost" }, "ws:" }, { { "ws://localhost/#part" }, "fragment" }, { { "ws://" }, "URL" }, { {}, "url" },
      { { 5 }, "url" }, { { "ws+unix:" }, "path of a socket" }, { { base(), "" }, "subprotocol" }, { { base(), "a b" }, "subprotocol" },
      { { base(), { "a", "a" } }, "subprotocol" }, { { base(), { 5 } }, "subprotocol" }, { { base(), 5 }, "protocols" },
      { { base(), nil, 5 }, "options" }, { { base(), nil, { handshakeTimeout = -1 } }, "handshakeTimeout" },
      { { base(), nil, { maxPayload = "x" } }, "maxPayload" }, { { base(), nil, { followRedirects = 1 } }, "followRedirects" },
      { { base(), nil, { perMessageDeflate = { clientMaxWindowBits = 7 } } }, "clientMaxWindowBits" },
      { { base(), nil, { headers = 1 } }, "headers" },
    }
    for i, case in ipairs(wrong) do
      local ok, err = pcall(WebSocket.new, WebSocket, unpack(case[1], 1, 3))
      assert.is_false(ok, "case " .. i)
      assert.matches(case[2], err.message, 1)
    end
    assert.equal(0, #server.logs)
  end)
end)
