--- LRUN_HOME: where the manager keeps its files, and the sockets in it, whatever the length of its path. Makes folders that only their
--- owner may enter. Throws { code = 4, message } where it cannot be used.
---   daemon.sock   the daemon's; daemon.lock is locked by it      apps/NAME.json   one state file an app
---   keepers/      one socket a keeper                            logs/            logs of the apps
---   lrun.log      what daemon and keepers themselves have to say
local uv = require("luv")

local home = {}

local PRIVATE_DIRECTORY = 448    -- 0700

local function fail(text, ...) error({ code = 4, message = text:format(...) }, 0) end

local function absolute(path)
  if path:sub(1, 1) ~= "/" then path = uv.cwd() .. "/" .. path end
  return (path:gsub("/+", "/"):gsub("(.)/$", "%1"))
end

--- The path of LRUN_HOME; makes nothing.
---@param env table<string, string>
---@return string
function home.path(env)
  if env.LRUN_HOME and env.LRUN_HOME ~= "" then return absolute(env.LRUN_HOME) end
  if env.XDG_STATE_HOME and env.XDG_STATE_HOME:sub(1, 1) == "/" then return absolute(env.XDG_STATE_HOME .. "/lrun") end
  local uid = require("lrun.core.system").geteuid()
  if uid == 0 then return "/var/lib/lrun" end
  local folder = env.HOME and env.HOME ~= "" and env.HOME or select(3, require("lrun.core.supervise").user(uid))
  if not folder then fail("there is no home directory: set LRUN_HOME") end
  return absolute(folder .. "/.local/state/lrun")
end

local REASONS = { EACCES = "permission denied", EPERM = "permission denied", EROFS = "read-only file system", ENOTDIR = "not a directory",
  ENOSPC = "no space left on device", EEXIST = "it is no directory", ENAMETOOLONG = "the name is too long", ELOOP = "too many links" }

local function makeParents(path)
  local folder = path:match("^(.+)/[^/]+$")
  if not folder or uv.fs_stat(folder) then return end
  makeParents(folder)
  local ok, reason, code = uv.fs_mkdir(folder, PRIVATE_DIRECTORY)
  if not ok and code ~= "EEXIST" then fail("cannot make the folder '%s': %s", folder, REASONS[code] or reason) end
end

local function makeDirectory(path)
  local ok, reason, code = uv.fs_mkdir(path, PRIVATE_DIRECTORY)
  if ok then return uv.fs_chmod(path, PRIVATE_DIRECTORY) end
  local stat = uv.fs_stat(path)
  if code == "EEXIST" and stat and stat.type == "directory" then return end
  if stat and stat.type ~= "directory" then fail("cannot use '%s': it is no directory", path) end
  fail("cannot make the folder '%s': %s", path, REASONS[code] or reason)
end

--- Checks that an LRUN_HOME which is there is ours. Returns whether it is there.
---@param path string
---@return boolean
function home.check(path)
  local stat, reason, code = uv.fs_stat(path)
  if not stat then
    if code == "ENOENT" then return false end
    fail("cannot use '%s': %s", path, REASONS[code] or reason)
  end
  if stat.type ~= "directory" then fail("cannot use '%s': it is no directory", path) end
  local uid = require("lrun.core.system").geteuid()
  if stat.uid ~= uid and uid ~= 0 then fail("cannot use '%s': it belongs to another user", path) end
  return true
end

--- Makes LRUN_HOME and what is in it.
---@param path string
function home.make(path)
  if not home.check(path) then
    makeParents(path)
    makeDirectory(path)
  end
  local stat = uv.fs_stat(path)
  if stat and stat.uid ~= require("lrun.core.system").geteuid() then
    fail("cannot use '%s': it belongs to another user; set LRUN_HOME", path)
  end
  if stat and stat.mode % 512 ~= PRIVATE_DIRECTORY then uv.fs_chmod(path, PRIVATE_DIRECTORY) end
  if not uv.fs_access(path, "W") then fail("cannot write to '%s': permission denied", path) end
  for _, name in ipairs{ "apps", "keepers", "logs" } do makeDirectory(path .. "/" .. name) end
end

--- What changes in LRUN_HOME while apps run: nobody who watches an app's files means these.
---@param path string
---@return string[] paths
function home.changing(path)
  local list = {}
  for i, name in ipairs{ "apps", "keepers", "logs", "daemon.sock", "daemon.lock", "lrun.log", "preload.cjs" } do
    list[i] = path .. "/" .. name
  end
  return list
end

local MAX_PATH = 100      -- of the 107 that a socket's address holds

--- A path by which a socket in a folder can be reached: the same, or by way of the folder's descriptor where it is too long.
---@param folder string
---@param name string
---@return string? path
---@return integer? fd to be closed once the socket is bound or connected
function home.socketPath(folder, name)
  local path = folder .. "/" .. name
  if #path <= MAX_PATH then return path end
  local fd, _, code = uv.fs_open(folder, "r", 0)
  if not fd then return nil, nil, code end
  return ("/proc/self/fd/%d/%s"):format(fd, name), fd
end

--- Binds a listening unix socket, mode 0600, under a name of its own and renames it: whoever finds the name can connect.
---@param folder string
---@param name string
---@return uv_pipe_t? pipe
---@return string? code
function home.listen(folder, name, onConnection)
  local temporary = (".%s.%d"):format(name, uv.os_getpid())
  local path, fd, code = home.socketPath(folder, temporary)
  if not path then return nil, code end
  uv.fs_unlink(path)
  local pipe = uv.new_pipe(false)
  local ok, reason
  ok, reason, code = pipe:bind(path)
  if ok then ok, reason, code = uv.fs_chmod(path, 384) end
  if ok then ok, reason, code = pipe:listen(128, function(err) if not err then onConnection(pipe) end end) end
  if ok then ok, reason, code = uv.fs_rename(folder .. "/" .. temporary, folder .. "/" .. name) end
  if fd then uv.fs_close(fd) end
  if ok then return pipe end
  pipe:close()
  return nil, code or reason
end

--- Connects to a unix socket.
---@param callback fun(pipe: uv_pipe_t?, code: string?)
function home.connect(folder, name, callback)
  local path, fd, code = home.socketPath(folder, name)
  if not path then return callback(nil, code) end
  local pipe = uv.new_pipe(false)
  local function done(err)
    if fd then uv.fs_close(fd) end
    if not err then return callback(pipe) end
    pipe:close()
    callback(nil, tostring(err):match("^%w+"))
  end
  local called, ok, _, failed = pcall(pipe.connect, pipe, path, done)
  if not called or not ok then done(failed or "EINVAL") end
end

return home
