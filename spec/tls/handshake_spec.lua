local pki = require("spec.support.pki")
pki.need()
local await = require("await")
local net = require("net")
local servers = require("spec.support.servers")
local support = require("spec.support.tls")
local timers = require("timers")
local tls = require("tls")

local TRUST = { ca = pki.ca.cert }

local function with(more)
  local options = { ca = pki.ca.cert }
  for key, value in pairs(more) do options[key] = value end
  return options
end

describe("a TLS handshake", function()
  after_each(servers.close)

  it("makes both ends secure, over both versions", function()
    for _, version in ipairs{ "TLSv1.2", "TLSv1.3" } do
      local port, server = support.serve(pki.options("server", { maxVersion = version }))
      local client = assert(support.connect(port, TRUST))
      assert.is_true(client.encrypted and client.authorized)
      assert.equal(version, client:getProtocol())
      assert.equal("server.test", client:getPeerCertificate().subject.CN)
      assert.equal("text", support.echo(client, "text"))
      assert.equal(client:getFinished(), server.accepted[1]:getPeerFinished())
      assert.equal(client:getCipher().name, server.accepted[1]:getCipher().name)
      client:destroy()
    end
  end)

  it("refuses certificates that are not to be believed, each with its code and where it was", function()
    for name, code in pairs{
      selfSigned = "DEPTH_ZERO_SELF_SIGNED_CERT", foreign = "UNABLE_TO_VERIFY_LEAF_SIGNATURE", expired = "CERT_HAS_EXPIRED",
      alpha = "ERR_TLS_CERT_ALTNAME_INVALID",
    } do
      local port = support.serve(pki.options(name))
      local socket, err = support.connect(port, with{ servername = "localhost" })
      assert.is_nil(socket)
      assert.equal(code, err.code)
      assert.truthy(err.message:find("localhost", 1, true), err.message)
      local tolerant = assert(support.connect(port, with{ servername = "localhost", rejectUnauthorized = false }))
      assert.is_false(tolerant.authorized)
      assert.equal(code, tolerant.authorizationError)
      tolerant:destroy()
    end
  end)

  it("asks clients for certificates", function()
    local port, server = support.serve(pki.options("server", { requestCert = true, ca = pki.ca.cert }))
    local client = assert(support.connect(port, pki.options("client", TRUST)))
    assert.equal("x", support.echo(client, "x"))
    assert.is_true(server.accepted[1].authorized)
    assert.equal("client one", server.accepted[1]:getPeerCertificate().subject.CN)
    client:destroy()
    for name, code in pairs{ foreignClient = "UNABLE_TO_VERIFY_LEAF_SIGNATURE", none = "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE" } do
      server.failures = {}
      local options = name == "none" and with{ maxVersion = "TLSv1.2" } or pki.options(name, with{ maxVersion = "TLSv1.2" })
      local nobody, err = support.connect(port, options)
      assert.is_nil(nobody)
      assert.truthy(err.code:find("^ERR_SSL_"), err.code)
      assert.equal(code, server.failures[1].code)
    end
  end)

  it("does not take a session that was made without a client's certificate where one is required", function()
    local keys = ("k"):rep(48)
    local shared = { ca = pki.ca.cert, ticketKeys = keys, maxVersion = "TLSv1.2" }
    local lax = support.serve(pki.options("server", shared))
    local strict, server = support.serve(pki.options("server", { requestCert = true, ca = pki.ca.cert, ticketKeys = keys, maxVersion = "TLSv1.2" }))
    local client = assert(support.connect(lax, TRUST))
    local session = client:getSession()
    client:destroy()
    assert.is_nil((support.connect(strict, with{ session = session })))
    assert.equal(1, #server.failures)
  end)

  it("chooses the certificate by the name that is asked for", function()
    local port, server = support.serve(pki.options("server"))
    server:addContext("alpha.test", pki.options("alpha"))
    server:addContext("*.wild.test", tls.createSecureContext(pki.options("wild")))
    for name, cn in pairs{ ["ALPHA.test"] = "alpha.test", ["a.wild.test"] = "wild", ["a.b.wild.test"] = "server.test" } do
      local client = assert(support.connect(port, with{ servername = name, rejectUnauthorized = false }))
      assert.equal(cn, client:getPeerCertificate().subject.CN, name)
      client:destroy()
    end
    server:addContext("alpha.test", pki.options("renewed"))
    local client = assert(support.connect(port, with{ servername = "alpha.test", rejectUnauthorized = false }))
    assert.equal("renewed.test", client:getPeerCertificate().subject.CN)
    client:destroy()
  end)

  it("lets the program choose certificates later, and refuse", function()
    local port, server = support.serve(pki.options("server", {
      SNICallback = function(name, done)
        timers.setTimeout(function()
          if name == "none.test" then return done(nil, nil) end
          if name == "bad.test" then return done(nil, {}) end
          if name == "error.test" then return done("not here") end
          done(nil, tls.createSecureContext(pki.options("alpha")))
        end, 1)
      end,
    }))
    local client = assert(support.connect(port, with{ servername = "alpha.test" }))
    assert.equal("alpha.test", client:getPeerCertificate().subject.CN)
    client:destroy()
    client = assert(support.connect(port, with{ servername = "none.test", checkServerIdentity = function() end }))
    assert.equal("server.test", client:getPeerCertificate().subject.CN)
    client:destroy()
    assert.is_nil((support.connect(port, with{ servername = "bad.test" })))
    assert.equal("ERR_TLS_INVALID_CONTEXT", server.failures[1].code)
    assert.is_nil((support.connect(port, with{ servername = "error.test" })))
    assert.equal("not here", server.failures[2])
  end)

  it("agrees on a protocol, by list or by the program", function()
    local port = support.serve(pki.options("server", { ALPNProtocols = { "b", "a" } }))
    local client = assert(support.connect(port, with{ ALPNProtocols = { "a", "b" } }))
    assert.equal("b", client.alpnProtocol)
    client:destroy()
    client = assert(support.connect(port, TRUST))
    assert.is_false(client.alpnProtocol)
    client:destroy()
    local _, err = support.connect(port, with{ ALPNProtocols = { "c" } })
    assert.equal("ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL", err.code)

    local offers = {}
    local chosen, server = support.serve(pki.options("server", { ALPNCallback = function(offer)
      offers[#offers + 1] = offer
      return offer.protocols[2]
    end }))
    client = assert(support.connect(chosen, with{ ALPNProtocols = { "x", "y" }, servername = "localhost" }))
    assert.equal("y", client.alpnProtocol)
    assert.same({ servername = "localhost", protocols = { "x", "y" } }, offers[1])
    client:destroy()
    assert.is_nil((support.connect(chosen, with{ ALPNProtocols = { "x" } })))
    assert.equal("ERR_SSL_NO_APPLICATION_PROTOCOL", server.failures[1].code)
  end)

  it("gives one ticket of TLS 1.3, also to a client that says nothing", function()
    local port = support.serve(pki.options("server"))
    local silent, count = assert(support.connect(port, TRUST)), 0
    silent:on("session", function() count = count + 1 end)
    support.first(silent, "session")
    assert.equal("x", support.echo(silent, "x"))
    assert.equal("y", support.echo(silent, "y"))
    assert.equal(1, count)
  end)

  it("resumes sessions, by tickets and by what the program keeps", function()
    for _, version in ipairs{ "TLSv1.2", "TLSv1.3" } do
      local port = support.serve(pki.options("server", { maxVersion = version }))
      local session
      for i = 1, 4 do
        local client = assert(support.connect(port, with{ session = session }))
        client:on("session", function(new) session = new end)
        assert.equal("x", support.echo(client, "x"))
        assert.equal(i > 1, client:isSessionReused())
        assert.is_true(client.authorized)
        if version == "TLSv1.2" then session = client:getSession() end
        client:destroy()
      end
      local other = support.serve(pki.options("server", { maxVersion = version }))
      local client = assert(support.connect(other, with{ session = session }))
      assert.is_false(client:isSessionReused())
      client:destroy()
    end

    local kept = {}
    local port, server = support.serve(pki.options("server", { maxVersion = "TLSv1.2", secureOptions = 2 ^ 14 }))   -- no tickets
    server:on("newSession", function(id, session, done) kept[id] = session timers.setTimeout(done, 1) end)
    server:on("resumeSession", function(id, done) timers.setTimeout(done, 1, nil, kept[id]) end)
    local client = assert(support.connect(port, with{ maxVersion = "TLSv1.2" }))
    assert.equal("x", support.echo(client, "x"))
    local session = client:getSession()
    client:destroy()
    client = assert(support.connect(port, with{ maxVersion = "TLSv1.2", session = session }))
    assert.is_true(client:isSessionReused())
    client:destroy()
  end)

  it("tells secrets to those who listen for them", function()
    local port, server = support.serve(pki.options("server"))
    local lines = {}
    server:on("keylog", function(line, socket)
      assert.is_true(socket.encrypted)
      lines[#lines + 1] = line
    end)
    local client = assert(support.connect(port, TRUST))
    assert.equal("x", support.echo(client, "x"))
    assert.truthy(table.concat(lines):find("SERVER_TRAFFIC_SECRET_0 %x+ %x+\n"))
    client:destroy()
  end)

  it("sends an OCSP response from a file", function()
    local bytes = "\48\3\10\1\3"      -- "try later"
    local path = pki.write(pki.folder() .. "/staple", bytes)
    local port = support.serve(pki.options("server", { ocspStaple = path }))
    local client = tls.connect(with{ port = port, host = "127.0.0.1", requestOCSP = true })
    local _, response = support.first(client, "OCSPResponse")
    assert.equal(bytes, response)
    support.first(client, "secureConnect")
    client:destroy()
  end)

  it("refuses renegotiation that a client begins, and ends a connection that insists", function()
    local port, server = support.serve(pki.options("server", { maxVersion = "TLSv1.2" }))
    local client = assert(support.connect(port, TRUST))
    client:on("error", function() end)
    assert.is_true(client:renegotiate({}, function() end))
    support.closed(client)
    support.closed(server.accepted[1])

    port = support.serve(pki.options("server"))
    client = assert(support.connect(port, TRUST))
    local problem
    assert.is_false(client:renegotiate({}, function(err) problem = err end))
    await(timers.setImmediate)
    assert.equal("ERR_SSL_WRONG_SSL_VERSION", problem.code)
    client:destroy()
  end)

  it("fails with ECONNRESET when the server leaves before it", function()
    local port = servers.listen(net.createServer(function(socket) socket:destroy() end))
    local _, err = support.connect(port, TRUST)
    assert.equal("ECONNRESET", err.code)
    assert.truthy(err.message:find("before secure TLS connection was established", 1, true))
    assert.equal(port, err.port)
  end)

  it("says that a plain server does not speak TLS", function()
    local port = servers.listen(net.createServer(function(socket)
      socket:on("error", function() end)
      socket:resume()
      socket:write("220 hello\r\n")
    end))
    local _, err = support.connect(port, TRUST)
    assert.equal("ERR_SSL_WRONG_VERSION_NUMBER", err.code)
    assert.truthy(err.message:find("does not speak TLS", 1, true))
  end)
end)
