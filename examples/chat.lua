-- chat.lua: a chat room in the browser, served by all processors, with server-sent events.
-- Run it with `lrun examples/chat.lua` and open http://localhost:8000 in two windows; or, without a browser:
--   curl -N http://localhost:8000/events          and          curl -d '{"name":"me","text":"hi"}' http://localhost:8000/say
-- A browser's event stream is held by one worker, its messages may come in by another, or by another machine: a message goes
-- to the primaries of all machines over the bus, and from there to their workers, which keep the last ones for those who come
-- late or come back (`Last-Event-ID`).
-- PORT and WORKERS may be in the environment, and REDIS_URL, where several machines are to be one room.
local bus = require("bus")
local cluster = require("cluster")
local http = require("http")
local json = require("json")
local os = require("os")
local timers = require("timers")

local PORT = tonumber(process.env.PORT) or 8000
local WORKERS = tonumber(process.env.WORKERS) or #os.cpus()
local HISTORY = 50               -- messages that are kept
local MAX_MESSAGE = 4096         -- bytes of a request to /say
local MAX_NAME = 32              -- bytes
local MAX_BACKLOG = 256 * 1024   -- bytes a client may be behind before it is dropped
local HEARTBEAT = 15000          -- ms; finds out who is gone

local PAGE = [[
<!doctype html>
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>chat</title>
<style>
  body { font: 16px/1.4 sans-serif; max-width: 40em; margin: 1em auto; padding: 0 1em }
  #log { height: 70vh; overflow-y: auto; border: 1px solid #ccc; padding: .5em; margin-bottom: .5em }
  form { display: flex; gap: .5em } #text { flex: 1 } input, button { font: inherit; padding: .3em }
</style>
<div id="log"></div>
<form><input id="name" size="8" placeholder="name"><input id="text" placeholder="message" autofocus><button>say</button></form>
<script>
  const log = document.getElementById("log"), name = document.getElementById("name"), text = document.getElementById("text")
  new EventSource("/events").onmessage = event => {
    const message = JSON.parse(event.data), line = log.appendChild(document.createElement("div"))
    line.appendChild(document.createElement("b")).textContent = message.name + ": "
    line.appendChild(document.createTextNode(message.text))
    log.scrollTop = log.scrollHeight
  }
  document.querySelector("form").onsubmit = event => {
    event.preventDefault()
    if (text.value) fetch("/say", { method: "POST", body: JSON.stringify({ name: name.value || "guest", text: text.value }) })
    text.value = ""
  }
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
  local listening = false
  cluster:on("listening", function(_, address)
    if not listening then print(("Chat on http://localhost:%d"):format(address.port)) end
    listening = true
  end)
  cluster:on("exit", function()
    if listening then return cluster.fork() end
    process.exit(1)     -- the first could not listen: neither could the next one
  end)
  for _ = 1, WORKERS do cluster.fork() end
end

local clients = {}               -- open event streams of this worker: response → true

local function event(message)
  return ("id: %s\ndata: %s\n\n"):format(message.id, json.encode{ name = message.name, text = message.text })
end

local function sendAll(text)
  for res in pairs(clients) do
    res:write(text)
    if res.writableLength > MAX_BACKLOG then res:destroy() end     -- it comes back and asks for what it missed
  end
end

local function onEvents(req, res)
  res:writeHead(200, { ["Content-Type"] = "text/event-stream", ["Cache-Control"] = "no-store" })
  res:write("retry: 1000\n\n")
  local first = 1
  for i, message in ipairs(history) do
    if message.id == req.headers["last-event-id"] then first = i + 1 end
  end
  for i = first, #history do res:write(event(history[i])) end
  clients[res] = true
  res:on("close", function() clients[res] = nil end)
end

-- Cut to `size` bytes, but not within a character: what is not UTF-8 cannot be sent as JSON.
local function cut(text, size)
  if #text <= size then return text end
  while size > 0 and text:byte(size + 1) >= 0x80 and text:byte(size + 1) < 0xC0 do size = size - 1 end
  return text:sub(1, size)
end

local function onSay(req, res)
  local body = req:body(MAX_MESSAGE)          -- throws past the limit: the answer is 413
  local ok, said = pcall(json.decode, body)
  if not ok or type(said) ~= "table" or type(said.name) ~= "string" or type(said.text) ~= "string" then
    res.statusCode = 400
    return res:finish("send {\"name\": …, \"text\": …}\n")
  end
  process.send({ say = { name = cut(said.name, MAX_NAME), text = said.text } })
  res.statusCode = 204
  res:finish()
end

local function onPage(_, res)
  res:setHeader("Content-Type", "text/html; charset=utf-8")
  res:finish(PAGE)
end

local ROUTES = { ["GET /"] = onPage, ["GET /events"] = onEvents, ["POST /say"] = onSay }

local function worker()
  process:on("message", function(message)
    if type(message) ~= "table" or not message.text then return end
    remember(message)
    sendAll(event(message))
  end)
  timers.setInterval(function() sendAll(": still here\n\n") end, HEARTBEAT):unref()
  http.createServer(function(req, res)
    local route = ROUTES[req.method .. " " .. req.url:match("^[^?]*")]
    if route then return route(req, res) end
    res.statusCode = 404
    res:finish("not found\n")
  end):listen(PORT)
end

if cluster.isPrimary then primary() else worker() end
