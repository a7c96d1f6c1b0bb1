local await = require("await")
local http = require("http")
local net = require("net")
local timers = require("timers")
local servers = require("spec.support.servers")

-- What of a message is still to be written, and who is told when it is.
describe("http output", function()
  local LARGE = ("x"):rep(16 * 1024 * 1024) -- more than any socket takes
  local HEAD = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
  local serve = servers.serve
  local client

  -- A client that does not read before `resume`.
  local function connect(port, text)
    client = net.connect { port = port, host = "127.0.0.1" }
    client:on("error", function() end)
    client:pause()
    client:write(text)
  end

  local function turns(n) for _ = 1, n do await(function(done) timers.setImmediate(done) end) end end

  after_each(function()
    if client then client:destroy() end
    servers.close()
    client = nil
  end)

  it("calls a write back when it was written, before drain", function()
    local order = {}
    local port = serve(function(_, res)
      res:on("drain", function() order[#order + 1] = "drain" end)
      order.more = res:write(LARGE, function(err) order[#order + 1] = err or "written" end)
      order.res = res
    end)
    connect(port, HEAD)
    while order.more == nil do turns(1) end
    turns(5)
    assert.same({}, { unpack(order) })
    assert.is_false(order.more)
    client:resume()
    await(function(done) order.res:once("drain", function() done() end) end)
    assert.same({ "written", "drain" }, { unpack(order) })
    assert.equal(0, order.res.writableLength)
  end)

  it("emits finish and close when a large body was written", function()
    local order, res = {}, nil
    local port = serve(function(_, each)
      res = each
      res:on("finish", function() order[#order + 1] = "finish" end)
      res:on("close", function() order[#order + 1] = "close" end)
      res:finish(LARGE, function() order[#order + 1] = "callback" end)
    end)
    connect(port, HEAD)
    while not res do turns(1) end
    turns(5)
    assert.same({}, order)
    client:resume()
    await(function(done) res:once("close", function() done() end) end)
    assert.same({ "finish", "callback", "close" }, order)
  end)

  it("tells a writer whose client is gone, without finish", function()
    local codes, closed, finished = {}, 0, false
    local port = serve(function(req, res)
      local function gone(err) codes[#codes + 1] = err and err.code or "none" end
      res:on("close", function() closed = closed + 1 end):on("finish", function() finished = true end)
      if req.url == "/write" then res:write(LARGE, gone) else res:finish(LARGE) end
      res:on("close", function() if req.url == "/write" then res:finish(gone) end end)
      client:resetAndDestroy()
    end)
    connect(port, (HEAD:gsub("/ ", "/write ", 1)))
    while closed < 1 do turns(1) end
    connect(port, HEAD)
    while closed < 2 do turns(1) end
    turns(1)
    assert.same({ "ECONNRESET", "ERR_STREAM_DESTROYED" }, codes)
    assert.is_false(finished)
  end)

  it("gathers the writes of one turn", function()
    local lengths = {}
    local port = serve(function(_, res)
      turns(1) -- no request is being parsed any more
      res:write("a")
      res:write("b")
      lengths[1] = res.writableLength
      turns(1)
      lengths[2] = res.writableLength
      res:finish()
    end)
    local response = await(function(done) http.get({ port = port, host = "127.0.0.1", agent = false }, done) end)
    assert.equal("ab", response:body())
    assert.is_true(lengths[1] > 2)
    assert.equal(0, lengths[2])
  end)

  it("goes on when a response is given up in the turn of its writes", function()
    local waiting, all = {}, nil
    local port = serve(function(req, res)
      waiting[req.url] = res
      if waiting["/given-up"] and waiting["/kept"] then all() end
    end)
    local body = await(function(done)
      all = function()
        timers.setImmediate(function()
          waiting["/given-up"]:write("a")
          waiting["/given-up"]:destroy()
          waiting["/kept"]:write("b")
          waiting["/kept"]:finish("c")
        end)
      end
      for _, path in ipairs { "/given-up", "/kept" } do
        local request = http.get({ port = port, host = "127.0.0.1", path = path, agent = false }, function(response)
          if path == "/kept" then done(response:body()) end
        end)
        request:on("error", function() end)
      end
    end)
    assert.equal("bc", body)
  end)

  it("holds a client's upload back", function()
    local called, out = false, {}
    local port = serve(function(req, res)
      out.req = req
      req:pause():on("data", function(piece) out.size = (out.size or 0) + #piece end)
      req:on("end", function() res:finish() end)
    end)
    local request = http.request { port = port, host = "127.0.0.1", method = "PUT", agent = false }
    request:on("finish", function() out.finished = true end)
    request:flushHeaders()
    while not out.req do turns(1) end
    request:write(LARGE, function() called = true end)
    request:finish(LARGE)
    turns(5)
    assert.same({ false, nil }, { called, out.finished })
    out.req:resume()
    await(function(done) request:once("response", done) end):resume()
    assert.same({ true, true, 2 * #LARGE }, { called, out.finished, out.size })
  end)
end)
