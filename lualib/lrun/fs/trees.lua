--- What `fs` does with directories and all that is in them, as sequences of system calls: `call` is what fs_call gives an
--- operation. Symbolic links are never followed on the way down.
local errors = require("errors")
local stats = require("lrun.fs.stats")

local trees = {}

--- Whether the path leads to a directory.
function trees.isDirectory(call, path)
  local ok, found = pcall(call, "stat", { path = path }, path)
  return ok and found:isDirectory()
end

--- Iterates over name and luv's name of the type, which some file systems do not tell.
function trees.entries(call, directory)
  local names, kinds = call("scandir", { path = directory }, directory)
  local i = 0
  return function()
    i = i + 1
    return names[i], kinds[i]
  end
end

local function typeOf(call, path, kind)
  if kind and kind ~= "unknown" then return kind end
  local ok, found = pcall(call, "lstat", { path = path }, path)
  return ok and stats.kind(found) or "unknown"
end

function trees.join(directory, name) return directory:match("^(.-)/*$") .. "/" .. name end
local join = trees.join

--- The directory that a path is in, nil where the path does not say.
function trees.parent(path) return path:gsub("/+$", ""):match("^(.*[^/])/+[^/]*$") end

--- A list of the program's own of names that may be kept.
function trees.names(names)
  local list = {}
  for i = 1, #names do list[i] = names[i] end
  return list
end

--- The names in a directory, or Dirents; with `recursive` of those below, too.
function trees.list(call, path, withFileTypes, recursive)
  if not withFileTypes and not recursive then return trees.names((call("scandir", { path = path }, path))) end
  local list, directories = {}, { { path, "" } }
  for _, each in ipairs(directories) do       -- grows while it is walked
    local directory, prefix = each[1], each[2]
    for name, kind in trees.entries(call, directory) do
      if withFileTypes or recursive then kind = typeOf(call, join(directory, name), kind) end
      list[#list + 1] = withFileTypes and stats.entry(name, kind, directory) or prefix .. name
      if recursive and kind == "directory" then
        directories[#directories + 1] = { join(directory, name), prefix .. name .. "/" }
      end
    end
  end
  return list
end

--- Makes the directory and those above it that are missing. Returns the first one made, nil when all were there.
function trees.make(call, path, mode)
  local missing, first = { path }, nil
  while #missing > 0 do
    local each = missing[#missing]
    local ok, err = pcall(call, "mkdir", { path = path }, each, mode)
    if ok then
      first = first or each
      missing[#missing] = nil
    elseif err.code == "ENOENT" then
      local parent = trees.parent(each)
      if not parent then error(err, 0) end
      missing[#missing + 1] = parent
    elseif trees.isDirectory(call, each) then
      missing[#missing] = nil
    else
      error(err, 0)
    end
  end
  return first
end

local function removeEntry(call, path, kind)
  if kind == "directory" then return trees.remove(call, path) end
  local ok, err = pcall(call, "unlink", { path = path }, path)
  if not ok and err.code ~= "ENOENT" then error(err, 0) end
end

--- Removes a directory and what is in it.
function trees.remove(call, path)
  for name, kind in trees.entries(call, path) do
    local each = join(path, name)
    removeEntry(call, each, typeOf(call, each, kind))
  end
  call("rmdir", { path = path }, path)
end

--- `rm`: a file, or with `recursive` a directory, too. `force`: nothing there is no failure.
function trees.removeAny(call, path, recursive, force)
  local ok, found = pcall(call, "lstat", { path = path }, path)
  if not ok then
    if force and found.code == "ENOENT" then return end
    error(found, 0)
  end
  if not found:isDirectory() then return removeEntry(call, path) end
  if not recursive then
    error(errors.coded("ERR_FS_EISDIR", ("Path is a directory: rm returned EISDIR (is a directory) %s"):format(path),
      { errno = -21, syscall = "rm", path = path }), 0)
  end
  trees.remove(call, path)
end

return trees
