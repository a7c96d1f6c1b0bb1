-- redis.lua WHAT COUNT URL: CPU microseconds of this process for each command; the twin of redis.js.
--   pipelined: 1,000 under way at a time; alone: one after another; bus: a message published over the bus, and received
local await = require("await")
local redis = require("redis")

local what, count, url = process.argv[2], tonumber(process.argv[3]), process.argv[4]
local client = redis.connect(url)

local function pipelined(n)
  await(function(callback)
    local sent, answered = math.min(1000, n), 0
    local function done()
      answered = answered + 1
      if answered == n then return callback() end
      if sent == n then return end
      sent = sent + 1
      client:get("key", done)
    end
    for _ = 1, sent do client:get("key", done) end
  end)
end

local function alone(n) for _ = 1, n do client:get("key") end end

local function published(n)
  local bus = require("bus")
  bus.connect(url)
  await(function(callback)
    local received = 0
    bus:subscribe("bench.*", function()
      received = received + 1
      if received == n then callback() end
    end)
    for i = 1, n do
      await.spawn(function() bus:publish("bench.x", { id = i, text = "a message of some bytes" }) end)
    end
  end)
end

local works = { pipelined = pipelined, alone = alone, bus = published }
client:set("key", "a value of some bytes")
works[what](math.min(count, 2000))    -- compiled, connected
local before = process.cpuUsage()
works[what](count)
local after = process.cpuUsage()
print((after.user + after.system - before.user - before.system) / count)
process.exit(0)
