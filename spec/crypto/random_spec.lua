local await = require("await")
local crypto = require("crypto")
local fs = require("fs")
local lrun = require("spec.support.lrun")

local function code(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  return err.code, tostring(err)
end

describe("crypto.randomBytes", function()
  it("gives so many, at once and by a callback, and opens no libcrypto", function()
    for _, n in ipairs{ 0, 1, 255, 256, 257, 100000 } do
      assert.equal(n, #crypto.randomBytes(n))
      local err, bytes = await(crypto.randomBytes, n)
      assert.is_nil(err)
      assert.equal(n, #bytes)
    end
    assert.are_not.equal(crypto.randomBytes(16), crypto.randomBytes(16))
    local output = lrun.eval([[
      local crypto = require("crypto")
      crypto.randomBytes(8) crypto.randomUUID() crypto.randomInt(5)
      print(io.open("/proc/self/maps"):read("*a"):find("libcrypto", 1, true))]])
    assert.equal("nil\n", output)
  end)

  it("refuses a size that is none before anything is done", function()
    assert.equal("ERR_OUT_OF_RANGE", code(crypto.randomBytes, -1))
    assert.equal("ERR_OUT_OF_RANGE", code(crypto.randomBytes, 1.5))
    assert.equal("ERR_OUT_OF_RANGE", code(crypto.randomBytes, 0 / 0))
    assert.equal("ERR_OUT_OF_RANGE", code(crypto.randomBytes, 2 ^ 31))
    assert.equal("ERR_INVALID_ARG_TYPE", code(crypto.randomBytes, "8"))
    assert.equal("ERR_INVALID_ARG_TYPE", code(crypto.randomBytes, 8, 5))
  end)
end)

describe("crypto.randomInt", function()
  it("stays within its bounds and reaches both", function()
    local seen = {}
    for _ = 1, 2000 do seen[crypto.randomInt(-2, 3)] = true end
    local count = 0
    for n in pairs(seen) do
      assert(n >= -2 and n <= 2 and n == math.floor(n), n)
      count = count + 1
    end
    assert.equal(5, count)
    assert.equal(2 ^ 52, crypto.randomInt(2 ^ 52, 2 ^ 52 + 1))
    local err, n = await(crypto.randomInt, 10, 11)
    assert.same({ nil, 10 }, { err, n })
    assert.equal(0, select(2, await(crypto.randomInt, 1)))
  end)

  it("refuses bounds that leave nothing, or more than 48 bits", function()
    assert.equal("ERR_OUT_OF_RANGE", code(crypto.randomInt, 0))
    assert.equal("ERR_OUT_OF_RANGE", code(crypto.randomInt, 5, 5))
    assert.equal("ERR_OUT_OF_RANGE", code(crypto.randomInt, 0, 2 ^ 48))
    assert.equal("ERR_INVALID_ARG_TYPE", code(crypto.randomInt, 1.5))
    assert.equal("ERR_INVALID_ARG_TYPE", code(crypto.randomInt, 0 / 0))
    assert.equal("ERR_INVALID_ARG_TYPE", code(crypto.randomInt, "1", 5))
    assert.equal("ERR_INVALID_ARG_TYPE", code(crypto.randomInt))
  end)
end)

describe("crypto", function()
  it("makes UUIDs of version 4", function()
    for _ = 1, 100 do
      assert.truthy(crypto.randomUUID():find(
        "^%x%x%x%x%x%x%x%x%-%x%x%x%x%-4%x%x%x%-[89ab]%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$"))
    end
  end)

  it("compares without telling where texts differ, and only texts of one length", function()
    assert.is_true(crypto.timingSafeEqual("", ""))
    assert.is_true(crypto.timingSafeEqual("a\0b", "a\0b"))
    assert.is_false(crypto.timingSafeEqual("a\0b", "a\0c"))
    assert.equal("ERR_CRYPTO_TIMING_SAFE_EQUAL_LENGTH", code(crypto.timingSafeEqual, "a", "ab"))
    assert.equal("ERR_INVALID_ARG_TYPE", code(crypto.timingSafeEqual, "a", 1))
  end)

  it("says what to install where there is no libcrypto, each time, and goes on without", function()
    local dir = fs.mkdtempSync("/tmp/lrun-crypto-")
    fs.writeFileSync(dir .. "/libcrypto.so.3", "")
    fs.writeFileSync(dir .. "/script.lua", [[
      local crypto = require("crypto")
      for _ = 1, 2 do
        local ok, err = pcall(crypto.createHash, "sha256")
        print(ok, err.code, err.message:match("package libssl3"))
      end
      print(pcall(crypto.generateKeyPair, "ed25519", function() end) == false, #crypto.randomBytes(5))]])
    local env = { LD_LIBRARY_PATH = dir }
    for name, value in pairs(process.env) do env[name] = env[name] or value end
    local result = require("child_process").spawnSync(process.execPath, { dir .. "/script.lua" }, { env = env })
    fs.rmSync(dir, { recursive = true })
    if result.stdout:find("^true") then return pending("libcrypto is part of this lrun") end
    assert.equal(("false\tERR_NO_CRYPTO\tpackage libssl3\n"):rep(2) .. "true\t5\n", result.stdout .. result.stderr)
  end)
end)
