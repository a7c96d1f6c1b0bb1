local children = require("spec.support.children")

-- Messages there and back by JSON, as text and as values.
describe("JSON messages", function()
  local channels = require("lrun.core.channel")
  local EventEmitter = require("events").EventEmitter
  local ipc = require("lrun.ipc.channel")
  local uv = require("luv")

  local function pair()
    local a, b = channels.pair()
    local target, peer = EventEmitter:new(), uv.new_pipe(false)
    ipc.setup(target, a, { wire = "json" })
    assert(peer:open(b))
    return target, peer
  end

  local function encoded(value)
    local target, peer = pair()
    local text = ""
    peer:read_start(function(_, data) if data then text = text .. data end end)
    target:send(value)
    children.eventually(function() return text:sub(-1) == "\n" end)
    peer:close()
    children.once(target, "disconnect")
    return text:sub(1, -2)
  end

  local function decoded(text)
    local target, peer = pair()
    local got, failed
    target:on("message", function(message) got = { message } end)
    target:on("error", function(err) failed = err end)
    peer:write(text .. "\n")
    children.eventually(function() return got or failed end)
    if not peer:is_closing() then peer:close() end
    children.eventually(function() return not target.connected end)
    return got and got[1], failed
  end

  it("are written as Node would write them", function()
    for text, value in pairs{
      ["{}"] = {}, ["[1,2]"] = { 1, 2 }, ["-5"] = -5, ["0.1"] = 0.1, ["1e+300"] = 1e300, ["9007199254740991"] = 2 ^ 53 - 1,
      ["[1.7976931348623157e+308]"] = { 1.7976931348623157e308 }, ["[null,null]"] = { 0 / 0, 1 / 0 }, ["[{},{}]"] = { {}, {} },
      ['"\\u0000\\u001f\\n\\"\\\\/"'] = "\0\31\n\"\\/", ["[null,2]"] = { nil, 2 },
      ['{"1000":1}'] = { [1000] = 1 }, ['{"0.5":1}'] = { [0.5] = 1 }, ['{"a":1}'] = { a = 1 },
    } do
      assert.equal(text, encoded(value))
    end
    local mixed = encoded{ "a", x = true }
    assert.is_true(mixed == '{"1":"a","x":true}' or mixed == '{"x":true,"1":"a"}', mixed)
  end)

  it("are read strictly", function()
    local null = require("cjson").null
    for text, value in pairs{
      [" [ 1 , 2 ] "] = { 1, 2 }, ["-0"] = -0, ["1e2"] = 100, ["-1.5E-3"] = -0.0015, ["12345678901234567890"] = 12345678901234567890,
      ['"\\u00e9\\ud83d\\ude00\\/\\b"'] = "é😀/\b", ['"\\ud83d"'] = "\237\160\189", ['{"a":null,"b":[null]}'] = { b = { null } },
      ['{"a":1,"a":2}'] = { a = 2 }, ["true"] = true, ["[[[[]]]]"] = { { { {} } } }, ['""'] = "",
      ['"' .. ("x"):rep(100) .. '\\n"'] = ("x"):rep(100) .. "\n",
    } do
      local got, err = decoded(text)
      assert.is_nil(err)
      assert.same(value, got)
    end
    for _, text in ipairs{
      "nul", "[1,]", "[,1]", "{,}", '{"a"}', '{"a":}', "{a:1}", "01", "-", "1.", ".5", "1e", "+1", "0x10", "NaN", "Infinity", "'a'",
      '"a', '"\\x"', '"\\u12"', '"\\u12g4"', '"a\tb"', "1 2", "[1", '{"a":1', "tru", "//", ("["):rep(2000), '"\\', '"\\u',
    } do
      local got, err = decoded(text)
      assert.is_nil(got, text)
      assert.equal("EPROTO", err.code)
    end
  end)
end)
