local child_process = require("child_process")
local fs = require("fs")
local http = require("http")
local net = require("net")
local timers = require("timers")
local uv = require("luv")
local sockets = require("lrun.core.sockets")
local children = require("spec.support.children")
local files = require("spec.support.files")

-- What a cluster's lane brings: the descriptor of a socket that another process has accepted, often with the request in it.
describe("a connection that comes as a descriptor", function()
  local GET = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
  local LAST = "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
  local server, listener, client, text, ended

  -- A client that has sent `bytes`; the descriptor of the other end.
  local function connect(bytes, path)
    text, ended = {}, false
    listener = path and uv.new_pipe(false) or uv.new_tcp()
    if path then assert(listener:bind(path)) else assert(listener:bind("127.0.0.1", 0)) end
    local fd
    assert(listener:listen(1, function()
      local accepted = path and uv.new_pipe(false) or uv.new_tcp()
      assert(listener:accept(accepted))
      fd = sockets.duplicate(accepted:fileno())
      accepted:close()
    end))
    client = path and uv.new_pipe(false) or uv.new_tcp()
    local function onConnect(err)
      assert(not err, err)
      client:read_start(function(failed, data)
        if data then text[#text + 1] = data else ended = failed or "end" end
      end)
      if bytes then client:write(bytes) end
    end
    if path then client:connect(path, onConnect) else client:connect("127.0.0.1", listener:getsockname().port, onConnect) end
    children.eventually(function() return fd and (not bytes or client:get_write_queue_size() == 0) end)
    return fd
  end

  local function serve(handler)
    server = http.createServer(handler)
    return server
  end

  -- Whether there are handles beside the two ends of this file, and the server's timer.
  local function streams()
    local count = 0
    uv.walk(function(handle)
      if not handle:is_closing() and (handle:get_type() == "tcp" or handle:get_type() == "pipe") then count = count + 1 end
    end)
    return count
  end

  local function answer() return table.concat(text) end
  local function ends() children.eventually(function() return ended end) end

  after_each(function()
    for _, handle in ipairs { listener, client } do if not handle:is_closing() then handle:close() end end
    server:closeAllConnections()
    children.eventually(function() return server._connections == 0 end)
  end)

  it("is answered and closed without a handle, when the request is there and says that it is the last", function()
    local fd, inside = connect(LAST), nil
    local order = {}
    serve(function(req, res)
      inside = streams()
      res:on("close", function() order[#order + 1] = "close" end)
      res:finish(req.url)
      order[#order + 1] = "returned"
    end)
    local before = streams()
    assert.is_true(server:_onDescriptor(fd))
    ends()
    assert.equal(before, inside)
    assert.equal("end", ended)
    assert.is_truthy(answer():find("^HTTP/1.1 200 OK\r\n.*\r\n\r\n/x$"))
    assert.same({ "returned", "close" }, order)
    assert.equal(0, server._connections)
  end)

  it("gets its answer although the client has sent more than anybody reads", function()
    local fd = connect(LAST .. ("x"):rep(200 * 1024))
    serve(function(_, res) res:finish("whole") end)
    server:_onDescriptor(fd)
    ends()
    assert.is_truthy(answer():find("\r\n\r\nwhole$"))
  end)

  it("is watched when there is no request yet, and when another may come", function()
    local fd = connect()
    serve(function(req, res) res:finish(req.url) end)
    server:_onDescriptor(fd)
    client:write(GET)
    children.eventually(function() return answer():find("/x$") end)
    client:write((LAST:gsub("/x", "/y")))
    ends()
    assert.is_truthy(answer():find("/y$"))
  end)

  it("is closed when its client says nothing, or goes without a word", function()
    local fd = connect()
    serve(function() end)
    server.headersTimeout = 50
    server:_onDescriptor(fd)
    ends()
    assert.is_truthy(answer():find("^HTTP/1.1 408 "))

    client:close()
    listener:close()
    fd = connect()
    server.headersTimeout = 60000
    server:_onDescriptor(fd)
    client:close()
    children.eventually(function() return server._connections == 0 end)
  end)

  it("is closed by a server that closes all, although its request is there", function()
    local served, all = 0, {}
    serve(function(_, res)
      served = served + 1
      server:closeAllConnections()
      res:finish("x")
    end)
    for i = 1, 8 do
      local fd = connect()
      server:_onDescriptor(fd)
      all[i] = { client, listener }
    end
    for _, pair in ipairs(all) do pair[1]:write(LAST) end
    local busy = uv.hrtime() + 2e7                 -- all of them are ready when the loop looks
    while uv.hrtime() < busy do end
    children.eventually(function() return server._connections == 0 end)
    assert.equal(1, served)
    for i = 1, 7 do
      for _, handle in ipairs(all[i]) do handle:close() end
    end
  end)

  it("keeps the process while it is expected to speak", function()
    local program = [[
      local http, uv, sockets = require("http"), require("luv"), require("lrun.core.sockets")
      local server = http.createServer(function(_, res) res:finish("x") end)
      local listener, client = uv.new_tcp(), uv.new_tcp()
      assert(listener:bind("127.0.0.1", 0))
      listener:listen(1, function()
        local accepted = uv.new_tcp()
        listener:accept(accepted)
        server:_onDescriptor(sockets.duplicate(accepted:fileno()))
        accepted:close()
        listener:close()
        client:close()
      end)
      client:connect("127.0.0.1", listener:getsockname().port)
      server:on("close", function() end)
      process:on("exit", function() print(server._connections) end)
    ]]
    assert.equal("0\n", child_process.execFileSync(process.execPath, { "-e", program }))
  end)

  it("is answered later, and as much as no socket takes at once", function()
    local large = ("x"):rep(16 * 1024 * 1024)
    local fd = connect(LAST)
    serve(function(_, res) timers.setImmediate(function() res:finish(large) end) end)
    server:_onDescriptor(fd)
    ends()
    assert.equal("end", ended)
    assert.equal(#large, #answer():match("\r\n\r\n(.*)"))

    client:close()
    listener:close()
    fd = connect(LAST)
    server:removeAllListeners("request")
    server:on("request", function(_, res) res:finish(large) end)
    server:_onDescriptor(fd)
    ends()
    assert.equal(#large, #answer():match("\r\n\r\n(.*)"))
  end)

  it("tells addresses, and who it was once it is closed as one that came as a handle does", function()
    local port, req
    local fd = connect(LAST)
    serve(function(request, res)
      req = request
      port = request.socket.remotePort
      res:finish("x")
    end)
    server:_onDescriptor(fd)
    ends()
    assert.equal(client:getsockname().port, port)
    assert.equal(port, req.socket.remotePort)

    client:close()
    listener:close()
    fd = connect(LAST)
    server:removeAllListeners("request")
    server:on("request", function(request, res)
      req = request
      res:finish("x")
    end)
    server:_onDescriptor(fd)
    ends()
    assert.is_nil(req.socket.remotePort)         -- nobody had asked while it was open
    assert.is_true(req.socket.destroyed)
  end)

  it("goes to an upgrade's listener, with what came behind the head", function()
    local fd = connect("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nfirst")
    serve():on("upgrade", function(_, socket, head)
      socket:write(head)
      socket:pipe(socket)
    end)
    server:_onDescriptor(fd)
    children.eventually(function() return answer() == "first" end)
    client:write("second")
    children.eventually(function() return answer() == "firstsecond" end)
    client:shutdown()
    ends()
  end)

  it("is destroyed, also with a reset", function()
    local fd = connect(LAST)
    serve(function(req) req.socket:resetAndDestroy() end)
    server:_onDescriptor(fd)
    ends()
    assert.equal("ECONNRESET", ended)

    client:close()
    listener:close()
    fd = connect(LAST)
    server:removeAllListeners("request")
    server:on("request", function(_, res) res:destroy() end)
    server:_onDescriptor(fd)
    ends()
    assert.equal("", answer())
  end)

  it("may be a unix socket", function()
    local directory, path = files.directory()
    local fd = connect(GET, path("s"))
    serve(function(req, res) res:finish(req.url) end)
    server:_onDescriptor(fd)
    children.eventually(function() return answer():find("/x$") end)
    client:shutdown()
    ends()
    fs.rmSync(directory, { recursive = true })
  end)

  it("is left to whom it came from, where a handle is needed at once", function()
    local fd = connect(LAST)
    serve(function(_, res) res:finish("x") end):on("connection", function() end)
    assert.is_false(server:_onDescriptor(fd))
    server:removeAllListeners("connection")
    server.maxConnections = 1
    server._connections = 1
    assert.is_false(server:_onDescriptor(fd))
    server._connections = 0
    assert.is_false(net.createServer():_onDescriptor(fd))
    assert.is_true(server:_onDescriptor(fd))
    ends()
  end)
end)
