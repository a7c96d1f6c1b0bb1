--- Both ends of a lane in one process: the worker's end is a copy of the other descriptor of the pair, as in a worker.
local ffi = require("ffi")
local await = require("await")
local handoff = require("lrun.core.handoff")
local sockets = require("lrun.core.sockets")
local uv = require("luv")
local processes = require("spec.support.processes")

ffi.cdef[[
int shutdown(int fd, int how);
int listen(int fd, int backlog);
]]

-- One hub for the whole file, as in a process: each test names what it does with a waiting connection.
local onWaiting
local hub = handoff.hub(function() onWaiting() end)

local function assignAllTo(lane)
  return function()
    while hub:next() do if not hub:assign(lane) then hub:drop() end end
  end
end

local function worker(peer, onDescriptor) return assert(handoff.worker(sockets.duplicate(peer), onDescriptor)) end

local function listening(id)
  local handle = uv.new_tcp()
  assert(handle:bind("127.0.0.1", 0))
  local acceptor = assert(hub:acceptor(handle:fileno(), id, 511))
  assert(acceptor:resume())
  return handle, acceptor, handle:getsockname().port
end

local function waitFor(condition, what)
  for _ = 1, 4000 do
    if condition() then return end
    await.sleep(5)
  end
  error("timed out waiting for " .. what)
end

-- A client that collects what it gets until the end.
local function connect(port)
  local client = { text = "" }
  client.handle = uv.new_tcp()
  client.handle:connect("127.0.0.1", port, function(err)
    if err then client.ended = err return client.handle:close() end
    client.connected = true
    client.handle:read_start(function(failed, chunk)
      if chunk then client.text = client.text .. chunk return end
      client.ended = failed or "end"
      client.handle:close()
    end)
  end)
  return client
end

local function ended(clients)
  return function()
    for _, client in ipairs(clients) do if not client.ended then return false end end
    return true
  end
end

