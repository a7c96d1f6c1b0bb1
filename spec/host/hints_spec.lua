local hints = require("lrun.host.hints")
local lrun = require("spec.support.lrun")
local uv = require("luv")

describe("a hint", function()
  -- What `code` fails with, and the hint.
  local function hintOf(code)
    local chunk, err = loadstring(code, "=code")
    if chunk then
      local _
      _, err = pcall(chunk)
    end
    return hints.of(tostring(err):gsub("^code:%d+: The", "The"), nil, code) or "none for " .. tostring(err)
  end

  local function tells(expected, code) assert.truthy(hintOf(code):find(expected, 1, true), hintOf(code)) end

  it("names what takes the place of another runtime's globals", function()
    tells("print(x)", "console.log(1)")
    tells("timers.setTimeout(...)", "setTimeout(print, 1)")
    tells("json.decode", "JSON.parse('1')")
    tells("return x", "module.exports = {}")
    tells("process.argv[1]", "return __dirname .. '/x'")
    tells("tonumber(x)", "return parseInt('1')")
  end)

  it("names the module that was not required", function()
    tells('hint: local http = require("http")', "http.createServer()")
    tells('hint: local await = require("await")', "await(print)")
    tells('hint: require("fs")', "require('node:fs')")
  end)

  it("names the module that was meant", function()
    for name, expected in pairs{ childprocess = "child_process", timer = "timers", jason = "json", clusters = "cluster", Http = "http" } do
      tells(('hint: did you mean require("%s")?'):format(expected), ("require('%s')"):format(name))
    end
    tells('require("luv")', "require('uv')")
    tells('require("websocket")', "require('ws')")
    tells('require("crypto").randomUUID()', "require('uuid')")
    tells("child_process.fork", "require('worker_threads')")
    assert.is_nil(hints.of("module 'entirely.other' not found:"))
  end)

  it("tells how objects of a module are made, and who forks", function()
    local function ofFile(code)
      local path = os.tmpname()
      finally(function() uv.fs_unlink(path) end)
      local file = assert(io.open(path, "w"))
      file:write(code)
      file:close()
      return hints.of(select(2, pcall(assert(loadfile(path)))), path)
    end
    assert.equal("hint: events.EventEmitter:new(...)", ofFile("local emitter = require('events'):new()\n"))
    assert.equal("hint: net.BlockList:new(...), net.Server:new(...), net.Socket:new(...), net.Stream:new(...)",
      ofFile("local net = require('net') local socket = net:new()\n"))
    assert.matches("only the primary forks", hints.of("x.lua:1: attempt to call field 'fork' (a nil value)", "x.lua"))
  end)

  it("names the methods and functions that are there", function()
    for method, expected in pairs{ json = "res:finish(json.encode", send = "finish(body)", status = "statusCode", close = "destroy()" } do
      tells(expected, ("local res = {} res:%s(1)"):format(method))
    end
    tells("json.encode", "require('json').stringify(1)")
    tells("must be called", "local req = { body = function() end } return #req.body")
    tells("without ( )", "return require('cluster').isPrimary()")
    tells("Socket:new(...)", "return require('net').Socket()")
    tells("tonumber", "local n = 'a' return n + 1")
  end)

  it("names what a built-in module has, the likely ones first", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write('local cp = require("child_process")\ncp.execute("ls")\n')
    file:close()
    finally(function() uv.fs_unlink(path) end)
    local err = select(2, pcall(assert(loadfile(path))))
    assert.matches("^hint: child_process has exec, ", hints.of(err, path))
  end)

  it("tells how await and spawn are called", function()
    tells("await(child_process.exec", "require('await')({})")
    tells("await.all{", "require('await').all(print)")
    assert.equal('hint: program and arguments stand apart: spawn("ls", { "-l" }); exec takes a line for the shell',
      hints.of("spawn ls -l ENOENT"))
  end)

  it("knows other languages' syntax", function()
    tells("x:finish(...)", "return function(res) res.end('x') end")
    tells("`local` declares", "\nconst x = 1")
    tells("function(a, b)", "f((a, b) => {\n})")
    tells("`~=`", "if 1 != 2 then end")
    tells("n = n + 1", "local n = 1\nn++")
    tells("`--`", "// hello")
    tells("`a or b`", "local port = process.env.PORT || 8000")
    tells("for i = 1, n", "for (let i = 0; i < 3; i++) {")
    tells('["Content-Type"]', "return { 'Content-Type': 'text/plain' }")
  end)

  it("knows later versions of Lua", function()
    assert.matches("unpack%(t%)", hints.of("x.lua:1: attempt to call field 'unpack' (a nil value)"))
    tells("math.floor", "return 5 // 2")
    tells('require("bit")', "return 5 & 2")
    tells("`local`", "local x <const> = 1")
  end)

  it("is silent about anything else", function()
    for _, text in ipairs{ "boom", "x.lua:1: attempt to call method 'frobnicate' (a nil value)", "spawn nosuch ENOENT",
      "x.lua:1: attempt to index global 'thing' (a nil value)", "module 'nosuch' not found:", "x.lua:1: 'end' expected near '<eof>'" } do
      assert.is_nil(hints.of(text))
    end
    assert.is_nil(hints.of(("x"):rep(2 ^ 22)))
    assert.is_nil(hints.of("x.lua:1: attempt to call field '%f[' (a nil value)", "x.lua"))
  end)

  it("is printed below an uncaught error, a failed compilation and at the prompt", function()
    local path = os.tmpname()
    local function run(code, args, input)
      local file = assert(io.open(path, "w"))
      file:write(code)
      file:close()
      local out, err = lrun.run(args or { path }, input)
      return out .. err
    end
    finally(function() uv.fs_unlink(path) end)
    assert.truthy(run("local server = (function() server() end)()"):find(
      ":1: attempt to call global 'server' (a nil value)\nhint: a local is known only behind its statement", 1, true))
    assert.truthy(run("local a\nconst b = 1"):find(":2: '=' expected near 'b'\nhint: `local` declares\n", 1, true))
    assert.truthy(run("", { "-i" }, "x.end()\nconsole.log(1)\n"):find("near 'end'\nhint: `end`.-\n> .-\nhint: print%(x%)"))
  end)
end)
