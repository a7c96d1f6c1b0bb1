local await = require("await")
local ffi = require("ffi")
local fs = require("fs")
local http = require("http")
local https = require("https")
local net = require("net")
local timers = require("timers")
local uv = require("luv")
local pki = require("spec.support.pki")
local rawhttp = require("spec.support.rawhttp")
local servers = require("spec.support.servers")
local sendfile = require("lrun.core.sendfile")

pcall(ffi.cdef, "int posix_fadvise(int, long, long, int);")
local DONTNEED = 4
local MIB = 1024 * 1024

-- Ranges of files as a kind of write beside bytes: on plain streams, on encrypted ones, on luv's handles.
describe("a file written to a stream", function()
  local dir, path, fd, text

  local function make(size)
    local block, parts = {}, {}
    for i = 1, 1000 do block[i] = ("%08x"):format(i * 2654435761 % 4294967296) end
    block = table.concat(block)
    for i = 1, math.ceil(size / (#block + 7)) do parts[i] = ("%07x"):format(i) .. block end
    text = table.concat(parts):sub(1, size)
    fs.writeFileSync(path, text)
    fd = fs.openSync(path, "r")
  end

  before_each(function()
    dir = fs.mkdtempSync((os.getenv("TMPDIR") or "/tmp") .. "/lrun-spec-")
    path = dir .. "/file"
  end)
  after_each(function()
    servers.close()
    fs.closeSync(fd)
    fs.rmSync(dir, { recursive = true })
  end)

  -- What a client of `port` gets for "/", and how the connection ended.
  local function get(port)
    return rawhttp.exchange(port, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", { timeout = 20000 })
  end
  local function body(received) return received:match("\r\n\r\n(.*)$") end
  local function unchunk(bytes)
    local parts, at = {}, 1
    while true do
      local size, from = bytes:match("^(%x+)\r\n()", at)
      if not size then return nil end
      size = tonumber(size, 16)
      if size == 0 then return table.concat(parts) end
      parts[#parts + 1] = bytes:sub(from, from + size - 1)
      at = from + size + 2
    end
  end

  for _, size in ipairs{ 0, 1, 5000, 300000, 9 * MIB + 7 } do
    it(("is whole between bytes, in chunks and by length, of %d bytes"):format(size), function()
      make(size)
      for _, length in ipairs{ false, size + 10 } do
        local err, sent
        local port = servers.serve(function(_, res)
          if length then res:setHeader("Content-Length", length) end
          res:write("first")
          res:_writeFile(fd, 0, size, nil, function(...)
            err, sent = ...
            res:finish("last!")
          end)
        end)
        local received = get(port)
        assert.is_nil(err)
        assert.equal(size, sent)
        local whole = body(received)
        if not length then whole = unchunk(whole) end
        assert.is_true("first" .. text .. "last!" == whole)
      end
    end)
  end

  it("keeps the order of several ranges, and of what is written behind them at once", function()
    make(3 * MIB)
    local calls = {}
    local port = servers.serve(function(_, res)
      res:setHeader("Content-Length", 2 * MIB + 6)
      for i = 1, 2 do
        res:write("a" .. i)
        res:_writeFile(fd, i * 1000, MIB, nil, function(err, sent) calls[#calls + 1] = { i, err, sent } end)
      end
      res:finish("zz")
    end)
    local received = get(port)
    assert.is_true("a1" .. text:sub(1001, 1000 + MIB) .. "a2" .. text:sub(2001, 2000 + MIB) .. "zz" == body(received))
    assert.same({ { 1, nil, MIB }, { 2, nil, MIB } }, calls)
  end)

  it("waits for the answers before it", function()
    make(500000)
    local port = servers.serve(function(req, res)
      if req.url == "/slow" then return timers.setTimeout(function() res:finish("slow") end, 20) end
      res:setHeader("Content-Length", #text)
      res:_writeFile(fd, 0, #text, nil, function() res:finish() end)
    end)
    local received = rawhttp.exchange(port, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
      { timeout = 20000 })
    assert.is_truthy(received:find("slow", 1, true) < received:find("HTTP/1.1 200 OK\r\n", 10, true))
    assert.is_true(text == received:sub(-#text))
  end)

  it("goes through TLS as well", function()
    make(3 * MIB + 1)
    local done
    local port = servers.listen(https.createServer(pki.options("server"), function(_, res)
      res:setHeader("Content-Length", #text)
      res:_writeFile(fd, 0, #text, nil, function(err, sent)
        done = { err, sent }
        res:finish()
      end)
    end))
    local response = await(function(callback)
      https.get({ port = port, host = "127.0.0.1", ca = pki.ca.cert, agent = false }, callback)
    end)
    assert.is_true(text == response:body(10 * MIB))
    assert.same({ nil, #text }, done)
  end)

  it("goes to a luv handle, behind what was written to it", function()
    make(6 * MIB)
    local ends = {}
    local port = servers.listen(net.createServer(function(socket)
      socket:write("first")
      local sent = sendfile.send(socket._handle, fd, 0, #text, function(code, bytes)
        ends[#ends + 1] = { code, bytes }
        socket:finish("last")
      end)
      assert.equal("userdata", type(sent))         -- no socket takes that much at once
    end))
    local parts = {}
    await(function(callback)
      local client = net.connect(port, "127.0.0.1")
      client:on("data", function(data) parts[#parts + 1] = data end)
      client:on("end", function() callback() end)
    end)
    assert.is_true("first" .. text .. "last" == table.concat(parts))
    assert.same({ { nil, #text } }, ends)
  end)

  it("ends the connection where the file is shorter than promised, and writes nothing behind it", function()
    make(MIB)
    local code, sent
    local port = servers.serve(function(_, res)
      res:setHeader("Content-Length", 2 * MIB)
      res:_writeFile(fd, 0, 2 * MIB, nil, function(err, bytes) code, sent = err.code, bytes end)
      res:write("behind")
    end)
    local received, how = get(port)
    assert.equal("closed", how)
    assert.is_true(text == body(received))
    assert.equal("ERR_FILE_TRUNCATED", code)
    assert.equal(MIB, sent)
    local port2 = servers.listen(net.createServer(function(socket)
      local function ended(number, bytes)
        code, sent = number, bytes
        socket:destroy()
      end
      local now, number, bytes = sendfile.send(socket._handle, fd, 0, 2 * MIB, ended)
      if not now then ended(number, bytes) end
    end))
    await(function(callback) net.connect(port2, "127.0.0.1"):resume():on("close", function() callback() end) end)
    assert.equal(-4095, code)
    assert.equal(MIB, sent)
  end)

  it("sends what there is of a file that is shorter in few steps", function()
    make(MIB - 5)
    local port = servers.serve(function(_, res)
      res:setHeader("Content-Length", 3 * MIB)
      res:_writeFile(fd, 0, 3 * MIB, nil, function() end)
    end)
    local before = process.cpuUsage()
    assert.is_true(text == body((get(port))))
    local used = process.cpuUsage(before)
    assert.is_true(used.user + used.system < 1000000)      -- a step a byte takes many seconds
  end)

  it("tells of a reader that left", function()
    make(20 * MIB)
    local ended = 0
    local port = servers.serve(function(_, res)
      res:setHeader("Content-Length", #text)
      res:_writeFile(fd, 0, #text, nil, function(err, sent)
        assert.is_truthy(err)
        assert.is_true(sent < #text)
        ended = ended + 1
      end)
    end)
    local before = #fs.readdirSync("/proc/self/fd")
    for i = 1, 6 do
      await(function(done)
        local client = net.connect(port, "127.0.0.1")
        client:on("error", function() end)
        client:once("data", function() if i % 2 == 0 then client:resetAndDestroy() else client:destroy() end end)
        client:on("close", function() done() end)
        client:write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
      end)
    end
    while ended < 6 or #fs.readdirSync("/proc/self/fd") > before do await.sleep(2) end
  end)

  it("is read by the pool where it is not in memory, while the loop turns", function()
    make(24 * MIB)
    uv.fs_fsync(fd)
    ffi.C.posix_fadvise(fd, 0, 0, DONTNEED)
    local last, longest, turns = uv.hrtime(), 0, 0
    local timer = timers.setInterval(function()
      longest, last, turns = math.max(longest, uv.hrtime() - last), uv.hrtime(), turns + 1
    end, 1)
    local port = servers.serve(function(_, res)
      res:setHeader("Content-Length", #text)
      res:_writeFile(fd, 0, #text, nil, function() res:finish() end)
    end)
    local count = 0
    await(function(done)
      http.get({ port = port, host = "127.0.0.1", agent = false }, function(res)
        res:on("data", function(data) count = count + #data end)
        res:on("end", done)
      end)
    end)
    timers.clearInterval(timer)
    assert.equal(#text, count)
    assert.is_true(turns > 2)
    assert.is_true(longest < 400e6, ("the loop stood for %d ms"):format(longest / 1e6))
  end)
end)
