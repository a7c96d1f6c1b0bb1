local await = require("await")
local child_process = require("child_process")
local fs = require("fs")
local http = require("http")
local net = require("net")
local fileserver = require("spec.support.fileserver")
local rawhttp = require("spec.support.rawhttp")
local servers = require("spec.support.servers")

local MIB = 1024 * 1024

-- What may happen to files while they are asked for.
describe("files over http", function()
  local dir, child, failure

  before_each(function()
    dir = fileserver.folder{
      outside = { ["secret.txt"] = "SECRET" }, ["secret.txt"] = "SECRET",
      root = { ["in.txt"] = "inside", folder = { ["in.txt"] = "inner", deep = { ["x.txt"] = "deep" } }, swap = { ["secret.txt"] = "inside" } },
    }
    local root = dir .. "/root"
    for name, to in pairs{
      ["link.txt"] = "in.txt", ["folder/up.txt"] = "../in.txt", ["folder/deep/far.txt"] = "../../folder/./in.txt", folderLink = "folder/deep",
      ["chain.txt"] = "link.txt", out = "../outside", ["out.txt"] = "../secret.txt", ["absolute.txt"] = dir .. "/secret.txt",
        ["crooked.txt"] = "folder/../../secret.txt",
      loop = "loop", magic = "/proc/self/root", ["around.txt"] = "../root/in.txt", other = "../outside",
    } do fs.symlinkSync(to, root .. "/" .. name) end
  end)
  after_each(function()
    servers.close()
    if child then
      child:kill("SIGKILL")
      if child.exitCode == nil and child.signalCode == nil then await(function(done) child:once("exit", done) end) end
      child = nil
    end
    fs.rmSync(dir, { recursive = true })
  end)

  -- Starts a fixture and returns the first line that it writes; nil when it cannot run here.
  local function start(name, ...)
    child = child_process.spawn(process.execPath, { "spec/http/fixtures/" .. name .. ".lua", ... }, { stdio = { "ignore", "pipe", "inherit" } })
    return await(function(done)
      child.stdout:once("data", function(line) done(line) end)
      child:once("exit", function() done(nil) end)
    end)
  end

  local INSIDE = {
    ["/in.txt"] = "inside", ["/link.txt"] = "inside", ["/folder/up.txt"] = "inside", ["/folder/deep/far.txt"] = "inner",
      ["/folderLink/x.txt"] = "deep",
    ["/chain.txt"] = "inside", ["/folderLink/far.txt"] = "inner", ["/folder/../in.txt"] = "inside",
  }
  local OUTSIDE = { "/out/secret.txt", "/out.txt", "/absolute.txt", "/crooked.txt", "/loop", "/loop/x", "/magic" .. "/etc/hostname",
    "/around.txt", "/in.txt/", "/in.txt/x" }

  local function checkReach(port)
    for target, body in pairs(INSIDE) do assert.equal(body, fileserver.ask(port, target).body, target) end
    for _, target in ipairs(OUTSIDE) do
      local response = fileserver.ask(port, target)
      assert.equal(404, response.status, target)
      assert.is_nil(response.body:find("SECRET", 1, true))
    end
    assert.equal(301, fileserver.ask(port, "/folder").status)
    assert.equal(403, fileserver.ask(port, "/../secret.txt").status)
    local part = fileserver.ask(port, "/in.txt", { "Range: bytes=1-2" })
    assert.equal("ns", part.body)
  end

  it("are found below the root, through links that stay there, and nowhere else", function()
    checkReach((servers.serve(http.serveFiles(dir .. "/root"))))
  end)

  -- openat2, preadv2, statx, cachestat by their numbers, which are the same on all newer architectures but for preadv2 and statx.
  local OPENAT2, CACHESTAT = 437, 451
  local PREADV2, STATX = jit.arch == "x64" and 327 or 286, jit.arch == "x64" and 332 or 291
  for name, errno in pairs{ ENOSYS = 38, EPERM = 1 } do
    it("are found the same where the kernel refuses with " .. name, function()
      fs.writeFileSync(dir .. "/root/big", ("0123456789"):rep(50000))
      for _, calls in ipairs{ { OPENAT2 }, { PREADV2, CACHESTAT }, { OPENAT2, PREADV2, STATX, CACHESTAT } } do
        local words = {}
        for i, call in ipairs(calls) do words[i] = tostring(call) end
        local line = start("refused", dir .. "/root", tostring(errno), unpack(words))
        if not line then return pending("no seccomp here") end
        local port = tonumber(line)
        checkReach(port)
        assert.is_true(("0123456789"):rep(50000) == fileserver.ask(port, "/big").body)
        child:kill("SIGKILL")
        await(function(done) child:once("exit", done) end)
      end
    end)
  end

  it("stay inside while a folder is swapped for a link that leads out", function()
    if not start("swapper", dir .. "/root/swap", dir .. "/root/other") then return pending("no renameat2 here") end
    local port = servers.serve(http.serveFiles(dir .. "/root"))
    local seen = {}
    for _ = 1, 150 do
      local request = ("GET /swap/secret.txt HTTP/1.1\r\nHost: x\r\n\r\n"):rep(9)
        .. "GET /swap/secret.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
      local received, how = rawhttp.exchange(port, request)
      assert.equal("closed", how)
      assert.is_nil(received:find("SECRET", 1, true))
      local count = 0
      for status in received:gmatch("HTTP/1%.1 (%d+)") do
        seen[status], count = true, count + 1
      end
      assert.equal(10, count)
    end
    assert.is_true(seen["200"])
    for status in pairs(seen) do assert.is_truthy(status == "200" or status == "404" or status == "403", status) end
  end)

  it("are not opened when they are no files", function()
    local fifo = dir .. "/root/pipe"
    assert.equal(0, os.execute("mkfifo '" .. fifo .. "'"))
    local port = servers.serve(http.serveFiles(dir .. "/root"))
    assert.equal(404, fileserver.ask(port, "/pipe").status)
    local devices = servers.serve(http.serveFiles("/dev"))
    for _, target in ipairs{ "/null", "/zero", "/tty" } do assert.equal(404, fileserver.ask(devices, target).status) end
  end)

  it("may have names that are no UTF-8, and paths of any length", function()
    local name = "\255\254"
    fs.writeFileSync(dir .. "/root/" .. name, "bytes")
    local port = servers.serve(http.serveFiles(dir .. "/root", { listing = true }))
    assert.equal("bytes", fileserver.ask(port, "/%FF%FE").body)
    assert.is_truthy(fileserver.ask(port, "/").body:find('"./%FF%FE"', 1, true))
    for _, length in ipairs{ 255, 256, 4000, 4095, 4096, 5000, 15000 } do
      assert.equal(404, fileserver.ask(port, "/" .. ("x"):rep(length)).status)
      assert.equal(404, fileserver.ask(port, "/" .. ("x/"):rep(length / 2)).status)
    end
    assert.equal(431, fileserver.ask(port, "/" .. ("x"):rep(65536)).status)
    local own = servers.serve(function(_, res) res:sendFile(("x/"):rep(32768), { root = dir .. "/root" }) end)
    assert.equal(404, fileserver.ask(own, "/").status)
  end)

  it("are read by the pool where the file system is not known to be local", function()
    local port = servers.serve(http.serveFiles("/proc/self"))
    local response = fileserver.ask(port, "/status")
    assert.equal(200, response.status)
    assert.equal("0", response.headers["content-length"])            -- so large is it, says the kernel
    local core = require("lrun.core.files")
    local mounts = fs.readFileSync("/proc/self/mountinfo")
    fs.writeFileSync(dir .. "/mounts", (mounts:gsub(" %- %S+ ", " - nfs4 ")))
    core.mountsFrom(dir .. "/mounts")
    local ok, problem = pcall(checkReach, (servers.serve(http.serveFiles(dir .. "/root"))))
    core.mountsFrom(nil)
    assert(ok, problem)
  end)

  -- Sends a large file to a client that has read its first bytes, does something, and lets it read on.
  local function whileSent(change)
    local path = dir .. "/root/big"
    fs.writeFileSync(path, ("0123456789abcdef"):rep(MIB))           -- 16 MiB
    failure = nil
    local port = servers.serve(function(_, res) res:sendFile("big", { root = dir .. "/root" }, function(err) failure = err or false end) end)
    local parts = {}
    await(function(done)
      local client = net.connect(port, "127.0.0.1")
      client:on("error", function() end)
      client:once("data", function(data)
        parts[1] = data
        client:pause()
        change(path)
        client:on("data", function(more) parts[#parts + 1] = more end)
        client:resume()
      end)
      client:on("close", function() done() end)
      client:write("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    end)
    local response = fileserver.parse(table.concat(parts))
    assert.equal("16777216", response.headers["content-length"])
    assert.is_true(response.body == ("0123456789abcdef"):rep(math.ceil(#response.body / 16)):sub(1, #response.body))
    return response
  end

  it("that become shorter end the connection early", function()
    local response = whileSent(function(path) assert.equal(0, os.execute("truncate -s 9000000 '" .. path .. "'")) end)
    assert.is_false(response.complete)
    assert.is_true(#response.body <= 9000000)
    while failure == nil do await.sleep(1) end
    assert.equal("ERR_FILE_TRUNCATED", failure.code)
  end)

  for name, change in pairs{
    ["become longer"] = function(path) fs.appendFileSync(path, "more") end,
    ["are replaced"] = function(path)
      fs.writeFileSync(path .. ".new", "other")
      fs.renameSync(path .. ".new", path)
    end,
    ["are deleted"] = fs.unlinkSync,
    ["become a folder"] = function(path)
      fs.unlinkSync(path)
      fs.mkdirSync(path)
    end,
  } do
    it("that " .. name .. " are sent as they were", function()
      local before = fileserver.descriptors()
      assert.is_true(whileSent(change).complete)
      servers.close()
      while fileserver.descriptors() > before do await.sleep(2) end
    end)
  end

  it("go to hundreds of readers of which half leave", function()
    fs.writeFileSync(dir .. "/root/big", ("x"):rep(2 * MIB))
    local port, server = servers.serve(http.serveFiles(dir .. "/root"))
    local before, left, whole, READERS = fileserver.descriptors(), 0, 0, 500
    await(function(done)
      local open = 0
      local function over()
        open = open - 1
        if open == 0 and left + whole == READERS then done() end
      end
      local function reader(i)
        local client, count = net.connect(port, "127.0.0.1"), 0
        open = open + 1
        client:on("error", function() end)
        client:on("data", function(data)
          count = count + #data
          if i % 2 == 0 and count > 0 then
            client:removeAllListeners("data")
            if i % 4 == 0 then client:resetAndDestroy() else client:destroy() end
          end
        end)
        client:on("close", function()
          if i % 2 == 0 then left = left + 1 else whole = whole + (count > 2 * MIB and 1 or 0) end
          over()
        end)
        client:write("GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
      end
      for i = 1, READERS do reader(i) end
    end)
    assert.same({ READERS / 2, READERS / 2 }, { left, whole })
    server:closeAllConnections()
    while fileserver.descriptors() > before do await.sleep(2) end
    assert.equal("inside", fileserver.ask(port, "/in.txt").body)
  end)

  it("are given up where the function that gives the headers has answered or destroyed the response", function()
    local answers = {
      ["/destroyed"] = { function(res) res:destroy() end, "ECONNRESET" },
      ["/answered"] = { function(res) res:finish("mine") end, "ERR_HTTP_HEADERS_SENT" },
    }
    local codes = {}
    local port = servers.serve(function(req, res)
      res:on("error", function() end)
      local answer = answers[req.url]
      res:sendFile(dir .. "/root" .. (answer and "/in.txt" or req.url), { headers = function()
        if answer then answer[1](res) end
        return { ["X-Late"] = "1" }
      end }, function(err) codes[req.url] = err and err.code or "sent" end)
    end)
    assert.equal("inside", fileserver.ask(port, "/in.txt").body)
    local before = fileserver.descriptors()
    assert.equal("mine", fileserver.ask(port, "/answered").body)
    local client = net.connect(port, "127.0.0.1")
    client:on("error", function() end)
    client:write("GET /destroyed HTTP/1.1\r\nHost: x\r\n\r\n")
    await(function(done) client:once("close", function() done() end) end)
    while not (codes["/destroyed"] and codes["/answered"]) do await.sleep(1) end
    assert.same({ ["/in.txt"] = "sent", ["/destroyed"] = "ECONNRESET", ["/answered"] = "ERR_HTTP_HEADERS_SENT" }, codes)
    while fileserver.descriptors() > before do await.sleep(2) end
  end)
end)
