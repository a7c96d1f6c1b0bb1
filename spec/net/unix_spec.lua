--- Unix sockets: files that nobody answers on, who is at the other end, datagrams.
local await = require("await")
local child_process = require("child_process")
local dgram = require("dgram")
local fs = require("fs")
local net = require("net")
local servers = require("spec.support.servers")
local unix = require("lrun.core.unix")

local directory
local function path(name) return directory .. "/" .. name end

local function message(f, ...) return tostring(select(2, pcall(f, ...))) end

local function listenError(...)
  local server = net.createServer()
  local arguments = { ... }
  local err = await(function(done)
    server:on("error", done)
    server:listen(unpack(arguments))
  end)
  return err
end

-- A socket file whose process is gone.
local function leave(name, kind)
  local fd = assert(unix.bind(path(name), kind or "stream"))
  require("lrun.core.sockets").close(fd)
  return path(name)
end

before_each(function() directory = fs.mkdtempSync("/tmp/lrun-spec-") end)
after_each(function()
  servers.close()
  os.execute("rm -rf " .. directory)
end)

describe("the file of a unix socket", function()
  it("is taken over when nobody answers on it", function()
    local stale = leave("a.sock")
    servers.listen(net.createServer(function(socket) socket:finish("new") end), stale)
    local text = await(function(done) net.connect(stale):on("data", done) end)
    assert.equal("new", text)
  end)

  it("is in use while it is somebody's, who hears nothing of the question", function()
    local heard, onData = 0, nil
    servers.listen(net.createServer(function(socket)
      heard = heard + 1
      socket:on("data", function() onData() end)
    end), path("a.sock"))
    assert.equal("listen EADDRINUSE: address already in use " .. path("a.sock"), tostring(listenError(path("a.sock"))))
    await(function(done)
      onData = done
      net.connect(path("a.sock")):finish("a later one")
    end)
    assert.equal(1, heard)
    local fd = assert(unix.bind(path("bound.sock"), "stream"))       -- and does not listen yet
    assert.equal("EADDRINUSE", listenError(path("bound.sock")).code)
    require("lrun.core.sockets").close(fd)
  end)

  it("is in use when it is no socket, or one of another kind", function()
    fs.writeFileSync(path("file"), "kept")
    assert.equal("EADDRINUSE", listenError(path("file")).code)
    assert.equal("kept", fs.readFileSync(path("file")))
    fs.symlinkSync(leave("a.sock"), path("link"))
    assert.equal("EADDRINUSE", listenError(path("link")).code)
    local socket = dgram.createSocket("unix_dgram")
    await(function(done) socket:bind(path("d.sock"), done) end)
    assert.equal("EADDRINUSE", listenError(path("d.sock")).code)
    socket:close()
  end)

  it("is removed with its server, unless it is another's by then", function()
    local server = net.createServer()
    servers.listen(server, path("a.sock"))
    fs.unlinkSync(path("a.sock"))
    servers.listen(net.createServer(), path("a.sock"))
    await(function(done) server:close(done) end)
    assert.is_true(fs.existsSync(path("a.sock")))
    servers.close()
    assert.is_false(fs.existsSync(path("a.sock")))
  end)

  it("goes to one of several processes that find it stale at once", function()
    local stale = leave("a.sock")
    fs.writeFileSync(path("program.lua"), [[
      local server = require("net").createServer(function(socket) socket:finish("served") end)
      server:on("error", function(err) process.send(err.code) process.disconnect() end)
      server:listen(process.argv[2], function() process.send("listens") end)
      process:on("disconnect", function() process.exit(0) end)
    ]])
    local said, children = {}, {}
    await(function(done)
      for i = 1, 6 do
        children[i] = child_process.fork(path("program.lua"), { stale })
        children[i]:on("message", function(word)
          said[word] = (said[word] or 0) + 1
          if (said.listens or 0) + (said.EADDRINUSE or 0) == 6 then done() end
        end)
      end
    end)
    assert.same({ listens = 1, EADDRINUSE = 5 }, said)
    assert.equal("served", await(function(done) net.connect(stale):on("data", done) end))
    for _, child in ipairs(children) do
      if child.connected then
        await(function(done)
          child:on("exit", function() done() end)
          child:disconnect()
        end)
      end
    end
  end)
end)

describe("net.Socket:peerCredentials", function()
  it("tells who is at the other end of a unix socket, at both ends", function()
    local accepted
    servers.listen(net.createServer(function(socket) accepted = socket end), path("a.sock"))
    local client = net.connect(path("a.sock"))
    await(function(done) client:on("connect", function() done() end) end)
    local own = { pid = process.pid, uid = process.getuid(), gid = process.getgid() }
    assert.same(own, client:peerCredentials())
    await(function(done) if accepted then done() else require("timers").setTimeout(done, 5) end end)
    assert.same(own, accepted:peerCredentials())
    client:destroy()
    assert.equal("EBADF", select(2, client:peerCredentials()).code)
  end)

  it("has nothing to say of a TCP connection", function()
    local port = servers.listen(net.createServer(function(socket) socket:resume() end))
    local client = net.connect(port, "127.0.0.1")
    await(function(done) client:on("connect", function() done() end) end)
    local credentials, err = client:peerCredentials()
    assert.is_nil(credentials)
    assert.equal("ENOTSUP", err.code)
    client:destroy()
  end)
end)

