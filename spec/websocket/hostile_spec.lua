--- Peers that flood, stall, stop reading or never say what they came for: what they cost is bounded, and others do not notice.
local await = require("await")
local children = require("spec.support.children")
local deflate = require("spec.support.websocket_deflate")
local echo = require("spec.support.websocket_echo")
local peer = require("spec.support.websocket_peer")
local websocket = require("websocket")

local MiB = 1024 * 1024

-- How much the process has grown while `f` ran, in bytes.
local function growth(f)
  collectgarbage()
  collectgarbage()
  local before = process.memoryUsage().rss
  f()
  return process.memoryUsage().rss - before
end

-- The sanitizer keeps freed memory for a while: with it the size says nothing.
local sanitized = require("fs").readFileSync("/proc/self/maps"):find("asan", 1, true) ~= nil

local function atMost(limit, grown)
  if sanitized then return end
  assert.is_true(grown < limit, ("grew by %.1f MiB"):format(grown / MiB))
end

describe("a WebSocket server under attack", function()
  local server, good

  before_each(function()
    server = nil
  end)
  after_each(function()
    if good then good:destroy() end
    good = nil
    if server then server.close() end
  end)

  local function listen(options)
    server = echo.server(options)
    good = peer.connect(server.port, { name = "the good one" })
  end

  local function unharmed() good:write(peer.client.text("still here")):expect("text still here") end

  it("answers a flood of pings whose sender reads, each of them", function()
    listen()
    local connection = peer.connect(server.port)
    local count, size = 20000, 0
    local pings = {}
    for i = 1, count do
      pings[i] = peer.client.ping(tostring(i))
      size = size + 2 + #tostring(i)
    end
    local answer = connection.received
    connection:write(table.concat(pings))
    connection:wait("all pongs", function() return connection.received - answer >= size or nil end)
    local at, last = 1, nil
    for i = 1, count do
      local frame, length = peer.read(connection.bytes:sub(at, at + 140))
      if frame.data ~= tostring(i) then last = frame.data break end
      at = at + length
    end
    assert.is_nil(last)
    connection:destroy()
    unharmed()
  end)

  it("keeps no more than one answer for a flood of pings whose sender does not read", function()
    listen{ backpressureLimit = 256 * 1024 }
    local connection = peer.connect(server.port, { name = "the flood" })
    local log = server.last()
    connection:pause()
    local fill = ("p"):rep(119)
    local grown = growth(function()
      for i = 1, 60 do
        local some = {}
        for j = 1, 500 do some[j] = peer.client.ping(("%06d"):format(i * 500 + j) .. fill) end
        local sent = false
        connection:write(table.concat(some), function() sent = true end)
        -- A server that reads no more meanwhile would do, too.
        for _ = 1, 50 do if not sent then await.sleep(2) end end
        if not sent then break end
      end
      unharmed()
    end)
    atMost(24 * MiB, grown)
    assert.is_true(log.socket.bufferedAmount <= 256 * 1024)
    connection:resume()
    connection:write(peer.client.ping("the last"))
    local last = 0
    repeat
      local frame = connection:next()
      local number = tonumber(frame.data:match("^%d+"))
      if number then
        assert.is_true(number > last)
        last = number
      end
    until frame.data == "the last"
    assert.is_nil(log.code)
    connection:destroy()
  end)

  it("gathers tiny fragments in no more than their bytes, and stops at maxPayload", function()
    listen{ maxPayload = 100000 }
    local connection = peer.connect(server.port)
    connection:write(peer.client.text("x", false))
    local some = peer.client.continuation("x", false):rep(1000)
    local empty = peer.client.continuation("", false):rep(1000)
    local grown = growth(function()
      for _ = 1, 200 do await(function(done) connection:write(empty, done) end) end
      for _ = 1, 99 do await(function(done) connection:write(some, done) end) end
      unharmed()
      connection:write(some)
      connection:expect("close 1009")
    end)
    atMost(16 * MiB, grown)
    connection:destroy()
    unharmed()
  end)

  it("takes a claim of a long message for no reason to keep memory", function()
    listen{ maxPayload = 64 * MiB }
    local connections = {}
    local grown = growth(function()
      for i = 1, 50 do
        connections[i] = peer.connect(server.port, { behind = peer.client.frame{ opcode = 2, length = 60 * MiB } .. "some of it" })
      end
      unharmed()
    end)
    for _, connection in ipairs(connections) do connection:destroy() end
    atMost(32 * MiB, grown)
  end)

  it("inflates no bomb beyond maxPayload, many of them neither", function()
    listen{ perMessageDeflate = true, maxPayload = MiB }
    local headers = { "Sec-WebSocket-Extensions: permessage-deflate" }
    local bomb = peer.client.frame{ opcode = 2, rsv = 4, data = deflate.pack(("\0"):rep(64 * MiB)) }
    local grown = growth(function()
      for _ = 1, 20 do
        local connection = peer.connect(server.port, { headers = headers })
        connection:write(bomb):expect("close 1009")
        connection:destroy()
      end
    end)
    atMost(24 * MiB, grown)
    unharmed()
  end)

  it("ends handshakes that never end", function()
    local http = require("http")
    local base = http.createServer{ headersTimeout = 200, requestTimeout = 300, connectionsCheckingInterval = 50 }
    await(function(done) base:listen(0, "127.0.0.1", done) end)
    server = echo.server{ server = base }
    good = peer.connect(base:address().port, { name = "the good one" })
    local slow = {}
    for i = 1, 50 do
      slow[i] = peer.open(base:address().port, "an unfinished handshake")
      slow[i]:write(peer.request():sub(1, 60 + i))
    end
    for _, connection in ipairs(slow) do
      connection:wait("the end of an unfinished handshake", function() end)
      connection:destroy()
    end
    assert.equal(1, #server.logs)
    unharmed()
    good:destroy()
    base:close()
  end)

  it("closes who does not read, past backpressureLimit, and publishes on to the others", function()
    listen{ backpressureLimit = 128 * 1024 }
    local slow = peer.connect(server.port, { name = "the slow one" })
    slow:pause()
    for socket in pairs(server.server.clients) do socket:subscribe("news") end
    local log = server.last()
    local data, sent = ("d"):rep(16 * 1024), 0
    local grown = growth(function()
      while not log.code and sent < 4000 do
        sent = sent + 1
        server.server:publish("news", data, { binary = true })
        local frame = good:next()
        assert.equal(#data, #frame.data)
      end
    end)
    assert.equal(1006, log.code)
    atMost(24 * MiB, grown)
    assert.equal(1, server.server:publish("news", "to one alone"))
    good:expect("text to one alone")
    slow:destroy(true)
    unharmed()
  end)

  it("drops what such a one would get where it was told to, and goes on when it reads again", function()
    listen{ backpressureLimit = 64 * 1024, onBackpressure = "drop" }
    local slow = peer.connect(server.port, { name = "the slow one" })
    local log = server.last()
    slow:pause()
    local taken, dropped = {}, 0
    for i = 1, 2000 do
      if log.socket:send(("%06d"):format(i) .. ("d"):rep(16 * 1024)) then taken[#taken + 1] = i else dropped = dropped + 1 end
      if i % 50 == 0 then await.sleep(0) end
    end
    assert.is_true(dropped > 0)
    assert.is_true(log.socket.bufferedAmount < 128 * 1024)
    assert.is_nil(log.code)
    slow:resume()
    local last = 0
    for _ = 1, #taken do
      local number = tonumber(slow:next().data:sub(1, 6))
      assert.is_true(number > last)
      last = number
    end
    log.socket:send("after")
    for _ = 1, dropped + 1 do
      local frame = slow:next()
      if frame.data == "after" then break end
    end
    slow:destroy()
    unharmed()
  end)

  it("closes a connection whose listener throws, and no other", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write([[
      local websocket = require("websocket")
      local server = websocket.WebSocketServer:new{ port = 0, host = "127.0.0.1" }
      server:on("connection", function(socket)
        socket:on("message", function(data)
          if data == "throw" then error("thrown by a listener") end
          socket:send(data)
        end)
      end)
      server:on("listening", function() process.send{ port = server:address().port } end)
      process:on("disconnect", function() process.exit(0) end)
    ]])
    file:close()
    local child = require("child_process").fork(path, {}, { silent = true })
    local reported = ""
    child.stderr:on("data", function(data) reported = reported .. data end)
    local port = children.once(child, "message").port
    good = peer.connect(port, { name = "the other" })
    local bad = peer.connect(port)
    bad:write(peer.client.text("throw") .. peer.client.text("behind")):expect("close 1011")
    bad:destroy()
    unharmed()
    children.eventually(function() return reported:find("thrown by a listener", 1, true) end)
    good:destroy()
    children.goodbye(child)
    os.remove(path)
  end)

  it("survives noise in the place of frames", function()
    listen{ perMessageDeflate = true }
    local state = 7
    local function random(below)
      state = state * 16807 % 2147483647
      return state % below
    end
    local function noise(length)
      local parts = {}
      for i = 1, length do parts[i] = string.char(random(256)) end
      return table.concat(parts)
    end
    local runs = {}
    for i = 1, 200 do
      runs[i] = function()
        local connection = peer.connect(server.port, { headers = { "Sec-WebSocket-Extensions: permessage-deflate" } })
        if i % 2 == 0 then
          connection:write(noise(1 + random(400)))
        else
          connection:write(peer.client.frame{ opcode = 1 + i % 2, rsv = 4, data = noise(1 + random(400)) })
        end
        connection:write(peer.client.close(1000))
        connection:finish()
        repeat until not connection:next()
        connection:destroy()
      end
    end
    await.all(runs)
    unharmed()
  end)
end)

describe("a WebSocket client under attack", function()
  it("bounds what a server sends", function()
    local raw = peer.listen(function(connection)
      connection:accept(nil, peer.server.frame{ opcode = 2, length = 2000 })
      connection:expect("close 1009")
      connection:finish()
    end)
    local log = echo.client("ws://127.0.0.1:" .. raw.port, { maxPayload = 1000 })
    await(function(done) log.socket:on("close", done) end)
    raw.close()
    assert.same({ "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH" }, log.errors)
  end)

  it("holds a server up whose messages nobody takes, and loses none", function()
    local sent, all = 0, false
    local raw = peer.listen(function(connection)
      connection:accept()
      local message = ("m"):rep(16000)
      for i = 1, 1000 do
        await(function(done) connection:write(peer.server.text(("%06d"):format(i) .. message), done) end)
        sent = i
      end
      all = true
      connection:write(peer.server.close(1000)):expect("close 1000")
      connection:finish()
    end)
    local socket = websocket.WebSocket:new("ws://127.0.0.1:" .. raw.port, { perMessageDeflate = false })
    local count = 0
    for data in socket:messages() do
      count = count + 1
      assert.equal(count, tonumber(data:sub(1, 6)))
      if count == 10 then
        -- Until the sender can send no more.
        local before
        repeat
          before = sent
          await.sleep(100)
        until sent == before
        assert.is_false(all)
      end
    end
    assert.equal(1000, count)
    raw.close()
  end)
end)
