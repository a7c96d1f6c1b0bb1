local errors = require("errors")
local json = require("json")

local function fails(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  assert.is_true(errors.isError(err), tostring(err))
  return err
end

local function nested(levels)
  local value = {}
  for _ = 2, levels do value = { value } end
  return value
end

describe("json.encode", function()
  it("writes values", function()
    assert.equal('"a\\"b\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\127é😀"', json.encode('a"b\\/\b\f\n\r\t\0\31\127é😀'))
    assert.equal("true", json.encode(true))
    assert.equal("null", json.encode(nil))
    assert.equal("null", json.encode(json.null))
    assert.equal('[1,"x",false,null]', json.encode{ 1, "x", false, json.null })
    assert.equal('{"a":{"b":[{}]}}', json.encode{ a = { b = { {} } } })
  end)

  it("writes the shortest digits that give a number back", function()
    for _, each in ipairs{ { 0.1, "0.1" }, { 0.1 + 0.2, "0.30000000000000004" }, { 4.35, "4.35" }, { 1e-4, "0.0001" }, { -1e-5, "-1e-05" },
      { 1 / 3, "0.3333333333333333" }, { 1e21, "1e+21" }, { 1.5e300, "1.5e+300" }, { 2 ^ 53, "9007199254740992" }, { -0.0, "0" },
      { 2 ^ 53 + 2, "9007199254740994" }, { 1e17, "1e+17" }, { 123456789012345680, "1.2345678901234568e+17" }, { 5e-324, "5e-324" },
      { 1.7976931348623157e308, "1.7976931348623157e+308" }, { 9007199254740993e3, "9.007199254740993e+18" },
      { 2.2250738585072014e-308, "2.2250738585072014e-308" }, { 0.001, "0.001" }, { 299792.458, "299792.458" } } do
      assert.equal(each[2], json.encode(each[1]))
    end
    local random = 1
    local function next()
      random = (random * 16807) % 2147483647
      return random
    end
    local function digits(text) return #text:gsub("e.*", ""):gsub("%D", ""):gsub("^0+", ""):gsub("0+$", "") end
    for _ = 1, 3000 do
      for _, number in ipairs{ next() / next(), next() / 100, math.ldexp(next() + next() / 2147483647, next() % 2040 - 1060) } do
        local text, printed = json.encode(number), nil
        assert.equal(number, tonumber(text), text)
        for precision = 15, 17 do
          printed = ("%." .. precision .. "g"):format(number)
          if tonumber(printed) == number then break end
        end
        assert.is_true(digits(text) <= digits(printed), text .. " " .. printed)
      end
    end
  end)

  it("reads numbers to the last bit, however they are written", function()
    for _, text in ipairs{ "0.1", "1e23", "123456789012345678", "0.000001e-10", "1e-320", "17976931348623157e292", "3.0e22", "-0.0", "1e400",
      "-1e-400", "100000000000000000000000e-23", "1" .. ("0"):rep(400) .. "e-400", "0." .. ("0"):rep(400) .. "1e401", "9007199254740993",
      "1.00000000000000011102230246251565", "999999999999999e22", "123456789012345e-22", "1e00000000000000000000001" } do
      local number = json.decode(text)
      assert.equal(tonumber(text), number, text)
      assert.equal(1 / tonumber(text), 1 / number, text)
    end
    local random = 1
    local function below(limit)
      random = (random * 16807) % 2147483647
      return random % limit
    end
    local function digits(count)
      local list = {}
      for i = 1, count do list[i] = below(10) end
      return table.concat(list)
    end
    for _ = 1, 30000 do
      local text = below(9) + 1 .. digits(below(20))
      if below(2) == 0 then text = text .. "." .. digits(below(20) + 1) end
      if below(2) == 0 then text = text .. "e" .. below(660) - 330 end
      assert.equal(tonumber(text), json.decode(text), text)
    end
    for i = 0, 960 do                  -- half way between two doubles, and beside it
      local half = ("%.0f"):format(2 ^ 53 + 2 * below(2 ^ 30)):gsub("%d$", function(last) return last + 1 end)
      for _, text in ipairs{ half, half .. ".0", half .. ".01", half .. "1e-1", half .. "e" .. i % 25, half .. "e-" .. i % 300 } do
        assert.equal(tonumber(text), json.decode(text), text)
      end
    end
  end)

  it("reads arrays and objects of any size, and the last of keys that come twice", function()
    for _, count in ipairs{ 0, 1, 15, 16, 17, 32, 33, 1000 } do
      local list, object, members = {}, {}, {}
      for i = 1, count do
        list[i] = { i }
        object["k" .. i] = { k = i }
        members[i] = ('"k%d":1,"k%d":{"k":%d}'):format(i, i, i)
      end
      assert.same(list, json.decode(json.encode(list) == "{}" and "[]" or json.encode(list)))
      assert.same(object, json.decode(json.encode(object)))
      assert.same(object, json.decode("{" .. table.concat(members, ",") .. "}"))
    end
    assert.same({ a = 1 }, json.decode('{"a":2,"b":1,"b":null,"a":1}'))
  end)

  it("reads keys that come again and again, whatever comes between them", function()
    local names = { "", "a", "ab", "a key of 22 characters", "a key of 23 characters.", "a key of 24 characters..", ("long"):rep(50), "\u{e9}" }
    for i = 1, 600 do names[#names + 1] = "name" .. i end     -- more than are kept
    local random = 1
    local function next(limit)
      random = (random * 16807) % 2147483647
      return random % limit + 1
    end
    for _ = 1, 3000 do
      local parts, expected = {}, {}
      for i = 1, next(20) do
        local name = names[next(next(3) == 1 and #names or 12)]
        local escaped = next(5) == 1 and name:gsub("^a", "\\u0061") or name
        local value = next(4)
        parts[i] = ('"%s"%s:%s'):format(escaped, next(5) == 1 and " " or "", ({ "1", '"text"', "null", '{"a":[{"ab":2}]}' })[value])
        expected[name] = ({ 1, "text", nil, { a = { { ab = 2 } } } })[value]
        if value == 3 then expected[name] = nil end
      end
      local text = (next(2) == 1 and "{%s}" or "{%s}          "):format(table.concat(parts, ","))
      assert.same(expected, json.decode(text), text)
    end
  end)

  it("goes on when finalizers write and read JSON meanwhile", function()
    local ran, turn, live = 0, 0, true
    local function litter()
      getmetatable(newproxy(true)).__gc = function()
        ran = ran + 1
        json.encode{ [ran + 0.5] = ("x"):rep(ran % 5000) }
        local key = "key" .. ran % 1000
        assert.equal(1, json.decode(('{"%s":1,"a":2}'):format(key))[key])
        if live then litter() end
      end
    end
    for _ = 1, 50 do litter() end
    while ran < 2000 do
      turn = turn + 1
      local value = { [turn + 0.25] = true, name = ("y"):rep(100), list = { 1, 2, { [turn + 0.75] = {} } } }
      local text = json.encode(value)
      assert.is_truthy(text:find(("y"):rep(100), 1, true))
      local back = json.decode(text)
      assert.equal(true, back[turn .. ".25"])
      assert.equal(2, back.list[2])
    end
    live = false
  end)

  it("writes lists of lists with holes in the time of their length", function()
    local value = {}
    for _ = 1, 200 do value = { value, nil, 1 } end
    assert.equal(("["):rep(200) .. "{}" .. (",null,1]"):rep(200), json.encode(value))
    assert.equal("[1,2,null,4]", json.encode({ [4] = 4, [2] = 2, [1] = 1 }))
    assert.equal('{"1":1,"x":2}', json.encode({ 1, x = 2 }))
  end)

  it("writes numbers so that they come back the same", function()
    assert.equal("[1,-1,0,0,1000000000000000,9007199254740991,-9007199254740992]",
      json.encode{ 1, -1, 0, -0.0, 1e15, 2 ^ 53 - 1, -2 ^ 53 })
    assert.equal("[0.1,0.30000000000000004,1.5]", json.encode{ 0.1, 0.1 + 0.2, 1.5 })
    for _, number in ipairs{ 1 / 3, 2 ^ 60, 1e21, 5e-324, 1.7976931348623157e308, -123.456e-7 } do
      assert.equal(number, json.decode(json.encode(number)))
    end
  end)

  it("tells arrays from objects", function()
    assert.equal("{}", json.encode{})
    assert.equal("[]", json.encode(setmetatable({}, { __jsontype = "array" })))
    assert.equal("[1,null,3]", json.encode{ 1, nil, 3 })
    assert.equal("[null,null,1]", json.encode{ [3] = 1 })
    assert.equal('{"1.5":true}', json.encode{ [1.5] = true })
    assert.equal('{"0":1}', json.encode{ [0] = 1 })
    assert.same({ ["1"] = "a", ["2"] = "b", x = "c" }, json.decode(json.encode{ "a", "b", x = "c" }))
  end)

  it("says what cannot be encoded", function()
    local err = fails(json.encode, { users = { {}, {}, { name = print } } })
    assert.equal("users[3].name", err.path)
    assert.equal("Cannot encode users[3].name as JSON: a function", err.message)
    assert.equal("ERR_INVALID_ARG_VALUE", err.code)
    assert.equal('["a b"]', fails(json.encode, { ["a b"] = io.stdout }).path)
    assert.equal("", fails(json.encode, 0 / 0).path)
    assert.truthy(fails(json.encode, { 1, 1 / 0 }).message:find("Cannot encode [2] as JSON: an infinite", 1, true))
    assert.truthy(fails(json.encode, { x = { [true] = 1 } }).message:find("x[true]", 1, true))
    assert.truthy(fails(json.encode, { 1, x = { [1] = 2, ["1"] = 3, y = 1 } }).message:find("twice", 1, true))
    assert.truthy(fails(json.encode, { list = { [1000] = 1 } }).message:find("list as JSON: a list with too many holes", 1, true))
    assert.truthy(fails(json.encode, { s = "a\255" }).message:find("s as JSON: a string that is not UTF-8", 1, true))
    assert.truthy(fails(json.encode, { ["\237\160\128"] = 1 }).message:find("a key that is not UTF-8", 1, true))
  end)

  it("stops at cycles and at 1000 levels", function()
    local a = { b = {} }
    a.b.a = a
    local err = fails(json.encode, a)
    assert.equal("Cannot encode b.a as JSON: it contains itself", err.message)
    assert.equal(2000, #json.encode(nested(1000)))
    assert.truthy(fails(json.encode, nested(1001)).message:find("nested too deep", 1, true))
    assert.equal("[1]", json.encode{ 1 })
  end)

  it("writes big values and goes on with small ones", function()
    local text = ("é\1"):rep(100000)
    assert.equal(text, json.decode(json.encode{ text })[1])
    assert.equal('""', json.encode(""))
  end)

  it("keeps to JSON under a locale with a decimal comma", function()
    local before = os.setlocale(nil, "numeric")
    for _, name in ipairs{ "de_DE.UTF-8", "fr_FR.UTF-8" } do os.setlocale(name, "numeric") end
    local text, value = json.encode(0.5), json.decode("[2.5]")[1]
    os.setlocale(before, "numeric")
    assert.equal("0.5", text)
    assert.equal(2.5, value)
  end)
end)

describe("json.decode", function()
  it("reads values", function()
    assert.same({ a = { 1, -0.5, 1e3, "é\n/\0😀" }, b = { c = true } },
      json.decode(' {"a" : [1,-0.5,1E3, "\\u00e9\\n\\/\\u0000\\ud83d\\ude00"],\r\n\t"b":{"c":true}} '))
    assert.is_nil(json.decode("null"))
    local value = json.decode('{"a":null,"b":[1,null,[null,{"d":null,"e":1}]],"c":"null"}')
    assert.is_nil(value.a)
    assert.same({ 1, "null" }, { value.b[1], value.c })
    assert.equal(json.null, value.b[2])
    assert.equal(json.null, value.b[3][1])
    assert.same({ e = 1 }, value.b[3][2])
    assert.equal('[1,null,[null,{"e":1}]]', json.encode(value.b))
    assert.equal(2 ^ 53 - 1, json.decode("9007199254740991"))
    assert.equal(2, json.decode('{"a":1,"a":2}').a)
    assert.equal("5", next(json.decode('{"5":1}')))
    assert.is_nil(json.decode('{"a":1,"a":null}').a)
    assert.equal(1e30, json.decode("1" .. ("0"):rep(30)))
    assert.equal(-1 / 0, 1 / json.decode("-0"))
  end)

  it("reads strings of any length, with what is special anywhere in them", function()
    for length = 0, 40 do
      for at = 0, length do
        local plain, rest = ("x"):rep(at), ("y"):rep(length - at)
        for _, special in ipairs{ "\"", "\\", "\31", "é", "😀", "\127", "!", "[" } do
          local text = plain .. special .. rest
          assert.equal(text, json.decode(json.encode(text)))
        end
        assert.equal(at + 2, fails(json.decode, '"' .. plain .. "\31" .. rest .. '"').offset)
        assert.equal(at + 2, fails(json.decode, '"' .. plain .. "\128" .. rest .. '"').offset)
      end
    end
  end)

  -- text, line, column, reason
  local WRONG = {
    { "", 1, 1, "unexpected end" }, { "{", 1, 2, "unexpected end" }, { '"abc', 1, 5, "unexpected end" },
    { "[1,2,]", 1, 6, "unexpected character" }, { "[,]", 1, 2, "unexpected character" },
    { '\n\n {"a":tru}', 3, 7, "unexpected character" }, { "[1 2]", 1, 4, "expected ',' or ']'" },
    { '{"a":1 "b":2}', 1, 8, "expected ',' or '}'" }, { '{"a" 1}', 1, 6, "expected ':'" },
    { "{a:1}", 1, 2, "expected a key in quotes" }, { '{"a":1,}', 1, 8, "expected a key in quotes" },
    { "1 2", 1, 3, "unexpected character after the value" }, { "[1]\0", 1, 4, "unexpected character after the value" },
    { "01", 1, 2, "number with a leading zero" }, { "1.", 1, 3, "unexpected end" }, { "1.x", 1, 3, "expected a digit" },
    { "0x10", 1, 2, "unexpected character after the value" }, { "+1", 1, 1, "unexpected character" },
    { ".5", 1, 1, "unexpected character" }, { "NaN", 1, 1, "unexpected character" },
    { "-Infinity", 1, 2, "expected a digit" }, { "nan", 1, 1, "unexpected character" },
    { '"a\nb"', 1, 3, "control character in a string" }, { '"\255"', 1, 2, "string that is not UTF-8" },
    { '"\192\128"', 1, 2, "string that is not UTF-8" }, { '"\\x41"', 1, 3, "unknown escape" },
    { '"\\u12g4"', 1, 6, "expected a hexadecimal digit" }, { '"\\ud800"', 1, 2, "half of a surrogate pair" },
    { '"\\udc00\\ud800"', 1, 2, "half of a surrogate pair" }, { '"\\ud800\\u0041"', 1, 2, "half of a surrogate pair" },
    { "\239\187\191[]", 1, 1, "unexpected character" }, { "'a'", 1, 1, "unexpected character" },
    { ("["):rep(1001), 1, 1001, "nested too deep" },
  }
  it("says where the text is wrong", function()
    for _, case in ipairs(WRONG) do
      local err = fails(json.decode, case[1])
      assert.equal(("Invalid JSON at line %d, column %d: %s"):format(case[2], case[3], case[4]), err.message)
      assert.equal("ERR_INVALID_JSON", err.code)
      assert.same({ case[2], case[3] }, { err.line, err.column })
    end
    assert.equal(8, fails(json.decode, "[1,\n2,\n}").offset)
  end)

  it("never builds a part of a text that is cut short", function()
    local text = '{"a":[1,2.5e-3,"\\ud83d\\ude00é",null,true,false],"b":{"c":{}}}'
    for length = 0, #text - 1 do fails(json.decode, text:sub(1, length)) end
    assert.equal(2, #json.decode(text).b == 0 and 2)
  end)

  it("takes 1000 levels", function()
    assert.equal("table", type(json.decode(("["):rep(1000) .. ("]"):rep(1000))))
  end)

  it("names a wrong argument", function()
    assert.equal('The "text" argument must be of type string. Received nil', fails(json.decode).message)
    assert.truthy(fails(json.decode, json, "1").message:find("call json.decode(...) with a dot", 1, true))
  end)
end)
