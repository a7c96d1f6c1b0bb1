local await = require("await")
local children = require("spec.support.children")
local dgram = require("dgram")
local net = require("net")
local uv = require("luv")
local processes = require("spec.support.processes")
local once, ask, goodbye, listen = children.once, children.ask, children.goodbye, children.listen

-- The two ends of a connection to a server of ours.
local function connection(server, port)
  local client = net.connect(port, "127.0.0.1")
  local socket = once(server, "connection")
  return socket, client
end

-- The child lets go of the connection, which was the server's last.
local function release(child, client, server)
  child:send("release")
  once(client, "close")
  server:close()
  once(server, "close")
  goodbye(child)
end

local function shared(wire)
  local options = { serialization = wire }

  describe("handles on the " .. wire .. " wire", function()
    it("give a socket away with what was received and not read", function()
      local server, port = listen()
      local child = children.fork("socket", options)
      local socket, client = connection(server, port)
      client:write("early bytes, \0\255")
      client:write("more")
      children.eventually(function() return socket.bytesRead == 19 end)
      assert.is_true(child:send("take it", socket))
      assert.is_true(socket.destroyed)
      client:finish(", late bytes")
      local got = once(child, "message")
      assert.same({ message = "take it", text = "early bytes, \0\255more, late bytes" }, got)
      assert.equal("answer", children.text(client))
      server:close()
      once(server, "close")
      goodbye(child)
    end)

    it("write what waited to be written before they went", function()
      local server, port = listen()
      local child = children.fork("holder", options)
      local socket, client = connection(server, port)
      local big, written = ("0123456789"):rep(1024 * 1024), 0
      socket:write(big, function() written = written + 1 end)
      socket:write("middle", function() written = written + 1 end)
      socket:write("tail")
      child:send("hold", socket)
      local length, last = 0, ""
      client:on("data", function(chunk)
        length = length + #chunk
        last = (last .. chunk):sub(-10)
      end)
      children.eventually(function() return length == #big + 10 end)
      assert.equal("middletail", last)
      children.eventually(function() return written == 2 end)
      release(child, client, server)
    end)

    it("keep their place among messages, in both directions", function()
      local server, port = listen()
      local child = children.fork("echo", options)
      local got = {}
      for i = 1, 60 do
        if i % 3 == 0 then child:send(i, (connection(server, port))) else child:send(i) end
      end
      await(function(done)
        child:on("message", function(message, handle)
          got[#got + 1] = message
          assert.equal(message % 3 == 0, handle ~= nil)
          if handle then handle:destroy() end
          if #got == 60 then done() end
        end)
      end)
      for i = 1, 60 do assert.equal(i, got[i]) end
      server:close()
      once(server, "close")
      goodbye(child)
    end)

    it("may be other than their sender says", function()
      local before = processes.descriptors()
      local child = children.fork("liar", options)
      local got, handles = {}, {}
      await(function(done)
        child:on("message", function(message, handle)
          got[#got + 1] = message
          handles[#handles + 1] = handle or false
          if handle then handle:on("error", function() end) end     -- that one is not even connected
          if #got == 5 then done() end
        end)
      end)
      assert.same({ "dgram.Socket", "net.Server", "net.Socket", "net.Socket", "none such" }, got)
      assert.equal("udp4", handles[1].type)
      assert.same({ false, false, false }, { handles[2], handles[3], handles[5] })
      handles[1]:close()
      handles[4]:destroy()
      child:send("goodbye")
      once(child, "close")
      children.eventually(function() return processes.descriptors() <= before end)
    end)

    it("count connections that were sent away until they are closed there", function()
      local server, port = listen()
      local child = children.fork("holder", options)
      local socket, client = connection(server, port)
      local kept = connection(server, port)
      assert.same({ message = "hold", held = 1 }, ask(child, "hold", socket))
      local function count() return select(2, await(server.getConnections, server)) end
      assert.equal(2, count())
      kept:destroy()
      children.eventually(function() return count() == 1 end)
      local closed = false
      server:close(function() closed = true end)
      await.sleep(30)
      assert.is_false(closed)
      assert.equal(1, count())
      client:resume()
      child:send("release")
      children.eventually(function() return closed end)
      goodbye(child)
    end)

    it("let a server close when the process that holds its connections is killed", function()
      local server, port = listen()
      local child = children.fork("holder", options)
      ask(child, "hold", (connection(server, port)))
      server:close()
      child:kill("SIGKILL")
      once(server, "close")
    end)

    it("go once: a second time the message comes alone", function()
      local server, port = listen()
      local child = children.fork("holder", options)
      local socket = connection(server, port)
      assert.equal(1, ask(child, "first", socket).held)
      assert.equal(1, ask(child, "second", socket).held)
      ask(child, "release")
      goodbye(child)
      server:close()
      once(server, "close")
    end)

    it("let send return false while messages wait behind one that the receiver has not taken", function()
      local child = children.fork("echo", options)
      local handle = assert(net.createServerHandle("127.0.0.1", 0))
      assert.same({ true, true, true, false, false },
        { child:send(1), child:send(2, handle), child:send(3, handle), child:send(4), child:send(5) })
      await(function(done)
        child:on("message", function(message, back)
          if back then back:close() end
          if message == 5 then done() end
        end)
      end)
      assert.is_true(child:send(6))
      handle:close()
      goodbye(child)
    end)

    it("stay open with keepOpen", function()
      local server, port = listen()
      local child = children.fork("holder", options)
      local socket, client = connection(server, port)
      child:send("keep", socket, { keepOpen = true })
      assert.equal(1, once(child, "message").held)
      assert.is_false(socket.destroyed)
      socket:write("from here")
      assert.equal("from here", once(client, "data"))
      socket:destroy()
      client:resume()
      release(child, client, server)
    end)

    it("share a server", function()
      local server, port = listen()
      local child = children.fork("serve", options)
      assert.equal("serving", ask(child, "server", server))
      server:close()
      once(server, "close")
      assert.equal("from child", children.text(net.connect(port, "127.0.0.1")))
      child:kill()
      once(child, "close")
    end)

    it("share a UDP socket", function()
      local socket = dgram.createSocket("udp4")
      socket:bind(0, "127.0.0.1")
      once(socket, "listening")
      local child, port = children.fork("datagrams", options), socket:address().port
      assert.equal("bound", ask(child, "socket", socket))
      socket:close()
      local client = dgram.createSocket("udp4")
      client:send("datagram", port, "127.0.0.1")
      assert.equal("datagram", once(child, "message"))
      client:close()
      goodbye(child)
    end)

    it("pass raw luv handles by the thousand and leak none", function()
      local child = children.fork("closer", options)
      local first = uv.new_tcp("inet") -- libuv opens a descriptor of its own with the first stream
      child:send("first", first)
      first:close()
      ask(child, "count")
      local before, beforeThere = processes.descriptors(), processes.descriptors(child.pid)
      local total = wire == "lua" and 3000 or 500
      for i = 1, total do
        local handle = i % 3 == 0 and uv.new_udp("inet") or uv.new_tcp("inet")
        if i % 3 == 0 then handle:bind("127.0.0.1", 0) end
        child:send(i, handle)
        handle:close()
        if i % 100 == 0 then await(function(done) child:send("flow", nil, nil, done) end) end
      end
      assert.equal(total + 1, ask(child, "count").count)
      children.eventually(function() return processes.descriptors() <= before end)
      children.eventually(function() return processes.descriptors(child.pid) <= beforeThere end)
      goodbye(child)
    end)

    it("are closed when the receiver dies first", function()
      local server, port = listen()
      local before = processes.descriptors()
      local child = children.fork("stuck", options)
      once(child, "message")
      local ends = 0
      for i = 1, 5 do
        local socket, client = connection(server, port)
        client:on("error", function() end)
        client:on("close", function() ends = ends + 1 end)
        client:resume()
        child:send(i, socket, function() end)
      end
      child:kill("SIGKILL")
      once(child, "close")
      children.eventually(function() return ends == 5 end)
      children.eventually(function() return processes.descriptors() <= before end)
      server:close()
      once(server, "close")
    end)

    it("stay as they were when their message cannot be sent", function()
      local child = children.fork("echo", options)
      local server, port = listen()
      local socket, client = connection(server, port)
      client:write("unread")
      children.eventually(function() return socket.bytesRead == 6 end)
      for message, code in pairs{ [print] = "ERR_INVALID_ARG_TYPE", [{ print }] = "ERR_INVALID_ARG_VALUE" } do
        local ok, err = pcall(child.send, child, message, socket)
        assert.is_false(ok)
        assert.equal(code, err.code)
      end
      assert.equal("ERR_MISSING_ARGS", select(2, pcall(child.send, child, nil, socket)).code)
      assert.equal("unread", once(socket, "data"))
      socket:finish("still here")
      assert.equal("still here", children.text(client))
      server:close()
      once(server, "close")
      goodbye(child)
    end)

    it("are refused when they cannot be sent", function()
      local child = children.fork("echo", options)
      assert.equal("alone", ask(child, "alone", net.Socket:new()))
      assert.equal("server", ask(child, "server", net.createServer()))
      for _, wrong in ipairs{ "text", 5, {}, io.stdout, true } do
        local ok, err = pcall(child.send, child, "x", wrong)
        assert.is_false(ok)
        assert.equal("ERR_INVALID_HANDLE_TYPE", err.code)
      end
      goodbye(child)
    end)
  end)
end

shared("lua")
shared("json")

describe("the handoff example", function()
  it("hands connections to workers and loses none", function()
    local child = require("child_process").spawn(process.execPath, { "examples/handoff/master.lua", "0" },
      { stdio = { "ignore", "pipe", "inherit" } })
    local port = tonumber(once(child.stdout, "data"):match("port (%d+)"))
    local before = processes.descriptors(child.pid)
    local answered, open, left = 0, 0, 600
    await(function(done)
      local function connect()
        if left == 0 then
          if open == 0 then done() end
          return
        end
        left, open = left - 1, open + 1
        local socket, text = net.connect(port, "127.0.0.1"), ""
        socket:write("GET / HTTP/1.1\r\n\r\n")
        socket:on("data", function(chunk) text = text .. chunk end)
        socket:on("close", function()
          open = open - 1
          if text:find("hello world", 1, true) then answered = answered + 1 end
          connect()
        end)
      end
      for _ = 1, 20 do connect() end
    end)
    assert.equal(600, answered)
    children.eventually(function() return processes.descriptors(child.pid) <= before end)
    child:kill()
    once(child, "close")
  end)
end)
