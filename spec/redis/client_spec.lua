--- redis: the client beside a fake server that dies, stalls and lies. spec/redis/server_spec.lua has a real one.
local await = require("await")
local fake = require("spec.support.fakeredis")
local redis = require("redis")
local timers = require("timers")

local server, client
local function start(answer, options, clientOptions)
  server = fake.start(answer, options)
  clientOptions = clientOptions or {}
  clientOptions.host, clientOptions.port = "127.0.0.1", server.port
  client = redis.connect(clientOptions)
  client:on("error", function() end)
  return client
end

local function event(name) return await(function(callback) client:once(name, callback) end) end

after_each(function()
  if client then client:disconnect() end
  if server then server:close() end
  client, server = nil, nil
end)

describe("a client", function()
  it("writes what is asked in one turn at once, and gives each its own answer", function()
    start(function(words) return words[1] == "ECHO" and fake.bulk(words[2]) or nil end)
    local answers = {}
    await(function(callback)
      for i = 1, 100 do
        client:echo(i, function(err, reply)
          answers[i] = reply
          if err or i == 100 then callback(err) end
        end)
      end
    end)
    for i = 1, 100 do assert.equal(tostring(i), answers[i]) end
  end)

  it("answers what was under way with ECONNRESET, wherever the answer was cut", function()
    local whole = "*2\r\n$5\r\nhello\r\n:1\r\n"
    for cut = 0, #whole - 1 do
      start(function(words, connection)
        if words[1] ~= "GET" or connection.number > 1 then return "+again\r\n" end
        connection.socket:finish(whole:sub(1, cut))
        return false
      end)
      local reply, err = client:get("k")
      assert.is_nil(reply)
      assert.equal("ECONNRESET", err.code)
      assert.equal("again", client:get("k"))
      assert.equal(2, server:count("GET"))
      client:disconnect()
      server:close()
    end
  end)

  it("sends again what only reads, when it is told to, and never a transaction", function()
    start(function(words, connection)
      if connection.number > 1 then return words[1] == "GET" and "+second\r\n" or ":1\r\n" end
      if words[1] == "EXEC" then connection.socket:destroy() end
      return false
    end, nil, { retryReads = true })
    local got, lost, exec
    await(function(callback)
      local left = 3
      local function done()
        left = left - 1
        if left == 0 then callback() end
      end
      client:get("k", function(_, reply) got = reply done() end)
      client:incr("n", function(err) lost = err.code done() end)
      client:multi():get("k"):exec(function(err) exec = err.code done() end)
    end)
    assert.same({ "second", "ECONNRESET", "ECONNRESET" }, { got, lost, exec })
    assert.equal(1, server:count("INCR"))
    assert.equal(1, server:count("EXEC"))
  end)

  it("keeps what is asked while it has no connection, up to offlineQueue", function()
    start(function() return ":1\r\n" end, nil, { offlineQueue = 3, lazy = true })
    assert.equal("wait", client.status)
    local answers, codes = 0, {}
    await(function(callback)
      for i = 1, 5 do
        client:incr("n", function(err)
          if err then codes[#codes + 1] = err.code else answers = answers + 1 end
          if i <= 3 and answers == 3 then callback() end
        end)
      end
    end)
    assert.same({ "ENOBUFS", "ENOBUFS" }, codes)
    assert.equal(3, server:count("INCR"))
  end)

  it("keeps no more bytes than outputLimit while it has no connection, and none of what was given up", function()
    local timedOut, codes, texts = 0, {}, {}
    server = fake.start(function() end)
    local port = server.port
    server:close()
    server = nil
    client = redis.connect{ host = "127.0.0.1", port = port, offlineQueue = 5, outputLimit = 1024, commandTimeout = 20 }
    client:on("error", function() end)
    for _ = 1, 3 do                    -- what has timed out makes room
      await(function(callback)
        local left = 7
        for i = 1, 7 do
          client:set("k", ("x"):rep(i == 5 and 1024 or 10), function(err)
            if err.code == "ETIMEDOUT" then
              timedOut = timedOut + 1
            else
              codes[#codes + 1], texts[#texts + 1] = err.code, err.message:match("%((.-)%)")
            end
            left = left - 1
            if left == 0 then callback() end
          end)
        end
      end)
    end
    assert.equal(15, timedOut)
    assert.same({ "ENOBUFS", "ENOBUFS", "ENOBUFS", "ENOBUFS", "ENOBUFS", "ENOBUFS" }, codes)
    assert.same({ "options.outputLimit", "options.offlineQueue" }, { texts[1], texts[2] })
  end)

  it("takes no more commands than pendingLimit for a server that does not answer, and goes on when it does", function()
    local held = {}
    start(function(words, connection)
      if words[1] ~= "GET" then return nil end
      held[#held + 1] = connection.socket
      return false
    end, nil, { pendingLimit = 10 })
    client:ping()
    local answers, refused = 0, {}
    await(function(callback)
      for _ = 1, 12 do
        client:get("k", function(err)
          if err then refused[#refused + 1] = err else answers = answers + 1 end
          if answers == 10 then callback() end
        end)
      end
      client:multi():get("k"):exec(function(err) refused[#refused + 1] = err end)
      local function look()
        if #held < 10 then return timers.setImmediate(look) end
        for _, socket in ipairs(held) do socket:write("+late\r\n") end
      end
      look()
    end)
    assert.equal(3, #refused)
    assert.equal("ENOBUFS", refused[1].code)
    assert.equal("10 commands are not answered yet, the limit is 10 (options.pendingLimit)", refused[1].message)
    assert.equal("OK", client:ping())
    assert.equal(0, server:count("EXEC"))
  end)

  it("keeps no more than outputLimit for a server that does not read", function()
    start(function(words, connection)
      if words[1] == "STALL" then connection.socket:pause() end
      return nil
    end, nil, { outputLimit = 2 ^ 20 })
    client:command("STALL")
    local piece, sent, refused, answered, all = ("x"):rep(2 ^ 16), 0, nil, 0, nil
    while not refused and sent < 2000 do
      sent = sent + 1
      await(function(callback)
        client:set("k", piece, function(err)
          refused, answered = refused or err, answered + 1
          if answered == sent and all then all() end
        end)
        timers.setImmediate(callback)
      end)
    end
    assert.equal("ENOBUFS", refused.code)
    assert(refused.message:find("bytes wait for a server that does not read, the limit is 1048576 (options.outputLimit)", 1, true), refused.message)
    await(function(callback)
      all = callback
      server.connections[1].socket:resume()
    end)
    assert.equal("OK", client:get("k"))
  end)

  it("gives up after maxRetries, and says so to all who wait", function()
    server = fake.start(function() end)
    local port = server.port
    server:close()
    server = nil
    local reconnects, ends = 0, 0
    client = redis.connect{ host = "127.0.0.1", port = port, maxRetries = 2, retry = { min = 1, max = 2 } }
    client:on("error", function(err) assert.equal("ECONNREFUSED", err.code) end)
    client:on("reconnecting", function(delay)
      assert(delay <= 2)
      reconnects = reconnects + 1
    end)
    client:on("end", function() ends = ends + 1 end)
    local reply, err = client:get("k")
    assert.is_nil(reply)
    assert.equal("ECONNREFUSED", err.code)
    await(timers.setImmediate)
    assert.same({ 2, 1 }, { reconnects, ends })
    reply, err = client:get("k")
    assert.is_nil(reply)
    assert.equal("ERR_SOCKET_CLOSED", err.code)
    client:disconnect()
  end)

  it("does not wait for ever for a server that accepts and says nothing", function()
    local net = require("net")
    local silent = net.createServer(function(socket) socket:on("error", function() end):resume() end)
    await(function(callback) silent:listen(0, "127.0.0.1", callback) end)
    client = redis.connect{ host = "127.0.0.1", port = silent:address().port, connectTimeout = 50, maxRetries = 0 }
    client:on("error", function() end)
    local reply, err = client:get("k")
    assert.is_nil(reply)
    assert.equal("ETIMEDOUT", err.code)
    assert(err.message:find("50 ms", 1, true), err.message)
    silent:close()
  end)

  it("times a command out, and gives its late reply to nobody", function()
    local held
    start(function(words, connection)
      if words[1] ~= "GET" then return ":1\r\n" end
      held = connection.socket
      return false
    end, nil, { commandTimeout = 50 })
    local reply, err = client:get("k")
    assert.is_nil(reply)
    assert.equal("ETIMEDOUT", err.code)
    assert(err.message:find("GET was not answered within 50 ms", 1, true))
    held:write("+late\r\n")
    assert.equal(1, client:incr("n"))
  end)

  it("ends a connection that answers what nobody asked, and the next one is clean", function()
    start(function(words, connection)
      if words[1] ~= "GET" then return nil end
      return connection.number == 1 and "+a\r\n+b\r\n+c\r\n" or "+good\r\n"
    end)
    assert.equal("a", client:get("k"))
    assert.equal("good", (function()
      local reply
      repeat reply = client:get("k") until reply
      return reply
    end)())
    assert.equal(2, #server.connections)
  end)

  it("refuses a reply over replyLimit", function()
    start(function(words) return words[1] == "GET" and "$2000\r\n" or nil end, nil, { replyLimit = 1024 })
    local reply, err = client:get("k")
    assert.is_nil(reply)
    assert.equal("ECONNRESET", err.code)
    assert.equal("ERR_REDIS_PROTOCOL", err.cause.code)
  end)

  it("answers a subscription that the server refuses, and the commands behind it", function()
    start(function(words)
      if words[1] == "SUBSCRIBE" then return "-NOPERM no\r\n" end
      return words[1] == "GET" and "+value\r\n" or nil
    end)
    local done, err = client:subscribe("c", print)
    assert.is_nil(done)
    assert.equal("NOPERM", err.code)
    assert.equal("value", client:get("k"))
  end)

  it("subscribes again after a new connection", function()
    start(function(words, connection)
      if words[1] == "SUBSCRIBE" then
        return ">3\r\n+subscribe\r\n+c\r\n:1\r\n>3\r\n+message\r\n+c\r\n+of " .. connection.number .. "\r\n"
      end
      if words[1] == "GET" then connection.socket:destroy() return false end
    end)
    local heard = {}
    client:subscribe("c", function(message) heard[#heard + 1] = message end)
    client:get("k")
    event("ready")
    await(function(callback) client:ping(callback) end)
    assert.same({ "of 1", "of 2" }, heard)
  end)

  it("throws at the call for what cannot be sent", function()
    start(function() end)
    for _, words in ipairs{ {}, { "GET", {} }, { "GET", true }, { 5, print, 5 } } do
      local ok, err = pcall(client.command, client, unpack(words))
      assert.is_false(ok)
      assert.equal("ERR_INVALID_ARG_TYPE", err.code)
    end
    local ok, err = pcall(client.get, "k")
    assert.is_false(ok)
    assert(err.message:find("client:get(...) with a colon", 1, true), err.message)
    assert.equal(0, server:count("GET"))
    for _, bad in ipairs{ { nosuch = 1 }, { port = 0 }, { port = 70000 }, { db = -1 }, { commandTimeout = 0 }, { retry = 5 }, { lazy = 1 },
      { sentinel = { name = "x", hosts = {} } }, { cluster = {} }, { cluster = { hosts = { {} } }, db = 1 } } do
      assert.is_false(pcall(redis.connect, bad))
    end
  end)
end)

describe("a subscription", function()
  it("holds when the server has confirmed it, also that of a second listener", function()
    local socket
    start(function(words, connection)
      if words[1] ~= "SUBSCRIBE" then return nil end
      socket = connection.socket
      return false
    end)
    client:ping()
    local confirmed = 0
    await(function(callback)
      local function done(err)
        confirmed = confirmed + 1
        if err or confirmed == 2 then callback(err) end
      end
      client:subscribe("c", function() end, done)
      client:subscribe("c", function() end, done)
      local function look()
        if server:count("SUBSCRIBE") == 0 then return timers.setImmediate(look) end
        assert.equal(0, confirmed)
        socket:write((">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"):rep(2))
      end
      look()
    end)
    assert.equal(2, server:count("SUBSCRIBE"))
  end)
end)

describe("a cluster's client", function()
  it("gives on a MOVED that leads nowhere", function()
    server = fake.start(function(words)
      if words[1] == "GET" then return "-MOVED nowhere\r\n" end
      if words[1] ~= "CLUSTER" then return nil end
      local master = fake.list{ fake.bulk("127.0.0.1"), (":%d\r\n"):format(server.port) }
      return fake.list{ fake.list{ ":0\r\n", ":16383\r\n", master } }
    end)
    client = redis.connect{ cluster = { hosts = { { host = "127.0.0.1", port = server.port } } } }
    local reply, err = client:get("k")
    assert.is_nil(reply)
    assert.equal("MOVED", err.code)
  end)
end)
