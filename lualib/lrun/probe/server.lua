--- The side that is looked into: opened by SIGUSR1 (runtime/probe/request.c), it answers calls on a socket in the user's folder,
--- and is gone again when the last client has left, or when none came. Keeps nothing alive. What a call does is loaded when
--- it is asked for.
local uv = require("luv")
local probe = require("lrun.core.probe")
local process = require("process")

local server = {}

local ALONE = 10000                 -- ms without a client

-- Call → the module that has it as a function(client, args, answer).
local MODULES = {
  eval = "session", complete = "session", interrupt = "session", output = "session", stack = "stacks", heap = "heap", profile = "profiler",
  metrics = "workers", worker = "workers",
}

local listener, path, timer
local clients = 0

local function close()
  if not listener then return end
  listener:close()
  timer:close()
  uv.fs_unlink(path)
  uv.fs_unlink((path:gsub("sock$", "report")))
  listener = nil
  process:removeListener("exit", close)
end

local function await()
  timer:start(ALONE, 0, close)
  timer:unref()
end

local function onClient(client)
  clients = clients + 1
  client.pipe:unref()
  client.atEnd = {}                 -- functions
  timer:stop()
  client.onClose = function()
    clients = clients - 1
    for _, f in ipairs(client.atEnd) do f() end
    if clients == 0 and listener then await() end
  end
end

local function onCall(client, call, args, answer)
  local name = MODULES[call]
  if not name then return answer.fail{ code = "call", message = ("lrun %s has no '%s'"):format(process.version, call) } end
  local ok, err = pcall(function() require("lrun.probe." .. name)[call](client, args, answer) end)
  if not ok then answer.fail{ code = "failed", message = tostring(err) } end
end

local function greeting() return { version = process.version, pid = process.pid, title = process.title } end

-- What processes have left that were killed.
local function sweep(folder)
  local scan = uv.fs_scandir(folder)
  while scan do
    local name = uv.fs_scandir_next(scan)
    if not name then return end
    local pid = tonumber(name:match("^%.?(%d+)%.%a+$"))
    if pid and not uv.fs_stat("/proc/" .. pid) then uv.fs_unlink(folder .. "/" .. name) end
  end
end

--- Opens the socket, or leaves it open for longer.
function server.open()
  if listener then
    if clients == 0 then await() end
    return
  end
  local folder = probe.folder()
  if not folder then return end
  sweep(folder)
  local name = ("%d.sock"):format(process.pid)
  listener = require("lrun.manager.daemon.server").listen{
    folder = folder, name = name, greeting = greeting, onCall = onCall, onClient = onClient,
  }
  if not listener then return end
  path = folder .. "/" .. name
  listener:unref()
  timer = uv.new_timer()
  await()
  process:once("exit", close)
end

return server