describe("handoff", function()
  it("brings accepted connections to the worker with their listener, and gives its own copies up", function()
    local lane, peer = hub:lane()
    local seen = {}
    worker(peer, function(id, fd)
      seen[#seen + 1] = id
      local handle = uv.new_tcp()
      assert(handle:open(fd))
      handle:write("hello", function() handle:close() end)
    end)
    onWaiting = assignAllTo(lane)
    local handle, acceptor, port = listening(7)
    local clients = {}
    for i = 1, 200 do clients[i] = connect(port) end
    waitFor(ended(clients), "all answers")        -- an end can only come when no copy is left
    for _, client in ipairs(clients) do assert.equal("hello", client.text) end
    assert.equal(200, #seen)
    assert.equal(7, seen[200])
    assert.equal(200, lane:counts().taken)
    assert.equal(0, (lane:load()))
    acceptor:close()
    handle:close()
    lane:close()
  end)

  it("gives a connection that is refused to the next lane", function()
    local first, firstPeer = hub:lane()
    local second, secondPeer = hub:lane()
    local refusing
    refusing = worker(firstPeer, function() refusing:refuse() end)
    worker(secondPeer, function(_, fd)
      local handle = uv.new_tcp()
      handle:open(fd)
      handle:write("second", function() handle:close() end)
    end)
    local turn = 0
    function onWaiting()
      while hub:next() do
        turn = turn + 1
        assert(hub:assign(turn % 2 == 1 and first or second))
      end
    end
    local handle, acceptor, port = listening(1)
    local clients = {}
    for i = 1, 20 do clients[i] = connect(port) end
    waitFor(ended(clients), "all answers")
    local served = 0
    for _, client in ipairs(clients) do if client.text == "second" then served = served + 1 end end
    assert.is_true(served >= 19, served .. " served")      -- one may be unlucky eight times
    assert.is_true(first:counts().refused > 0)
    acceptor:close()
    handle:close()
    first:close()
    second:close()
  end)

  it("gives what a lane had not delivered to another when it ends", function()
    local dead = hub:lane()                       -- nobody reads its other end
    local live, livePeer = hub:lane()
    worker(livePeer, function(_, fd)
      local handle = uv.new_tcp()
      handle:open(fd)
      handle:write("alive", function() handle:close() end)
    end)
    onWaiting = assignAllTo(dead)
    local handle, acceptor, port = listening(1)
    local clients = {}
    for i = 1, 100 do clients[i] = connect(port) end
    waitFor(function() return (dead:load()) == 100 end, "the first lane to have them all")
    onWaiting = assignAllTo(live)
    dead:close()                                  -- as when its process dies
    onWaiting()
    hub:flush()
    waitFor(ended(clients), "all answers")
    for _, client in ipairs(clients) do assert.equal("alive", client.text) end
    assert.is_nil(dead:load())
    acceptor:close()
    handle:close()
    live:close()
  end)

  it("gives what a worker died before or refused to another, and nothing that it had begun to serve", function()
    local dying, dyingPeer = hub:lane()
    local live, livePeer = hub:lane()
    local begun, dead = 0
    local function answer(text)
      return function(_, fd)
        local handle = uv.new_tcp()
        handle:open(fd)
        handle:write(text, function() handle:close() end)
      end
    end
    local first = answer("first")
    dead = worker(dyingPeer, function(id, fd)
      if not dying:load() then return sockets.close(fd) end      -- it is dead
      begun = begun + 1
      if begun == 1 then return dead:refuse() end       -- which does not go out before the message is through
      first(id, fd)
      if begun == 3 then dying:close() end
    end)
    function onWaiting()
      while hub:next() do if not hub:assign(dying) then hub:assign(live) end end
    end
    local handle, acceptor, port = listening(1)
    local clients = {}
    acceptor:pause()                              -- so that they all come in one message
    for i = 1, 20 do clients[i] = connect(port) end
    waitFor(function()
      for _, client in ipairs(clients) do if not client.connected then return false end end
      return true
    end, "the clients to be in the backlog")
    acceptor:resume()
    waitFor(function() return begun == 3 end, "the worker to die")
    worker(livePeer, answer("second"))            -- not before: a process counts on one page
    onWaiting()
    hub:flush()
    waitFor(ended(clients), "all answers")
    local answers = {}
    for _, client in ipairs(clients) do answers[client.text] = (answers[client.text] or 0) + 1 end
    assert.same({ first = 2, second = 18 }, answers)
    acceptor:close()
    handle:close()
    live:close()
  end)

  it("reads what a worker sent back before it died", function()
    local dying, dyingPeer = hub:lane()
    local live, livePeer = hub:lane()
    local refusing
    refusing = worker(dyingPeer, function()
      local death = uv.new_check()                -- before the loop looks at the lane again
      death:start(function()
        death:close()
        dying:close()
        worker(livePeer, function(_, fd)
          local handle = uv.new_tcp()
          handle:open(fd)
          handle:write("second", function() handle:close() end)
        end)
        onWaiting()
        hub:flush()
      end)
      refusing:refuse()
    end)
    function onWaiting()
      while hub:next() do if not hub:assign(dying) then hub:assign(live) end end
    end
    local handle, acceptor, port = listening(1)
    local client = connect(port)
    waitFor(ended{ client }, "the answer")
    assert.equal("second", client.text)
    acceptor:close()
    handle:close()
    live:close()
  end)

  it("closes a lane whose worker sends what is no message of a lane", function()
    local lane, peer = hub:lane()
    local liar = uv.new_pipe(false)
    assert(liar:open(sockets.duplicate(peer)))
    liar:write(("\255"):rep(16))
    waitFor(function() return lane:load() == nil end, "the lane to close")
    liar:close()
  end)

  it("holds on to connections while nobody listens, and serves them after", function()
    local lane, peer = hub:lane()
    worker(peer, function(_, fd)
      local handle = uv.new_tcp()
      handle:open(fd)
      handle:write("late", function() handle:close() end)
    end)
    function onWaiting() while hub:next() do hub:park() end end
    local handle, acceptor, port = listening(1)
    local clients = { connect(port), connect(port) }
    await.sleep(20)
    acceptor:pause()
    onWaiting = assignAllTo(lane)
    acceptor:resume()
    onWaiting()
    hub:flush()
    waitFor(ended(clients), "all answers")
    for _, client in ipairs(clients) do assert.equal("late", client.text) end
    acceptor:close()
    handle:close()
    lane:close()
  end)

  it("lets the loop rest when its socket cannot accept, and accepts again when it can", function()
    local lane, peer = hub:lane()
    local came = 0
    worker(peer, function(_, fd)
      came = came + 1
      sockets.close(fd)
    end)
    onWaiting = assignAllTo(lane)
    local handle, acceptor = listening(1)
    assert.equal(0, ffi.C.shutdown(handle:fileno(), 2))
    local turns, watch = 0, uv.new_prepare()
    watch:start(function() turns = turns + 1 end)
    await.sleep(150)
    watch:close()
    assert.is_true(turns < 50, turns .. " turns")
    assert.equal(0, ffi.C.listen(handle:fileno(), 511))
    local client = connect(handle:getsockname().port)     -- the kernel may have chosen another one
    waitFor(function() return came == 1 end, "the connection")
    waitFor(ended({ client }), "its end")
    acceptor:close()
    handle:close()
    lane:close()
  end)

  it("leaves no descriptor behind", function()
    local before = processes.descriptors()
    for _ = 1, 5 do
      local lane = hub:lane()
      onWaiting = assignAllTo(lane)
      local handle, acceptor, port = listening(1)
      local clients = {}
      for i = 1, 50 do clients[i] = connect(port) end
      waitFor(function() return (lane:load()) == 50 end, "the lane to have them all")
      onWaiting = function() while hub:next() do hub:drop() end end
      lane:close()
      onWaiting()
      waitFor(ended(clients), "all to be closed")
      acceptor:close()
      handle:close()
    end
    waitFor(function() return processes.descriptors() <= before end, "the descriptors to be closed")
  end)

  it("tells how long a worker has been busy with one turn", function()
    local lane, peer = hub:lane()
    worker(peer, function() end)
    local function load() return (select(3, lane:load())) end
    waitFor(load, "the page, which travels with the first message")
    await.sleep(1)                                -- into a turn that it tells of
    assert.is_true(load() < 1000)
    lane:counts()
    local until_ = uv.hrtime() + 60e6
    while uv.hrtime() < until_ do end             -- luacheck: ignore
    local busy = load()
    assert.is_true(busy >= 50, "busy " .. tostring(busy))
    lane:close()
  end)
end)
