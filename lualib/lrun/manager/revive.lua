--- Starts the daemon, whoever finds that there is none. Many may at once: the daemon's own lock lets one live.
local child_process = require("child_process")
local uv = require("luv")

local revive = {}

local LOG_MAX = 1024 * 1024     -- bytes of lrun.log, then it is begun anew

--- A descriptor of the file for what daemon and keepers have to say.
---@param home string
---@return integer|"ignore"
function revive.log(home)
  local path = home .. "/lrun.log"
  local stat = uv.fs_stat(path)
  if stat and stat.size > LOG_MAX then uv.fs_rename(path, path .. ".1") end
  return uv.fs_open(path, "a", 384) or "ignore"
end

--- The environment of daemon and keepers: the caller's, with the absolute LRUN_HOME.
---@param home string
---@param env table<string, string>? in place of this process's
---@return table<string, string>
function revive.environment(home, env)
  env = require("lrun.manager.environment").inherited(env or process.env)
  env.LRUN_HOME = home
  env.LRUN_MANAGER = "1"          -- a daemon that a keeper started is none of its app's processes: see keeper/tree.lua
  return env
end

--- Starts a daemon; returns at once.
---@param home string
---@param resurrect boolean whether it starts what had been ended by `kill`
---@param env table<string, string>? in place of this process's
---@return ChildProcess
function revive.daemon(home, resurrect, env)
  local log = revive.log(home)
  local args = { "lrun:daemon" }
  if resurrect then args[2] = "resurrect" end
  local child = child_process.spawn(process.execPath, args,
    { cwd = "/", detached = true, env = revive.environment(home, env), stdio = { "ignore", "ignore", log } })
  if type(log) == "number" then uv.fs_close(log) end
  child:on("error", function() end)
  child:unref()
  return child
end

return revive
