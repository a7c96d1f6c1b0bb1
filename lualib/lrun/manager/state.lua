--- The state files, one an app: apps/NAME.json, which is always whole, and a copy of it, apps/.NAME.last, for when somebody else broke
--- the first. A file is written under another name, synced, and renamed. One that does not parse is set aside as
--- apps/.NAME.broken; the copy takes its place.
local json = require("json")
local uv = require("luv")
local wire = require("lrun.manager.wire")

local state = {}

local PRIVATE_FILE = 384      -- 0600
local VERSION = 1

local function writeAll(fd, text)
  local at = 0
  while at < #text do
    local written, reason, code = uv.fs_write(fd, at == 0 and text or text:sub(at + 1), at)
    if not written then return nil, code or reason end
    at = at + written
  end
  return true
end

--- Writes a file so that its name has the old content or the new one, whatever happens in between.
---@param path string
---@param text string
---@return true? ok
---@return string? code
function state.replace(path, text)
  local folder, name = path:match("^(.*)/([^/]+)$")
  local temporary = ("%s/.%s.new"):format(folder, name:gsub("^%.", ""))
  local fd, reason, code = uv.fs_open(temporary, "w", PRIVATE_FILE)
  if not fd then return nil, code or reason end
  local ok
  ok, code = writeAll(fd, text)
  if ok then ok, reason, code = uv.fs_fchmod(fd, PRIVATE_FILE) end
  if ok then ok, reason, code = uv.fs_fsync(fd) end
  uv.fs_close(fd)
  if ok then ok, reason, code = uv.fs_rename(temporary, path) end
  if ok then return true end
  uv.fs_unlink(temporary)
  return nil, code or reason
end

local function syncFolder(folder)
  local fd = uv.fs_open(folder, "r", 0)
  if not fd then return end
  uv.fs_fsync(fd)
  uv.fs_close(fd)
end

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("*a")
  file:close()
  return text
end

local function places(home, name)
  local folder = home .. "/apps"
  return ("%s/%s.json"):format(folder, name), ("%s/.%s.last"):format(folder, name), ("%s/.%s.broken"):format(folder, name)
end

--- Writes the record of an app.
---@param home string
---@param record table
---@return true? ok
---@return string? code
function state.write(home, record)
  record.version = VERSION
  local ok, text = pcall(json.encode, wire.pack(record))
  if not ok then return nil, tostring(text) end
  local path, copy = places(home, record.app.name)
  local written, code = state.replace(path, text)
  if not written then return nil, code end
  syncFolder(home .. "/apps")
  state.replace(copy, text)
  return true
end

--- Removes an app's files.
---@param home string
---@param name string
function state.remove(home, name)
  local path, copy = places(home, name)
  uv.fs_unlink(path)
  uv.fs_unlink(copy)
  syncFolder(home .. "/apps")
end

-- A record that can be used, from a text.
local function parse(text, name)
  if not text then return nil end
  local ok, record = pcall(json.decode, text)
  if not ok or type(record) ~= "table" or type(record.id) ~= "number" or type(record.app) ~= "table" then return nil end
  local app = record.app
  if app.name ~= name or type(app.script) ~= "string" or type(app.args) ~= "table" or type(app.instances) ~= "number" then return nil end
  return wire.unpack(record)
end

--- Reads the record of one app. With `mend` a broken file is set aside and the copy takes its place.
---@param home string
---@param name string
---@param mend boolean?
---@return table? record
---@return string? warning
function state.read(home, name, mend)
  local path, copy, broken = places(home, name)
  local text = read(path)
  local record = parse(text, name)
  if record then return record end
  record = parse(read(copy), name)
  if text and mend then
    uv.fs_rename(path, broken)
    if record then state.write(home, record) end
  end
  if not text then return record end
  local where = mend and (", and is now %s"):format(broken) or ""
  if record then return record, ("warning: the state file %s did not parse%s; its last good copy is used"):format(path, where) end
  return nil, ("warning: the state file %s did not parse%s, and there is no copy of it: '%s' is lost"):format(path, where, name)
end

--- Reads all records, in order of their ids.
---@param home string
---@param mend boolean?
---@return table[] records
---@return string[] warnings
function state.readAll(home, mend)
  local records, warnings, seen = {}, {}, {}
  local scan = uv.fs_scandir(home .. "/apps")
  local names = {}
  while scan do
    local entry = uv.fs_scandir_next(scan)
    if not entry then break end
    local name = entry:match("^([^.].*)%.json$") or entry:match("^%.(.+)%.last$")
    if name and not seen[name] then
      seen[name] = true
      names[#names + 1] = name
    end
  end
  for _, name in ipairs(names) do
    local record, warning = state.read(home, name, mend)
    records[#records + 1] = record
    warnings[#warnings + 1] = warning
  end
  table.sort(records, function(a, b) return a.id < b.id end)
  return records, warnings
end

return state
