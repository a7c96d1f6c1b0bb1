--- Objects whose keys come again and again in one order are read in another way than the first ones: nobody may see it.
local json = require("json")

local random = 1
local function below(limit)
  random = (random * 16807) % 2147483647
  return random % limit
end

local function times(count, text)
  local value
  for _ = 1, count do value = json.decode(text) end
  return value
end

describe("objects that come again and again", function()
  it("are the same the first time and later", function()
    for _, text in ipairs{ '{"o1":1}', '{"o2":{"o3":[1,{"o4":null}]},"o5":null,"o6":"x"}',
      '{"p1":1,"p2":2,"p3":3,"p4":4,"p5":5,"p6":6,"p7":7,"p8":8,"p9":9,"pa":10,"pb":11,"pc":12,"pd":13,"pe":14,"pf":15,"pg":16}' } do
      local first = json.decode(text)
      for _ = 1, 10 do
        local again = json.decode(text)
        assert.same(first, again)
      end
    end
  end)

  it("may miss keys, have more, have them twice, in another order, spaced, escaped or null", function()
    local names = { "id", "name", "email", "a key of twenty bytes", "x", "tags", "zip", "\u{e9}t\u{e9}" }
    local values = { { "1", 1 }, { '"text"', "text" }, { "null" }, { '{"id":1,"name":"n"}', { id = 1, name = "n" } },
      { '[{"id":1,"name":null},{"id":2,"name":"m"},null]', { { id = 1 }, { id = 2, name = "m" }, json.null } } }
    local spaces = { "", "", "", " ", "\n\t  " }
    local function space() return spaces[below(#spaces) + 1] end
    for round = 1, 6000 do
      local parts, expected = {}, {}
      local function add(name)
        local value = values[below(#values) + 1]
        local written = below(40) == 0 and name:gsub("^[i-z]", function(c) return ("\\u%04x"):format(c:byte()) end) or name
        parts[#parts + 1] = ('%s"%s"%s:%s%s%s'):format(space(), written, space(), space(), value[1], space())
        expected[name] = value[2]
        if value[2] == nil then expected[name] = nil end
      end
      for i = 1, #names do
        local other = round % 3 ~= 0 and below(12) or 5
        if other == 1 then add(names[below(#names) + 1]) end
        if other == 2 then add("other" .. below(50)) end
        if other ~= 3 then add(names[i]) end
        if other == 4 then break end
      end
      local text = "{" .. table.concat(parts, ",") .. (#parts == 0 and "" or space()) .. "}"
      assert.same(expected, json.decode(text), text)
      local list = json.decode("[" .. text .. "," .. text .. "]")
      assert.same({ expected, expected }, list, text)
    end
  end)

  it("are refused with the same words where they are wrong", function()
    local text = '{"w1":12.5,"w2":{"w3":"\u{e9}\\n","w4":[1,2]},"w5":true,"w6":null}'
    local function faults()
      local found = {}
      for at = 1, #text do
        for _, wrong in ipairs{ text:sub(1, at - 1), text:sub(1, at - 1) .. "\1" .. text:sub(at + 1),
          text:sub(1, at - 1) .. "}" .. text:sub(at), text:sub(1, at - 1) .. '"' .. text:sub(at + 1), text:sub(1, at) .. "\255" } do
          local ok, value = pcall(json.decode, wrong)
          found[#found + 1] = ok and value or ("%d %s"):format(value.offset, value.message)
        end
      end
      return found
    end
    local before = faults()
    times(10, text)
    local wrong = 0
    for i, fault in ipairs(faults()) do
      assert.same(before[i], fault)
      times(2, text)
      if type(fault) == "string" then wrong = wrong + 1 end
    end
    assert.is_true(wrong > 4 * #text)
  end)

  it("have more shapes than are kept, and finalizers that read others", function()
    local live, ran = true, 0
    local function litter()
      getmetatable(newproxy(true)).__gc = function()
        ran = ran + 1
        local name = "g" .. ran % 60
        assert.equal(ran, times(5, ('{"%s":%d,"of":{"%s":1}}'):format(name, ran, name))[name])
        if live then litter() end
      end
    end
    for _ = 1, 20 do litter() end
    local calls = 0
    repeat
      for shape = 1, 70 do
        calls = calls + 1
        local a, b = "s" .. shape, "t" .. shape
        local value = json.decode(('[{"%s":%d,"%s":{"%s":"x","inner":null}},{"%s":1,"%s":2}]'):format(a, calls, b, a, a, b))
        assert.equal(calls, value[1][a])
        assert.equal("x", value[1][b][a])
        assert.is_nil(value[1][b].inner)
        assert.equal(3, value[2][a] + value[2][b])
      end
    until calls > 50000 and ran > 2000
    live = false
  end)
end)
