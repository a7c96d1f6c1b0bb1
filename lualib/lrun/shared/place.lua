--- Where dictionaries are. Those without a path live in memory, in a folder of the cluster's own that is named after its primary
--- (the namespace of its process id, the id, and when it started), so that workers find it; the children of a process that has
--- opened a dictionary are told it in their environment. The primary removes it at its end; what one that was killed has left,
--- the next one does.
---
--- Whoever uses a folder holds a lock on it (flock, shared) until it ends, and so does the primary from when it hears of it. Who
--- removes what was left must have it alone: containers that share a machine's memory see no processes of one another.
local uv = require("luv")
local core = require("lrun.core.shared")
local encoding = require("lrun.core.encoding")
local errors = require("errors")
local process = require("process")

local place = {}

local NAME = "LRUN_SHARED"
local current                        -- the folder, once it was asked for

-- When a process started, in ticks since the machine did; nil for none.
local function startOf(pid)
  local file = io.open(("/proc/%d/stat"):format(pid))
  local text = file and file:read("*a")
  if file then file:close() end
  local fields = text and text:match("^.*%) (.*)$")
  if not fields then return nil end
  local n = 0
  for field in fields:gmatch("%S+") do
    n = n + 1
    if n == 20 then return field end
  end
end

local function baseFolder()
  local root = uv.fs_access("/dev/shm", "W") and "/dev/shm" or uv.os_tmpdir()
  return ("%s/lrun-%d"):format(root, process.geteuid())
end

local function makeFolder(path)
  local ok, _, code = uv.fs_mkdir(path, tonumber("700", 8))
  if not ok and code ~= "EEXIST" then error(errors.system(code, "mkdir", { path = path }), 0) end
end

-- A folder in a place where anybody may make one: it must be ours alone.
local function makeBase(path)
  makeFolder(path)
  local stat = uv.fs_lstat(path)
  if not stat or stat.type ~= "directory" or stat.uid ~= process.geteuid() then
    error(errors.system("EPERM", "open", { path = path }), 0)
  end
  if stat.mode % 64 ~= 0 then uv.fs_chmod(path, tonumber("700", 8)) end
end

local function remove(folder)
  local scan = uv.fs_scandir(folder)
  while scan do
    local name = uv.fs_scandir_next(scan)
    if not name then break end
    uv.fs_unlink(folder .. "/" .. name)
  end
  uv.fs_rmdir(folder)
end

-- Process ids mean nothing without it.
local function namespace() return (uv.fs_readlink("/proc/self/ns/pid") or ""):match("%d+") or "0" end

-- Whether the folder's process is gone: one of this namespace can be looked for; of others only the lock is known.
local function isGone(name)
  local space, pid, start = name:match("^(%d+)-(%d+)%.(%d+)$")
  if not space then return false end
  return space ~= namespace() or startOf(tonumber(pid)) ~= start
end

-- Folders that nobody holds, and whose process is gone.
local function sweep(base)
  local scan = uv.fs_scandir(base)
  while scan do
    local name = uv.fs_scandir_next(scan)
    if not name then break end
    local fd = isGone(name) and uv.fs_open(base .. "/" .. name, "r", 0)
    if fd then
      if core.claim(fd) then remove(base .. "/" .. name) end
      uv.fs_close(fd)
    end
  end
end

local held = {}                      -- folder → descriptor, until the process ends

-- Makes a folder and holds it; again when somebody has removed it in between.
local function hold(folder)
  if held[folder] then return end
  while true do
    makeFolder(folder)
    local fd, _, code = uv.fs_open(folder, "r", 0)
    if not fd and code ~= "ENOENT" then error(errors.system(code, "open", { path = folder }), 0) end
    if fd then
      core.hold(fd)
      local mine, there = uv.fs_fstat(fd), uv.fs_stat(folder)
      if there and there.ino == mine.ino then
        held[folder] = fd
        return
      end
      uv.fs_close(fd)
    end
  end
end

local function named(pid) return ("%s/%s-%d.%s"):format(baseFolder(), namespace(), pid, startOf(pid) or "0") end

-- Whose folder counts here: a worker has its primary's, and a primary its own, whatever it was told; any other process has that
-- of the one that it comes from, if that has opened a dictionary.
local function chosen()
  local cluster = package.loaded.cluster
  if cluster and cluster.isWorker and startOf(process.ppid) then return named(process.ppid) end
  local told = process.env[NAME]
  if told and told ~= "" and not cluster then return told end
  return named(process.pid)
end

--- The folder for dictionaries without a path; made, if it was not there.
---@return string
function place.folder()
  if current then return current end
  local wanted = chosen()
  local base = wanted:match("^(.*)/[^/]+$")
  makeBase(base)
  hold(wanted)
  sweep(base)
  current = wanted
  process.env[NAME] = wanted
  if wanted == named(process.pid) then
    place.own()
  else
    require("lrun.shared.changes").ask()
  end
  return wanted
end

local leaves = false

--- The folder that is named after this process goes with it: it, or a worker, has made one.
function place.own()
  if leaves then return end
  leaves = true
  local folder = named(process.pid)
  hold(folder)
  process:on("exit", function() remove(folder) end)
end

--- A folder that was given by `path`, made with the folders above it.
---@param path string
---@return string absolute
function place.lasting(path)
  local absolute = require("path").resolve(path)
  local ok, err = pcall(require("fs").mkdirSync, absolute, { recursive = true, mode = tonumber("700", 8) })
  if not ok then error(err, 0) end
  return uv.fs_realpath(absolute) or absolute
end

local NAME_MAX = 200                 -- bytes of a file's name, which others are made of

--- A dictionary's file in a folder. What a file's name cannot hold is written as its code, or, where that is too long, the whole
--- name in base64url behind "%=", with which no other begins.
---@param folder string
---@param name string
---@return string
function place.file(folder, name)
  local plain = name:gsub("[^%w_.-]", function(c) return ("%%%02X"):format(c:byte()) end):gsub("^%.", "%%2E")
  if #plain > NAME_MAX then plain = "%=" .. encoding.base64(name, true) end
  return ("%s/%s.dict"):format(folder, plain)
end

return place
