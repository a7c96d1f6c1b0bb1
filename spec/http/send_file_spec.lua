local await = require("await")
local fs = require("fs")
local http = require("http")
local zlib = require("zlib")
local fileserver = require("spec.support.fileserver")
local rawhttp = require("spec.support.rawhttp")
local servers = require("spec.support.servers")

local DATE, BEFORE, AFTER = "Fri, 01 Mar 2024 12:00:00 GMT", "Fri, 01 Mar 2024 11:59:59 GMT", "Fri, 01 Mar 2024 12:00:01 GMT"
local SECONDS = 1709294400

describe("res:sendFile", function()
  local dir, options, ask, port
  local before = function() end

  setup(function()
    dir = fileserver.folder{
      ["a.txt"] = "0123456789", ["a.html"] = "<p>", ["b.css"] = ("x"):rep(3000), ["b.css.gz"] = "gz", ["b.css.br"] = "br", ["old.js"] = "js",
      ["old.js.gz"] = "stale", [".dot"] = "dots", ["big.bin"] = ("0123456789abcdef"):rep(20000), ["empty"] = "", folder = { ["x.txt"] = "x" },
    }
    for _, name in ipairs{ "a.txt", "b.css", "b.css.gz", "b.css.br", "old.js" } do fs.utimesSync(dir .. "/" .. name, SECONDS + 0.25,
      SECONDS + 0.25) end
    fs.utimesSync(dir .. "/old.js.gz", SECONDS, SECONDS)
  end)
  teardown(function() fs.rmSync(dir, { recursive = true }) end)

  before_each(function()
    options, before = nil, function() end
    ask, port = fileserver.serve(function(req, res)
      before(res)
      res:sendFile(dir .. req.url, options)
    end)
  end)
  after_each(servers.close)

  it("answers with the file, what it is, and how long it is good for", function()
    local response = ask("/a.txt")
    assert.equal(200, response.status)
    assert.equal("0123456789", response.body)
    assert.equal("text/plain; charset=utf-8", response.headers["content-type"])
    assert.equal(DATE, response.headers["last-modified"])
    assert.equal("public, max-age=0", response.headers["cache-control"])
    assert.equal("bytes", response.headers["accept-ranges"])
    assert.match('^"[%x.-]+"$', response.headers.etag)
    assert.is_nil(response.headers.vary)
    local head = ask("/a.txt", nil, "HEAD")
    assert.equal("", head.body)
    assert.equal("10", head.headers["content-length"])
    assert.equal(response.headers.etag, head.headers.etag)
    assert.equal("0", ask("/empty").headers["content-length"])
    assert.is_true(ask("/big.bin").body == ("0123456789abcdef"):rep(20000))
  end)

  it("does what its options say", function()
    local function headers(given)
      options = given
      return ask("/a.txt").headers
    end
    assert.is_nil(headers{ etag = false }.etag)
    assert.is_nil(headers{ lastModified = false }["last-modified"])
    assert.is_nil(headers{ acceptRanges = false }["accept-ranges"])
    assert.is_nil(headers{ cacheControl = false }["cache-control"])
    assert.equal("public, max-age=3600, immutable", headers{ maxAge = 3600999, immutable = true }["cache-control"])
    assert.equal("text/x-other", headers{ type = "text/x-other" }["content-type"])
    assert.equal("text/html; charset=utf-8", headers{ type = "html" }["content-type"])
    assert.equal("1", headers{ headers = { ["X-One"] = "1" } }["x-one"])
    local path, stats
    assert.equal("f", headers{ headers = function(...) path, stats = ... return { ["X-One"] = "f" } end }["x-one"])
    assert.equal(dir .. "/a.txt", path)
    assert.equal(10, stats.size)
    assert.is_true(stats:isFile())
    assert.equal(SECONDS * 1000 + 250, stats.mtimeMs)
  end)

  it("leaves what the program has set", function()
    before = function(res)
      res:setHeader("Content-Type", "text/mine")
      res:setHeader("Cache-Control", "no-store")
      res:setHeader("ETag", '"mine"')
      res:setHeader("Last-Modified", AFTER)
      res.statusMessage = "Fine"
    end
    local headers = ask("/a.txt").headers
    assert.same({ "text/mine", "no-store", '"mine"', AFTER },
      { headers["content-type"], headers["cache-control"], headers.etag, headers["last-modified"] })
    assert.equal(304, ask("/a.txt", { 'If-None-Match: "mine"' }).status)
    assert.equal(304, ask("/a.txt", { "If-Modified-Since: " .. AFTER }).status)
    assert.equal(200, ask("/a.txt", { "If-Modified-Since: " .. DATE }).status)
  end)

  it("judges conditions in their order", function()
    local etag = ask("/a.txt").headers.etag
    for _, case in ipairs{
      { 304, "If-None-Match: " .. etag }, { 304, "If-None-Match: W/" .. etag }, { 304, 'If-None-Match: "a,b" , ' .. etag }, { 304,
        "If-None-Match: *" },
      { 304, 'If-None-Match: "x"', "If-None-Match: " .. etag }, { 200, 'If-None-Match: "*"' }, { 200, "If-None-Match: " .. etag:sub(2) },
      { 200, 'If-None-Match: "x"', "If-Modified-Since: " .. AFTER }, { 412, 'If-Match: "x"' }, { 412, "If-Match: W/" .. etag },
      { 200, "If-Match: " .. etag }, { 200, "If-Match: *" }, { 304, "If-Modified-Since: " .. DATE }, { 200, "If-Modified-Since: " .. BEFORE },
      { 304, "If-Modified-Since: Friday, 01-Mar-24 12:00:00 GMT" }, { 304, "If-Modified-Since: Fri Mar  1 12:00:00 2024" },
      { 200, "If-Modified-Since: Fri, 32 Mar 2024 12:00:00 GMT" }, { 200, "If-Modified-Since: tomorrow" }, { 412,
        "If-Unmodified-Since: " .. BEFORE },
      { 200, "If-Unmodified-Since: " .. DATE }, { 200, "If-Match: " .. etag, "If-Unmodified-Since: " .. BEFORE },
      { 412, 'If-Match: "x"', "Range: bytes=0-1" }, { 304, "If-None-Match: *", "Range: bytes=0-1" },
    } do
      local response = ask("/a.txt", { unpack(case, 2) })
      assert.equal(case[1], response.status, table.concat(case, " "))
      if case[1] == 304 then
        assert.is_nil(response.headers["content-length"])
        assert.equal(etag, response.headers.etag)
      end
    end
  end)

  it("sends ranges", function()
    local etag = ask("/a.txt").headers.etag
    local function range(text, ...) return ask("/a.txt", { "Range: " .. text, ... }) end
    for text, want in pairs{
      ["bytes=0-0"] = "0", ["bytes=8-"] = "89", ["bytes=-3"] = "789", ["bytes=-99999999999999999999"] = "0123456789", ["BYTES=2-3"] = "23",
      ["bytes=5-99999999999999999999999"] = "56789", ["bytes=,3-4,"] = "34", ["bytes=3-4, 99-"] = "34",
    } do
      local response = range(text)
      assert.equal(206, response.status, text)
      assert.equal(want, response.body, text)
      local first, last = response.headers["content-range"]:match("^bytes (%d+)%-(%d+)/10$")
      assert.equal(want, ("0123456789"):sub(first + 1, last + 1), text)
    end
    for _, text in ipairs{ "bytes=10-", "bytes=-0", "bytes=10-11,-0" } do
      local response = range(text)
      assert.equal(416, response.status, text)
      assert.equal("bytes */10", response.headers["content-range"], text)
    end
    for _, text in ipairs{ "bytes=", "bytes=-", "bytes=2-1", "bytes=+1-2", "bytes=1-2-3", "items=0-1", "bytes=0-1,2", "bytes=0-5,3-6",
      "bytes=" .. ("0-,"):rep(2000),
      "bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8", "bytes 0-1", "bytes=0-1;2-3" } do
      assert.equal(200, range(text).status, text)
    end
    assert.equal(206, range("bytes=0-1", "If-Range: " .. etag).status)
    assert.equal(206, range("bytes=0-1", "If-Range: " .. DATE).status)
    for _, unless in ipairs{ '"x"', "W/" .. etag, AFTER, BEFORE, "*", '"x", ' .. etag } do
      assert.equal(200, range("bytes=0-1", "If-Range: " .. unless).status, unless)
    end
    assert.equal(200, ask("/a.txt", { "Range: bytes=0-1" }, "HEAD").status)
    assert.equal(416, ask("/empty", { "Range: bytes=0-" }).status)
    options = { acceptRanges = false }
    assert.equal(200, range("bytes=0-1").status)
  end)

  it("sends several ranges in parts", function()
    for name, length in pairs{ ["a.txt"] = 10, ["big.bin"] = 320000 } do
      local response = ask("/" .. name, { "Range: bytes=5-6, 0-1,-1" })
      assert.equal(206, response.status)
      assert.is_nil(response.headers["content-range"])
      assert.is_true(response.complete)
      local boundary = response.headers["content-type"]:match("^multipart/byteranges; boundary=(%x+)$")
      local kind = name == "a.txt" and "text/plain; charset=utf-8" or "application/octet-stream"
      local function part(range, bytes)
        return ("--%s\r\nContent-Type: %s\r\nContent-Range: bytes %s/%d\r\n\r\n%s\r\n"):format(boundary, kind, range, length, bytes)
      end
      local tail = length == 10 and "9" or "f"
      assert.equal(part("5-6", "56") .. part("0-1", "01") .. part(("%d-%d"):format(length - 1, length - 1),
        tail) .. "--" .. boundary .. "--\r\n",
        response.body)
    end
  end)

  it("sends the coding beside the file that the client likes most", function()
    for accept, want in pairs{
      ["gzip"] = "gz", ["br"] = "br", ["gzip, br"] = "br", ["gzip;q=0.9, br;q=0.5"] = "gz", ["*"] = "br", ["br;q=0, *"] = "gz",
        ["x-gzip"] = "gz",
      ["identity, gzip;q=0.5"] = ("x"):rep(3000), ["*;q=0"] = ("x"):rep(3000), [""] = ("x"):rep(3000), ["gzip;q=x"] = ("x"):rep(3000),
    } do
      local response = ask("/b.css", { "Accept-Encoding: " .. accept })
      assert.equal(want, response.body, accept)
      assert.equal("Accept-Encoding", response.headers.vary, accept)
      assert.equal("text/css; charset=utf-8", response.headers["content-type"])
      assert.equal(want == "gz" and "gzip" or want == "br" and "br" or nil, response.headers["content-encoding"])
    end
    local tag = ask("/b.css", { "Accept-Encoding: gzip" }).headers.etag
    assert.equal(304, ask("/b.css", { "Accept-Encoding: gzip", "If-None-Match: " .. tag }).status)
    assert.equal(200, ask("/b.css", { "If-None-Match: " .. tag }).status)
    assert.equal("js", ask("/old.js", { "Accept-Encoding: gzip" }).body)
    before = function(res) res:setHeader("Vary", "Origin") end
    assert.equal("Origin, Accept-Encoding", ask("/b.css").headers.vary)
    options = { precompressed = false }
    assert.equal("Origin", ask("/b.css", { "Accept-Encoding: gzip" }).headers.vary)
  end)

  it("answers failures, and goes on", function()
    local statuses = {}
    local text = {}
    for i, target in ipairs{ "/none", "/folder", "/.dot", "/a.txt/x", "/a.txt%00", "/a.txt" } do
      text[i] = ("GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n"):format(target, i == 6 and "Connection: close\r\n" or "")
    end
    local received = rawhttp.exchange(port, table.concat(text))
    for status in received:gmatch("HTTP/1%.1 (%d+)") do statuses[#statuses + 1] = tonumber(status) end
    assert.same({ 404, 404, 404, 404, 404, 200 }, statuses)
    assert.is_nil(received:find(dir, 1, true))
  end)

  it("gives failures to the callback, with their status, and leaves the answer to the program", function()
    local errs = {}
    local function handler(req, res)
      res:sendFile(req.url:sub(2), { root = dir }, function(err)
        errs[#errs + 1] = err
        res.statusCode = 418
        res:finish(err.code)
      end)
    end
    local own = fileserver.serve(handler)
    for target, want in pairs{ ["/none"] = { 404, "ENOENT" }, ["/folder"] = { 404, "EISDIR" }, ["/../x"] = { 403, "EXDEV" },
      ["/.dot"] = { 404, "ENOENT" } } do
      local response = own(target)
      assert.equal(418, response.status)
      assert.equal(want[2], response.body)
      assert.equal(want[1], errs[#errs].statusCode)
    end
    assert.equal("ERR_HTTP_RANGE_NOT_SATISFIABLE", own("/a.txt", { "Range: bytes=10-" }).body)
    assert.equal("ERR_HTTP_PRECONDITION_FAILED", own("/a.txt", { 'If-Match: "x"' }).body)
    assert.equal(6, #errs)
  end)

  it("calls back once when all is sent", function()
    local count, returned, early = 0, false, false
    local own = fileserver.serve(function(req, res)
      returned = false
      res:sendFile(dir .. req.url, function(err)
        if err ~= nil or not returned then early = true end
        count = count + 1
      end)
      returned = true
    end)
    own("/a.txt")
    own("/big.bin")
    own("/a.txt", { "If-None-Match: *" })
    own("/a.txt", nil, "HEAD")
    while count < 4 do await.sleep(1) end
    assert.is_false(early)
  end)

  it("throws for what is no path, no option, and after the head", function()
    local thrown = {}
    local own = fileserver.serve(function(_, res)
      for i, arguments in ipairs{ {}, { 5 }, { "relative" }, { dir .. "/a.txt", 5 }, { dir .. "/a.txt", {}, 5 }, { dir .. "/a.txt",
        { maxAge = "1d" } },
        { dir .. "/a.txt", { maxAge = -1 } }, { "x", { root = 5 } }, { "x", { root = "" } }, { "x", { root = dir, dotfiles = "no" } },
        { dir .. "/a.txt", { etag = 1 } }, { dir .. "/a.txt", { headers = "x" } }, { dir .. "/a.txt", { type = "nonsense" } } } do
        local ok, err = pcall(res.sendFile, res, unpack(arguments))
        thrown[i] = not ok and err.code
      end
      local ok, err = pcall(res.sendFile, dir .. "/a.txt")
      thrown.dot = not ok and tostring(err):find("colon", 1, true) ~= nil
      res:write("begun")
      ok, err = pcall(res.sendFile, res, dir .. "/a.txt")
      thrown.late = not ok and err.code
      res:finish()
    end)
    own("/")
    for i = 1, 13 do assert.is_truthy(thrown[i] and thrown[i]:find("^ERR_INVALID_ARG_") or thrown[i] == "ERR_OUT_OF_RANGE",
      i .. " " .. tostring(thrown[i])) end
    assert.is_true(thrown.dot)
    assert.equal("ERR_HTTP_HEADERS_SENT", thrown.late)
  end)

  it("compresses what the server compresses, and only that", function()
    local own = { servers.serve({ compress = true }, function(req, res) res:sendFile(dir .. req.url) end) }
    local response = fileserver.ask(own[1], "/a.html", { "Accept-Encoding: gzip" })
    assert.equal("<p>", response.body)
    fs.writeFileSync(dir .. "/large.html", ("<p>text</p>"):rep(1000))
    local whole
    await(function(done)
      http.get({ port = own[1], host = "127.0.0.1", path = "/large.html", headers = { ["Accept-Encoding"] = "gzip" } }, function(res)
        assert.equal("gzip", res.headers["content-encoding"])
        assert.match('^W/"', res.headers.etag)
        whole = zlib.gunzipSync(res:body())
        done()
      end)
    end)
    assert.equal(("<p>text</p>"):rep(1000), whole)
    assert.equal("<p>", fileserver.ask(own[1], "/large.html", { "Accept-Encoding: gzip", "Range: bytes=0-2" }).body)
    assert.equal("br", fileserver.ask(own[1], "/b.css", { "Accept-Encoding: br" }).body)
  end)

  it("is written down with its bytes", function()
    local entries = {}
    local own = { servers.serve({ accessLog = function(entry) entries[#entries + 1] = entry end }, function(req,
      res) res:sendFile(dir .. req.url) end) }
    fileserver.ask(own[1], "/big.bin")
    fileserver.ask(own[1], "/a.txt", { "Range: bytes=0-3" })
    fileserver.ask(own[1], "/a.txt", { "If-None-Match: *" })
    while #entries < 3 do await.sleep(1) end
    for i, want in ipairs{ { 200, 320000 }, { 206, 4 }, { 304, 0 } } do assert.same(want, { entries[i].status, entries[i].bytes }) end
  end)
end)
