--- Sockets and servers on handles that are not luv's: whatever has the methods will do.
local await = require("await")
local net = require("net")

-- Two ends of a stream in memory. Each writes into the other; `room` is how many bytes try_write takes at once.
local function pair(room)
  local Stream = {}
  Stream.__index = Stream

  local function deliver(to, err, data)
    process.nextTick(function()
      if to.closing then return end
      if to.reader then to.reader(err, data) else to.held[#to.held + 1] = { err, data } end
    end)
  end

  function Stream:read_start(reader)
    self.reader = reader
    local held = self.held
    self.held = {}
    for _, each in ipairs(held) do deliver(self, each[1], each[2]) end
    return 0
  end
  function Stream:read_stop()
    self.reader = nil
    return 0
  end
  function Stream:try_write(data)
    if room == 0 then return nil, "EAGAIN", "EAGAIN" end
    local part = data:sub(1, room)
    deliver(self.peer, nil, part)
    return #part
  end
  function Stream:write(data, callback)
    deliver(self.peer, nil, data)
    process.nextTick(callback)
    return true
  end
  function Stream:shutdown(callback)
    deliver(self.peer)
    process.nextTick(callback)
    return true
  end
  function Stream:close(callback)
    self.closing = true
    process.nextTick(callback or function() end)
  end
  function Stream:is_closing() return self.closing end
  function Stream:get_write_queue_size() return 0 end
  function Stream:get_type() return "memory" end
  function Stream:getsockname() return { ip = "192.0.2.1", port = 1, family = "inet" } end
  function Stream:getpeername() return { ip = "192.0.2.2", port = 2, family = "inet" } end
  function Stream:fileno() return nil, "EBADF", "EBADF" end
  function Stream:ref() self.refed = true end
  function Stream:unref() self.refed = false end

  local one, other = { held = {}, closing = false }, { held = {}, closing = false }
  one.peer, other.peer = other, one
  return setmetatable(one, Stream), setmetatable(other, Stream)
end

local function readAll(socket)
  return await(function(done)
    local parts = {}
    socket:on("data", function(data) parts[#parts + 1] = data end)
    socket:on("end", function() done(table.concat(parts)) end)
  end)
end

describe("a socket on a handle of somebody's own", function()
  for _, room in ipairs{ 0, 3, 1024 } do
    it(("reads, writes and ends (%d bytes at a time)"):format(room), function()
      local one, other = pair(room)
      local here, there = net.Socket:new{ handle = one }, net.Socket:new{ handle = other }
      here:finish("hello there")
      assert.equal("hello there", readAll(there))
      assert.equal("192.0.2.2", here.remoteAddress)
      assert.same({ address = "192.0.2.1", family = "IPv4", port = 1 }, here:address())
      await(function(done) if here.closed then done() else here:on("close", done) end end)
      assert.is_true(one.closing)
    end)
  end

  it("ignores settings that it has not, and says what cannot be", function()
    local one, other = pair(1024)
    local socket = net.Socket:new{ handle = one, noDelay = true, keepAlive = true }
    socket:unref()
    assert.is_false(one.refed)
    assert.has_error(function() socket:resetAndDestroy() end)
    assert.equal("EBADF", select(2, socket:peerCredentials()).code)
    socket:destroy()
    other:close()
    for _, handle in ipairs{ {}, io.stdout, 5, "x", { read_start = print } } do
      assert.has_error(function() net.Socket:new{ handle = handle } end)
    end
  end)
  it("tells its handle of probes when something about them changes", function()
    local one, other = pair(1024)
    local told = {}
    function one.keepalive(_, on, seconds) told[#told + 1] = on and seconds or "off" end
    local socket = net.Socket:new{ handle = one }
    socket:setKeepAlive(true, 3000):setKeepAlive(true, 3999):setKeepAlive(true):setKeepAlive(true)
    socket:setKeepAlive():setKeepAlive(false):setKeepAlive(true, 3000)
    assert.same({ 3, 7200, "off", 3 }, told)
    socket:destroy()
    other:close()
  end)
end)

describe("a server on a handle of somebody's own", function()
  it("accepts from it, and closes it", function()
    local listener = { closing = false }
    function listener:listen(backlog, callback)
      self.backlog, self.callback = backlog, callback
      return 0
    end
    function listener:accept(client)
      self.accepted = client
      return nil, "EAGAIN", "EAGAIN"       -- nothing to accept after all
    end
    function listener:close() self.closing = true end
    function listener:is_closing() return self.closing end
    function listener:get_type() return "tcp" end
    function listener:getsockname() return { ip = "192.0.2.1", port = 7, family = "inet" } end
    local server = net.createServer()
    await(function(done) server:listen(listener, done) end)
    assert.equal(511, listener.backlog)
    assert.same({ address = "192.0.2.1", family = "IPv4", port = 7 }, server:address())
    listener.callback(nil)
    assert.is_true(listener.accepted:is_closing())
    await(function(done) server:close(done) end)
    assert.is_true(listener.closing)
    assert.has_error(function() net.createServer():listen({ handle = {} }) end)
  end)
end)
