--- `fs.cp`: copies a file, a link, or a directory with all that is in it. One entry after the other passes through `copy`:
--- what may not be is refused before anything is touched, then `filter` is asked, then it is done by what the entry is.
local bit = require("bit")
local errors = require("errors")
local path = require("path")
local validate = require("lrun.check.validate")
local arguments = require("lrun.fs.arguments")
local stats = require("lrun.fs.stats")
local trees = require("lrun.fs.trees")
local describe = require("lrun.core.errno").describe

local band = bit.band
local PERMISSIONS, OWNER_WRITES, DIRECTORY_MODE = 4095, 128, 511      -- 07777, 0200, 0777

local MEANING = {
  ERR_FS_CP_DIR_TO_NON_DIR = "Cannot overwrite non-directory with directory", ERR_FS_CP_EEXIST = "Target already exists",
  ERR_FS_CP_EINVAL = "Invalid src or dest", ERR_FS_CP_FIFO_PIPE = "Cannot copy a FIFO pipe",
  ERR_FS_CP_NON_DIR_TO_DIR = "Cannot overwrite directory with non-directory", ERR_FS_CP_SOCKET = "Cannot copy a socket file",
  ERR_FS_CP_SYMLINK_TO_SUBDIRECTORY = "Cannot overwrite symlink in subdirectory of self",
  ERR_FS_CP_UNKNOWN = "Cannot copy an unknown file type", ERR_FS_EISDIR = "Path is a directory",
}

local function refuse(code, name, reason, at)
  local _, _, errno = describe(name)
  error(errors.coded(code, ("%s: cp returned %s (%s) %s"):format(MEANING[code], name, reason, at),
    { errno = errno, syscall = "cp", path = at }), 0)
end

-- Checks --------------------------------------------------------------------------------------------------------------

local FLAGS = { "dereference", "errorOnExist", "force", "preserveTimestamps", "recursive", "verbatimSymlinks" }

local function check(source, destination, options)
  arguments.path(source, "src")
  arguments.path(destination, "dest")
  options = arguments.options(options)
  validate.flags(options, FLAGS)
  validate.optional(validate.func, options.filter, "options.filter")
  validate.optional(validate.integer, options.mode, "options.mode", 0, 7)
  if options.dereference and options.verbatimSymlinks then
    error(errors.coded("ERR_INCOMPATIBLE_OPTION_PAIR",
      'Option "dereference" cannot be used in combination with option "verbatimSymlinks"'), 0)
  end
  return source, destination, {
    dereference = options.dereference, errorOnExist = options.errorOnExist, force = options.force ~= false,
    preserveTimestamps = options.preserveTimestamps, recursive = options.recursive,
    verbatimSymlinks = options.verbatimSymlinks, filter = options.filter, mode = options.mode or 0,
  }
end

local function look(call, where, options)
  return call(options.dereference and "stat" or "lstat", { path = where }, where)
end

local function lookIfThere(call, where, options)
  local ok, raw = pcall(look, call, where, options)
  if ok then return raw end
  if raw.code == "ENOENT" then return nil end
  error(raw, 0)
end

local function isSame(one, other) return one.ino == other.ino and one.dev == other.dev end

