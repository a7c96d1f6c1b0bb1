local await = require("await")
local http = require("http")
local net = require("net")
local rawhttp = require("spec.support.rawhttp")
local servers = require("spec.support.servers")
local timers = require("timers")

-- How connections end, and what ends with them.
describe("the end of an http connection", function()
  local serve, listen = servers.serve, servers.listen

  after_each(servers.close)

  local function get(path, more) return ("GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n"):format(path or "/", more or "") end
  local function post(length, body, more)
    return ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n%s"):format(length, more or "", body)
  end

  describe("of a server", function()
    it("comes after the answers in front of a response that was destroyed", function()
      local port = serve(function(req, res)
        if req.url == "/2" then return res:destroy() end
        timers.setImmediate(function() res:finish(req.url) end)
      end)
      local text, how = rawhttp.exchange(port, get("/1") .. get("/2") .. get("/3"))
      assert.matches("\r\n\r\n/1$", text)
      assert.same({ 200 }, rawhttp.statuses(text))
      assert.equal("closed", how)
    end)

    it("is silent behind an empty line that nobody asked for", function()
      local port = serve({ headersTimeout = 50, requestTimeout = 60, keepAliveTimeout = 200 },
        function(_, res) res:finish("x") end)
      local text, how = rawhttp.exchange(port, { get() .. "\r\n", "\r\n" })
      assert.same({ 200 }, rawhttp.statuses(text))
      assert.equal("closed", how)
    end)

    it("comes when a body takes too long that its handler does not read", function()
      local port = serve({ headersTimeout = 50, requestTimeout = 100 }, function(req) req:pause() end)
      local text, how = rawhttp.exchange(port, post(100000, ("x"):rep(70000)))
      assert.same({ 408 }, rawhttp.statuses(text))
      assert.equal("closed", how)
    end)

    for name, surplus in pairs { nothing = "", ["an empty line"] = "\r\n", ["a request"] = get(), junk = "\1" } do
      it("is noticed when a client leaves that sent " .. name .. " behind its last request", function()
        local closed
        local port = serve(function(_, res) res:on("close", function() closed = true end) end)
        local client = net.connect(port, "127.0.0.1")
        await(function(done) client:write(get("/", "Connection: close\r\n") .. surplus, function() done() end) end)
        for _ = 1, 20 do await(function(done) timers.setImmediate(done) end) end
        client:destroy()
        while not closed do await(function(done) timers.setImmediate(done) end) end
      end)
    end

    it("waits for the body of a request that was answered early, where its handler reads it", function()
      local body
      local port = serve(function(req, res)
        res:setHeader("Connection", "close")
        res:finish("early")
        body = req:body()
      end)
      local text, how = rawhttp.exchange(port, { post(10, "01234"), "56789" .. get() })
      assert.same({ 200 }, rawhttp.statuses(text))
      assert.equal("closed", how)
      while not body do await(function(done) timers.setImmediate(done) end) end
      assert.equal("0123456789", body)
    end)

    it("is counted when its socket is first asked for behind it", function()
      local socket
      local port, server = serve(function(req, res)
        res:destroy()
        socket = req.socket
      end)
      assert.same({ "", "closed" }, { rawhttp.exchange(port, get()) })
      assert.is_true(socket.destroyed)
      while select(2, await(function(done) server:getConnections(done) end)) > 0 do
        await(function(done) timers.setImmediate(done) end)
      end
    end)

    it("is told to a request and a response that were destroyed just then", function()
      local told = {}
      local port, server
      port, server = serve(function(req, res)
        for name, each in pairs { req = req, res = res } do each:on("close", function() told[name] = (told[name] or 0) + 1 end) end
        server:closeAllConnections()
        res:destroy()
      end)
      assert.same({ "", "closed" }, { rawhttp.exchange(port, get()) })
      while not (told.req and told.res) do await(function(done) timers.setImmediate(done) end) end
      assert.same({ req = 1, res = 1 }, told)
    end)

    it("does not wait for a body that nobody reads", function()
      local port = serve(function(_, res)
        res:setHeader("Connection", "close")
        res:finish("early")
      end)
      local text, how = rawhttp.exchange(port, post(1000000, "0"))
      assert.matches("early$", text)
      assert.equal("closed", how)
    end)

    it("comes without a second answer when the body behind an early one is bad or late", function()
      local port = serve({ headersTimeout = 50, requestTimeout = 100 }, function(req, res)
        res:setHeader("Connection", "close")
        res:finish("early")
        req:on("data", function() end)
        req:on("error", function() end)
      end)
      for _, body in ipairs { "1\r\nx\r\nBAD\r\n", "1\r\nx\r\n" } do
        local text, how = rawhttp.exchange(port, get("/", "Transfer-Encoding: chunked\r\n") .. body)
        assert.same({ 200 }, rawhttp.statuses(text))
        assert.equal("closed", how)
      end
    end)
  end)

  describe("of a client", function()
    local agent

    before_each(function() agent = http.Agent:new { keepAlive = true, maxSockets = 1 } end)
    after_each(function() agent:destroy() end)

    -- A server that answers the first request of each connection with these bytes.
    local function raw(bytes, later)
      local connections = { count = 0 }
      local port = listen(net.createServer(function(socket)
        connections.count = connections.count + 1
        connections[connections.count] = socket
        socket:on("error", function() end)
        socket:once("data", function(data)
          socket:write(connections.count == 1 and bytes or "HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\ngood")
          if later then later(socket, data) end
        end)
      end))
      return port, connections
    end

    local function ask(port)
      return await(function(done)
        local request = http.get({ host = "127.0.0.1", port = port, agent = agent })
        local text = {}
        request:on("error", function(err) text.err = err end)
        request:on("close", function() done(text) end)
        request:on("response", function(response)
          text.status = response.statusCode
          response:on("data", function(data) text[#text + 1] = data end)
        end)
      end)
    end

    local OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    for name, surplus in pairs {
      ["a second response"] = OK, ["half a head"] = "HTTP/1.1 200 OK\r\nX: ", ["an empty line"] = "\r\n", ["half a line end"] = "\r",
    } do
      it("comes when a server sends " .. name .. " unasked, and the next request is answered by its own", function()
        local port, connections = raw(OK .. surplus)
        local first = ask(port)
        assert.same({ "ok", 200 }, { first[1], first.status })
        assert.is_nil(first.err)
        local second = ask(port)
        assert.same({ "good", 201 }, { second[1], second.status })
        assert.equal(2, connections.count)
      end)

      it("comes when a server sends " .. name .. " later, while the connection is idle", function()
        local port, connections = raw(OK)
        assert.equal("ok", ask(port)[1])
        local socket = connections[1]
        await(function(done)
          socket:on("close", function() done() end)
          socket:write(surplus)
          socket:resume()
        end)
        assert.equal("good", ask(port)[1])
        assert.equal(2, connections.count)
      end)
    end

    it("tells a request that its response was followed by what is no HTTP", function()
      local port = raw(OK .. "surplus")
      local first = ask(port)
      assert.equal("ok", first[1])
      while not first.err do await(function(done) timers.setImmediate(done) end) end
      assert.equal("HPE_INVALID_CONSTANT", first.err.code)
      assert.equal("good", ask(port)[1])
    end)

    for _, status in ipairs { "000", "099", "0", "1000" } do
      it("comes with an error for the status " .. status, function()
        local port = raw("HTTP/1.1 " .. status .. " X\r\nContent-Length: 0\r\n\r\n" .. OK)
        local text = ask(port)
        assert.equal("HPE_INVALID_STATUS", text.err.code)
        assert.is_nil(text.status)
      end)
    end
  end)
end)
