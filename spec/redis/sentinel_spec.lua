--- redis with a real sentinel: a master that is killed, a replica that takes its place. Skipped where there is no redis-server.
local await = require("await")
local child_process = require("child_process")
local fs = require("fs")
local program = require("spec.support.program")
local redis = require("redis")

local hasSentinel = child_process.spawnSync("redis-server", { "--version" }).status == 0
if not hasSentinel then
  print("redis-server is not installed: skipped")
  process.exit(77)
end

local function startServer(folder, port, ...)
  return child_process.spawn("redis-server", { "--port", tostring(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder, ... },
    { stdio = "ignore" })
end

local function connect(port)
  local client = redis.connect{ host = "127.0.0.1", port = port, retry = { min = 5, max = 20 } }
  client:on("error", function() end)
  return client
end

-- Asks again until the answer is what is wanted.
local function eventually(ask, wanted)
  while not wanted(ask()) do await.sleep(20) end
end

describe("redis with sentinels", function()
  it("finds the new master after the old one was killed, and loses nothing that was acknowledged since", function()
    local folder = fs.mkdtempSync("/tmp/lrun-sentinel-")
    local first, second, watch = program.port(), program.port(), program.port()
    local master = startServer(folder, first)
    local replica = startServer(folder, second, "--replicaof", "127.0.0.1", tostring(first))
    local toReplica = connect(second)
    eventually(function() return toReplica:info("replication") end,
      function(info) return info and info:find("master_link_status:up", 1, true) end)

    fs.writeFileSync(folder .. "/sentinel.conf", ([[
port %d
bind 127.0.0.1
dir %s
sentinel monitor main 127.0.0.1 %d 1
sentinel down-after-milliseconds main 300
sentinel failover-timeout main 2000
]]):format(watch, folder, first))
    local sentinel = child_process.spawn("redis-server", { folder .. "/sentinel.conf", "--sentinel" }, { stdio = "ignore" })
    local toSentinel = connect(watch)
    eventually(function() return toSentinel:command("SENTINEL", "REPLICAS", "main") end, function(list) return list and #list == 1 end)

    local client = redis.connect{
      sentinel = { name = "main", hosts = { { host = "127.0.0.1", port = 1 }, { host = "127.0.0.1", port = watch } } },
      retry = { min = 5, max = 50 },
    }
    client:on("error", function() end)
    assert.equal("OK", client:set("before", 1))
    assert.equal(tostring(first), client:config("GET", "port").port)

    master:kill("SIGKILL")
    await(function(callback) client:once("close", callback) end)
    local reply
    repeat reply = client:set("after", 1) until reply == "OK"
    assert.equal(tostring(second), client:config("GET", "port").port)
    assert.equal("1", client:get("after"))

    for _, each in ipairs{ client, toReplica, toSentinel } do each:disconnect() end
    for _, each in ipairs{ sentinel, replica } do
      each:kill("SIGKILL")
      await(function(callback) each:once("exit", callback) end)
    end
    fs.rmSync(folder, { recursive = true })
  end)
end)
