--- Watching a directory with all that is below it. Linux watches one directory at a time: a tree owns one luv handle for
--- each, by its path from the root ("" is the root). A name that comes or goes may be a directory: then its watches are
--- made or closed. What is in a new directory already is told, too, as it may have come before the watch did.
local uv = require("luv")

---@class WatchTree
---@field root string
---@field listener fun(code: integer?, filename: string?, eventType: string?) a failure's code, or what happened where
---@field handles table<string, userdata>
---@field kept boolean whether it keeps the loop alive
local WatchTree = {}
WatchTree.__index = WatchTree

local RENAME, CHANGE = "rename", "change"

local function join(directory, name) return directory == "" and name or directory .. "/" .. name end

local function full(self, relative) return relative == "" and self.root or self.root .. "/" .. relative end

local function typeOf(path)
  local raw = uv.fs_lstat(path)
  return raw and raw.type
end

-- Libuv tells what happens to a watched directory itself under the directory's own name. Of one below the root its parent
-- tells that already.
local function isOwn(self, relative, filename, kind)
  if relative == "" or filename ~= relative:match("[^/]+$") then return false end
  local path = full(self, relative)
  return typeOf(path) == nil or kind == CHANGE and typeOf(path .. "/" .. filename) == nil
end

local add

-- The watches of a directory that went, and of those that were in it.
local function drop(self, relative)
  local below = relative .. "/"
  for each, handle in pairs(self.handles) do
    if each == relative or each:sub(1, #below) == below then
      self.handles[each] = nil
      handle:close()
    end
  end
end

local function onEvent(self, relative, failure, filename, kinds)
  if self.closed then return end
  if failure then return self.listener(failure:match("^[%u%d]+"), full(self, relative)) end
  local kind = kinds.rename and RENAME or CHANGE
  if isOwn(self, relative, filename, kind) then return end
  local path = join(relative, filename)
  self.listener(nil, path, kind)
  if self.closed or kind ~= RENAME then return end
  if typeOf(full(self, path)) ~= "directory" then return drop(self, path) end
  -- A new directory, perhaps in the place of another of the same name: what watched that one watches nothing.
  drop(self, path)
  local code = add(self, path, function(each) if not self.closed then self.listener(nil, each, RENAME) end end)
  if code and not self.closed then self.listener(code, full(self, path)) end
end

local GONE = { ENOENT = true, ENOTDIR = true, EACCES = true, EPERM = true }

local function watch(self, relative)
  local handle = assert(uv.new_fs_event())
  local ok, _, code = handle:start(full(self, relative), {}, function(...) onEvent(self, relative, ...) end)
  if not ok then
    handle:close()
    return code
  end
  if not self.kept then handle:unref() end
  self.handles[relative] = handle
end

-- Watches a directory and those in it; `found` is told of each entry. Returns the code of a failure. A directory that has
-- gone meanwhile, or may not be read, is none, unless it is the root.
function add(self, relative, found)
  local waiting = { relative }
  while #waiting > 0 do
    local directory = table.remove(waiting)
    local code = watch(self, directory)
    if code and (directory == "" or not GONE[code]) then return code end
    local request = not code and uv.fs_scandir(full(self, directory))
    while request do
      local name, kind = uv.fs_scandir_next(request)
      if not name then break end
      local path = join(directory, name)
      if kind == "unknown" then kind = typeOf(full(self, path)) end
      if kind == "directory" then waiting[#waiting + 1] = path end
      if found then found(path) end
      if self.closed then return end
    end
  end
end

--- Starts to watch; returns nil and the code of a failure.
---@param root string a directory
---@param keeps boolean whether it keeps the loop alive
---@param listener fun(code: integer?, filename: string?, eventType: string?)
---@return WatchTree?
---@return string? code
function WatchTree.start(root, keeps, listener)
  local self = setmetatable({ root = root, listener = listener, handles = {}, kept = keeps, closed = false }, WatchTree)
  local code = add(self, "")
  if not code then return self end
  self:close()
  return nil, code
end

--- Closes all watches. Harmless when repeated.
function WatchTree:close()
  self.closed = true
  for relative, handle in pairs(self.handles) do
    self.handles[relative] = nil
    handle:close()
  end
end

local function keep(self, keeps)
  self.kept = keeps
  for _, handle in pairs(self.handles) do
    if keeps then handle:ref() else handle:unref() end
  end
end

function WatchTree:ref() keep(self, true) end

function WatchTree:unref() keep(self, false) end

return WatchTree
