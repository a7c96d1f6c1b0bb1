local await = require("await")
local errors = require("errors")
local http = require("http")
local net = require("net")
local timers = require("timers")
local servers = require("spec.support.servers")

describe("http client", function()
  local listen, serve = servers.listen, servers.serve
  local agent

  before_each(function() agent = http.Agent:new { keepAlive = true } end)

  after_each(function()
    agent:destroy()
    servers.close()
  end)

  -- A server of raw bytes: `script(socket, text)` is called for what comes.
  local function raw(script)
    return listen(net.createServer(function(socket)
      socket:on("error", function() end)
      socket:on("data", function(text) script(socket, text) end)
    end))
  end

  -- Sends and waits: the response and its body, or nil and the error.
  local function ask(options, body)
    options.agent = options.agent == nil and agent or options.agent
    options.host = options.host or "127.0.0.1"
    return await(function(done)
      local request = http.request(options, function(response)
        local parts = {}
        response:on("data", function(chunk) parts[#parts + 1] = chunk end)
        response:on("end", function() done(response, table.concat(parts)) end)
        response:on("error", function(err) done(nil, err) end)
      end)
      request:on("error", function(err) done(nil, err) end)
      request:finish(body)
    end)
  end

  it("gets a URL", function()
    local port = serve(function(req, res)
      res:setHeader("X-Host", req.headers.host)
      res:finish(req.method .. " " .. req.url)
    end)
    local response, text = await(function(done)
      http.get(("http://127.0.0.1:%d/a?b=c#d"):format(port), { agent = agent }, function(response)
        response:on("data", function(chunk) done(response, chunk) end)
      end)
    end)
    assert.equal("GET /a?b=c", text)
    assert.equal(200, response.statusCode)
    assert.equal("OK", response.statusMessage)
    assert.equal("1.1", response.httpVersion)
    assert.equal("127.0.0.1:" .. port, response.headers["x-host"])
  end)

  it("sends a body of known length, and one in chunks", function()
    local port = serve(function(req, res)
      local body = req:body()
      res:finish(("%s %s %s"):format(body, req.headers["content-length"], req.headers["transfer-encoding"]))
    end)
    local _, text = ask({ port = port, method = "POST" }, "abc")
    assert.equal("abc 3 nil", text)
    _, text = await(function(done)
      local request = http.request({ host = "127.0.0.1", port = port, method = "PUT", agent = agent }, function(response)
        done(response, response:body())
      end)
      request:write("ab")
      request:finish("c")
    end)
    assert.equal("abc nil chunked", text)
    _, text = ask { port = port, method = "POST" }
    assert.equal(" 0 nil", text)
  end)

  it("uses a connection again, and none without keepAlive", function()
    local ports = {}
    local port = serve(function(req, res)
      ports[#ports + 1] = req.socket.remotePort
      res:finish("x")
    end)
    ask { port = port }
    local response = ask { port = port }
    assert.is_true(response.req.reusedSocket)
    assert.equal(ports[1], ports[2])
    response = ask { port = port, agent = false }
    assert.equal("close", response.headers.connection)
    assert.are_not.equal(ports[1], ports[3])
  end)

  it("makes no error of a request that goes well", function()
    local port = serve(function(_, res) res:finish("x") end)
    local traceback, made = debug.traceback, 0
    rawset(debug, "traceback", function(...)  -- what an error has looks at the stack
      made = made + 1
      return traceback(...)
    end)
    for _ = 1, 3 do
      await(function(done)
        http.get({ host = "127.0.0.1", port = port, agent = agent }, function(response) response:resume() end):on("close", done)
      end)
    end
    rawset(debug, "traceback", traceback)
    assert.equal(0, made)
  end)

  it("opens no more than maxSockets connections, and serves the rest in order", function()
    agent = http.Agent:new { keepAlive = true, maxSockets = 2 }
    local open, most, order = 0, 0, {}
    local port = serve(function(req, res)
      open = open + 1
      most = math.max(most, open)
      timers.setTimeout(function()
        open = open - 1
        order[#order + 1] = req.url
        res:finish("x")
      end, 2)
    end)
    local jobs = {}
    for i = 1, 8 do jobs[i] = function() return (ask { port = port, path = "/" .. i }) end end
    await.all(jobs)
    assert.equal(2, most)
    assert.equal(8, #order)
    for i, url in ipairs(order) do       -- of two that run at once either may be answered first
      assert.is_true(math.abs(i - tonumber(url:sub(2))) <= 1, table.concat(order, " "))
    end
  end)

  it("keeps no more than maxFreeSockets idle connections", function()
    agent = http.Agent:new { keepAlive = true, maxFreeSockets = 1 }
    local port = serve(function(_, res) timers.setTimeout(function() res:finish("x") end, 2) end)
    await.all { function() ask { port = port } end, function() ask { port = port } end }
    await.sleep(10)
    local name = agent:getName { host = "127.0.0.1", port = port }
    assert.equal(1, #agent.freeSockets[name])
    assert.is_nil(agent.sockets[name])
  end)

  it("sends a request again when its idle connection had died", function()
    local connections, seen = 0, {}
    local port = raw(function(socket, text)
      seen[#seen + 1] = text:match("^(%S+ %S+)")
      if socket.used then return socket:destroy() end
      socket.used = true
      connections = connections + 1
      socket:write("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
    end)
    assert.equal(200, ask { port = port, path = "/1" }.statusCode)
    local response = ask { port = port, path = "/2" }
    assert.equal(200, response.statusCode)
    assert.same({ "GET /1", "GET /2", "GET /2" }, seen)
    assert.equal(2, connections)
    local none, err = ask({ port = port, path = "/3", method = "POST" }, "abc")
    assert.is_nil(none)
    assert.equal("ECONNRESET", err.code)
  end)

  it("says socket hang up when the server closes without an answer", function()
    local port = raw(function(socket) socket:destroy() end)
    local none, err = ask { port = port }
    assert.is_nil(none)
    assert.equal("ECONNRESET", err.code)
    assert.equal("socket hang up", err.message)
  end)

  it("says who refused", function()
    local server = net.createServer()
    local port = listen(server)
    server:close()
    local none, err = ask { port = port }
    assert.is_nil(none)
    assert.equal("ECONNREFUSED", err.code)
    assert.equal("connect", err.syscall)
  end)

  it("refuses a response that is no HTTP", function()
    for _, bytes in ipairs { "hello\r\n\r\n", "HTTP/1.1 200 OK\nX: y\n\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n" } do
      local port = raw(function(socket) socket:write(bytes) end)
      local none, err = ask { port = port, agent = false }
      assert.is_nil(none)
      assert.truthy(err.code:find("^HPE_"))
    end
  end)

  it("tells a response that was cut short", function()
    local port = raw(function(socket) socket:finish("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc") end)
    local none, err = ask { port = port }
    assert.is_nil(none)
    assert.equal("ECONNRESET", err.code)
    assert.equal("aborted", err.message)
  end)

  it("reads bodies up to the connection's end, in chunks, and none", function()
    local answers = {
      { "HTTP/1.1 200 OK\r\n\r\nabc", "abc", true },
      { "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab", "ab" },
      { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nX-Sum: 1\r\n\r\n", "abc" },
      { "HTTP/1.1 204 No Content\r\n\r\n", "" },
      { "HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n", "" },
    }
    for _, answer in ipairs(answers) do
      local port = raw(function(socket)
        if answer[3] then socket:finish(answer[1]) else socket:write(answer[1]) end
      end)
      local response, text = ask { port = port }
      assert.equal(answer[2], text)
      if answer[1]:find("X%-Sum") then assert.same({ ["x-sum"] = "1" }, response.trailers) end
    end
    local port = raw(function(socket) socket:write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n") end)
    local response, text = ask { port = port, method = "HEAD" }
    assert.same({ 200, "" }, { response.statusCode, text })
  end)

  it("passes informational responses by", function()
    local port = serve(function(req, res)
      if req.url == "/hints" then res:writeEarlyHints { link = "</a.css>" } end
      res:finish("x")
    end)
    local seen = await(function(done)
      local list = {}
      local request = http.request({ host = "127.0.0.1", port = port, path = "/hints", agent = agent }, function(response)
        list[#list + 1] = response.statusCode
        response:resume()
        response:on("end", function() done(list) end)
      end)
      request:on("information", function(information)
        list[#list + 1] = information.statusCode
        list[#list + 1] = information.headers.link
      end)
      request:finish()
    end)
    assert.same({ 103, "</a.css>", 200 }, seen)
  end)

  it("waits with the body for 100 Continue", function()
    local port = serve(function(req, res) res:finish("got " .. req:body()) end)
    local text = await(function(done)
      local request = http.request({ host = "127.0.0.1", port = port, method = "POST", agent = agent,
        headers = { Expect = "100-continue", ["Content-Length"] = 3 } }, function(response) done(response:body()) end)
      request:on("continue", function() request:finish("abc") end)
      request:flushHeaders()
    end)
    assert.equal("got abc", text)
  end)

  it("hands the socket over on an upgrade and on CONNECT", function()
    local server = http.createServer()
    server:on("upgrade", function(_, socket, head)
      socket:write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nfirst")
      assert.equal("", head)
      socket:pipe(socket)
    end)
    server:on("connect", function(req, socket, head)
      assert.equal("there:1", req.url)
      assert.equal("", head)
      socket:write("HTTP/1.1 200 Connected\r\n\r\n")
      socket:pipe(socket)
    end)
    local port = listen(server)
    local function echo(options, event)
      options.host, options.port = "127.0.0.1", port
      return await(function(done)
        local request = http.request(options)
        request:on(event, function(response, socket, head)
          local text = head
          socket:on("data", function(chunk)
            text = text .. chunk
            if text:find("ping$") then
              socket:destroy()
              done(response.statusCode, text)
            end
          end)
          socket:write("ping")
        end)
        request:finish()
      end)
    end
    local status, text = echo({ headers = { Connection = "upgrade", Upgrade = "echo" } }, "upgrade")
    assert.same({ 101, "firstping" }, { status, text })
    status, text = echo({ method = "CONNECT", path = "there:1" }, "connect")
    assert.same({ 200, "ping" }, { status, text })
  end)

  it("speaks through a unix socket", function()
    local path = os.tmpname()
    os.remove(path)
    listen(http.createServer(function(req, res) res:finish(req.headers.host) end), path)
    local _, text = ask { socketPath = path }
    assert.truthy(text)
  end)

  it("times out without destroying", function()
    local port = serve(function(_, res) timers.setTimeout(function() res:finish("late") end, 150) end)
    local seen = await(function(done)
      local list = {}
      local request = http.get({ host = "127.0.0.1", port = port, timeout = 40, agent = agent }, function(response)
        list[#list + 1] = response:body()
        done(list)
      end)
      request:once("timeout", function() list[#list + 1] = "timeout" end)
    end)
    assert.same({ "timeout", "late" }, seen)
  end)

  it("is aborted by destroy and by a signal", function()
    local port = serve(function() end)
    local function outcome(act, options)
      return await(function(done)
        local request = http.request({ host = "127.0.0.1", port = port, agent = agent, signal = options and options.signal })
        local err
        request:on("error", function(thrown) err = thrown end)
        request:on("close", function() done(err) end)
        request:finish()
        timers.setTimeout(function() act(request) end, 5)
      end)
    end
    assert.equal("ECONNRESET", outcome(function(request) request:destroy() end).code)
    local own = errors.Error:new("enough")
    assert.equal(own, outcome(function(request) request:destroy(own) end))
    local controller = require("abort").AbortController:new()
    assert.equal("ABORT_ERR", outcome(function() controller:abort() end, { signal = controller.signal }).code)
  end)

  it("ends in Node's order", function()
    local port = serve(function(req, res)
      req:resume()
      res:finish("x")
    end)
    local function order(act)
      return await(function(done)
        local list = {}
        local request = http.request { host = "127.0.0.1", port = port, agent = agent, method = "POST" }
        local function note(emitter, prefix, names)
          for _, name in ipairs(names) do
            emitter:on(name, function()
              list[#list + 1] = prefix .. name
              if prefix .. name == "res.close" then done(list) end
            end)
          end
        end
        note(request, "", { "socket", "finish", "response", "close", "error" })
        request:on("response", function(response)
          note(response, "res.", { "aborted", "end", "close", "error" })
          act(request, response)
        end)
        request:finish("body")
      end)
    end
    assert.same({ "socket", "finish", "response", "res.end", "close", "res.close" },
      order(function(_, response) response:resume() end))
    assert.same({ "socket", "finish", "response", "res.aborted", "close", "res.error", "res.close" },
      order(function(request) request:destroy() end))
  end)

  it("sends the head of Expect by itself, and no coding with a flushed GET", function()
    local port = serve(function(req, res) res:finish(tostring(req.headers["transfer-encoding"]) .. req:body()) end)
    local expecting = await(function(done)
      local request = http.request { host = "127.0.0.1", port = port, agent = agent, method = "POST", headers = { Expect = "100-continue" } }
      request:once("continue", function() request:finish("body") end)
      request:once("response", function(response) done(response:body()) end)
    end)
    assert.equal("chunkedbody", expecting)
    local flushed = await(function(done)
      local request = http.request { host = "127.0.0.1", port = port, agent = agent }
      request:once("response", function(response) done(response:body()) end)
      request:flushHeaders()
      local ok, err = pcall(request.write, request, "x")
      assert.same({ false, "ERR_HTTP_BODY_NOT_ALLOWED" }, { ok, err.code })
    end)
    assert.equal("nil", flushed)
  end)

  it("refuses more headers than maxHeadersCount", function()
    local port = serve(function(_, res)
      for i = 1, 30 do res:setHeader("x-" .. i, i) end
      res:finish()
    end)
    local err = await(function(done)
      local request = http.get { host = "127.0.0.1", port = port, agent = agent }
      request.maxHeadersCount = 20
      request:on("error", done)
    end)
    assert.equal("HPE_HEADER_OVERFLOW", err.code)
    assert.truthy((ask { port = port }))
  end)

  it("takes a URL of the module url, and options beside it", function()
    local URL = require("url").URL
    local port = serve(function(req, res) res:finish(req.method .. " " .. req.url .. " " .. (req.headers.authorization or "none")) end)
    local url = URL:new(("http://us%%40er:pass@127.0.0.1:%d/a b?c=d#e"):format(port))
    local response = await(function(done) http.get(url, { agent = agent }, done) end)
    assert.equal("GET /a%20b?c=d Basic " .. require("base64").encode("us@er:pass"), response:body())
    response = await(function(done)
      http.request(URL:new("http://127.0.0.1:1/x"), { port = port, method = "PUT", agent = agent }, done):finish()
    end)
    assert.equal("PUT /x none", response:body())
    assert.equal("ERR_INVALID_PROTOCOL", select(2, pcall(http.get, URL:new("ftp://x/"))).code)
  end)

  it("throws for wrong arguments before anything is sent", function()
    local function code(...)
      local ok, err = pcall(http.request, ...)
      assert.is_false(ok)
      return err.code
    end
    assert.equal("ERR_INVALID_URL", code("nonsense"))
    assert.equal("ERR_INVALID_URL", code("http://x:99999/"))
    assert.equal("ERR_INVALID_URL", code("http://x y/"))
    assert.equal("ERR_INVALID_PROTOCOL", code("https://x/"))
    assert.equal("ERR_INVALID_ARG_TYPE", code(nil))
    assert.equal("ERR_INVALID_HTTP_TOKEN", code { method = "GE T" })
    assert.equal("ERR_INVALID_ARG_TYPE", code { method = 5 })
    assert.equal("ERR_UNESCAPED_CHARACTERS", code { path = "/a b" })
    assert.equal("ERR_UNESCAPED_CHARACTERS", code { path = "/a\r\nX: y" })
    assert.equal("ERR_INVALID_CHAR", code { headers = { X = "a\r\nb" } })
    assert.equal("ERR_INVALID_HTTP_TOKEN", code { headers = { ["X Y"] = "a" } })
    assert.equal("ERR_INVALID_ARG_TYPE", code { agent = 5 })
    assert.equal("ERR_SOCKET_BAD_PORT", code { port = 70000 })
    for _, name in ipairs { "host", "hostname", "socketPath", "auth", "localAddress", "createConnection", "lookup", "setHost",
      "maxHeaderSize", "timeout", "headers", "signal" } do
      local number = name == "maxHeaderSize" or name == "timeout"
      local ok, err = pcall(http.request, { [name] = number and "x" or 5 })
      assert.same({ false, "ERR_INVALID_ARG_TYPE" }, { ok, err.code })
      assert.truthy(err.message:find(name, 1, true))
    end
    local request = http.request { host = "127.0.0.1", port = 1, agent = false }
    request:on("error", function() end)
    request.path = "/\r\nX: y"
    assert.equal("ERR_UNESCAPED_CHARACTERS", select(2, pcall(request.finish, request)).code)
    request.path, request.method = "/", "GET / HTTP/1.1\r\nX:"
    assert.equal("ERR_INVALID_HTTP_TOKEN", select(2, pcall(request.finish, request)).code)
    request:destroy()
  end)

  it("reads a large response no faster than its reader", function()
    local chunk, sent = ("x"):rep(65536), 0
    local port = serve(function(_, res)
      local function more()
        while sent < 400 do
          sent = sent + 1
          if not res:write(chunk) then return res:once("drain", more) end
        end
        res:finish()
      end
      more()
    end)
    local size, stalled = await(function(done)
      http.get({ host = "127.0.0.1", port = port, agent = agent }, function(response)
        local total, before = 0, 0
        response:once("data", function(first)
          total = #first
          response:pause()
          timers.setTimeout(function()
            before = sent
            response:on("data", function(more) total = total + #more end)
            response:on("end", function() done(total, before) end)
            response:resume()
          end, 50)
        end)
      end)
    end)
    assert.equal(400 * 65536, size)
    assert.is_true(stalled < 400)
  end)
end)