describe("a datagram socket of the type unix_dgram", function()
  local open = {}
  local function bound(name)
    local socket = dgram.createSocket("unix_dgram")
    open[#open + 1] = socket
    await(function(done) socket:bind(name, done) end)
    return socket
  end
  after_each(function()
    for _, socket in ipairs(open) do pcall(socket.close, socket) end
    open = {}
  end)

  it("sends and receives by paths, and tells who sent", function()
    local one, other = bound(path("one.sock")), bound(path("other.sock"))
    assert.equal(path("one.sock"), one:address())
    other:on("message", function(data, rinfo) other:send(data .. "!", rinfo.address) end)
    local data, rinfo = await(function(done)
      one:on("message", done)
      one:send({ "hel", "lo" }, path("other.sock"))
    end)
    assert.equal("hello!", data)
    assert.same({
      address = path("other.sock"), family = "unix", size = 6, pid = process.pid, uid = process.getuid(), gid = process.getgid(),
    }, rinfo)
    one:close()
    assert.is_false(fs.existsSync(path("one.sock")))
  end)

  it("takes abstract names, connects, and keeps a bound", function()
    local name = "\0lrun-spec-" .. process.pid
    local receiver, sender = bound(name), dgram.createSocket("unix_dgram")
    open[#open + 1] = sender
    sender:connect(name)
    assert.equal(name, sender:remoteAddress())
    local data, rinfo = await(function(done)
      receiver:on("message", done)
      sender:send("", function() end)
    end)
    assert.same({ "", "" }, { data, rinfo.address })
    assert.matches("Already connected", message(sender.send, sender, "x", name))
    sender:disconnect()
    assert.matches("Not connected", message(sender.remoteAddress, sender))
    assert.matches("EBADF", message(sender.address, sender))
  end)

  it("waits for a receiver that has no room, up to a limit, in order", function()
    local fd = assert(unix.bind(path("slow.sock"), "dgram"))
    local sender, sent, failed = dgram.createSocket("unix_dgram"), 0, nil
    open[#open + 1] = sender
    local filling = ("x"):rep(1024)
    local function onSent(err) if err then failed = failed or err.code else sent = sent + 1 end end
    local count = 0
    repeat
      count = count + 1
      sender:send(("%06d"):format(count) .. filling, path("slow.sock"), onSent)
    until sender:getSendQueueSize() + 1030 > 1024 * 1024
    sender:send(filling:rep(2), path("slow.sock"), onSent)
    local received = 0
    await(function(done)
      local timer
      timer = require("timers").setInterval(function()
        local data = unix.receive(fd)
        while data do
          received = received + 1
          assert.equal(received, tonumber(data:sub(1, 6)))
          data = unix.receive(fd)
        end
        if sent == count then
          require("timers").clearInterval(timer)
          done()
        end
      end, 1)
    end)
    assert.equal("ENOBUFS", failed)
    assert.equal(0, sender:getSendQueueSize())
    require("lrun.core.sockets").close(fd)
  end)

  it("drops what is longer than its limit, and says so", function()
    local receiver, sender = bound(path("one.sock")), bound(path("two.sock"))
    sender:setSendBufferSize(4 * 1024 * 1024)
    if sender:getSendBufferSize() < 3 * 1024 * 1024 then pending("the kernel lets no datagram be so long") end
    local err = await(function(done)
      receiver:on("error", done)
      sender:send(("x"):rep(1024 * 1024 + 1), path("one.sock"))
    end)
    assert.equal("EMSGSIZE", err.code)
    assert.equal("next", (await(function(done)
      receiver:on("message", done)
      sender:send("next", path("one.sock"))
    end)))
  end)

  it("has errors that name the path", function()
    local socket = dgram.createSocket("unix_dgram")
    open[#open + 1] = socket
    local err = await(function(done) socket:send("x", path("none"), done) end)
    assert.equal("send ENOENT " .. path("none"), tostring(err))
    err = await(function(done)
      socket:on("error", done)
      socket:send("x", path("none"))
    end)
    assert.equal("ENOENT", err.code)
    bound(path("one.sock"))
    local second = dgram.createSocket("unix_dgram")
    err = await(function(done)
      second:on("error", done)
      second:bind(path("one.sock"))
    end)
    assert.equal("bind EADDRINUSE " .. path("one.sock"), tostring(err))
    assert.matches('"path"', message(second.bind, second, 8000))
    assert.matches('"path"', message(second.send, second, "x"))
    assert.matches("ENOTSUP", message(socket.setBroadcast, socket, true))
  end)

  it("takes over the file of one that is gone", function()
    bound(leave("a.sock", "dgram"))
  end)
end)

describe("process.notify", function()
  it("tells the service manager, at a path or an abstract name", function()
    local before = process.env.NOTIFY_SOCKET
    for _, name in ipairs{ path("notify.sock"), "@lrun-notify-" .. process.pid } do
      local manager = dgram.createSocket("unix_dgram")
      manager:bind((name:gsub("^@", "\0")))
      process.env.NOTIFY_SOCKET = name
      local data = await(function(done)
        manager:on("message", done)
        assert.is_true(process.notify("READY=1\nSTATUS=up"))
      end)
      assert.equal("READY=1\nSTATUS=up", data)
      manager:close()
    end
    local sent, err = process.notify("READY=1")
    assert.is_false(sent)
    assert.equal("ECONNREFUSED", err.code)
    process.env.NOTIFY_SOCKET = nil
    assert.is_false(process.notify("READY=1"))
    assert.matches("state", message(process.notify))
    process.env.NOTIFY_SOCKET = before
  end)
end)
