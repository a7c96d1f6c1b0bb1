local await = require("await")
local fs = require("fs")
local json = require("json")
local manager = require("spec.support.manager")
local net = require("net")

describe("the daemon's socket", function()
  local home

  before_each(function()
    home = manager.home()
    home:start("app", manager.idle)
  end)
  after_each(function() home:close() end)

  -- A client that keeps the lines it got.
  local function connect()
    local client = { lines = {}, socket = net.connect(home.state .. "/daemon.sock") }
    local rest = ""
    client.socket:on("data", function(data)
      rest = rest .. data
      rest = rest:gsub("([^\n]*)\n", function(line)
        client.lines[#client.lines + 1] = json.decode(line)
        return ""
      end)
    end)
    client.socket:on("error", function() end)
    client.socket:on("close", function() client.closed = true end)
    function client.wait(n)
      manager.wait(n .. " lines", function() return #client.lines >= n or client.closed end)
      return client.lines[n]
    end
    client.wait(1)
    return client
  end

  it("tells its version first, and answers calls by their ids", function()
    local client = connect()
    assert.equal(process.versions.lrun, client.lines[1].version)
    client.socket:write('{"id":7,"call":"ping"}\n{"id":"x","call":"list"}\n')
    client.wait(3)
    local byId = {}
    for _, line in ipairs(client.lines) do if line.id then byId[line.id] = line end end
    assert.equal(home:daemon(), byId[7].ok.pid)
    assert.equal("app", byId.x.ok[1].name)
    client.socket:destroy()
  end)

  it("tells what is wrong with a call, and goes on", function()
    local client = connect()
    client.socket:write('{"id":1,"call":"nosuch"}\n{"id":2,"call":"stop","args":{"targets":["nosuch"]}}\n{"id":3,"call":"stop"}\n')
    client.wait(4)
    local codes = {}
    for _, line in ipairs(client.lines) do if line.id then codes[line.id] = line.error.code end end
    assert.same({ "unknown-call", "unknown-target", "usage" }, codes)
    client.socket:write('{"id":4,"call":"ping"}\n')
    assert.equal(4, client.wait(5).id)
    client.socket:destroy()
  end)

  it("leaves a client that sends garbage, and only that one", function()
    local other = connect()
    for _, garbage in ipairs{ "GET / HTTP/1.1\r\n\r\n", "[]\n", '"x"\n', "{}\n", '{"call":5}\n', "\0\255\n" } do
      local client = connect()
      client.socket:write(garbage)
      manager.wait("its end", function() return client.closed end)
      assert.truthy(client.lines[#client.lines].error, garbage)
    end
    other.socket:write('{"id":1,"call":"ping"}\n')
    assert.equal(1, other.wait(2).id)
    other.socket:destroy()
  end)

  it("does nothing that such a client wants behind its garbage", function()
    local client = connect()
    client.socket:write('garbage\n{"id":1,"call":"stop","args":{"targets":["app"]}}\n')
    manager.wait("its end", function() return client.closed end)
    assert.equal("protocol", client.lines[2].error.code)
    assert.is_nil(client.lines[3])
    assert.equal("online", home:app("app").state)
  end)

  -- Calls until the daemon takes no more; how many it took.
  local function flood(client, most)
    client.socket:pause()
    local sent, calls = 0, ('{"id":1,"call":"nosuch"}\n'):rep(1000)
    while sent < most and client.socket.writableLength < 4 * 1024 * 1024 do
      client.socket:write(calls)
      sent = sent + 1000
      await.sleep(0)
    end
    return sent
  end

  it("takes no more calls from a client that does not read the answers, until it does", function()
    local daemon, client = home:daemon(), connect()
    local sent = flood(client, 1000000)
    assert.is_true(sent < 1000000, "all were taken")
    assert.equal("online", home:app("app").state)
    local rss = tonumber(manager.slurp("/proc/" .. daemon .. "/status"):match("VmRSS:%s+(%d+)"))
    local sanitized = manager.slurp("/proc/self/maps"):find("asan", 1, true) ~= nil     -- it keeps freed memory for a while
    assert.is_true(rss < (sanitized and 400 or 100) * 1024, rss .. " KiB")
    client.socket:resume()
    manager.wait("all answers", function() return #client.lines == 1 + sent or client.closed end)
    assert.equal(1 + sent, #client.lines)
    client.socket:destroy()
    local other = connect()
    flood(other, 1000000)
    other.socket:destroy()
    assert.equal(daemon, home:daemon())
    assert.equal("online", home:app("app").state)
  end)

  it("takes no line without end: neither its memory nor its time grows", function()
    local daemon = home:daemon()
    local client = connect()
    local piece, sent = ("x"):rep(1024 * 1024), 0
    await.spawn(function()
      while not client.closed and sent < 64 do
        if await(function(done) client.socket:write(piece, done) end) then return end
        sent = sent + 1
      end
    end)
    manager.wait("the refusal", function() return client.closed end)
    assert.is_true(sent <= 40, sent .. " MiB were taken")
    assert.equal(daemon, home:daemon())
    local rss = tonumber(manager.slurp("/proc/" .. daemon .. "/status"):match("VmRSS:%s+(%d+)"))
    assert.is_true(rss < 100 * 1024, rss .. " KiB")
  end)

  it("does not mind half a line, nor one that says nothing", function()
    local silent, half = connect(), connect()
    half.socket:write('{"id":1,"ca')
    half.socket:finish()
    assert.equal("online", home:app("app").state)
    silent.socket:destroy()
  end)

  it("bounds what waits for a reader that does not read, and tells how much was lost", function()
    local slow = net.connect(home.state .. "/daemon.sock")
    slow:on("error", function() end)
    await(function(done) slow:once("connect", done) end)
    slow:pause()
    slow:write('{"id":1,"call":"events"}\n')
    -- Far more than what the socket and the queue hold: each call's answer waits as well.
    local daemon = home:daemon()
    for i = 1, 3000 do slow:write(('{"id":%d,"call":"list"}\n'):format(i + 1)) end
    home:ok{ "restart", "app" }
    local rss = tonumber(manager.slurp("/proc/" .. daemon .. "/status"):match("VmRSS:%s+(%d+)"))
    assert.is_true(rss < 100 * 1024, rss .. " KiB")
    assert.equal(daemon, home:daemon())
    slow:destroy()
  end)

  it("is for its owner alone", function()
    for _, path in ipairs{ "/daemon.sock", "/apps/app.json", "/daemon.lock", "/lrun.log" } do
      assert.equal("600", ("%o"):format(fs.statSync(home.state .. path).mode % 512), path)
    end
    for _, name in ipairs(fs.readdirSync(home.state .. "/keepers")) do
      assert.equal("600", ("%o"):format(fs.statSync(home.state .. "/keepers/" .. name).mode % 512), name)
    end
    assert.equal("700", ("%o"):format(fs.statSync(home.state).mode % 512))
  end)
end)
