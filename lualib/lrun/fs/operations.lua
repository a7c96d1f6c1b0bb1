--- The operations of `fs`. `check` looks at the arguments before anything runs and returns what `run` needs; `run(call, …)`
--- is written once for both forms: it makes system calls with `call(syscall, where, …)` (see fs_call).
local uv = require("luv")
local errors = require("errors")
local aborting = require("lrun.check.aborting")
local validate = require("lrun.check.validate")
local fsCall = require("lrun.fs.call")
local stats = require("lrun.fs.stats")
local arguments = require("lrun.fs.arguments")

local S_IFMT, S_IFREG = 0xF000, 0x8000
local FILE_MODE, DIRECTORY_MODE = 438, 511          -- 0666 and 0777, before the umask
local CHUNK = 512 * 1024                            -- bytes read or written by one system call
local MAX_FILE = 2147483647                         -- bytes that a Lua string holds

local operations = {}

local function define(name, check, run) operations[name] = { check = check, run = run } end

local function band(value, mask) return require("bit").band(value, mask) end

local function throwIfAborted(signal)
  if signal and signal.aborted then error(aborting.failure(signal), 0) end
end

-- Opens a path, or takes a descriptor as it is; runs `body(fd)`; closes what it opened.
local function withFile(call, target, flags, mode, body)
  if type(target) == "number" then return body(target) end
  local fd = call("open", { path = target }, target, flags, mode)
  return fsCall.finally(function() call("close", nil, fd) end, function() return body(fd) end)
end

-- Whole files ---------------------------------------------------------------------------------------------------------

local function tooLarge(size)
  return errors.coded("ERR_FS_FILE_TOO_LARGE", ("File size (%.0f) is greater than 2 GiB"):format(size))
end

