--- Starts an instance as a program of its own (fork mode): what is run, with which descriptors and environment. Owns nothing of it
--- afterwards.
local child_process = require("child_process")
local app = require("lrun.manager.app")
local environment = require("lrun.manager.environment")
local find = require("lrun.manager.keeper.find")

local fork = {}

--- The variables that every instance gets of its keeper.
---@param keeper { app: table }
---@param number integer
---@param mark string tells its processes from others
---@return table<string, string>
function fork.variables(keeper, number, mark)
  local made = { LRUN_APP = keeper.app.name, LRUN_INSTANCE = tostring(number), NODE_APP_INSTANCE = tostring(number), LRUN_KEEPER = mark }
  local name = keeper.app.incrementVar
  if name then
    local base = tonumber(keeper.app.env[name] or keeper.app.base[name]) or 0
    made[name] = ("%.14g"):format(base + number)
  end
  return made
end

--- The whole environment of an instance.
function fork.environment(keeper, number, mark)
  local env = environment.of(keeper.app)
  for name, value in pairs(fork.variables(keeper, number, mark)) do env[name] = value end
  return env
end

-- What is run: file and arguments.
local function command(made, env)
  if made.kind == "shell" then
    local text = made.script
    if #made.args > 0 then return "/bin/sh", { "-c", text .. ' "$@"', "sh", unpack(made.args) } end
    return "/bin/sh", { "-c", text }
  end
  if not made.interpreter then
    local file = made.kind == "program" and find(made.script, env.PATH) or made.script
    return file, made.args
  end
  local interpreter = app.interpreter(made.interpreter, function(name) return find(name, env.PATH) end, process.execPath)
  if not interpreter then return nil, ("the interpreter '%s' is not installed (not found in PATH)"):format(made.interpreter) end
  local args = { unpack(made.interpreterArgs) }
  args[#args + 1] = made.kind == "program" and find(made.script, env.PATH) or made.script
  for _, argument in ipairs(made.args) do args[#args + 1] = argument end
  return interpreter, args
end

--- The id of a user or group that a field names.
function fork.ids(made)
  local supervise = require("lrun.core.supervise")
  local uid, gid = made.uid, made.gid
  if uid then
    local id, own = supervise.user(uid)
    if not id and type(uid) == "string" then return nil, nil, ("there is no user '%s'"):format(uid) end
    uid, gid = id or uid, gid or own
  end
  if type(gid) == "string" then
    local id = supervise.group(gid)
    if not id then return nil, nil, ("there is no group '%s'"):format(gid) end
    gid = id
  end
  return uid, gid
end

local function limitsOf(limits)
  if not limits then return nil end
  local made = {}
  for name, value in pairs(limits) do made[name] = value == "unlimited" and math.huge or value end
  return made
end

--- The options that only a supervisor needs, for child_process and cluster alike.
function fork.launchOptions(made)
  local uid, gid, problem = fork.ids(made)
  if problem then return nil, problem end
  return {
    cwd = made.cwd, uid = uid, gid = gid, umask = made.umask, nice = made.nice, limits = limitsOf(made.limits),
    deathSignal = "SIGKILL",
  }
end

local CHANNEL = { lrun = "lua", node = "json" }

-- Whether the program gets an IPC channel, and of which kind.
local function channelOf(made)
  local known = made.kind == "script" and made.interpreter and CHANNEL[made.interpreter:match("[^/]+$")]
  if known then return known end
  if made.ready == "message" or made.shutdownWithMessage then return "json" end
end

--- LISTEN_PID has to be the pid that the program will have: a shell puts its own there and becomes the program.
local function withListenPid(file, args)
  return "/bin/sh", { "-c", 'LISTEN_PID=$$ exec "$0" "$@"', file, unpack(args) }
end

--- Starts one.
---@param keeper { app: table, sockets: table }
---@param number integer
---@param mark string
---@param notice { fd: integer, name: string }?
---@return ChildProcess? child
---@return string? problem
function fork.start(keeper, number, mark, notice)
  local made = keeper.app
  local env = fork.environment(keeper, number, mark)
  local file, args = command(made, env)
  if not file then return nil, args end
  local options, problem = fork.launchOptions(made)
  if not options then return nil, problem end
  local stdio = { "pipe", "pipe", "pipe" }
  if made.listen then
    local descriptors, fault = keeper.sockets:descriptors(made.listen)
    if not descriptors then return nil, fault end
    for _, fd in ipairs(descriptors) do stdio[#stdio + 1] = fd end
    env.LISTEN_FDS = tostring(#descriptors)
    env.LISTEN_PID = "0"
    file, args = withListenPid(file, args)
  end
  local channel = channelOf(made)
  if channel then
    stdio[#stdio + 1] = "ipc"
    options.serialization = channel
  end
  if notice then env.NOTIFY_SOCKET = notice.name end
  options.stdio, options.env = stdio, env
  local ok, child = pcall(child_process.spawn, file, args, options)
  if not ok then return nil, tostring(child) end
  return child
end

return fork
