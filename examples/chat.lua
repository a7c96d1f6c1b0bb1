-- chat.lua: a chat room in the browser over WebSockets, served by all processors.
-- Run it with `lrun examples/chat.lua` and open http://localhost:8000 in two windows; a program says something by
--   curl -d '{"name":"me","text":"hi"}' http://localhost:8000/say
-- A browser's socket is held by one worker, messages come in by any, or by another machine: a message goes to the primaries of
-- all machines over the bus, which give it an order, and from there to their workers, each of which sends it to its sockets and
-- keeps the last ones for those who come late or come back. (Without a history and other machines `socket:subscribe` and
-- `server:publish` are enough: docs/websocket.md.)
-- `kill -HUP` reloads: the sockets of the old workers are closed with 1012, and the pages connect anew.
-- PORT and WORKERS may be in the environment, and REDIS_URL, where several machines are to be one room.
local bus = require("bus")
local cluster = require("cluster")
local http = require("http")
local json = require("json")
local os = require("os")
local websocket = require("websocket")

local PORT = tonumber(process.env.PORT) or 8000
local WORKERS = tonumber(process.env.WORKERS) or #os.cpus()
local HISTORY = 50               -- messages that are kept
local MAX_MESSAGE = 4096         -- bytes of what one says
local MAX_NAME = 32              -- bytes
local MAX_BACKLOG = 256 * 1024   -- bytes a browser may be behind before it is closed; it connects anew and gets the last messages
local HINT = 'send {"name": …, "text": …}'

local PAGE = [[
<!doctype html>
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>chat</title>
<style>
  body { font: 16px/1.4 sans-serif; max-width: 40em; margin: 1em auto; padding: 0 1em }
  #log { height: 70vh; overflow-y: auto; border: 1px solid #ccc; padding: .5em; margin-bottom: .5em }
  form { display: flex; gap: .5em } #text { flex: 1 } input, button { font: inherit; padding: .3em } #state { color: #888 }
</style>
<div id="log"></div>
<form><input id="name" size="8" placeholder="name"><input id="text" placeholder="message" autofocus><button>say</button></form>
<p id="state">connecting</p>
<script>
  const [log, name, text, state] = ["log", "name", "text", "state"].map(id => document.getElementById(id))
  const shown = new Set(), unsent = []
  let socket

  function show(message) {
    if (shown.has(message.id)) return     // of the last ones, which come with every connection
    shown.add(message.id)
    const line = log.appendChild(document.createElement("div"))
    line.appendChild(document.createElement("b")).textContent = message.name + ": "
    line.appendChild(document.createTextNode(message.text))
    log.scrollTop = log.scrollHeight
  }
  function flush() {
    while (unsent.length > 0 && socket.readyState === WebSocket.OPEN) socket.send(unsent.shift())
  }
  function connect() {
    socket = new WebSocket(location.origin.replace(/^http/, "ws") + "/room")
    socket.onmessage = event => show(JSON.parse(event.data))
    socket.onopen = () => {
      state.textContent = "connected"
      flush()
    }
    socket.onclose = event => {
      state.textContent = "connecting (" + event.code + ")"
      setTimeout(connect, 200 + Math.random() * 800)     // not all at the same time
    }
  }
  document.querySelector("form").onsubmit = event => {
    event.preventDefault()
    if (text.value) unsent.push(JSON.stringify({ name: name.value || "guest", text: text.value }))
    text.value = ""
    flush()
  }
  connect()
</script>
]]

local history = {}               -- in every process: { id, name, text }, oldest first

local function remember(message)
  history[#history + 1] = message
  if #history > HISTORY then table.remove(history, 1) end
end

local function primary()
  bus.connect(process.env.REDIS_URL)
  bus:subscribe("chat", function(message)
    remember(message)
    for _, worker in pairs(cluster.workers) do
      if worker:isConnected() then worker:send(message) end
    end
  end)
  local said = 0
  cluster:on("message", function(_, message)
    if type(message) ~= "table" or not message.say then return end
    said = said + 1
    local id = ("%s-%d-%d"):format(os.hostname(), process.pid, said)
    bus:publish("chat", { id = id, name = message.say.name, text = message.say.text })
  end)
  -- At once, so that what is said while it starts comes behind what was said before.
  cluster:on("fork", function(worker)
    for _, message in ipairs(history) do worker:send(message) end
  end)
  process:on("SIGHUP", function() cluster.reload{ drainTimeout = 4000 } end)     -- sockets are closed within the first half
  local listening = false
  cluster:on("listening", function(_, address)
    if not listening then print(("Chat on http://localhost:%d"):format(address.port)) end
    listening = true
  end)
  cluster:on("exit", function(worker)
    if worker.exitedAfterDisconnect then return end     -- a reload has replaced it
    if listening then return cluster.fork() end
    process.exit(1)     -- the first could not listen: neither could the next one
  end)
  for _ = 1, WORKERS do cluster.fork() end
end

-- Cut to `size` bytes, but not within a character: what is not UTF-8 cannot be sent as JSON.
local function cut(text, size)
  if #text <= size then return text end
  while size > 0 and text:byte(size + 1) >= 0x80 and text:byte(size + 1) < 0xC0 do size = size - 1 end
  return text:sub(1, size)
end

-- Gives a message to the primary; false when it is none.
local function say(body)
  local ok, said = pcall(json.decode, body)
  if not ok or type(said) ~= "table" or type(said.name) ~= "string" or type(said.text) ~= "string" then return false end
  process.send({ say = { name = cut(said.name, MAX_NAME), text = said.text } })
  return true
end

local function onSay(req, res)
  if not say(req:body(MAX_MESSAGE)) then         -- which throws past the limit: the answer is 413
    res.statusCode = 400
    return res:finish(HINT .. "\n")
  end
  res.statusCode = 204
  res:finish()
end

local function onPage(_, res)
  res:setHeader("Content-Type", "text/html; charset=utf-8")
  res:finish(PAGE)
end

local ROUTES = { ["GET /"] = onPage, ["POST /say"] = onSay }

local function worker()
  local server = http.createServer(function(req, res)
    local route = ROUTES[req.method .. " " .. req.url:match("^[^?]*")]
    if route then return route(req, res) end
    res.statusCode = 404
    res:finish("not found\n")
  end)
  local room = websocket.WebSocketServer:new{ server = server, path = "/room", maxPayload = MAX_MESSAGE, backpressureLimit = MAX_BACKLOG }
  room:on("connection", function(socket)
    for _, message in ipairs(history) do socket:send(json.encode(message)) end
    socket:on("message", function(body)
      if not say(body) then socket:close(1008, HINT) end
    end)
  end)
  process:on("message", function(message)
    if type(message) ~= "table" or not message.text then return end
    remember(message)
    local text = json.encode(message)
    for socket in pairs(room.clients) do socket:send(text) end
  end)
  server:listen(PORT)
end

if cluster.isPrimary then primary() else worker() end
