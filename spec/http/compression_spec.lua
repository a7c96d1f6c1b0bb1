local await = require("await")
local http = require("http")
local net = require("net")
local zlib = require("zlib")
local children = require("spec.support.children")
local compression = require("lrun.http.compression")
local rawhttp = require("spec.support.rawhttp")
local servers = require("spec.support.servers")

local TEXT = ("some words that come again and again, "):rep(300)

describe("the choice of a coding", function()
  local function any() return true end
  local function zlibOnly(name) return name == "gzip" or name == "deflate" end

  it("follows the client's weights, and then our preference", function()
    local cases = {
      ["gzip"] = "gzip", ["GZIP;Q=0.5"] = "gzip", ["x-gzip"] = "gzip", ["br, gzip"] = "gzip", ["br;q=1, gzip;q=0.9"] = "br",
      ["zstd"] = "zstd", ["deflate;q=0.2"] = "deflate", ["*"] = "gzip", ["gzip;q=0, *"] = "br", ["*;q=0, zstd"] = "zstd",
      ["gzip;q=0.5, identity;q=0.4"] = "gzip", ["gzip;q=0.5, gzip;q=0"] = "gzip", [" gzip\t; q=0.001"] = "gzip",
    }
    for accept, coding in pairs(cases) do assert.equal(coding, compression.choose(accept, any), accept) end
  end)

  it("is none where the client wants none, or says what cannot be read", function()
    for _, accept in ipairs { "", "identity", "gzip;q=0", "*;q=0", "gzip;q=0.4, identity;q=0.5", "gzip;q=x", "gzip;q=2", "gzip;q=",
      "gzip;q=0.0001", "gzip;level=1", "gzipped", ";;,," } do
      assert.is_nil(compression.choose(accept, any), accept)
    end
    assert.is_nil(compression.choose(nil, any))
  end)

  it("is of those whose library there is", function()
    assert.equal("gzip", compression.choose("br, gzip;q=0.1", zlibOnly))
    assert.is_nil(compression.choose("br, zstd", zlibOnly))
    assert.equal("deflate", compression.choose("gzip;q=0, *", zlibOnly))
  end)
end)

describe("what is compressed", function()
  local function open(status, headers) return compression.isOpen(status, function(name) return headers[name] end) end

  it("are types of text", function()
    for _, name in ipairs { "text/plain", "TEXT/HTML; charset=utf-8", "application/json", "application/problem+json", "image/svg+xml",
      "text/event-stream", "application/wasm" } do
      assert.is_true(compression.isCompressible(name), name)
    end
    for _, name in ipairs { "image/png", "video/mp4", "application/zip", "application/octet-stream", "font/woff2", "", "text/", "json" } do
      assert.is_false(compression.isCompressible(name), name)
    end
    assert.is_false(compression.isCompressible(nil))
  end)

  it("is nothing that is counted on as it stands", function()
    assert.is_true(open(200, { ["content-type"] = "text/plain" }))
    assert.is_true(open(404, { ["content-type"] = "text/plain", ["cache-control"] = "max-age=5", ["transfer-encoding"] = "chunked" }))
    for _, status in ipairs { 101, 204, 205, 206, 304 } do assert.is_false(open(status, { ["content-type"] = "text/plain" })) end
    for name, value in pairs { ["content-encoding"] = "br", ["content-range"] = "bytes */5", ["content-digest"] = "x",
      ["transfer-encoding"] = "gzip, chunked", ["cache-control"] = "private,No-Transform" } do
      assert.is_false(open(200, { ["content-type"] = "text/plain", [name] = value }), name)
    end
  end)

  it("says in Vary and ETag that there are variants", function()
    assert.equal("Accept-Encoding", compression.mergeVary(nil))
    assert.equal("Accept-Encoding", compression.mergeVary(" "))
    assert.equal("Origin, Accept-Encoding", compression.mergeVary("Origin"))
    assert.equal("accept-encoding", compression.mergeVary("accept-encoding"))
    assert.equal("*", compression.mergeVary("*"))
    assert.equal('W/"1"', compression.weaken('"1"'))
    assert.equal('W/"1"', compression.weaken('W/"1"'))
  end)
end)

