local uv = require("luv")
local net = require("net")
local abort = require("abort")
local await = require("await")
local timers = require("timers")
local lrun = require("spec.support.lrun")

local function message(f, ...) return tostring(select(2, pcall(f, ...))) end

local function listening(server, ...)
  local arguments, count = { ... }, select("#", ...)
  await(function(done)
    arguments[count + 1] = done
    server:listen(unpack(arguments, 1, count + 1))
  end)
  return server
end

local function close(server) await(function(done) server:close(done) end) end

local paths = 0
local function tmpPath()
  paths = paths + 1
  return ("/tmp/lrun-spec-%d-%d.sock"):format(process.pid, paths)
end

describe("net.Server", function()
  it("serves on both families by default, and tells its address", function()
    local server = listening(net.createServer(function(socket) socket:finish(socket.remoteFamily) end), 0)
    local address = server:address()
    assert.equal("::", address.address)
    assert.equal("IPv6", address.family)
    assert.is_true(server.listening)
    for _, host in ipairs{ "127.0.0.1", "::1", "localhost" } do
      local text = await(function(done) net.connect(address.port, host):on("data", done) end)
      assert.equal("IPv6", text)
    end
    close(server)
    assert.is_false(server.listening)
    assert.is_nil(server:address())
  end)

  it("names the address that was asked for when it is taken", function()
    local first = listening(net.createServer(), 0)
    local port = first:address().port
    local second = net.createServer()
    local err = await(function(done)
      second:on("error", done)
      second:listen(port)
    end)
    assert.equal("listen EADDRINUSE: address already in use :::" .. port, tostring(err))
    assert.same({ "EADDRINUSE", "listen", "::", port, -98 }, { err.code, err.syscall, err.address, err.port, err.errno })
    assert.is_false(second.listening)
    err = await(function(done)
      second:removeAllListeners("error")
      second:on("error", done)
      second:listen(port, "127.0.0.1")
    end)
    assert.equal("127.0.0.1", err.address)
    close(first)
    listening(second, port)
    close(second)
  end)

  it("reports an address that is not ours, and a host that does not exist", function()
    local function errorOf(...)
      local arguments = { ... }
      return await(function(done)
        local server = net.createServer()
        server:on("error", done)
        server:listen(unpack(arguments))
      end)
    end
    assert.equal("EADDRNOTAVAIL", errorOf(0, "8.8.8.8").code)
    assert.equal("ENOTFOUND", errorOf(0, "nosuch.invalid").code)
    assert.equal("listen EACCES: permission denied /nonexistent/x.sock", tostring(errorOf("/nonexistent/x.sock")))
    assert.equal("ENAMETOOLONG", errorOf("/tmp/" .. ("x"):rep(200)).code)
    assert.equal("EINVAL", errorOf{ fd = 0 }.code)
  end)

  it("closes only when the last connection has ended", function()
    local order, accepted = {}, nil
    local server = net.createServer()
    listening(server, 0)
    local client
    await(function(done)
      server:on("connection", function(socket) accepted = socket done() end)
      client = net.connect(server:address().port)
    end)
    local _, count = await(function(done) server:getConnections(done) end)
    assert.equal(1, count)
    server:close(function() order[#order + 1] = "server" end)
    assert.is_false(server.listening)
    accepted:on("close", function() order[#order + 1] = "socket" end)
    await.sleep(5)
    assert.same({}, order)
    client:finish()
    if not accepted.closed or #order < 2 then await(function(done) accepted:on("close", done) end) end
    table.sort(order)
    assert.same({ "server", "socket" }, order)
  end)

  it("says that it is not running when it is closed twice", function()
    local server = listening(net.createServer(), 0)
    close(server)
    local err = await(function(done) server:close(done) end)
    assert.equal("ERR_SERVER_NOT_RUNNING", err.code)
  end)

  it("drops connections over maxConnections with an event", function()
    local server = net.createServer()
    server.maxConnections = 1
    listening(server, 0)
    local port = server:address().port
    local first, second
    await(function(done)
      server:on("connection", function() done() end)
      first = net.connect(port, "127.0.0.1")
    end)
    local data = await(function(done)
      server:on("drop", done)
      second = net.connect(port, "127.0.0.1")
      second:on("error", function() end)
    end)
    assert.equal(port, data.localPort)
    assert.equal("IPv6", data.remoteFamily)
    if not second.destroyed then await(function(done) second:on("close", done) end) end
    first:destroy()
    close(server)
  end)

  it("turns away addresses of its block list", function()
    local list = net.BlockList:new()
    list:addSubnet("127.0.0.0", 8)
    local server = net.createServer({ blockList = list }, function() error("a blocked connection") end)
    listening(server, 0)
    await(function(done)
      local client = net.connect(server:address().port, "127.0.0.1")
      client:on("error", function() end):on("close", done)
    end)
    close(server)
  end)

  it("listens on a unix path and removes the file when it closes", function()
    local path = tmpPath()
    local server = net.createServer(function(socket) socket:pipe(socket) end)
    listening(server, { path = path, readableAll = true, writableAll = true })
    assert.equal(path, server:address())
    local stat = uv.fs_stat(path)
    assert.equal("socket", stat.type)
    assert.equal(tonumber("666", 8), bit.band(stat.mode, tonumber("666", 8)))
    local client = net.connect(path)
    client:finish("through a file")
    assert.equal("through a file", await(function(done) client:on("data", done) end))
    close(server)
    assert.is_nil(uv.fs_stat(path))
  end)

  it("removes the file also when the process just exits", function()
    local path = tmpPath()
    local _, _, code = lrun.run{ "-e", ("require('net').createServer():listen(%q, function() process.exit(3) end)"):format(path) }
    assert.equal(3, code)
    assert.is_nil(uv.fs_stat(path))
  end)

  it("listens in the abstract namespace", function()
    local name = "\0lrun-spec-" .. process.pid
    local server = listening(net.createServer(function(socket) socket:finish("abstract") end), name)
    assert.equal("abstract", await(function(done) net.connect(name):on("data", done) end))
    close(server)
    local err = await(function(done) net.connect(name):on("error", done) end)
    assert.equal("ECONNREFUSED", err.code)
  end)

  it("listens on a bound handle, and on an inherited descriptor, such as systemd's", function()
    local bound = assert(net.createServerHandle("127.0.0.1", 0))
    local script = [[
      local server = require("net").createServer(function(socket) socket:finish("by descriptor") end)
      server:listen({ fd = 3 }, function()
        local socket = require("net").connect(server:address().port, "127.0.0.1")
        socket:on("data", function(text) io.write(text) process.exit() end)
      end)]]
    local out = ""
    local stdout = uv.new_pipe(false)
    await(function(done)
      local fd = uv.fileno(bound)
      uv.spawn(process.execPath, { args = { "-e", script }, stdio = { nil, stdout, 2, fd } }, done)
      stdout:read_start(function(_, chunk) out = out .. (chunk or "") end)
    end)
    stdout:close()
    assert.equal("by descriptor", out)
    local port = bound:getsockname().port
    local server = listening(net.createServer(function(socket) socket:finish("by handle") end), { handle = bound })
    assert.equal(port, server:address().port)
    assert.equal("by handle", await(function(done) net.connect(port, "127.0.0.1"):on("data", done) end))
    close(server)
  end)

  it("closes when its signal is aborted", function()
    local controller = abort.AbortController:new()
    local server = listening(net.createServer(), { port = 0, signal = controller.signal })
    await(function(done)
      server:on("close", done)
      controller:abort()
    end)
    assert.is_false(server.listening)
    server:on("listening", function() error("it was aborted before") end)
    await(function(done)
      server:once("close", done)
      server:listen{ port = 0, signal = controller.signal }
    end)
  end)

  it("lets several sockets share a port with reusePort", function()
    local first = listening(net.createServer(), { port = 0, host = "127.0.0.1", reusePort = true })
    local second = listening(net.createServer(), { port = first:address().port, host = "127.0.0.1", reusePort = true })
    close(first)
    close(second)
  end)

  it("leaves the port free for IPv4 with ipv6Only", function()
    local first = listening(net.createServer(), { port = 0, host = "::", ipv6Only = true })
    local second = listening(net.createServer(), { port = first:address().port, host = "0.0.0.0", ipv6Only = true })
    close(first)
    close(second)
  end)

  it("lets the process end while it listens unreferenced", function()
    local _, _, code = lrun.run{ "-e", "local s = require('net').createServer():listen(0) s:unref() s:ref() s:unref()" }
    assert.equal(0, code)
  end)

  it("survives being out of descriptors, without a busy loop, and accepts again when some are free", function()
    local script = [[
      local net, files = require("net"), {}
      local server = net.createServer(function(socket) socket:finish("served") end)
      server:listen(0, "127.0.0.1", function()
        process.stdin:on("data", function()
          for _, file in ipairs(files) do file:close() end
          files = {}
          process.stdout:write(("cpu %d\n"):format(process.cpuUsage().user + process.cpuUsage().system))
        end)
        process.stdin:on("end", function() process.exit() end)
        local file = io.open("/dev/null")
        while file do
          files[#files + 1] = file
          file = io.open("/dev/null")
        end
        process.stdout:write(server:address().port .. "\n")
      end)]]
    local child = require("child_process").spawn("/bin/sh", { "-c", 'ulimit -n 64; exec "$0" -e "$1"', process.execPath, script },
      { stdio = { "pipe", "pipe", "inherit" } })
    local port = tonumber((await(function(done) child.stdout:once("data", done) end)))
    local function ask()
      return await(function(done)
        local socket, text = net.connect(port, "127.0.0.1"), ""
        socket:on("error", function() end)
        socket:on("data", function(chunk) text = text .. chunk end)
        socket:on("close", function() done(text) end)
      end)
    end
    for _ = 1, 3 do assert.equal("", ask()) end
    local cpu = await(function(done)
      child.stdout:once("data", done)
      child.stdin:write("free")
    end)
    assert.is_true(tonumber(cpu:match("cpu (%d+)")) < 500000)
    assert.equal("served", ask())
    local code = await(function(done)
      child:on("close", done)
      child.stdin:finish()
    end)
    assert.equal(0, code)
  end)

  it("throws for wrong arguments, naming them", function()
    local server = net.createServer()
    assert.matches("call server:listen%(%.%.%.%) with a colon", message(server.listen, 80))
    assert.matches("options.port should be >= 0 and < 65536", message(server.listen, server, 70000))
    assert.matches("options.port", message(server.listen, server, -1))
    assert.matches('"host" argument', message(server.listen, server, 0, true))
    assert.matches("options.host", message(server.listen, server, { port = 0, host = 5 }))
    assert.matches("options.backlog", message(server.listen, server, { port = 0, backlog = "x" }))
    assert.matches("options.fd", message(server.listen, server, { fd = -1 }))
    assert.matches("options.path", message(server.listen, server, { path = 5 }))
    assert.matches("without null bytes", message(server.listen, server, "/tmp/a\0b"))
    assert.matches("options", message(server.listen, server, {}))
    assert.matches('must have the property "port" or "path"', message(server.listen, server, { host = "127.0.0.1" }))
    assert.matches("options", message(server.listen, server, true))
    assert.matches('"handle" argument', message(server.listen, server, io.stdout))
    assert.matches('"handle" argument', message(server.listen, server, { handle = {} }))
    assert.matches("options.signal", message(server.listen, server, { port = 0, signal = 5 }))
    assert.matches("options.ipv6Only", message(server.listen, server, { port = 0, ipv6Only = 5 }))
    assert.matches("options.allowHalfOpen", message(net.createServer, { allowHalfOpen = 1 }))
    assert.matches("options.blockList", message(net.createServer, { blockList = {} }))
    assert.matches('"connectionListener" argument', message(net.createServer, {}, 5))
    assert.matches('"callback" argument', message(server.close, server, 5))
    assert.matches('"callback" argument', message(server.getConnections, server))
    assert.matches('"port"', message(net.createServerHandle, "127.0.0.1", "x"):gsub("^port", '"port"'))
    assert.matches("Invalid IP address", message(net.createServerHandle, "nohost", 0))
    close(listening(server, 0))
  end)

  it("refuses to listen twice", function()
    local server = listening(net.createServer(), 0)
    assert.matches("more than once", message(server.listen, server, 0))
    close(server)
  end)
end)

describe("isIP", function()
  it("tells addresses from other text", function()
    for _, each in ipairs{ "1.2.3.4", "0.0.0.0", "255.255.255.255" } do assert.is_true(net.isIPv4(each), each) end
    for _, each in ipairs{ "::", "::1", "1::", "fe80::1%eth0", "::ffff:1.2.3.4", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::" } do
      assert.is_true(net.isIPv6(each), each)
    end
    for _, each in ipairs{ "", "1.2.3", "1.2.3.256", "01.2.3.4", "1.2.3.4 ", ":::", "1::2::3", ":1", "1:", "12345::", "g::",
      "1:2:3:4:5:6:7:8:9", "::1.2.3", "1.2.3.4::", "1.:2::" } do
      assert.equal(0, net.isIP(each), each)
    end
    assert.equal(0, net.isIP(nil))
    assert.equal(0, net.isIP({}))
  end)
end)

describe("BlockList", function()
  it("knows addresses, ranges and subnets of both families", function()
    local list = net.BlockList:new()
    list:addAddress("1.2.3.4")
    list:addRange("10.0.0.5", "10.0.1.1")
    list:addSubnet("192.168.4.0", 22)
    list:addSubnet("2001:db8::", 33, "ipv6")
    for _, each in ipairs{ "1.2.3.4", "10.0.0.5", "10.0.0.255", "10.0.1.1", "192.168.7.255" } do
      assert.is_true(list:check(each), each)
    end
    for _, each in ipairs{ "1.2.3.5", "10.0.0.4", "10.0.1.2", "192.168.8.0" } do assert.is_false(list:check(each), each) end
    assert.is_true(list:check("2001:db8:7fff::1", "ipv6"))
    assert.is_false(list:check("2001:db8:8000::1", "ipv6"))
    assert.is_true(list:check("::ffff:1.2.3.4", "ipv6"))
    assert.is_false(list:check("no address"))
    assert.equal(4, #list.rules)
    assert.equal("Address: IPv4 1.2.3.4", list.rules[4])
    assert.matches('"prefix"', message(list.addSubnet, list, "1.2.3.4", 33))
    assert.matches('"address" argument', message(list.addAddress, list, 5))
    assert.matches("call BlockList:new", message(net.BlockList.new))
    assert.matches('"start"', message(list.addRange, list, "1.1.1.2", "1.1.1.1"):gsub("'", '"'))
  end)
end)

describe("createServerHandle", function()
  it("gives a bound handle that listens and accepts by itself", function()
    local handle = assert(net.createServerHandle("127.0.0.1", 0))
    handle:listen(16, function(err)
      assert.is_nil(err)
      local client = uv.new_tcp()
      handle:accept(client)
      net.Socket:new{ handle = client }:finish("raw")
    end)
    assert.equal("raw", await(function(done) net.connect(handle:getsockname().port, "127.0.0.1"):on("data", done) end))
    handle:close()
    timers.setImmediate(function() end)
  end)
end)
