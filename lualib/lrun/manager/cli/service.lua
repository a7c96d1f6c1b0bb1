--- The verbs about the manager itself: kill, save, resurrect, update, startup, unstartup.
local client = require("lrun.manager.cli.client")
local identity = require("lrun.manager.identity")
local show = require("lrun.manager.cli.show")
local uv = require("luv")

local service = {}

local function usage(text, ...) error({ usage = text:format(...) }, 0) end

-- Waits until a process is really gone.
local function awaitEnd(known)
  while identity.isAlive(known) do client.sleep(2) end
end

function service.kill(run)
  local connection = run.connect{ start = false }
  if connection then
    local known = identity.of(connection.pid)
    connection:call("kill", {})
    connection:close()
    awaitEnd(known)
  end
  if run.options.json then return show.json{ killed = connection ~= nil } end
  io.stdout:write(connection and "the daemon and all apps have ended; lrun resurrect starts them again\n" or "no daemon runs\n")
end

function service.save(run)
  local connection = run.connect{ start = false }
  local count
  if connection then
    count = connection:call("save", {}).saved
    connection:close()
  else
    count = #show.fromFiles(run.home)
  end
  if run.options.json then return show.json{ saved = count } end
  io.stdout:write(("the state of %d apps is always saved, in %s/apps: nothing to do\n"):format(count, run.home))
end

function service.resurrect(run)
  local apps = require("lrun.manager.cli.apps")
  apps.print(run, apps.call(run, "resurrect", {}))
end

function service.update(run)
  local connection = run.connect{ start = false }
  if connection then
    local known = identity.of(connection.pid)
    connection:call("leave", {})
    connection:close()
    awaitEnd(known)
  end
  local apps = require("lrun.manager.cli.apps")
  apps.print(run, apps.call(run, "renew", {}))
end

-- systemd -------------------------------------------------------------------------------------------------------------

local UNIT_FOLDER = "/etc/systemd/system"

local function quote(text)
  if not text:find('[%s"\'\\%%$]') then return text end
  return '"' .. text:gsub('[\\"]', "\\%0"):gsub("%%", "%%%%"):gsub("%$", "$$") .. '"'
end

--- The text of a unit. What must outlive what: the daemon may be restarted (KillMode=process leaves keepers and apps), a stop of the
--- unit ends all apps (ExecStop), and nothing in it restarts what `lrun kill` ended.
---@param options { lrun: string, home: string, user: string?, path: string }
function service.unit(options)
  local lines = {
    "[Unit]",
    "Description=lrun process manager",
    "After=network-online.target",
    "Wants=network-online.target",
    "",
    "[Service]",
    "Type=notify",
    "NotifyAccess=main",
    "Environment=" .. quote("LRUN_HOME=" .. options.home),
    "Environment=" .. quote("PATH=" .. options.path),
    ("ExecStart=%s lrun:daemon resurrect"):format(quote(options.lrun)),
    ("ExecStop=%s kill"):format(quote(options.lrun)),
    "ExecReload=" .. quote(options.lrun) .. " reload all",
    "KillMode=process",
    "Restart=on-failure",
    "RestartSec=1",
    "WatchdogSec=30",
    "TimeoutStartSec=300",
    "TimeoutStopSec=120",
    "LimitNOFILE=infinity",
    "TasksMax=infinity",
    "",
    "[Install]",
    "WantedBy=" .. (options.user and "default.target" or "multi-user.target"),
    "",
  }
  if options.uid then table.insert(lines, 9, "User=" .. options.uid) end
  return table.concat(lines, "\n")
end

local function unitPlace()
  local uid = require("lrun.core.system").geteuid()
  if uid == 0 then return UNIT_FOLDER, {} end
  local base = process.env.XDG_CONFIG_HOME or (process.env.HOME or "") .. "/.config"
  return base .. "/systemd/user", { "--user" }
end

local function unitText(run)
  local uid = require("lrun.core.system").geteuid()
  return service.unit{
    lrun = process.execPath, home = run.home, user = uid ~= 0 or nil, path = process.env.PATH or "/usr/local/bin:/usr/bin:/bin",
  }
end

local function systemctl(scope, ...)
  local args = { unpack(scope) }
  for _, each in ipairs{ ... } do args[#args + 1] = each end
  local result = require("child_process").spawnSync("systemctl", args)
  if result.error or result.status ~= 0 then
    local reason = result.error and tostring(result.error) or (result.stderr or ""):match("[^\n]+") or "it failed"
    error({ exit = 1, code = "failed", message = ("systemctl %s: %s"):format(table.concat(args, " "), reason) }, 0)
  end
end

local function makeFolder(path)
  if uv.fs_stat(path) then return end
  makeFolder(path:match("^(.*)/[^/]+$"))
  uv.fs_mkdir(path, 493)
end

function service.startup(run)
  if #run.options.words > 0 then usage("startup takes no words") end
  local text = unitText(run)
  if run.options.print then return io.stdout:write(text) end
  local folder, scope = unitPlace()
  makeFolder(folder)
  local path = folder .. "/lrun.service"
  local file, reason = io.open(path, "w")
  if not file then error({ exit = 1, code = "failed", message = tostring(reason), hint = "lrun startup --print prints the unit" }, 0) end
  file:write(text)
  file:close()
  systemctl(scope, "daemon-reload")
  systemctl(scope, "enable", "lrun.service")
  if run.options.json then return show.json{ unit = path } end
  io.stdout:write(("%s is written and enabled: what runs is started again when the machine starts\n"):format(path))
end

function service.unstartup(run)
  local folder, scope = unitPlace()
  local path = folder .. "/lrun.service"
  if uv.fs_stat(path) then
    pcall(systemctl, scope, "disable", "lrun.service")
    local ok, reason = os.remove(path)
    if not ok then error({ exit = 1, code = "failed", message = tostring(reason) }, 0) end
    pcall(systemctl, scope, "daemon-reload")
  end
  if run.options.json then return show.json{ unit = path } end
  io.stdout:write(("%s is gone\n"):format(path))
end

return service