describe("a server that compresses", function()
  local eventually = children.eventually

  after_each(servers.close)

  -- A server whose handler gets a response that says it is text.
  local function serve(handler, options)
    options = options or {}
    options.compress = true
    return servers.serve(options, function(req, res)
      res:setHeader("Content-Type", "text/plain")
      return handler(req, res)
    end)
  end

  local function request(line, headers)
    return line .. " HTTP/1.1\r\nHost: x\r\n" .. (headers or "Accept-Encoding: gzip\r\n") .. "\r\n"
  end

  local function dechunk(bytes, at)
    local parts = {}
    while true do
      local size, from = bytes:match("^(%x+)\r\n()", at)
      size = tonumber(size or "", 16)
      if not size then return nil, at end
      if size == 0 then return table.concat(parts), select(2, bytes:find("\r\n\r\n", from - 2, true)) + 1 end
      parts[#parts + 1] = bytes:sub(from, from + size - 1)
      at = from + size + 2
    end
  end

  -- The responses in `bytes`: { status, headers, body }; of a request that has no body none is looked for.
  local function parse(bytes, methods)
    local list, at = {}, 1
    for i = 1, #methods do
      local head, from = bytes:match("^(HTTP/1%.1 %d%d%d.-\r\n)\r\n()", at)
      assert.is_truthy(head, "response " .. i)
      local headers = {}
      for name, value in head:gmatch("\n([^:\r]+): ?([^\r]*)") do headers[name:lower()] = value end
      local status, body = tonumber(head:match("^HTTP/1%.1 (%d+)")), ""
      if methods[i] ~= "HEAD" and status ~= 204 and status ~= 304 then
        if headers["transfer-encoding"] then body, from = dechunk(bytes, from)
        elseif headers["content-length"] then
          body, from = bytes:sub(from, from + headers["content-length"] - 1), from + headers["content-length"]
        else body, from = bytes:sub(from), #bytes + 1 end
      end
      list[i], at = { status = status, headers = headers, body = body }, from
    end
    assert.equal(#bytes + 1, at)
    return list
  end

  local function ask(port, line, headers)
    headers = (headers or "Accept-Encoding: gzip\r\n") .. "Connection: close\r\n"
    return parse(rawhttp.exchange(port, request(line, headers)), { line:match("^%u+") })[1]
  end

  it("compresses a whole body and tells its length", function()
    local port = serve(function(_, res)
      res:setHeader("ETag", '"v1"'):setHeader("Accept-Ranges", "bytes"):setHeader("Content-Length", #TEXT)
      res:finish(TEXT)
    end)
    local answer = ask(port, "GET /")
    assert.equal("gzip", answer.headers["content-encoding"])
    assert.equal(tostring(#answer.body), answer.headers["content-length"])
    assert.equal(TEXT, zlib.gunzipSync(answer.body))
    assert.equal("Accept-Encoding", answer.headers.vary)
    assert.equal('W/"v1"', answer.headers.etag)
    assert.is_nil(answer.headers["accept-ranges"])
    local plain = ask(port, "GET /", "")
    assert.equal(TEXT, plain.body)
    assert.equal("Accept-Encoding", plain.headers.vary)
    assert.equal('"v1"', plain.headers.etag)
    assert.equal(tostring(#TEXT), plain.headers["content-length"])
  end)

  it("reads as it should in every coding that there is", function()
    local port = serve(function(req, res)
      if req.url == "/whole" then return res:finish(TEXT) end
      res:write(TEXT)
      res:finish(TEXT)
    end)
    local readers = { gzip = zlib.gunzipSync, deflate = zlib.inflateSync, br = zlib.brotliDecompressSync, zstd = zlib.zstdDecompressSync }
    for name, read in pairs(readers) do
      for path, body in pairs { ["/whole"] = TEXT, ["/pieces"] = TEXT .. TEXT } do
        local answer = ask(port, "GET " .. path, "Accept-Encoding: " .. name .. "\r\n")
        local coding = answer.headers["content-encoding"]
        if coding then assert.equal(name, coding) else assert.is_truthy(name == "br" or name == "zstd") end
        assert.equal(body, coding and read(answer.body) or answer.body)
      end
    end
  end)

  it("leaves alone what is short, has no type, is a range, must not change, or is encoded already", function()
    local port = serve(function(req, res)
      local case = req.url:sub(2)
      if case == "short" then return res:finish(("x"):rep(1023)) end
      if case == "untyped" then res:removeHeader("Content-Type") end
      if case == "range" then
        res.statusCode = 206
        res:setHeader("Content-Range", "bytes 0-11399/99999")
      end
      if case == "fixed" then res:setHeader("Cache-Control", "no-transform") end
      if case == "encoded" then res:setHeader("Content-Encoding", "x-own") end
      if case == "declared" then return res:setHeader("Content-Length", 20):finish(("x"):rep(20)) end
      res:finish(TEXT)
    end)
    for _, case in ipairs { "short", "untyped", "range", "fixed", "encoded", "declared" } do
      local answer = ask(port, "GET /" .. case)
      assert.is_true(answer.body == TEXT or answer.body:find("^x+$") ~= nil, case)
      assert.equal(case == "encoded" and "x-own" or nil, answer.headers["content-encoding"], case)
    end
  end)

  it("begins with 1,024 bytes", function()
    local port = serve(function(_, res) res:finish(("x"):rep(1024)) end)
    assert.equal("gzip", ask(port, "GET /").headers["content-encoding"])
  end)

  it("sends as it is what would become longer", function()
    local noise = {}
    for i = 1, 4096 do noise[i] = string.char(math.random(0, 255)) end
    noise = table.concat(noise)
    local port = serve(function(_, res) res:finish(noise) end)
    local answer = ask(port, "GET /")
    assert.is_nil(answer.headers["content-encoding"])
    assert.equal("Accept-Encoding", answer.headers.vary)
    assert.equal(noise, answer.body)
  end)

  it("keeps the order of pipelined requests, with bodies and without", function()
    local port = serve(function(req, res)
      if req.url == "/204" or req.url == "/304" then
        res.statusCode = tonumber(req.url:sub(2))
        return res:finish()
      end
      if req.url == "/later" then await.sleep(5) end
      if req.url == "/pieces" then
        res:write(TEXT)
        await.sleep(1)
        return res:finish("end")
      end
      res:finish(TEXT)
    end)
    local lines = { "GET /later", "HEAD /", "GET /204", "GET /pieces", "GET /304", "HEAD /pieces", "GET /" }
    local text, methods = {}, {}
    for i, line in ipairs(lines) do
      text[i], methods[i] = request(line), line:match("^%u+")
    end
    text[#text + 1], methods[#methods + 1] = request("GET /last", "Connection: close\r\n"), "GET"
    local answers = parse(rawhttp.exchange(port, table.concat(text)), methods)
    assert.equal(TEXT, zlib.gunzipSync(answers[1].body))
    for _, i in ipairs { 2, 6 } do
      assert.equal("gzip", answers[i].headers["content-encoding"])
      assert.equal("Accept-Encoding", answers[i].headers.vary)
      assert.is_nil(answers[i].headers["content-length"])
    end
    assert.is_nil(answers[3].headers["content-encoding"])
    assert.equal(TEXT .. "end", zlib.gunzipSync(answers[4].body))
    assert.is_nil(answers[5].headers["content-encoding"])
    assert.equal(TEXT, zlib.gunzipSync(answers[7].body))
    assert.equal(TEXT, answers[8].body)
  end)

  it("ends the body with the connection for HTTP/1.0", function()
    local port = serve(function(_, res)
      res:write(TEXT)
      res:finish("end")
    end)
    local text = rawhttp.exchange(port, "GET / HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n")
    local answer = parse(text, { "GET" })[1]
    assert.is_nil(answer.headers["transfer-encoding"])
    assert.equal(TEXT .. "end", zlib.gunzipSync(answer.body))
  end)

  it("makes each write readable at once", function()
    local go
    local port = serve(function(_, res)
      res:flushHeaders()
      for i = 1, 3 do
        res:write("event " .. i .. "\n")
        await(function(callback) go = callback end)
      end
      res:finish("last")
    end)
    local response = await(function(callback) http.get({ port = port, compress = true }, callback) end)
    local got = ""
    response:on("data", function(chunk) got = got .. chunk end)
    for i = 1, 3 do
      eventually(function() return got:find("event " .. i .. "\n", 1, true) end)
      go()
    end
    await(function(callback) response:once("end", callback) end)
    assert.equal("event 1\nevent 2\nevent 3\nlast", got)
  end)

  it("keeps to a Content-Length of the program's: more is cut, less ends the connection", function()
    local port = serve(function(req, res)
      res:setHeader("Content-Length", 2000)
      res:write(("a"):rep(1500))
      res:finish(req.url == "/more" and ("b"):rep(1500) or nil)
    end)
    local answer = ask(port, "GET /more")
    assert.equal(("a"):rep(1500) .. ("b"):rep(500), zlib.gunzipSync(answer.body))
    local text, how = rawhttp.exchange(port, request("GET /less"))
    assert.equal("closed", how)
    assert.is_nil(text:find("\r\n0\r\n\r\n", 1, true))
  end)

  it("sends trailers behind a coded body", function()
    local port = serve(function(_, res)
      res:addTrailers { ["X-Sum"] = "5" }
      res:finish(TEXT)
    end)
    local text = rawhttp.exchange(port, request("GET /", "Accept-Encoding: gzip\r\nConnection: close\r\n"))
    assert.is_truthy(text:find("\r\n0\r\nX-Sum: 5\r\n\r\n", 1, true))
    assert.equal(TEXT, zlib.gunzipSync((dechunk(text, select(2, text:find("\r\n\r\n", 1, true)) + 1))))
  end)

  it("lets a writer wait for its reader, and knows when the client left", function()
    local closed, waited, callbackError
    local function noise()
      local bytes = {}
      for i = 1, 65536 do bytes[i] = string.char(math.random(0, 255)) end
      return table.concat(bytes)
    end
    local port = serve(function(_, res)
      local piece = noise()
      res:on("close", function() closed = true end)
      while res:write(piece) do await.sleep(0) end
      waited = true
      res:write(piece, function(err) callbackError = err end)
    end)
    local client = net.connect { port = port, host = "127.0.0.1" }
    client:on("error", function() end)
    client:pause()
    client:write(request("GET /"))
    eventually(function() return waited end)
    client:destroy()
    eventually(function() return closed and callbackError end)
  end)

  it("closes the connection of a handler that errs midway, and answers 500 before", function()
    local stderr = io.stderr
    io.stderr = { write = function() end }                 -- luacheck: ignore 122
    finally(function() io.stderr = stderr end)             -- luacheck: ignore 122
    local port = serve(function(req, res)
      if req.url == "/midway" then res:write(TEXT) end
      error("on purpose")
    end)
    local text, how = rawhttp.exchange(port, request("GET /midway"))
    assert.equal("closed", how)
    assert.is_nil(text:find("\r\n0\r\n\r\n", 1, true))
    local answer = ask(port, "GET /")
    assert.equal(500, answer.status)
    assert.is_nil(answer.headers["content-encoding"])
  end)

  it("may be asked again after a head that could not be sent", function()
    local port = serve(function(_, res)
      res.statusCode = 7
      assert.is_false(pcall(res.finish, res, TEXT))
      res.statusCode = 200
      res:finish(TEXT)
    end)
    assert.equal(TEXT, zlib.gunzipSync(ask(port, "GET /").body))
  end)

  it("leaves upgrades alone, works beneath a class of the program's, and is logged as the program wrote", function()
    local Footed, entry = http.ServerResponse:extend("Footed"), nil
    function Footed:finish(chunk, ...) return http.ServerResponse.finish(self, (chunk or "") .. "foot", ...) end
    local port, server = serve(function(_, res) res:finish(TEXT) end,
      { ServerResponse = Footed, accessLog = function(each) entry = each end })
    server:on("upgrade", function(_, socket) socket:finish("HTTP/1.1 101 Switching Protocols\r\n\r\nhi") end)
    assert.equal(TEXT .. "foot", zlib.gunzipSync(ask(port, "GET /").body))
    eventually(function() return entry end)
    assert.equal(#TEXT, entry.bytes)
    local text = rawhttp.exchange(port, request("GET /", "Connection: upgrade\r\nUpgrade: x\r\nAccept-Encoding: gzip\r\n"))
    assert.equal("HTTP/1.1 101 Switching Protocols\r\n\r\nhi", text)
  end)

  it("refuses an option that is no boolean", function()
    local ok, err = pcall(http.createServer, { compress = "gzip" })
    assert.is_false(ok)
    assert.equal("ERR_INVALID_ARG_TYPE", err.code)
    assert.is_truthy(tostring(err):find("options.compress", 1, true))
  end)
end)

describe("a client that decodes", function()
  local eventually = children.eventually
  after_each(servers.close)

  local function get(port, options)
    options = options or {}
    options.port = port
    return await(function(callback)
      http.get(options):on("response", callback):on("error", function(err) error(err, 0) end)
    end)
  end

  local function serve(encoding, body, more)
    return servers.serve(function(req, res)
      res:setHeader("X-Asked", req.headers["accept-encoding"] or "nothing")
      if encoding then res:setHeader("Content-Encoding", encoding) end
      if more then more(res) end
      res:finish(body)
    end)
  end

  it("reads what it asked for; rawHeaders keep what headers lose", function()
    local port = serve("GZIP", zlib.gzipSync(TEXT))
    local response = get(port, { compress = true })
    assert.equal(TEXT, response:body())
    assert.is_truthy(response.headers["x-asked"]:find("^gzip, deflate"))
    assert.is_nil(response.headers["content-encoding"])
    assert.is_nil(response.headers["content-length"])
    assert.is_nil(response.headersDistinct["content-encoding"])
    local raw = table.concat(response.rawHeaders, " ")
    assert.is_truthy(raw:find("Content-Encoding GZIP", 1, true) and raw:find("Content-Length", 1, true))
  end)

  it("gives the bytes as they came without the option, of a range, and of a coding that nobody knows", function()
    local packed = zlib.gzipSync(TEXT)
    local response = get(serve("gzip", packed))
    assert.equal("nothing", response.headers["x-asked"])
    assert.equal("gzip", response.headers["content-encoding"])
    assert.equal(packed, response:body())
    response = get(serve("gzip", packed:sub(1, 50), function(res) res.statusCode = 206 end), { compress = true, headers = { Range = "bytes=0-49" } })
    assert.equal("nothing", response.headers["x-asked"])
    assert.equal(packed:sub(1, 50), response:body())
    response = get(serve("x-own", "own"), { compress = true })
    assert.equal("x-own", response.headers["content-encoding"])
    assert.equal("own", response:body())
  end)

  it("reads deflate with and without zlib's head, several members of gzip, and an empty body", function()
    for body, encoding in pairs { [zlib.deflateSync(TEXT)] = "deflate", [zlib.deflateRawSync(TEXT)] = "deflate",
      [zlib.gzipSync(TEXT:sub(1, 100)) .. zlib.gzipSync(TEXT:sub(101))] = "x-gzip" } do
      assert.equal(TEXT, get(serve(encoding, body), { compress = true }):body())
    end
    local port = servers.serve(function(_, res)
      res:setHeader("Content-Encoding", "gzip")
      res:write("")
      res:finish()
    end)
    assert.equal("", get(port, { compress = true }):body())
  end)

  it("fails where the body is cut off or damaged", function()
    local packed = zlib.gzipSync(TEXT)
    local codes = { [packed:sub(1, -9)] = "Z_BUF_ERROR", [packed:sub(1, 12) .. ("\255"):rep(50)] = "Z_DATA_ERROR" }
    for body, code in pairs(codes) do
      local response, failed = get(serve("gzip", body), { compress = true }), nil
      response:on("error", function(err) failed = err end)
      response:resume()
      eventually(function() return failed end)
      assert.equal(code, failed.code)
    end
  end)

  it("decodes no more than its reader takes, and the connection serves the next request meanwhile", function()
    local packed = zlib.gzipSync(("\0"):rep(50 * 1024 * 1024))
    local agent = http.Agent:new { keepAlive = true, maxSockets = 1 }
    local port = serve("gzip", packed)
    local response = get(port, { compress = true, agent = agent })
    response:pause()
    eventually(function() return response.readableLength > 0 end)
    await.sleep(20)
    assert.is_true(response.readableLength <= 128 * 1024)
    local size = 0
    response:on("data", function(chunk) size = size + #chunk end)
    response:resume()
    await(function(callback) response:once("end", callback) end)
    assert.equal(50 * 1024 * 1024, size)
    assert.equal(#packed, #get(port, { agent = agent }):body())
    agent:destroy()
  end)

  it("leaves fetch without the headers of the coded bytes", function()
    local response = assert(require("fetch")("http://127.0.0.1:" .. serve("gzip", zlib.gzipSync(TEXT))))
    assert.is_nil(response.headers["content-encoding"])
    assert.is_nil(response.headers["content-length"])
    assert.matches("content%-encoding gzip", table.concat(response.rawHeaders, " "):lower())
    assert.equal(TEXT, response:text())
  end)

  it("limits body() by what was decoded", function()
    local response = get(serve("gzip", zlib.gzipSync(("\0"):rep(10 * 1024 * 1024))), { compress = true })
    local ok, err = pcall(response.body, response)
    assert.is_false(ok)
    assert.equal("ERR_HTTP_BODY_TOO_LARGE", err.code)
  end)
end)
