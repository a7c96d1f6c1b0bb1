local querystring = require("querystring")

describe("querystring", function()
  it("parses as Node 20 does", function()
    for text, values in pairs{
      [""] = {}, ["&"] = {}, ["="] = { [""] = "" }, ["a&=&b"] = { a = "", [""] = "", b = "" }, ["=x"] = { [""] = "x" },
      ["a=1&a=2&a=3"] = { a = { "1", "2", "3" } }, ["a=b=c"] = { a = "b=c" }, ["a+b=%2B"] = { ["a b"] = "+" },
      ["a=%zz&b=%4"] = { a = "%zz", b = "%4" }, ["%41=%c3%A9"] = { A = "é" },
    } do assert.same(values, querystring.parse(text)) end
    assert.same({ a = { "1", "3" }, b = "2" }, querystring.parse("a->1;;b->2;;a->3", ";;", "->"))
  end)

  it("reads a thousand names, or as many as it is told to", function()
    local text = ("a=1&"):rep(1500)
    assert.equal(1000, #querystring.parse(text).a)
    assert.equal(1500, #querystring.parse(text, nil, nil, { maxKeys = 0 }).a)
    assert.equal("1", querystring.parse(text, nil, nil, { maxKeys = 1 }).a)
  end)

  it("decodes and encodes by functions of the program's", function()
    assert.same({ X = "Y Z" }, querystring.parse("x=y+z", nil, nil, { decodeURIComponent = string.upper }))
    assert.same({ x = "\1" }, querystring.parse("x=%01", nil, nil, { decodeURIComponent = function() error("no") end }))
    assert.equal("A=B", querystring.stringify({ a = "b" }, nil, nil, { encodeURIComponent = string.upper }))
  end)

  it("writes what parse reads", function()
    assert.equal("a=1&b=x%20y&b=true&c=&d=", querystring.stringify{ a = 1, b = { "x y", true }, c = "", d = print })
    assert.equal("inf=&nan=", querystring.stringify{ inf = math.huge, nan = 0 / 0 })
    assert.equal("", querystring.stringify{})
    assert.equal("", querystring.stringify("text"))
    local bytes = {}
    for i = 0, 255 do bytes[i + 1] = string.char(i) end
    bytes = table.concat(bytes)
    assert.same({ [bytes] = bytes }, querystring.parse(querystring.stringify{ [bytes] = bytes }))
  end)

  it("names the argument that is wrong", function()
    for name, call in pairs{
      text = function() querystring.parse(5) end, sep = function() querystring.parse("", 5) end,
      ["options.maxKeys"] = function() querystring.parse("", nil, nil, { maxKeys = "x" }) end,
    } do
      local _, err = pcall(call)
      assert(err.message:find('"' .. name .. '"', 1, true), err.message)
    end
  end)
end)
