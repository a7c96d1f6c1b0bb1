local await = require("await")
local crypto = require("crypto")
local process = require("process")
local timers = require("timers")
local lrun = require("spec.support.lrun")

local function code(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  return err.code, tostring(err)
end

local function hex(bytes) return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end

-- Synchronously and by a callback.
local function both(name, want, ...)
  assert.equal(want, hex(crypto[name .. "Sync"](...)))
  local n, arguments = select("#", ...), { ... }
  local err, key = await(function(callback)
    arguments[n + 1] = callback
    crypto[name](unpack(arguments, 1, n + 1))
  end)
  assert.is_nil(err)
  assert.equal(want, hex(key))
end

describe("crypto.scrypt", function()
  it("gives RFC 7914's keys", function()
    both("scrypt", "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906",
      "", "", 64, { N = 16, r = 1, p = 1 })
    both("scrypt", "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b3731622eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640",
      "password", "NaCl", 64, { cost = 1024, blockSize = 8, parallelization = 16 })
    both("scrypt", "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887",
      "pleaseletmein", "SodiumChloride", 64)
    assert.equal("", crypto.scryptSync("p", "s", 0))
  end)

  it("says which numbers cannot be, and what memory others need", function()
    assert.equal("ERR_CRYPTO_INVALID_SCRYPT_PARAMS", code(crypto.scryptSync, "p", "s", 8, { N = 3 }))
    local which, message = code(crypto.scrypt, "p", "s", 8, { N = 2 ^ 20 }, function() end)
    assert.equal("ERR_CRYPTO_INVALID_SCRYPT_PARAMS", which)
    assert.truthy(message:find("options.maxmem is 33554432", 1, true), message)
    assert.equal(8, #crypto.scryptSync("p", "s", 8, { N = 2 ^ 15, maxmem = 64 * 2 ^ 20 }))
    assert.equal("ERR_INCOMPATIBLE_OPTION_PAIR", code(crypto.scryptSync, "p", "s", 8, { N = 16, cost = 16 }))
    assert.equal("ERR_INVALID_ARG_TYPE", code(crypto.scryptSync, "p", "s", 8, { r = "8" }))
    assert.equal("ERR_INVALID_ARG_TYPE", code(crypto.scrypt, "p", "s", 8))
    assert.equal("ERR_INVALID_ARG_TYPE", code(crypto.scryptSync, nil, "s", 8))
    assert.equal("ERR_OUT_OF_RANGE", code(crypto.scryptSync, "p", "s", -1))
  end)
end)

describe("crypto.pbkdf2", function()
  it("gives RFC 6070's keys", function()
    both("pbkdf2", "ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957", "password", "salt", 2, 20, "sha1")
    both("pbkdf2", "56fa6aa75548099dcc37d7f03425e0c3", "pass\0word", "sa\0lt", 4096, 16, "sha1")
    both("pbkdf2", "", "p", "s", 1, 0, "sha256")
  end)

  it("leaves the loop alone, many at once", function()
    local turns, left = 0, 8
    local interval = timers.setInterval(function() turns = turns + 1 end, 1)
    await(function(callback)
      for _ = 1, left do
        crypto.pbkdf2("p", "s", 20000, 32, "sha512", function(err, key)
          assert(not err and #key == 32)
          left = left - 1
          if left == 0 then callback() end
        end)
      end
    end)
    timers.clearInterval(interval)
    assert(turns > 3, turns)
  end)

  it("keeps the process alive until it is done, and holds up no exit", function()
    local output = lrun.eval('require("crypto").pbkdf2("p", "s", 1000, 4, "sha1", function(err, key) print(err, #key) end)')
    assert.equal("nil\t4\n", output)
    local _, _, status = lrun.eval([[
      for _ = 1, 200 do require("crypto").pbkdf2("p", "s", 10000000, 64, "sha512", function() os.exit(9) end) end
      require("timers").setTimeout(process.exit, 10, 3)]])
    assert.equal(3, status)
  end)

  it("tells when Lua has no room for the key, in the one way and the other", function()
    if os.execute("command -v prlimit >/dev/null") ~= 0 then return pending("no prlimit") end
    if io.open("/proc/self/maps"):read("*a"):find("asan", 1, true) then return pending("a sanitizer takes more address space than can be limited") end
    process.env.MALLOC_ARENA_MAX = "1"          -- a thread's own arena would not fit
    finally(function() process.env.MALLOC_ARENA_MAX = nil end)
    local output, errors, status = lrun.eval([[
      local crypto = require("crypto")
      local function size() return tonumber(io.open("/proc/self/statm"):read("*a"):match("%d+")) * 4096 end
      crypto.pbkdf2("p", "s", 1, 4, "sha1", function()
        os.execute(("prlimit --pid %d --as=%.0f"):format(process.pid, size() + 40 * 2 ^ 20))
        crypto.pbkdf2("p", "s", 1, 24 * 2 ^ 20, "sha1", function(err, key)
          print(err.code, err.message, key)
          print(select(2, pcall(crypto.pbkdf2Sync, "p", "s", 1, 24 * 2 ^ 20, "sha1")).code)
        end)
      end)]])
    assert.equal("", errors)
    assert.equal("ENOMEM\tnot enough memory\tnil\nENOMEM\n", output)
    assert.equal(0, status)
  end)

  it("takes no key that is longer than a string can be", function()
    for _, name in ipairs{ "pbkdf2Sync", "scryptSync" } do
      local arguments = name == "pbkdf2Sync" and { "p", "s", 1, 2 ^ 31 - 256, "sha1" } or { "p", "s", 2 ^ 31 - 256 }
      local which, message = code(crypto[name], unpack(arguments))
      assert.equal("ERR_OUT_OF_RANGE", which)
      assert.truthy(message:find('"keylen"', 1, true), message)
    end
    local which, message = code(crypto.randomBytes, 2 ^ 31 - 256)
    assert.equal("ERR_OUT_OF_RANGE", which)
    assert.truthy(message:find('"size"', 1, true), message)
    which, message = code(crypto.createHash, "shake128", { outputLength = 2 ^ 31 - 256 })
    assert.equal("ERR_OUT_OF_RANGE", which)
    assert.truthy(message:find('"options.outputLength"', 1, true), message)
  end)

  it("reports what its callback throws as any callback's", function()
    local _, errors, status = lrun.eval('require("crypto").pbkdf2("p", "s", 1, 4, "sha1", function() error("from the callback") end)')
    assert.equal(1, status)
    assert.truthy(errors:find("from the callback", 1, true))
  end)
end)

describe("crypto.hkdf", function()
  it("gives RFC 5869's keys", function()
    local ikm, salt, info = ("\11"):rep(22), "\0\1\2\3\4\5\6\7\8\9\10\11\12", "\240\241\242\243\244\245\246\247\248\249"
    both("hkdf", "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865", "sha256", ikm, salt, info, 42)
    both("hkdf", "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8", "sha256", ikm, "", "", 42)
    both("hkdf", "", "sha256", "", "", "", 0)
    assert.equal(16, #crypto.hkdfSync("sha256", "", "", "", 16))
  end)

  it("says what is too long", function()
    assert.equal("ERR_CRYPTO_INVALID_KEYLEN", code(crypto.hkdfSync, "sha1", "k", "s", "i", 255 * 20 + 1))
    assert.equal("ERR_OUT_OF_RANGE", code(crypto.hkdfSync, "sha1", "k", "s", ("i"):rep(1025), 20))
    assert.equal("ERR_INVALID_ARG_TYPE", code(crypto.hkdfSync, "sha1", "k", nil, "i", 20))
  end)
end)
