--- Peers that are built on other libraries than OpenSSL: GnuTLS and NSS, as clients and as servers.
local pki = require("spec.support.pki")
pki.need()
local await = require("await")
local child_process = require("child_process")
local https = require("https")
local net = require("net")
local servers = require("spec.support.servers")
local support = require("spec.support.tls")

local VERSIONS = { "1.2", "1.3" }

-- Runs a shell command; all its output.
local function sh(command)
  local _, stdout, stderr = await(child_process.exec, command, { timeout = 60000 })
  return stdout .. stderr
end

local function serve(options)
  return servers.listen(https.createServer(pki.options("server", options), function(req, res)
    res:finish("hello over " .. req.socket:getProtocol())
  end))
end

local function answers(port)
  return await(function(done)
    local probe = net.connect(port, "127.0.0.1", function() done(true) end)
    probe:on("error", function() done(false) end)
    probe:on("connect", function() probe:destroy() end)
  end)
end

-- Starts a server of theirs on a port that was free a moment ago; the child, when it answers: what it prints stays in its
-- buffer.
local function start(port, program, arguments)
  local child = child_process.spawn(program, arguments, { stdio = "ignore" })
  for _ = 1, 500 do
    if child.exitCode ~= nil or answers(port) then break end
    await.sleep(20)
  end
  assert(child.exitCode == nil, program .. " did not start")
  return child
end

local function stop(child)
  child:kill()
  if child.exitCode == nil then support.first(child, "exit") end
end

local function freePort()
  local port, server = servers.listen(net.createServer())
  server:close()
  support.first(server, "close")
  return port
end

-- A request of ours to their server, which speaks some HTTP; its status, and the version of TLS; or nil and the error.
local function ask(port, options)
  local all = { port = port, host = "localhost", ca = pki.ca.cert, agent = false }
  for name, value in pairs(options) do all[name] = value end
  return await(function(done)
    https.get(all, function(res)
      local version = res.socket:getProtocol()
      res:resume()
      res:on("end", function() done(res.statusCode, version) end)
    end):on("error", function(err) done(nil, err) end)
  end)
end

local function peer(program, ...)
  if pki.has(program) then it(...) else pending("no " .. program) end
end

describe("GnuTLS", function()
  after_each(servers.close)

  peer("gnutls-cli", "is a client of ours, in both versions", function()
    local port = serve()
    local request = pki.write(pki.folder() .. "/gnutls-request", "GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
    for _, version in ipairs(VERSIONS) do
      local output = sh(("gnutls-cli --x509cafile %s --priority 'NORMAL:-VERS-ALL:+VERS-TLS%s' -p %d localhost <%s"):format(
        pki.ca.certPath, version, port, request))
      assert.truthy(output:find("hello over TLSv" .. version, 1, true), output)
    end
  end)

  peer("gnutls-cli", "resumes sessions with us, and refuses an authority that it does not know", function()
    local port = serve()
    for _, version in ipairs(VERSIONS) do
      local command = ("gnutls-cli --x509cafile %%s --priority 'NORMAL:-VERS-ALL:+VERS-TLS%s' -r -p %d localhost </dev/null"):format(version, port)
      local output = sh(command:format(pki.ca.certPath))
      assert.truthy(output:find("This is a resumed session", 1, true), output)
      output = sh(command:format(pki.otherCa.certPath))
      assert.truthy(output:find("issuer is unknown", 1, true), output)
    end
  end)

  peer("gnutls-serv", "is a server of ours, which asks for a certificate", function()
    local port = freePort()
    local child = start(port, "gnutls-serv", { "--http", "-p", tostring(port), "--x509cafile", pki.ca.certPath, "--x509certfile",
      pki.server.certPath, "--x509keyfile", pki.server.keyPath, "--require-client-cert" })
    for _, wanted in ipairs(VERSIONS) do
      local status, version = ask(port, pki.options("client", { minVersion = "TLSv" .. wanted, maxVersion = "TLSv" .. wanted }))
      assert.equal(200, status)
      assert.equal("TLSv" .. wanted, version)
    end
    local status, err = ask(port, { maxVersion = "TLSv1.2" })
    assert.is_nil(status)
    assert.truthy(err.code)
    stop(child)
  end)
end)

-- A database of NSS that trusts our authority, and holds the server's key.
local function database()
  local path = pki.folder() .. "/nss"
  local bundle = pki.folder() .. "/server.p12"
  child_process.execFileSync("mkdir", { "-p", path })
  pki.openssl("pkcs12", "-export", "-in", pki.server.certPath, "-inkey", pki.server.keyPath, "-name", "server", "-passout", "pass:", "-out", bundle)
  local name = "sql:" .. path
  child_process.execFileSync("certutil", { "-N", "-d", name, "--empty-password" })
  child_process.execFileSync("certutil", { "-A", "-d", name, "-n", "authority", "-t", "CT,,", "-i", pki.ca.certPath })
  child_process.execFileSync("pk12util", { "-i", bundle, "-d", name, "-W", "" })
  return name
end

describe("NSS", function()
  local db

  setup(function() db = pki.has("certutil") and pki.has("pk12util") and database() end)
  after_each(servers.close)

  peer("tstclnt", "is a client of ours, in both versions, and resumes its session", function()
    local port = support.serve(pki.options("server"), function(socket)
      socket:finish(("hello over %s\n"):format(socket:getProtocol()))
      socket:resume()
    end)
    for _, version in ipairs(VERSIONS) do
      local command = ("tstclnt -h localhost -p %d -4 -u -V tls%s:tls%s"):format(port, version, version)
      local output = sh(("%s -d %s <%s"):format(command, db, pki.ca.certPath))
      assert.truthy(output:find("hello over TLSv" .. version, 1, true), output)
      output = sh(("%s -L 2 -d %s </dev/null"):format(command, db))
      assert.truthy(output:find("1 stateless resumes", 1, true), output)
      output = sh(("%s -D </dev/null"):format(command))
      assert.truthy(output:find("SEC_ERROR_UNKNOWN_ISSUER", 1, true), output)
    end
  end)

  peer("vfyserv", "finds our server configured as it should be", function()
    local output = sh(("vfyserv -p %d -d %s localhost"):format(serve(), db))
    assert.truthy(output:find("SERVER CONFIGURED CORRECTLY", 1, true), output)
    assert.truthy(output:find("read [1-9]%d* bytes total"), output)
  end)

  peer("selfserv", "is a server of ours", function()
    local port = freePort()
    local child = start(port, "selfserv", { "-p", tostring(port), "-d", db, "-e", "server", "-w", "", "-u" })
    for _, wanted in ipairs(VERSIONS) do
      local status, version = ask(port, { minVersion = "TLSv" .. wanted, maxVersion = "TLSv" .. wanted })
      assert.equal(200, status)
      assert.equal("TLSv" .. wanted, version)
    end
    stop(child)
  end)
end)
