--- The operations of `fs`. `check` looks at the arguments before anything runs and returns what the rest needs. Then:
---
---     run(call, …)     written once for both forms: makes system calls with `call(syscall, where, …)` (see fs_call)
---     single           in place of it where that is one system call
---     now(…)           blocks, in fewer steps than `run`: returns the value, or throws
---     try(callback, …) answers from what is in memory; false: `run` it
local uv = require("luv")
local errors = require("errors")
local validate = require("lrun.check.validate")
local fsCall = require("lrun.fs.call")
local arguments = require("lrun.fs.arguments")
local trees = require("lrun.fs.trees")
local turns = require("lrun.fs.turns")
local ways = require("lrun.fs.ways")
local whole = require("lrun.fs.whole")

local FILE_MODE, DIRECTORY_MODE = 438, 511          -- 0666 and 0777, before the umask
local MAX_FILE = 2147483647                         -- bytes that a Lua string holds

local operations = {}

local function define(name, check, run) operations[name] = { check = check, run = run } end

-- One system call with what `check` returns, of which the first `paths` arguments are paths.
local function defineCall(name, check, syscall, paths, valued)
  local single = { syscall = syscall, paths = paths, valued = valued }
  operations[name] = { check = check, single = single, run = fsCall.operation(single) }
end

local function handles() return require("lrun.fs.handle") end         -- which stands on this file

-- A path alone, with options that change nothing.
local function checkPath(path, options)
  arguments.options(options)
  return arguments.path(path)
end

local function checkPaths(first, second)
  return function(from, to) return arguments.path(from, first), arguments.path(to, second) end
end

-- Whole files ---------------------------------------------------------------------------------------------------------

operations.readFile = whole.readFile
define("writeFile", function(...) return whole.checkWrite("w", ...) end, whole.write)
define("appendFile", function(...) return whole.checkWrite("a", ...) end, whole.write)

defineCall("copyFile", function(source, destination, mode)
  return arguments.path(source, "src"), arguments.path(destination, "dest"),
    mode == nil and 0 or validate.integer(mode, "mode", 0, 7)
end, "copyfile", 2)

-- Descriptors ---------------------------------------------------------------------------------------------------------

defineCall("open", function(path, flags, mode)
  return arguments.path(path), arguments.flags(flags, "flags", "r"), arguments.mode(mode, "mode", FILE_MODE)
end, "open", 1, true)

define("openHandle", operations.open.check,
  function(call, path, flags, mode) return handles().new(call("open", { path = path }, path, flags, mode)) end)

defineCall("close", arguments.fd, "close", 0)

-- An attempt may give a part of what there is: the others are asked for.
local function readOn(call, fd, length, position, data, more)
  local parts, got = { data }, #data
  while more and got < length do
    data, more = call("read", nil, fd, length - got, position < 0 and position or position + got)
    if data == "" then break end
    parts[#parts + 1], got = data, got + #data
  end
  return table.concat(parts)
end

define("read", function(fd, length, position)
  return arguments.fd(fd), validate.integer(length, "length", 0, MAX_FILE), arguments.position(position)
end, function(call, fd, length, position)
  if length == 0 then return "" end
  local data, more = call("read", nil, fd, length, position)
  return more and readOn(call, fd, length, position, data, more) or data
end)

-- A function of its own: one that makes closures is not compiled where it returns.
local function readRest(callback, fd, length, position, data, more)
  turns.push(function() fsCall.async(readOn, callback, fd, length, position, data, more) end)
end

function operations.read.try(callback, fd, length, position)
  if length == 0 then return fsCall.answer(callback, "") end
  local data, more = ways.try("read", fd, length, position)
  if data == false then return false end
  if data == nil then return fsCall.failure(callback, more, "read") end
  if not more then return fsCall.answer(callback, data) end
  readRest(callback, fd, length, position, data, more)
end

define("write", function(fd, data, position)
  return arguments.fd(fd), validate.string(data, "data"), arguments.position(position)
end, function(call, fd, data, position)
  return data == "" and 0 or call("write", nil, fd, data, position)
end)

defineCall("fsync", arguments.fd, "fsync", 0)
defineCall("fdatasync", arguments.fd, "fdatasync", 0)
defineCall("ftruncate", function(fd, length) return arguments.fd(fd), arguments.length(length) end, "ftruncate", 0)
defineCall("fstat", arguments.fd, "fstat", 0, true)

-- What is there -------------------------------------------------------------------------------------------------------

-- Missing files are errors unless `throwIfNoEntry` is false, which only the Sync forms have.
local function defineStat(name)
  defineCall(name, function(path, options)
    arguments.path(path)
    options = arguments.options(options)
    return path, options.throwIfNoEntry ~= nil and not validate.boolean(options.throwIfNoEntry, "options.throwIfNoEntry")
  end, name, 1, true)
  operations[name].now = function(path, quiet)
    local found, code = ways.now(name, path)
    if found then return found end
    if quiet and (code == "ENOENT" or code == "ENOTDIR") then return nil end
    error(fsCall.error(code, name, { path = path }), 0)
  end
end
defineStat("stat")
defineStat("lstat")

defineCall("access", function(path, mode)
  return arguments.path(path), mode == nil and 0 or validate.integer(mode, "mode", 0, 7)
end, "access", 1)

define("readdir", function(path, options)
  arguments.path(path)
  options = arguments.options(options)
  return path, arguments.flag(options, "withFileTypes"), arguments.flag(options, "recursive")
end, trees.list)

function operations.readdir.try(callback, path, withFileTypes, recursive)
  if withFileTypes or recursive then return false end
  local names, code = ways.try("scandir", path)
  if names == false then return false end
  if names == nil then return fsCall.failure(callback, code, "scandir", { path = path }) end
  return fsCall.answer(callback, trees.names(names))
end

defineCall("realpath", checkPath, "realpath", 1, true)
defineCall("readlink", checkPath, "readlink", 1, true)

-- Changes -------------------------------------------------------------------------------------------------------------

defineCall("rename", checkPaths("oldPath", "newPath"), "rename", 2)
defineCall("link", checkPaths("existingPath", "newPath"), "link", 2)
defineCall("unlink", arguments.path, "unlink", 1)

defineCall("symlink", function(target, path, kind)
  validate.optional(validate.oneOf, kind, "type", { "file", "dir", "junction" })
  return arguments.path(target, "target"), arguments.path(path, "path"), 0
end, "symlink", 2)

define("truncate", function(path, length) return arguments.path(path), arguments.length(length) end,
  function(call, path, length)
    whole.withFile(call, path, uv.constants.O_RDWR, FILE_MODE, function(fd) call("ftruncate", nil, fd, length) end)
  end)

-- What is set of a file: `set(…)` checks the values that follow the path or descriptor. `byPath` and `byDescriptor`: names
-- of the functions, and of libuv's.
local function defineSetter(set, byPath, byDescriptor)
  for name, syscall in pairs(byPath) do
    defineCall(name, function(path, ...) return arguments.path(path), set(...) end, syscall, 1)
  end
  for name, syscall in pairs(byDescriptor) do
    defineCall(name, function(fd, ...) return arguments.fd(fd), set(...) end, syscall, 0)
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

defineCall("mkdtemp", function(prefix, options)
  arguments.options(options)
  return arguments.path(prefix, "prefix") .. "XXXXXX"
end, "mkdtemp", 1, true)

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
end, trees.removeAny)

operations.cp = require("lrun.fs.copy")

return operations
