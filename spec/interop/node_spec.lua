local child_process = require("child_process")
local children = require("spec.support.children")
local dgram = require("dgram")
local net = require("net")
local uv = require("luv")
local once, ask, listen = children.once, children.ask, children.listen

local version = child_process.spawnSync("node", { "--version" }).stdout
if not version then
  print("node is not installed: its interoperation is not tested")
  process.exit(77)
end

local fixtures = "spec/interop/fixtures/"

describe("a Lua parent of a Node child", function()
  local function fork(role) return child_process.fork(fixtures .. "worker.js", { role }, { execPath = "node" }) end

  it("exchanges messages of every JSON value, of all sizes", function()
    local child = fork("echo")
    for _, value in ipairs{
      "text", "üñí\n\"\\", 0, -1.5, 2 ^ 53 - 1, 1 / 3, true, false, { 1, 2, 3 }, { a = { b = { { c = 1 } } } }, {},
      ("x"):rep(100000), ("0123456789abcdef"):rep(262144),
    } do
      assert.same(value, ask(child, value))
    end
    local got = {}
    child:on("message", function(message) got[#got + 1] = message end)
    for i = 1, 2000 do child:send(i) end
    children.eventually(function() return #got == 2000 end)
    for i = 1, 2000 do assert.equal(i, got[i]) end
    child:disconnect()
    local code = once(child, "close")
    assert.equal(0, code)
  end)

  it("takes half of a surrogate pair, as three bytes", function()
    local child = child_process.spawn("node", { "-e", "process.send(['a\\ud800', 1]); process.disconnect()" },
      { stdio = { "ignore", "inherit", "inherit", "ipc" }, serialization = "json" })
    assert.same({ "a\237\160\128", 1 }, (once(child, "message")))
    assert.equal(0, (once(child, "close")))
  end)

  it("sends sockets in order and counts them, and gets some back", function()
    local server, port = listen()
    local child = fork("sockets")
    local clients = {}
    for i = 1, 10 do
      local client = net.connect(port, "127.0.0.1")
      local socket = once(server, "connection")
      clients[i] = client
      child:send({ i = i }, socket)
      child:send{ plain = i }
    end
    for i = 1, 10 do assert.equal("node " .. i, children.text(clients[i])) end
    local order = ask(child, { report = true }).order
    for i = 1, 10 do assert.same({ i, -i }, { order[2 * i - 1], order[2 * i] }) end
    server:close()
    once(server, "close")
    local message, socket
    child:once("message", function(m, h) message, socket = m, h end)
    child:send{ give = true }
    children.eventually(function() return message end)
    assert.equal("given", message.text)
    assert.equal("from node", children.text(socket))
    child:disconnect()
    once(child, "close")
  end)

  it("exchanges handles of the other kinds with it", function()
    local child = fork("kinds")
    local natives = { TCP = uv.new_tcp("inet"), UDP = uv.new_udp("inet"), Pipe = uv.new_pipe(false) }
    natives.UDP:bind("127.0.0.1", 0)
    local pair = uv.socketpair()
    natives.Pipe:open(pair[1])
    for name, handle in pairs(natives) do
      local got, back = ask(child, "", handle)
      assert.same({ name, uv.handle_get_type(handle) }, { got, uv.handle_get_type(back) })
      handle:close()
      back:close()
    end
    local rest = uv.new_pipe(false)
    rest:open(pair[2])
    rest:close()
    for _, kind in ipairs{ "udp4", "udp6" } do
      local socket = dgram.createSocket(kind)
      socket:bind(0)
      once(socket, "listening")
      local _, back = ask(child, "", socket)
      assert.same({ kind, socket:address() }, { back.type, back:address() })
      socket:close()
      back:close()
    end
    child:kill()                     -- its own copies keep it alive
    once(child, "close")
  end)

  it("sends it a server", function()
    local server, port = listen()
    local child = fork("server")
    assert.equal("serving", ask(child, "server", server))
    server:close()
    once(server, "close")
    assert.equal("node serves", children.text(net.connect(port, "127.0.0.1")))
    child:disconnect()
    child:kill()
    once(child, "close")
  end)
end)

describe("a Node parent of a Lua child", function()
  it("sees messages, sockets, disconnect and exit as with a Node child", function()
    local output = child_process.execFileSync("node", { fixtures .. "parent.js", process.execPath, fixtures .. "worker.lua" },
      { timeout = 20000 })
    local lines = {}
    for line in output:gmatch("[^\n]+") do lines[#lines + 1] = line end
    assert.same({
      "ready", "echo {\"a\":[1,null,\"x\"],\"n\":9007199254740991}", "burst 1000 in order", "answered lua 1", "answered lua 2",
      "answered lua 3", "server closed", "socket from lua: hello", "disconnect", "exit 5 null",
    }, lines)
  end)

  it("is told when it asks for V8's serialization", function()
    local result = child_process.spawnSync("node", { "-e", [[
      const child = require('child_process').fork(process.argv[1], ['echo'], { execPath: process.argv[2], serialization: 'advanced' });
      child.on('disconnect', () => console.log('disconnect'));
      child.on('exit', (code) => console.log('exit', code));]], children.fixture, process.execPath })
    assert.equal("disconnect\nexit 0\n", result.stdout)
    assert.truthy(result.stderr:find("fork with serialization 'json'", 1, true))
  end)
end)
