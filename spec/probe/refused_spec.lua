local probe = require("spec.support.probe")
local uv = require("luv")

local IDLE = "require('timers').setInterval(function() end, 1000) print('ready')"
local VERBS = { "attach", "stack", "profile", "heap", "top" }

describe("a process that cannot be looked into", function()
  before_each(probe.begin)
  after_each(probe.finish)

  it("is one that is gone, or no process, or an app that there is not", function()
    local app, pid = probe.start(IDLE)
    app:interrupt("SIGKILL")
    app:gone()
    for _, verb in ipairs(VERBS) do
      assert.matches("there is no process " .. pid, probe.bad(3, { verb, pid }))
      assert.matches("there is no app 'no%-such%-app'", probe.bad(3, { verb, "no-such-app#2" }))
      assert.matches("which process%? lrun " .. verb .. " PID, or the name of an app", probe.bad(2, { verb }))
    end
    assert.matches("there is no process 99999999", probe.bad(3, { "stack", "99999999" }))
    assert.matches("unknown option '%-%-sevg'; did you mean '%-%-svg'%?", probe.bad(2, { "profile", pid, "--sevg", "x" }))
  end)

  it("is no lrun's", function()
    local child = assert(require("child_process").spawn("sleep", { "1000" }, { stdio = "ignore" }))
    finally(function() child:kill("SIGKILL") end)
    assert.matches("is no lrun, or one of an older version: it runs [^\n]*sleep", probe.bad(1, { "attach", tostring(child.pid) }))
    assert.is_nil(child.exitCode)
  end)

  it("is stopped", function()
    local app, pid = probe.start(IDLE)
    app.child:kill("SIGSTOP")
    while true do
      local status = io.open("/proc/" .. pid .. "/status"):read("*a")
      if status:find("State:%s+T") then break end
      uv.sleep(1)
    end
    for _, verb in ipairs(VERBS) do
      assert.matches("is stopped %(kill %-CONT " .. pid .. " lets it go on%)", probe.bad(1, { verb, pid }))
    end
    app.child:kill("SIGCONT")
    assert.matches("no coroutine waits", probe.good({ "stack", pid }))
  end)

  it("was started so, also by its environment, and what it forks", function()
    local _, pid = probe.start(IDLE, nil, { LRUN_INSPECT = "0" })
    for _, verb in ipairs(VERBS) do
      assert.matches("may not be looked into: it was started with %-%-no%-inspect or LRUN_INSPECT=0", probe.bad(1, { verb, pid }))
    end
    local out = probe.good({ "--no-inspect", "-e", [[
      local child = require("child_process").fork(arg[1], { stdio = { "ignore", "pipe", "inherit", "ipc" } })
      child.stdout:on("data", function() process.stdout:write(child.pid .. " ") io.stdout:flush()
        os.execute("'" .. process.execPath .. "' stack " .. child.pid .. " 2>&1")
        child:kill("SIGKILL")
      end)]], probe.write("child.lua", IDLE) })
    assert.matches("^%d+ lrun: process %d+ may not be looked into", out)
  end)

  it("listens to SIGUSR1 itself, until it does so no more", function()
    local app, pid = probe.start([[
      local function on() print("mine") end
      process:on("SIGUSR1", on)
      process:on("SIGUSR2", function() process:removeListener("SIGUSR1", on) print("given back") end)
    ]] .. IDLE)
    assert.matches("takes SIGUSR1 for itself", probe.bad(1, { "stack", pid }))
    app:line("mine")
    app.child:kill("SIGUSR2")
    app:line("given back")
    assert.matches("no coroutine waits", probe.good({ "stack", pid }))
  end)

  it("is another user's", function()
    if require("lrun.core.system").geteuid() ~= 0 then return pending("needs root") end
    local app, pid = probe.start(IDLE)
    local out = io.popen(("cd / && setpriv --reuid=65534 --regid=65534 --clear-groups %s stack %s 2>&1"):format(process.execPath, pid)):read("*a")
    if out:find("setpriv") or out:find("Permission denied") then return pending("nobody cannot run this lrun") end
    assert.equal("lrun: process " .. pid .. " belongs to another user (try sudo -u '#0' lrun …)\n", out)
    app.child:kill("SIGKILL")
  end)

  it("does not return to its loop, for what needs that", function()
    local _, pid = probe.start("print('ready') io.stdout:flush() local n = 0 while true do n = n + 1 end")
    local err = probe.bad(1, { "attach", pid }, "1\n")
    assert.matches("does not return to its loop: it is at [^\n]*app.lua:1: in main chunk %(lrun stack " .. pid .. " tells more%)", err)
  end)

  it("leaves a signal without harm, and a socket that nobody but its user can use, for a while", function()
    local app, pid = probe.start(IDLE)
    app.child:kill("SIGUSR1")
    assert.matches("no coroutine waits", probe.good({ "stack", pid }))
    local folder = process.env.XDG_RUNTIME_DIR and process.env.XDG_RUNTIME_DIR .. "/lrun" or "/tmp/lrun-" .. require("lrun.core.system").geteuid()
    assert.equal(448, uv.fs_stat(folder).mode % 512)
    local socket = folder .. "/" .. pid .. ".sock"
    assert.equal(384, uv.fs_stat(socket).mode % 512)
    assert.equal(384, uv.fs_stat(folder .. "/" .. pid .. ".report").mode % 512)
    app.child:kill("SIGKILL")
    app:gone()
    local _, other = probe.start(IDLE)
    probe.good({ "stack", other })
    assert.is_nil(uv.fs_stat(socket))       -- swept by the next
  end)
end)
