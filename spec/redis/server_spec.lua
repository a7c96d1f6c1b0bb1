--- redis with a real redis-server: skipped where there is none.
local await = require("await")
local child_process = require("child_process")
local fs = require("fs")
local json = require("json")
local redis = require("redis")

if child_process.spawnSync("redis-server", { "--version" }).status ~= 0 then
  print("redis-server is not installed: skipped")
  process.exit(77)
end

local folder, path, server

local function startServer()
  server = child_process.spawn("redis-server", { "--port", "0", "--unixsocket", path, "--save", "", "--dir", folder }, { stdio = "ignore" })
  local client = redis.connect{ path = path, retry = { min = 5, max = 20 } }
  client:on("error", function() end)
  assert(client:ping() == "PONG")
  client:quit()
end

local function stopServer()
  server:kill("SIGKILL")
  await(function(callback) server:once("exit", callback) end)
end

describe("redis", function()
  setup(function()
    folder = fs.mkdtempSync("/tmp/lrun-redis-")
    path = folder .. "/socket"
    startServer()
  end)
  teardown(function()
    stopServer()
    fs.rmSync(folder, { recursive = true })
  end)

  it("has every command by its name, and values as Lua has them", function()
    local client = redis.connect("redis+unix://" .. path)
    assert.equal("OK", client:set("k", "a\0b"))
    assert.equal("a\0b", client:get("k"))
    assert.is_nil(client:get("none"))
    assert.equal(2, client:hset("h", "f", 1, "g", 2))
    assert.same({ f = "1", g = "2" }, client:hgetall("h"))
    assert.same({ "a\0b", json.null }, client:mget("k", "none"))
    assert.equal("string", client:type("k"))
    local reply, err = client:lpush("k", 1)
    assert.is_nil(reply)
    assert.equal("WRONGTYPE", err.code)
    client:quit()
  end)

  it("runs transactions whole, and not when a watched key has changed", function()
    local client, other = redis.connect("redis+unix://" .. path), redis.connect("redis+unix://" .. path)
    client:del("n")
    local replies = client:multi():set("n", 1):incr("n"):hgetall("h"):exec()
    assert.same({ "OK", 2, { f = "1", g = "2" } }, replies)
    client:watch("n")
    other:incr("n")
    local list, err = client:multi():set("n", 100):exec()
    assert.same({ nil, nil }, { list, err })
    assert.equal("3", client:get("n"))
    list, err = client:multi():nosuchcommand("n"):exec()
    assert.is_nil(list)
    assert.equal("EXECABORT", err.code)
    client:quit()
    other:quit()
  end)

  it("goes on when the server was killed and is there again", function()
    local client = redis.connect("redis+unix://" .. path, { retry = { min = 5, max = 20 } })
    client:on("error", function() end)
    local heard = {}
    client:subscribe("news", function(message) heard[#heard + 1] = message end)
    assert.equal("OK", client:set("before", 1))
    local closed = false
    client:once("close", function() closed = true end)
    stopServer()
    startServer()
    assert.equal("OK", client:set("after", 1))
    assert.is_true(closed)
    local other = redis.connect("redis+unix://" .. path)
    assert.equal(1, other:publish("news", "again"))
    await(function(callback) client:ping(callback) end)
    assert.same({ "again" }, heard)
    client:unsubscribe("news")
    assert.equal(0, other:publish("news", "late"))
    other:quit()
    client:disconnect()
  end)

  it("speaks RESP2 where it must", function()
    local file = folder .. "/old"
    local old = child_process.spawn("redis-server", { "--port", "0", "--unixsocket", file, "--save", "", "--rename-command", "HELLO", "",
      "--requirepass", "secret" }, { stdio = "ignore" })
    local client = redis.connect{ path = file, password = "secret", db = 2, retry = { min = 5, max = 20 } }
    client:on("error", function() end)
    client:hset("h", "f", 1)
    assert.same({ f = "1" }, client:hgetall("h"))
    assert.same({ { f = "1" } }, client:multi():hgetall("h"):exec())
    local heard = {}
    client:subscribe("c", function(message) heard[#heard + 1] = message end)
    assert.equal("1", client:hget("h", "f"))
    assert.equal(1, client:publish("c", "m"))
    client:subscribe("d", function() end)
    assert.same({ "m" }, heard)
    client:quit()
    local lazy = redis.connect{ path = file, password = "secret", lazy = true }
    assert.is_true(lazy:subscribe("c", function() end))
    lazy:disconnect()
    local ending = redis.connect{ path = file, password = "secret" }
    ending:ping()
    local err = await(function(callback)
      ending:subscribe("c", function() end, callback)
      ending:disconnect()
    end)
    assert.equal("ERR_SOCKET_CLOSED", err.code)
    old:kill("SIGKILL")
    await(function(callback) old:once("exit", callback) end)
  end)

  it("subscribes again to more channels than one call can take", function()
    local client = redis.connect{ path = path, retry = { min = 5, max = 20 } }
    client:on("error", function() end)
    local heard = {}
    await(function(callback)
      local left = 9000
      for i = 1, 9000 do
        client:subscribe("many" .. i, function(message) heard[#heard + 1] = message end, function()
          left = left - 1
          if left == 0 then callback() end
        end)
      end
    end)
    stopServer()
    startServer()
    client:ping()
    client:publish("many9000", "m")
    client:ping()
    assert.same({ "m" }, heard)
    client:disconnect()
  end)

  it("says what to call instead of a command that has no reply of its own", function()
    local client = redis.connect{ path = path }
    for _, call in ipairs{
      function() client:command("subscribe", "c") end, function() client:command("PUNSUBSCRIBE", "c", function() end) end,
      function() client:multi():command("SUBSCRIBE", "c") end,
    } do
      local ok, err = pcall(call)
      assert.is_false(ok)
      assert.equal("ERR_INVALID_ARG_VALUE", err.code)
      assert.truthy(err.message:find("call client:%l?u?n?subscribe"))
    end
    client:disconnect()
  end)
end)
