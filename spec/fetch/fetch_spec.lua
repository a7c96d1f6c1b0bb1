local await = require("await")
local fetch = require("fetch")
local net = require("net")
local servers = require("spec.support.servers")
local stream = require("stream")
local zlib = require("zlib")

local function base(listener) return ("http://127.0.0.1:%d"):format((servers.serve(nil, listener))) end

local function echo(req, res)
  res:setHeader("Content-Type", "text/plain")
  res:finish(("%s %s %s %s"):format(req.method, req.url, req.headers["content-type"] or "-", req:body()))
end

describe("fetch", function()
  after_each(servers.close)

  it("sends what it is told to and returns a response", function()
    local url = base(echo)
    assert.equal("GET / - ", fetch(url):text())
    assert.equal("POST / - text", fetch(url, { body = "text" }):text())
    assert.equal('PUT /?a=1&b=x+y&b=z application/json {"n":1}',
      fetch(url, { method = "PUT", json = { n = 1 }, query = { a = 1, b = { "x y", "z" } } }):text())
    local body = stream.Readable.from and stream.Readable.from{ "one ", "two" }
    if body then assert.equal("POST / - one two", fetch(url, { body = body }):text()) end
    assert.equal("", fetch(url, { method = "HEAD" }):text())
  end)

  it("returns nil and the error of what cannot be reached", function()
    local wrong = { ["no url"] = "ERR_INVALID_URL", ["ftp://localhost/"] = "ERR_INVALID_PROTOCOL", ["http://127.0.0.1:1/"] = "ECONNREFUSED" }
    for url, code in pairs(wrong) do
      local response, err = fetch(url)
      assert.is_nil(response)
      assert.equal(code, err.code)
    end
    local port = servers.listen(net.createServer(function(socket)
      socket:on("error", function() end)
      socket:resume()
      socket:finish("no HTTP\r\n\r\n")
    end))
    local response, err = fetch("http://127.0.0.1:" .. port)
    assert.is_nil(response)
    assert.truthy(err.code:find("^HPE_"))
  end)

  it("throws for wrong arguments, before anything is sent", function()
    local function code(...) return select(2, pcall(fetch, ...)).code end
    assert.equal("ERR_INVALID_ARG_TYPE", code())
    assert.equal("ERR_INVALID_ARG_TYPE", code("http://a", "x"))
    local wrong = { method = 1, headers = "x", body = 1, query = 1, timeout = "x", compress = 1, redirect = 1, agent = 1, signal = 1, auth = 1 }
    for name, value in pairs(wrong) do
      assert.equal("ERR_INVALID_ARG_TYPE", code("http://a", { [name] = value }), name)
    end
    assert.equal("ERR_INVALID_ARG_VALUE", code("http://a", { redirect = "sometimes" }))
    assert.equal("ERR_INVALID_ARG_VALUE", code("http://a", { body = "x", json = 1 }))
    assert.equal("ERR_INVALID_HTTP_TOKEN", code("http://a", { method = "A B" }))
    assert.equal("ERR_INVALID_CHAR", code("http://a", { headers = { X = "a\r\nb" } }))
    assert.equal("ERR_INVALID_HTTP_TOKEN", code("http://a", { headers = { ["X Y"] = "a" } }))
    assert.equal("ERR_INVALID_ARG_TYPE", code("http://a", { checkServerIdentity = 1 }))
  end)

  it("follows redirects as browsers do, and refuses what cannot be repeated", function()
    local url = base(function(req, res)
      local status = req.url:match("^/(30%d)$")
      if not status then return echo(req, res) end
      res:writeHead(tonumber(status), { Location = "/end" })
      res:finish()
    end)
    assert.equal("GET /end - ", fetch(url .. "/302", { body = "x", headers = { ["Content-Type"] = "a/b" } }):text())
    assert.equal("POST /end a/b x", fetch(url .. "/307", { body = "x", headers = { ["Content-Type"] = "a/b" } }):text())
    assert.equal(302, fetch(url .. "/302", { redirect = "manual" }).status)
    assert.equal("ERR_UNEXPECTED_REDIRECT", select(2, fetch(url .. "/302", { redirect = "error" })).code)
    local through = stream.PassThrough:new()
    through:finish("x")
    assert.equal("ERR_BODY_NOT_REPEATABLE", select(2, fetch(url .. "/307", { body = through })).code)
    local loop
    loop = base(function(_, res) res:writeHead(301, { Location = loop .. "/" }) res:finish() end)
    assert.equal("ERR_TOO_MANY_REDIRECTS", select(2, fetch(loop)).code)
    local out = base(function(_, res) res:writeHead(301, { Location = "file:///etc/passwd" }) res:finish() end)
    assert.equal("ERR_INVALID_PROTOCOL", select(2, fetch(out)).code)
  end)

  it("keeps credentials from other origins", function()
    local seen
    local other = base(function(req, res) seen = req.headers res:finish() end)
    local first = base(function(_, res) res:writeHead(307, { Location = other }) res:finish() end)
    local headers = { Authorization = "secret", cookie = "a=b", Host = "first.test", ["X-Mine"] = "kept" }
    assert.equal(200, fetch(first, { headers = headers }).status)
    assert.is_nil(seen.authorization or seen.cookie)
    assert.equal("kept", seen["x-mine"])
    assert.truthy(seen.host:find("127.0.0.1", 1, true))
    assert.equal(200, fetch((first:gsub("//", "//user:pass@"))).status)
    assert.is_nil(seen.authorization)
  end)

  it("decodes bodies and counts decoded bytes", function()
    local text = ("text "):rep(20000)
    local url = base(function(req, res)
      local coding = req.url:sub(2)
      res:setHeader("Content-Encoding", coding)
      local packed = text
      for each in coding:gmatch("[^, ]+") do
        packed = (each == "gzip" and zlib.gzipSync or each == "br" and zlib.brotliCompressSync or zlib.deflateSync)(packed)
      end
      res:finish(req.headers["accept-encoding"] and packed or text)
    end)
    for _, coding in ipairs{ "gzip", "deflate", "br", "gzip,br" } do
      assert.is_true(fetch(url .. "/" .. coding):text() == text, coding)
    end
    assert.equal("ERR_BODY_TOO_LARGE", select(2, fetch(url .. "/gzip"):text(#text - 1)).code)
    local cut = base(function(_, res)
      res:setHeader("Content-Encoding", "gzip")
      res:finish(zlib.gzipSync(text):sub(1, -20))
    end)
    local value, err = fetch(cut):text()
    assert.is_nil(value)
    assert.truthy(err.code)
  end)

  it("reads a body once, up to a limit, and says when it was cut off", function()
    local url = base(echo)
    local response = fetch(url)
    assert.truthy(response:text())
    assert.equal("ERR_BODY_USED", select(2, response:text()).code)
    assert.equal("ERR_BODY_TOO_LARGE", select(2, fetch(url, { body = ("x"):rep(100) }):bytes(50)).code)
    assert.equal("ERR_INVALID_JSON", select(2, fetch(url):json()).code)
    local gone = servers.listen(net.createServer(function(socket)
      socket:on("error", function() end)
      socket:once("data", function() socket:finish("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf") end)
    end))
    local value, err = fetch("http://127.0.0.1:" .. gone):text()
    assert.is_nil(value)
    assert.equal("ECONNRESET", err.code)
  end)

  it("ends in time, before and in the body, and when it is told to", function()
    local abort = require("abort")
    local url = base(function(req, res)
      if req.url == "/head" then return end
      res:writeHead(200)
      res:write("beginning")
    end)
    for _, path in ipairs{ "/head", "/body" } do
      local response, err = fetch(url .. path, { timeout = 40 })
      if response then response, err = response:text() end
      assert.is_nil(response)
      assert.equal("ETIMEDOUT", err.code)
      assert.truthy(err.message:find("40 ms", 1, true))
      local controller = abort.AbortController:new()
      require("timers").setTimeout(function() controller:abort("enough") end, 30)
      response, err = fetch(url .. path, { signal = controller.signal })
      if response then response, err = response:text() end
      assert.is_nil(response)
      assert.equal("enough", err.cause)
    end
  end)

  it("keeps its connection for the next call", function()
    local ports, count = {}, 0
    local url = base(function(req, res)
      if not ports[req.socket.remotePort] then count = count + 1 end
      ports[req.socket.remotePort] = true
      res:finish("x")
    end)
    for _ = 1, 20 do
      assert.equal("x", fetch(url):text())
      await(require("timers").setImmediate)
    end
    assert.is_true(count < 5, count .. " connections")
  end)

  it("says that it needs a coroutine", function()
    local ok, err = pcall(table.sort, { 2, 1 }, function() return fetch("http://127.0.0.1:1/") end)
    assert.is_false(ok)
    assert.equal("ERR_INVALID_STATE", err.code)
  end)
end)

describe("fetch over TLS", function()
  local ok, pki = pcall(require, "spec.support.pki")
  if not ok or not pcall(require, "tls") then return end
  after_each(servers.close)

  it("checks the server and takes TLS options along a redirect", function()
    local https = require("https")
    local port = servers.listen(https.createServer(pki.options("server"), function(req, res) res:finish("secret " .. req.url) end))
    local secure = "https://localhost:" .. port
    assert.equal("secret /", fetch(secure, { ca = pki.ca.cert }):text())
    assert.equal("UNABLE_TO_VERIFY_LEAF_SIGNATURE", select(2, fetch(secure)).code)
    local plain = base(function(_, res) res:writeHead(301, { Location = secure .. "/x" }) res:finish() end)
    assert.equal("secret /x", fetch(plain, { ca = pki.ca.cert }):text())
  end)
end)
