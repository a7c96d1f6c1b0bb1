local terminal = require("spec.support.terminal")
local lrun = require("spec.support.lrun")

-- Standard input that is no terminal, and the prompt all the same.
local function piped(input) return (lrun.run({ "-i" }, input)) end

describe("the prompt on a pipe", function()
  it("prints what an input returns", function()
    assert.equal("> 2\n> \n", piped("1 + 1\n"))
    assert.equal("> 2\n> \n", piped("=1 + 1\n"))
    assert.equal('> 1\tnil\t"x"\n> \n', piped('1, nil, "x"\n'))
    assert.equal("> > 5\n> \n", piped("x = 5\nx\n"))
    assert.equal("> nil\n> \n", piped("nothing_of_that_name\n"))
    assert.equal("> hello\n> \n", piped("print('hello')\n"))
  end)

  it("asks for more lines until the input is complete", function()
    assert.equal("> ... ... 1\n2\n> \n", piped("for i = 1, 2 do\nprint(i)\nend\n"))
    assert.equal("> ... { 1 }\n> \n", piped("{\n1}\n"))
    assert.equal('> ... "a\\nb"\n> \n', piped("[[a\nb]]\n"))
    assert.truthy(piped("x = = 1\n"):find("unexpected symbol near '='", 1, true))
  end)

  it("keeps past values", function()
    assert.equal("> 7\n> 8\n> 15\n> 7\n> \n", piped("7\n_ + 1\n_ + _1\n_1\n"))
  end)

  -- luacheck: push ignore 613
  it("shows errors short and goes on", function()
    assert.equal("> repl:1: no\n> 1\n> \n", piped("local x = error('no')\n1\n"))
    local deep = piped("local function f() error('deep') end local function g() f() return 1 end g()\n")
    assert.equal([[
> repl:1: deep
stack traceback:
	repl:1: in function 'f'
	repl:1: in function 'g'
	repl:1: in main chunk
> 
]], deep)
    assert.truthy(piped("process.kill(1, 'SIGNOPE')\n"):find('Unknown signal: SIGNOPE\n{ code = "ERR_UNKNOWN_SIGNAL" }', 1, true))
  end)

  -- luacheck: pop

  it("survives errors in callbacks", function()
    local out, err, code = lrun.run({ "-i" }, "timers.setTimeout(function() error('late') end, 1) == 1\nawait.sleep(30)\n5\n")
    assert.truthy(err:find("repl:1: late", 1, true))
    assert.truthy(out:find("> 5\n", 1, true))
    assert.equal(0, code)
  end)

  it("awaits", function() assert.equal("> 3\n> \n", piped("await(function(done) timers.setTimeout(done, 5, 3) end)\n")) end)

  it("has the built-in modules as globals, and only there", function()
    assert.equal("> true\n> \n", piped("events == require('events')\n"))
    assert.equal("> 0\n> \n", piped("#cluster.workers\n"))
    assert.equal("nil\n", (lrun.eval("print(events)")))
  end)

  it("runs what comes before it", function()
    assert.equal("> 4\n> \n", (lrun.run({ "-i", "-e", "x = 4" }, "x\n")))
  end)

  it("loads and saves", function()
    local path = os.tmpname()
    local out = piped("y = 3\n.save " .. path .. "\ny = 4\n.load " .. path .. "\ny\n.load /no/such\n.load\n")
    os.remove(path)
    assert.truthy(out:find("saved to " .. path, 1, true))
    assert.truthy(out:find("> 3\n", 1, true))
    assert.truthy(out:find("cannot load '/no/such': No such file or directory", 1, true))
  end)

  it("knows its commands", function()
    assert.truthy(piped(".help\n"):find(".editor", 1, true))
    assert.equal("> ", piped(".exit\n1\n"))
    assert.truthy(piped(".nope\n"):find("unknown command .nope", 1, true))
    assert.truthy(piped(".editor\nlocal a = 1\nprint(a + 1)\n"):find("\n2\n", 1, true))
    assert.equal("> 0.5\n> \n", piped(".5\n"))
  end)

  it("takes binary input and lines without end", function()
    assert.truthy(piped("\0\255\1\n1\n"):find("> 1\n", 1, true))
    assert.equal("> 1\n> \n", piped("1"))
    assert.equal("> 1\n> \n", piped("1\r\n"))
  end)
end)

