local terminal = require("spec.support.terminal")
local lrun = require("spec.support.lrun")
local processes = require("spec.support.processes")

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
    assert.equal('> ... "a\\nb"\n> \n', piped('"a\\\nb"\n'))
    assert.truthy(piped("x = = 1\n"):find("unexpected symbol near '='", 1, true))
    assert.equal("> repl:1: unfinished string near '<eof>'\n> 1\n> \n", piped('print("a)\n1\n'))
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
    out = piped("x = 1 -- one\n(print)('twice')\n=x\nx + 1\nreturn x\nx = 7\n.save " .. path .. "\nx = 0\n.load " .. path .. "\nx\n")
    os.remove(path)
    assert.equal("> twice\n> 1\n> 2\n> 1\n> > saved to " .. path .. "\n> > twice\n> 7\n> \n", (out:gsub("^> ", "")))
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
    t = terminal.prompt(options)
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

  it("leaves .editor by Ctrl-D, also when nothing was typed there", function()
    open()
    t:type(".editor\r\0041 + 1\r")
    t:waitFor("> 1 + 1\n2\n>", true)
  end)

  it("takes keys that come between two lines for its own", function()
    open()
    for _ = 1, 5 do
      t:type(".editor\r")
      t:waitForLine("-- several lines: Ctrl-D runs them, Ctrl-C drops them")
      for n = 1, 20 do t:type("x = " .. n .. "\r") end
      t:type("return x + 22\r")
      t:type("\4")
      t:waitFor("\n42\n>", true)
      t:type("\12")                   -- Ctrl-L clears the screen
      t:waitFor("^>$")
    end
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
    t:waitFor("end)\n>", true)
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
    local _, count = t.raw:gsub("\27%[%?2004[hl]", ""):gsub("\n%d+\r", "")
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
    t:type("timers.setTimeout(print, 1, 'going') await.sleep(1e6)\r")
    t:waitFor("\ngoing", true)
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
    t:type("\3process.plat\t")
    t:waitForLine("> process.platform")
    t:type("\3process.stdo\t")
    t:waitForLine("> process.stdout")
    t:type("\3string.g\t")
    t:waitFor("gmatch%s+gsub")
    t:waitForLine("> string.g")
    t:type("\3require('./spec/supp\t")
    t:waitForLine("> require('./spec/support/")
    t:type("\3.he\t\r")
    t:waitFor("leave (so does Ctrl-D)", true)
  end)

  it("forks workers, talks with them and sees them die", function()
    open{ rows = 50 }
    t:type("w = cluster.fork()\r")
    t:type("w:on('message', function(m) print('answer', m) end) == w\r")
    t:waitFor("true\n>", true)
    t:type("w:send('1 + 1')\r")
    t:waitFor("answer  2\n>", true)
    t:type("cluster.workers\r")
    t:waitFor("Worker {\n    id = 1", true)
    t:type("cluster:on('exit', function(worker, code, signal) print('died', worker.id, signal) end) == cluster\r")
    t:waitFor("cluster\ntrue\n>", true)
    t:type("w:kill()\r")
    t:waitFor("died    1       SIGTERM\n>", true)
    t:type("cluster.workers\r")
    t:waitFor("> cluster.workers\n{}\n>", true)
  end)

  it("spares the workers when a line is cancelled", function()
    open()
    t:type("w = cluster.fork()\r")
    t:type("w:on('exit', function() print('gone') end):on('message', print) == w\r")
    t:waitFor("true\n>", true)
    t:type("abc")
    t:waitForLine("> abc")
    t:type("\3")
    t:waitForLine(">")
    t:type("w:send('\"alive\"')\r")
    t:waitFor("\nalive", true)
    assert.falsy(t.screen:text():find("\ngone", 1, true))
  end)

  it("stops chunks again after a listener had SIGINT", function()
    open()
    t:type("process:once('SIGINT', function(name) print('got', name) end) == process\r")
    t:waitFor("true\n>", true)
    t:type("process.kill(process.pid, 'SIGINT')\r")
    t:waitFor("got     SIGINT", true)
    t:waitForLine(">")
    t:type("print('run') while true do end\r")
    t:waitFor("\nrun", true)
    t:type("\3")
    t:waitFor("interrupted!", true)
    t:waitForLine(">")
  end)

  it("comes after a script with -i, also after one that failed", function()
    local path = os.tmpname()
    local file = io.open(path, "w")
    file:write("answer = 42\nerror('no')\n")
    file:close()
    open{ args = { "-i", path } }
    assert.truthy(t.screen:text():find(":2: no", 1, true))
    t:type("answer\r")
    t:waitFor("\n42\n>", true)
    os.remove(path)
  end)

  it("serves while one types", function()
    open()
    t:type("s = http.createServer(function(req, res) print('asked', req.url) res:finish('hello') end)\r")
    t:waitFor("end)\n>", true)
    t:type("s:listen(0, '127.0.0.1', function() print('port', s:address().port, '') end) == s\r")
    t:waitFor("port    %d+")
    local port = tonumber(t.screen:text():match("port    (%d+)"))
    t:waitForLine(">")
    t:type("half")
    t:waitForLine("> half")
    local net = require("net")
    local socket = net.connect(port, "127.0.0.1")
    socket:on("error", function() end)
    socket:write("GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    socket:resume()
    t:waitFor("asked   /x\n> half", true)
    socket:destroy()
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

  it("goes back over each entry once", function()
    open()
    t:type("5\r6\r6\r5\r7\r7\r")
    t:waitFor("> 7\n7\n> 7\n7\n>", true)
    t:type("\27[A\27[A")
    t:waitForLine("> 5")
    t:type("\27[A")
    t:waitForLine("> 6")
  end)

  it("searches the history", function()
    open()
    t:type("'alpha one'\r'beta'\r'alpha two'\r")
    t:waitFor('"alpha two"\n>', true)
    t:type("\18alp")
    t:waitForLine("(search) 'alp': 'alpha two'")
    t:type("\18")
    t:waitForLine("(search) 'alp': 'alpha one'")
    t:type("\18")
    t:waitForLine("(no more: search) 'alp': 'alpha one'")
    t:type("\127\127\127b")
    t:waitForLine("(search) 'b': 'beta'")
    t:type("\r")
    t:waitForLine(">")
    t:type("keep\18two\7")
    t:waitForLine("> keep")
    t:type("\18one\27[D\127_\r")
    t:waitFor([[> 'alpha on_'
"alpha on_"
>]], true)
  end)

  it("edits other scripts' letters", function()
    open()
    t:type("'Grüße €' \127\27[D\27[D\127x\r")
    t:waitFor("> 'Grüßex€'\n\"Grüßex€\"\n>", true)
  end)

  it("shows what was printed before os.exit", function()
    open()
    t:type("print('last words') os.exit(3)\r")
    assert.equal(3, (t:waitForExit()))
    t:waitFor("\nlast words", true)
  end)

  it("goes on after Ctrl-Z", function()
    open()
    t:type("abc")
    t:waitForLine("> abc")
    t:type("\26")
    local function state() return processes.state(t.pid) end
    while state() ~= "T" do require("await").sleep(1) end
    t:waitFor("tells more$")
    require("luv").kill(t.pid, "sigcont")
    t:waitForLine("> abc")
    t:type("d")
    t:waitForLine("> abcd")
  end)

  it("gives the terminal back when a signal ends it", function()
    local shell = "stty -a > before; \"$LRUN\"; stty -a > after; cmp before after && echo same; exit"
    local folder = assert(require("luv").fs_mkdtemp("/tmp/lrun-repl-XXXXXX"))
    t = terminal.open{ program = "sh", args = { "-c", shell }, cwd = folder, env = { LRUN = process.execPath } }
    t:waitForLine(">")
    t:type("process.pid\r")
    t:waitFor("\n(%d+)\n>")
    require("luv").kill(tonumber(t.screen:text():match("\n(%d+)\n>")), "sigterm")
    t:waitFor("same", true)
    t:waitForExit()
    os.execute("rm -rf " .. folder)
  end)

  it("survives any row of keys", function()
    local keys = { "\t", "\18", "\27[A", "\27[B", "\27[C", "\27[D", "\127", "\r", "abc", "coroutine.", "'", '"', "é", "\240\159\152\128",
      "\255", "\0", "\1", "\5", "\11", "\25", "\23", "\27", "\27b", "\27f", "\27d", "\20", "\12", "\3", "\8", "(", "[[", "]]",
      "for i = 1, 3 do print(i) end\r", "x = 1\r", "_G\r", "\27[3~", "\27[H", "\27[F", "\31", "\29", ("y"):rep(200), "\7", "\21",
      "\27x", "require('./", "timers.setTimeout(print, 1, 't')\r" }
    local state = 1
    local function random(n)             -- the same row each time
      state = (state * 16807) % 2147483647
      return state % n + 1
    end
    for _ = 1, 4 do
      open()
      for _ = 1, 60 do t:type(keys[random(#keys)]) end
      local alive
      for _ = 1, 10 do                   -- the first ones may end up in a chunk, or drop what follows
        t:type("\3")
        pcall(t.waitForLine, t, ">", 500)
        t:type("print('al' .. 'ive')\r")
        alive = pcall(t.waitFor, t, "\nalive\n", true, 500)
        if alive then break end
      end
      assert(alive, t.screen:text())
      t:close()
    end
    t = nil
  end)

  it("inserts what follows Ctrl-V as it is", function()
    open()
    t:type("'\22")
    t:waitForLine("> '")
    t:type("\1'\r")
    t:waitFor("\n\"\\x01\"\n>", true)
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

  it("ends when the terminal goes away, also without a signal, and runs no half of an input", function()
    open()
    t:hangUp()
    assert.same({ 0, 1 }, { t:waitForExit() })
    t:close()
    local file = os.tmpname()
    open{ program = "sh", args = { "-c", "trap '' HUP; exec \"$LRUN\"" }, env = { LRUN = process.execPath } }
    t:type(".editor\rio.open('" .. file .. "', 'w'):write('half typed')\rnext")
    t:waitFor("half typed')\nnext", true)
    t:hangUp()
    assert.same({ 0, 0 }, { t:waitForExit() })
    assert.equal("", io.open(file):read("*a"))
    os.remove(file)
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
