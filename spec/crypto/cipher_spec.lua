local await = require("await")
local crypto = require("crypto")
local stream = require("stream")

local function code(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  return err.code, tostring(err)
end

local function hex(bytes) return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end
local function unhex(text) return (text:gsub("%x%x", function(h) return string.char(tonumber(h, 16)) end)) end

-- NIST SP 800-38A, F.2.1, F.5.5, F.1.1
local PLAIN = unhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51")
local KEY128, KEY256 = unhex("2b7e151628aed2a6abf7158809cf4f3c"), unhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")

local function there(name) return crypto.getCipherInfo(name) ~= nil end

describe("crypto.createCipheriv", function()
  it("gives NIST's texts, in pieces of any size, and decrypts them", function()
    local iv = unhex("000102030405060708090a0b0c0d0e0f")
    for _, v in ipairs{
      { "aes-128-cbc", KEY128, iv, "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2" },
      { "AES-256-CTR", KEY256, unhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"), "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5" },
      { "aes-128-ecb", KEY128, nil, "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf" },
    } do
      for _, size in ipairs{ 1, 7, 16, 100 } do
        local cipher = crypto.createCipheriv(v[1], v[2], v[3]):setAutoPadding(false)
        local decipher = crypto.createDecipheriv(v[1], v[2], v[3]):setAutoPadding(false)
        local out, back = {}, {}
        for at = 1, #PLAIN, size do out[#out + 1] = cipher:update(PLAIN:sub(at, at + size - 1)) end
        out = table.concat(out) .. cipher:final()
        assert.equal(v[4], hex(out))
        for at = 1, #out, size do back[#back + 1] = decipher:update(out:sub(at, at + size - 1)) end
        assert.equal(PLAIN, table.concat(back) .. decipher:final())
      end
    end
  end)

  it("pads to a block and takes that away again, whatever the length", function()
    local key, iv = crypto.randomBytes(16), crypto.randomBytes(16)
    for n = 0, 33 do
      local text = ("x"):rep(n)
      local cipher = crypto.createCipheriv("aes-128-cbc", key, iv)
      local out = cipher:update(text) .. cipher:final()
      assert.equal(n - n % 16 + 16, #out)
      local decipher = crypto.createDecipheriv("aes-128-cbc", key, iv)
      assert.equal(text, decipher:update(out) .. decipher:final())
    end
    local cipher = crypto.createCipheriv("aes-128-cbc", key, iv):setAutoPadding(false)
    cipher:update("five ")
    assert.equal("ERR_OSSL_WRONG_FINAL_BLOCK_LENGTH", code(cipher.final, cipher))
  end)

  it("gives text whose pieces make one text", function()
    for _, encoding in ipairs{ "hex", "base64", "base64url" } do
      local key, iv = crypto.randomBytes(16), crypto.randomBytes(16)
      local cipher, text = crypto.createCipheriv("aes-128-ctr", key, iv), ""
      for i = 1, 10 do text = text .. cipher:update(("%02d"):format(i):rep(i), "utf8", encoding) end
      text = text .. cipher:final(encoding)
      local decipher = crypto.createDecipheriv("aes-128-ctr", key, iv)
      local back = decipher:update(text, encoding, "utf8") .. decipher:final("utf8")
      assert.equal(110, #back)
      assert.equal("01", back:sub(1, 2))
    end
    local cipher = crypto.createCipheriv("aes-128-ctr", KEY128, KEY128)
    cipher:update("x", nil, "hex")
    assert.equal("ERR_CRYPTO_INVALID_STATE", code(cipher.update, cipher, "x", nil, "base64"))
  end)

  it("ends once", function()
    local cipher = crypto.createCipheriv("aes-128-cbc", KEY128, KEY128)
    cipher:final()
    assert.equal("ERR_CRYPTO_INVALID_STATE", code(cipher.final, cipher))
    assert.equal("ERR_CRYPTO_INVALID_STATE", code(cipher.update, cipher, "x"))
    assert.equal("ERR_CRYPTO_INVALID_STATE", code(cipher.setAutoPadding, cipher))
  end)

  it("says what is wrong with a cipher's name, key, IV", function()
    local which, message = code(crypto.createCipheriv, "aes-256-gmc", KEY256, KEY128)
    assert.equal("ERR_CRYPTO_UNKNOWN_CIPHER", which)
    assert.truthy(message:find("did you mean 'aes-256-gcm'?", 1, true), message)
    which, message = code(crypto.createCipheriv, "aes-256-cbc", KEY128, KEY128)
    assert.equal("ERR_CRYPTO_INVALID_KEYLEN", which)
    assert.truthy(message:find("32 bytes, this one has 16", 1, true), message)
    assert.equal("ERR_CRYPTO_INVALID_IV", code(crypto.createCipheriv, "aes-128-cbc", KEY128, "short"))
    assert.equal("ERR_CRYPTO_INVALID_IV", code(crypto.createCipheriv, "aes-128-cbc", KEY128))
    assert.equal("ERR_CRYPTO_INVALID_IV", code(crypto.createCipheriv, "aes-128-ecb", KEY128, KEY128))
    assert.equal("ERR_CRYPTO_INVALID_IV", code(crypto.createCipheriv, "aes-128-gcm", KEY128, ""))
    assert.equal("ERR_INVALID_ARG_TYPE", code(crypto.createCipheriv, "aes-128-cbc", 5, KEY128))
    assert.equal("ERR_INVALID_ARG_TYPE", code(crypto.createDecipheriv, "aes-128-cbc", KEY128, 5))
  end)

  it("fails at the end of a text that was changed", function()
    local cipher = crypto.createCipheriv("aes-128-cbc", KEY128, KEY128)
    local out = cipher:update("0123456789abcdef") .. cipher:final()
    local decipher = crypto.createDecipheriv("aes-128-cbc", KEY256:sub(1, 16), KEY128)
    decipher:update(out)
    local which = code(decipher.final, decipher)
    assert.equal("ERR_OSSL_BAD_DECRYPT", which)
    decipher = crypto.createDecipheriv("aes-128-cbc", KEY128, KEY128)
    decipher:update(out:sub(1, 20))
    assert.equal("ERR_OSSL_WRONG_FINAL_BLOCK_LENGTH", code(decipher.final, decipher))
  end)

  it("is a stream", function()
    local text = ("a line of it\n"):rep(20000)
    local cipher = crypto.createCipheriv("aes-256-gcm", KEY256, KEY128)
    local parts = {}
    local source = stream.Readable.from{ text:sub(1, 70000), text:sub(70001) }
    local sink = stream.Writable:new{ write = function(_, chunk, callback) parts[#parts + 1] = chunk callback() end }
    assert.is_nil(await(function(callback) stream.pipeline(source, cipher, sink, callback) end))
    local sealed, tag = table.concat(parts), cipher:getAuthTag()
    assert.equal(#text, #sealed)
    local function open(data, with)
      parts = {}
      sink = stream.Writable:new{ write = function(_, chunk, callback) parts[#parts + 1] = chunk callback() end }
      local decipher = crypto.createDecipheriv("aes-256-gcm", KEY256, KEY128):setAuthTag(with)
      return await(function(callback) stream.pipeline(stream.Readable.from(data), decipher, sink, callback) end)
    end
    assert.is_nil(open(sealed, tag))
    assert(table.concat(parts) == text)
    assert.equal("ERR_CRYPTO_INVALID_AUTH_TAG", open(sealed .. "x", tag).code)
    local got = {}
    cipher = crypto.createCipheriv("aes-128-ctr", KEY128, KEY128):setEncoding("base64")
    cipher:on("data", function(chunk) got[#got + 1] = chunk end)
    cipher:write("a")
    cipher:write("bc")
    cipher:finish("d")
    await(function(callback) cipher:on("end", callback) end)
    local decipher = crypto.createDecipheriv("aes-128-ctr", KEY128, KEY128)
    assert.equal("abcd", decipher:update(table.concat(got), "base64"))
  end)

  it("lists ciphers, and says what each needs", function()
    for _, name in ipairs(crypto.getCiphers()) do
      local info = crypto.getCipherInfo(name)
      assert(info.keyLength > 0 or info.mode == "stream", name)
    end
    assert.same({ name = "aes-256-cbc", nid = 427, mode = "cbc", keyLength = 32, ivLength = 16, blockSize = 16 },
      crypto.getCipherInfo("AES-256-CBC"))
    assert.is_nil(crypto.getCipherInfo("nosuch"))
  end)
end)

describe("an AEAD cipher", function()
  -- RFC 8439, 2.8.2
  it("gives the text of RFC 8439", function()
    if not there("chacha20-poly1305") then return pending("no chacha20-poly1305") end
    local key, iv = {}, unhex("070000004041424344454647")
    for i = 0x80, 0x9f do key[#key + 1] = string.char(i) end
    local cipher = crypto.createCipheriv("chacha20-poly1305", table.concat(key), iv, { authTagLength = 16 })
    cipher:setAAD(unhex("50515253c0c1c2c3c4c5c6c7"))
    local out = cipher:update("Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.")
      .. cipher:final()
    assert.equal("d31a8d34648e60db7b86afbc53ef7ec2", hex(out:sub(1, 16)))
    assert.equal("1ae10b594f09e26a7e902ecbd0600691", hex(cipher:getAuthTag()))
  end)

  -- NIST SP 800-38C, example 1, and RFC 7253's
  local VECTORS = {
    { "aes-128-ccm", "404142434445464748494a4b4c4d4e4f", "10111213141516", "0001020304050607", "20212223", "7162015b", "4dac255d" },
    { "aes-128-ocb", "000102030405060708090A0B0C0D0E0F", "BBAA99887766554433221101", "0001020304050607", "0001020304050607",
      "6820b3657b6f615a", "5725bda0d3b4eb3a257c9af1f8f03009" },
  }
  for _, v in ipairs(VECTORS) do
    it("of the mode " .. v[1]:sub(-3) .. " must know its tag's length before", function()
      if not there(v[1]) then return pending("there is none") end
      local key, iv, extra, plain = unhex(v[2]), unhex(v[3]), unhex(v[4]), unhex(v[5])
      local options = { authTagLength = #v[7] / 2 }
      assert.equal("ERR_CRYPTO_INVALID_AUTH_TAG", code(crypto.createCipheriv, v[1], key, iv))
      local cipher = crypto.createCipheriv(v[1], key, iv, options)
      cipher:setAAD(extra, { plaintextLength = #plain })
      local out = cipher:update(plain) .. cipher:final()
      assert.equal(v[6], hex(out))
      assert.equal(v[7], hex(cipher:getAuthTag()))
      local function open(text, tag)
        local decipher = crypto.createDecipheriv(v[1], key, iv, options)
        if tag then decipher:setAuthTag(tag) end
        decipher:setAAD(extra, { plaintextLength = #text })
        return decipher:update(text) .. decipher:final()
      end
      assert.equal(plain, open(out, cipher:getAuthTag()))
      assert.equal("ERR_CRYPTO_INVALID_AUTH_TAG", code(open, out, ("x"):rep(options.authTagLength)))
      assert.equal("ERR_CRYPTO_INVALID_AUTH_TAG", code(open, ("y"):rep(#out), cipher:getAuthTag()))
      assert.is_false(pcall(open, out))
    end)
  end

  it("says in which order its methods come", function()
    local cipher = crypto.createCipheriv("aes-128-gcm", KEY128, KEY128:sub(1, 12))
    assert.equal("ERR_CRYPTO_INVALID_STATE", code(cipher.getAuthTag, cipher))
    cipher:update("x")
    assert.equal("ERR_CRYPTO_INVALID_STATE", code(cipher.setAAD, cipher, "late"))
    cipher:final()
    assert.equal(16, #cipher:getAuthTag())
    local decipher = crypto.createDecipheriv("aes-128-gcm", KEY128, KEY128:sub(1, 12))
    decipher:setAuthTag(("t"):rep(16))
    assert.equal("ERR_CRYPTO_INVALID_STATE", code(decipher.setAuthTag, decipher, ("t"):rep(16)))
    decipher = crypto.createDecipheriv("aes-128-gcm", KEY128, KEY128:sub(1, 12), { authTagLength = 12 })
    assert.equal("ERR_CRYPTO_INVALID_AUTH_TAG", code(decipher.setAuthTag, decipher, ("t"):rep(16)))
    assert.equal("ERR_CRYPTO_INVALID_STATE", code(function()
      crypto.createDecipheriv("aes-128-cbc", KEY128, KEY128):setAuthTag(("t"):rep(16))
    end))
    assert.equal("ERR_CRYPTO_INVALID_STATE", code(function() crypto.createCipheriv("aes-128-cbc", KEY128, KEY128):setAAD("x") end))
    assert.equal("ERR_CRYPTO_INVALID_AUTH_TAG", code(crypto.createCipheriv, "aes-128-gcm", KEY128, KEY128, { authTagLength = 5 }))
    assert.equal("ERR_MISSING_ARGS", code(function()
      crypto.createCipheriv("aes-128-ccm", KEY128, KEY128:sub(1, 12), { authTagLength = 16 }):setAAD("x")
    end))
  end)
end)
