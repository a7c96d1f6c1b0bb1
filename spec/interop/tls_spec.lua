--- Peers that are built on OpenSSL: its command, curl, Node.
local pki = require("spec.support.pki")
pki.need()
local await = require("await")
local child_process = require("child_process")
local https = require("https")
local servers = require("spec.support.servers")
local support = require("spec.support.tls")

-- Runs a shell command; its output and exit code.
local function sh(command, timeout)
  local err, stdout, stderr = await(child_process.exec, command, { timeout = timeout or 60000, maxBuffer = 16 * 1024 * 1024 })
  return stdout .. stderr, err and err.code or 0
end

local function serve(options)
  return servers.listen(https.createServer(pki.options("server", options), function(req, res)
    if req.method == "POST" then return req:pipe(res) end
    res:finish("hello over " .. req.socket:getProtocol())
  end))
end

local function peer(program, ...)
  if pki.has(program) then it(...) else pending("no " .. program) end
end

describe("a server of ours and", function()
  after_each(servers.close)

  it("openssl s_client: versions, certificates, resumption", function()
    local port = support.serve(pki.options("server", { requestCert = true, rejectUnauthorized = false, ca = pki.ca.cert }), function(socket)
      socket:finish(("%s %s\n"):format(socket:getProtocol(), tostring(socket.authorized)))
      socket:resume()
    end)
    local client = ("openssl s_client -ign_eof -connect 127.0.0.1:%d -CAfile %s -servername localhost -verify_hostname localhost")
      :format(port, pki.ca.certPath)
    for flag, version in pairs{ ["-tls1_2"] = "TLSv1.2", ["-tls1_3"] = "TLSv1.3" } do
      local output = sh(client .. " " .. flag .. " </dev/null")
      assert.truthy(output:find("Verify return code: 0 (ok)", 1, true), output)
      assert.truthy(output:find(version .. " false\n", 1, true), output)
      output = sh(("%s %s -cert %s -key %s </dev/null"):format(client, flag, pki.client.certPath, pki.client.keyPath))
      assert.truthy(output:find(version .. " true\n", 1, true), output)
      local session = pki.folder() .. "/session"
      sh(("%s %s -sess_out %s </dev/null"):format(client, flag, session))
      assert.truthy(sh(("%s %s -sess_in %s </dev/null"):format(client, flag, session)):find("\nReused, ", 1, true))
    end
    assert.truthy(sh(client .. " -tls1_1 -cipher DEFAULT:@SECLEVEL=0 </dev/null"):find("alert number 70", 1, true))
  end)

  peer("curl", "curl: bodies both ways, a kept connection, an authority that it does not know", function()
    local port = serve()
    local curl = ("curl -sS --noproxy '*' --resolve localhost:%d:127.0.0.1 --cacert %s "):format(port, pki.ca.certPath)
    local url = ("https://localhost:%d/"):format(port)
    assert.equal("hello over TLSv1.3hello over TLSv1.3", (sh(curl .. url .. " " .. url)))
    assert.equal("hello over TLSv1.2", (sh(curl .. "--tls-max 1.2 " .. url)))
    local big = pki.write(pki.folder() .. "/big", ("0123456789abcdef"):rep(131072))
    assert.is_true(sh(curl .. "--data-binary @" .. big .. " " .. url) == pki.read(big))
    assert.equal(60, select(2, sh(("curl -sS --noproxy '*' --cacert %s %s"):format(pki.otherCa.certPath, url))))
  end)

  peer("node", "Node: a request, a resumed session", function()
    local port = serve()
    local script = pki.write(pki.folder() .. "/client.js", [[
      const https = require('https'), fs = require('fs');
      const agent = new https.Agent({ ca: fs.readFileSync(process.argv[3]) });
      const get = (then) => https.get({ host: 'localhost', port: process.argv[2], agent }, (res) => {
        let text = '';
        res.on('data', (d) => { text += d; });
        res.on('end', () => then(text + ' ' + res.socket.authorized + ' ' + res.socket.isSessionReused()));
      });
      get((one) => get((two) => console.log(one + ', ' + two)));
    ]])
    local output = sh(("node %s %d %s"):format(script, port, pki.ca.certPath))
    assert.equal("hello over TLSv1.3 true false, hello over TLSv1.3 true true\n", output)
  end)
end)

describe("a client of ours and", function()
  after_each(servers.close)

  it("openssl s_server, which asks for a certificate", function()
    local child = child_process.spawn("openssl", { "s_server", "-accept", "127.0.0.1:0", "-rev", "-cert", pki.server.certPath,
      "-key", pki.server.keyPath, "-CAfile", pki.ca.certPath, "-Verify", "1", "-verify_return_error" })
    local said, port = "", nil
    child.stderr:resume()
    while not port do
      local _, data = support.first(child.stdout, "data")
      said = said .. data
      port = tonumber(said:match("ACCEPT 127%.0%.0%.1:(%d+)"))
    end
    child.stdout:resume()
    local client = assert(support.connect(port, pki.options("client", { ca = pki.ca.cert })))
    client:write("lrun\n")
    local _, answer = support.first(client, "data")
    assert.equal("nurl\n", answer)
    client:destroy()
    child:kill()
    support.first(child, "exit")
  end)
end)