local function readAll(call, fd, signal)
  local raw = call("fstat", nil, fd)
  local size = band(raw.mode, S_IFMT) == S_IFREG and raw.size or 0
  if size > MAX_FILE then error(tooLarge(size), 0) end
  local parts, length = {}, 0
  repeat
    throwIfAborted(signal)
    local wanted = size > length and math.min(size - length, CHUNK) or size == 0 and CHUNK / 8 or 0
    local data = wanted > 0 and call("read", nil, fd, wanted, -1) or ""
    length = length + #data
    if length > MAX_FILE then error(tooLarge(length), 0) end
    parts[#parts + 1] = data
  until data == ""
  return table.concat(parts)
end

define("readFile", function(target, options)
  arguments.target(target)
  options = arguments.options(options)
  return target, arguments.flags(options.flag, "flags", "r"), arguments.signal(options.signal)
end, function(call, target, flags, signal)
  throwIfAborted(signal)
  return withFile(call, target, flags, FILE_MODE, function(fd) return readAll(call, fd, signal) end)
end)

local function writeAll(call, fd, data, signal)
  local at = 1
  while at <= #data do
    throwIfAborted(signal)
    local piece = #data <= CHUNK and at == 1 and data or data:sub(at, at + CHUNK - 1)
    at = at + call("write", nil, fd, piece, -1)
  end
end

local function checkWrite(target, data, options, defaultFlag)
  arguments.target(target)
  validate.string(data, "data")
  options = arguments.options(options)
  return target, data, arguments.flags(options.flag, "flags", defaultFlag),
    arguments.mode(options.mode, "mode", FILE_MODE), arguments.signal(options.signal)
end

local function runWrite(call, target, data, flags, mode, signal)
  throwIfAborted(signal)
  withFile(call, target, flags, mode, function(fd) writeAll(call, fd, data, signal) end)
end

define("writeFile", function(target, data, options) return checkWrite(target, data, options, "w") end, runWrite)
define("appendFile", function(target, data, options) return checkWrite(target, data, options, "a") end, runWrite)

define("copyFile", function(source, destination, mode)
  return arguments.path(source, "src"), arguments.path(destination, "dest"),
    mode == nil and 0 or validate.integer(mode, "mode", 0, 7)
end, function(call, source, destination, mode)
  call("copyfile", { path = source, dest = destination }, source, destination, mode)
end)

-- Descriptors ---------------------------------------------------------------------------------------------------------

define("open", function(path, flags, mode)
  return arguments.path(path), arguments.flags(flags, "flags", "r"), arguments.mode(mode, "mode", FILE_MODE)
end, function(call, path, flags, mode) return call("open", { path = path }, path, flags, mode) end)

define("close", arguments.fd, function(call, fd) call("close", nil, fd) end)

define("read", function(fd, length, position)
  return arguments.fd(fd), validate.integer(length, "length", 0, MAX_FILE), arguments.position(position)
end, function(call, fd, length, position)
  return length == 0 and "" or call("read", nil, fd, length, position)
end)

define("write", function(fd, data, position)
  return arguments.fd(fd), validate.string(data, "data"), arguments.position(position)
end, function(call, fd, data, position)
  return data == "" and 0 or call("write", nil, fd, data, position)
end)

define("fstat", arguments.fd, function(call, fd) return stats.new(call("fstat", nil, fd)) end)

-- What is there -------------------------------------------------------------------------------------------------------

-- Missing files are errors unless `throwIfNoEntry` is false, which only the Sync forms have.
local function defineStat(name)
  define(name, function(path, options)
    arguments.path(path)
    options = arguments.options(options)
    return path, options.throwIfNoEntry ~= nil and not validate.boolean(options.throwIfNoEntry, "options.throwIfNoEntry")
  end, function(call, path, quiet)
    local ok, raw = pcall(call, name, { path = path }, path)
    if ok then return stats.new(raw) end
    if quiet and (raw.code == "ENOENT" or raw.code == "ENOTDIR") then return nil end
    error(raw, 0)
  end)
end
defineStat("stat")
defineStat("lstat")

define("access", function(path, mode)
  return arguments.path(path), mode == nil and 0 or validate.integer(mode, "mode", 0, 7)
end, function(call, path, mode)
  if call("access", { path = path }, path, mode) then return end
  -- luv tells only that it failed: what the path leads to knows why, or else it is the permission.
  local ok, err = pcall(call, "stat", { path = path }, path)
  error(fsCall.error(not ok and err.code or "EACCES", "access", { path = path }), 0)
end)

local function entries(call, directory)
  local request = call("scandir", { path = directory }, directory)
  return function() return uv.fs_scandir_next(request) end
end

-- Some file systems do not tell the type with the name.
local function typeOf(call, path, kind)
  if kind and kind ~= "unknown" then return kind end
  local ok, raw = pcall(call, "lstat", { path = path }, path)
  return ok and raw.type or "unknown"
end

local function join(directory, name) return (directory:gsub("/+$", "")) .. "/" .. name end

define("readdir", function(path, options)
  arguments.path(path)
  options = arguments.options(options)
  return path, arguments.flag(options, "withFileTypes"), arguments.flag(options, "recursive")
end, function(call, path, withFileTypes, recursive)
  local list, directories = {}, { { path, "" } }
  for _, each in ipairs(directories) do       -- grows while it is walked
    local directory, prefix = each[1], each[2]
    for name, kind in entries(call, directory) do
      if withFileTypes or recursive then kind = typeOf(call, join(directory, name), kind) end
      list[#list + 1] = withFileTypes and stats.entry(name, kind, directory) or prefix .. name
      if recursive and kind == "directory" then
        directories[#directories + 1] = { join(directory, name), prefix .. name .. "/" }
      end
    end
  end
  return list
end)

define("realpath", arguments.path, function(call, path) return call("realpath", { path = path }, path) end)
define("readlink", arguments.path, function(call, path) return call("readlink", { path = path }, path) end)

-- Changes -------------------------------------------------------------------------------------------------------------

define("rename", function(from, to) return arguments.path(from, "oldPath"), arguments.path(to, "newPath") end,
  function(call, from, to) call("rename", { path = from, dest = to }, from, to) end)

define("unlink", arguments.path, function(call, path) call("unlink", { path = path }, path) end)

define("symlink", function(target, path) return arguments.path(target, "target"), arguments.path(path, "path") end,
  function(call, target, path) call("symlink", { path = target, dest = path }, target, path, 0) end)

define("chmod", function(path, mode)
  if mode == nil then error(errors.argType("mode", "number or string", mode), 0) end
  return arguments.path(path), arguments.mode(mode, "mode")
end, function(call, path, mode) call("chmod", { path = path }, path, mode) end)

local function isDirectory(call, path)
  local ok, raw = pcall(call, "stat", { path = path }, path)
  return ok and raw.type == "directory"
end

-- Makes the directory and those above it that are missing. Returns the first one made, nil when all were there.
local function makeAll(call, path, mode)
  local missing, first = { path }, nil
  while #missing > 0 do
    local each = missing[#missing]
    local ok, err = pcall(call, "mkdir", { path = path }, each, mode)
    if ok then
      first = first or each
      missing[#missing] = nil
    elseif err.code == "ENOENT" then
      local parent = each:gsub("/+$", ""):match("^(.*[^/])/+[^/]*$")
      if not parent then error(err, 0) end
      missing[#missing + 1] = parent
    elseif isDirectory(call, each) then
      missing[#missing] = nil
    else
      error(err, 0)
    end
  end
  return first
end

define("mkdir", function(path, options)
  arguments.path(path)
  if type(options) == "number" or type(options) == "string" then options = { mode = options } end
  options = arguments.options(options)
  return path, arguments.flag(options, "recursive"), arguments.mode(options.mode, "mode", DIRECTORY_MODE)
end, function(call, path, recursive, mode)
  if recursive then return makeAll(call, path, mode) end
  call("mkdir", { path = path }, path, mode)
end)

define("mkdtemp", function(prefix) return arguments.path(prefix, "prefix") end, function(call, prefix)
  return call("mkdtemp", { path = prefix .. "XXXXXX" }, prefix .. "XXXXXX")
end)

local removeTree

local function removeEntry(call, path, kind)
  if kind == "directory" then return removeTree(call, path) end
  local ok, err = pcall(call, "unlink", { path = path }, path)
  if not ok and err.code ~= "ENOENT" then error(err, 0) end
end

function removeTree(call, path)
  for name, kind in entries(call, path) do
    local each = join(path, name)
    removeEntry(call, each, typeOf(call, each, kind))
  end
  call("rmdir", { path = path }, path)
end

define("rmdir", function(path, options)
  arguments.path(path)
  return path, arguments.flag(arguments.options(options), "recursive")
end, function(call, path, recursive)
  if recursive and isDirectory(call, path) then return removeTree(call, path) end
  call("rmdir", { path = path }, path)
end)

define("rm", function(path, options)
  arguments.path(path)
  options = arguments.options(options)
  return path, arguments.flag(options, "recursive"), arguments.flag(options, "force")
end, function(call, path, recursive, force)
  local ok, raw = pcall(call, "lstat", { path = path }, path)
  if not ok then
    if force and raw.code == "ENOENT" then return end
    error(raw, 0)
  end
  if raw.type ~= "directory" then return removeEntry(call, path, raw.type) end
  if not recursive then
    error(errors.coded("ERR_FS_EISDIR", ("Path is a directory: rm returned EISDIR (is a directory) %s"):format(path),
      { errno = 21, syscall = "rm", path = path }), 0)
  end
  removeTree(call, path)
end)

return operations
