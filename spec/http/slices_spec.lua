--- Large bodies that a server compresses: over several turns of the loop, and not lost when somebody ends something meanwhile.
local await = require("await")
local child_process = require("child_process")
local children = require("spec.support.children")
local http = require("http")
local json = require("json")
local net = require("net")
local servers = require("spec.support.servers")
local timers = require("timers")
local zlib = require("zlib")

local TEXT = {}
for i = 1, 200000 do TEXT[i] = ("line %d, "):format(i * 7919 % 100003) end
TEXT = table.concat(TEXT)            -- 2 MB and more

-- Turns of the loop until `stop()`, which returns how many there were.
local function countTurns()
  local count, going = 0, true
  local function turn()
    count = count + 1
    if going then timers.setImmediate(turn) end
  end
  turn()
  return function()
    going = false
    return count
  end
end

-- All that comes for some requests on one connection that the server closes.
local function exchange(port, text)
  return await(function(done)
    local socket, parts = net.connect(port, "127.0.0.1"), {}
    socket:on("data", function(data) parts[#parts + 1] = data end)
    socket:on("error", function() end)
    socket:on("close", function() done(table.concat(parts)) end)
    socket:write(text)
  end)
end

local function request(path, last)
  return ("GET %s HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n%s\r\n"):format(path, last and "Connection: close\r\n" or "")
end

-- The bodies of chunked responses, decoded, or as they are without a coding; and the heads.
local function bodies(bytes)
  local list, heads, at = {}, {}, 1
  while at <= #bytes do
    local head, from = bytes:match("^(HTTP/1%.1 .-\r\n\r\n)()", at)
    assert(head, "no head at " .. at)
    heads[#heads + 1] = head
    local length = tonumber(head:lower():match("content%-length: (%d+)"))
    local body
    if length then
      body, at = bytes:sub(from, from + length - 1), from + length
    else
      local parts = {}
      repeat
        local size, start = bytes:match("^(%x+)\r\n()", from)
        assert(size, "the body was cut off")
        size = tonumber(size, 16)
        parts[#parts + 1] = bytes:sub(start, start + size - 1)
        from = start + size + (size > 0 and 2 or 0)
      until size == 0
      body, at = table.concat(parts), select(2, bytes:find("\r\n\r\n", from - 2, true)) + 1
      heads[#heads] = head .. bytes:sub(from, at - 1)
    end
    list[#list + 1] = head:find("gzip", 1, true) and zlib.gunzipSync(body) or body
  end
  return list, heads
end

describe("a large body that is compressed", function()
  after_each(servers.close)

  local function serve(handler)
    return (servers.serve({ compress = true }, function(req, res)
      res:setHeader("Content-Type", "text/plain")
      return handler(req, res)
    end))
  end

  it("leaves the loop to others meanwhile", function()
    local stop, turns
    local port = serve(function(_, res)
      stop = countTurns()
      res:on("finish", function() turns = stop() end)
      res:finish(TEXT)
      assert.is_true(res.writableEnded)
      assert.is_false(res.writableFinished)
    end)
    local list, heads = bodies(exchange(port, request("/", true)))
    assert.is_true(list[1] == TEXT)
    assert.matches("Vary: Accept%-Encoding", heads[1])
    assert.is_nil(heads[1]:lower():find("content-length", 1, true))
    assert.is_true(turns >= #TEXT / 65536, turns .. " turns")
  end)

  it("keeps the order of pipelined responses", function()
    local port = serve(function(req, res)
      if req.url == "/large" then return res:finish(TEXT .. req.url) end
      res:finish(req.url)
    end)
    local list = bodies(exchange(port, request("/1") .. request("/large") .. request("/2") .. request("/large") .. request("/3", true)))
    assert.same({ "/1", "/2", "/3" }, { list[1], list[3], list[5] })
    assert.is_true(list[2] == TEXT .. "/large" and list[4] == list[2])
  end)

  it("may come in pieces, small and large, with trailers", function()
    local order = {}
    local port = serve(function(_, res)
      res:write("first, ")
      assert.is_false(res:write(TEXT, function(err) order[#order + 1] = err or "written" end))
      assert.is_true(res.writableNeedDrain)
      res:once("drain", function()
        order[#order + 1] = "drain"
        res:addTrailers({ ["X-Sum"] = "42" })
        res:write("middle, ")
        res:write(TEXT)
        res:write("behind, ")
        res:finish(TEXT, function() order[#order + 1] = "finish" end)
      end)
    end)
    local list, heads = bodies(exchange(port, request("/", true)))
    assert.is_true(list[1] == "first, " .. TEXT .. "middle, " .. TEXT .. "behind, " .. TEXT)
    assert.matches("X%-Sum: 42", heads[1])
    assert.same({ "written", "drain", "finish" }, order)
  end)

  it("keeps to a Content-Length of the program's", function()
    local port = serve(function(req, res)
      res:setHeader("Content-Length", req.url == "/less" and #TEXT - 10 or #TEXT + 10)
      if req.url == "/less" then return res:finish(TEXT) end
      res:write(TEXT)
      res:finish("short")
    end)
    assert.is_true(bodies(exchange(port, request("/less", true)))[1] == TEXT:sub(1, -11))
    assert.has_error(function() bodies(exchange(port, request("/more"))) end)
  end)

  it("is as it was for those who take no coding, for HEAD and for other types", function()
    local port = serve(function(req, res)
      if req.url == "/image" then res:setHeader("Content-Type", "image/png") end
      res:finish(TEXT)
    end)
    for _, text in ipairs{ "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", request("/image", true) } do
      local list, heads = bodies(exchange(port, text))
      assert.is_true(list[1] == TEXT)
      assert.matches("Content%-Length: " .. #TEXT, heads[1])
    end
    assert.matches("Content%-Encoding: gzip.*\r\n\r\n$", exchange(port, (request("/", true):gsub("^GET", "HEAD"))))
  end)

  local ends = {
    { "the connection is destroyed", function(_, res) res.socket:destroySoon() end },
    { "the response is", function(_, res) res:destroy() end },
    { "the server closes all connections", function(server) server:closeAllConnections() end },
  }
  for _, each in ipairs(ends) do
    it("is sent whole when " .. each[1] .. " behind its finish", function()
      local server
      local port
      port, server = servers.serve({ compress = true }, function(_, res)
        res:setHeader("Content-Type", "text/plain")
        res:finish(TEXT)
        each[2](server, res)
      end)
      assert.is_true(bodies(exchange(port, request("/")))[1] == TEXT)
    end)
  end

  it("is given up when its client has left", function()
    local gone, failure
    local port = serve(function(_, res)
      res:on("close", function() gone = true end)
      res:finish(TEXT:rep(8), function(err) failure = err end)
    end)
    local socket = net.connect(port, "127.0.0.1")
    socket:on("error", function() end)
    socket:write(request("/"))
    children.once(socket, "data")
    socket:destroy()
    children.eventually(function() return gone end)
    assert.is_truthy(failure)
  end)

  -- Programs that end, or wait, right behind the finish.
  local programs = {
    ["process.exit"] = "process.exit(0)", ["os.exit"] = "os.exit(0)", ["an error"] = "require('timers').setImmediate(function() error('x') end)",
    ["execSync"] = "require('child_process').execSync('sleep 0.3') process.exit(0)",
  }
  for name, ending in pairs(programs) do
    it("is sent whole before " .. name, function()
      local path = os.tmpname()
      local file = assert(io.open(path, "w"))
      file:write(([[
        local TEXT = require("json").decode(io.read("*a"))
        local server = require("http").createServer({ compress = true }, function(_, res)
          res:setHeader("Content-Type", "text/plain")
          res:finish(TEXT)
          %s
        end)
        server:listen(0, "127.0.0.1", function() print(server:address().port) end)
      ]]):format(ending))
      file:close()
      local child = child_process.spawn(process.execPath, { path }, { stdio = { "pipe", "pipe", "ignore" } })
      child.stdin:finish(json.encode(TEXT))
      local port = tonumber((children.once(child.stdout, "data")))
      local list = bodies(exchange(port, request("/")))
      assert.is_true(list[1] == TEXT)
      child:kill("SIGKILL")
      if child.exitCode == nil and child.signalCode == nil then children.once(child, "exit") end
      os.remove(path)
    end)
  end

  it("is read by fetch", function()
    local port = serve(function(_, res) res:finish(TEXT) end)
    assert.is_true(require("fetch")(("http://127.0.0.1:%d/"):format(port)):text() == TEXT)
    local response = await(function(callback) http.get({ port = port, compress = true }, callback) end)
    assert.is_true(response:body(#TEXT) == TEXT)
  end)
end)
