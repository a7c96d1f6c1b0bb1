local pki = require("spec.support.pki")
pki.need()
local await = require("await")
local http = require("http")
local net = require("net")
local servers = require("spec.support.servers")
local stream = require("stream")
local support = require("spec.support.tls")
local timers = require("timers")
local tls = require("tls")

local TRUST = { ca = pki.ca.cert }

local function pattern(size)
  local part = {}
  for i = 1, 997 do part[i] = string.char((i * i) % 256) end
  return table.concat(part):rep(math.ceil(size / 997)):sub(1, size)
end

describe("a TLS socket", function()
  after_each(servers.close)

  it("carries large writes whole, both ways", function()
    local port = support.serve(pki.options("server"))
    local client = assert(support.connect(port, TRUST))
    local text = pattern(3 * 1024 * 1024)
    client:finish(text)
    assert.is_true(support.drain(client) == text)
  end)

  it("holds the writer up while nobody reads", function()
    local paused
    local port = support.serve(pki.options("server"), function(socket)
      socket:pause()
      paused = socket
    end)
    local client = assert(support.connect(port, TRUST))
    local block, sent, full = pattern(256 * 1024), 0, false
    while sent < 400 and not full do
      full = not client:write(block)
      sent = sent + 1
      if full then
        await(function(done)
          local timer = timers.setTimeout(done, 300)
          client:once("drain", function() full = false timers.clearTimeout(timer) done() end)
        end)
      end
    end
    assert.is_true(full, "100 MiB were taken though nobody read")
    paused:resume()
    support.first(client, "drain")
    client:destroy()
  end)

  it("may end on one side and go on receiving", function()
    for _, version in ipairs{ "TLSv1.2", "TLSv1.3" } do
      local port = support.serve(pki.options("server", { allowHalfOpen = true, maxVersion = version }), function(socket)
        local got = ""
        socket:on("data", function(data) got = got .. data end)
        socket:on("end", function() timers.setTimeout(function() socket:finish("after " .. got) end, 5) end)
      end)
      local client = assert(support.connect(port, { ca = pki.ca.cert, allowHalfOpen = true }))
      client:finish("the end")
      assert.equal("after the end", support.drain(client))
      support.closed(client)
    end
  end)

  it("sends what was written before it is secure, and only then", function()
    local port = support.serve(pki.options("server"))
    local client = tls.connect{ port = port, host = "127.0.0.1", ca = pki.ca.cert }
    client:finish("early")
    assert.equal("early", support.drain(client))

    local heard = false
    local other = support.serve(pki.options("selfSigned"), function(socket) socket:on("data", function() heard = true end) end)
    client = tls.connect{ port = other, host = "127.0.0.1", ca = pki.ca.cert }
    client:finish("early")
    support.first(client, "error")
    support.closed(client)
    assert.is_false(heard)
  end)

  it("is an end, and no error, when the peer leaves without saying so", function()
    local inner = support.serve(pki.options("server"))
    local front, out
    local proxy = servers.listen(net.createServer(function(socket)
      front, out = socket, net.connect(inner, "127.0.0.1")
      out:pipe(socket)
      socket:pipe(out)
    end))
    local client = assert(support.connect(proxy, TRUST))
    client:resume()
    assert.equal("all of it", support.echo(client, "all of it"))
    out:unpipe(front)
    front:finish()
    assert.equal("end", (support.first(client, "end", "error")))
    support.closed(client)
    out:destroy()
    front:destroy()
  end)

  it("has timeouts", function()
    local port = support.serve(pki.options("server"), function() end)
    local client = assert(support.connect(port, TRUST))
    client:setTimeout(20)
    support.first(client, "timeout")
    client:destroy()
  end)

  it("speaks over a socket that is there, after words in the clear", function()
    local port = servers.listen(net.createServer(function(raw)
      raw:once("data", function(line)
        assert.equal("STARTTLS\n", line)
        raw:write("go\n", function()
          local secure = tls.TLSSocket:new(raw, pki.options("server", { isServer = true }))
          secure:on("data", function(data) secure:finish("secret " .. data) end)
        end)
      end)
    end))
    local raw = net.connect(port, "127.0.0.1")
    raw:write("STARTTLS\n")
    assert.equal("go\n", select(2, support.first(raw, "data")))
    local client = tls.connect{ socket = raw, servername = "localhost", ca = pki.ca.cert }
    client:write("words")
    assert.equal("secret words", support.drain(client))
    support.closed(client)
    assert.is_true(raw.destroyed)
  end)

  it("speaks over another TLS socket, as through a proxy", function()
    local inner = support.serve(pki.options("alpha"))
    local outer = support.serve(pki.options("server"), function(socket)
      local onward = net.connect(inner, "127.0.0.1")
      socket:pipe(onward)
      onward:pipe(socket)
    end)
    local tunnel = assert(support.connect(outer, TRUST))
    local client = tls.connect{ socket = tunnel, servername = "alpha.test", ca = pki.ca.cert }
    support.first(client, "secureConnect")
    assert.equal("alpha.test", client:getPeerCertificate().subject.CN)
    local text = pattern(300000)
    assert.is_true(support.echo(client, text) == text)
    client:finish()
    client:resume()
    support.closed(client)
    support.closed(tunnel)
  end)

  it("speaks over any duplex stream", function()
    local port = support.serve(pki.options("server"))
    local raw = net.connect(port, "127.0.0.1")
    support.first(raw, "connect")
    local duplex = stream.Duplex:new{
      read = function() end,
      write = function(_, data, callback) raw:write(data, callback) end,
      final = function(_, callback) raw:finish() callback() end,
    }
    raw:on("data", function(data) duplex:push(data) end)
    raw:on("end", function() duplex:push(nil) end)
    local client = tls.connect{ socket = duplex, servername = "localhost", ca = pki.ca.cert }
    support.first(client, "secureConnect")
    assert.equal("over a duplex", support.echo(client, "over a duplex"))
    client:destroy()
    raw:destroy()
  end)

  it("is given to an HTTP server with what it was written before", function()
    local web = http.createServer(function(_, res) res:finish("answer") end)
    for _, size in ipairs{ 5, 8 * 1024 * 1024 } do
      local text, written = pattern(size), {}
      local port = support.serve(pki.options("server"), function(socket)
        socket:pause()
        socket:write(text, function(err) written[1] = err or "first" end)
        socket:write("behind it ", function(err) written[2] = err or "second" end)
        web:emit("connection", socket)
      end)
      local client = assert(support.connect(port, TRUST))
      client:write("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
      local got = support.drain(client)
      assert.is_true(got:sub(1, size) == text)
      assert.equal("behind it HTTP/1.1 200 OK", got:sub(size + 1):match("^[^\r]*"))
      assert.equal("answer", got:sub(-6))
      assert.same({ "first", "second" }, written)
    end
  end)

  it("cannot be sent, and says why", function()
    local fork = require("child_process").fork
    local port = support.serve(pki.options("server"))
    local client = assert(support.connect(port, TRUST))
    local path = pki.write(pki.folder() .. "/child.lua", "process:on('message', function() end)")
    local child = fork(path)
    local ok, err = pcall(child.send, child, "x", client)
    assert.is_false(ok)
    assert.truthy(err.message:find("TLS", 1, true))
    assert.is_false(client.destroyed)
    child:kill()
    support.first(child, "exit")
    client:destroy()
  end)
end)
