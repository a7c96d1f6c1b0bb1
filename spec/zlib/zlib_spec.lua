local await = require("await")
local stream = require("stream")
local zlib = require("zlib")

local constants = zlib.constants
local TEXT = {}
for i = 1, 4000 do TEXT[i] = ("line %d of it\n"):format(i * 7919 % 1000) end
TEXT = table.concat(TEXT)

local PAIRS = {
  gzip = "gunzip", deflate = "inflate", deflateRaw = "inflateRaw", brotliCompress = "brotliDecompress",
  zstdCompress = "zstdDecompress",
}

local function there(name) return (pcall(zlib[name .. "Sync"], "")) end

local function create(name, options) return zlib["create" .. name:sub(1, 1):upper() .. name:sub(2)](options) end

-- What a stream gives, and its error.
local function collect(source)
  local parts, failure = {}, nil
  source:on("data", function(chunk) parts[#parts + 1] = chunk end)
  source:on("error", function(err) failure = err end)
  await(function(callback) source:on("close", callback) end)
  return table.concat(parts), failure
end

local function code(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  return err.code, tostring(err)
end

describe("zlib", function()
  for packer, reader in pairs(PAIRS) do
    it("gives back what went into " .. packer, function()
      if not there(packer) then return pending("its library is not there") end
      for _, text in ipairs{ "", "\0", TEXT, ("\0"):rep(2 ^ 21) } do
        local packed = zlib[packer .. "Sync"](text)
        assert(zlib[reader .. "Sync"](packed) == text)
        local err, async = await(zlib[packer], text)
        assert.is_nil(err)
        assert(zlib[reader .. "Sync"](async) == text)
        local source = create(packer, { chunkSize = 64 })
        local to = create(reader, { chunkSize = 100 })
        source:pipe(to)
        for at = 1, #text, 10000 do source:write(text:sub(at, at + 9999)) end
        source:finish()
        local back, failure = collect(to)
        assert.is_nil(failure)
        assert(back == text)
      end
    end)

    it("gives all of what was flushed before more comes, by " .. reader .. " with little room", function()
      if not there(packer) then return pending("its library is not there") end
      local source, to = create(packer), create(reader, { chunkSize = 64 })
      local packed, back = {}, ""
      source:on("data", function(chunk) packed[#packed + 1] = chunk end)
      source:write(("ab"):rep(20000))
      await(function(callback) source:flush(callback) end)
      to:on("data", function(chunk) back = back .. chunk end)
      await(function(callback) to:write(table.concat(packed), callback) end)
      assert(back == ("ab"):rep(20000), #back)
      source:destroy()
      to:destroy()
    end)

    it("says where the input of " .. reader .. " was cut, at every byte", function()
      if not there(packer) then return pending("its library is not there") end
      local packed = zlib[packer .. "Sync"]("hello hello hello hello")
      for length = 0, #packed - 1 do
        local which, message = code(zlib[reader .. "Sync"], packed:sub(1, length))
        assert.same({ "Z_BUF_ERROR", "unexpected end of file" }, { which, message })
        local to = create(reader)
        to:finish(packed:sub(1, length))
        local _, failure = collect(to)
        assert.equal("Z_BUF_ERROR", failure.code)
      end
    end)
  end

  it("reads members of gzip one after another, takes zeros for padding, and refuses anything else behind", function()
    local one, two = zlib.gzipSync("one"), zlib.gzipSync("two")
    assert.equal("onetwo", zlib.gunzipSync(one .. two))
    assert.equal("one", zlib.unzipSync(one .. ("\0"):rep(1000)))
    assert.equal("onetwo", zlib.gunzipSync(one .. ("\0"):rep(3) .. two))
    assert.equal("Z_DATA_ERROR", code(zlib.gunzipSync, one .. "x"))
    assert.equal("Z_DATA_ERROR", code(zlib.gunzipSync, one .. "\31\139garbage!!"))
    assert.equal("Z_BUF_ERROR", code(zlib.gunzipSync, one .. two:sub(1, 10)))
    local reader = zlib.createGunzip()
    for byte in (one .. two .. "\0"):gmatch(".") do reader:write(byte) end
    reader:finish()
    assert.equal("onetwo", (collect(reader)))
  end)

  it("needs the dictionary that was used", function()
    local options = { dictionary = "the words that both sides know" }
    local packed = zlib.deflateSync("the words that both sides know", options)
    assert.equal("the words that both sides know", zlib.inflateSync(packed, options))
    assert.same({ "Z_NEED_DICT", "Missing dictionary" }, { code(zlib.inflateSync, packed) })
    assert.same({ "Z_NEED_DICT", "Bad dictionary" }, { code(zlib.inflateSync, packed, { dictionary = "others" }) })
    local raw = zlib.deflateRawSync("the words that both sides know", options)
    assert.equal("the words that both sides know", zlib.inflateRawSync(raw, options))
    assert.is_false(pcall(zlib.inflateRawSync, raw))
  end)

  it("stops at maxOutputLength, however little went in", function()
    local bomb = zlib.gzipSync(("\0"):rep(2 ^ 24))
    local which, message = code(zlib.gunzipSync, bomb, { maxOutputLength = 1000 })
    assert.same({ "ERR_BUFFER_TOO_LARGE", "Cannot create a Buffer larger than 1000 bytes" }, { which, message })
    local err, result = await(zlib.gunzip, bomb, { maxOutputLength = 2 ^ 24 - 1 })
    assert.equal("ERR_BUFFER_TOO_LARGE", err.code)
    assert.is_nil(result)
    assert.equal(2 ^ 24, #zlib.gunzipSync(bomb, { maxOutputLength = 2 ^ 24 }))
    assert.equal(2 ^ 24, #zlib.gunzipSync(bomb, { maxOutputLength = 1e300 }))
    local reader = zlib.createGunzip{ maxOutputLength = 100000 }
    reader:finish(bomb)
    local given, failure = collect(reader)
    assert.equal("ERR_BUFFER_TOO_LARGE", failure.code)
    assert(#given <= 100000)
  end)

  it("keeps who writes waiting while nobody reads, and holds no more than a mark", function()
    local reader = zlib.createGunzip()
    local bomb = zlib.gzipSync(("\0"):rep(2 ^ 24))
    local taken = false
    reader:write(bomb, function() taken = true end)
    await.sleep(0)
    await(require("timers").setImmediate)
    assert.is_false(taken)
    assert(reader.readableLength <= 64 * 1024, reader.readableLength)
    local size = 0
    reader:on("data", function(chunk) size = size + #chunk end)
    reader:finish()
    await(function(callback) reader:on("close", callback) end)
    assert.equal(2 ^ 24, size)
  end)

  it("flushes what was written before, and nothing that comes after", function()
    local packer, got = zlib.createDeflateRaw(), ""
    packer:on("data", function(chunk) got = got .. chunk end)
    packer:write("first")
    packer:flush(constants.Z_SYNC_FLUSH)
    packer:write("")
    packer:write(" second")
    await(function(callback) packer:flush(callback) end)
    local _, mark = got:find("\0\0\255\255", 1, true)
    assert.equal("first", zlib.inflateRawSync(got:sub(1, mark), { finishFlush = constants.Z_SYNC_FLUSH }))
    assert.equal("first second", zlib.inflateRawSync(got, { finishFlush = constants.Z_SYNC_FLUSH }))
    packer:finish()
    await(function(callback) packer:on("close", callback) end)
    assert.equal("first second", zlib.inflateRawSync(got))
    local called = false
    packer:flush(function() called = true end)
    await.sleep(0)
    assert.is_true(called)
  end)

  it("changes its level in the middle, and begins anew", function()
    local packer, got = zlib.createDeflate{ level = 0 }, ""
    packer:on("data", function(chunk) got = got .. chunk end)
    packer:write(TEXT)
    await(function(callback) packer:params(9, constants.Z_DEFAULT_STRATEGY, callback) end)
    local stored = #got
    packer:finish(TEXT)
    await(function(callback) packer:on("close", callback) end)
    assert(stored >= #TEXT and #got - stored < #TEXT / 2)
    assert(zlib.inflateSync(got) == TEXT .. TEXT)
    assert.equal(2 * #TEXT, packer.bytesWritten)
    local reader = zlib.createInflate()
    assert.equal("ERR_METHOD_NOT_IMPLEMENTED", code(reader.params, reader, 1, 0))
    reader:write("\120")
    await(function(callback) reader:flush(callback) end)
    reader:reset()
    reader:finish(zlib.deflateSync("anew"))
    assert.equal("anew", (collect(reader)))
  end)

  it("lets the loop turn while it works on much", function()
    local data, turns, done = TEXT:rep(40), 0, false
    local function turn()
      turns = turns + 1
      if not done then require("timers").setImmediate(turn) end
    end
    turn()
    local err = await(zlib.gzip, data)
    done = true
    assert.is_nil(err)
    assert(turns > 10, turns)
  end)

  it("names the option that is wrong", function()
    for name, bad in pairs{ level = { -2, 10, 1.5 }, windowBits = { 7, 16 }, memLevel = { 0, 10 }, strategy = { -1, 5 },
      chunkSize = { 63 }, flush = { -1, 6 }, finishFlush = { 9 }, maxOutputLength = { 0, 0 / 0 } } do
      for _, value in ipairs(bad) do
        for _, f in ipairs{ zlib.deflateSync, zlib.createDeflate, zlib.deflate } do
          local arguments = f == zlib.createDeflate and { { [name] = value } } or { "x", { [name] = value }, print }
          local which, message = code(f, unpack(arguments))
          assert.equal("ERR_OUT_OF_RANGE", which)
          assert(message:find("options." .. name, 1, true), message)
        end
      end
      local which = code(zlib.deflateSync, "x", { [name] = "1" })
      assert.equal("ERR_INVALID_ARG_TYPE", which)
    end
    assert.equal("ERR_OUT_OF_RANGE", code(zlib.gzipSync, "x", { windowBits = 8 }))
    assert.equal("ERR_INVALID_ARG_TYPE", code(zlib.gzip, "x"))
    assert.equal("ERR_INVALID_ARG_TYPE", code(zlib.deflateSync, "x", { dictionary = 5 }))
    local which, message = code(zlib.deflate)
    assert.equal("ERR_INVALID_ARG_TYPE", which)
    assert(message:find("zlib.deflateSync(data)", 1, true), message)
    if there("brotliCompress") then
      assert.equal("ERR_BROTLI_INVALID_PARAM", code(zlib.brotliCompressSync, "x", { params = { quality = 5 } }))
    end
  end)

  it("is destroyed in the middle without harm", function()
    local packer = zlib.createGzip()
    packer:write(TEXT)
    packer:destroy()
    await(function(callback) packer:on("close", callback) end)
    packer:close()
    local source, sink = zlib.createGzip{ level = 0 }, stream.Writable:new{ write = function() end }
    source:pipe(sink)
    source:write(TEXT)
    await(require("timers").setImmediate)
    source:close(function() source.closedByUs = true end)
    await(function(callback) source:on("close", callback) end)
    assert.is_true(source.destroyed)
  end)

  it("takes another level for what is written behind params in the same turn", function()
    local writer, pieces = zlib.createDeflateRaw{ level = 9 }, {}
    writer:on("data", function(piece) pieces[#pieces + 1] = piece end)
    local text = ("abc"):rep(20000)
    writer:write(text)
    writer:params(0, 0)
    writer:write(text)
    await(function(callback)
      writer:on("end", callback)
      writer:finish()
    end)
    local out = table.concat(pieces)
    assert.equal(text .. text, zlib.inflateRawSync(out))
    assert.is_true(#out > #text)
    assert.is_true(#out < #text + 1000)
  end)
end)
