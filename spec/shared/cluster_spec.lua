--- shared between processes: workers that die, that wait, that listen.
local await = require("await")
local child_process = require("child_process")
local fs = require("fs")

local folder

-- Runs a program; what it prints.
local function run(text, env)
  local path = folder .. "/main.lua"
  fs.writeFileSync(path, text)
  local all = {}
  for name, value in pairs(process.env) do all[name] = value end
  for name, value in pairs(env or {}) do all[name] = value end
  all.LRUN_SHARED = nil
  local err, out, errText = await(child_process.execFile, process.execPath, { path }, { env = all })
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
    for _, name in ipairs(folders()) do assert(not name:find("^" .. pid .. "%."), "its folder is left: " .. name) end
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
    for _, name in ipairs(folders()) do left = left or name:find("^" .. pid .. "%.") ~= nil end
    assert.is_true(left)
    run("require('shared').dict('d')")
    for _, name in ipairs(folders()) do assert(not name:find("^" .. pid .. "%."), "left: " .. name) end
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
