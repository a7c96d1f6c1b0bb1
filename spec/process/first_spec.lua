local child_process = require("child_process")
local children = require("spec.support.children")
local once, text = children.once, children.text

local function arguments(script) return { "-pf", "--mount-proc", process.execPath, "-e", script } end
local hasNamespaces = child_process.spawnSync("unshare", { "-pf", "--mount-proc", "true" }).status == 0

-- Starts a script as process 1 of a namespace; its first line of output has come.
local function first(script)
  local child = child_process.spawn("unshare", arguments(script), { stdio = { "ignore", "pipe", "inherit" } })
  once(child.stdout, "data")
  return child
end

local function childOf(pid)
  local file = assert(io.open(("/proc/%d/task/%d/children"):format(pid, pid)))
  local found = tonumber(file:read("*a"):match("%d+"))
  file:close()
  return found
end

describe("the signals that a program starts with", function()
  for _, name in ipairs{ "INT", "QUIT", "TERM" } do
    it("have their default, also SIG" .. name .. " that its parent ignored", function()
      local child = child_process.spawn("sh", { "-c", "trap '' " .. name .. "; exec \"$0\" -e \"$1\"", process.execPath,
        'io.write("ready") io.flush() require("timers").setTimeout(function() end, 60000)' },
        { stdio = { "ignore", "pipe", "inherit" }, limits = { core = 0 } })
      once(child.stdout, "data")
      child:kill("SIG" .. name)
      local _, signal = once(child, "exit")
      assert.equal("SIG" .. name, signal)
    end)
  end

  it("leave SIGHUP ignored, for nohup", function()
    local child = child_process.spawn("sh", { "-c", "trap '' HUP; exec \"$0\" -e \"$1\"", process.execPath, [[
      process.kill(process.pid, "SIGHUP")
      io.write("still here")]] }, { stdio = { "ignore", "pipe", "inherit" } })
    assert.equal("still here", text(child.stdout))
  end)
end)

describe("process 1", function()
  if not hasNamespaces then return pending("this user may not make a pid namespace") end

  for name, code in pairs{ SIGINT = 130, SIGTERM = 143 } do
    it("is ended by " .. name .. ", unless it listens", function()
      local child = first('print(process.pid) require("timers").setTimeout(function() end, 60000)')
      process.kill(childOf(child.pid), name)
      assert.equal(code, (once(child, "exit")))
      child = first(([[
        process:once("%s", function() print("heard") end)
        print(process.pid)
        require("timers").setTimeout(function() end, 60000)]]):format(name))
      local pid = childOf(child.pid)
      process.kill(pid, name)
      assert.equal("heard\n", (once(child.stdout, "data")))
      process.kill(pid, name)
      assert.equal(code, (once(child, "exit")))
    end)
  end

  it("reaps children that nobody knows, and no others", function()
    local child = child_process.spawn("unshare", arguments[[
      local spawn, fs, timers = require("child_process").spawn, require("fs"), require("timers")
      local pipe = io.popen("echo popen")
      for _ = 1, 5 do spawn("sh", { "-c", "(sleep 0.05 &) ; exit 0" }, { stdio = "ignore" }) end
      local known
      spawn("sh", { "-c", "exit 7" }, { stdio = "ignore" }):on("exit", function(code) known = code end)
      io.write(pipe:read("*l"), " ", tostring(pipe:close()), " ")
      local had = false
      local timer
      timer = timers.setInterval(function()
        local zombies = 0
        for _, name in ipairs(fs.readdirSync("/proc")) do
          local file = tonumber(name) and io.open("/proc/" .. name .. "/stat")
          if file then
            if file:read("*a"):find(") Z ", 1, true) then zombies = zombies + 1 end
            file:close()
          end
        end
        had = had or zombies >= 5
        if not had or zombies > 0 then return end
        io.write("reaped ", known)
        timers.clearInterval(timer)
      end, 20)]], { stdio = { "ignore", "pipe", "inherit" } })
    assert.equal("popen true reaped 7", text(child.stdout))
  end)
end)
