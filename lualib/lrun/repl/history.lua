--- The prompt's history: one file, a line an entry, oldest first, each entry once, readable by its owner only. An entry of
--- several lines has the byte 30 between them there. An entry is
--- in the file before it runs, so nothing is lost when the process is killed; the file is only ever replaced as a whole
--- or appended to, so two prompts at once do not harm it.
local uv = require("luv")

local history = {}

local LIMIT = 1000                  -- entries kept
local OWNER_ONLY = 384              -- 0600
local SEPARATOR = "\30"             -- of an entry's lines in the file

local function inFile(entry) return (entry:gsub("\n", SEPARATOR)) .. "\n" end

local function defaultPath()
  local given = os.getenv("LRUN_HISTORY")
  if given then return given ~= "" and given or nil end
  local home = uv.os_homedir()
  return home and home .. "/.lrun_history"
end

-- Every entry once, where it was last; the newest LIMIT of them.
local function tidy(lines)
  local seen, reversed, kept = {}, {}, {}
  for i = #lines, 1, -1 do
    if not seen[lines[i]] and #reversed < LIMIT then
      seen[lines[i]] = true
      reversed[#reversed + 1] = lines[i]
    end
  end
  for i = #reversed, 1, -1 do kept[#kept + 1] = reversed[i] end
  return kept
end

-- The file's entries; nil and the reason when it is there but cannot be read.
local function read(path)
  local stat, _, code = uv.fs_stat(path)
  if not stat then
    if code == "ENOENT" then return {} end
    return nil, code
  end
  if stat.type ~= "file" then return nil, "not a file" end
  local file, reason = io.open(path, "rb")
  if not file then return nil, (reason:gsub("^.*: ", "")) end
  local lines = {}
  for line in file:lines() do if line ~= "" then lines[#lines + 1] = (line:gsub(SEPARATOR, "\n")) end end
  file:close()
  return lines
end

local function write(path, flags, text)
  local fd, reason = uv.fs_open(path, flags, OWNER_ONLY)
  if not fd then return nil, reason end
  local written, writeReason = uv.fs_write(fd, text, -1)
  uv.fs_close(fd)
  if written ~= #text then return nil, writeReason or "the disk is full" end
  return true
end

-- A whole new file in the place of the old one; a link to the file stays one.
local function replace(path, lines)
  local target = uv.fs_realpath(path) or path
  local temporary = ("%s.%d"):format(target, uv.os_getpid())
  local text = {}
  for i, line in ipairs(lines) do text[i] = inFile(line) end
  local ok, reason = write(temporary, "w", table.concat(text))
  if ok then ok, reason = uv.fs_rename(temporary, target) end
  if not ok then uv.fs_unlink(temporary) end
  return ok, reason
end

local History = {}
History.__index = History

--- Opens the history in `path` (default `$LRUN_HISTORY`, else `~/.lrun_history`; an empty name keeps none).
---@param path string?
---@return table history `entries`: oldest first
---@return string? problem why the file is not used
function history.open(path)
  path = path or defaultPath()
  local self = setmetatable({ entries = {}, _path = path, _present = {} }, History)
  if not path then return self end
  local lines, reason = read(path)
  if not lines then
    self._path = nil
    return self, ("cannot read the history in %s: %s; this session's is not kept"):format(path, reason)
  end
  self.entries = tidy(lines)
  for _, line in ipairs(self.entries) do self._present[line] = true end
  if #self.entries < #lines then replace(path, self.entries) end
  uv.fs_chmod(path, OWNER_ONLY)
  return self
end

--- Adds an entry. Returns true when it moved up from an earlier place.
---@param line string
---@return boolean moved
function History:add(line)
  line = line:gsub("[%z\30]", " ")
  if line:find("^%s*$") or self.entries[#self.entries] == line then return false end
  local moved = self._present[line] == true
  self.entries[#self.entries + 1] = line
  self._present[line] = true
  if moved or #self.entries > LIMIT then self.entries = tidy(self.entries) end
  if not self._path then return moved end
  if not moved then
    write(self._path, "a", inFile(line))
    return false
  end
  local lines = read(self._path)
  if lines then
    lines[#lines + 1] = line
    replace(self._path, tidy(lines))
  end
  return true
end

return history
