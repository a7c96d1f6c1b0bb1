local await = require("await")
local child_process = require("child_process")
local fs = require("fs")
local json = require("json")
local logFile = require("lrun.manager.keeper.logfile")
local manager = require("spec.support.manager")
local uv = require("luv")

local function note(count) return ("lrun: %d lines were lost\n"):format(count) end

describe("a log file", function()
  local folder

  before_each(function() folder = assert(uv.fs_mkdtemp(uv.os_tmpdir() .. "/lrun-log-XXXXXX")) end)
  after_each(function() fs.rmSync(folder, { recursive = true, force = true }) end)

  local function new(changed)
    local options = { path = folder .. "/a.log", mode = 384, limit = 1000, keep = 3, note = note }
    for key, value in pairs(changed or {}) do options[key] = value end
    return logFile(options)
  end

  it("is rotated between lines, and keeps so many old ones", function()
    local log = new()
    for i = 1, 200 do log:write(("line %03d %s\n"):format(i, ("x"):rep(i % 40))) end
    log:close()
    local names = fs.readdirSync(folder)
    assert.equal(4, #names)
    local last
    for _, name in ipairs{ "a.log.3", "a.log.2", "a.log.1", "a.log" } do
      local text = manager.slurp(folder .. "/" .. name)
      assert.is_true(#text <= 1000)
      for line in text:gmatch("([^\n]*)\n") do
        local number = tonumber(line:match("^line (%d+) x*$"))
        assert.truthy(number, line)
        if last then assert.equal(last + 1, number) end
        last = number
      end
    end
    assert.equal(200, last)
  end)

  it("takes a line longer than its limit whole", function()
    local log = new{ limit = 10 }
    log:write("short\n" .. ("y"):rep(500) .. "\nend\n")
    log:close()
    assert.equal("short\n", manager.slurp(folder .. "/a.log.2"))
    assert.equal(("y"):rep(500) .. "\n", manager.slurp(folder .. "/a.log.1"))
  end)

  it("makes the folders that are missing, and is opened anew when asked", function()
    local log = new{ path = folder .. "/b/c/a.log" }
    log:write("one\n")
    fs.renameSync(folder .. "/b/c/a.log", folder .. "/b/c/moved")
    log:write("two\n")
    log:reopen()
    log:write("three\n")
    log:close()
    assert.equal("one\ntwo\n", manager.slurp(folder .. "/b/c/moved"))
    assert.equal("three\n", manager.slurp(folder .. "/b/c/a.log"))
  end)

  it("empties itself and the older ones", function()
    local log = new{ limit = 20 }
    for i = 1, 9 do log:write("a line " .. i .. "\n") end
    log:empty()
    assert.same({ "a.log" }, fs.readdirSync(folder))
    assert.equal("", manager.slurp(folder .. "/a.log"))
    log:write("again\n")
    log:close()
    assert.equal("again\n", manager.slurp(folder .. "/a.log"))
  end)

  it("holds what cannot be written up to its limit, then counts, and tells when it can again", function()
    local log = new{ limit = 100 * 1024 * 1024 }
    fs.mkdirSync(folder .. "/a.log")       -- cannot be opened for writing
    local line = ("z"):rep(1023) .. "\n"
    for _ = 1, 2000 do log:write(line) end
    assert.is_true(log.lost > 900 and log.lost < 1100, tostring(log.lost))
    fs.rmSync(folder .. "/a.log", { recursive = true })
    local deadline = uv.hrtime() + 5e9
    while log.timer and uv.hrtime() < deadline do await.sleep(20) end
    log:write("after\n")
    log:close()
    local text = manager.slurp(folder .. "/a.log")
    assert.equal(2000 - log.lost, select(2, text:gsub("z+\n", "")))
    assert.truthy(text:find(("lrun: %d lines were lost\nafter\n$"):format(log.lost)))
  end)

  it("on a disk that is full for a while loses no line that was held, and cuts none", function()
    -- The size limit of a file stands for a full disk: a write beyond it is cut short, then fails.
    local script = [[
      local logFile = require("lrun.manager.keeper.logfile")
      process:on("SIGXFSZ", function() end)
      local log = logFile{ path = ...[1], mode = 384, limit = 1e9, keep = 1, note = function(n) return n .. " lost\n" end }
      for i = 1, 100 do log:write(("line %03d %s\n"):format(i, ("q"):rep(90))) end
      print(log.heldBytes, log.lost)
      log:close()
    ]]
    local path = folder .. "/main.lua"
    local file = io.open(path, "w")
    file:write((script:gsub("%.%.%.%[1%]", "process.argv[2]")))
    file:close()
    local result = child_process.spawnSync(process.execPath, { path, folder .. "/full.log" }, { limits = { fsize = 2050 } })
    local held, lost = result.stdout:match("(%d+)\t(%d+)")
    assert.equal("0", lost, result.stdout .. result.stderr)
    assert.equal(10000, tonumber(held) + #manager.slurp(folder .. "/full.log"))
  end)
end)

describe("the logs of an app", function()
  local home

  before_each(function() home = manager.home() end)
  after_each(function() home:close() end)

  it("are each instance's own, or one", function()
    home:write("app.sh", 'echo "instance $LRUN_INSTANCE"\nexec sleep 60\n')
    home:ok{ "start", "app.sh", "-n", "own", "-i", "2", "--min-uptime", "50" }
    home:ok{ "start", "app.sh", "-n", "one", "-i", "2", "--merge-logs", "--min-uptime", "50" }
    local show = home:json{ "show", "own" }
    manager.wait("the lines", function() return (manager.slurp(show.instances[2].out) or "") ~= "" and #home:log("one") > 20 end)
    assert.equal("instance 0\n", manager.slurp(show.instances[1].out))
    assert.equal("instance 1\n", manager.slurp(show.instances[2].out))
    assert.not_equal(show.instances[1].out, show.instances[2].out)
    local seen = {}
    for line in (home:ok{ "logs", "own", "--no-follow", "--json" }):gmatch("[^\n]+") do
      local entry = json.decode(line)
      seen[#seen + 1] = ("%d %s"):format(entry.instance, entry.line)
    end
    table.sort(seen)
    assert.same({ "0 instance 0", "1 instance 1" }, seen)
  end)

  it("are followed across rotation and flush", function()
    home:start("app", [[
      local n = 0
      process.stdin:on("data", function(data)
        for _ = 1, 50 do n = n + 1 print(("line %05d %s"):format(n, ("w"):rep(60))) end
        io.flush()
      end)
    ]], "--log-size", "64K", "--log-keep", "5")
    local follower = home:spawn{ "logs", "app", "--lines", "0", "--raw" }
    local asked = 0
    -- The follower has to be there before anything is written.
    manager.wait("the first line followed", function()
      home:ok{ "send", "app", "go" }
      asked = asked + 50
      return follower.out:find("line", 1, true)
    end)
    for _ = 1, 40 do
      home:ok{ "send", "app", "go" }
      asked = asked + 50
    end
    manager.wait("all lines", function() return follower.out:find(("line %05d"):format(asked)) end)
    local last
    for number in follower.out:gmatch("line (%d+) w+\n") do
      if last then assert.equal(last + 1, tonumber(number)) end
      last = tonumber(number)
    end
    assert.is_true(fs.existsSync(home.state .. "/logs/app-out.log.1"))
    home:ok{ "flush", "app" }
    assert.equal("", home:log("app"))
    home:ok{ "send", "app", "go" }
    manager.wait("a line after the flush", function() return follower.out:find(("line %05d"):format(asked + 50)) end)
    follower:kill("SIGKILL")
  end)

  it("wait for no reader that stands still", function()
    home:start("app", [[
      require("timers").setInterval(function() for _ = 1, 200 do print(("v"):rep(500)) end io.flush() end, 5)
    ]])
    local follower = child_process.spawn(process.execPath, { "logs", "app", "--raw" }, { env = home:env(), stdio = { "ignore", "pipe", "ignore" } })
    follower.stdout:pause()
    await.sleep(1)
    process.kill(follower.pid, "SIGSTOP")
    local before = #home:log("app")
    manager.wait("the app to go on", function()
      local total = 0
      for _, name in ipairs(fs.readdirSync(home.state .. "/logs")) do total = total + fs.statSync(home.state .. "/logs/" .. name).size end
      return total > before + 5 * 1024 * 1024
    end)
    local keeper = home:keeper("app")
    local rss = tonumber(manager.slurp("/proc/" .. keeper .. "/status"):match("VmRSS:%s+(%d+)"))
    assert.is_true(rss < 60 * 1024, rss .. " KiB")
    process.kill(follower.pid, "SIGKILL")
    require("spec.support.children").once(follower, "close")
  end)
end)
