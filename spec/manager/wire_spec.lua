local environment = require("lrun.manager.environment")
local json = require("json")
local wire = require("lrun.manager.wire")

describe("lines of the manager's protocol", function()
  it("are whole, whatever the pieces", function()
    local text = '{"a":1}\n\n{"b":2}\n{"c"'
    for size = 1, #text do
      local got = {}
      local reader = wire.reader(100, function(line) got[#got + 1] = line end)
      for at = 1, #text, size do assert.is_true(reader.feed(text:sub(at, at + size - 1))) end
      assert.same({ '{"a":1}', '{"b":2}' }, got)
    end
  end)

  it("have a limit, in one piece and in many", function()
    local reader = wire.reader(10, function() error("no line was whole") end)
    assert.is_false(reader.feed(("x"):rep(11)))
    reader = wire.reader(10, function() error("no line was whole") end)
    for _ = 1, 10 do assert.is_true(reader.feed("x")) end
    assert.is_false(reader.feed("x"))
    reader = wire.reader(10, function() error("no line was whole") end)
    assert.is_false(reader.feed(("x"):rep(11) .. "\n"))
  end)

  it("replace what is not UTF-8", function()
    assert.equal("a\239\191\189b", wire.utf8("a\255b"))
    assert.equal("café €", wire.utf8("café €"))
    assert.equal("\239\191\189\239\191\189", wire.utf8("\192\175"))
    assert.equal("\239\191\189\239\191\189\239\191\189", wire.utf8("\237\160\128"))
    assert.equal("\240\159\152\128", wire.utf8("\240\159\152\128"))
    assert.equal("x\239\191\189\239\191\189", wire.utf8("x\226\130"))
    for byte = 0, 255 do assert.equal("string", type(json.encode(wire.utf8("a" .. string.char(byte) .. "b")))) end
    assert.equal('{"line":"\239\191\189"}\n', wire.encode{ line = "\255" })
  end)

  it("carry any bytes of an environment", function()
    local value = { env = { A = "plain", B = "\255\254x", ["C\200"] = "é" }, list = { "1", "\128" } }
    assert.same(value, wire.unpack(json.decode(json.encode(wire.pack(value)))))
  end)
end)

describe("environments", function()
  it("are read from files", function()
    assert.same({ A = "1", B = "two words", C = "a\nb", D = "x#y", E = "$HOME", F = "" },
      environment.parse('# comment\nA=1\nexport B="two words"\n\nC="a\\nb"\nD=x#y # said\nE=\'$HOME\'\nF=\r\n'))
    local env, problem = environment.parse("A=1\nnonsense\n")
    assert.is_nil(env)
    assert.truthy(problem:find("line 2", 1, true))
  end)

  it("mask what looks like a secret", function()
    local shown = environment.masked{ DB_PASSWORD = "x", API_TOKEN = "y", AWS_SECRET_ACCESS_KEY = "z", PATH = "/bin", PWD = "/home",
      URL = "postgres://me:geheim@db/x" }
    assert.equal("********", shown.DB_PASSWORD)
    assert.equal("********", shown.API_TOKEN)
    assert.equal("********", shown.AWS_SECRET_ACCESS_KEY)
    assert.equal("/bin", shown.PATH)
    assert.equal("/home", shown.PWD)
    assert.equal("postgres://me:********@db/x", shown.URL)
  end)

  it("leave out what was made for the caller alone", function()
    local env = environment.inherited({ A = "1", NODE_CHANNEL_FD = "3", LISTEN_FDS = "1", NOTIFY_SOCKET = "/x", LRUN_APP = "y", B_1 = "2" },
      { "B_" })
    assert.same({ A = "1" }, env)
    assert.same({}, environment.inherited({ A = "1" }, true))
  end)
end)
