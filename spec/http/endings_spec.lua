local await = require("await")
local http = require("http")
local net = require("net")
local stream = require("stream")
local timers = require("timers")
local children = require("spec.support.children")
local rawhttp = require("spec.support.rawhttp")
local recorder = require("spec.support.recorder")
local servers = require("spec.support.servers")

-- How responses and their requests end: who is told, when, and that it is once.
describe("the end of a response", function()
  local GET = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
  local LAST = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
  local LARGE = ("x"):rep(16 * 1024 * 1024) -- more than any socket takes
  local serve, eventually = servers.serve, children.eventually
  local order, errors

  local function onUncaught(err) errors[#errors + 1] = tostring(err) end

  before_each(function()
    order, errors = {}, {}
    process:on("uncaughtException", onUncaught)
  end)

  after_each(function()
    process:off("uncaughtException", onUncaught)
    servers.close()
    assert.same({}, errors)
  end)

  local function get(path) return (GET:gsub("/", path, 1)) end

  -- A client that reads nothing before `resume`.
  local function connect(port, text)
    local client = net.connect { port = port, host = "127.0.0.1" }
    client:on("error", function() end)
    client:pause()
    client:write(text)
    return client
  end

  it("is told as in Node: finish, its callback, close, then the request's end and close", function()
    local port = serve(function(req, res)
      recorder.watch(order, req, res)
      res:finish("x", function() order[#order + 1] = "callback" end)
      order[#order + 1] = "returned"
    end)
    rawhttp.exchange(port, LAST)
    assert.same({ "returned", "res finish", "callback", "res close", "req end", "req close" }, order)
  end)

  it("is told to those who listen after finish", function()
    local port = serve(function(req, res)
      res:finish("x")
      recorder.watch(order, req, res)
    end)
    rawhttp.exchange(port, LAST)
    assert.same({ "res finish", "res close", "req end", "req close" }, order)
  end)

  it("is told to those who listen after finish in a later turn, and to once and prependListener", function()
    local port = serve(function(req, res)
      await.sleep(1)
      res:finish("x")
      res:once("finish", function() order[#order + 1] = "once" end)
      res:prependListener("finish", function() order[#order + 1] = "first" end)
      req:once("close", function() order[#order + 1] = "req close" end)
    end)
    rawhttp.exchange(port, LAST)
    assert.same({ "first", "once", "req close" }, order)
  end)

  it("is told for each of several pipelined requests, once", function()
    local port = serve(function(req, res)
      recorder.watch(order, req, res)
      if req.url == "/1" then timers.setTimeout(function() res:finish("1") end, 10) else res:finish(req.url) end
    end)
    local text = rawhttp.exchange(port, get("/1") .. get("/2") .. get("/3"), { untilText = "/3" })
    assert.same({ 200, 200, 200 }, rawhttp.statuses(text))
    eventually(function() return #order == 12 end)
    assert.same({ ["res finish"] = 3, ["res close"] = 3, ["req end"] = 3, ["req close"] = 3 }, recorder.counts(order))
  end)

  it("has no finish while a response before it is not written", function()
    local first, second
    local port = serve(function(req, res)
      if req.url == "/1" then first = res return end
      second = res
      res:on("finish", function() order[#order + 1] = "finish" end)
      res:finish("two")
    end)
    local client = connect(port, get("/1") .. get("/2"))
    eventually(function() return second end)
    await.sleep(20)
    assert.same({}, order)
    assert.is_true(second.writableEnded)
    assert.is_false(second.writableFinished)
    first:finish("one")
    eventually(function() return order[1] end)
    assert.is_true(second.writableFinished)
    client:destroy()
  end)

  it("has no finish before the kernel has all, and writableFinished says so", function()
    local res
    local port = serve(function(_, each)
      res = each
      recorder.watch(order, nil, res)
      res:finish(LARGE)
    end)
    local client = connect(port, GET)
    eventually(function() return res end)
    await.sleep(20)
    assert.same({}, order)
    assert.is_false(res.writableFinished)
    client:resume()
    eventually(function() return #order == 2 end)
    assert.same({ "res finish", "res close" }, order)
    assert.is_true(res.writableFinished)
    client:destroy()
  end)

  it("is known to stream.finished, whenever it is asked", function()
    local results = {}
    local port = serve(function(req, res)
      res:finish("x")
      stream.finished(res, function(err) results.res = err or "none" end)
      stream.finished(req, function(err) results.req = err or "none" end)
    end)
    rawhttp.exchange(port, LAST)
    assert.same({ res = "none", req = "none" }, results)
  end)

  it("answers the callback of finish when the client leaves before all is written", function()
    local answer
    local port = serve(function(req, res)
      recorder.watch(order, req, res)
      res:finish(LARGE, function(err) answer = err end)
    end)
    local client = connect(port, GET)
    await.sleep(20)
    client:destroy()
    eventually(function() return #order >= 3 and answer end)
    await.sleep(20)
    assert.equal("ECONNRESET", answer.code)
    local counts = recorder.counts(order)
    assert.equal(1, counts["res close"])
    assert.equal(1, counts["req close"])
    assert.is_nil(counts["res finish"])
  end)

  it("answers the callback of a finish that came too late, and of a second finish", function()
    local answers = {}
    local port = serve(function(req, res)
      if req.url == "/twice" then
        res:finish("x", function(err) answers[#answers + 1] = err and err.code or "first" end)
        res:finish(function(err) answers[#answers + 1] = err and err.code or "second" end)
        return
      end
      res:on("close", function()
        res:finish("x", function(err) answers[#answers + 1] = err.code end)
        res:write("x", function(err) answers[#answers + 1] = err.code end)
      end)
    end)
    rawhttp.exchange(port, get("/twice"), { untilText = "x" })
    eventually(function() return #answers == 2 end)
    assert.same({ "first", "second" }, answers)
    connect(port, GET):destroySoon()
    eventually(function() return #answers == 4 end)
    assert.same({ "ERR_STREAM_DESTROYED", "ERR_STREAM_DESTROYED" }, { answers[3], answers[4] })
  end)

  it("gives a client that leaves before the answer close, and no error without a reset", function()
    local client
    local port = serve(function(req, res)
      recorder.watch(order, req, res)
      req:on("end", function() client:destroy() end)
      req:resume()
    end)
    client = connect(port, GET)
    client:resume()
    eventually(function() return #order >= 3 end)
    await.sleep(20)
    assert.same({ "req end", "req close", "res close" }, order)
  end)

  it("errs on whoever listens when the connection is reset, and on nobody else", function()
    local heard, quiet = {}, {}
    local port = serve(function(req, res)
      res:write(LARGE)
      if req.url == "/quiet" then return recorder.watch(quiet, nil, nil), res:on("close", function() quiet[1] = "close" end) end
      recorder.watch(heard, req, res)
    end)
    for _, path in ipairs { "/quiet", "/heard" } do
      local client = connect(port, get(path))
      client:once("data", function() client:resetAndDestroy() end)
      client:resume()
    end
    eventually(function() return quiet[1] and #heard >= 4 end)
    local counts = recorder.counts(heard)
    assert.equal(1, counts["res close"])
    assert.equal(1, counts["req close"])
    assert.equal(1, counts["req error ECONNRESET"])
    assert.truthy(counts["res error ECONNRESET"] or counts["res error EPIPE"])
  end)

  it("pipes into a response whose client resets without an error of anybody's", function()
    local closed
    local port = serve(function(_, res)
      local source = stream.Readable:new { read = function(self) timers.setImmediate(function() self:push(("y"):rep(65536)) end) end }
      source:pipe(res)
      res:on("close", function() closed = true source:destroy() end)
    end)
    local client = connect(port, GET)
    client:once("data", function() client:resetAndDestroy() end)
    client:resume()
    eventually(function() return closed end)
  end)

  describe("by destroy", function()
    it("closes the connection: the request is aborted, each has one close", function()
      local port = serve(function(req, res)
        recorder.watch(order, req, res)
        res:destroy()
        res:destroy()
      end)
      assert.same({ "", "closed" }, { rawhttp.exchange(port, GET) })
      eventually(function() return #order >= 4 end)
      assert.same({ ["req aborted"] = 1, ["req error ECONNRESET"] = 1, ["req close"] = 1, ["res close"] = 1 }, recorder.counts(order))
    end)

    it("with an error harms nobody who does not listen, and tells who does", function()
      local port = serve(function(req, res)
        if req.url == "/heard" then recorder.watch(order, nil, res) end
        res:destroy("boo")
      end)
      rawhttp.exchange(port, GET)
      rawhttp.exchange(port, get("/heard"))
      eventually(function() return #order == 2 end)
      assert.same({ "res close", "res error boo" }, order)
    end)

    it("of its socket with an error goes to clientError, or to nobody", function()
      local port, server = serve(function(req) req.socket:destroy("boo") end)
      assert.same({ "", "closed" }, { rawhttp.exchange(port, GET) })
      server:on("clientError", function(err, socket) order[#order + 1] = tostring(err) .. " " .. tostring(socket.destroyed) end)
      rawhttp.exchange(port, GET)
      eventually(function() return order[1] end)
      assert.same({ "boo true" }, order)
    end)

    it("of a request that waits behind another leaves its response without finish", function()
      local first, answer
      local port = serve(function(req, res)
        if req.url == "/1" then first = res return end
        recorder.watch(order, nil, res)
        req:destroy()
        res:finish("two", function(err) answer = err.code end)
        timers.setTimeout(function() first:finish("one") end, 10)
      end)
      local text, how = rawhttp.exchange(port, get("/1") .. get("/2"))
      assert.equal("closed", how)
      assert.truthy(text:find("one$"))
      eventually(function() return order[1] and answer end)
      assert.same({ "res close" }, order)
      assert.equal("ERR_STREAM_DESTROYED", answer)
    end)

    it("by an upgrade waits for the answers before it, and gets the bytes behind it", function()
      local port, server = serve(function(req, res) timers.setTimeout(function() res:finish(req.url .. ".") end, 10) end)
      server:on("upgrade", function(req, socket, first)
        order[1] = req.url
        socket:write("HTTP/1.1 101 Switching Protocols\r\n\r\n" .. first)
        socket:on("data", function(data) socket:finish(data) end)
      end)
      local UPGRADE = "GET /3 HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
      local text = await(function(done)
        local client = connect(port, get("/1") .. get("/2") .. UPGRADE .. "GET is not HTTP here\r\n")
        local got = ""
        client:on("data", function(data)
          got = got .. data
          if data:find("101", 1, true) then client:write("bye") end
        end)
        client:on("end", function() done(got) end)
        client:resume()
      end)
      assert.truthy(text:find("/1%.HTTP/1.1 200 .*/2%.HTTP/1.1 101 Switching Protocols\r\n\r\nGET is not HTTP here\r\nbye$"))
      assert.same({ "/3" }, order)
    end)

    it("which a CONNECT without a listener gets, loses no answer before it either", function()
      local port = serve(function(_, res) timers.setTimeout(function() res:finish("one") end, 10) end)
      local text, how = rawhttp.exchange(port, get("/1") .. "CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n")
      assert.equal("closed", how)
      assert.truthy(text:find("^HTTP/1.1 200 OK\r\n.*one$"))
    end)

    it("loses no answer before it, however it was finished", function()
      local first
      local port = serve(function(req, res)
        if req.url == "/1" then first = res return end
        recorder.watch(order, nil, res)
        if req.url == "/2" then return res:destroy() end
      end)
      local text, how = await(function(done)
        await.spawn(function()
          eventually(function() return first end)
          first:finish(LARGE)
        end)
        done(rawhttp.exchange(port, get("/1") .. get("/2"), { timeout = 10000 }))
      end)
      assert.equal("closed", how)
      assert.same({ 200 }, rawhttp.statuses(text))
      assert.equal(#LARGE, #text:match("\r\n\r\n(x+)$"))
      eventually(function() return order[1] end)
      assert.same({ "res close" }, order)
    end)

    it("loses no answer that was finished before, when it is its turn already", function()
      local port = serve(function(req, res)
        if req.url == "/1" then return res:finish(LARGE) end
        res:destroy()
      end)
      local text, how = rawhttp.exchange(port, get("/1") .. get("/2"), { timeout = 10000 })
      assert.equal("closed", how)
      assert.equal(#LARGE, #text:match("\r\n\r\n(x+)$"))
    end)

    it("of the request behind a finished response sends that, and closes", function()
      local port = serve(function(req, res)
        recorder.watch(order, req, res)
        res:writeHead(413)
        res:finish("too large")
        req:destroy()
      end)
      local text, how = rawhttp.exchange(port, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
      assert.equal("closed", how)
      assert.truthy(text:find("^HTTP/1.1 413 .*too large$"))
      eventually(function() return #order >= 4 end)
      assert.same({ ["req aborted"] = 1, ["req close"] = 1, ["res finish"] = 1, ["res close"] = 1 }, recorder.counts(order))
    end)
  end)

  describe("whatever the program does to the connection next", function()
    local ways = {
      destroySoon = function(req) req.socket:destroySoon() end,
      destroy = function(req) req.socket:destroy() end,
      resDestroy = function(_, res) res:destroy() end,
      closeAllConnections = function(_, _, server) server:closeAllConnections() end,
      close = function(_, _, server) server:close() end,
    }
    for name, way in pairs(ways) do
      it("reaches the client: " .. name, function()
        local port, server
        port, server = serve(function(req, res)
          if req.url == "/1" then return res:finish("one") end
          recorder.watch(order, nil, res)
          res:finish("two")
          way(req, res, server)
        end)
        local text, how = rawhttp.exchange(port, get("/1") .. get("/2"))
        assert.equal("closed", how)
        assert.truthy(text:find("one.*two$"))
        eventually(function() return #order == 2 end)
        assert.same({ "res finish", "res close" }, order)
      end)
    end

    it("reaches the client: what a clientError listener writes, behind what was answered", function()
      local port, server = serve(function(_, res) res:finish("good") end)
      server:on("clientError", function(_, socket)
        socket:write("HTTP/1.1 400 Mine\r\n\r\n")
        socket:destroy()
      end)
      assert.truthy(rawhttp.exchange(port, GET .. "NO HTTP\r\n\r\n"):find("good" .. "HTTP/1.1 400 Mine\r\n\r\n", 1, true))
    end)
  end)

  it("tells what is written to the socket when it was written", function()
    local written
    local port = serve(function(req)
      local socket = req.socket
      assert.is_false(socket:write(LARGE, function(err) written = err or "written" end))
    end)
    local client = connect(port, GET)
    await.sleep(20)
    assert.is_nil(written)
    client:resume()
    eventually(function() return written end)
    assert.equal("written", written)
    client:destroy()
  end)

  it("has one finish and one close for each of many requests of one connection, whoever listens", function()
    local COUNT, done = 200, 0
    local port = serve(function(req, res)
      if done % 3 == 0 then recorder.watch(order, nil, res) end
      if done % 3 == 1 then recorder.watch(order, req, nil) end
      done = done + 1
      res:finish("x")
    end)
    local agent = http.Agent:new { keepAlive = true, maxSockets = 1 }
    for _ = 1, COUNT do
      await(function(callback) http.get({ port = port, host = "127.0.0.1", agent = agent }, callback) end):body()
    end
    agent:destroy()
    eventually(function() return #order == 2 * 67 + 2 * 67 end)
    assert.same({ ["res finish"] = 67, ["res close"] = 67, ["req end"] = 67, ["req close"] = 67 }, recorder.counts(order))
  end)
end)
