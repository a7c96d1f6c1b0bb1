--- shared between processes: workers that die, that wait, that listen.
local await = require("await")
local child_process = require("child_process")
local fs = require("fs")

local folder

-- Runs a program; what it prints. `limits` are of its processes.
local function run(text, limits)
  local path = folder .. "/main.lua"
  fs.writeFileSync(path, text)
  local all = {}
  for name, value in pairs(process.env) do all[name] = value end
  all.LRUN_SHARED = nil
  local err, out, errText = await(child_process.execFile, process.execPath, { path }, { env = all, limits = limits })
  assert(not err, errText)
  return out
end

-- Folders in memory of processes of this user.
local function folders()
  local base = "/dev/shm/lrun-" .. process.geteuid()
  return fs.existsSync(base) and fs.readdirSync(base) or {}
end

describe("shared in a cluster", function()
  setup(function() folder = fs.mkdtempSync("/tmp/lrun-shared-") end)
  teardown(function() fs.rmSync(folder, { recursive = true }) end)

  it("is one dictionary, which goes with the primary, whoever has opened it", function()
    local out = run([[
      local cluster, shared = require("cluster"), require("shared")
      if cluster.isWorker then
        local dict = shared.dict("d")
        process.send(dict:incr("n", 1, 0))
        return cluster.worker:disconnect()
      end
      local seen, gone = 0, 0
      for _ = 1, 3 do cluster.fork() end
      cluster:on("message", function(_, n) seen = seen + n end)
      cluster:on("exit", function()
        gone = gone + 1
        if gone == 3 then print(seen, process.pid) end
      end)
    ]])
    local seen, pid = out:match("^(%d+)\t(%d+)\n$")
    assert.equal("6", seen)
    for _, name in ipairs(folders()) do assert(not name:find("-" .. pid .. ".", 1, true), "its folder is left: " .. name) end
  end)

  it("loses nothing that was acknowledged when writers are killed, and blocks nobody", function()
    local out = run([[
      local cluster, shared, timers = require("cluster"), require("shared"), require("timers")
      local dict = shared.dict("d")
      if cluster.isWorker then
        local slot = "of " .. cluster.worker.id
        local n = 0
        process.send("counts")
        timers.setImmediate(function()
          while true do
            n = n + 1
            dict:set(slot, n)
            dict:incr("n", 1, 0)
          end
        end)
        return
      end
      local rounds = 0
      local function another()
        if rounds == 8 then
          local sum = 0
          for i = 1, rounds do sum = sum + dict:get("of " .. i) end
          local lost = sum - dict:get("n")
          print(lost >= 0 and lost <= rounds and "kept" or lost, sum > 100 and "counted" or sum)
          return
        end
        rounds = rounds + 1
        local worker = cluster.fork()
        worker:on("message", function()
          local before = dict:get("n") or 0
          local function look()
            if dict:get("n") and dict:get("n") > before + 100 then worker.process:kill("SIGKILL") else timers.setTimeout(look, 1) end
          end
          look()
        end)
        worker:on("exit", another)
      end
      another()
    ]])
    assert.equal("kept\tcounted\n", out)
  end)

  it("frees those who wait for a value when who computes it dies", function()
    local out = run([[
      local cluster, shared = require("cluster"), require("shared")
      if cluster.isWorker then
        local first = shared.dict("d"):add("first", true)
        local value = shared.dict("d"):wrap("k", nil, function()
          if first then
            process.send("computes")
            require("await").sleep(60000)
          end
          return "by the other"
        end)
        process.send(value)
        return cluster.worker:disconnect()
      end
      cluster:on("message", function(worker, message)
        if message ~= "computes" then return print(message) end
        cluster.fork():on("online", function() worker.process:kill("SIGKILL") end)
      end)
      cluster.fork()
    ]])
    assert.equal("by the other\n", out)
  end)

  it("tells every process that listens, and stops when it is told to", function()
    local out = run([[
      local cluster, shared = require("cluster"), require("shared")
      local dict = shared.dict("d")
      local heard = {}
      local function listener(what)
        for _, key in ipairs(type(what) == "table" and what or { what }) do
          heard[#heard + 1] = key
          if key == "a:end" then
            if cluster.isWorker then
              process.send(table.concat(heard, " "), nil, nil, function() process.disconnect() end)
            else
              dict:off("change", listener)
              print("primary", table.concat(heard, " "))
            end
          end
        end
      end
      dict:on("change", "a:", listener)
      if cluster.isWorker then return process.send("listens") end
      cluster:on("message", function(_, message)
        if message ~= "listens" then return print("worker", message) end
        for i = 1, 3 do dict:set("a:1", i) end
        dict:set("b:1", 1)
        dict:delete("a:1")
        dict:push("a:queue", 1)
        dict:set("a:end", 1)
      end)
      cluster.fork()
    ]])
    local lines = {}
    for line in out:gmatch("[^\n]+") do lines[#lines + 1] = line end
    table.sort(lines)
    assert.same({ "primary\ta:1 a:queue a:end", "worker\ta:1 a:queue a:end" }, lines)
  end)

  it("is a plain child's, too, and not that of a cluster beside it", function()
    local out = run([[
      local shared, child_process = require("shared"), require("child_process")
      shared.dict("d"):set("k", "parent")
      local function child(code) return (child_process.execFileSync(process.execPath, { "-e", code })) end
      io.write(child("print(require('shared').dict('d'):get('k'))"))
      io.write(child("require('cluster') print(require('shared').dict('d'):get('k'))"))
    ]])
    assert.equal("parent\nnil\n", out)
  end)

  it("removes what a primary that was killed has left", function()
    local path = folder .. "/killed.lua"
    fs.writeFileSync(path, [[
      require("shared").dict("d"):set("k", 1)
      process.stdout:write(process.pid .. "\n")
      process.stdin:resume()
    ]])
    local env = {}
    for name, value in pairs(process.env) do if name ~= "LRUN_SHARED" then env[name] = value end end
    local child = child_process.spawn(process.execPath, { path }, { stdio = { "pipe", "pipe", "inherit" }, env = env })
    local pid = await(function(callback) child.stdout:once("data", callback) end):match("%d+")
    child:kill("SIGKILL")
    await(function(callback) child:once("close", callback) end)
    local left = false
    for _, name in ipairs(folders()) do left = left or name:find("-" .. pid .. ".", 1, true) ~= nil end
    assert.is_true(left)
    run("require('shared').dict('d')")
    for _, name in ipairs(folders()) do assert(not name:find("-" .. pid .. ".", 1, true), "left: " .. name) end
  end)

  it("leaves the folders of those it cannot see, in another namespace of processes, until they have gone", function()
    local path = folder .. "/elsewhere.lua"
    fs.writeFileSync(path, [[
      local cluster, shared = require("cluster"), require("shared")
      if cluster.isWorker then
        shared.dict("d"):set("k", 1)
        return process.exit()              -- from now on nobody but the primary has it
      end
      cluster:on("exit", function()
        process.stdout:write(require("fs").readlinkSync("/proc/self/ns/pid"):match("%d+") .. "\n")
        process.stdin:once("data", function()
          print(shared.dict("d"):get("k"))
          process.exit()
        end)
      end)
      cluster.fork()
    ]])
    local probe = child_process.spawnSync("unshare", { "--pid", "--fork", "--mount-proc", "true" })
    if probe.status ~= 0 then return print("namespaces of processes are not permitted: skipped") end
    local env = {}
    for name, value in pairs(process.env) do if name ~= "LRUN_SHARED" then env[name] = value end end
    local function start()
      local child = child_process.spawn("unshare", { "--pid", "--fork", "--kill-child", "--mount-proc", process.execPath, path },
        { stdio = { "pipe", "pipe", "inherit" }, env = env })
      return child, await(function(callback) child.stdout:once("data", callback) end):match("%d+")
    end
    local function has(space)
      for _, name in ipairs(folders()) do if name:find("^" .. space .. "%-") then return true end end
      return false
    end
    local child, space = start()
    assert.is_true(has(space))
    run("require('shared').dict('d')")
    assert.is_true(has(space))
    child.stdin:write("go\n")
    assert.equal("1\n", await(function(callback) child.stdout:once("data", callback) end))
    if child.exitCode == nil then await(function(callback) child:once("exit", callback) end) end
    assert.is_false(has(space))
    child, space = start()
    child:kill("SIGKILL")
    await(function(callback) child:once("close", callback) end)
    run("require('shared').dict('d')")
    assert.is_false(has(space))
  end)

  it("lets others change it when one has no memory left, in whatever it does", function()
    if fs.readFileSync("/proc/self/maps"):find("asan", 1, true) then return end  -- a sanitizer needs more than any limit
    local out = run([[
      local cluster, shared = require("cluster"), require("shared")
      local dict = shared.dict("d", { size = 64 * 2 ^ 20 })
      if cluster.isWorker then
        dict:push("q", ("x"):rep(2 ^ 20))
        dict:set("k", ("x"):rep(2 ^ 20))
        local function fill() return dict:update("k", function(old) return old .. "" end) end
        local works = {
          pop = function() return dict:pop("q") end,
          update = function() return dict:update("k", function(old) return old end) end,
          get = function() return dict:get("k") end,
          pairs = function() for _ in dict:pairs() do end end,
        }
        local hoard, last = {}, { "pop", "update", "get", "pairs" }
        for _, size in ipairs{ 24, 22, 20, 18, 20, 18 } do
          collectgarbage()
          while pcall(function() hoard[#hoard + 1] = string.rep(string.char(#hoard % 256), 2 ^ size - #hoard) end) do end
        end
        local failures = 0
        for i = 1, #last do
          local ok, err = pcall(works[last[i] ])
          if not ok and tostring(err):find("not enough memory", 1, true) then failures = failures + 1 end
        end
        hoard = nil
        collectgarbage()
        process.send({ failures = failures, left = dict:length("q") })
        return require("timers").setInterval(function() end, 1000)
      end
      local worker = cluster.fork()
      cluster:on("message", function(_, message)
        print(message.failures, message.left, dict:stats().used > 2 ^ 21, dict:incr("n", 1, 0))
        worker.process:kill("SIGKILL")
      end)
    ]], { as = "700M" })
    assert.equal("4\t1\ttrue\t1\n", out)
  end)

  it("is made anew with another size while others come and go, and nobody reads what is no more", function()
    local path = folder .. "/sizes"
    fs.mkdirSync(path)
    local out = run(([[
      local cluster = require("cluster")
      if cluster.isWorker then
        local core = require("lrun.core.shared")
        local size = cluster.worker.id * 2 ^ 20
        local made, refused = 0, {}
        local function work() for i = 1, 300 do
          local dict, reason = core.open(%q, true, size, true)
          if dict then
            dict:set("k" .. i, i, false, 0, core.always)
            assert(dict:accepts(size, true))
            made = made + 1
            dict:close()
          else
            refused[reason] = true
          end
        end end
        process:on("message", function()
          work()
          refused.OTHER = nil
          process.send({ made, (next(refused)) }, nil, nil, function() process.disconnect() end)
        end)
        return process.send("ready")
      end
      for _ = 1, 3 do cluster.fork() end
      local done, made, ready = 0, 0, 0
      cluster:on("message", function(_, message)
        if message == "ready" then
          ready = ready + 1
          for _, worker in pairs(ready == 3 and cluster.workers or {}) do worker:send("go") end
          return
        end
        if message[2] then print("refused with", message[2]) end
        made, done = made + message[1], done + 1
      end)
      cluster:on("exit", function(_, code, signal)
        if code ~= 0 then print("a worker ended with", code, signal) end
        if done == 3 and next(cluster.workers) == nil then print(made > 0 and "done") end
      end)
    ]]):format(path .. "/d.dict"))
    assert.equal("done\n", out)
  end)

  it("counts a process once that has listened again and again", function()
    local out = run([[
      local shared, child_process, timers = require("shared"), require("child_process"), require("timers")
      local dict = shared.dict("d")
      dict:on("change", print)
      child_process.execFileSync(process.execPath, { "-e", [=[
        local dict = require("shared").dict("d")
        local function listener() end
        dict:on("change", listener)
        dict:off("change", listener)
        dict:on("change", print)
      ]=] })
      dict:set("k", 1)
    ]])
    assert.equal("k\n", out)
  end)
end)
