local await = require("await")
local child_process = require("child_process")
local fs = require("fs")
local https = require("https")
local net = require("net")
local fileserver = require("spec.support.fileserver")
local pki = require("spec.support.pki")
local program = require("spec.support.program")
local terminal = require("spec.support.terminal")

-- The processes that a process has started and that live.
local function childrenOf(pid)
  local list = {}
  local file = io.open(("/proc/%d/task/%d/children"):format(pid, pid))
  for each in (file and file:read("*a") or ""):gmatch("%d+") do list[#list + 1] = tonumber(each) end
  if file then file:close() end
  return list
end

describe("lrun serve --no-daemon", function()
  local dir, running

  before_each(function()
    dir = fileserver.folder{ ["secret.txt"] = "SECRET", site = {
      ["index.html"] = "index", ["a.json"] = "{}", [".dot"] = "dots", folder = { ["x.txt"] = "x" },
    } }
    running = nil
  end)
  after_each(function()
    if running then
      pcall(running.interrupt, running, "SIGKILL")
      running:gone()
    end
    fs.rmSync(dir, { recursive = true })
  end)

  -- Starts it on a free port; the port.
  local function serve(...)
    running = program.start("serve", { dir .. "/site", "0", "--no-daemon", ... })
    return tonumber((running:line("https?://127%.0%.0%.1:(%d+)")))
  end

  local function fails(...)
    local done = child_process.spawnSync(process.execPath, { "serve", ... }, { env = { PATH = process.env.PATH, HOME = dir }, encoding = "utf8" })
    return done.status, done.stderr
  end

  it("prints its address, serves, and ends with 0 at Ctrl-C", function()
    local port = serve()
    assert.equal("index", fileserver.ask(port, "/").body)
    assert.equal("application/json; charset=utf-8", fileserver.ask(port, "/a.json").headers["content-type"])
    assert.equal(404, fileserver.ask(port, "/folder/").status)
    assert.equal(404, fileserver.ask(port, "/none", { "Accept: text/html" }).status)
    assert.equal(403, fileserver.ask(port, "/../secret.txt").status)
    assert.equal(404, fileserver.ask(port, "/.dot").status)
    assert.is_nil(fileserver.ask(port, "/").headers["access-control-allow-origin"])
    running:interrupt("SIGINT")
    assert.equal(0, (running:gone()))
    assert.is_nil(running.output:find("GET", 1, true))
  end)

  it("closes its port at Ctrl-C and ends when a download has ended", function()
    fs.writeFileSync(dir .. "/site/big", ("x"):rep(20 * 1024 * 1024))
    local port = serve()
    local client, count = net.connect(port, "127.0.0.1"), 0
    client:write("GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
    await(function(done) client:once("data", function(data) count = #data done() end) end)
    client:pause()
    running:interrupt("SIGINT")
    local refused
    repeat
      refused = await(function(done)
        local probe = net.connect(port, "127.0.0.1")
        probe:once("connect", function() probe:destroy() done(false) end)
        probe:once("error", function() done(true) end)
      end)
    until refused
    client:on("data", function(data) count = count + #data end)
    client:resume()
    await(function(done) client:once("close", done) end)
    assert.is_true(count > 20 * 1024 * 1024)
    assert.equal(0, (running:gone()))
  end)

  it("does what its options say", function()
    local port = serve("--spa", "--listing", "--max-age", "60", "--cors", "--dotfiles", "allow",
      "--basic-auth-username", "me", "--basic-auth-password", "a:b")
    local basic = "Authorization: Basic bWU6YTpi"
    assert.equal("index", fileserver.ask(port, "/any/where", { basic }).body)
    assert.is_truthy(fileserver.ask(port, "/folder/", { basic }).body:find("x.txt", 1, true))
    assert.equal("dots", fileserver.ask(port, "/.dot", { basic }).body)
    local response = fileserver.ask(port, "/a.json", { basic })
    assert.equal("public, max-age=60", response.headers["cache-control"])
    assert.equal("*", response.headers["access-control-allow-origin"])
    assert.equal(204, fileserver.ask(port, "/a.json", nil, "OPTIONS").status)
    for _, line in ipairs{ "X: y", "Authorization: Basic bWU6YTpj", "Authorization: Basic", "Authorization: Basic !!",
      "Authorization: Bearer bWU6YTpi",
      "Authorization: Basic bWU6YTpiYg==", "Authorization: Basic bWU6YQ==" } do
      response = fileserver.ask(port, "/", { line })
      assert.equal(401, response.status, line)
      assert.match("^Basic ", response.headers["www-authenticate"])
      assert.is_nil(response.body:find("index", 1, true))
    end
  end)

  it("speaks HTTPS with a certificate and its key", function()
    local port = serve("--cert", pki.server.certPath, "--key", pki.server.keyPath)
    local response = await(function(done) https.get({ port = port, host = "127.0.0.1", ca = pki.ca.cert, agent = false }, done) end)
    assert.equal("index", response:body())
  end)

  it("has workers, and others in their place", function()
    local port = serve("-i", "2")
    local function workers() return childrenOf(running.child.pid) end
    while #workers() < 2 do await.sleep(5) end
    local victim = workers()[1]
    process.kill(victim, "SIGKILL")
    local list
    repeat
      await.sleep(5)
      list = workers()
    until #list == 2 and list[1] ~= victim and list[2] ~= victim
    for _ = 1, 20 do assert.equal("index", fileserver.ask(port, "/").body) end
    running:interrupt("SIGINT")
    assert.equal(0, (running:gone()))
  end)

  it("says in one line what is wrong, with 1 for a taken port and 2 for wrong usage", function()
    local port = serve()
    for _, instances in ipairs{ "1", "2" } do
      local status, text = fails(dir .. "/site", tostring(port), "--no-daemon", "-i", instances)
      assert.equal(1, status)
      assert.equal(("lrun: serve: port %d of 127.0.0.1 is taken\n"):format(port), text)
    end
    for want, arguments in pairs{
      ["DIR %[PORT%]"] = {}, ["no 'nowhere'"] = { "nowhere" }, ["is no directory"] = { dir .. "/secret.txt" }, ["PORT: '70000'"] = { dir, "70000" },
      ["PORT: 'x'"] = { dir, "x" }, ["%-%-max%-age: 'soon'"] = { dir, "--max-age", "soon" }, ["%-%-dotfiles: 'no'"] = { dir, "--dotfiles", "no" },
      ["given together"] = { dir, "--cert", "x" }, ["needs %-%-basic"] = { dir, "--basic-auth-password", "x" }, ["%-%-listing"] = { dir, "--listng" },
      ["nosuch.pem"] = { dir, "--cert", "nosuch.pem", "--key", "nosuch.pem" },
    } do
      local status, text = fails(unpack({ "--no-daemon", unpack(arguments) }))
      assert.equal(2, status, want)
      assert.match("^lrun: serve: [^\n]*" .. want .. "[^\n]*\n$", text)
    end
  end)

  it("writes a line for each request on a terminal, unless it is to be quiet", function()
    for _, quiet in ipairs{ false, true } do
      local screen = terminal.open{ args = { "serve", dir .. "/site", "0", "--no-daemon", quiet and "--quiet" or nil } }
      screen:waitFor("http://127%.0%.0%.1:%d+")
      local port = tonumber(screen.raw:match("http://127%.0%.0%.1:(%d+)"))
      fileserver.ask(port, "/a.json")
      fileserver.ask(port, "/none")
      if not quiet then screen:waitFor("GET /none 404") end
      screen:type("\3")
      screen:close()
      assert.equal(not quiet, screen.raw:find("127.0.0.1 GET /a.json 200 2 ", 1, true) ~= nil)
    end
  end)
end)
