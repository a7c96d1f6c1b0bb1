--- What lrun's crypto makes, Node and the openssl command take, and the other way round; and they give the same for the same.
local child_process = require("child_process")
local crypto = require("crypto")
local json = require("json")
local fs = require("fs")

local function has(program) return child_process.spawnSync("sh", { "-c", "command -v " .. program }).status == 0 end

if not has("node") then
  print("skipped: no node")
  os.exit(77)
end

-- What a program of Node's prints, as JSON; `input` is its argument.
local function node(program, input)
  local result = child_process.spawnSync("node", { "-e", "const crypto = require('crypto'); const input = JSON.parse(process.argv[1]);"
    .. program, json.encode(input or {}) })
  assert(result.status == 0, result.stderr)
  return json.decode(result.stdout)
end

local function openssl(...)
  local result = child_process.spawnSync("openssl", { ... })
  assert(result.status == 0, result.stderr)
  return result.stdout
end

local OPTIONS = { modulusLength = 2048, namedCurve = "P-256" }

describe("crypto and Node's", function()
  it("list the same digests, and all give the same", function()
    local theirs = node("console.log(JSON.stringify(crypto.getHashes().map(n => "
      .. "[n, crypto.createHash(n).update('text').digest('hex')])))")
    for _, each in ipairs(theirs) do assert.equal(each[2], crypto.createHash(each[1]):update("text"):digest("hex"), each[1]) end
    assert(#crypto.getHashes() >= #theirs)
  end)

  it("encrypt the same way by every cipher that both have", function()
    local theirs = node([[console.log(JSON.stringify(crypto.getCiphers().map(n => {
      const i = crypto.getCipherInfo(n);
      if (!i || i.mode === 'wrap') return [n];
      const aead = ['gcm', 'ccm', 'ocb'].includes(i.mode) || n.includes('poly1305');
      try {
        const c = crypto.createCipheriv(n, Buffer.alloc(i.keyLength).map((_, x) => x), i.ivLength ? Buffer.alloc(i.ivLength, 7) : null,
          aead ? { authTagLength: 16 } : {});
        if (i.mode === 'ccm') c.setAAD(Buffer.from('aad'), { plaintextLength: 32 }); else if (aead) c.setAAD(Buffer.from('aad'));
        const out = c.update('0123456789abcdef0123456789abcdef', 'utf8', 'hex') + c.final('hex');
        return [n, out, i.keyLength, i.ivLength || 0, i.mode, aead ? c.getAuthTag().toString('hex') : null];
      } catch (e) { return [n]; }
    })))]])
    local count = 0
    for _, each in ipairs(theirs) do
      local name, out, keyLength, ivLength, mode, tag = unpack(each, 1, 6)
      if out then
        count = count + 1
        local info = crypto.getCipherInfo(name)
        assert.same({ keyLength, ivLength, mode }, { info.keyLength, info.ivLength or 0, info.mode }, name)
        local key = {}
        for i = 0, keyLength - 1 do key[#key + 1] = string.char(i) end
        local isAead = tag ~= nil and tag ~= json.null
        local cipher = crypto.createCipheriv(name, table.concat(key), ivLength > 0 and ("\7"):rep(ivLength) or nil,
          isAead and { authTagLength = 16 } or nil)
        if isAead then cipher:setAAD("aad", { plaintextLength = 32 }) end
        assert.equal(out, cipher:update("0123456789abcdef0123456789abcdef", nil, "hex") .. cipher:final("hex"), name)
        if isAead then assert.equal(tag, (cipher:getAuthTag():gsub(".", function(c) return ("%02x"):format(c:byte()) end)), name) end
      end
    end
    assert(count > 60, count)
  end)

  it("derive the same keys", function()
    local theirs = node([[console.log(JSON.stringify([
      crypto.scryptSync('password', 'salt', 40, { N: 1024, r: 4, p: 2 }).toString('hex'),
      crypto.pbkdf2Sync('password', 'salt', 1000, 40, 'sha3-256').toString('hex'),
      Buffer.from(crypto.hkdfSync('sha384', 'key', 'salt', 'info', 100)).toString('hex')]))]])
    local encode = require("lrun.core.encoding")
    assert.same(theirs, {
      encode.hex(crypto.scryptSync("password", "salt", 40, { N = 1024, r = 4, p = 2 })),
      encode.hex(crypto.pbkdf2Sync("password", "salt", 1000, 40, "sha3-256")),
      encode.hex(crypto.hkdfSync("sha384", "key", "salt", "info", 100)),
    })
  end)

  it("believe each other's signatures, by keys of either", function()
    for _, kind in ipairs{ "rsa", "rsa-pss", "ec", "ed25519", "ed448" } do
      local digest = not kind:find("^ed") and "sha256" or nil
      local pair = crypto.generateKeyPairSync(kind, OPTIONS)
      local text = "what is signed"
      local theirs = node([[
        const own = crypto.generateKeyPairSync(input.kind, { modulusLength: 2048, namedCurve: 'P-256',
          publicKeyEncoding: { type: 'spki', format: 'pem' }, privateKeyEncoding: { type: 'pkcs8', format: 'pem' } });
        const digest = input.digest || null, text = Buffer.from(input.text);
        console.log(JSON.stringify({ good: crypto.verify(digest, text, input.public, Buffer.from(input.signature, 'base64')),
          signature: crypto.sign(digest, text, input.private).toString('base64'), own: own.publicKey,
          owned: crypto.sign(digest, text, own.privateKey).toString('base64') }))]], {
        kind = kind, digest = digest, text = text, public = pair.publicKey:export(), private = pair.privateKey:export(),
        signature = require("base64").encode(crypto.sign(digest, text, pair.privateKey)),
      })
      assert.is_true(theirs.good, kind)
      assert.is_true(crypto.verify(digest, text, pair.publicKey, require("base64").decode(theirs.signature)), kind)
      assert.is_true(crypto.verify(digest, text, theirs.own, require("base64").decode(theirs.owned)), kind)
    end
  end)
end)

describe("crypto and the openssl command", function()
  it("read each other's keys and believe each other's signatures", function()
    if not has("openssl") then return pending("no openssl") end
    local dir = fs.mkdtempSync("/tmp/lrun-crypto-")
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384", "-aes-256-cbc", "-pass", "pass:secret", "-out", dir .. "/key")
    local private = crypto.createPrivateKey{ key = fs.readFileSync(dir .. "/key"), passphrase = "secret" }
    assert.equal("secp384r1", private.asymmetricKeyDetails.namedCurve)
    fs.writeFileSync(dir .. "/text", "what is signed")
    fs.writeFileSync(dir .. "/public", crypto.createPublicKey(private):export())
    fs.writeFileSync(dir .. "/signature", crypto.sign("sha384", "what is signed", private))
    assert.truthy(openssl("dgst", "-sha384", "-verify", dir .. "/public", "-signature", dir .. "/signature", dir .. "/text")
      :find("Verified OK", 1, true))
    fs.writeFileSync(dir .. "/ours", private:export{ cipher = "aes-128-cbc", passphrase = "other" })
    assert.truthy(openssl("pkey", "-in", dir .. "/ours", "-passin", "pass:other", "-noout", "-text"):find("secp384r1", 1, true))
    fs.rmSync(dir, { recursive = true })
  end)
end)
