--- Peers that lie, stall, flood or leave: each costs its own connection, and nothing is left of it.
local pki = require("spec.support.pki")
pki.need()
local await = require("await")
local net = require("net")
local servers = require("spec.support.servers")
local support = require("spec.support.tls")

local TRUST = { ca = pki.ca.cert }

-- A connection of the attacker's; everything that it receives until the end.
local function raw(port, bytes, halfOpen)
  local socket = net.connect{ port = port, host = "127.0.0.1", allowHalfOpen = halfOpen }
  socket:on("error", function() end)
  socket:resume()
  if bytes then socket:write(bytes) end
  return socket
end

-- A record of handshake messages.
local function record(kind, body) return string.char(kind, 3, 3, math.floor(#body / 256), #body % 256) .. body end

describe("a TLS server", function()
  after_each(servers.close)

  it("ends what is no TLS, at any cut, and serves the others", function()
    local port, server = support.serve(pki.options("server"))
    local beside = assert(support.connect(port, TRUST))
    local hello = support.greeting(TRUST)
    local junk = {
      ("*"):rep(100), "GET / HTTP/1.1\r\n\r\n", "DELETE / HTTP/1.1\r\n\r\n", "SSH-2.0-x\r\n", ("\0"):rep(70000), "\22\3\1\0\5\1\0\0\1\0",
      "\22\3\1\255\255\1", "\21\3\1\0\2\2\40", hello:sub(1, 60) .. ("\255"):rep(#hello), hello .. ("junk"):rep(100), hello .. hello,
      record(22, "\1\255\255\255" .. ("x"):rep(200)), record(20, "\1"), record(23, "data"),
    }
    for i, bytes in ipairs(junk) do
      server.failures = {}
      local socket = raw(port, bytes, true)
      support.first(socket, "end", "close")
      socket:destroy()
      assert.equal(1, #server.failures, "junk " .. i)
      assert.equal("SSL routines", server.failures[1].library, "junk " .. i)
    end
    for _, cut in ipairs{ 1, 4, 5, 6, 50, #hello - 1, #hello } do
      server.failures = {}
      local socket = raw(port, hello:sub(1, cut))
      await.sleep(1)
      socket:finish()
      support.closed(socket)
      if #server.failures == 0 then support.first(server, "tlsClientError") end
      assert.equal("ECONNRESET", server.failures[1].code, "cut at " .. cut)
    end
    assert.equal("healthy", support.echo(beside, "healthy"))
    beside:destroy()
  end)

  it("ends handshakes that stall", function()
    local port, server = support.serve(pki.options("server", { handshakeTimeout = 60 }))
    local hello = support.greeting(TRUST)
    local stalled = {}
    for i = 1, 20 do stalled[i] = raw(port, i % 2 == 0 and hello:sub(1, i * 5) or nil) end
    local healthy = assert(support.connect(port, TRUST))
    for i = 1, 20 do support.closed(stalled[i]) end
    assert.equal(20, #server.failures)
    assert.equal("ERR_TLS_HANDSHAKE_TIMEOUT", server.failures[1].code)
    assert.equal("x", support.echo(healthy, "x"))
    healthy:destroy()
  end)

  it("bounds what a client sends while the program decides", function()
    local go
    local port, server = support.serve(pki.options("server", { SNICallback = function(_, done) go = done end }))
    local hello = support.greeting(TRUST):gsub("127%.0%.0%.1", "localhost")
    local port2 = servers.listen(net.createServer(function(socket)
      socket:once("data", function(data) hello = data socket:destroy() end)
    end))
    support.connect(port2, { ca = pki.ca.cert, servername = "localhost" })
    local socket = raw(port, hello)
    for _ = 1, 40 do socket:write(("x"):rep(16384)) end
    support.closed(socket)
    assert.equal(1, #server.failures)
    go(nil, nil)                       -- too late, and harmless
  end)

  it("ends a connection with a certificate chain that is too large", function()
    local port, server = support.serve(pki.options("server", { requestCert = true, ca = pki.ca.cert }))
    local many = { pki.client.cert }
    for i = 2, 400 do many[i] = pki.ca.cert end
    local options = { rejectUnauthorized = false, key = pki.client.key, cert = table.concat(many), maxVersion = "TLSv1.2" }
    local client, err = support.connect(port, options)
    assert.is_nil(client)
    assert.truthy(err.code)
    assert.equal("ERR_SSL_EXCESSIVE_MESSAGE_SIZE", server.failures[1].code)
  end)

  it("ends a connection whose records were changed or cut on the way", function()
    local inner, server = support.serve(pki.options("server"), function(socket) socket:resume() end)
    local changes = {}
    local client = assert(support.connect(support.proxy(inner, changes), TRUST))
    client:on("error", function() end)
    client:resume()
    if not server.accepted[1] then support.first(server, "secureConnection") end
    client:write("good")
    support.first(server.accepted[1], "data")
    changes.up = support.spoiled
    client:write("changed on the way")
    local _, err = support.first(server.accepted[1], "error")
    assert.equal("ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC", err.code)
    client:destroy()
  end)
end)

describe("a TLS client", function()
  after_each(servers.close)

  it("ends with an error whatever a server says", function()
    for i, bytes in ipairs{ "junk", ("\0"):rep(20000), record(22, "\2\0\0\1x"), "\21\3\3\0\2\2\40", "\22\3\3\255\255", record(23, "x") } do
      local port = servers.listen(net.createServer(function(socket)
        socket:on("error", function() end)
        socket:resume()
        socket:finish(bytes)
      end))
      local client, err = support.connect(port, TRUST)
      assert.is_nil(client, "answer " .. i)
      assert.truthy(err.code, "answer " .. i)
    end
  end)
end)