describe("the prompt on a terminal", function()
  local t

  local function open(options)
    t = terminal.open(options)
    t:waitForLine(">")
    return t
  end

  after_each(function()
    if t then t:close() end
    t = nil
  end)

  it("is ready and edits", function()
    open()
    t:type("1 + 3\27[D\127\127 + 2\r")
    t:waitFor("> 1  + 23\n24\n>", true)
  end)

  it("leaves by Ctrl-D", function()
    open()
    t:type("\4")
    assert.equal(0, t:waitForExit())
  end)

  it("shows what is printed while one types above the line", function()
    open()
    t:type("timers.setTimeout(function() print('fired') io.write('half') end, 100) == nil\r")
    t:waitFor("false\n>", true)
    t:type("some wor")
    t:waitFor("fired\nhalf\n> some wor", true)
    t:type("ds")
    t:waitForLine("> some words")
  end)

  it("shows what children print above the line", function()
    open()
    t:type("await.spawn(function() await.sleep(50) os.execute('echo child') end)\r")
    t:waitForLine(">")
    t:type("typing")
    t:waitFor("child\n> typing", true)
  end)

  it("keeps the line whole when it is longer than the screen is wide", function()
    open{ columns = 40 }
    t:type("timers.setTimeout(function() print('fired') end, 100) == nil\r")
    t:waitFor("false\n>", true)
    t:type(("x"):rep(100))
    t:waitFor(("fired\n> %s\n%s\n%s"):format(("x"):rep(38), ("x"):rep(40), ("x"):rep(22)), true)
  end)

  it("prints much without losing anything", function()
    open()
    t:type("for i = 1, 20000 do print(i) end\r")
    t:waitFor("19999\n20000\n>", true)
    local _, count = t.raw:gsub("\n%d+\r", "")
    assert.equal(20000, count)
  end)

  it("stops a busy chunk on Ctrl-C", function()
    open()
    for _, code in ipairs{ "while true do end", "for i = 1, 1e15 do end", "while true do pcall(error) end",
      "(function() local function f() return f() end f() end)()" } do
      t:type("print('go') " .. code:gsub("^%(", ";(") .. "\r")
      t:waitFor("\ngo", true)
      t:type("\3")
      t:waitFor("interrupted!", true)
      t:waitForLine(">")
      t:type("print(('\\n'):rep(30))\r")
      t:waitFor("\n\n>")
    end
  end)

  it("stops compiled code on Ctrl-C, too", function()
    open()
    t:type("f = loadstring('local n = 0 for i = 1, ... do n = n + i end return n', '=busy')\r")
    t:type("f(1e6) > 0\r")
    t:waitFor("true\n>", true)
    t:type("print('go') f(1e15)\r")
    t:waitFor("\ngo", true)
    t:type("\3")
    t:waitFor("interrupted!", true)
  end)

  it("gives a waiting chunk up on Ctrl-C", function()
    open()
    t:type("print('go') await.sleep(1e6)\r")
    t:waitFor("\ngo", true)
    t:type("\3")
    t:waitFor("given up\n>", true)
    t:type("2 + 2\r")
    t:waitFor("\n4\n>", true)
  end)

  it("cancels a line on Ctrl-C, also one of several", function()
    open()
    t:type("some text")
    t:waitForLine("> some text")
    t:type("\3")
    t:waitFor("> some text^C\n", true)
    t:waitForLine(">")
    t:type("for i = 1, 2 do\r")
    t:waitForLine("...")
    t:type("\3")
    t:waitForLine(">")
    t:type("3\r")
    t:waitFor("> 3\n3\n>", true)
  end)

  it("completes", function()
    open()
    t:type("coro\t")
    t:waitForLine("> coroutine")
    t:type(".wr\t(")
    t:waitForLine("> coroutine.wrap(")
    t:type("\3")
    t:waitForLine(">")
    t:type("s = 'x'\rs:up\t")
    t:waitForLine("> s:upper")
    t:type("\3require('eve\t")
    t:waitForLine("> require('events")
    t:type("\3string.g\t")
    t:waitFor("gmatch%s+gsub")
    t:waitForLine("> string.g")
    t:type("\3require('./spec/supp\t")
    t:waitForLine("> require('./spec/support/")
    t:type("\3.he\t\r")
    t:waitFor("leave (so does Ctrl-D)", true)
  end)

  it("brings history back, keeps it private and each entry once", function()
    local path = os.tmpname()
    os.remove(path)
    open{ env = { LRUN_HISTORY = path } }
    t:type("11\r22\r11\r")
    t:waitFor("> 11\n11\n>.*> 11\n11\n>")
    assert.equal(384, require("luv").fs_stat(path).mode % 512)
    require("luv").kill(t.pid, "sigkill")
    t:waitForExit()
    t:close()
    local file = io.open(path)
    assert.equal("22\n11\n", file:read("*a"))
    file:close()
    open{ env = { LRUN_HISTORY = path } }
    t:type("\27[A\27[A")
    t:waitForLine("> 22")
    os.remove(path)
  end)

  it("says that a history cannot be read, and works", function()
    open{ env = { LRUN_HISTORY = "/" } }
    assert.truthy(t.screen:text():find("cannot read the history in /", 1, true))
    t:type("7\r")
    t:waitFor("\n7\n>", true)
  end)

  it("follows the terminal's size", function()
    open{ columns = 40 }
    t:type("process.stdout.columns\r")
    t:waitFor("\n40\n>", true)
    t:type("half a line")
    t:waitForLine("> half a line")
    t:resize(24, 100)
    t:type(" more")
    t:waitForLine("> half a line more")
  end)

  it("ends when the terminal goes away", function()
    open()
    t._poll:close()
    require("luv").fs_close(t._master)
    t._master = nil
    t:waitForExit()
  end)

  it("colours, unless told not to", function()
    open{ env = { NO_COLOR = false } }
    t:type("1 + 1\r")
    t:waitFor("\n2\n>", true)
    assert.truthy(t.raw:find("\27[33m2\27[0m", 1, true))
    t:close()
    open()
    t:type("1 + 1\r")
    t:waitFor("\n2\n>", true)
    assert.falsy(t.raw:find("\27[33m", 1, true))
  end)

  it("works on a terminal that can do nothing", function()
    open{ env = { TERM = "dumb" } }
    t:type("1 + 1\r")
    t:waitFor("\n2\n>", true)
    assert.falsy(t.raw:find("\27", 1, true))
    t:type("print('go') while true do end\r")
    t:waitFor("\ngo", true)
    t:type("\3")
    t:waitFor("interrupted!", true)
    t:waitForLine(">")
  end)
end)