-- Whether `inner` is `outer` or below it, by their names.
local function isBelow(inner, outer)
  inner, outer = path.resolve(inner), path.resolve(outer)
  return inner == outer or outer == "/" or inner:sub(1, #outer + 1) == outer .. "/"
end

-- What the destination is in, up to the root, may not be the source itself, by whatever name.
local function checkParents(call, source, here, destination)
  local at = path.dirname(path.resolve(destination))
  while at ~= "/" do
    local found = lookIfThere(call, at, { dereference = true })
    if found and isSame(found, here) then
      refuse("ERR_FS_CP_EINVAL", "EINVAL", ("cannot copy %s to a subdirectory of self %s"):format(source, destination), destination)
    end
    at = path.dirname(at)
  end
end

local function checkPair(source, here, destination, there)
  local directory = here:isDirectory()
  if there then
    if isSame(here, there) then refuse("ERR_FS_CP_EINVAL", "EINVAL", "src and dest cannot be the same", destination) end
    if directory and not there:isDirectory() then
      refuse("ERR_FS_CP_DIR_TO_NON_DIR", "EISDIR",
        ("cannot overwrite non-directory %s with directory %s"):format(destination, source), destination)
    elseif not directory and there:isDirectory() then
      refuse("ERR_FS_CP_NON_DIR_TO_DIR", "ENOTDIR",
        ("cannot overwrite directory %s with non-directory %s"):format(destination, source), destination)
    end
  end
  if directory and isBelow(destination, source) then
    refuse("ERR_FS_CP_EINVAL", "EINVAL", ("cannot copy %s to a subdirectory of self %s"):format(source, destination), destination)
  end
end

-- Copying -------------------------------------------------------------------------------------------------------------

local function permissions(found) return band(found.mode, PERMISSIONS) end

local function copyTimes(call, source, here, destination)
  local mode = permissions(here)
  if band(mode, OWNER_WRITES) == 0 then
    call("chmod", { path = destination }, destination, mode + OWNER_WRITES)
  end
  local now = call("stat", { path = source }, source)       -- reading it has moved the time of access
  call("utime", { path = destination }, destination, now.atimeMs / 1000, now.mtimeMs / 1000)
end

local function copyFile(call, source, here, destination, there, options)
  if there then
    if not options.force then
      if not options.errorOnExist then return end
      refuse("ERR_FS_CP_EEXIST", "EEXIST", destination .. " already exists", destination)
    end
    call("unlink", { path = destination }, destination)
  end
  call("copyfile", { path = source, dest = destination }, source, destination, options.mode)
  if options.preserveTimestamps then copyTimes(call, source, here, destination) end
  call("chmod", { path = destination }, destination, permissions(here))
end

local function readLink(call, where, options)
  local target = call("readlink", { path = where }, where)
  if options.verbatimSymlinks or target:sub(1, 1) == "/" then return target end
  return path.resolve(path.dirname(where), target)
end

local function copyLink(call, source, destination, there, options)
  local target = readLink(call, source, options)
  if there and there:isSymbolicLink() then
    local old = readLink(call, destination, {})
    if trees.isDirectory(call, source) then
      local full = readLink(call, source, {})
      if full ~= old and isBelow(old, full) then
        refuse("ERR_FS_CP_EINVAL", "EINVAL", ("cannot copy %s to a subdirectory of self %s"):format(full, old), destination)
      elseif full ~= old and isBelow(full, old) then
        refuse("ERR_FS_CP_SYMLINK_TO_SUBDIRECTORY", "EINVAL", ("cannot overwrite %s with %s"):format(old, full), destination)
      end
    end
    call("unlink", { path = destination }, destination)
  end
  call("symlink", { path = target, dest = destination }, target, destination, 0)
end

local copy

local function copyDirectory(call, source, here, destination, there, options)
  if not there then call("mkdir", { path = destination }, destination, DIRECTORY_MODE) end
  for name in trees.entries(call, source) do
    copy(call, trees.join(source, name), trees.join(destination, name), options)
  end
  if there then return end
  if options.preserveTimestamps then copyTimes(call, source, here, destination) end
  call("chmod", { path = destination }, destination, permissions(here))
end

function copy(call, source, destination, options, first)
  local here = look(call, source, options)
  local there = lookIfThere(call, destination, options)
  checkPair(source, here, destination, there)
  if first then checkParents(call, source, here, destination) end
  if options.filter and not options.filter(source, destination) then return end
  if first then
    local parent = path.dirname(destination)
    if not trees.isDirectory(call, parent) then trees.make(call, parent, DIRECTORY_MODE) end
  end
  local kind = stats.kind(here)
  if kind == "directory" then
    if options.recursive then return copyDirectory(call, source, here, destination, there, options) end
    refuse("ERR_FS_EISDIR", "EISDIR", source .. " is a directory (not copied)", source)
  elseif kind == "link" then
    return copyLink(call, source, destination, there, options)
  elseif kind == "socket" then
    refuse("ERR_FS_CP_SOCKET", "EINVAL", "cannot copy a socket file: " .. source, destination)
  elseif kind == "fifo" then
    refuse("ERR_FS_CP_FIFO_PIPE", "EINVAL", "cannot copy a FIFO pipe: " .. source, destination)
  elseif kind == "file" or kind == "char" or kind == "block" then
    return copyFile(call, source, here, destination, there, options)
  end
  refuse("ERR_FS_CP_UNKNOWN", "EINVAL", "cannot copy an unknown file type: " .. source, destination)
end

local function run(call, source, destination, options) copy(call, source, destination, options, true) end

return { check = check, run = run }
