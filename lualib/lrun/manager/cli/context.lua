--- What reading an app's definition asks of the system: files, commands, users, processors (see lrun.manager.app).
local uv = require("luv")
local supervise = require("lrun.core.supervise")

local context = {}

local function normalize(path)
  local parts = {}
  for part in path:gmatch("[^/]+") do
    if part == ".." then parts[#parts] = nil elseif part ~= "." then parts[#parts + 1] = part end
  end
  return "/" .. table.concat(parts, "/")
end

--- An absolute path without dots.
---@param folder string
---@param path string
---@return string
function context.resolve(folder, path)
  if path:sub(1, 2) == "~/" and process.env.HOME then path = process.env.HOME .. path:sub(2) end
  return normalize(path:sub(1, 1) == "/" and path or folder .. "/" .. path)
end

local function stat(path)
  local found, reason, code = uv.fs_stat(path)
  if found then return found.type end
  if code == "ENOENT" or code == "ENOTDIR" then return nil end
  return nil, reason
end

local function read(path)
  local file, reason = io.open(path, "rb")
  if not file then return nil, (reason:gsub("^.-: ", "")) end
  local text = file:read("*a")
  file:close()
  return text, not text and "cannot be read" or nil
end

local function user(name) return (supervise.user(name)) end

--- What values depend on.
---@return ValueSystem
function context.system()
  return {
    processors = require("os").availableParallelism and require("os").availableParallelism() or #(uv.cpu_info() or { 1 }),
    signals = require("lrun.core.system").signals(), user = user, group = supervise.group,
  }
end

--- Makes a context.
---@param options { cwd: string, section: string?, home: string, warn: fun(text: string) }
---@return AppContext
function context.make(options)
  local env = {}
  for name, value in pairs(process.env) do env[name] = value end
  local find = require("lrun.manager.keeper.find")
  return {
    cwd = options.cwd, section = options.section, home = options.home, warn = options.warn, env = env, system = context.system(),
    stat = stat, read = read, resolve = context.resolve, execPath = process.execPath,
    readable = function(path) return uv.fs_access(path, "R") == true end,
    executable = function(path) return uv.fs_access(path, "X") == true end,
    find = function(command) return find(command, env.PATH) end,
    umask = require("lrun.core.system").umask(),
  }
end

return context
