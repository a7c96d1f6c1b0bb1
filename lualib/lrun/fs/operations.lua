--- The operations of `fs`. `check` looks at the arguments before anything runs and returns what `run` needs; `run(call, …)`
--- is written once for both forms: it makes system calls with `call(syscall, where, …)` (see fs_call).
local uv = require("luv")
local errors = require("errors")
local aborting = require("lrun.check.aborting")
local validate = require("lrun.check.validate")
local fsCall = require("lrun.fs.call")
local stats = require("lrun.fs.stats")
local arguments = require("lrun.fs.arguments")
local trees = require("lrun.fs.trees")

local S_IFMT, S_IFREG = 0xF000, 0x8000
local FILE_MODE, DIRECTORY_MODE = 438, 511          -- 0666 and 0777, before the umask
local CHUNK = 512 * 1024                            -- bytes read or written by one system call
local MAX_FILE = 2147483647                         -- bytes that a Lua string holds

local operations = {}

local function define(name, check, run) operations[name] = { check = check, run = run } end

local function band(value, mask) return require("bit").band(value, mask) end

local function handles() return require("lrun.fs.handle") end         -- which stands on this file

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

define("openHandle", operations.open.check,
  function(call, path, flags, mode) return handles().new(call("open", { path = path }, path, flags, mode)) end)

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

define("fsync", arguments.fd, function(call, fd) call("fsync", nil, fd) end)
define("fdatasync", arguments.fd, function(call, fd) call("fdatasync", nil, fd) end)

define("ftruncate", function(fd, length) return arguments.fd(fd), arguments.length(length) end,
  function(call, fd, length) call("ftruncate", nil, fd, length) end)

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

define("readdir", function(path, options)
  arguments.path(path)
  options = arguments.options(options)
  return path, arguments.flag(options, "withFileTypes"), arguments.flag(options, "recursive")
end, function(call, path, withFileTypes, recursive)
  return trees.list(call, path, withFileTypes, recursive)
end)

-- A path alone, with options that change nothing.
local function checkPath(path, options)
  arguments.options(options)
  return arguments.path(path)
end

define("realpath", checkPath, function(call, path) return call("realpath", { path = path }, path) end)
define("readlink", checkPath, function(call, path) return call("readlink", { path = path }, path) end)

-- Changes -------------------------------------------------------------------------------------------------------------

define("rename", function(from, to) return arguments.path(from, "oldPath"), arguments.path(to, "newPath") end,
  function(call, from, to) call("rename", { path = from, dest = to }, from, to) end)

define("unlink", arguments.path, function(call, path) call("unlink", { path = path }, path) end)

define("symlink", function(target, path, kind)
  validate.optional(validate.oneOf, kind, "type", { "file", "dir", "junction" })
  return arguments.path(target, "target"), arguments.path(path, "path")
end,
  function(call, target, path) call("symlink", { path = target, dest = path }, target, path, 0) end)

define("link", function(from, to) return arguments.path(from, "existingPath"), arguments.path(to, "newPath") end,
  function(call, from, to) call("link", { path = from, dest = to }, from, to) end)

define("truncate", function(path, length) return arguments.path(path), arguments.length(length) end,
  function(call, path, length)
    withFile(call, path, uv.constants.O_RDWR, FILE_MODE, function(fd) call("ftruncate", nil, fd, length) end)
  end)

-- What is set of a file: `set(…)` checks the values that follow the path or descriptor. `byPath` and `byDescriptor`: names
-- of the functions, and of libuv's.
local function defineSetter(set, byPath, byDescriptor)
  for name, syscall in pairs(byPath) do
    define(name, function(path, ...) return arguments.path(path), set(...) end,
      function(call, path, ...) call(syscall, { path = path }, path, ...) end)
  end
  for name, syscall in pairs(byDescriptor) do
    define(name, function(fd, ...) return arguments.fd(fd), set(...) end, function(call, fd, ...) call(syscall, nil, fd, ...) end)
  end
end

defineSetter(function(mode)
  if mode == nil then error(errors.argType("mode", "number or string", mode), 0) end
  return arguments.mode(mode, "mode")
end, { chmod = "chmod" }, { fchmod = "fchmod" })
defineSetter(function(uid, gid) return arguments.id(uid, "uid"), arguments.id(gid, "gid") end,
  { chown = "chown", lchown = "lchown" }, { fchown = "fchown" })
defineSetter(function(atime, mtime) return arguments.time(atime, "atime"), arguments.time(mtime, "mtime") end,
  { utimes = "utime", lutimes = "lutime" }, { futimes = "futime" })

define("mkdir", function(path, options)
  arguments.path(path)
  if type(options) == "number" or type(options) == "string" then options = { mode = options } end
  options = arguments.options(options)
  return path, arguments.flag(options, "recursive"), arguments.mode(options.mode, "mode", DIRECTORY_MODE)
end, function(call, path, recursive, mode)
  if recursive then return trees.make(call, path, mode) end
  call("mkdir", { path = path }, path, mode)
end)

define("mkdtemp", function(prefix, options)
  arguments.options(options)
  return arguments.path(prefix, "prefix")
end, function(call, prefix)
  return call("mkdtemp", { path = prefix .. "XXXXXX" }, prefix .. "XXXXXX")
end)

define("rmdir", function(path, options)
  arguments.path(path)
  return path, arguments.flag(arguments.options(options), "recursive")
end, function(call, path, recursive)
  if recursive and trees.isDirectory(call, path) then return trees.remove(call, path) end
  call("rmdir", { path = path }, path)
end)

define("rm", function(path, options)
  arguments.path(path)
  options = arguments.options(options)
  return path, arguments.flag(options, "recursive"), arguments.flag(options, "force")
end, function(call, path, recursive, force)
  trees.removeAny(call, path, recursive, force)
end)

operations.cp = require("lrun.fs.copy")

return operations
