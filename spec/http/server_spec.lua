local await = require("await")
local http = require("http")
local timers = require("timers")
local rawhttp = require("spec.support.rawhttp")
local servers = require("spec.support.servers")

describe("http.Server", function()
  local serve = servers.serve

  after_each(servers.close)

  local function get(path, more) return ("GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n"):format(path, more or "") end
  local CLOSE = "Connection: close\r\n"

  it("answers and keeps the connection", function()
    local port = serve(nil, function(_, res)
      res:writeHead(200)
      res:finish("hello world\n")
    end)
    local text = rawhttp.exchange(port, get("/") .. get("/", CLOSE))
    assert.same({ 200, 200 }, rawhttp.statuses(text))
    assert.truthy(text:find("Content%-Length: 12\r\n"))
    assert.truthy(text:find("Date: %a+, %d+ %a+ %d+ %d+:%d+:%d+ GMT\r\n"))
    assert.truthy(text:find("Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n", 1, true))
  end)

  it("answers pipelined requests in their order when later ones are ready first", function()
    local port = serve(nil, function(req, res)
      if req.url == "/slow" then timers.setTimeout(function() res:finish("slow") end, 20)
      else res:finish(req.url) end
    end)
    local text = rawhttp.exchange(port, get("/slow") .. get("/b") .. get("/slow") .. get("/d", CLOSE))
    local bodies = {}
    for body in text:gmatch("\r\n\r\n([^H]*)") do bodies[#bodies + 1] = body end
    assert.same({ "slow", "/b", "slow", "/d" }, bodies)
  end)

  it("streams bodies both ways", function()
    local port = serve(nil, function(req, res) req:pipe(res) end)
    local text = rawhttp.exchange(port, { "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
      "3\r\nabc\r\n", "4;name=value\r\ndefg\r\n0\r\n\r\n" })
    assert.truthy(text:find("Transfer%-Encoding: chunked"))
    assert.equal("abcdefg", (text:match("\r\n\r\n(.*)"):gsub("%x+\r\n(%a*)\r\n", "%1"):gsub("\r\n", "")))
  end)

  it("tells the end of a body that was held up at its last byte", function()
    local port = serve(nil, function(req, res)
      local size = 0
      await.sleep(20)         -- the body waits in the stream, past its high-water mark: the connection is paused
      req:on("data", function(data) size = size + #data end)
      req:on("end", function() res:finish(tostring(size)) end)
    end)
    local text = rawhttp.exchange(port, "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 20000\r\n\r\n"
      .. ("x"):rep(20000))
    assert.equal("20000", text:match("\r\n\r\n(.*)"))
  end)

  it("takes no byte of the body for the head when both come in pieces", function()
    local port = serve(nil, function(req, res)
      req:body()
      res:finish(table.concat(req.rawHeaders, "|"))
    end)
    local head = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    local text = await(function(done)
      local uv = require("luv")
      local client, parts = uv.new_tcp(), {}
      client:connect("127.0.0.1", port, function()
        client:write(head:sub(1, 20))
        client:read_start(function(_, data)
          if data then parts[#parts + 1] = data else client:close() done(table.concat(parts)) end
        end)
        timers.setTimeout(function() client:write(head:sub(21) .. "3") end, 5)
        timers.setTimeout(function() client:write("\r\nabc\r\n0\r\n\r\n") end, 10)
      end)
    end)
    assert.equal("Host|x|Connection|close|Transfer-Encoding|chunked", text:match("\r\n\r\n(.*)"))
  end)

  it("shows a head whose first chunk does not come", function()
    local port = serve(function(req, res)
      res:flushHeaders()
      res:finish(req:body())
    end)
    local body = await(function(done)
      local request = http.request { port = port, host = "127.0.0.1", method = "POST", agent = false }
      request:once("response", function(response)
        request:finish("late")
        done(response:body())
      end)
      request:flushHeaders()
    end)
    assert.equal("late", body)
  end)

  it("gives the whole body inside a handler", function()
    local port = serve(nil, function(req, res) res:finish(req:body()) end)
    local text = rawhttp.exchange(port, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
    assert.truthy(text:find("\r\n\r\nhello$"))
  end)

  it("answers 413 when a body passes the limit of req:body", function()
    local port = serve(nil, function(req, res) res:finish(req:body(4)) end)
    local text = rawhttp.exchange(port, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
    assert.same({ 413 }, rawhttp.statuses(text))
  end)

  it("lets a handler await", function()
    local port = serve(nil, function(_, res)
      await.sleep(5)
      res:finish("slept")
    end)
    assert.truthy(rawhttp.exchange(port, get("/", CLOSE)):find("\r\n\r\nslept$"))
  end)

  it("answers 431 to a head that is too large and closes", function()
    local port = serve(nil, function(_, res) res:finish("no") end)
    local text, how = rawhttp.exchange(port, get("/", "X: " .. ("x"):rep(20000) .. "\r\n"))
    assert.same({ 431 }, rawhttp.statuses(text))
    assert.equal("closed", how)
  end)

  it("answers 408 to a head that is too slow, and to nothing at all", function()
    local port = serve({ headersTimeout = 60 }, function(_, res) res:finish("no") end)
    assert.same({ 408 }, rawhttp.statuses((rawhttp.exchange(port, "GET / HT"))))
    assert.same({ 408 }, rawhttp.statuses((rawhttp.exchange(port, {}))))
  end)

  it("closes a connection that stays idle", function()
    local port = serve({ keepAliveTimeout = 60 }, function(_, res) res:finish("x") end)
    local text, how = rawhttp.exchange(port, get("/"))
    assert.same({ 200 }, rawhttp.statuses(text))
    assert.equal("closed", how)
  end)

  it("answers 400 to what is no HTTP", function()
    local port = serve(nil, function(_, res) res:finish("no") end)
    local text, how = rawhttp.exchange(port, "hello there")
    assert.same({ 400 }, rawhttp.statuses(text))
    assert.equal("closed", how)
  end)
end)
