local await = require("await")
local child_process = require("child_process")
local ffi = require("ffi")
local fs = require("fs")
local http = require("http")
local net = require("net")
local stream = require("stream")
local core = require("lrun.core.files")
local children = require("spec.support.children")
local files = require("spec.support.files")
local servers = require("spec.support.servers")

-- A file that is piped to where the kernel can bring it.
describe("a file on its way", function()
  local eventually = children.eventually
  local MIB = 1024 * 1024
  local directory, path, text

  setup(function()
    directory = files.directory()
    local parts = {}
    for i = 1, 6 * MIB / 16 do parts[i] = ("%015d\n"):format(i) end
    text = table.concat(parts)
    path = directory .. "/file"
    fs.writeFileSync(path, text)
  end)
  teardown(function() fs.rmSync(directory, { recursive = true }) end)
  after_each(servers.close)

  local function descriptors() return #fs.readdirSync("/proc/self/fd") end

  -- A connection that reads nothing until `rest` is called, which returns all that comes.
  local function connect(port, request)
    local client = net.connect(port, "127.0.0.1")
    client:on("error", function() end)
    client:pause()
    if request then client:write("GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n") end
    return client, function()
      local parts = {}
      client:on("data", function(data) parts[#parts + 1] = data end)
      await(function(callback)
        client:on("close", function() callback() end)
        client:resume()
      end)
      return table.concat(parts)
    end
  end

  local function body(response) return response:match("\r\n\r\n(.*)") end

  -- What a chunked body says, and the size of its largest chunk.
  local function unchunk(bytes)
    local at, parts, largest = 1, {}, 0
    while true do
      local size, from = bytes:match("^(%x+)\r\n()", at)
      size = tonumber(size, 16)
      if size == 0 then return table.concat(parts), largest end
      assert.equal("\r\n", bytes:sub(from + size, from + size + 1))
      parts[#parts + 1] = bytes:sub(from, from + size - 1)
      at, largest = from + size + 2, math.max(largest, size)
    end
  end

  -- Pipes a stream of the file into a socket, or a response that says its length, whose reader waits; returns the stream when it
  -- stands, the destination, and `rest`.
  local function stalled(kind, options)
    local file, destination
    local function start(to)
      destination, file = to, fs.createReadStream(path, options)
      file:pipe(to)
    end
    local port
    if kind == "socket" then
      port = servers.listen(net.createServer(function(socket)
        socket:on("error", function() end)
        start(socket)
      end))
    else
      port = servers.serve(function(_, res)
        res:setHeader("Content-Length", #text)
        start(res)
      end)
    end
    local _, rest = connect(port, kind ~= "socket")
    eventually(function() return file and file.bytesRead > 200000 and destination.writableNeedDrain end)
    return file, destination, kind == "socket" and rest or function() return body(rest()) end
  end

  it("never becomes strings", function()
    local big = directory .. "/big"
    local file = assert(io.open(big, "wb"))
    for _ = 1, 10 do file:write(text) end
    file:close()
    local size, counted = 10 * #text, nil
    local function measure(send)
      collectgarbage()
      collectgarbage("stop")
      local before = collectgarbage("count")
      send()
      local grown = (collectgarbage("count") - before) / 1024
      collectgarbage("restart")
      assert.is_true(grown < 8, grown .. " MiB")
    end
    measure(function()
      local child = child_process.spawn("wc", { "-c" }, { stdio = { "pipe", "pipe", "inherit" } })
      fs.createReadStream(big):pipe(child.stdin)
      counted = await(function(callback) child.stdout:once("data", callback) end)
    end)
    assert.equal(size, tonumber(counted))
    -- curl is another process: what it reads is on no heap of ours
    local port = servers.serve(function(_, res) stream.pipeline(fs.createReadStream(big), res, function() end) end)
    measure(function()
      local command = "curl -s http://127.0.0.1:" .. port .. " | wc -c"
      local child = child_process.spawn("sh", { "-c", command }, { stdio = { "ignore", "pipe", "inherit" } })
      counted = await(function(callback) child.stdout:once("data", callback) end)
    end)
    assert.equal(size, tonumber(counted))
  end)

  for _, kind in ipairs{ "socket", "response" } do
    it("goes on as data for who listens half way, to a " .. kind, function()
      local file, _, rest = stalled(kind)
      local seen, from = {}, nil
      file:on("data", function(data)
        from = from or file.bytesRead - #data
        seen[#seen + 1] = data
      end)
      assert.is_true(text == rest())
      seen = table.concat(seen)
      assert.is_true(#seen > 0 and seen == text:sub(-#seen))
      assert.equal(#text - #seen, from)
    end)

    it("is free at once when it is unpiped or destroyed, from a " .. kind, function()
      local before = descriptors()
      local file, to, rest = stalled(kind)
      file:unpipe(to)
      local left = {}
      await(function(callback)        -- the reader of the destination still waits
        file:on("data", function(data) left[#left + 1] = data end)
        file:on("close", function() callback() end)
        file:resume()
      end)
      left = table.concat(left)
      to:finish(left)
      assert.is_true(text == rest())
      local second, destination, restOfSecond = stalled(kind)
      local sent = second.bytesRead
      await(function(callback) second:once("close", callback):destroy() end)
      assert.is_nil(second.fd)
      if kind == "socket" then destination:finish() else destination:destroy() end
      local received = restOfSecond()
      assert.is_true(text:sub(1, #received) == received)
      if kind == "socket" then assert.equal(sent, #received) end
      servers.close()
      eventually(function() return descriptors() <= before end)
    end)

    it("cuts the connection when what was promised is gone, of a " .. kind, function()
      if not files.areTried(directory) then return pending("the mount of the folder is in no table here") end
      local short = directory .. "/short"
      fs.writeFileSync(short, text)
      local whole = path
      path = short
      local file, _, rest = stalled(kind, { highWaterMark = MIB })
      path = whole
      local promised = file.bytesRead
      fs.truncateSync(short, 0)
      assert.is_true(#rest() < promised)
      eventually(function() return file.destroyed or file.isPaused and file:isPaused() end)
      file:destroy()
    end)
  end

  it("waits with no more than the high-water mark, and was opened before any of it went", function()
    local mark = 32 * 1024
    for _, kind in ipairs{ "socket", "response" } do
      local file, destination, rest = stalled(kind, { highWaterMark = mark })
      if kind == "socket" then
        assert.is_true(file.bytesRead - destination.bytesWritten <= mark)
      else
        assert.is_true(destination.writableLength <= destination.writableHighWaterMark + mark)
      end
      assert.is_true(text == rest())
      servers.close()
    end
    local seen
    local port = servers.serve(function(_, res)
      local file = fs.createReadStream(path, { highWaterMark = mark })
      file:on("ready", function() seen = file.bytesRead end)
      file:pipe(res)
    end)
    local _, rest = connect(port, true)
    local received, largest = unchunk(body(rest()))
    assert.equal(0, seen)
    assert.is_true(largest <= mark)
    assert.is_true(text == received)
  end)

  it("is read where no descriptor is left for what waits", function()
    pcall(ffi.cdef, "struct rlimit_spec { unsigned long now, most; }; int getrlimit(int, void *); int setrlimit(int, const void *);")
    local NOFILE, limits = 7, ffi.new("struct rlimit_spec")
    assert.equal(0, ffi.C.getrlimit(NOFILE, limits))
    local before = limits.now
    local function limit(number)
      limits.now = number
      assert.equal(0, ffi.C.setrlimit(NOFILE, limits))
    end
    local counts = require("lrun.fs.ways").counts
    for _, kind in ipairs{ "socket", "response", "chunks" } do
      local file, start
      function start(to, res)
        if kind == "response" then res:setHeader("Content-Length", #text) end
        file = fs.createReadStream(path)
        file:on("ready", function() limit(3) end)       -- what is open stays open
        file:pipe(to)
      end
      local port = kind == "socket" and servers.listen(net.createServer(start)) or servers.serve(function(_, res) start(res, res) end)
      local _, rest = connect(port, kind ~= "socket")
      local reads = counts().read
      local read = reads.cache + reads.pool
      eventually(function() return file and file.bytesRead > 200000 and file:isPaused() end)
      limit(before)
      reads = counts().read
      assert.is_true(reads.cache + reads.pool > read, kind)
      local received = rest()
      if kind == "response" then received = body(received) end
      if kind == "chunks" then received = unchunk(body(received)) end
      assert.is_true(text == received, kind)
      servers.close()
    end
  end)

  it("is read where its size need not be true, on a file system that is not local", function()
    local list = directory .. "/mounts"
    local mounts = fs.readFileSync("/proc/self/mountinfo"):gsub(" %- %S+", " - nfs")
    fs.writeFileSync(list, mounts)
    core.mountsFrom(list)
    local before = require("lrun.fs.ways").counts().read.pool
    local port = servers.serve(function(_, res)
      res:setHeader("Content-Length", #text)
      fs.createReadStream(path):pipe(res)
    end)
    local _, rest = connect(port, true)
    local received = rest()
    core.mountsFrom(nil)
    assert.is_true(text == body(received))
    assert.is_true(require("lrun.fs.ways").counts().read.pool - before >= #text / (64 * 1024))
  end)

  it("is what comes first of a socket that is given away", function()
    local file, socket, rest = stalled("socket")
    local sent = file.bytesRead
    file:unpipe(socket)
    local server, handle = socket:_acceptedBy(), socket:_detach()
    handle:write("behind", function() handle:close(function() server:_connectionClosed() end) end)
    local received = rest()
    assert.equal(sent + #"behind", #received)
    assert.is_true(text:sub(1, sent) .. "behind" == received)
    file:destroy()
  end)

  it("waits for what was written before it, and what is written behind it waits", function()
    local port = servers.listen(net.createServer(function(socket)
      socket:write(("a"):rep(MIB))
      local file = fs.createReadStream(path, { finish = MIB - 1 })
      file:pipe(socket, { finish = false })
      file:on("end", function() socket:finish(("b"):rep(MIB)) end)
    end))
    local _, rest = connect(port)
    assert.is_true(("a"):rep(MIB) .. text:sub(1, MIB) .. ("b"):rep(MIB) == rest())
  end)

  it("goes on behind a response that is complete later, also where the kernel takes its first piece at once", function()
    local small = directory .. "/small"
    fs.writeFileSync(small, text:sub(1, 300000))
    local first, piped
    local port = servers.serve(function(req, res)
      if req.url == "/first" then
        first = res
        return
      end
      piped = res
      fs.createReadStream(small):pipe(res)
    end)
    local client, rest = connect(port)
    client:write("GET /first HTTP/1.1\r\nHost: here\r\n\r\nGET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
    eventually(function() return piped and piped.writableNeedDrain end)
    first:finish("first")
    local answer = rest()
    local size = 0
    for length in body(answer:match("first(HTTP.*)")):gmatch("%f[^\n%z](%x+)\r\n") do size = size + tonumber(length, 16) end
    assert.equal(300000, size)
    assert.is_truthy(answer:find("\r\n0\r\n\r\n$"))
  end)

  it("is read from where a lent descriptor stands, which moves on", function()
    local fd = fs.openSync(path, "r")
    fs.readSync(fd, 16)
    local port = servers.listen(net.createServer(function(socket)
      fs.createReadStream(nil, { fd = fd, finish = MIB - 1, autoClose = false }):pipe(socket)
    end))
    local _, rest = connect(port)
    assert.is_true(text:sub(17, MIB + 16) == rest())
    assert.equal(text:sub(MIB + 17, MIB + 32), fs.readSync(fd, 16))
    fs.closeSync(fd)
  end)

  it("is the body of a request, whose second time there is none", function()
    local got = {}
    local port = servers.listen(http.createServer(function(req, res)
      got[#got + 1] = req:body(#text)
      res:finish("ok")
    end))
    for _ = 1, 2 do
      local request = http.request{ port = port, host = "127.0.0.1", method = "POST" }
      fs.createReadStream(path):pipe(request)
      local response = await(function(callback) request:once("response", callback) end)
      assert.equal("ok", response:body())
    end
    assert.is_true(got[1] == text and got[2] == text)
  end)
end)
