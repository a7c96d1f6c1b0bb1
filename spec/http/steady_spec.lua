local await = require("await")
local child_process = require("child_process")
local children = require("spec.support.children")
local http = require("http")
local net = require("net")
local timers = require("timers")
local uv = require("luv")

-- A server in a process of its own, so that its memory is its own; it tells it at /memory, in KiB, and its coroutines
-- and descriptors at /balance.
local SERVER = [[
local http, timers = require("http"), require("timers")
local function pss()
  local file = io.open("/proc/self/smaps_rollup")
  local text = file:read("*a")
  file:close()
  return text:match("Pss:%s+(%d+)")
end
local descriptors = require("spec.support.processes").descriptors
local piece = ("0123456789abcdef"):rep(4096)
local server = http.createServer({ keepAliveTimeout = 60000 }, function(req, res)
  if req.url == "/memory" then
    collectgarbage() collectgarbage()
    return res:finish(pss())
  elseif req.url == "/balance" then
    collectgarbage() collectgarbage()
    return res:finish(descriptors() .. " " .. math.floor(collectgarbage("count")))
  elseif req.url == "/stream" then
    local sent = 0
    local function more()
      while sent < 16384 do
        sent = sent + 1
        if not res:write(piece) then return res:once("drain", more) end
      end
      res:finish()
    end
    return more()
  elseif req.url == "/echo" then
    return req:pipe(res)
  elseif req.url == "/late" then
    return timers.setTimeout(function() res:finish("late") end, 5)
  elseif req.url == "/body" then
    return res:finish(req:body())
  end
  res:finish("hello")
end)
server:listen(0, "127.0.0.1", function() print(server:address().port) end)
]]

-- The sanitizer keeps freed memory for a while: with it only the behaviour counts, not the size.
local sanitized = (function()
  local file = io.open("/proc/self/maps")
  local text = file and file:read("*a") or ""
  if file then file:close() end
  return text:find("asan", 1, true) ~= nil
end)()

local function within(value, limit, unit)
  if not sanitized then assert.is_true(value <= limit, ("%.2f %s"):format(value, unit)) end
end

describe("an http server, frugal and steady", function()
  local child, port, agent

  setup(function()
    child = child_process.spawn(process.execPath, { "-e", SERVER }, { stdio = { "ignore", "pipe", "ignore" } })
    port = tonumber((await(function(done) child.stdout:once("data", done) end)))
    agent = http.Agent:new { keepAlive = true }
  end)

  teardown(function()
    agent:destroy()
    await(function(done)
      child:once("exit", function() done() end)
      child:kill("SIGKILL")
    end)
  end)

  local function get(path)
    return await(function(done)
      http.get({ host = "127.0.0.1", port = port, path = path, agent = agent }, function(response) done(response:body()) end)
    end)
  end

  local function memory()
    get("/memory")
    return tonumber(get("/memory"))
  end

  it("keeps an idle connection for no more than 4 KiB", function()
    local COUNT = 600 -- below the usual limit of descriptors
    local before = memory()
    local sockets, answered = {}, 0
    await(function(done)
      for i = 1, COUNT do
        local socket = uv.new_tcp()
        sockets[i] = socket
        socket:connect("127.0.0.1", port, function(err)
          assert(not err, err)
          socket:write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
          socket:read_start(function()
            answered = answered + 1
            if answered == COUNT then done() end
          end)
        end)
      end
    end)
    local each = (memory() - before) / COUNT
    for _, socket in ipairs(sockets) do socket:close() end
    within(each, 4, "KiB a connection")
  end)

  it("does not collect a response for a reader that stalls", function()
    local before = memory()
    local socket = net.connect(port, "127.0.0.1")
    socket:pause()
    socket:write("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    await.sleep(200)
    local more = memory() - before
    socket:destroy()
    within(more, 1024, "KiB more")
  end)

  it("echoes 64 MiB byte for byte in flat memory", function()
    local before, most = memory(), 0
    local block = {}
    for i = 0, 255 do block[i + 1] = string.char(i) end
    block = table.concat(block):rep(256)
    local COUNT = 1024
    local size, wrong = await(function(done)
      local received, bad = 0, false
      local request = http.request({ host = "127.0.0.1", port = port, path = "/echo", method = "POST" }, function(response)
        response:on("data", function(chunk)
          local at = received % #block + 1
          local first = block:sub(at, at + #chunk - 1)
          if chunk:sub(1, #first) ~= first then bad = true end
          received = received + #chunk
        end)
        response:on("end", function() done(received, bad) end)
      end)
      local sent = 0
      local function more()
        while sent < COUNT do
          sent = sent + 1
          if sent == COUNT / 2 then await.spawn(function() most = memory() end) end
          if not request:write(block) then return request:once("drain", more) end
        end
        request:finish()
      end
      more()
    end)
    assert.equal(COUNT * #block, size)
    assert.is_false(wrong)
    within(most - before, 16384, "KiB more")   -- a quarter of what went through: garbage between two collections
  end)

  it("leaves no descriptor and no growth after clients that vanish at random bytes", function()
    math.randomseed(7)
    local requests = {
      "GET /late HTTP/1.1\r\nHost: x\r\n\r\n",
      "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\n" .. ("x"):rep(40),
      "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n",
      "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n",
    }
    local function balance()
      local descriptors, kilobytes = get("/balance"):match("(%d+) (%d+)")
      return tonumber(descriptors), tonumber(kilobytes)
    end
    local before = balance()
    local function round(count)
      local open = 0
      await(function(done)
        local started = 0
        local function one()
          started = started + 1
          open = open + 1
          local text = requests[math.random(#requests)]
          local socket = net.connect(port, "127.0.0.1")
          socket:on("error", function() end)
          socket:resume()
          socket:write(text:sub(1, math.random(#text)))
          timers.setTimeout(function()
            if math.random(2) == 1 then socket:resetAndDestroy() else socket:destroy() end
          end, math.random(0, 8))
          socket:on("close", function()
            open = open - 1
            if started < count then one() elseif open == 0 then done() end
          end)
        end
        for _ = 1, 20 do one() end
      end)
      local kilobytes
      children.eventually(function()      -- the server has seen that all are gone
        local descriptors
        descriptors, kilobytes = balance()
        return descriptors <= before
      end)
      return kilobytes
    end
    local kilobytes = round(300)
    within(round(600) - kilobytes, 200, "KiB more")
  end)

  it("serves a healthy client while many send nothing but a byte now and then", function()
    local slow = {}
    for i = 1, 400 do
      local socket = uv.new_tcp()
      slow[i] = socket
      socket:connect("127.0.0.1", port, function() socket:write("GET / HTTP/1.1\r\nX: ") end)
    end
    local ticking = timers.setInterval(function()
      for _, socket in ipairs(slow) do socket:write("x") end
    end, 50)
    await.sleep(50)
    for _ = 1, 50 do assert.equal("hello", get("/")) end
    timers.clearInterval(ticking)
    for _, socket in ipairs(slow) do socket:close() end
  end)
end)
