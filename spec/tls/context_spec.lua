local pki = require("spec.support.pki")
pki.need()
local tls = require("tls")

local function refused(options)
  local ok, err = pcall(tls.createSecureContext, options)
  assert.is_false(ok)
  return err
end

describe("tls.createSecureContext", function()
  it("takes a certificate with its key, several of them in any order, and files", function()
    tls.createSecureContext(pki.options("server"))
    tls.createSecureContext{ cert = { pki.server.cert, pki.rsa.cert }, key = { pki.rsa.key, pki.server.key } }
    tls.createSecureContext{ certFile = pki.server.certPath, keyFile = pki.server.keyPath }
    tls.createSecureContext{}
  end)

  it("names the option of a key that is another certificate's", function()
    local err = refused{ cert = pki.server.cert, key = pki.alpha.key }
    assert.equal("ERR_OSSL_X509_KEY_VALUES_MISMATCH", err.code)
    assert.truthy(err.message:find("options.key", 1, true))
    assert.truthy(err.message:find("options.cert", 1, true))
    assert.truthy(refused{ cert = pki.server.cert, key = pki.rsa.key }.message:find("options.key", 1, true))
    assert.truthy(refused{ cert = { pki.server.cert, pki.rsa.cert }, key = { pki.server.key } }.message:find("options.cert[2]", 1, true))
  end)

  it("names what is missing of a pair", function()
    assert.equal("ERR_MISSING_ARGS", refused{ cert = pki.server.cert }.code)
    assert.equal("ERR_MISSING_ARGS", refused{ key = pki.server.key }.code)
  end)

  it("names the passphrase that is wrong or missing", function()
    local encrypted = pki.openssl("pkcs8", "-topk8", "-in", pki.server.keyPath, "-passout", "pass:secret")
    assert.truthy(refused{ cert = pki.server.cert, key = encrypted }.message:find("options.passphrase is missing", 1, true))
    assert.truthy(refused{ cert = pki.server.cert, key = encrypted, passphrase = "x" }.message:find("options.passphrase is wrong", 1, true))
    tls.createSecureContext{ cert = pki.server.cert, key = encrypted, passphrase = "secret" }
    tls.createSecureContext{ cert = pki.server.cert, key = { { pem = encrypted, passphrase = "secret" } } }
  end)

  it("takes PKCS#12 and names the passphrase there, too", function()
    local path = pki.folder() .. "/server.p12"
    pki.openssl("pkcs12", "-export", "-inkey", pki.server.keyPath, "-in", pki.server.certPath, "-passout", "pass:secret", "-out", path)
    tls.createSecureContext{ pfx = pki.read(path), passphrase = "secret" }
    tls.createSecureContext{ pfx = { { buf = pki.read(path), passphrase = "secret" } } }
    assert.truthy(refused{ pfx = pki.read(path), passphrase = "x" }.message:find("passphrase", 1, true))
    assert.truthy(refused{ pfx = "junk" }.message:find("options.pfx", 1, true))
  end)

  it("names junk by its option", function()
    for option, text in pairs{ ca = "junk", crl = "junk", dhparam = "junk", ciphers = "nonsense", ecdhCurve = "nonsense", sigalgs = "nonsense" } do
      assert.truthy(refused{ [option] = text }.message:find("options." .. option, 1, true), option)
    end
    assert.equal("ERR_OSSL_PEM_NO_START_LINE", refused{ cert = "junk", key = pki.server.key }.code)
    local junk = pki.write(pki.folder() .. "/staple-junk", "junk")
    local err = refused{ ocspStaple = junk }
    assert.truthy(err.message:find("options.ocspStaple " .. junk .. " is no OCSP response", 1, true), err.message)
  end)

  it("says what takes a path where one was given for a text", function()
    local function message(options) return refused(options).message end
    local text = message{ cert = "server.pem", key = pki.server.key }
    assert.truthy(text:find("options.cert takes the text of a PEM file, and options.certFile takes the path", 1, true), text)
    text = message{ cert = pki.server.cert, key = pki.server.keyPath }
    assert.truthy(text:find("options.key takes the text of a PEM file, and options.keyFile takes the path", 1, true), text)
    text = message{ ca = pki.ca.certPath }
    assert.truthy(text:find("options.ca takes the text of a PEM file", 1, true), text)
  end)

  it("names the file that is not there or is no PEM", function()
    local err = refused{ certFile = "/nosuch/cert.pem", keyFile = pki.server.keyPath }
    assert.equal("ENOENT", err.code)
    assert.truthy(err.message:find("/nosuch/cert.pem", 1, true))
    local junk = pki.write(pki.folder() .. "/junk", "junk")
    assert.truthy(refused{ certFile = junk, keyFile = pki.server.keyPath }.message:find(junk, 1, true))
    assert.truthy(refused{ certFile = pki.server.certPath, keyFile = junk }.message:find(junk, 1, true))
    assert.equal("EISDIR", refused{ certFile = pki.folder(), keyFile = junk }.code)
  end)

  it("throws for what has the wrong type or range", function()
    assert.equal("ERR_INVALID_ARG_TYPE", refused("text").code)
    for option, value in pairs{ cert = 1, key = true, ca = 1, passphrase = 1, certFile = 1, honorCipherOrder = "x", sessionTimeout = "x" } do
      assert.equal("ERR_INVALID_ARG_TYPE", refused{ [option] = value }.code, option)
    end
    assert.equal("ERR_TLS_INVALID_PROTOCOL_VERSION", refused{ minVersion = "TLSv9" }.code)
    assert.equal("ERR_INVALID_ARG_VALUE", refused{ ticketKeys = "short" }.code)
    assert.equal("ERR_INVALID_ARG_VALUE", refused{ watch = true }.code)
  end)
end)

describe("tls", function()
  it("lists ciphers and the system's authorities", function()
    local ciphers = table.concat(tls.getCiphers(), " ")
    assert.truthy(ciphers:find("tls_aes_128_gcm_sha256", 1, true))
    assert.truthy(ciphers:find("ecdhe-rsa-aes128-gcm-sha256", 1, true))
    for _, pem in ipairs(tls.rootCertificates()) do assert.truthy(pem:find("^%-%-%-%-%-BEGIN CERTIFICATE")) end
  end)

  it("says what to type where a dot or a colon is wrong", function()
    assert.truthy(tostring(select(2, pcall(tls.createServer().listen, 0))):find("server:listen(...) with a colon", 1, true))
    assert.truthy(tostring(select(2, pcall(tls.connect, tls, {}))):find("tls.connect(...) with a dot", 1, true))
  end)
end)
