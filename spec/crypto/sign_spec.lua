local await = require("await")
local crypto = require("crypto")

local constants = crypto.constants
local KINDS = { "rsa", "rsa-pss", "ec", "ed25519", "ed448" }
local OPTIONS = { modulusLength = 1024, namedCurve = "P-256" }

local pairsOf = {}
local function pair(kind)
  pairsOf[kind] = pairsOf[kind] or crypto.generateKeyPairSync(kind, OPTIONS)
  return pairsOf[kind]
end

local function digestOf(kind) return not kind:find("^ed") and "sha256" or nil end

local function code(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  return err.code, tostring(err)
end

describe("crypto.sign", function()
  for _, kind in ipairs(KINDS) do
    it("signs by " .. kind .. " what verify believes, and nothing else", function()
      local keys, digest = pair(kind), digestOf(kind)
      local signature = crypto.sign(digest, "the data", keys.privateKey)
      assert.is_true(crypto.verify(digest, "the data", keys.publicKey, signature))
      assert.is_true(crypto.verify(digest, "the data", keys.privateKey, signature))
      assert.is_true(crypto.verify(digest, "the data", keys.publicKey:export(), signature))
      assert.is_false(crypto.verify(digest, "other data", keys.publicKey, signature))
      assert.is_false(crypto.verify(digest, "the data", keys.publicKey, ""))
      assert.is_false(crypto.verify(digest, "the data", keys.publicKey, signature .. "x"))
      assert.is_false(crypto.verify(digest, "the data", crypto.generateKeyPairSync(kind, OPTIONS).publicKey, signature))
      local err, later = await(crypto.sign, digest, "the data", keys.privateKey)
      assert.is_nil(err)
      local failure, good = await(crypto.verify, digest, "the data", keys.publicKey, later)
      assert.same({ nil, true }, { failure, good })
      assert.is_false(select(2, await(crypto.verify, digest, "the date", keys.publicKey, later)))
    end)
  end

  it("pads RSA's as it is told, with PKCS#1 v1.5 unless told otherwise", function()
    local keys = pair("rsa")
    assert.equal(crypto.sign("sha256", "x", keys.privateKey), crypto.sign("sha256", "x", keys.privateKey))
    local pss = { key = keys.privateKey, padding = constants.RSA_PKCS1_PSS_PADDING, saltLength = constants.RSA_PSS_SALTLEN_DIGEST }
    local signature = crypto.sign("sha256", "x", pss)
    assert.are_not.equal(signature, crypto.sign("sha256", "x", pss))
    assert.is_false(crypto.verify("sha256", "x", keys.publicKey, signature))
    assert.is_true(crypto.verify("sha256", "x", { key = keys.publicKey, padding = constants.RSA_PKCS1_PSS_PADDING }, signature))
    assert.is_false(crypto.verify("sha256", "x",
      { key = keys.publicKey, padding = constants.RSA_PKCS1_PSS_PADDING, saltLength = 20 }, signature))
  end)

  it("writes ECDSA's two numbers without DER where that is asked for, always as long", function()
    for _, each in ipairs{ { "P-256", 64 }, { "P-384", 96 }, { "P-521", 132 } } do
      local keys = crypto.generateKeyPairSync("ec", { namedCurve = each[1] })
      local private = { key = keys.privateKey, dsaEncoding = "ieee-p1363" }
      local public = { key = keys.publicKey, dsaEncoding = "ieee-p1363" }
      for i = 1, 40 do
        local signature = crypto.sign("sha256", "text " .. i, private)
        assert.equal(each[2], #signature)
        assert.is_true(crypto.verify("sha256", "text " .. i, public, signature))
        assert.is_false(crypto.verify("sha256", "text " .. i, keys.publicKey, signature))
        assert.is_false(crypto.verify("sha256", "text " .. i, public, signature:sub(1, -2)))
      end
    end
  end)

  it("says what to type when a key takes no digest, or signs nothing", function()
    local _, message = code(crypto.sign, "sha256", "x", pair("ed25519").privateKey)
    assert.truthy(message:find("give nil in place of 'sha256'", 1, true), message)
    local err = await(crypto.sign, "sha256", "x", pair("ed25519").privateKey)
    assert.truthy(err.message:find("give nil in place of 'sha256'", 1, true))
    _, message = code(crypto.sign, nil, "x", pair("x25519").privateKey)
    assert.truthy(message:find("x25519 keys sign nothing", 1, true), message)
    assert.equal("ERR_CRYPTO_INVALID_DIGEST", code(crypto.sign, "nosuch", "x", pair("rsa").privateKey))
    assert.equal("ERR_CRYPTO_INVALID_KEY_OBJECT_TYPE", code(crypto.sign, nil, "x", pair("ed25519").publicKey))
    assert.equal("ERR_CRYPTO_SIGN_KEY_REQUIRED", code(crypto.sign, nil, "x"))
    assert.equal("ERR_INVALID_ARG_TYPE", code(crypto.sign, nil, "x", 5))
    assert.equal("ERR_INVALID_ARG_TYPE", code(crypto.sign, nil, nil, pair("ed25519").privateKey))
    assert.equal("ERR_INVALID_ARG_TYPE", code(crypto.verify, nil, "x", pair("ed25519").publicKey, nil))
    assert.equal("ERR_INVALID_ARG_TYPE", code(crypto.sign, nil, "x", pair("ed25519").privateKey, "callback"))
    assert.equal("ERR_INVALID_ARG_VALUE", code(crypto.sign, "sha256", "x", { key = pair("ec").privateKey, dsaEncoding = "raw" }))
  end)
end)

describe("crypto.createSign", function()
  it("signs what comes in pieces as sign does all at once, and verifies so", function()
    for _, kind in ipairs{ "rsa", "rsa-pss", "ec" } do
      local keys = pair(kind)
      local signature = crypto.createSign("sha256"):update("the "):update("64617461", "hex"):sign(keys.privateKey, "base64")
      local bytes = require("base64").decode(signature)
      assert.is_true(crypto.verify("sha256", "the data", keys.publicKey, bytes))
      assert.is_true(crypto.createVerify("SHA256"):update("the data"):verify(keys.publicKey, signature, "base64"))
      assert.is_false(crypto.createVerify("SHA256"):update("the date"):verify(keys.publicKey, bytes))
      assert.is_false(crypto.createVerify("SHA256"):update("the data"):verify(keys.publicKey, "none"))
    end
  end)

  it("takes data as a stream", function()
    local keys = pair("ec")
    local sign, verify = crypto.createSign("sha256"), crypto.createVerify("sha256")
    for _, each in ipairs{ sign, verify } do
      each:write("the ")
      each:finish("data")
      await(function(callback) each:on("finish", callback) end)
    end
    local plain = { key = keys.privateKey, dsaEncoding = "ieee-p1363" }
    local signature = sign:sign(plain)
    assert.equal(64, #signature)
    assert.is_true(verify:verify({ key = keys.publicKey, dsaEncoding = "ieee-p1363" }, signature))
  end)

  it("is done once, and keeps what it has when a key is wrong", function()
    local sign = crypto.createSign("sha256"):update("the data")
    assert.is_false(pcall(sign.sign, sign, "no key"))
    assert.equal("ERR_CRYPTO_SIGN_KEY_REQUIRED", code(sign.sign, sign))
    sign:sign(pair("ec").privateKey)
    assert.equal("ERR_CRYPTO_INVALID_STATE", code(sign.sign, sign, pair("ec").privateKey))
    assert.equal("ERR_CRYPTO_INVALID_STATE", code(sign.update, sign, "x"))
    local _, message = code(function() crypto.createSign("sha256"):sign(pair("ed25519").privateKey) end)
    assert.truthy(message:find("makes its own digest", 1, true), message)
  end)
end)
