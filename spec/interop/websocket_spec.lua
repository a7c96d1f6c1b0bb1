--- WebSocket between lrun and others, in both roles, with and without deflate: npm's ws in Node, Python's websockets.
local await = require("await")
local child_process = require("child_process")
local children = require("spec.support.children")
local echo = require("spec.support.websocket_echo")
local json = require("json")

local FIXTURES = "spec/interop/fixtures/"

local folder = child_process.execSync("mktemp -d"):gsub("\n", "")

-- How to run ws: its environment, with ws installed by npm into a temporary folder where node finds none; or nil.
local function findWs()
  local function env(path)
    local all = {}
    for name, value in pairs(process.env) do all[name] = value end
    all.NODE_PATH = path or all.NODE_PATH
    return all
  end
  local function there(path) return child_process.spawnSync("node", { "-e", "require('ws')" }, { env = env(path) }).status == 0 end
  if child_process.spawnSync("node", { "--version" }).status ~= 0 then return nil, "node is not installed" end
  if there() then return env() end
  child_process.spawnSync("npm", { "install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", folder, "ws" }, { timeout = 120000 })
  if not there(folder .. "/node_modules") then return nil, "npm cannot install ws" end
  return env(folder .. "/node_modules")
end

local function findPython()
  for _, name in ipairs{ "/usr/bin/python3", "python3" } do
    if child_process.spawnSync(name, { "-c", "import websockets" }).status == 0 then return name end
  end
end

local function peer(name)
  if name == "ws" then
    local env, why = findWs()
    if not env then return nil, why end
    local function words(role, deflate, url)
      local options = deflate and type(deflate) == "table" and deflate or deflate ~= nil and deflate
      return "node", { FIXTURES .. "ws.js", role, json.encode{ perMessageDeflate = options or false }, url }, { env = env }
    end
    return words
  end
  local python = findPython()
  if not python then return nil, "python3-websockets is not installed" end
  return function(role, deflate, url)
    return python, { FIXTURES .. "python_websockets.py", role, deflate and "deflate" or "none", url }, {}
  end
end

-- The peer's server, and what ends it.
local function serve(words, deflate)
  local command, args, options = words("server", deflate)
  options.stdio = { "pipe", "pipe", "inherit" }
  local child = child_process.spawn(command, args, options)
  local port = tonumber((children.once(child.stdout, "data"):match("%d+")))
  return port, function()
    child.stdin:finish()
    child:kill("SIGKILL")
    children.once(child, "close")
  end
end

-- What the peer's client saw.
local function run(words, deflate, url)
  local command, args, options = words("client", deflate, url)
  options.timeout = 60000
  local err, stdout, stderr = await(child_process.execFile, command, args, options)
  assert(not err, tostring(err) .. tostring(stderr))
  return json.decode(stdout)
end

local function text(size)
  local parts, length, i = {}, 0, 0
  while length < size do
    parts[#parts + 1] = ("word %d "):format(i * 7919 % 1000)
    length, i = length + #parts[#parts], i + 1
  end
  return table.concat(parts):sub(1, size)
end

-- Our client against the peer's server: messages of all sizes, both kinds, in parts, pings both ways, a close from there.
local function converse(port, deflate)
  local log = { messages = {} }
  local socket = require("websocket").WebSocket:new("ws://127.0.0.1:" .. port, { "chat" }, { perMessageDeflate = deflate or false })
  socket:on("message", function(data, isBinary)
    log.messages[#log.messages + 1] = { data, isBinary }
    if log.wake then log.wake() end
  end)
  children.once(socket, "open")
  local function heard(count) children.eventually(function() return #log.messages >= count end) return log.messages[count] end
  local sent = {}
  for _, size in ipairs{ 0, 1, 125, 126, 1000, 1024, 65535, 65536, 300000 } do
    sent[#sent + 1] = { text(size), false }
    sent[#sent + 1] = { ("\254"):rep(size), true }
  end
  for _, message in ipairs(sent) do socket:send(message[1], { binary = message[2] }) end
  for i, message in ipairs(sent) do
    local got = heard(i)
    assert.is_true(got[1] == message[1] and got[2] == message[2], "message " .. i)
  end
  socket:send("part one, ", { fin = false })
  socket:send("part two", { fin = true })
  assert.same({ "part one, part two", false }, heard(#sent + 1))
  socket:send("ping me")
  assert.same({ "pong are you there?", false }, heard(#sent + 2))
  socket:ping("hello?")
  assert.equal("hello?", (children.once(socket, "pong")))
  local extensions, protocol = socket.extensions, socket.protocol
  socket:send("close me")
  local code, reason = children.once(socket, "close")
  assert.same({ 4001, "as you like", "chat" }, { code, reason, protocol })
  return extensions
end

local deflates = {
  ws = {
    { "without deflate", false }, { "with deflate", true },
    { "without context takeover", { serverNoContextTakeover = true, clientNoContextTakeover = true, threshold = 0 } },
    { "with small windows", { serverMaxWindowBits = 10, clientMaxWindowBits = 10, threshold = 0 } },
  },
  websockets = { { "without deflate", false }, { "with deflate", true } },
}

local ran = 0

for _, name in ipairs{ "ws", "websockets" } do
  local words, why = peer(name)
  if not words then print(("%s: %s is not tested"):format(why, name)) end
  for _, row in ipairs(words and deflates[name] or {}) do
    ran = ran + 1
    describe(("%s %s"):format(name, row[1]), function()
      it("is a client of ours", function()
        local server = echo.server{ perMessageDeflate = row[2], maxPayload = 1024 * 1024 }
        local seen = run(words, row[2], "ws://127.0.0.1:" .. server.port)
        server.settled()
        local log = server.last()
        assert.same({ {}, 1, "chat", 4000, "that was all" }, { seen.wrong, seen.pongs, seen.protocol, seen.code, seen.reason })
        assert.same({ 4000, "that was all", {} }, { log.code, log.reason, log.errors })
        assert.equal(row[2] ~= false, seen.extensions:find("permessage-deflate", 1, true) ~= nil)
        server.close()
      end)

      it("is a server of ours", function()
        local port, close = serve(words, row[2])
        local extensions = converse(port, row[2])
        close()
        assert.equal(row[2] ~= false, tostring(extensions):find("permessage-deflate", 1, true) ~= nil)
      end)
    end)
  end
end

if ran == 0 then process.exit(77) end

describe("the peers' folder", function()
  it("is removed", function() child_process.execFileSync("rm", { "-rf", folder }) end)
end)
