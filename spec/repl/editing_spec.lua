local await = require("await")
local timers = require("timers")
local terminal = require("spec.support.terminal")
local lrun = require("spec.support.lrun")
local uv = require("luv")

describe("the prompt", function()
  local t

  local function open(options)
    t = terminal.prompt(options)
    return t
  end

  after_each(function()
    if t then t:close() end
    t = nil
  end)

  local PASTE, END, UP, DOWN = "\27[200~", "\27[201~", "\27[A", "\27[B"
  local BLOCK = "local function add(a, b)\r  return a + b\rend\rprint(add(1, 2))"

  it("takes a paste as one input", function()
    open()
    t:type(PASTE .. BLOCK .. END)
    t:waitFor("> local function add(a, b)\n  return a + b\nend\nprint(add(1, 2))", true)
    t:type("\r")
    t:waitFor("print(add(1, 2))\n3\n>", true)
    t:type(PASTE .. "x = 20\nx = x + 1\nprint(x .. 'ä€')\n" .. END)
    t:waitFor("\n21ä€\n>", true)
    t:type("add(x, " .. PASTE .. "1)" .. END .. "\r")
    t:waitFor("> add(x, 1)\n22\n>", true)
    t:type(PASTE .. "\27[31m\0\255" .. END .. "\3")
    t:waitFor("^C", true)
    t:type("'still here'\r")
    t:waitFor('"still here"\n>', true)
  end)

  it("takes a paste that comes in pieces, and none that is too big", function()
    open()
    t:type("\27[20")
    t:type("0~1 +")
    t:type(" 2\27[2")
    t:type("01~\r")
    t:waitFor("> 1 + 2\n3\n>", true)
    t:type(PASTE)
    local rest = ("x"):rep(1200000) .. END
    while rest ~= "" do                 -- a terminal takes what it has room for
      rest = rest:sub((uv.fs_write(t._master, rest:sub(1, 4000), -1) or 0) + 1)
      await(timers.setImmediate)
    end
    t:waitFor("more than 1 MiB was pasted: nothing of it was taken", true)
    t:type("\3'next'\r")
    t:waitFor('"next"\n>', true)
  end)

  it("brings an input of several lines back as one, and edits it so", function()
    local path = os.tmpname()
    finally(function() uv.fs_unlink(path) end)
    open{ env = { LRUN_HISTORY = path } }
    t:type("for i = 1, 2 do\r")
    t:waitForLine("...")
    t:type("print('row' .. i)\r")
    t:waitForLine("...")
    t:type("end\r")
    t:waitFor("row2\n>", true)
    t:type("'other'\r")
    t:waitFor('"other"\n>', true)
    t:type(UP .. UP)
    t:waitFor("> for i = 1, 2 do\nprint%('row' .. i%)\nend$")
    t:type(UP .. UP .. "\5\127\127\127\127" .. "13 do\r")        -- in the first row, at its end
    t:waitFor("row13\n>", true)
    t:type("\4")
    t:waitForExit()
    t:close()
    open{ env = { LRUN_HISTORY = path } }
    t:type(UP)
    t:waitFor("> for i = 1, .*13 do\nprint%('row' .. i%)\nend$")
  end)

  it("looks with the arrows for inputs that begin so", function()
    open()
    for _, text in ipairs{ "'al' .. 'pha'", "'be' .. 'ta'", "'al' .. 'gae'" } do
      t:type(text .. "\r")
      t:waitFor('"' .. text:gsub("[' .]", "") .. '"\n>', true)
    end
    t:type("'al" .. UP)
    t:waitForLine("> 'al' .. 'gae'")
    t:type(UP)
    t:waitForLine("> 'al' .. 'pha'")
    t:type(UP .. UP .. DOWN)
    t:waitForLine("> 'al' .. 'gae'")
    t:type(DOWN)
    t:waitForLine("> 'al")
    t:type("\127\127\127" .. UP .. UP)
    t:waitForLine("> 'be' .. 'ta'")
    t:type(" 1" .. UP)                  -- what was changed is a new search
    t:waitForLine("> 'be' .. 'ta' 1")
  end)

  it("types nothing for keys that mean nothing", function()
    open()
    for _, key in ipairs{ "\27[5~", "\27[6~", "\27[2~", "\27[15~", "\27OP", "\27[1;2A", "\27[5;5~", "\27[Z" } do t:type("4" .. key) end
    t:type("\r")
    t:waitFor("> 44444444\n44444444\n>", true)
  end)

  it("leaves by a Ctrl-D that was typed while a chunk ran", function()
    open()
    t:type("print('be' .. 'gun') io.stdout:flush() require('luv').sleep(50)\r")
    t:waitFor("\nbegun", true)
    t:type("\4")
    assert.equal(0, (t:waitForExit()))
  end)

  it("keeps locals for later inputs, a variable for each declaration", function()
    local function shows(expected, input) assert.equal(expected, (lrun.run({ "-i" }, input):gsub("%.%.%. ", ""):gsub("> ", ""))) end
    shows("41\n42\n\n", "local count = 40\nlocal function add(n) count = count + n end\nadd(1)\ncount\nadd(1) print(count)\n")
    shows("20\tnil\n15\tnil\n10\n20\n\n",
      "local a, b = 5\nfunction old() return a * 2 end\nlocal a = 20\nprint(a, b) local a = 15 print(a, rawget(_G, 'a'))\nold()\nprint(#'20' * 10)\n")
    shows("120\n\n", "local function fact(n)\nreturn n < 2 and 1 or n * fact(n - 1)\nend\nfact(5)\n")
    shows("function\n1\n\n", "local print = print\nlocal s, t = 'local x', { f = function() local u = 1 return u end }\nprint(type(s.rep))\nt.f()\n")
    shows("true\ttrue\n\n", "local x --[[ local y ]] ; local z = [[ local ]] do local w = 1 end if x then local v else local v end\n"
      .. "print(x == nil, w == v)\n")
  end)

  it("completes locals", function()
    open()
    t:type("local remembered = { field = 1 }\r")
    t:type("remem\t.f\t\r")
    t:waitFor("> remembered.field\n1\n>", true)
  end)

  it("shows the error of what was meant", function()
    local function fails(expected, input) assert.matches(expected, (lrun.run({ "-i" }, input .. "\n"))) end
    fails("'do' expected near 'print'", "for i = 1, 3 print(i) end")
    fails("'then' expected near 'print'", "if true print(1) end")
    fails("unexpected symbol near '='", "x = = 1")
    fails("'}' expected near ':'", '{ "a": 1 }')
    fails("'%)' expected near 'c'", "print(a.b c)")
  end)

  it("refuses what would take its keys away or could not run", function()
    local out = lrun.run({ "-i" }, "process.stdin:on('data', print)\n1 + 1\n")
    assert.matches("the prompt reads standard input: .-\n> 2\n", out)
    local path = os.tmpname()
    finally(function() uv.fs_unlink(path) end)
    local file = io.open(path, "w")
    file:write("local cluster = require('cluster')\nif cluster.isPrimary then cluster.fork() else print('worker') end\n")
    file:close()
    out = lrun.run({ "-i" }, ".load " .. path .. "\n1 + 1\n")
    assert.truthy(out:find(("%s:2: %s forks workers"):format(path, path), 1, true), out)
    assert.truthy(out:find("lrun -i " .. path, 1, true), out)
    assert.matches("\n> 2\n", out)
  end)
end)
