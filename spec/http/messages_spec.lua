local await = require("await")
local child_process = require("child_process")
local http = require("http")
local json = require("json")
local timers = require("timers")
local children = require("spec.support.children")
local rawhttp = require("spec.support.rawhttp")
local servers = require("spec.support.servers")

describe("the module http", function()
  it("shows all that it has before it is used", function()
    local program = "for name in pairs(require('http')) do print(name) end"
    local names = child_process.execFileSync(process.execPath, { "-e", program })
    for _, name in ipairs { "Agent", "globalAgent", "ClientRequest", "Server", "createServer", "METHODS" } do
      assert.truthy(("\n" .. names):find("\n" .. name .. "\n", 1, true), name)
    end
  end)
end)

describe("http messages", function()
  local serve, eventually = servers.serve, children.eventually
  local GET = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
  local LAST = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

  after_each(servers.close)

  local function get(path) return (GET:gsub("/", path, 1)) end

  describe("with what a program adds to their classes", function()
    local changed = {}

    local function set(class, name, value)
      changed[#changed + 1] = { class, name, rawget(class, name) }
      class[name] = value
    end

    after_each(function()
      for i = #changed, 1, -1 do
        local class, name, value = unpack(changed[i], 1, 3)
        class[name] = value
      end
      changed = {}
    end)

    it("have methods that were added, also to the classes above, before the server was made and after", function()
      local port = serve(function(req, res) res:json { n = req:answer() } end)
      set(http.ServerResponse, "json", function(self, value)
        self:setHeader("Content-Type", "application/json")
        return self:finish(('{"n":%d}'):format(value.n))
      end)
      set(http.IncomingMessage, "answer", function(self) return #self.url + self:twenty() end)
      set(http.IncomingMessage, "twenty", function() return 20 end)
      set(http.OutgoingMessage, "status", function(self, status) self.statusCode = status return self end)
      assert.truthy(rawhttp.exchange(port, LAST):find('application/json\r\n.*\r\n\r\n{"n":21}$'))
      set(http.ServerResponse, "json", function(self, value) return self:status(201):finish("n is " .. value.n) end)
      assert.truthy(rawhttp.exchange(port, LAST):find("^HTTP/1.1 201 .*n is 21$"))
    end)

    it("have methods that were replaced: the middleware that wraps finish and setHeader", function()
      local heads = {}
      local finish, setHeader = http.ServerResponse.finish, http.OutgoingMessage.setHeader
      set(http.ServerResponse, "finish", function(self, chunk, ...) return finish(self, (chunk or "") .. "!", ...) end)
      set(http.OutgoingMessage, "setHeader", function(self, name, value)
        heads[#heads + 1] = name
        return setHeader(self, name, value)
      end)
      local port = serve(function(_, res)
        res:setHeader("X-A", "b")
        res:finish("hello")
      end)
      assert.truthy(rawhttp.exchange(port, LAST):find("X%-A: b\r\n.*hello!$"))
      assert.same({ "X-A" }, heads)
    end)

    it("have computed fields that were added, and those of one message alone", function()
      http.IncomingMessage:getter("firstSegment", function(self) return self.url:match("^/([^/]*)") end)
      http.ServerResponse:getter("isPlain", function(self) return not self:hasHeader("content-type") end)
      local port = serve(function(req, res)
        res.send = function(self, text) return self:finish("<" .. text .. ">") end
        res:send(req.firstSegment .. tostring(res.isPlain))
      end)
      assert.truthy(rawhttp.exchange(port, get("/ab/cd"), { untilText = ">" }):find("<abtrue>$"))
    end)

    it("are of a class that the server was given", function()
      local Request, Response = http.IncomingMessage:extend("Request"), http.ServerResponse:extend("Response")
      function Request:who() return "who " .. self.url end
      function Response:say(text) return self:finish(text .. (self.writableEnded and "" or ".")) end
      local port = serve({ IncomingMessage = Request, ServerResponse = Response }, function(req, res) res:say(req:who()) end)
      assert.truthy(rawhttp.exchange(port, LAST):find("who /%.$"))
      for _, name in ipairs { "IncomingMessage", "ServerResponse" } do
        local ok, err = pcall(http.createServer, { [name] = http.Agent })
        assert.same({ false, "ERR_INVALID_ARG_TYPE" }, { ok, err.code })
      end
    end)

    it("serve a client's requests, too", function()
      set(http.ClientRequest, "ask", function(self, text) return self:finish(text .. "?") end)
      local port = serve(function(req, res) res:finish(req:body()) end)
      local request = http.request { port = port, host = "127.0.0.1", method = "POST", agent = false }
      request:ask("why")
      assert.equal("why?", (await(function(done) request:once("response", done) end):body()))
    end)
  end)

  it("send no line for an empty list, a line for each value of another, and a client's Cookie in one", function()
    local raw
    local port = serve(function(req, res)
      raw = req.rawHeaders
      res:setHeader("X-None", {})
      res:setHeader("X-Two", { "1", "2" })
      res:appendHeader("X-None-Yet", {})
      assert.same({}, res:getHeader("x-none"))
      assert.is_true(res:hasHeader("x-none"))
      assert.has_error(function() res:setHeader("X-Bad", { a = 1 }) end)
      res:finish("ok")
    end)
    local response = await(function(done)
      http.get({ port = port, host = "127.0.0.1", agent = false,
        headers = { cookie = { "a=1", "b=2" }, ["X-List"] = { "1", "2" }, ["X-Empty"] = {} } }, done)
    end)
    local seen = {}
    for i = 1, #raw, 2 do
      local name = raw[i]:lower()
      seen[name] = seen[name] and seen[name] .. " | " .. raw[i + 1] or raw[i + 1]
    end
    assert.equal("a=1; b=2", seen.cookie)
    assert.equal("1 | 2", seen["x-list"])
    assert.is_nil(seen["x-empty"])
    assert.equal("1, 2", response.headers["x-two"])
    assert.is_nil(response.headers["x-none"])
    assert.is_nil(response.headers["x-none-yet"])
    response:resume()
  end)

  describe("with a time limit", function()
    it("end it with their response: it neither closes nor is told under the next request", function()
      local heard = 0
      local port, server = serve(function(req, res)
        if req.url == "/res" then
          res:setTimeout(30)
          res:finish("1")
        elseif req.url == "/req" then
          req:setTimeout(30, function() heard = heard + 1 end)
          res:finish("2")
        else
          timers.setTimeout(function() res:finish("slow") end, 120)
        end
      end)
      server:on("timeout", function() heard = heard + 1 end)
      local text = rawhttp.exchange(port, { get("/res"), get("/slow"), get("/req"), (LAST:gsub("/", "/slow", 1)) })
      assert.same({ 200, 200, 200, 200 }, rawhttp.statuses(text))
      assert.equal(0, heard)
    end)

    it("reach their listener, or close the connection", function()
      local which
      local port = serve(function(req, res)
        if req.url == "/heard" then res:setTimeout(20, function() which = "res" res:finish("late") end) end
        if req.url == "/quiet" then req:setTimeout(20) end
      end)
      assert.truthy(rawhttp.exchange(port, get("/heard"), { untilText = "late" }):find("late$"))
      assert.equal("res", which)
      assert.same({ "", "closed" }, { rawhttp.exchange(port, get("/quiet")) })
    end)

    it("have it from the turn of their response on, and the socket's own limit again behind it", function()
      local first, told = nil, {}
      local port = serve(function(req, res)
        if req.url == "/1" then
          first = res
          req.socket:setTimeout(5000)
        else
          res:setTimeout(20, function() told[#told + 1] = req.url res:finish("late") end)
        end
      end)
      local text
      await.spawn(function() text = rawhttp.exchange(port, get("/1") .. get("/2"), { untilText = "late" }) end)
      eventually(function() return first end)
      await.sleep(80)
      assert.same({}, told)
      first:finish("one")
      eventually(function() return text end)
      assert.same({ "/2" }, told)
    end)

    it("throw for one that is none", function()
      local caught = {}
      local port = serve(function(req, res)
        for _, ms in ipairs { "x", -1, 0 / 0, math.huge } do
          for _, each in ipairs { req, res } do
            local ok, err = pcall(each.setTimeout, each, ms)
            caught[#caught + 1] = not ok and err.code or "none"
          end
        end
        res:finish()
      end)
      rawhttp.exchange(port, LAST)
      assert.same({ "ERR_INVALID_ARG_TYPE", "ERR_INVALID_ARG_TYPE" }, { caught[1], caught[2] })
      for i = 3, 8 do assert.equal("ERR_OUT_OF_RANGE", caught[i]) end
    end)
  end)

  it("have the path and the query of their target", function()
    local seen = {}
    local port = serve(function(req, res)
      seen[#seen + 1] = { req.path, req.query, rawequal(req.query, req.query) }
      res:finish("ok")
    end)
    local targets = { "/", "/a%20b/?x=1&y=a%20b+c&x=2&z", "http://x/p?q=%41", "http://x?only", "*" }
    for i, target in ipairs(targets) do
      rawhttp.exchange(port, (i == 5 and "OPTIONS " or "GET ") .. target .. " HTTP/1.1\r\nHost: x\r\n\r\n", { untilText = "ok" })
    end
    assert.same({
      { "/", {}, true }, { "/a%20b/", { x = { "1", "2" }, y = "a b c", z = "" }, true }, { "/p", { q = "A" }, true },
      { "/", { only = "" }, true }, { "*", {}, true },
    }, seen)
    local response = await(function(done) http.get({ port = port, host = "127.0.0.1", agent = false }, done) end)
    assert.is_nil(response.path)
    assert.is_nil(response.query)
    response:resume()
  end)

  it("are told to an access log when they were sent, or lost", function()
    local entries = {}
    local options = { accessLog = function(entry, req, res)
      entries[#entries + 1] = entry
      assert.equal(entry.url, req.url)
      assert.is_true(res.closed)
    end }
    local port = serve(options, function(req, res)
      if req.url == "/gone" then return res:destroy() end
      if req.url == "/none" then error({ statusCode = 404 }) end
      res.statusCode = 201
      res:write("abc")
      res:finish(req:body())
    end)
    rawhttp.exchange(port, { "POST /a?b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi", get("/none") })
    rawhttp.exchange(port, get("/gone"))
    eventually(function() return #entries == 3 end)
    for _, entry in ipairs(entries) do
      assert.is_true(entry.duration >= 0 and entry.duration < 60000)
      entry.duration = nil
    end
    assert.same({
      { method = "POST", url = "/a?b", status = 201, bytes = 5, remoteAddress = "127.0.0.1" },
      { method = "GET", url = "/none", status = 404, bytes = 10, remoteAddress = "127.0.0.1" },
      { method = "GET", url = "/gone", status = 200, bytes = 0, remoteAddress = "127.0.0.1", aborted = true },
    }, entries)
    local ok, err = pcall(http.createServer, { accessLog = "x" })
    assert.same({ false, "ERR_INVALID_ARG_TYPE" }, { ok, err.code })
  end)

  it("are lines of the log with accessLog = true", function()
    local program = [[
      local http = require("http")
      local server = http.createServer({ accessLog = true }, function(_, res) res:finish("hello") end)
      server:listen(0, "127.0.0.1", function()
        http.get({ port = server:address().port, host = "127.0.0.1", path = "/x?y" }, function(res)
          res:on("close", function() server:close() end):resume()
        end)
      end)
    ]]
    local child = child_process.spawn(process.execPath, { "-e", program },
      { stdio = { "ignore", "inherit", "pipe" }, env = { LRUN_LOG = "json" } })
    local line = json.decode(children.text(child.stderr))
    assert.equal("GET /x?y 200", line.text)
    assert.equal("info", line.level)
    assert.same({ "GET", "/x?y", 200, 5 }, { line.method, line.url, line.status, line.bytes })
  end)

  it("count the bytes of their socket, through HTTP and behind it", function()
    local counts = {}
    local port, server = serve(function(req, res)
      counts.request = { req.socket.bytesRead, req.socket.bytesWritten }
      res:finish("ok")
    end)
    server:on("upgrade", function(req, socket)
      counts.upgrade = { socket.bytesRead, req.socket == socket }
      socket:finish("HTTP/1.1 101 Switching Protocols\r\n\r\n")
      socket:on("close", function() counts.closed = { socket.bytesRead, socket.bytesWritten } end)
      socket:resume()
    end)
    rawhttp.exchange(port, GET, { untilText = "ok" })
    assert.same({ #GET, 0 }, counts.request)
    local UPGRADE = "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    rawhttp.exchange(port, { UPGRADE, "more" }, { half = true })
    eventually(function() return counts.closed end)
    assert.is_true(counts.upgrade[1] >= #UPGRADE)      -- what came with the head counts, too
    assert.is_true(counts.upgrade[2])
    assert.same({ #UPGRADE + 4, #"HTTP/1.1 101 Switching Protocols\r\n\r\n" }, counts.closed)
  end)
end)
