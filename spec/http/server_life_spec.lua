local await = require("await")
local net = require("net")
local timers = require("timers")
local uv = require("luv")
local rawhttp = require("spec.support.rawhttp")
local servers = require("spec.support.servers")

describe("http.Server, the rest of its life", function()
  local server

  local function serve(...)
    local port
    port, server = servers.serve(...)
    return port
  end

  after_each(servers.close)

  local function get(path, more) return ("GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n"):format(path or "/", more or "") end
  local CLOSE = "Connection: close\r\n"
  local function bodyOf(text) return text:match("\r\n\r\n(.*)$") end
  local function after(ms, f) timers.setTimeout(f, ms) end

  describe("responses", function()
    it("have no body for HEAD, 204 and 304", function()
      local port = serve(nil, function(req, res)
        res.statusCode = tonumber(req.url:sub(2))
        res:write("body")
        res:finish("more")
      end)
      local text = rawhttp.exchange(port, "HEAD /200 HTTP/1.1\r\nHost: x\r\n\r\n" .. get("/204") .. get("/304", CLOSE))
      assert.same({ 200, 204, 304 }, rawhttp.statuses(text))
      assert.is_nil(text:find("body", 1, true))
      assert.is_nil(text:find("0\r\n\r\n", 1, true))
    end)

    it("end with the connection for HTTP/1.0 when their length is unknown", function()
      local port = serve(nil, function(_, res)
        res:write("a")
        res:finish("b")
      end)
      local text = rawhttp.exchange(port, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
      assert.equal("ab", bodyOf(text))
      assert.truthy(text:find("Connection: close", 1, true))
      assert.is_nil(text:find("chunked", 1, true))
    end)

    it("carry trailers", function()
      local port = serve(nil, function(_, res)
        res:setHeader("Trailer", "X-Sum")
        res:write("a")
        res:addTrailers { ["X-Sum"] = "1" }
        res:finish()
      end)
      assert.equal("1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n", bodyOf((rawhttp.exchange(port, get("/", CLOSE)))))
    end)

    it("keep the program's own framing and repeat list values", function()
      local port = serve(nil, function(_, res)
        res:writeHead(201, "Made", { ["Content-Length"] = 3, ["Set-Cookie"] = { "a=1", "b=2" } })
        res:finish("abc")
      end)
      local text = rawhttp.exchange(port, get("/", CLOSE))
      assert.truthy(text:find("^HTTP/1%.1 201 Made\r\n"))
      assert.truthy(text:find("Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n", 1, true))
      local _, lengths = text:gsub("Content%-Length", "")
      assert.equal(1, lengths)
    end)

    it("do not reach over the length that was promised, and close when they fall short of it", function()
      local port = serve(nil, function(req, res)
        res:setHeader("Content-Length", 3)
        res:finish(req.url == "/long" and "abcHTTP/1.1 200 OK\r\n\r\n" or "a")
      end)
      local text, how = rawhttp.exchange(port, get("/long") .. get("/short") .. get("/never"))
      assert.same({ 200, 200 }, rawhttp.statuses(text))
      assert.equal("closed", how)
    end)

    it("cannot be split", function()
      local codes = {}
      local port = serve(nil, function(_, res)
        local function try(f, ...)
          local ok, err = pcall(f, ...)
          codes[#codes + 1] = ok and "passed" or err.code
        end
        for _, bad in ipairs { "a\r\nX: y", "a\nX: y", "a\rb", "a\0b" } do
          try(res.setHeader, res, "X", bad)
          try(res.appendHeader, res, "X", bad)
          try(res.setHeader, res, "X", { "a", bad })
          try(res.setHeader, res, bad, "x")
          try(res.writeHead, res, 200, bad)
          try(res.writeHead, res, 200, { X = bad })
          try(res.addTrailers, res, { X = bad })
          try(res.writeEarlyHints, res, { link = bad })
        end
        res:setHeader("X", { "good" })
        res:getHeader("X")[1] = "a\r\nX: y"
        res:getHeaders().x[1] = "a\r\nX: y"
        res:finish("safe")
      end)
      local text = rawhttp.exchange(port, get("/", CLOSE))
      assert.equal("safe", bodyOf(text))
      assert.is_nil(text:find("y", 1, true))
      for _, code in ipairs(codes) do assert.truthy(code == "ERR_INVALID_CHAR" or code == "ERR_INVALID_HTTP_TOKEN") end
      assert.equal(32, #codes)
    end)

    it("refuse an impossible status, and headers after the head", function()
      local port = serve(nil, function(_, res)
        for _, bad in ipairs { 99, 1000, 99.9, 0 / 0, "ok", "", true, {} } do
          local ok, err = pcall(res.writeHead, res, bad)
          assert.is_false(ok)
          assert.equal("ERR_HTTP_INVALID_STATUS_CODE", err.code)
        end
        res:write("x")
        local _, err = pcall(res.setHeader, res, "X", "y")
        assert.equal("ERR_HTTP_HEADERS_SENT", err.code)
        assert.is_true(res.headersSent)
        res:finish()
      end)
      assert.same({ 200 }, rawhttp.statuses((rawhttp.exchange(port, get("/", CLOSE)))))
    end)

    it("take a status that converts to a number", function()
      local port = serve(nil, function(req, res)
        if req.url == "/head" then res:writeHead("404") elseif req.url == "/write" then
          res.statusCode = "405"
          res:write("x")
        else res.statusCode = 406.5 end
        res:finish()
      end)
      for path, status in pairs{ ["/head"] = 404, ["/write"] = 405, ["/"] = 406 } do
        assert.same({ status }, rawhttp.statuses((rawhttp.exchange(port, get(path, CLOSE)))))
      end
    end)

    it("take headers as a table, a list, or pairs; those of a list replace and repeat", function()
      local port = serve(nil, function(req, res)
        res:setHeader("A", "old")
        if req.url == "/list" then res:writeHead(200, { "a", "1", "b", 2, "A", "3" })
        elseif req.url == "/pairs" then res:writeHead(200, { { "a", "1" }, { "b", 2 }, { "A", "3" } })
        else res:writeHead(200, { A = { "1", "3" }, b = 2 }) end
        assert.has_error(function() res:writeHead(200) end)
        res:finish()
      end)
      for _, path in ipairs { "/list", "/pairs", "/table" } do
        local text = rawhttp.exchange(port, get(path, CLOSE)):lower()
        assert.truthy(text:find("a: 1\r\na: 3\r\n", 1, true))
        assert.truthy(text:find("b: 2\r\n", 1, true))
        assert.is_nil(text:find("old", 1, true))
      end
    end)

    it("do without what was removed; without a length and a coding the connection is the body's end", function()
      local port = serve(nil, function(_, res)
        for _, name in ipairs { "Connection", "Content-Length", "Transfer-Encoding", "Date" } do res:removeHeader(name) end
        res:finish("body")
      end)
      assert.equal("HTTP/1.1 200 OK\r\n\r\nbody", (rawhttp.exchange(port, get())))
    end)

    it("say what they hold", function()
      local port = serve(nil, function(_, res)
        res:setHeader("X-One", 1)
        res:appendHeader("x-one", "2")
        res:setHeader("Gone", "x")
        res:removeHeader("gone")
        res.sendDate = false
        assert.same({ 1, "2" }, res:getHeader("X-ONE"))
        assert.same({ "x-one" }, res:getHeaderNames())
        assert.same({ ["x-one"] = { 1, "2" } }, res:getHeaders())
        assert.is_true(res:hasHeader("x-One"))
        assert.is_false(res:hasHeader("gone"))
        res:finish("x")
        assert.is_true(res.writableEnded)
      end)
      local text = rawhttp.exchange(port, get("/", CLOSE))
      assert.truthy(text:find("X-One: 1\r\nX-One: 2\r\n", 1, true))
      assert.is_nil(text:find("Date:", 1, true))
      assert.is_nil(text:find("Gone", 1, true))
    end)

    it("emit finish and close, and call back", function()
      local port, order = nil, {}
      await(function(done)
        port = serve(nil, function(_, res)
          res:on("finish", function() order[#order + 1] = "finish" end)
          res:on("close", function() order[#order + 1] = "close" done() end)
          res:finish("x", function() order[#order + 1] = "callback" end)
        end)
        rawhttp.exchange(port, get("/", CLOSE))
      end)
      assert.same({ "finish", "callback", "close" }, order)
    end)
  end)

  describe("requests", function()
    it("show their headers as Node does", function()
      local port = serve(nil, function(req, res)
        assert.equal("a, b", req.headers["x-list"])
        assert.equal("one", req.headers["user-agent"])
        assert.equal("a=1; b=2", req.headers.cookie)
        assert.same({ "a", "b" }, req.headersDistinct["x-list"])
        assert.equal("X-List", req.rawHeaders[3])
        assert.equal("1.1", req.httpVersion)
        assert.is_true(req.complete)
        res:finish("fine")
      end)
      local text = rawhttp.exchange(port, get("/", "X-List: a\r\nx-list: b\r\nUser-Agent: one\r\nUser-Agent: two\r\n"
        .. "Cookie: a=1\r\nCookie: b=2\r\n" .. CLOSE))
      assert.equal("fine", bodyOf(text))
    end)

    it("keep their headers when they are asked for late", function()
      local port = serve(nil, function(req, res)
        after(5, function() res:finish(req.headers["x-late"]) end)
      end)
      local text = rawhttp.exchange(port, get("/", "X-Late: 1\r\n") .. get("/", "X-Late: 2\r\n" .. CLOSE))
      assert.truthy(text:find("\r\n\r\n1HTTP", 1, true))
      assert.truthy(text:find("\r\n\r\n2$"))
    end)

    it("give trailers at their end", function()
      local port = serve(nil, function(req, res)
        req:body()
        res:finish(req.trailers["x-sum"])
      end)
      local text = rawhttp.exchange(port, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" .. CLOSE
        .. "\r\n1\r\na\r\n0\r\nX-Sum: 7\r\n\r\n")
      assert.equal("7", bodyOf(text))
    end)

    it("whose bodies nobody reads do not hold up the next", function()
      local port = serve(nil, function(req, res) res:finish(req.url) end)
      local body = ("x"):rep(300000)
      local text = rawhttp.exchange(port, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n" .. body .. get("/b", CLOSE))
      assert.same({ 200, 200 }, rawhttp.statuses(text))
    end)

    it("stop the kernel's reading while they are paused", function()
      local pushed = 0
      local port = serve(nil, function(req, res)
        req:pause()
        req:on("data", function(chunk) pushed = pushed + #chunk end)
        req:on("end", function() res:finish(tostring(pushed)) end)
        after(30, function()
          assert.equal(0, pushed)
          assert.is_true(req.readableLength < 1024 * 1024)
          req:resume()
        end)
      end)
      local text = rawhttp.exchange(port, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n" .. CLOSE .. "\r\n"
        .. ("x"):rep(8000000), { timeout = 5000 })
      assert.equal("8000000", bodyOf(text))
    end)

    it("notice that the client went away", function()
      local seen = {}
      await(function(done)
        local client
        local port = serve(nil, function(req, res)
          req:on("aborted", function() seen[#seen + 1] = "aborted" end)
          req:on("close", function() seen[#seen + 1] = "req close" end)
          res:on("close", function() seen[#seen + 1] = "res close" done() end)
          client:destroy()
        end)
        client = net.connect(port, "127.0.0.1")
        client:write(get("/"))
      end)
      await.sleep(5)
      table.sort(seen)
      assert.same({ "aborted", "req close", "res close" }, seen)
    end)

    it("fail in a body that is cut off", function()
      local code = await(function(done)
        local client
        local port = serve(nil, function(req)
          req:on("error", function(err) done(err.code) end)
          req:on("data", function() client:destroy() end)
        end)
        client = net.connect(port, "127.0.0.1")
        client:write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
      end)
      assert.equal("ECONNRESET", code)
    end)
  end)

  describe("limits", function()
    it("close after maxRequestsPerSocket and drop what comes beyond", function()
      local port = serve({ maxRequestsPerSocket = 2 }, function(_, res) res:finish("x") end)
      local dropped = {}
      server:on("dropRequest", function(req) dropped[#dropped + 1] = req.url end)
      local text, how = rawhttp.exchange(port, get("/1") .. get("/2") .. get("/3") .. get("/4"))
      assert.same({ 200, 200, 503 }, rawhttp.statuses(text))
      assert.truthy(text:find("Keep-Alive: timeout=5, max=2\r\n", 1, true))
      assert.equal("closed", how)
      assert.same({ "/3" }, dropped)
      text, how = rawhttp.exchange(port, get("/1") .. get("/2"))
      assert.same({ 200, 200 }, rawhttp.statuses(text))
      assert.equal("closed", how)
    end)

    it("answer 408 to a body that is too slow", function()
      local port = serve({ requestTimeout = 60, headersTimeout = 50 }, function() end)
      local text, how = rawhttp.exchange(port, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
      assert.same({ 408 }, rawhttp.statuses(text))
      assert.equal("closed", how)
    end)

    it("emit timeout, or close", function()
      local port = serve({ timeout = 50 }, function() end)
      local text, how = rawhttp.exchange(port, get("/"))
      assert.same({ "", "closed" }, { text, how })
      server:on("timeout", function(socket) socket:finish("HTTP/1.1 504 Slow\r\n\r\n") end)
      assert.same({ 504 }, rawhttp.statuses((rawhttp.exchange(port, get("/")))))
    end)

    it("emit timeout once for a silence", function()
      local timeouts = 0
      local port = serve(nil, function(_, res)
        res:setTimeout(20, function()
          timeouts = timeouts + 1
          if timeouts == 1 then after(150, function() res:finish("x") end) end -- several more looks
        end)
      end)
      rawhttp.exchange(port, get("/", CLOSE))
      assert.equal(1, timeouts)
    end)

    it("emit no timeout while something is written", function()
      local timeouts, longest = 0, 0
      local port = serve(nil, function(_, res)
        res:setTimeout(400, function() timeouts = timeouts + 1 end)
        local last, pieces = uv.hrtime(), 0
        local function write()
          longest, last, pieces = math.max(longest, (uv.hrtime() - last) / 1e6), uv.hrtime(), pieces + 1
          if pieces == 30 then return res:finish() end
          res:write(".")
          after(20, write)
        end
        write()
      end)
      rawhttp.exchange(port, get("/", CLOSE))
      if longest < 200 then assert.equal(0, timeouts) end -- else the machine was held up
    end)

    it("emit clientError, whose listener answers", function()
      local port = serve(nil, function(_, res) res:finish("x") end)
      local codes = {}
      server:on("clientError", function(err, socket)
        codes[#codes + 1] = err.code
        socket:finish("HTTP/1.1 418 Teapot\r\n\r\n")
      end)
      assert.same({ 418 }, rawhttp.statuses((rawhttp.exchange(port, "BAD\r\n\r\n"))))
      assert.same({ 418 }, rawhttp.statuses((rawhttp.exchange(port, get("/", "X: " .. ("x"):rep(20000) .. "\r\n")))))
      assert.same({ "HPE_INVALID_METHOD", "HPE_HEADER_OVERFLOW" }, codes)
      local err
      server:once("clientError", function(each) err = each end)
      rawhttp.exchange(port, get() .. "BAD\r\n\r\n")
      assert.same({ get() .. "BAD\r\n\r\n", #get() }, { err.rawPacket, err.bytesParsed })
    end)

    it("hold with maxHeaderSize of one's own", function()
      local port = serve({ maxHeaderSize = 100 }, function(_, res) res:finish("x") end)
      assert.same({ 431 }, rawhttp.statuses((rawhttp.exchange(port, get("/", "X: " .. ("x"):rep(100) .. "\r\n")))))
    end)

    it("stop reading from a client that pipelines and does not read", function()
      local served = 0
      local body = ("x"):rep(20000)
      local port = serve(nil, function(req, res)
        if req.url == "/other" then return res:finish("turn") end
        served = served + 1
        res:finish(body)
      end)
      local client = net.connect(port, "127.0.0.1")
      client:pause()
      for _ = 1, 19 do client:write(get("/"):rep(500)) end
      await(function(done) client:write(get("/"):rep(500), done) end)
      -- All is with the kernel, and the server's loop turns more often than reading it would take.
      for _ = 1, 50 do rawhttp.exchange(port, get("/other", CLOSE)) end
      assert.is_true(served < 9000)
      client:destroy()
    end)
  end)

  it("hands an upgrade over with the bytes behind the head, and a foreign socket in with those before", function()
    local port = serve(nil, function(req, res) res:finish("http " .. req.url) end)
    server:on("upgrade", function(req, socket, head)
      socket:write("HTTP/1.1 101 Switching Protocols\r\n\r\n" .. req.headers.upgrade .. head)
      if head:find("late$") then return socket:finish() end
      socket:on("data", function(data) socket:finish(data) end)
    end)
    local text = rawhttp.exchange(port, { get("/", "Connection: Upgrade\r\nUpgrade: chat\r\n") .. "early", "late" })
    assert.equal("chatearlylate", bodyOf(text))
    local front = net.createServer(function(socket)
      socket:once("readable", function()
        local text2 = socket:read()
        socket:unshift(text2)
        server:emit("connection", socket)
        assert.is_false(socket.destroyed)
        assert.equal(server, socket.server)
      end)
    end)
    await(function(done) front:listen(0, "127.0.0.1", function() done() end) end)
    text = rawhttp.exchange(front:address().port, get("/foreign", CLOSE))
    assert.equal("http /foreign", bodyOf(text))
    await(function(done) front:close(function() done() end) end)
  end)

  it("shows the socket of a request, the same each time and to connection listeners", function()
    local port = serve(nil, function(req, res)
      assert.equal(req.socket, res.socket)
      assert.equal("127.0.0.1", req.socket.remoteAddress)
      res:finish(tostring(req.socket == server.seen))
    end)
    server:on("connection", function(socket) server.seen = socket end)
    assert.equal("true", bodyOf((rawhttp.exchange(port, get("/", CLOSE)))))
  end)

  it("counts the bytes of a connection", function()
    local counts
    local port = serve(nil, function(req, res)
      res:on("finish", function() counts = { req.socket.bytesRead, req.socket.bytesWritten } end)
      res:finish("x")
    end)
    local request = get("/", CLOSE)
    local answer = rawhttp.exchange(port, request)
    assert.same({ #request, #answer }, counts)
  end)

  it("asks checkContinue and checkExpectation", function()
    local port = serve(nil, function(_, res) res:finish("plain") end)
    server:on("checkContinue", function(req, res)
      if req.headers["x-no"] then
        res:writeHead(403)
        return res:finish()
      end
      res:writeContinue()
      res:finish(req:body())
    end)
    server:on("checkExpectation", function(_, res)
      res:writeHead(406)
      res:finish()
    end)
    local function post(more) return "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n" .. CLOSE .. more .. "\r\n" end
    local text = rawhttp.exchange(port, post("Expect: 100-continue\r\n") .. "abc")
    assert.same({ 100, 200 }, rawhttp.statuses(text))
    assert.same({ 403 }, rawhttp.statuses((rawhttp.exchange(port, post("Expect: 100-continue\r\nX-No: 1\r\n")))))
    assert.same({ 406 }, rawhttp.statuses((rawhttp.exchange(port, post("Expect: wonder\r\n") .. "abc"))))
  end)

  it("answers 500 for a handler that throws, in the middle of others and after an await", function()
    local port = serve(nil, function(req, res)
      if req.url == "/throw" then error({ code = "X" }) end
      if req.url == "/later" then
        await.sleep(2)
        error("later")
      end
      if req.url == "/begun" then
        res:write("x")
        error("begun")
      end
      res:finish("fine")
    end)
    local stderr = io.stderr
    io.stderr = { write = function() end } -- luacheck: ignore
    local ok, err = pcall(function()
      assert.same({ 200, 500 }, rawhttp.statuses((rawhttp.exchange(port, get("/") .. get("/throw") .. get("/")))))
      assert.same({ 500 }, rawhttp.statuses((rawhttp.exchange(port, get("/later")))))
      local text, how = rawhttp.exchange(port, get("/begun"))
      assert.equal("closed", how)
      assert.is_nil(text:find("0\r\n\r\n", 1, true))
      assert.same({ 200 }, rawhttp.statuses((rawhttp.exchange(port, get("/", CLOSE)))))
    end)
    io.stderr = stderr -- luacheck: ignore
    if not ok then error(err, 0) end
  end)

  it("says where a colon belongs", function()
    local messages = {}
    local port = serve(nil, function(req, res)
      for _, call in ipairs { function() res.finish("x") end, function() res.write("x") end, function() res.setHeader("A", "b") end,
        function() res.writeHead(200) end, function() res.getHeader("A") end, function() req.resume() end } do
        local _, err = pcall(call)
        messages[#messages + 1] = tostring(err):match("call [%w:]+%(%.%.%.%) with a colon")
      end
      res:finish("x")
    end)
    rawhttp.exchange(port, get("/", CLOSE))
    assert.equal(6, #messages)
    assert.equal("call res:finish(...) with a colon", messages[1])
  end)

  it("is a stream for pipeline, and a request that is destroyed ends its connection", function()
    local stream = require("stream")
    local failure = "none"
    local port = serve(nil, function(req, res)
      if req.url == "/destroy" then return req:destroy() end
      stream.pipeline(req, res, function(err) failure = err end)
    end)
    local text = rawhttp.exchange(port, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n" .. CLOSE .. "\r\nabc")
    assert.equal("3\r\nabc\r\n0\r\n\r\n", bodyOf(text))
    assert.is_nil(failure)
    local _, how = rawhttp.exchange(port, get("/destroy"))
    assert.equal("closed", how)
  end)

  it("does not report a client that left while its body was awaited", function()
    local reported = {}
    local stderr = io.stderr
    io.stderr = { write = function(_, ...) reported[#reported + 1] = table.concat({ ... }) end } -- luacheck: ignore
    local ok, err = pcall(function()
      await(function(done)
        local client
        local port = serve(nil, function(req, res)
          res:on("close", function() after(5, done) end)
          timers.setImmediate(function() client:destroy() end)
          req:body()
        end)
        client = net.connect(port, "127.0.0.1")
        client:write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
      end)
    end)
    io.stderr = stderr -- luacheck: ignore
    if not ok then error(err, 0) end
    assert.same({}, reported)
  end)

  it("closes: idle connections at once, busy ones after their response", function()
    local held, connections = {}, 0
    local port = serve(nil, function(_, res) held[#held + 1] = res end)
    server:on("connection", function() connections = connections + 1 end)
    local results = await.all {
      function() return { rawhttp.exchange(port, {}) } end,
      function() return { rawhttp.exchange(port, get("/") .. get("/")) } end,
      function()
        while connections < 2 or #held < 2 do await.sleep(1) end
        await(function(done)
          server:close(done)
          for _, res in ipairs(held) do res:finish("done") end
        end)
        return "closed"
      end,
    }
    assert.same({ "", "closed" }, results[1])
    assert.same({ 200, 200 }, rawhttp.statuses(results[2][1])) -- both handlers ran; the last answer alone says close
    local _, closes = results[2][1]:gsub("Connection: close", "")
    assert.equal(1, closes)
    assert.equal("closed", results[2][2])
    assert.equal("closed", results[3])
  end)

  it("keeps connections again when it listens again", function()
    serve(nil, function(_, res) res:finish("x") end)
    await(function(done) server:close(done) end)
    await(function(done) server:listen(0, "127.0.0.1", done) end)
    local text = rawhttp.exchange(server:address().port, get() .. get("/", CLOSE))
    assert.same({ 200, 200 }, rawhttp.statuses(text))
  end)

  it("takes a socket from elsewhere in the middle of a pipeline", function()
    local held = {}
    local other = net.createServer({ pauseOnConnect = true }, function(socket) held[#held + 1] = socket end)
    await(function(done) other:listen(0, "127.0.0.1", done) end)
    local port = serve(nil, function(req, res)
      res:finish(req.url)
      if req.url == "/take" then server:emit("connection", held[1]) end
    end)
    local text, another = nil, nil
    await.all {
      function() another = rawhttp.exchange(other:address().port, get("/other"):rep(3) .. get("/last", CLOSE)) end,
      function()
        while #held == 0 do await.sleep(1) end
        text = rawhttp.exchange(port, get("/take") .. get("/second") .. get("/third", CLOSE))
      end,
    }
    other:close()
    assert.same({ 200, 200, 200 }, rawhttp.statuses(text))
    assert.matches("/third$", text)
    assert.same({ 200, 200, 200, 200 }, rawhttp.statuses(another))
    assert.matches("/last$", another)
  end)

  it("emits clientError for a connection that is reset", function()
    local port = serve(nil, function() end)
    local client = net.connect { port = port, host = "127.0.0.1" }
    server:once("connection", function() client:resetAndDestroy() end)
    local err, socket = await(function(done) server:once("clientError", done) end)
    assert.equal("ECONNRESET", err.code)
    assert.is_true(socket.destroyed)
  end)

  it("leaves nothing behind after clients that vanish at any byte", function()
    local port = serve(nil, function(req, res) req:pipe(res) end)
    local text = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    local jobs = {}
    for at = 1, #text do
      jobs[at] = function()
        await(function(done)
          local client = net.connect(port, "127.0.0.1", function()
          end)
          client:on("error", function() end)
          client:write(text:sub(1, at), function()
            if at % 2 == 0 then client:destroy() else client:resetAndDestroy() end
          end)
          client:on("close", function() done() end)
        end)
      end
    end
    await.all(jobs)
    local turns, count = 0
    repeat
      await.sleep(5)
      count, turns = select(2, await(function(done) server:getConnections(done) end)), turns + 1
    until count == 0 or turns == 400
    assert.equal(0, count)
  end)
end)
