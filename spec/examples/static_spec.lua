local await = require("await")
local fs = require("fs")
local net = require("net")
local path = require("path")
local program = require("spec.support.program")
local rawhttp = require("spec.support.rawhttp")
local timers = require("timers")
local processes = require("spec.support.processes")

local base, root, server, port

local function at(name) return root .. "/" .. name end

-- One request on a connection of its own: status, headers (lower case), body.
local function request(target, headers, method)
  local lines = { (method or "GET") .. " " .. target .. " HTTP/1.1", "Host: x", "Connection: close" }
  for name, value in pairs(headers or {}) do lines[#lines + 1] = name .. ": " .. value end
  local text, how = rawhttp.exchange(port, table.concat(lines, "\r\n") .. "\r\n\r\n")
  assert.equal("closed", how)
  local status, head, body = text:match("^HTTP/1.1 (%d+) [^\r]*\r\n(.-\r\n)\r\n(.*)$")
  local fields = {}
  for name, value in (head or ""):gmatch("([^:]+): ([^\r]*)\r\n") do fields[name:lower()] = value end
  return tonumber(status), fields, body
end

local function serverDescriptors() return processes.descriptors(server.child.pid) end

local function serverMemory()         -- KiB
  return tonumber(fs.readFileSync(("/proc/%d/status"):format(server.child.pid)):match("VmRSS:%s+(%d+)"))
end

local function eventually(condition)
  for _ = 1, 500 do
    if condition() then return true end
    await(function(done) timers.setTimeout(done, 10) end)
  end
  return false
end

describe("examples/static.lua", function()
  setup(function()
    base = fs.realpathSync(fs.mkdtempSync("/tmp/lrun-static-"))
    root = path.join(base, "root")
    fs.mkdirSync(at("sub/dir"), { recursive = true })
    fs.mkdirSync(at(".git"))
    fs.mkdirSync(at("site"))
    fs.writeFileSync(at("digits.txt"), "0123456789")
    fs.writeFileSync(at("empty.css"), "")
    fs.writeFileSync(at("a b&c.html"), "<p>")
    fs.writeFileSync(at(".git/config"), "secret")
    fs.writeFileSync(at("site/index.html"), "<h1>site</h1>")
    fs.writeFileSync(base .. "/secret", "secret")
    fs.mkdirSync(base .. "/root-2")
    fs.writeFileSync(base .. "/root-2/secret", "secret")
    fs.symlinkSync("../secret", at("out"))
    fs.symlinkSync("..", at("up"))
    fs.symlinkSync(base .. "/root-2/secret", at("beside"))
    fs.symlinkSync("digits.txt", at("in"))
    fs.symlinkSync("loop", at("loop"))
    os.execute("mkfifo '" .. at("pipe") .. "'")
    server = program.start("examples/static.lua", { root }, { PORT = 0 })
    port = tonumber((server:line("Serving .* on http://localhost:(%d+)")))
  end)

  teardown(function()
    server:interrupt("SIGTERM")
    server:gone()
    fs.rmSync(base, { recursive = true, force = true })
  end)

  it("serves files with their type, size, tag and date", function()
    local status, headers, body = request("/digits.txt")
    assert.equal(200, status)
    assert.equal("0123456789", body)
    assert.equal("text/plain; charset=utf-8", headers["content-type"])
    assert.equal("10", headers["content-length"])
    assert.equal("bytes", headers["accept-ranges"])
    assert.equal("nosniff", headers["x-content-type-options"])
    assert.truthy(headers.etag:find('^"[%x%-.]+"$'))
    assert.truthy(headers["last-modified"]:find("^%a%a%a, %d%d %a%a%a %d%d%d%d %d%d:%d%d:%d%d GMT$"))
    status, headers, body = request("/empty.css")
    assert.same({ 200, "0", "text/css; charset=utf-8", "" },
      { status, headers["content-length"], headers["content-type"], body })
    assert.equal("<p>", select(3, request("/a%20b%26c.html?query=/../x")))
    assert.equal("0123456789", select(3, request("http://x/digits.txt")))
    assert.equal("0123456789", select(3, request("/in")))
  end)

  it("answers HEAD like GET without the body", function()
    local _, headers, body = request("/digits.txt", { Range = "bytes=0-1" }, "HEAD")
    assert.equal("10", headers["content-length"])
    assert.equal("", body)
    assert.equal("", select(3, request("/nope", nil, "HEAD")))
    assert.equal("", select(3, request("/sub/", nil, "HEAD")))
  end)

  it("serves the one range that is asked for", function()
    local CASES = {
      ["bytes=0-3"] = "0123", ["bytes=7-"] = "789", ["bytes=-2"] = "89", ["bytes=5-100"] = "56789",
      ["bytes=-100"] = "0123456789", ["Bytes= 9-9 "] = "9",
    }
    for range, expected in pairs(CASES) do
      local status, headers, body = request("/digits.txt", { Range = range })
      assert.same({ 206, expected, tostring(#expected) }, { status, body, headers["content-length"] }, range)
      local first = ("0123456789"):find(expected, 1, true) - 1
      assert.equal(("bytes %d-%d/10"):format(first, first + #expected - 1), headers["content-range"])
    end
    for _, range in ipairs{ "bytes=10-", "bytes=99999999999999999999-", "bytes=-0" } do
      local status, headers = request("/digits.txt", { Range = range })
      assert.same({ 416, "bytes */10" }, { status, headers["content-range"] }, range)
    end
    for _, range in ipairs{ "bytes=3-1", "bytes=-", "bytes=a-b", "lines=0-1", "bytes=0-4,3-4", "bytes=1.5-2", "" } do
      local status, _, body = request("/digits.txt", { Range = range })
      assert.same({ 200, "0123456789" }, { status, body }, range)
    end
    assert.equal(416, (request("/empty.css", { Range = "bytes=0-0" })))
  end)

  it("minds conditions", function()
    local _, headers = request("/digits.txt")
    local tag, date = headers.etag, headers["last-modified"]
    local function status(conditions) return (request("/digits.txt", conditions)) end
    local code, fields, body = request("/digits.txt", { ["If-None-Match"] = tag })
    assert.same({ 304, "", tag }, { code, body, fields.etag })
    assert.equal(304, status{ ["If-None-Match"] = '"x", W/' .. tag })
    assert.equal(304, status{ ["If-None-Match"] = "*" })
    assert.equal(200, status{ ["If-None-Match"] = '"x"', ["If-Modified-Since"] = date })
    assert.equal(304, status{ ["If-Modified-Since"] = date })
    assert.equal(304, status{ ["If-Modified-Since"] = "Fri, 01 Jan 2999 00:00:00 GMT" })
    assert.equal(200, status{ ["If-Modified-Since"] = "Thu, 29 Feb 1996 23:59:59 GMT" })
    assert.equal(200, status{ ["If-Modified-Since"] = "yesterday" })
    assert.equal(206, status{ Range = "bytes=0-1", ["If-Range"] = tag })
    assert.equal(206, status{ Range = "bytes=0-1", ["If-Range"] = date })
    assert.equal(200, status{ Range = "bytes=0-1", ["If-Range"] = '"x"' })
  end)

  it("serves a folder's index.html, or lists it", function()
    local status, headers = request("/site")
    assert.same({ 301, "/site/" }, { status, headers.location })
    assert.equal("<h1>site</h1>", select(3, request("/site/")))
    local _, listing, body = request("/")
    assert.equal("text/html; charset=utf-8", listing["content-type"])
    assert.truthy(body:find('<a href="./a%20b%26c.html">a b&amp;c.html</a>', 1, true))
    assert.truthy(body:find('<a href="./sub/">sub/</a>', 1, true))
    assert.is_nil(body:find(".git", 1, true))
    assert.is_nil(body:find('"../"', 1, true))
    assert.truthy(select(3, request("/sub/")):find('<a href="../">', 1, true))
    assert.equal("/sub/", select(2, request("//sub")).location)
  end)

  it("serves nothing outside its folder", function()
    local CASES = {
      ["/../secret"] = 403, ["/sub/../../secret"] = 403, ["/%2e%2e/secret"] = 403, ["/..%2fsecret"] = 403,
      ["/%2e%2e%2fsecret"] = 403, ["/....//secret"] = 404, ["/..%5csecret"] = 404, ["/out"] = 404, ["/up/secret"] = 404,
      ["/up/"] = 404, ["/beside"] = 404, ["/up/root-2/secret"] = 404, ["/loop"] = 404, ["/.git/config"] = 404,
      ["/sub/%2egit"] = 404, ["/digits.txt%00.html"] = 400, ["/%"] = 400, ["/%4"] = 400, ["/%zz"] = 400, ["/pipe"] = 404,
      ["/digits.txt/"] = 404, ["/digits.txt/x"] = 404, ["/nope"] = 404,
    }
    for target, expected in pairs(CASES) do
      local status, _, body = request(target)
      assert.equal(expected, status, target)
      assert.is_nil(body:find("secret", 1, true))
    end
  end)

  it("refuses other methods", function()
    for _, method in ipairs{ "POST", "DELETE", "OPTIONS" } do
      local status, headers = request("/digits.txt", method == "POST" and { ["Content-Length"] = "0" } or nil, method)
      assert.same({ 405, "GET, HEAD" }, { status, headers.allow })
    end
  end)

  it("streams a big file whole, and does not run ahead of a slow reader", function()
    local size = 256 * 1024 * 1024
    local fd = fs.openSync(at("big.bin"), "w")
    fs.writeSync(fd, "end", size - 3)
    fs.closeSync(fd)
    local status, headers, body = request("/big.bin", { Range = ("bytes=%d-"):format(size - 3000000) })
    assert.same({ 206, "3000000", 3000000, "end" }, { status, headers["content-length"], #body, body:sub(-3) })
    local open, memory = serverDescriptors(), serverMemory()
    local socket = net.connect(port, "127.0.0.1")
    socket:write("GET /big.bin HTTP/1.1\r\nHost: x\r\n\r\n")
    await(function(done) socket:once("data", done) end)
    socket:pause()
    for _ = 1, 200 do request("/digits.txt") end       -- turns of its loop: a piece in each would be more by far
    assert.is_true(serverMemory() - memory < 8192)
    await(function(done) socket:once("close", done) socket:destroy() end)
    assert.is_true(eventually(function() return serverDescriptors() <= open end))
    fs.unlinkSync(at("big.bin"))
  end)

  it("gives up when the file becomes shorter meanwhile", function()
    fs.writeFileSync(at("shrinks.bin"), ("x"):rep(64 * 1024 * 1024))
    local socket = net.connect(port, "127.0.0.1")
    socket:write("GET /shrinks.bin HTTP/1.1\r\nHost: x\r\n\r\n")
    await(function(done) socket:once("data", done) end)
    fs.writeFileSync(at("shrinks.bin"), "")
    await(function(done) socket:once("close", done) socket:on("error", function() end):resume() end)
    assert.equal(200, (request("/digits.txt")))
  end)

  it("leaves no descriptor when clients go away at any moment", function()
    assert.is_true(eventually(function() return request("/digits.txt") == 200 end))
    local open = serverDescriptors()
    fs.writeFileSync(at("medium.bin"), ("x"):rep(1000000))
    local left = 60
    await(function(done)
      for i = 1, 60 do
        local socket = net.connect(port, "127.0.0.1")
        socket:on("error", function() end)
        socket:once("close", function()
          left = left - 1
          if left == 0 then done() end
        end)
        socket:write("GET /medium.bin HTTP/1.1\r\nHost: x\r\n\r\n")
        if i % 3 == 0 then
          socket:once("data", function() socket:destroy() end)
        elseif i % 3 == 1 then
          socket:once("connect", function() socket:resetAndDestroy() end)
        else
          timers.setTimeout(function() socket:destroy() end, i % 10)
        end
      end
    end)
    assert.is_true(eventually(function() return serverDescriptors() <= open end))
  end)
end)
