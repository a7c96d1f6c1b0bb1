--- Topics: who hears what is published, in one process; how it is compressed.
local await = require("await")
local children = require("spec.support.children")
local deflate = require("spec.support.websocket_deflate")
local peer = require("spec.support.websocket_peer")
local websocket = require("websocket")

local eventually = children.eventually

describe("topics", function()
  local server, connections

  local function listen(options)
    local all = { port = 0, host = "127.0.0.1" }
    for name, value in pairs(options or {}) do all[name] = value end
    server = websocket.WebSocketServer:new(all)
    await(function(done) server:once("listening", function() done() end) end)
  end

  -- A raw client that has subscribed, and the server's socket of it.
  local function join(topics, options)
    local socket
    server:once("connection", function(made)
      socket = made
      for _, topic in ipairs(topics) do made:subscribe(topic) end
    end)
    local connection = peer.connect(server:address().port, options)
    eventually(function() return socket end)
    connections[#connections + 1] = connection
    return connection, socket
  end

  before_each(function() connections = {} end)
  after_each(function()
    for _, connection in ipairs(connections) do connection:destroy() end
    for socket in pairs(server.clients) do socket:terminate() end
    await(function(done) server:close(function() done() end) end)
  end)

  it("reach all their subscribers once, and nobody else", function()
    listen()
    local one = join{ "news", "news" }
    local two = join{ "news", "sports" }
    local three = join{}
    assert.equal(2, server:publish("news", "first"))
    assert.equal(1, server:publish("sports", "\0\255", { binary = true }))
    assert.equal(0, server:publish("weather", "sun"))
    assert.equal(2, server:publish("news", 42))
    one:expect("text first", "text 42")
    two:expect("text first", "binary \0\255", "text 42")
    three:write(peer.client.ping("nothing else")):expect("pong nothing else")
  end)

  it("are left by unsubscribe, and by closing", function()
    listen()
    local one, first = join{ "a", "b", "c" }
    local _, second = join{ "a" }
    local topics = first:topics()
    table.sort(topics)
    assert.same({ "a", "b", "c" }, topics)
    first:unsubscribe("b")
    first:unsubscribe("nothing")
    assert.same({ 2, 0, 1 }, { server:publish("a", "1"), server:publish("b", "2"), server:publish("c", "3") })
    one:expect("text 1", "text 3")
    second:close(1000)
    assert.same({ 1, 0 }, { server:publish("a", "4"), #second:topics() })
    one:expect("text 4")
    one:destroy()
    eventually(function() return server:publish("a", "5") == 0 end)
  end)

  it("reach the others when a socket publishes", function()
    listen()
    local one, first = join{ "room" }
    local two = join{ "room" }
    local _, outside = join{}
    assert.equal(1, first:publish("room", "from one"))
    assert.equal(2, outside:publish("room", "from outside"))
    assert.equal(2, server:publish("room", "from the server"))
    two:expect("text from one", "text from outside", "text from the server")
    one:expect("text from outside", "text from the server")
  end)

  it("keep the order of what is published and sent", function()
    listen()
    local one, socket = join{ "room" }
    local wanted = {}
    for i = 1, 300 do
      wanted[i] = "text " .. i
      if i % 3 == 0 then socket:send(tostring(i)) else server:publish("room", tostring(i)) end
    end
    one:expect(unpack(wanted))
    local large = ("l"):rep(300000)
    server:publish("room", large)
    socket:send("behind")
    server:publish("room", "last")
    one:expect("text " .. large, "text behind", "text last")
  end)

  it("are one write for all of a turn, and each has its own of them", function()
    listen()
    local one, first = join{ "a", "b" }
    local two, second = join{ "b" }
    local three = join{ "a" }
    local wanted = { {}, {}, {} }
    local function publish(topic, text, except)
      local from = except == 1 and first or except == 2 and second or server
      from:publish(topic, text)
      for i, of in ipairs{ { a = true, b = true }, { b = true }, { a = true } } do
        if of[topic] and i ~= except then table.insert(wanted[i], "text " .. text) end
      end
    end
    for i = 1, 40 do
      publish("a", "a" .. i)
      publish("b", "b" .. i)
      if i % 5 == 0 then publish("b", "not two " .. i, 2) end
      if i % 7 == 0 then
        second:send("alone " .. i)
        table.insert(wanted[2], "text alone " .. i)
      end
      publish("a", "not one " .. i, 1)
      publish("b", ("x"):rep(5000) .. i)                     -- in all more than what is kept for everybody
    end
    one:expect(unpack(wanted[1]))
    two:expect(unpack(wanted[2]))
    three:expect(unpack(wanted[3]))
  end)

  it("wait whole for one who reads slowly, while others go on", function()
    listen{ backpressureLimit = 0 }
    local slow, socket = join{ "room" }
    local quick = join{ "room" }
    slow:pause()
    local count = 0
    local function publish()
      count = count + 1
      server:publish("room", count .. (":%d"):format(count % 7):rep(3000))
    end
    while socket.bufferedAmount < 500000 do
      for _ = 1, 3 do publish() end
      await.sleep(0)
    end
    socket:ping("behind")
    for _ = 1, 50 do publish() end
    slow:resume()
    for i = 1, count do
      local text = "text " .. i .. (":%d"):format(i % 7):rep(3000)
      quick:expect(text)
      if i == count - 49 then slow:expect("ping behind") end
      slow:expect(text)
    end
  end)

  it("say what they have to before the process ends", function()
    listen()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write([[
      local ending = require("websocket").WebSocketServer:new{ port = 0, host = "127.0.0.1" }
      ending:on("connection", function(socket)
        socket:subscribe("room")
        socket:on("message", function()
          for i = 1, 3 do ending:publish("room", "last words " .. i) end
          process.exit(0)
        end)
      end)
      ending:on("listening", function() process.send(ending:address().port) end)
    ]])
    file:close()
    local port = children.once(require("child_process").fork(path), "message")
    os.remove(path)
    local one = peer.connect(port)
    local two = peer.connect(port)
    one:write(peer.client.text("go"))
    for _, each in ipairs{ one, two } do each:expect("text last words 1", "text last words 2", "text last words 3") end
    one:destroy()
    two:destroy()
  end)

  it("wait for the end of a message that is sent in parts", function()
    listen()
    local one, socket = join{ "room" }
    local two = join{ "room" }
    socket:send("part one, ", { fin = false })
    server:publish("room", "between")
    socket:send("part two")
    one:expect("text… part one, ", "continuation part two", "text between")
    two:expect("text between")
  end)

  it("pack a message once for all who forget, and once for each who does not", function()
    listen{ perMessageDeflate = true }
    local text = ("words that come again, "):rep(200)
    local forgets = { headers = { "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover" } }
    local keeps = { headers = { "Sec-WebSocket-Extensions: permessage-deflate" } }
    local one, two = join({ "room" }, forgets), join({ "room" }, forgets)
    local three, four = join({ "room" }, keeps), join{ "room" }
    for i = 1, 3 do
      assert.equal(4, server:publish("room", i .. text))
      local a, b, c = one:next(), two:next(), three:next()
      assert.is_true(a.rsv == 4 and a.data == b.data and #a.data < #text / 4)
      assert.is_true(deflate.unpack(a.data) == i .. text)
      local before = {}
      for j = 1, i - 1 do before[j] = j .. text end
      assert.is_true(deflate.unpack(c.data, table.concat(before)) == i .. text)
      if i > 1 then assert.is_true(#c.data < #a.data) end
      four:expect("text " .. i .. text)
    end
    server:publish("room", text, { compress = false })
    for _, each in ipairs{ one, two, three, four } do each:expect("text " .. text) end
    server:publish("room", "short")
    one:expect("text short")
  end)

  it("belong to their server", function()
    listen()
    local one = join{ "room" }
    local other = websocket.WebSocketServer:new{ port = 0, host = "127.0.0.1" }
    await(function(done) other:once("listening", function() done() end) end)
    assert.equal(0, other:publish("room", "elsewhere"))
    server:publish("room", "here")
    one:expect("text here")
    await(function(done) other:close(done) end)
  end)

  it("have names of any bytes", function()
    listen()
    local names = { "", "\0", "a b", ("x"):rep(5000), "\255" }
    local one = join(names)
    for i, name in ipairs(names) do
      assert.equal(1, server:publish(name, tostring(i)))
      one:expect("text " .. i)
    end
  end)

  it("may be changed by those who hear of them", function()
    listen()
    local sockets = {}
    server:on("connection", function(socket)
      sockets[#sockets + 1] = socket
      socket:on("close", function() server:publish("room", "one has left") end)
    end)
    local one = join{ "room" }
    local two = join{ "room" }
    one:write(peer.client.close(1000)):expect("close 1000")
    one:destroy()
    two:expect("text one has left")
    sockets[2]:terminate()
    eventually(function() return sockets[2].readyState == 3 end)
  end)
end)
