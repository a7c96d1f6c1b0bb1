--- Two hosts as network namespaces, whose packets are lost for a while: nothing that was acknowledged is lost, no two hold a lock under
--- valid fences. Skipped where namespaces are not permitted.
local await = require("await")
local child_process = require("child_process")
local fs = require("fs")
local programs = require("spec.support.busprogram")

local function sh(...)
  local result = child_process.spawnSync(...)
  return result.status == 0, result.stderr
end

local function can()
  if not sh("redis-server", { "--version" }) then return false, "redis-server is not installed" end
  if process.getuid() ~= 0 or not sh("ip", { "-V" }) then return false, "network namespaces need root and iproute2" end
  local name = "lrun-probe-" .. process.pid
  local ok = sh("ip", { "netns", "add", name })
  sh("ip", { "netns", "del", name })
  return ok, "network namespaces are not permitted"
end

local ok, reason = can()
if not ok then
  print(reason .. ": skipped")
  process.exit(77)
end

local id = process.pid % 10000
local SERVER, HOSTS = ("lrs%d"):format(id), { ("lra%d"):format(id), ("lrb%d"):format(id) }

local function ip(...) assert(sh("ip", { ... })) end

-- A host and its wire to the server's; `up(false)` cuts the wire.
local function makeHost(name, i)
  ip("netns", "add", name)
  local here, there = ("v%d%s"):format(id, i), ("w%d%s"):format(id, i)
  ip("link", "add", here, "type", "veth", "peer", "name", there)
  ip("link", "set", here, "netns", name)
  ip("link", "set", there, "netns", SERVER)
  ip("-n", name, "addr", "add", ("10.77.%d.2/24"):format(i), "dev", here)
  ip("-n", SERVER, "addr", "add", ("10.77.%d.1/24"):format(i), "dev", there)
  ip("-n", name, "link", "set", here, "up")
  ip("-n", name, "link", "set", "lo", "up")
  ip("-n", SERVER, "link", "set", there, "up")
  return function(on) ip("-n", SERVER, "link", "set", there, on and "up" or "down") end
end

local HOLDS = 12                     -- times that each host has the lock

local SOURCE = [[
  local lock
  return {
    add = function(job) return bus:queue("q"):add(job) end,
    process = function()
      return bus:queue("q"):process(2, function(job) report("did", job) end)
    end,
    -- Takes the lock, notes when it had it, and lets go.
    holds = function(times, ms)
      local done = 0
      while done < times do
        local got = bus:lock("l", ms)
        if got then
          local from = process.hrtime()
          local lost
          got:on("lost", function() lost = process.hrtime() end)
          await.sleep(20)
          report("held", got.fence, from, lost or process.hrtime())
          got:release()
          done = done + 1
        else
          await.sleep(10)
        end
      end
      return true
    end,
  }
]]

describe("bus over two hosts", function()
  local folder, server, cut, machines

  setup(function()
    folder = fs.mkdtempSync("/tmp/lrun-partition-")
    ip("netns", "add", SERVER)
    ip("-n", SERVER, "link", "set", "lo", "up")
    cut = { makeHost(HOSTS[1], 1), makeHost(HOSTS[2], 2) }
    server = child_process.spawn("ip", { "netns", "exec", SERVER, "redis-server", "--port", "6379", "--bind", "0.0.0.0", "--protected-mode",
      "no", "--save", "", "--dir", folder }, { stdio = "ignore" })
    machines = {}
    for i = 1, 2 do
      machines[i] = programs.start(SOURCE, { workers = 1, url = ("redis://10.77.%d.1:6379"):format(i), netns = HOSTS[i] })
    end
  end)

  teardown(function()
    for _, machine in ipairs(machines) do machine:stop() end
    server:kill("SIGKILL")
    await(function(callback) server:once("exit", callback) end)
    for _, name in ipairs{ SERVER, unpack(HOSTS) } do sh("ip", { "netns", "del", name }) end
    fs.rmSync(folder, { recursive = true })
  end)

  -- Waits until `done()`, which looks at what the machines have reported.
  local function eventually(done)
    await(function(callback)
      local called = false
      local function look()
        if called or not done() then return end
        called = true
        for _, machine in ipairs(machines) do machine.look = nil end
        callback()
      end
      for _, machine in ipairs(machines) do machine.look = look end
      look()
    end)
  end

  it("does every job that was taken, also those of a host that was away", function()
    machines[1]:run(1, "process")
    machines[2]:run(1, "process")
    local added = {}
    local function add(machine, job)
      added[job] = machines[machine]:run(0, "add", job) and true or nil
      return added[job]
    end
    local function isDone()
      local did = {}
      for _, machine in ipairs(machines) do for _, each in ipairs(machine.reports) do did[each[3]] = true end end
      for job in pairs(added) do if not did[job] then return false end end
      return true
    end
    for i = 1, 20 do assert(add(i % 2 + 1, i)) end
    cut[1](false)
    await.all{
      function() assert.is_nil(add(1, 21)) end,           -- nobody answers: it may be done, and must not
      function() for i = 26, 45 do assert(add(2, i)) end end,
    }
    for i = 46, 50 do assert(add(2, i)) end
    eventually(isDone)
    cut[1](true)
    for i = 22, 25 do add(1, i) end                       -- refused, or done in the end
    for i = 51, 55 do repeat until add(1, i) end
    eventually(isDone)
  end)

  it("gives a lock to one at a time, with fences that grow, whoever is away", function()
    local first = { #machines[1].reports, #machines[2].reports }
    local function held(i) return #machines[i].reports - first[i] end
    local function reaches(i, count) eventually(function() return held(i) >= math.min(count, HOLDS) end) end
    await.all{
      function() machines[1]:run(1, "holds", HOLDS, 600) end,
      function() machines[2]:run(1, "holds", HOLDS, 600) end,
      function()
        for i = 1, 2 do
          reaches(i, held(i) + 1)
          cut[i](false)
          reaches(3 - i, held(3 - i) + 3)  -- the other has it again and again meanwhile
          cut[i](true)
        end
      end,
    }
    local history = {}
    for i, machine in ipairs(machines) do
      for n = first[i] + 1, #machine.reports do
        local each = machine.reports[n]
        history[#history + 1] = { fence = each[3], from = each[4], to = each[5] }
      end
    end
    assert.equal(2 * HOLDS, #history)
    table.sort(history, function(a, b) return a.fence < b.fence end)
    for i = 2, #history do
      assert(history[i].fence > history[i - 1].fence, "one fence twice")
      assert(history[i].from >= history[i - 1].to, "two held it at once")
    end
  end)
end)
