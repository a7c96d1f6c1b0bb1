local await = require("await")
local child_process = require("child_process")
local fs = require("fs")
local net = require("net")
local stream = require("stream")
local timers = require("timers")
local children = require("spec.support.children")
local rawhttp = require("spec.support.rawhttp")
local recorder = require("spec.support.recorder")
local servers = require("spec.support.servers")

-- What becomes of a request's body, and of a client that asks before it sends one.
describe("the body of a request", function()
  local serve, eventually = servers.serve, children.eventually
  local order, client

  before_each(function() order = {} end)
  after_each(function()
    if client then client:destroy() end
    client = nil
    servers.close()
  end)

  local function head(start, ...) return table.concat({ start .. " HTTP/1.1", "Host: x", ... }, "\r\n") .. "\r\n\r\n" end
  local function get(path) return head("GET " .. path) end

  -- A client that sends bytes; `got` is what came back.
  local function connect(port)
    local each = net.connect { port = port, host = "127.0.0.1", allowHalfOpen = true }
    each.got = ""
    each:on("error", function() end)
    each:on("data", function(data) each.got = each.got .. data end)
    each:on("close", function() each.gone = true end)
    each:on("end", function() each.gone = true end)
    client = each
    return each
  end

  local function receives(pattern)
    eventually(function() return client.got:find(pattern) or client.gone end)
    assert.truthy(client.got:find(pattern), client.got)
  end

  it("is delivered to whoever reads it, after the response was finished, and the connection goes on", function()
    local port = serve(function(req, res)
      if req.url == "/next" then return res:finish("next") end
      recorder.watch(order, req, res)
      req:on("data", function(data) order[#order + 1] = data end)
      res:finish("accepted")
    end)
    connect(port):write(head("POST /", "Content-Length: 10") .. "hello")
    receives("accepted$")
    client:write("world" .. get("/next"))
    receives("next$")
    assert.same({ "hello", "res finish", "res close", "world", "req end", "req close" }, order)
  end)

  it("is delivered, too, when the response said that it is the last", function()
    local body
    local port = serve(function(req, res)
      res:setHeader("Connection", "close")
      res:finish("accepted")
      body = req:body()
    end)
    connect(port):write(head("POST /", "Content-Length: 10") .. "hello")
    receives("accepted$")
    client:write("world")
    eventually(function() return body end)
    assert.equal("helloworld", body)
  end)

  it("is returned by body() after the response, all of it, the rest of it, or none", function()
    local bodies = {}
    local port = serve(function(req, res)
      res:finish("accepted " .. req.url)
      bodies[#bodies + 1] = req:body()
    end)
    connect(port):write(head("POST /late", "Transfer-Encoding: chunked") .. "5\r\nhello\r\n")
    receives("accepted /late$")
    client:write("5\r\nworld\r\n0\r\n\r\n" .. head("POST /whole", "Content-Length: 5") .. "there" .. get("/none"))
    receives("accepted /none$")
    eventually(function() return #bodies == 3 end)
    assert.same({ "helloworld", "there", "" }, bodies)
  end)

  it("is whole for body(), whoever begins to listen meanwhile", function()
    local joins = {
      function(req) req:on("data", function(data) order[#order + 1] = data end) end,
      function(req) req:pipe(stream.PassThrough:new()):on("data", function(data) order[#order + 1] = data end) end,
      function(req) order[#order + 1] = req:body() end,
      function(req) recorder.watch(order, req, nil) end,
      function(req, res) res:finish("early") end,
      function(req) order[#order + 1] = tostring(req.readableFlowing) end,
    }
    local expected = { { "world" }, { "world" }, { "world" }, { "req end", "req close" }, {}, { "true" } }
    for i, join in ipairs(joins) do
      order = {}
      local got, begun
      local port = serve(function(req, res)
        begun = function() join(req, res) end
        got = req:body()
        if not res.writableEnded then res:finish("ok") end
      end)
      connect(port):write(head("POST /", "Transfer-Encoding: chunked") .. "5\r\nhello\r\n")
      eventually(function() return begun end)
      await.spawn(begun)
      client:write("5\r\nworld\r\n0\r\nX-Trailer: t\r\n\r\n")
      eventually(function() return got and #order == #expected[i] end)
      assert.equal("helloworld", got)
      assert.same(expected[i], order)
      client:destroy()
    end
  end)

  it("gives body() its limit, the client's end, and listeners that come afterwards the close", function()
    local results = {}
    local port = serve(function(req, res)
      if req.url == "/close" then
        req:body()
        req:on("close", function() results[#results + 1] = "close" end)
        return res:finish("ok")
      end
      local ok, err = pcall(req.body, req, 8)
      results[#results + 1] = ok and "whole" or err.code
      res:finish("got")
    end)
    connect(port):write(head("POST /", "Content-Length: 10") .. "0123456789" .. head("POST /", "Content-Length: 8") .. "01234567")
    receives("gotHTTP.*got$")
    client:write(head("POST /", "Content-Length: 8") .. "0123")
    await.sleep(10)
    client:destroy()
    eventually(function() return #results == 3 end)
    rawhttp.exchange(port, head("POST /close", "Content-Length: 1", "Connection: close") .. "x")
    eventually(function() return #results == 4 end)
    assert.same({ "ERR_HTTP_BODY_TOO_LARGE", "whole", "ECONNRESET", "close" }, results)
  end)

  it("goes through pipe and pipeline after the response", function()
    local path = os.tmpname()
    local results = {}
    local port = serve(function(req, res)
      res:finish("accepted")
      stream.pipeline(req, fs.createWriteStream(path), function(err) results[#results + 1] = err or "done" end)
    end)
    connect(port):write(head("POST /", "Content-Length: 200000") .. ("x"):rep(100000))
    receives("accepted$")
    client:write(("y"):rep(100000))
    eventually(function() return results[1] end)
    assert.same({ "done" }, results)
    assert.equal(("x"):rep(100000) .. ("y"):rep(100000), fs.readFileSync(path))
    os.remove(path)
  end)

  it("ends and closes, thrown away, for those who listen but do not read", function()
    local port = serve(function(req, res)
      if req.url == "/next" then return res:finish("next") end
      recorder.watch(order, req, nil)
      timers.setTimeout(function() res:finish("late") end, 5)
    end)
    connect(port):write(head("POST /", "Content-Length: 100000") .. ("z"):rep(50000))
    receives("late$")
    assert.same({}, order)
    client:write(("z"):rep(50000) .. get("/next"))
    receives("next$")
    assert.same({ "req end", "req close" }, order)
  end)

  it("that nobody reads hangs no connection, however large", function()
    local port, server = serve(function(req, res)
      await.sleep(5)
      res:finish("answer " .. req.url)
    end)
    for _, size in ipairs { 5, 16 * 1024, 40000, 300000 } do
      connect(port):write(head("POST /" .. size, "Content-Length: " .. size) .. ("z"):rep(size) .. get("/next"))
      receives("answer /" .. size .. "HTTP.*answer /next$")
      client:destroy()
    end
    connect(port):write(head("POST /gone", "Content-Length: 40000") .. ("z"):rep(40000))
    receives("answer /gone$")
    client:destroy()
    await(function(done) server:close(done) end)       -- the client's end was seen
  end)

  it("that still comes behind the last response does not hold a connection for ever, where no limit is set", function()
    local none = { headersTimeout = 0, requestTimeout = 0, keepAliveTimeout = 0 }
    local port, server = serve(none, function(_, res)
      res:setHeader("Connection", "close")
      res:finish("bye")
    end)
    connect(port):write(head("POST /", "Content-Length: 100") .. "part")
    receives("bye$")
    eventually(function() return server.group:count() == 0 end)       -- the client keeps its end open
  end)

  it("that a handler paused and never read is thrown away; one that it began to read waits for it", function()
    local kept
    local port = serve(function(req, res)
      if req.url == "/paused" then req:pause() end
      if req.url == "/begun" then
        req:once("data", function() req:pause() end)
        kept = req
      end
      await.sleep(10)
      res:finish("answer " .. req.url)
    end)
    connect(port):write(head("POST /paused", "Content-Length: 40000") .. ("z"):rep(40000) .. get("/next"))
    receives("answer /next$")
    client:write(head("POST /begun", "Content-Length: 200000") .. ("z"):rep(200000) .. get("/last"))
    receives("answer /begun$")
    await.sleep(20)
    assert.is_nil(client.got:find("/last$"))
    kept:resume()
    receives("answer /last$")
  end)

  it("is aborted when the client leaves in its middle, once, with the response's close", function()
    local port = serve(function(req, res)
      recorder.watch(order, req, res)
      req:resume()
    end)
    connect(port):write(head("POST /", "Content-Length: 10") .. "hello")
    await.sleep(20)
    client:destroy()
    eventually(function() return #order >= 4 end)
    assert.same({ ["req aborted"] = 1, ["req error ECONNRESET"] = 1, ["req close"] = 1, ["res close"] = 1 }, recorder.counts(order))
  end)

  it("closes its request right after its end, as in Node, though the response comes later", function()
    local port = serve(function(req, res)
      recorder.watch(order, req, res)
      req:on("end", function() timers.setTimeout(function() res:finish("x") end, 5) end)
      req:resume()
    end)
    connect(port):write(head("POST /", "Content-Length: 5") .. "hello")
    receives("x$")
    eventually(function() return #order == 4 end)
    assert.same({ "req end", "req close", "res finish", "res close" }, order)
  end)

  describe("that waits for 100 Continue", function()
    local EXPECT = { "Expect: 100-continue", "Content-Length: 2" }

    it("keeps the connection when it was let come, and closes it when it was refused", function()
      local port, server = serve(function(req, res) res:finish(req.url) end)
      server:on("checkContinue", function(req, res)
        if req.url == "/welcome" then
          res:writeContinue()
          return res:finish("got " .. req:body())
        end
        res:writeHead(417)
        res:finish()
      end)
      connect(port):write(head("POST /welcome", unpack(EXPECT)))
      receives("^HTTP/1.1 100 Continue\r\n\r\n$")
      client:write("hi")
      receives("got hi$")
      client:write(get("/next"))
      receives("/next$")
      client:write(head("POST /refused", unpack(EXPECT)))
      receives("/nextHTTP/1.1 417 .*Connection: close\r\n.*\r\n$")
      eventually(function() return client.gone end)
      assert.is_true(client.gone)
    end)

    it("keeps the connection when the body came without a word", function()
      local port, server = serve(function(req, res) res:finish(req.url) end)
      server:on("checkContinue", function(req, res) res:finish("got " .. req:body()) end)
      connect(port):write(head("POST /", unpack(EXPECT)) .. "hi" .. get("/next"))
      receives("got hiHTTP.*/next$")
      assert.is_nil(client.got:find("Connection: close", 1, true))
    end)

    it("closes the connection for an expectation that is not met, unless there is no body", function()
      local port = serve(function(req, res) res:finish(req.url) end)
      connect(port):write(head("GET /", "Expect: the moon") .. get("/next"))
      receives("^HTTP/1.1 417 .*/next$")
      client:destroy()
      connect(port):write(head("POST /", "Expect: the moon", "Content-Length: 2"))
      receives("^HTTP/1.1 417 .*Connection: close\r\n")
      eventually(function() return client.gone end)
    end)

    it("is not heard of from a client of HTTP/1.0", function()
      local port, server = serve(function(req, res) res:finish("got " .. req:body()) end)
      local REQUEST = "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi"
      assert.truthy(rawhttp.exchange(port, REQUEST):find("^HTTP/1.1 200 OK\r\n.*\r\n\r\ngot hi$"))
      server:on("checkContinue", error)
      server:on("checkExpectation", error)
      assert.truthy(rawhttp.exchange(port, REQUEST):find("^HTTP/1.1 200 OK\r\n.*\r\n\r\ngot hi$"))
      assert.truthy(rawhttp.exchange(port, (REQUEST:gsub("100%-continue", "more"))):find("got hi$"))
    end)
  end)
end)

describe("a handler that fails", function()
  local SERVER = [[
    local http = require("http")
    local function deeper() return deeper() + 1 end
    local memory = {}
    local server = http.createServer(function(req, res)
      if req.url == "/deep" then deeper() end
      if req.url == "/memory" then error(setmetatable({}, { __tostring = function() error("no text") end })) end
      if req.url == "/late" then res:write("begun") error("too late") end
      res:finish("alive")
    end)
    server:on("checkContinue", function() error("in checkContinue") end)
    server:on("checkExpectation", function() error("in checkExpectation") end)
    server:listen(0, "127.0.0.1", function() print(server:address().port) end)
  ]]
  local child, port, printed

  setup(function()
    child = child_process.spawn(process.execPath, { "-e", SERVER }, { stdio = { "ignore", "pipe", "pipe" } })
    printed = ""
    child.stderr:on("data", function(data) printed = printed .. data end)
    port = tonumber((children.once(child.stdout, "data")))
  end)

  teardown(function()
    child:kill("SIGKILL")
    children.once(child, "exit")
  end)

  local function ask(path, ...)
    local lines = { "GET " .. path .. " HTTP/1.1", "Host: x", "Connection: close", ... }
    return (rawhttp.exchange(port, table.concat(lines, "\r\n") .. "\r\n\r\n"))
  end

  local cases = {
    { "overflows the stack", "stack overflow", "/deep" },
    { "throws what cannot be shown", "", "/memory" },
    { "listens to checkContinue", "in checkContinue", "/", "Expect: 100-continue", "Content-Length: 2" },
    { "listens to checkExpectation", "in checkExpectation", "/", "Expect: more", "Content-Length: 2" },
  }
  for _, case in ipairs(cases) do
    it("costs its response, printed, and nothing else: one that " .. case[1], function()
      assert.truthy(ask(unpack(case, 3)):find("^HTTP/1.1 500 Internal Server Error\r\n"))
      assert.truthy(ask("/next"):find("alive$"))
      children.eventually(function() return printed:find(case[2], 1, true) end)
    end)
  end

  it("after its head was sent closes the connection", function()
    assert.is_nil(ask("/late"):find("0\r\n\r\n", 1, true))
    assert.truthy(ask("/next"):find("alive$"))
  end)
end)
