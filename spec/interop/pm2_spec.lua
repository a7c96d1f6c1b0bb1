-- pm2, Node's process manager, runs a Lua application: installed by npm into a temporary folder, its daemon in a home of
-- its own there.
local child_process = require("child_process")
local children = require("spec.support.children")
local processes = require("spec.support.processes")

local function missing(what)
  print(what .. ": pm2 is not tested")
  process.exit(77)
end

if not child_process.spawnSync("npm", { "--version" }).stdout then missing("npm is not installed") end

local folder = child_process.execSync("mktemp -d"):gsub("\n", "")
local installed = child_process.spawnSync("npm",
  { "install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", folder, "pm2@5" }, { timeout = 200000 })
if installed.status ~= 0 then
  child_process.execFileSync("rm", { "-rf", folder })
  missing("npm cannot install it (" .. tostring(installed.stderr):gsub("%s+", " "):sub(1, 200) .. ")")
end

local env = { PM2_HOME = folder .. "/home" }
for name, value in pairs(process.env) do env[name] = env[name] or value end

local function pm2(...)
  local result = child_process.spawnSync(folder .. "/node_modules/.bin/pm2", { ... }, { env = env, timeout = 60000 })
  assert.equal(0, result.status, tostring(result.error) .. tostring(result.stdout) .. tostring(result.stderr))
  return result.stdout
end

-- The application as pm2 describes it.
local function describeApp()
  local text = pm2("jlist")
  local list = require("json").decode(text:match("%[.*%]"))
  assert.equal(1, #list)
  return list[1]
end

describe("pm2", function()
  local app = folder .. "/app.lua"

  setup(function()
    local file = assert(io.open(app, "w"))
    file:write([[
process:on("SIGINT", function()
  print("stopping")
  process.exit(0)
end)
require("timers").setTimeout(function()
  print("app is ready")
  process.send("ready")
end, 700)
require("timers").setInterval(function() end, 1000)
]])
    file:close()
  end)

  teardown(function()
    pcall(pm2, "kill")
    child_process.execFileSync("rm", { "-rf", folder })
  end)

  it("starts an application and waits until it says that it is ready", function()
    local started = process.uptime()
    pm2("start", app, "--interpreter", process.execPath, "--name", "app", "--wait-ready", "--listen-timeout", "20000")
    assert.is_true(process.uptime() - started < 20)
    local description = describeApp()
    assert.equal("online", description.pm2_env.status)
    assert.is_true(processes.alive(description.pid))
    local file = assert(io.open(description.pm2_env.pm_out_log_path))
    assert.truthy(file:read("*a"):find("app is ready", 1, true)) -- written before pm2 had returned
    file:close()
  end)

  it("restarts, shows logs, stops", function()
    local before = describeApp().pid
    pm2("restart", "app")
    local after = describeApp()
    assert.is_true(after.pid ~= before)
    assert.is_false(processes.alive(before))
    assert.equal("online", after.pm2_env.status)
    children.eventually(function()
      return pm2("logs", "app", "--nostream", "--lines", "20"):find("app is ready.*stopping.*app is ready")
    end)
    pm2("stop", "app")
    assert.equal("stopped", describeApp().pm2_env.status)
    assert.is_false(processes.alive(after.pid))
  end)
end)
