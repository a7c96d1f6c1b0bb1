local await = require("await")
local child_process = require("child_process")
local fs = require("fs")
local json = require("json")
local net = require("net")
local peer = require("spec.support.websocket_peer")
local program = require("spec.support.program")
local redis = require("redis")

-- The status of one request on a connection of its own, and all that came; nil when nobody listens.
local function request(port, method, target, body)
  return await(function(done)
    local socket, received = net.connect(port, "127.0.0.1"), {}
    socket:on("data", function(data) received[#received + 1] = data end)
    socket:on("error", function() end)
    socket:on("close", function()
      local text = table.concat(received)
      done(tonumber(text:match("^HTTP/1.1 (%d+)")), text)
    end)
    socket:write(("%s %s HTTP/1.1\r\nHost: chat\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"):format(
      method, target, #(body or ""), body or ""))
  end)
end

-- A socket in the room: its messages, and `wait(n)` until there are n.
local function follow(port)
  local stream = { messages = {}, socket = peer.connect(port, { path = "/room" }) }
  function stream.wait(count)
    while #stream.messages < count do
      stream.messages[#stream.messages + 1] = json.decode(assert(stream.socket:next(), "the socket was closed").data)
    end
    return stream.messages
  end
  function stream.say(text) stream.socket:write(peer.client.text(json.encode{ name = "me", text = text })) end
  return stream
end

-- The same once somebody listens.
local function followLate(port)
  for _ = 1, 500 do
    local ok, stream = pcall(follow, port)
    if ok then return stream end
    await.sleep(10)
  end
  error("nobody listens on " .. port)
end

-- All that came to a socket, up to its end.
local function ending(stream)
  local last
  repeat
    local frame = stream.socket:next()
    last = frame and peer.describe(frame) or last
    if last and last:find("^close") then
      stream.socket:write(peer.client.close(1000))
      break
    end
  until not frame
  stream.socket:destroy()
  return last
end

describe("examples/chat.lua", function()
  local port, chat

  before_each(function()
    port = program.port()               -- not 0: that would be another one once all workers have died
    chat = program.start("examples/chat.lua", {}, { PORT = port })
    assert.equal(port, tonumber((chat:line("Chat on http://localhost:(%d+)"))))
  end)

  after_each(function()
    pcall(chat.interrupt, chat, "SIGKILL")
    chat:gone()
  end)

  it("shows a page, refuses what is no message, and a path that it does not know", function()
    local status, text = request(port, "GET", "/")
    assert.equal(200, status)
    assert.matches("new WebSocket", text, 1, true)
    assert.equal(400, (request(port, "POST", "/say", "no json")))
    assert.equal(400, (request(port, "POST", "/say", '{"name":1,"text":2}')))
    assert.equal(413, (request(port, "POST", "/say", ("x"):rep(5000))))
    assert.equal(404, (request(port, "GET", "/nowhere")))
  end)

  it("relays what one says to all, on all workers, and to those who come later", function()
    local streams = {}
    for i = 1, 4 do streams[i] = follow(port) end
    streams[1].say("line 1\n<b>")
    streams[2].say("line 2\n<b>")
    assert.equal(204, (request(port, "POST", "/say", json.encode{ name = "me", text = "line 3\n<b>" })))
    local order
    for _, stream in ipairs(streams) do
      local texts, ids = {}, {}
      for _, message in ipairs(stream.wait(3)) do
        texts[#texts + 1] = message.name .. message.text
        ids[#ids + 1] = message.id
      end
      table.sort(texts)
      assert.same({ "meline 1\n<b>", "meline 2\n<b>", "meline 3\n<b>" }, texts)
      order = order or ids
      assert.same(order, ids)
    end
    local late = follow(port)
    for i, message in ipairs(late.wait(3)) do assert.equal(order[i], message.id) end
    for _, stream in ipairs(streams) do stream.socket:destroy() end
    late.socket:destroy()
  end)

  it("cuts a long name between two characters", function()
    local stream = follow(port)
    assert.equal(204, (request(port, "POST", "/say", json.encode{ name = "x" .. ("é"):rep(20), text = "1" })))
    assert.equal("x" .. ("é"):rep(15), stream.wait(1)[1].name)
    stream.socket:destroy()
  end)

  it("closes a socket that says what is no message, or too much", function()
    local wrong, long = follow(port), follow(port)
    wrong.socket:write(peer.client.text("no json"))
    assert.matches("^close 1008 send", ending(wrong))
    long.say(("x"):rep(5000))
    assert.matches("^close 1009", ending(long))
  end)

  it("keeps the history when its workers die", function()
    local stream = follow(port)
    stream.say("kept")
    stream.wait(1)
    local pipe = io.popen("pgrep -P " .. chat.child.pid)
    for pid in pipe:lines() do pcall(process.kill, tonumber(pid), "SIGKILL") end
    pipe:close()
    assert.is_nil(ending(stream))
    local late = followLate(port)
    assert.equal("kept", late.wait(1)[1].text)
    late.socket:destroy()
  end)

  it("closes the sockets with 1012 in a reload, and serves on", function()
    local stream = follow(port)
    stream.say("before")
    stream.wait(1)
    chat.child:kill("SIGHUP")
    assert.matches("^close 1012", ending(stream))
    local late = followLate(port)
    late.say("after")
    local messages = late.wait(2)
    assert.same({ "before", "after" }, { messages[1].text, messages[2].text })
    late.socket:destroy()
  end)
end)

if child_process.spawnSync("redis-server", { "--version" }).status == 0 then
  describe("examples/chat.lua on two machines", function()
    it("is one room", function()
      local folder = fs.mkdtempSync("/tmp/lrun-chat-")
      local server = child_process.spawn("redis-server", { "--port", "0", "--unixsocket", folder .. "/redis", "--save", "", "--dir", folder },
        { stdio = "ignore" })
      local url = "redis+unix://" .. folder .. "/redis"
      local client = redis.connect(url, { retry = { min = 5, max = 20 } })
      client:on("error", function() end)
      client:ping()
      local ports, chats, streams = {}, {}, {}
      for i = 1, 2 do
        ports[i] = program.port()
        chats[i] = program.start("examples/chat.lua", {}, { PORT = ports[i], WORKERS = 2, REDIS_URL = url })
        chats[i]:line("Chat on http://localhost:(%d+)")
        streams[i] = follow(ports[i])
      end
      for i = 1, 2 do assert.equal(204, (request(ports[i], "POST", "/say", json.encode{ name = "me", text = "from " .. i }))) end
      for i = 1, 2 do
        local texts = {}
        for _, message in ipairs(streams[i].wait(2)) do texts[#texts + 1] = message.text end
        table.sort(texts)
        assert.same({ "from 1", "from 2" }, texts)
        streams[i].socket:destroy()
        chats[i]:interrupt("SIGKILL")
        chats[i]:gone()
      end
      client:disconnect()
      server:kill("SIGKILL")
      await(function(callback) server:once("exit", callback) end)
      fs.rmSync(folder, { recursive = true })
    end)
  end)
end
