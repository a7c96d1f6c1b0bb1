--- The parser of replies (runtime/redis/resp.c), without a server.
local core = require("lrun.core.redis")
local json = require("json")

local Push = {}
local function failure(text) return { failure = text } end

-- The replies of a text that comes in pieces of `size` bytes; and the fault.
local function parse(text, size, most)
  local parser, all = core.parser(most or 2 ^ 20), {}
  for at = 1, #text, size or #text do
    local list = {}
    local n, fault = parser:feed(text:sub(at, at + (size or #text) - 1), list, failure, Push)
    for i = 1, n do all[#all + 1] = list[i] end
    if fault then return all, fault end
  end
  return all
end

local VALUES = {
  { "+OK\r\n", "OK" }, { "+\r\n", "" }, { ":5\r\n", 5 }, { ":-7\r\n", -7 }, { ":+3\r\n", 3 },
  { ":9007199254740993\r\n", "9007199254740993" },
  { ":-9007199254740992\r\n", -2 ^ 53 }, { "$-1\r\n", json.null }, { "*-1\r\n", json.null }, { "_\r\n", json.null },
  { "$0\r\n\r\n", "" }, { "$7\r\na\r\n\0\r\nb\r\n", "a\r\n\0\r\nb" }, { "#t\r\n", true }, { "#f\r\n", false }, { ",0.5\r\n", 0.5 },
  { ",inf\r\n", math.huge }, { ",-inf\r\n", -math.huge }, { ",1e3\r\n", 1000 },
  { "(123456789012345678901234567890\r\n", "123456789012345678901234567890" },
  { "=8\r\ntxt:text\r\n", "text" }, { "-ERR no\r\n", { failure = "ERR no" } }, { "!6\r\nERR no\r\n", { failure = "ERR no" } },
  { "*0\r\n", {} }, { "%0\r\n", {} }, { "~2\r\n:1\r\n:2\r\n", { 1, 2 } },
  { "*3\r\n:1\r\n*2\r\n+a\r\n_\r\n$1\r\nb\r\n", { 1, { "a", json.null }, "b" } },
  { "%2\r\n+a\r\n:1\r\n:2\r\n*1\r\n+b\r\n", { a = 1, [2] = { "b" } } }, { "|1\r\n+ttl\r\n:5\r\n+value\r\n", "value" },
  { "*2\r\n|1\r\n+k\r\n*1\r\n+v\r\n:1\r\n:2\r\n", { 1, 2 } }, { "*1\r\n-ERR in\r\n", { { failure = "ERR in" } } },
}

describe("replies of Redis", function()
  it("are read, whole and in pieces of any size", function()
    local whole, expected = {}, {}
    for i, row in ipairs(VALUES) do
      assert.same({ row[2] }, parse(row[1]), row[1])
      whole[i], expected[i] = row[1], row[2]
    end
    whole = table.concat(whole)
    for size = 1, 40 do assert.same(expected, parse(whole, size)) end
  end)

  it("tell pushes from replies", function()
    local list = parse(">3\r\n+message\r\n+c\r\n+m\r\n+OK\r\n", 1)
    assert.equal(Push, getmetatable(list[1]))
    assert.same({ "message", "c", "m" }, setmetatable(list[1], nil))
    assert.equal("OK", list[2])
  end)

  it("refuse what is none, and stay refused", function()
    for _, text in ipairs{ "hello\r\n", "\0\r\n", "\r\n", ":x\r\n", ":\r\n", "$x\r\n", "$-2\r\n", "$1e3\r\n", "*x\r\n", "*-2\r\n", "#x\r\n", "#\r\n",
      ",x\r\n", ",\r\n", ",0x1p3\r\n", "_x\r\n", "$3\r\nabcd\r\n", "+a\n", "$9223372036854775808\r\n", "*2147483648\r\n", "!-1\r\n",
      "GET / HTTP/1.1\r\n" } do
      for _, size in ipairs{ 1, #text } do
        local list, fault = parse(text .. "+more\r\n", size)
        assert.equal("string", type(fault), text)
        assert.same({}, list)
      end
    end
    local parser, list = core.parser(1024), {}
    parser:feed("?\r\n", list, failure, Push)
    assert.equal(0, (parser:feed("+OK\r\n", list, failure, Push)))
  end)

  it("have limits of depth, line and size", function()
    local deep = ("*1\r\n"):rep(64) .. ":1\r\n"
    assert.equal(1, #parse(deep))
    assert.truthy(select(2, parse("*1\r\n" .. deep)))
    assert.truthy(select(2, parse("+" .. ("x"):rep(65536) .. "\r\n")))
    assert.truthy(select(2, parse("+" .. ("x"):rep(70000), 1000)))
    assert.truthy(select(2, parse("$2000\r\n", nil, 1000)))
    assert.truthy(select(2, parse("*1000000\r\n" .. (":1\r\n"):rep(1000), 100, 1000)))
    assert.equal(1000, #parse((":1\r\n"):rep(1000), 7, 100))   -- each reply has the limit for itself
  end)
end)
