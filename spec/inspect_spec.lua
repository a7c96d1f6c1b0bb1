local inspect = require("inspect")
local EventEmitter = require("events").EventEmitter
local errors = require("errors")

describe("inspect", function()
  local function shows(text, value, options) assert.equal(text, inspect.inspect(value, options)) end

  it("shows short tables on one line, with the sequence first and sorted keys", function()
    shows('{ 1, 2, "x", a = true, b = { c = 1 } }', { 1, 2, "x", b = { c = 1 }, a = true })
    shows("{}", {})
    shows('{ [0] = "zero", "one" }', { [0] = "zero", "one" })
    shows('{ [1.5] = 1, [10] = 2, [true] = 3 }', { [true] = 3, [10] = 2, [1.5] = 1 })
    shows('{ _x = 3, ["end"] = 1, ["two words"] = 2 }', { ["end"] = 1, ["two words"] = 2, _x = 3 })
  end)

  it("can be called as a module", function() assert.equal("{ 1 }", inspect{ 1 }) end)

  it("quotes strings as Lua and makes bytes visible", function()
    shows([["a\nb\tc\\"]], "a\nb\tc\\")
    shows([['say "hi"']], 'say "hi"')
    shows([["\"'"]], [["']])
    shows([["\x00\x01\xFF"]], "\0\1\255")
    shows('"Grüße €"', "Grüße €")
    shows([["\xC3(\xED\xA0\x80"]], "\195(\237\160\128")
    for _, text in ipairs{ "a\0b\200\n\27[31m\0275", "\"'", ("x"):rep(300), "€\255" } do
      assert.equal(text, loadstring("return " .. inspect(text))())
    end
  end)

  it("shows numbers so that they read back", function()
    shows("0.1", 0.1)
    shows("-0", -1 / math.huge)
    shows("9007199254740991", 2 ^ 53 - 1)
    shows("math.huge", math.huge)
    shows("nan", 0 / 0)
    shows("0.30000000000000004", 0.1 + 0.2)
  end)

  it("stops at the depth", function()
    shows("{ a = { b = { c = {...} } } }", { a = { b = { c = { d = 1 } } } })
    shows("{ a = {...} }", { a = { 1 } }, { depth = 0 })
    shows("{ a = { b = { c = { d = 1 } } } }", { a = { b = { c = { d = 1 } } } }, { depth = math.huge })
    local deep = {}
    for _ = 1, 100000 do deep = { deep } end
    assert.truthy(inspect(deep, { depth = math.huge }):find("{...}", 1, true))
  end)

  it("marks tables inside themselves", function()
    local t = { n = 1 }
    t.self, t.list = t, { t }
    shows("<ref *1> { list = { <circular *1> }, n = 1, self = <circular *1> }", t)
    local shared = {}
    shows("{ {}, {} }", { shared, shared })
  end)

  it("breaks lines at the width", function()
    local value = { first = ("a"):rep(30), second = ("b"):rep(30), third = 3 }
    shows(('{\n  first = "%s",\n  second = "%s",\n  third = 3\n}'):format(("a"):rep(30), ("b"):rep(30)), value)
    for line in inspect({ a = { b = value }, c = value }, { breakLength = 60 }):gmatch("[^\n]+") do
      assert.is_true(#line <= 60, line)
    end
  end)

  it("puts long lists of short items into columns", function()
    local numbers = {}
    for i = 1, 100 do numbers[i] = i end
    local text = inspect(numbers)
    local _, lines = text:gsub("\n", "")
    assert.is_true(lines < 20)
    for line in text:gmatch("[^\n]+") do assert.is_true(#line <= 80) end
    assert.same(numbers, loadstring("return " .. text)())
  end)

  it("shows so many entries and bytes, and says how many more there are", function()
    local list = {}
    for i = 1, 150 do list[i] = i end
    assert.truthy(inspect(list):find("... 50 more", 1, true))
    shows("{ 1, 2, ... 148 more }", list, { maxLength = 2 })
    shows('"abc"... 2 more bytes', "abcde", { maxStringLength = 3 })
  end)

  it("ends soon for tables that are shared without end", function()
    local t = { 1 }
    for _ = 1, 40 do t = { t, t, t } end
    assert.is_true(#inspect(t, { depth = math.huge }) < 5e6)
  end)

  it("names objects by their class and hides what is private", function()
    local Thing = EventEmitter:extend("Thing")
    Thing:getter("size", function() return 3 end)
    Thing:getter("nothing", function() return false end)
    Thing:getter("broken", function() error("no") end)
    local thing = Thing:new()
    thing.pid = 12
    thing:on("x", function() end)
    shows("Thing { pid = 12, size = 3 }", thing)
    local Special = Thing:extend("Special")
    shows("Special { size = 3 }", Special:new())
    shows("{ Special {} }", { Special:new() })
    assert.truthy(inspect(thing, { showHidden = true }):find("_listeners", 1, true))
    shows("{ <class Thing: EventEmitter> }", { Thing })
    shows("Other { x = 1 }", setmetatable({ x = 1 }, { __name = "Other" }))
  end)

  it("shows errors with code and fields", function()
    shows("[Error: boom]", errors.Error:new("boom"))
    shows('[Error: boom] { code = "E_X", port = 80 }', errors.Error:new("boom", { code = "E_X", port = 80 }))
  end)

  it("shows metatables of plain tables, and uses __tostring and __pairs", function()
    shows("{ x = 1, <metatable> = { __index = { y = 2 } } }", setmetatable({ x = 1 }, { __index = { y = 2 } }))
    shows("me", setmetatable({}, { __tostring = function() return "me" end }))
    shows("me", setmetatable({}, { __name = "Class", __tostring = function() return "me" end }))
    shows("Class { _a = 1, <metatable> = <Class> }", setmetatable({ _a = 1 }, { __name = "Class" }), { showHidden = true })
    assert.truthy(inspect(setmetatable({ 7 }, { __tostring = function() error("no") end })):find("^{%s+7,"))
    shows("{ a = 1 }", setmetatable({}, { __pairs = function() return next, { a = 1 }, nil end }))
    assert.truthy(inspect(process.env):find("PATH = ", 1, true))
  end)

  it("survives what resists", function()
    shows("{ 1, <metatable> = { __metatable = false } }", setmetatable({ 1 }, { __metatable = false }))
    local function refuse() error("no") end
    local hostile = setmetatable({}, { __tostring = refuse, __index = refuse, __eq = refuse, __lt = refuse, __len = refuse })
    local another = setmetatable({}, getmetatable(hostile))
    assert.truthy(inspect{ [hostile] = 1, [another] = 2 }:find("^{ %[<table: 0x%x+>%] = %d, %[<table: 0x%x+>%] = %d }$"))
    local ffi = require("ffi")
    shows("cdata", ffi.metatype("struct { int refuses; }", { __tostring = refuse })())
    local endless = setmetatable({}, { __pairs = function() return function(_, n) return n + 1, true end, nil, 0 end })
    assert.truthy(inspect(endless):find("... %d+ more\n}$"))
  end)

  it("shows functions, coroutines and C's values", function()
    shows("<function: built-in>", print)
    shows("<function: built-in>", process.exit)
    shows("<function: built-in>", table.move)
    assert.truthy(inspect(function() end):find("^<function: .*inspect_spec.lua:%d+>$"))
    assert.truthy(inspect(coroutine.create(print)):find("^<thread: .*, suspended>$"))
    shows("12LL", 12LL)
    assert.truthy(inspect(io.stdout):find("^<file %("))
    shows("nil", nil)
  end)

  it("colours", function()
    shows('{ a = \27[33m1\27[0m, b = \27[32m"x"\27[0m }', { a = 1, b = "x" }, { colors = true })
  end)

  it("refuses wrong options by name", function()
    local ok, err = pcall(inspect, 1, { depth = "2" })
    assert.is_false(ok)
    assert.equal("ERR_INVALID_ARG_TYPE", err.code)
    assert.truthy(err.message:find("options.depth", 1, true))
    assert.is_false(pcall(inspect, 1, 2))
  end)
end)
