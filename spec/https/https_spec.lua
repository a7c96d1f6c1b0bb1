local pki = require("spec.support.pki")
pki.need()
local await = require("await")
local http = require("http")
local https = require("https")
local net = require("net")
local servers = require("spec.support.servers")
local support = require("spec.support.tls")

local function serve(options, listener) return servers.listen(https.createServer(options, listener)) end

-- Status, body, response; or nil and the error.
local function get(port, options)
  local all = { port = port, host = "localhost", ca = pki.ca.cert, agent = false }
  for key, value in pairs(options or {}) do all[key] = value end
  return await(function(done)
    https.get(all, function(res) done(res.statusCode, res:body(), res) end):on("error", function(err) done(nil, err) end)
  end)
end

describe("an https server", function()
  after_each(servers.close)

  it("serves requests whose sockets know about TLS", function()
    local port = serve(pki.options("server"), function(req, res)
      res:finish(("%s %s %s"):format(tostring(req.socket.encrypted), req.socket:getProtocol(), req.socket.remoteAddress))
    end)
    local status, body = get(port, { host = "127.0.0.1" })
    assert.equal(200, status)
    assert.equal("true TLSv1.3 127.0.0.1", body)
  end)

  it("answers pipelined requests in one write, in order", function()
    local port = serve(pki.options("server"), function(req, res) res:finish(req.url) end)
    local client = assert(support.connect(port, { ca = pki.ca.cert }))
    local request = "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
    client:write(request:format(1) .. request:format(2) .. request:format(3))
    local _, data = support.first(client, "data")
    assert.truthy(data:find("/1HTTP.*/2HTTP.*/3$"))
    client:destroy()
  end)

  it("carries large bodies both ways, in pieces and whole", function()
    local text = ("0123456789abcdef"):rep(65536)
    local port = serve(pki.options("server"), function(req, res)
      if req.url == "/whole" then return res:finish(text) end
      req:pipe(res)
    end)
    assert.is_true(select(2, get(port, { path = "/whole" })) == text)
    local body = await(function(done)
      local req = https.request({ port = port, host = "localhost", ca = pki.ca.cert, method = "POST" }, function(res)
        done(res:body(2 * #text))
      end)
      for i = 1, #text, 100000 do req:write(text:sub(i, i + 99999)) end
      req:finish()
    end)
    assert.is_true(body == text)
  end)

  it("tells a plain client what is spoken here, also one that sends a lot", function()
    local port = serve(pki.options("server"), function() error("reached") end)
    for _, request in ipairs{
      "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "DELETE /x HTTP/1.1\r\nHost: a\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n" .. ("x"):rep(20000),
    } do
      local raw = net.connect(port, "127.0.0.1")
      raw:write(request)
      local answer = support.drain(raw)
      assert.truthy(answer:find("^HTTP/1.1 400 Bad Request\r\n"))
      assert.truthy(answer:find("HTTPS", 1, true))
      support.closed(raw)
    end
    local raw = net.connect(port, "127.0.0.1")
    raw:write("SSH-2.0-client\r\n")
    raw:resume()
    raw:on("data", function() error("an answer to what is no HTTP") end)
    support.closed(raw)
  end)

  it("serves a socket that came from elsewhere", function()
    local server = https.createServer(pki.options("server"), function(_, res) res:finish("hello") end)
    local port = servers.listen(net.createServer(function(socket) server:emit("connection", socket) end))
    assert.equal("hello", select(2, get(port)))
  end)

  it("gives the TLS socket to who listens for secureConnection, and to an upgrade", function()
    local port, server = serve(pki.options("server"), function(_, res) res:finish("x") end)
    local seen
    server:on("secureConnection", function(socket) seen = socket end)
    server:on("upgrade", function(_, socket, head)
      socket:write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n" .. head)
      socket:pipe(socket)
    end)
    assert.equal("x", select(2, get(port)))
    assert.is_true(seen.encrypted)
    local client = assert(support.connect(port, { ca = pki.ca.cert }))
    client:write("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
    local _, data = support.first(client, "data")
    assert.truthy(data:find("^HTTP/1.1 101"))
    assert.equal("over the upgraded one", support.echo(client, "over the upgraded one"))
    client:destroy()
  end)

  it("says what was wrong with TLS once HTTP has the connection, and in a handshake", function()
    local server = https.createServer(pki.options("server"), function(_, res) res:finish("once") end)
    local inner = servers.listen(server)
    local changes = {}
    for _, listens in ipairs{ false, true } do
      changes.up = nil
      if listens then server:on("request", function(req) req.socket:getProtocol() end) end
      local client = assert(support.connect(support.proxy(inner, changes), { ca = pki.ca.cert }))
      client:on("error", function() end)
      client:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      support.first(client, "data")
      changes.up = support.spoiled
      client:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      local _, err, socket = support.first(server, "clientError")
      assert.equal("ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC", err.code)
      assert.equal("SSL routines", err.library)
      assert.equal("decryption failed or bad record mac", err.reason)
      assert.is_true(socket.encrypted and socket.destroyed)
      client:destroy()
    end
    local stranger = net.connect(inner, "127.0.0.1")
    stranger:write(("*"):rep(100))
    local _, err, socket = support.first(server, "clientError")
    assert.equal("ERR_SSL_WRONG_VERSION_NUMBER", err.code)
    assert.is_true(socket.encrypted)
    stranger:destroy()
  end)

  it("closes idle connections and handshakes on their way when it closes", function()
    local port, server = serve(pki.options("server"), function(_, res) res:finish("x") end)
    local agent = https.Agent:new{ keepAlive = true }
    assert.equal("x", select(2, get(port, { agent = agent })))
    local raw = net.connect(port, "127.0.0.1")
    support.first(raw, "connect")
    raw:on("error", function() end)
    raw:resume()
    if #server._underWay:list() == 0 then support.first(server, "connection") end
    server:closeAllConnections()
    await(function(done) server:close(function() done() end) end)
    support.closed(raw)
    agent:destroy()
  end)

  it("has http's time limits", function()
    local port = serve(pki.options("server", { headersTimeout = 60, requestTimeout = 1000 }), function() end)
    local client = assert(support.connect(port, { ca = pki.ca.cert }))
    client:write("GET / HTTP/1.1\r\nHo")
    assert.truthy(support.drain(client):find("^HTTP/1.1 408"))
  end)
end)

describe("an https client", function()
  after_each(servers.close)

  it("says what was wrong with TLS before and in the body", function()
    local inner = serve(pki.options("server"), function(req, res)
      res:write("first")
      req:on("data", function() res:write("second") end)
    end)
    local changes = {}
    local proxy = support.proxy(inner, changes)
    local function ask(onResponse)
      changes.down = nil
      return await(function(done)
        local req = https.request({ port = proxy, host = "localhost", ca = pki.ca.cert, agent = false, method = "POST" }, function(res)
          res:on("data", function() end)
          res:on("error", function(err) assert.equal("ECONNRESET", err.code) end)
        end)
        req:on("error", done)
        onResponse(req)
      end)
    end
    local err = ask(function(req)
      req:on("response", function()
        changes.down = support.spoiled
        req:write("more, please")
      end)
      req:write("some")
    end)
    assert.equal("ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC", err.code)
    assert.equal("SSL routines", err.library)
    err = ask(function(req)
      req:on("socket", function(socket)
        socket:on("secureConnect", function() changes.down = support.spoiled end)
      end)
      req:write("some")
    end)
    assert.equal("ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC", err.code)
  end)

  it("gives the verification's error to the request", function()
    local port = serve(pki.options("foreign"), function(_, res) res:finish("x") end)
    local status, err = get(port)
    assert.is_nil(status)
    assert.equal("UNABLE_TO_VERIFY_LEAF_SIGNATURE", err.code)
    assert.equal(200, (get(port, { rejectUnauthorized = false })))
    status, err = get(port, { ca = pki.otherCa.cert, headers = { Host = "other.test" } })
    assert.is_nil(status)
    assert.equal("ERR_TLS_CERT_ALTNAME_INVALID", err.code)
  end)

  it("keeps sessions by place and options, and connections, too", function()
    local port = serve(pki.options("server"), function(req, res)
      res:finish(tostring(req.socket:isSessionReused()) .. " " .. req.socket.remotePort)
    end)
    local agent = https.Agent:new{ ca = pki.ca.cert }
    assert.truthy(select(2, get(port, { agent = agent })):find("^false"))
    assert.truthy(select(2, get(port, { agent = agent })):find("^true"))
    assert.truthy(select(2, get(port, { agent = agent, headers = { Host = "server.test" } })):find("^false"))
    assert.truthy(select(2, get(port, { agent = https.Agent:new() })):find("^false"))

    local kept = https.Agent:new{ keepAlive = true }
    local free = false
    kept:on("free", function() free = true end)
    local first = select(2, get(port, { agent = kept }))
    if not free then support.first(kept, "free") end
    assert.equal(first, select(2, get(port, { agent = kept })))
    assert.not_equal(first, select(2, get(port, { agent = kept, rejectUnauthorized = false })))
    kept:destroy()
  end)

  it("says which module is for which URL, and which agent", function()
    assert.truthy(tostring(select(2, pcall(http.get, "https://localhost/"))):find('require("https")', 1, true))
    assert.truthy(tostring(select(2, pcall(https.get, "http://localhost/"))):find('require("http")', 1, true))
    assert.equal("ERR_INVALID_PROTOCOL", select(2, pcall(https.get, { host = "localhost", agent = http.Agent:new() })).code)
    assert.equal("ERR_INVALID_ARG_TYPE", select(2, pcall(https.get, { host = "localhost", checkServerIdentity = 1 })).code)
  end)

  it("fails clearly at a plain server, and when the server leaves", function()
    local plain = servers.serve(nil, function(_, res) res:finish("plain") end)
    local status, err = get(plain)
    assert.is_nil(status)
    assert.equal("ERR_SSL_WRONG_VERSION_NUMBER", err.code)
    local gone = servers.listen(net.createServer(function(socket) socket:destroy() end))
    status, err = get(gone)
    assert.is_nil(status)
    assert.equal("ECONNRESET", err.code)
  end)

  it("speaks over a unix socket", function()
    local path = pki.folder() .. "/https.sock"
    servers.listen(https.createServer(pki.options("server"), function(_, res) res:finish("over a path") end), path)
    assert.equal("over a path", select(2, get(nil, { socketPath = path })))
  end)
end)

