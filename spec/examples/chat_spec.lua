local await = require("await")
local child_process = require("child_process")
local fs = require("fs")
local json = require("json")
local net = require("net")
local redis = require("redis")
local program = require("spec.support.program")
local timers = require("timers")

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

-- An open event stream: its messages, and `wait(n)` until there are n.
local function follow(port, lastId)
  local stream, text, waiting = { messages = {} }, "", nil
  stream.socket = net.connect(port, "127.0.0.1")
  stream.socket:on("data", function(data)
    text = text .. data
    text = text:gsub("id: (%S+)\ndata: ({.-})\n\n", function(id, message)
      stream.messages[#stream.messages + 1] = json.decode(message)
      stream.messages[#stream.messages].id = id
      return ""
    end)
    stream.head = stream.head or text
    if waiting then waiting() end
  end)
  stream.socket:write(("GET /events HTTP/1.1\r\nHost: chat\r\nLast-Event-ID: %s\r\n\r\n"):format(lastId or "none"))
  function stream.wait(count)
    await(function(done)
      waiting = function()
        if #stream.messages < count or not stream.head then return end
        waiting = nil
        done()
      end
      waiting()
    end)
    return stream.messages
  end
  return stream
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
    assert.matches("EventSource", text)
    assert.equal(400, (request(port, "POST", "/say", "no json")))
    assert.equal(400, (request(port, "POST", "/say", '{"name":1,"text":2}')))
    assert.equal(413, (request(port, "POST", "/say", ("x"):rep(5000))))
    assert.equal(404, (request(port, "GET", "/nowhere")))
  end)

  it("relays what one says to all, on all workers, and to those who come back", function()
    local streams = {}
    for i = 1, 4 do
      streams[i] = follow(port)
      streams[i].wait(0)
    end
    for i = 1, 3 do
      assert.equal(204, (request(port, "POST", "/say", json.encode{ name = "me", text = ("line %d\n<b>"):format(i) })))
    end
    for _, stream in ipairs(streams) do
      local texts = {}
      for _, message in ipairs(stream.wait(3)) do texts[#texts + 1] = message.name .. message.text end
      table.sort(texts)
      assert.same({ "meline 1\n<b>", "meline 2\n<b>", "meline 3\n<b>" }, texts)
      assert.matches("text/event%-stream", stream.head)
    end
    local back = follow(port, streams[1].messages[2].id)
    assert.equal(streams[1].messages[3].id, back.wait(1)[1].id)
    assert.equal(1, #back.messages)
    for _, stream in ipairs(streams) do stream.socket:destroy() end
    back.socket:destroy()
  end)

  it("cuts a long name between two characters", function()
    local stream = follow(port)
    stream.wait(0)
    assert.equal(204, (request(port, "POST", "/say", json.encode{ name = "x" .. ("é"):rep(20), text = "1" })))
    assert.equal("x" .. ("é"):rep(15), stream.wait(1)[1].name)
    stream.socket:destroy()
  end)

  it("keeps the history when its workers die", function()
    local stream = follow(port)
    stream.wait(0)
    assert.equal(204, (request(port, "POST", "/say", '{"name":"me","text":"kept"}')))
    stream.wait(1)
    stream.socket:on("error", function() end)
    local pipe = io.popen("pgrep -P " .. chat.child.pid)
    for pid in pipe:lines() do pcall(process.kill, tonumber(pid), "SIGKILL") end
    pipe:close()
    if not stream.socket.destroyed then await(function(done) stream.socket:once("close", done) end) end
    local late
    for _ = 1, 200 do
      late = follow(port)
      late.socket:on("error", function() end)
      local closed = await(function(done)
        late.socket:once("data", function() done(false) end)
        late.socket:once("close", function() done(true) end)
      end)
      if not closed then break end
      await(function(done) timers.setTimeout(done, 10) end)
    end
    assert.equal("kept", late.wait(1)[1].text)
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
        streams[i].wait(0)
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
