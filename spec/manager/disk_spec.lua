--- A full disk under LRUN_HOME: a small file system in memory, in a mount namespace of this spec's own. Skipped where namespaces are
--- not permitted.
local child_process = require("child_process")
local fs = require("fs")
local manager = require("spec.support.manager")

if not process.env.SPEC_OWN_MOUNTS then
  local how
  for _, args in ipairs{ { "--mount" }, { "--user", "--map-root-user", "--mount" } } do
    local probe = { unpack(args) }
    for _, word in ipairs{ "mount", "-t", "tmpfs", "none", "/mnt" } do probe[#probe + 1] = word end
    if child_process.spawnSync("unshare", probe).status == 0 then
      how = args
      break
    end
  end
  if not how then
    print("a mount namespace is not permitted: skipped")
    process.exit(77)
  end
  local args = { unpack(how) }
  for _, word in ipairs{ process.execPath, "spec/support/busted.lua", "spec/manager/disk_spec.lua" } do args[#args + 1] = word end
  local env = {}
  for name, value in pairs(process.env) do env[name] = value end
  env.SPEC_OWN_MOUNTS = "1"
  return describe("a full disk, in a mount namespace", function()
    it("passes", function() assert.equal(0, child_process.spawnSync("unshare", args, { stdio = "inherit", env = env }).status) end)
  end)
end

local TALK = [[
local timers = require("timers")
local n = 0
timers.setInterval(function()
  for _ = 1, 100 do
    n = n + 1
    print(("line %d %s"):format(n, ("x"):rep(1000)))
  end
  local file = io.open(process.env.BEAT, "w")
  file:write(n)
  file:close()
end, 10)
]]

describe("on a full disk", function()
  local home

  before_each(function()
    home = manager.home()
    fs.mkdirSync(home.state)
    child_process.execFileSync("mount", { "-t", "tmpfs", "-o", "size=2m,mode=0700", "none", home.state })
  end)
  after_each(function()
    local ok, err = pcall(home.run, home, { "kill" })
    child_process.execFileSync("umount", { "-l", home.state })
    home:close()
    if not ok then error(err, 0) end
  end)

  local function fill()
    local fd = fs.openSync(home.state .. "/filler", "a")
    for _, size in ipairs{ 65536, 4096, 512, 1 } do
      while pcall(fs.writeSync, fd, ("f"):rep(size)) do end
    end
    fs.closeSync(fd)
  end
  local function empty() fs.unlinkSync(home.state .. "/filler") end

  it("apps go on, and commands say what could not be kept and do the rest", function()
    home:start("one", manager.idle)
    home:start("two", manager.idle)
    home:write("new.lua", manager.idle)
    local pids = home:pids("one")
    fill()
    local _, err, code = home:run{ "start", "new.lua", "--min-uptime", "50" }
    assert.equal(1, code)
    assert.truthy(err:find("the state file of 'new' cannot be written: ENOSPC", 1, true), err)
    assert.is_nil(home:app("new"))
    _, err, code = home:run{ "stop", "two" }
    assert.equal(1, code)
    assert.truthy(err:find("'two' is stopped, but the state file of 'two' cannot be written: ENOSPC", 1, true), err)
    assert.equal("stopped", home:app("two").state)
    assert.same(pids, home:pids("one"))
    _, err, code = home:run{ "restart", "one" }
    assert.equal(1, code)
    assert.truthy(err:find("'one' is restarted, but", 1, true), err)
    assert.not_same(pids, home:pids("one"))
    assert.equal(1, select(3, home:run{ "save" }))
    assert.equal("online", home:app("one").state)
    empty()
    manager.wait("the state file", function()
      return (manager.slurp(home.state .. "/apps/two.json") or ""):find('"wanted":"stopped"', 1, true)
    end)
    local daemon = home:daemon()
    process.kill(daemon, "SIGKILL")
    manager.wait("another daemon", function() return home:app("one").state == "online" and home:daemon() ~= daemon end)
    assert.equal("stopped", home:app("two").state)
    home:ok{ "start", "new.lua", "--min-uptime", "50" }
  end)

  it("an app that talks is never blocked, and its log says how much is missing", function()
    home:write("talk.lua", TALK)
    local beat = home.dir .. "/beat"
    home:ok({ "start", "talk.lua", "--min-uptime", "50", "--log-size", "100M" }, { env = { BEAT = beat } })
    local function lost() return home:json{ "show", "talk" }.lost end
    manager.wait("lost lines", function() return lost() > 0 end)
    local function beats() return tonumber(manager.slurp(beat)) end      -- nil while it is written
    local before = manager.wait("a beat", beats)
    manager.wait("the app to go on", function() return (beats() or 0) > before + 1000 end)
    fs.truncateSync(home.state .. "/logs/talk-out.log", 0)
    manager.wait("the number of lost lines in the log", function() return home:log("talk"):find("%d+ lines? [^\n]*lost") end)
    local count = 0
    for line in home:log("talk"):gmatch("([^\n]*)\n") do
      count = count + 1
      assert(line:find("^line %d+ x+$") or line:find("lost", 1, true) or count == 1, line:sub(1, 80))
    end
  end)
end)
