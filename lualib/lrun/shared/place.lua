--- Where dictionaries are. Those without a path live in memory, in a folder of the cluster's own that is named after its primary
--- (its process id and when it started), so that workers find it; the children of a process that has opened a dictionary are
--- told it in their environment. The primary removes it at its end; what one that was killed has left, the next one does.
local uv = require("luv")
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

-- Folders whose process is gone.
local function sweep(base)
  local scan = uv.fs_scandir(base)
  while scan do
    local name = uv.fs_scandir_next(scan)
    if not name then break end
    local pid, start = name:match("^(%d+)%.(%d+)$")
    if pid and startOf(tonumber(pid)) ~= start then remove(base .. "/" .. name) end
  end
end

local function named(pid) return ("%s/%d.%s"):format(baseFolder(), pid, startOf(pid) or "0") end

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
  makeFolder(wanted)
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

--- A dictionary's file in a folder. What a file's name cannot hold is written as its code.
---@param folder string
---@param name string
---@return string
function place.file(folder, name)
  local plain = name:gsub("[^%w_.-]", function(c) return ("%%%02X"):format(c:byte()) end):gsub("^%.", "%%2E")
  return ("%s/%s.dict"):format(folder, plain)
end

return place
