local await = require("await")
local base64 = require("base64")
local crypto = require("crypto")
local fs = require("fs")
local stream = require("stream")

local function code(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  return err.code, tostring(err)
end

local function unhex(text) return (text:gsub("%x%x", function(h) return string.char(tonumber(h, 16)) end)) end

local ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

describe("crypto.createHash", function()
  it("takes data in pieces and in encodings, and gives the digest in any", function()
    local hash = crypto.createHash("sha256")
    assert.equal(hash, hash:update("a"):update("62", "hex"):update("Yw==", "base64"):update(""))
    assert.equal(ABC, hash:digest("hex"))
    assert.equal(unhex(ABC), crypto.createHash("sha256"):update("abc"):digest())
    assert.equal(base64.encode(unhex(ABC)), crypto.createHash("sha256"):update("abc"):digest("base64"))
    assert.equal(base64.encodeUrl(unhex(ABC)), crypto.createHash("sha256"):update("abc", "utf8"):digest("base64url"))
    assert.equal(unhex(ABC), crypto.hash("sha256", "abc", "buffer"))
  end)

  it("takes any number of digests that are made side by side, and their room again", function()
    local function round()
      local held = {}
      for i = 1, 100000 do held[i] = crypto.createHash("sha256"):update("a") end      -- more than 16 MiB of OpenSSL's objects
      local copy = held[99999]:copy()
      for i = 1, #held, 9 do assert.equal(ABC, held[i]:update("bc"):digest("hex")) end
      assert.equal(ABC, copy:update("bc"):digest("hex"))
    end
    round()
    collectgarbage()
    round()
    assert.equal(ABC, crypto.hash("sha256", "abc"))
  end)

  it("knows a digest by its other names", function()
    for _, name in ipairs{ "SHA256", "sha-256", "SHA2-256", "RSA-SHA256", "sha256WithRSAEncryption" } do
      assert.equal(ABC, crypto.hash(name, "abc"))
    end
  end)

  it("gives as much as is asked for of a digest of free length, and of no other", function()
    -- FIPS 202: SHAKE128 of nothing
    assert.equal("7f9c2ba4e88f827d616045507605853e", crypto.createHash("shake128"):digest("hex"))
    assert.equal("7f9c2ba4e88f827d616045507605853ed73b8093", crypto.createHash("shake128", { outputLength = 20 }):digest("hex"))
    assert.equal("", crypto.createHash("shake128", { outputLength = 0 }):digest())
    assert.equal(100000, #crypto.createHash("shake256", { outputLength = 100000 }):digest())
    assert.equal(32, #crypto.createHash("sha256", { outputLength = 32 }):digest())
    assert.equal("ERR_INVALID_ARG_VALUE", code(crypto.createHash, "sha256", { outputLength = 20 }))
    local copy = crypto.createHash("shake128", { outputLength = 20 }):copy()
    assert.equal(20, #copy:digest())
    assert.equal(8, #crypto.createHash("shake128"):copy{ outputLength = 8 }:digest())
  end)

  it("goes on by itself in a copy", function()
    local hash = crypto.createHash("sha256"):update("ab")
    local copy = hash:copy():update("x")
    assert.equal(ABC, hash:update("c"):digest("hex"))
    assert.equal(crypto.hash("sha256", "abx"), copy:digest("hex"))
  end)

  it("says once what it gave", function()
    local hash = crypto.createHash("sha1")
    hash:digest()
    assert.equal("ERR_CRYPTO_HASH_FINALIZED", code(hash.digest, hash))
    assert.equal("ERR_CRYPTO_HASH_FINALIZED", code(hash.update, hash, "x"))
    assert.equal("ERR_CRYPTO_HASH_FINALIZED", code(hash.copy, hash))
  end)

  it("says what is wrong with a name, an encoding, data", function()
    local which, message = code(crypto.createHash, "sha265")
    assert.equal("ERR_CRYPTO_INVALID_DIGEST", which)
    assert.truthy(message:find("did you mean 'sha256'?", 1, true), message)
    assert.equal("ERR_CRYPTO_INVALID_DIGEST", code(crypto.createHash, ("x"):rep(1000)))
    assert.equal("ERR_CRYPTO_INVALID_DIGEST", code(crypto.createHash, ""))
    assert.equal("ERR_CRYPTO_INVALID_DIGEST", code(crypto.createHash, "sha1\0"))
    assert.equal("ERR_INVALID_ARG_TYPE", code(crypto.createHash))
    local hash = crypto.createHash("sha256")
    assert.equal("ERR_UNKNOWN_ENCODING", code(hash.digest, hash, "base32"))
    assert.equal("ERR_UNKNOWN_ENCODING", code(hash.update, hash, "x", "utf16le"))
    assert.equal("ERR_INVALID_ARG_VALUE", code(hash.update, hash, "abc", "hex"))
    assert.equal("ERR_INVALID_ARG_VALUE", code(hash.update, hash, "0g", "hex"))
    assert.equal("ERR_INVALID_ARG_VALUE", code(hash.update, hash, "a?", "base64"))
    assert.equal("ERR_INVALID_ARG_TYPE", code(hash.update, hash, {}))
    assert.equal("ERR_INVALID_ARG_TYPE", code(hash.update, "sha256"))
    assert.equal(crypto.hash("sha256", ""), hash:digest("hex"))
  end)

  it("can be written to as a stream, by whoever pipes", function()
    local path = os.tmpname()
    fs.writeFileSync(path, ("0123456789"):rep(100000))
    local want = crypto.hash("sha256", ("0123456789"):rep(100000))
    local hash = crypto.createHash("sha256")
    await(function(callback) stream.pipeline(fs.createReadStream(path), hash, callback) end)
    assert.equal(want, hash:digest("hex"))
    assert.equal("ERR_CRYPTO_HASH_FINALIZED", code(hash.digest, hash))

    hash = fs.createReadStream(path):pipe(crypto.createHash("sha256"))
    await(function(callback) hash:on("finish", callback) end)
    assert.equal(unhex(want), hash:read())

    local got = ""
    hash = fs.createReadStream(path):pipe(crypto.createHash("sha256"):setEncoding("hex"))
    hash:on("data", function(text) got = got .. text end)
    await(function(callback) hash:on("end", callback) end)
    assert.equal(want, got)
    os.remove(path)

    hash = crypto.createHash("sha256")
    hash:write("a")
    hash:update("b")
    hash:finish("c")
    await(function(callback) hash:on("finish", callback) end)
    assert.equal(ABC, hash:digest("hex"))
  end)

  it("fails as a stream whose digest somebody took", function()
    local hash = crypto.createHash("sha256")
    local failure
    hash:on("error", function(err) failure = err end)
    hash:digest()
    hash:write("x")
    await(function(callback) hash:on("close", callback) end)
    assert.equal("ERR_CRYPTO_HASH_FINALIZED", failure.code)
    hash = crypto.createHash("sha256")
    hash:destroy()
    assert.is_true(hash.destroyed)
    await(function(callback) hash:on("close", callback) end)
  end)

  it("lists names that it knows", function()
    local names = crypto.getHashes()
    for _, name in ipairs(names) do crypto.createHash(name):update("x"):digest() end
    assert.truthy(table.concat(names, " "):find("%f[%w]sha512%f[%W]"))
  end)
end)

describe("crypto.createHmac", function()
  -- RFC 4231, test cases 1 to 4, 6, 7: key, data, SHA-256, SHA-512
  local VECTORS = {
    { ("\11"):rep(20), "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
      "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854" },
    { "Jefe", "what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
      "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737" },
    { ("\170"):rep(20), ("\221"):rep(50), "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
      "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb" },
    { ("\170"):rep(131), "Test Using Larger Than Block-Size Key - Hash Key First",
      "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
      "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598" },
  }
  it("gives RFC 4231's", function()
    for _, v in ipairs(VECTORS) do
      assert.equal(v[3], crypto.createHmac("sha256", v[1]):update(v[2]):digest("hex"))
      local hmac = crypto.createHmac("SHA512", v[1])
      for each in v[2]:gmatch(".") do hmac:update(each) end
      assert.equal(v[4], hmac:digest("hex"))
    end
    assert.equal("b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad", crypto.createHmac("sha256", ""):digest("hex"))
  end)

  it("can be written to, gives its digest once, and has checked its arguments", function()
    local hmac = crypto.createHmac("sha256", "Jefe")
    hmac:finish(VECTORS[2][2])
    await(function(callback) hmac:on("finish", callback) end)
    assert.equal(VECTORS[2][3], hmac:digest("hex"))
    assert.equal("ERR_CRYPTO_HASH_FINALIZED", code(hmac.digest, hmac))
    assert.equal("ERR_CRYPTO_INVALID_DIGEST", code(crypto.createHmac, "nosuch", "k"))
    assert.equal("ERR_INVALID_ARG_TYPE", code(crypto.createHmac, "sha256"))
  end)
end)
