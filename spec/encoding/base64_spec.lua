local base64 = require("base64")

local ROWS = {
  { "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" }, { "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" },
  { "foobar", "Zm9vYmFy" }, { "\0\0\0", "AAAA" }, { "\255\255\255", "////" }, { "\251\239\190", "++++" },
}

describe("base64", function()
  it("encodes and decodes the texts of RFC 4648, and every length", function()
    for _, row in ipairs(ROWS) do
      assert.equal(row[2], base64.encode(row[1]))
      assert.equal(row[1], base64.decode(row[2]))
    end
    local bytes = {}
    for i = 0, 255 do bytes[i + 1] = string.char(i) end
    bytes = table.concat(bytes)
    for length = 0, 256 do
      local text = bytes:sub(1, length)
      assert.equal(text, base64.decode(base64.encode(text)))
      assert.equal(text, base64.decode(base64.encodeUrl(text)))
      assert.equal(math.ceil(length / 3) * 4, #base64.encode(text))
      assert.is_nil(base64.encodeUrl(text):find("[^%w_-]"))
    end
  end)

  it("takes both alphabets, white space and missing padding", function()
    assert.equal("\251\255\191", base64.decode("+/+/"))
    assert.equal("\251\255\191", base64.decode("-_-_"))
    assert.equal("foob", base64.decode(" Zm9v\r\nYg"))
    assert.equal("foob", base64.decode("Zm9vYg="))
    assert.equal("foob", base64.decode("Zm9vYg = =\n"))
  end)

  it("names the place of what is wrong", function()
    for text, place in pairs{ ["Zm9v!"] = 5, ["Zg==Zg"] = 5, ["="] = 1, ["Zm9v="] = 5, ["Zg==="] = 5, ["Z\0=="] = 2, ["Zm9vYg=b"] = 8 } do
      local ok, err = pcall(base64.decode, text)
      assert.is_false(ok, text)
      assert.equal("ERR_INVALID_ARG_VALUE", err.code)
      assert(err.message:find(("at character %d%%."):format(place)), err.message)
    end
    local _, err = pcall(base64.decode, "Zm9vY")
    assert(err.message:find("cut short", 1, true), err.message)
  end)

  it("refuses what is no string, and a colon", function()
    for _, name in ipairs{ "encode", "encodeUrl", "decode" } do
      local _, err = pcall(base64[name], 5)
      assert.equal("ERR_INVALID_ARG_TYPE", err.code)
      _, err = pcall(base64[name], base64, "x")
      assert.equal(("call base64.%s(...) with a dot"):format(name), err.message)
    end
  end)
end)
