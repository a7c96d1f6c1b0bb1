local await = require("await")
local http = require("http")
local net = require("net")
local timers = require("timers")
local children = require("spec.support.children")
local servers = require("spec.support.servers")

-- A client's connection on which the server says what nobody asked for, or says it early.
describe("an http client's connection", function()
  local eventually = children.eventually
  local agent, connections, closed

  before_each(function() agent, connections, closed = http.Agent:new { keepAlive = true }, 0, 0 end)
  after_each(function()
    agent:destroy()
    servers.close()
  end)

  -- A server of raw bytes: `script(socket, text, number of the connection)`.
  local function raw(script)
    return servers.listen(net.createServer(function(socket)
      connections = connections + 1
      local number = connections
      socket:on("error", function() end)
      socket:on("close", function() closed = closed + 1 end)
      socket:on("data", function(text) script(socket, text, number) end)
    end))
  end

  local function reply(body, status) return ("HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s"):format(status or "200 OK", #body, body) end

  -- The response, its body and the errors that the request and the response had.
  local function get(port, path, options)
    local errs = {}
    options = options or {}
    options.port, options.host, options.path, options.agent = port, "127.0.0.1", path, options.agent or agent
    local request = http.request(options)
    request:on("error", function(err) errs[#errs + 1] = err.code end)
    local response = await(function(done)
      request:once("response", function(response) done(response) end)
      request:once("error", function() done(nil) end)
      request:finish()
    end)
    return response, response and response:body(), errs, request
  end

  it("gives a second response to nobody, whether it comes at once or while the connection is idle", function()
    for _, late in ipairs { false, true } do
      connections, closed = 0, 0
      local port = raw(function(socket, text, number)
        if not text:find("^GET /1 ") then return socket:write(reply("true " .. number)) end
        socket:write(reply("first") .. (late and "" or reply("EVIL")))
        if late then timers.setTimeout(function() socket:write(reply("EVIL")) end, 10) end
      end)
      local _, body = get(port, "/1")
      assert.equal("first", body)
      if late then eventually(function() return closed == 1 end) end
      _, body = get(port, "/2")
      assert.equal("true 2", body)
      assert.equal(2, connections)
    end
  end)

  it("is not used again when half a head came unasked, also by a request that waits for it", function()
    local single = http.Agent:new { keepAlive = true, maxSockets = 1 }
    local port = raw(function(socket, text)
      if text:find("^GET /1 ") then socket:write(reply("ok") .. "HTTP/1.1 200 OK\r\nX: ")
      else socket:write(reply("good", "201 Created")) end
    end)
    local first, second
    await.spawn(function() first = { get(port, "/1", { agent = single }) } end)
    await.spawn(function() second = { get(port, "/2", { agent = single }) } end)
    eventually(function() return first and second end)
    assert.equal("ok", first[2])
    assert.equal(201, second[1].statusCode)
    assert.is_nil(second[1].headers.x)
    assert.equal("good", second[2])
    assert.same({}, second[3])
    single:destroy()
  end)

  it("errs once for bytes behind a response that are none; the response was delivered", function()
    for _, method in ipairs { "GET", "HEAD" } do
      local sent = method == "GET" and "hello" or ""
      local port = raw(function(socket) socket:write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" .. sent .. "junk") end)
      local _, body, errs, request = get(port, "/", { method = method })
      eventually(function() return request.closed end)
      assert.equal(sent, body)
      assert.same({ "HPE_INVALID_CONSTANT" }, errs)
      assert.is_nil(next(agent.freeSockets))
    end
  end)

  it("is closed, without an error for anybody, when junk comes while it is idle", function()
    local peer
    local port = raw(function(socket) peer = socket socket:write(reply("ok")) end)
    local _, _, errs = get(port, "/")
    eventually(function() return next(agent.freeSockets) end)
    peer:write("junk")
    eventually(function() return not next(agent.freeSockets) end)
    assert.same({}, errs)
    assert.equal("ok", select(2, get(port, "/")))
    assert.equal(2, connections)
  end)

  describe("with a response that ends before its request", function()
    -- A server that answers the first bytes at once and tells all that it got.
    local function early(answer)
      local got = { text = "" }
      local port = raw(function(socket, text)
        if got.text == "" then socket:write(answer) end
        got.text = got.text .. text
        got.socket = socket
      end)
      return port, got
    end

    local function post(port, headers)
      local order = {}
      local request = http.request { port = port, host = "127.0.0.1", agent = agent, method = "POST", headers = headers }
      for _, name in ipairs { "finish", "close", "error" } do request:on(name, function() order[#order + 1] = name end) end
      request:write("abc")
      local response = await(function(done) request:once("response", done) end)
      return request, response, order
    end

    it("goes on with the upload, then goes back to the agent", function()
      local port, got = early(reply("ok"))
      local request, response, order = post(port, { ["Content-Length"] = 6 })
      assert.equal("ok", response:body())
      assert.is_nil(next(agent.freeSockets))
      assert.same({}, order)
      local answer = await(function(done) request:finish("def", function(...) done(select("#", ...)) end) end)
      assert.equal(0, answer)
      eventually(function() return got.text:find("\r\n\r\nabcdef$") and next(agent.freeSockets) and request.closed end)
      assert.same({ "finish", "close" }, order)
    end)

    it("goes on with the upload, then ends, when the response says close", function()
      local port, got = early("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
      local request, response, order = post(port, { ["Content-Length"] = 6 })
      assert.equal("ok", response:body())
      request:finish("def")
      eventually(function() return request.closed end)
      eventually(function() return got.text:find("\r\n\r\nabcdef$") end)
      assert.same({ "finish", "close" }, order)
      assert.is_nil(next(agent.freeSockets))
    end)

    it("closes without an error when the server closes meanwhile, and answers who waits", function()
      local port, got = early(reply("ok"))
      local request, response, order = post(port, { ["Content-Length"] = 2 ^ 30 })
      assert.equal("ok", response:body())
      local answer
      request:finish(("x"):rep(32 * 1024 * 1024), function(err) answer = err end)
      got.socket:destroy()
      eventually(function() return request.closed end)
      eventually(function() return answer end)
      assert.equal("ECONNRESET", answer.code)
      assert.same({ "close" }, order)
    end)
  end)

  it("ends its request with the error that its socket was destroyed with", function()
    local port = raw(function() end)
    local errs = {}
    local request = http.get { port = port, host = "127.0.0.1", agent = agent }
    request:on("error", function(err) errs[#errs + 1] = err end)
    request:once("socket", function(socket) timers.setTimeout(function() socket:destroy("boo") end, 10) end)
    eventually(function() return request.closed end)
    assert.same({ "boo" }, errs)
  end)

  it("answers the callback of finish when no connection could be made", function()
    local answers, err = {}, nil
    local request = http.request { host = "127.0.0.1", port = 1, method = "POST", agent = agent }
    request:on("error", function(each) err = each.code end)
    request:finish("x", function(each) answers[#answers + 1] = each and each.code or "none" end)
    eventually(function() return request.closed and answers[1] end)
    assert.equal("ECONNREFUSED", err)
    assert.same({ "ECONNRESET" }, answers)
  end)
end)
