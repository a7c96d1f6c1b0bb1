local await = require("await")
local crypto = require("crypto")

local KINDS = { "rsa", "rsa-pss", "ec", "ed25519", "ed448", "x25519", "x448" }
local OPTIONS = { modulusLength = 1024, namedCurve = "P-256" }

local function code(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  return err.code, tostring(err)
end

describe("crypto.generateKeyPair", function()
  it("makes objects that tell about themselves", function()
    for _, kind in ipairs(KINDS) do
      local pair = crypto.generateKeyPairSync(kind, OPTIONS)
      assert.same({ "public", "private", kind, kind },
        { pair.publicKey.type, pair.privateKey.type, pair.publicKey.asymmetricKeyType, pair.privateKey.asymmetricKeyType })
    end
    local rsa = crypto.generateKeyPairSync("rsa", { modulusLength = 1024, publicExponent = 3 }).publicKey
    assert.same({ modulusLength = 1024, publicExponent = 3 }, rsa.asymmetricKeyDetails)
    assert.same({ namedCurve = "secp384r1" }, crypto.generateKeyPairSync("ec", { namedCurve = "secp384r1" }).privateKey.asymmetricKeyDetails)
  end)

  it("writes them as it is told", function()
    local pair = crypto.generateKeyPairSync("ec", {
      namedCurve = "P-256", publicKeyEncoding = { type = "spki", format = "pem" },
      privateKeyEncoding = { type = "pkcs8", format = "pem", cipher = "aes-256-cbc", passphrase = "secret" },
    })
    assert.truthy(pair.publicKey:find("^%-%-%-%-%-BEGIN PUBLIC KEY%-%-%-%-%-\n"))
    assert.truthy(pair.privateKey:find("^%-%-%-%-%-BEGIN ENCRYPTED PRIVATE KEY%-%-%-%-%-\n"))
    local signature = crypto.sign("sha256", "x", { key = pair.privateKey, passphrase = "secret" })
    assert.is_true(crypto.verify("sha256", "x", pair.publicKey, signature))
    assert.equal("ERR_MISSING_PASSPHRASE", code(crypto.sign, "sha256", "x", pair.privateKey))
    assert.equal("ERR_OSSL_BAD_DECRYPT", code(crypto.sign, "sha256", "x", { key = pair.privateKey, passphrase = "wrong" }))
  end)

  it("makes them on a thread for a callback, which gets both", function()
    local err, public, private = await(crypto.generateKeyPair, "rsa", { modulusLength = 1024 })
    assert.is_nil(err)
    assert.same({ "public", "private" }, { public.type, private.type })
    local failure, text = await(crypto.generateKeyPair, "ed25519", { publicKeyEncoding = { format = "pem" } })
    assert.is_nil(failure)
    assert.truthy(text:find("PUBLIC KEY", 1, true))
    err = await(crypto.generateKeyPair, "ed25519", { privateKeyEncoding = { type = "sec1", format = "pem" } })
    assert.equal("ERR_CRYPTO_INCOMPATIBLE_KEY_OPTIONS", err.code)
  end)

  it("restricts what an RSA-PSS key signs with", function()
    local pair = crypto.generateKeyPairSync("rsa-pss",
      { modulusLength = 1024, hashAlgorithm = "sha256", mgf1HashAlgorithm = "sha256", saltLength = 32 })
    assert.is_true(crypto.verify("sha256", "x", pair.publicKey, crypto.sign("sha256", "x", pair.privateKey)))
    assert.is_false(pcall(crypto.sign, "sha512", "x", pair.privateKey))
  end)

  it("says what is missing or wrong before it begins", function()
    assert.equal("ERR_INVALID_ARG_VALUE", code(crypto.generateKeyPairSync, "rsa2", {}))
    assert.equal("ERR_INVALID_ARG_TYPE", code(crypto.generateKeyPairSync, "rsa", {}))
    assert.equal("ERR_OUT_OF_RANGE", code(crypto.generateKeyPairSync, "rsa", { modulusLength = 2 ^ 20 }))
    assert.equal("ERR_INVALID_ARG_TYPE", code(crypto.generateKeyPairSync, "ec"))
    local which, message = code(crypto.generateKeyPairSync, "ec", { namedCurve = "prime256v2" })
    assert.equal("ERR_CRYPTO_INVALID_CURVE", which)
    assert.truthy(message:find("did you mean 'prime", 1, true), message)
    assert.equal("ERR_INVALID_ARG_TYPE", code(crypto.generateKeyPair, "ed25519", {}))
    assert.equal("ERR_INVALID_ARG_VALUE", code(crypto.generateKeyPairSync, "ed25519", { publicKeyEncoding = { format = "jwk" } }))
  end)
end)

describe("a KeyObject", function()
  it("is read back from every form that it is written in", function()
    for _, kind in ipairs(KINDS) do
      local pair = crypto.generateKeyPairSync(kind, OPTIONS)
      local forms = { { "pkcs8", "spki" } }
      if kind == "rsa" then forms[2] = { "pkcs1", "pkcs1" } elseif kind == "ec" then forms[2] = { "sec1" } end
      for _, form in ipairs(forms) do
        for _, format in ipairs{ "pem", "der" } do
          local text = pair.privateKey:export{ type = form[1], format = format }
          local again = crypto.createPrivateKey{ key = text, format = format, type = form[1] }
          assert.is_true(again:equals(pair.privateKey))
          assert.is_true(crypto.createPublicKey{ key = text, format = format }:equals(pair.publicKey))
          if form[2] then
            text = pair.publicKey:export{ type = form[2], format = format }
            assert.is_true(crypto.createPublicKey{ key = text, format = format, type = form[2] }:equals(pair.publicKey))
            assert.is_false(pcall(crypto.createPrivateKey, { key = text, format = format }))
          end
        end
      end
      assert.is_true(crypto.createPublicKey(pair.privateKey):equals(pair.publicKey))
      assert.is_false(pair.publicKey:equals(pair.privateKey))
      assert.is_false(pair.publicKey:equals(crypto.generateKeyPairSync(kind, OPTIONS).publicKey))
    end
  end)

  it("is encrypted in the older forms, too", function()
    local rsa = crypto.generateKeyPairSync("rsa", OPTIONS).privateKey
    local text = rsa:export{ type = "pkcs1", cipher = "aes-128-cbc", passphrase = "secret" }
    assert.truthy(text:find("Proc-Type: 4,ENCRYPTED", 1, true))
    assert.is_true(crypto.createPrivateKey{ key = text, passphrase = "secret" }:equals(rsa))
    assert.equal("ERR_MISSING_PASSPHRASE", code(crypto.createPrivateKey, text))
    local der = rsa:export{ format = "der", type = "pkcs8", cipher = "aes-256-cbc", passphrase = "secret" }
    assert.is_true(crypto.createPrivateKey{ key = der, format = "der", passphrase = "secret" }:equals(rsa))
    assert.equal("ERR_CRYPTO_INCOMPATIBLE_KEY_OPTIONS",
      code(rsa.export, rsa, { format = "der", type = "pkcs1", cipher = "aes-256-cbc", passphrase = "s" }))
  end)

  it("shows nothing of what is secret", function()
    local key = crypto.generateKeyPairSync("ed25519").privateKey
    assert.equal("private key (ed25519)", tostring(key))
    local secret = key:export{ format = "der" }:sub(-32)
    for _, value in pairs(key) do assert.are_not.equal(secret, value) end
    assert.is_nil(require("inspect")(key):find("BEGIN", 1, true))
  end)

  it("refuses what it cannot be written as, and texts that are no key, with what to type", function()
    local pair = crypto.generateKeyPairSync("ec", OPTIONS)
    assert.equal("ERR_CRYPTO_INCOMPATIBLE_KEY_OPTIONS", code(pair.privateKey.export, pair.privateKey, { type = "pkcs1" }))
    assert.equal("ERR_INVALID_ARG_VALUE", code(pair.publicKey.export, pair.publicKey, { type = "pkcs8" }))
    assert.equal("ERR_INVALID_ARG_VALUE", code(pair.publicKey.export, pair.publicKey, { cipher = "aes-128-cbc", passphrase = "x" }))
    assert.equal("ERR_INVALID_ARG_TYPE", code(pair.privateKey.export, pair.privateKey, { cipher = "aes-128-cbc" }))
    local _, message = code(crypto.createPrivateKey, "nonsense")
    assert.truthy(message:find('format = "der"', 1, true), message)
    _, message = code(crypto.createPrivateKey, pair.publicKey:export())
    assert.truthy(message:find("no private key in it", 1, true), message)
    assert.is_false(pcall(crypto.createPublicKey, ""))
    assert.is_false(pcall(crypto.createPublicKey, "-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n"))
    assert.equal("ERR_INVALID_ARG_TYPE", code(crypto.createPublicKey))
    local text = pair.privateKey:export()
    for cut = 1, #text - 30, 17 do assert.is_false(pcall(crypto.createPrivateKey, text:sub(1, cut))) end
    assert.truthy(table.concat(crypto.getCurves(), " "):find("prime256v1", 1, true))
  end)
end)

describe("crypto.createPublicKey", function()
  it("takes the key of a certificate", function()
    local pki = require("spec.support.pki")
    if not pki.has("openssl") then return pending("no openssl command") end
    local public = crypto.createPublicKey(pki.rsa.cert)
    assert.is_true(crypto.createPublicKey(pki.rsa.key):equals(public))
    assert.is_true(crypto.verify("sha256", "x", pki.rsa.cert, crypto.sign("sha256", "x", pki.rsa.key)))
  end)
end)
