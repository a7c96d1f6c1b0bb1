local await = require("await")
local child_process = require("child_process")
local timers = require("timers")
local uv = require("luv")
local servers = require("spec.support.servers")

-- What of a connection a peer can make grow, and where that ends.
describe("limits of an http connection", function()
  local serve, listen = servers.serve, servers.listen
  local clients

  local function get(path, more) return ("GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n"):format(path, more or "") end

  -- A client that reads only when told to. `how` is "closed" (its server ended in order) or an error's name, once that is
  -- known.
  local function connect(to, text)
    local client = { received = "", handle = type(to) == "string" and uv.new_pipe(false) or uv.new_tcp() }
    clients[#clients + 1] = client
    function client.read()
      client.handle:read_start(function(err, data)
        if data then client.received = client.received .. data else client.how = err or "closed" end
        if client.check then client.check() end
      end)
    end
    function client.write(bytes) await(function(done) client.handle:write(bytes, function() done() end) end) end
    function client.until_(holds)
      await(function(done)
        function client.check()
          if not holds() then return end
          client.check = nil
          done()
        end
        client.check()
      end)
    end
    await(function(done)
      if type(to) == "string" then client.handle:connect(to, done) else client.handle:connect("127.0.0.1", to, done) end
    end)
    if text then client.handle:write(text) end
    return client
  end

  -- Turns of the loop in which whatever can still happen does.
  local function turns(n) for _ = 1, n do await(function(done) timers.setImmediate(done) end) end end

  before_each(function() clients = {} end)

  after_each(function()
    for _, client in ipairs(clients) do client.handle:close() end
    servers.close()
  end)

  local function count(text, what) return select(2, text:gsub(what, "")) end

  it("takes no more requests while 256 KiB of answers wait for a slow reader", function()
    local REQUESTS, SIZE = 1000, 4 * 1024
    local seen = 0
    local path = os.tmpname()
    os.remove(path)
    listen(require("http").createServer(function(_, res)
      seen = seen + 1
      res:finish(("x"):rep(SIZE))
    end), path)
    local client = connect(path, get("/"):rep(REQUESTS))
    while seen == 0 do turns(1) end
    turns(100)
    -- The socket's buffer holds some; 256 KiB are 64 answers.
    assert.is_true(seen < 300, seen .. " requests were answered into the void")
    client.read()
    client.until_(function() return client.how or #client.received >= REQUESTS * SIZE and seen == REQUESTS end)
    assert.is_nil(client.how)
    client.until_(function() return count(client.received, "HTTP/1.1 200 OK") == REQUESTS end)
  end)

  it("gives a handler no more than 64 requests of one connection at a time", function()
    local held = {}
    local port = serve(function(_, res) held[#held + 1] = res end)
    local client = connect(port, get("/"):rep(200))
    while #held < 64 do turns(1) end
    turns(50)
    assert.equal(64, #held)
    client.read()
    for i = 1, 200 do
      while not held[i] do turns(1) end
      held[i]:finish("answer " .. i .. ".")
    end
    client.until_(function() return client.received:find("answer 200.", 1, true) end)
    local order = {}
    for i in client.received:gmatch("answer (%d+)%.") do order[#order + 1] = tonumber(i) end
    for i = 1, 200 do assert.equal(i, order[i]) end
  end)

  it("lets a client that still sends read the last answer, and then hangs up in order", function()
    local port = serve(function(_, res)
      res:writeHead(413, { Connection = "close" })
      res:finish("too large")
    end)
    local client = connect(port)
    client.write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" .. ("x"):rep(1000))
    client.read()
    client.until_(function() return client.received:find("too large", 1, true) end)
    client.write(("x"):rep(100000)) -- a socket that was closed answers this with a reset
    client.write(("x"):rep(100000))
    client.until_(function() return client.how end)
    assert.equal("closed", client.how)
    client.write(("x"):rep(100000))
    turns(20)
    client.handle:shutdown()
    assert.matches("^HTTP/1.1 413 ", client.received)
  end)

  it("lets a client that asks on after the last request it may make read the answer to that one", function()
    local served = {}
    local port = serve(function(req, res)
      served[#served + 1] = req.url
      res:setHeader("Connection", "close")
      res:finish(("x"):rep(req.url == "/large" and 16 * 1024 * 1024 or 10))
    end)
    local client = connect(port, get("/small") .. get("/more"))
    client.read()
    client.until_(function() return client.how end)
    for _ = 1, 3 do client.write(get("/more")) end
    turns(20)
    assert.equal("closed", client.how)

    client = connect(port, get("/large"))
    while not served[2] do turns(1) end
    client.write(get("/more"):rep(10))      -- while most of the answer waits for its reader
    turns(20)
    client.read()
    client.until_(function() return client.how end)
    assert.equal("closed", client.how)
    assert.equal(16 * 1024 * 1024, #client.received:match("\r\n\r\n(.*)"))
    assert.same({ "/small", "/large" }, served)
  end)

  it("closes what lingers after two seconds", function()
    local port, server = serve(function(_, res)
      res:setHeader("Connection", "close")
      res:finish("bye")
    end)
    local client = connect(port, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nx")
    client.read()
    client.until_(function() return client.how end)
    assert.equal("closed", client.how)
    local function connections() return select(2, await(function(done) server:getConnections(done) end)) end
    assert.equal(1, connections())
    local start = uv.hrtime()
    while connections() > 0 and uv.hrtime() - start < 10e9 do await.sleep(20) end
    assert.equal(0, connections())
  end)

  it("closes at once what it cannot take when descriptors have run out", function()
    local child = child_process.spawn("/bin/sh", { "-c", 'ulimit -n 32; exec "$0" -e "$1"', process.execPath, [[
      local http = require("http")
      local server = http.createServer(function(_, res) res:finish("x") end)
      server:listen(0, "127.0.0.1", function() print(server:address().port) end)
    ]] }, { stdio = { "ignore", "pipe", "inherit" } })
    local port = tonumber((await(function(done) child.stdout:once("data", done) end)))
    local kept, shed = 0, 0
    for i = 1, 60 do
      local client = connect(port, get("/"))
      client.read()
      client.until_(function() return client.how or client.received:find("\r\n\r\nx", 1, true) end)
      if client.how then shed = shed + 1 else kept = kept + 1 end
      assert.is_true(i == kept + shed)
    end
    assert.is_true(kept > 5 and shed > 20, ("%d kept, %d closed"):format(kept, shed))
    for _, client in ipairs(clients) do client.handle:close() end
    clients = {}
    local served
    repeat -- the descriptors come back as the server notices
      local client = connect(port, get("/"))
      client.read()
      client.until_(function() return client.how or client.received:find("\r\n\r\nx", 1, true) end)
      served = not client.how
    until served
    child:kill("SIGKILL")
    await(function(done) child:once("exit", function() done() end) end)
  end)
end)
