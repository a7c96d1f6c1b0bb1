--- One log file: appended to in whole lines, renamed when it is full. What cannot be written (a full disk) is held up to 1 MiB, then
--- dropped and counted; when writing works again a line tells how much was lost. Owns one descriptor and, while writing fails, a
--- timer. Writing goes to the page cache and waits for nobody.
local uv = require("luv")
local rotation = require("lrun.manager.rotation")

local HELD_MAX = 1024 * 1024
local RETRY = 500               -- ms
-- O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_CLOEXEC: a pipe that nobody reads is an error, not a wait.
local OPEN = 1 + 1024 + 64 + 2048 + 524288

local LogFile = {}
LogFile.__index = LogFile

local function makeFolders(path)
  local folder = path:match("^(.+)/[^/]*$")
  if not folder or uv.fs_stat(folder) then return end
  makeFolders(folder)
  uv.fs_mkdir(folder, 493)      -- 0755
end

-- Opens it. nil and the code when that cannot be done now.
local function open(self)
  makeFolders(self.path)
  local fd, reason, code = uv.fs_open(self.path, OPEN, self.mode)
  if not fd then return nil, code or reason end
  local stat = uv.fs_fstat(fd)
  self.fd = fd
  self.size = stat and stat.size or 0
  self.regular = stat ~= nil and stat.type == "file"
  return true
end

local function close(self)
  if self.fd then uv.fs_close(self.fd) end
  self.fd = nil
end

local function exists(path) return uv.fs_stat(path) ~= nil end

local function rotate(self)
  close(self)
  for _, step in ipairs(rotation.steps(self.path, self.keep, exists)) do
    if step.to then uv.fs_rename(step.from, step.to) else uv.fs_unlink(step.from) end
  end
end

-- Writes from `from` on as far as it goes. Returns where it stopped; `text` is through when that is past its end.
local function writeFrom(self, text, from)
  while from <= #text do
    if not self.fd and not open(self) then return from end
    local stop = #text
    if self.regular and not self.middle then
      stop = rotation.fit(text, from, self.size, self.limit)
      if stop < from then
        rotate(self)
        stop = nil
      end
    end
    if stop then
      local piece = (from == 1 and stop == #text) and text or text:sub(from, stop)
      local written = uv.fs_write(self.fd, piece, -1)
      if not written or written == 0 then return from end
      self.size = self.size + written
      from = from + written
      self.middle = text:byte(from - 1) ~= 10       -- a line is half written: the rest of it goes here, too
    end
  end
  return from
end

local function countLines(text) return select(2, text:gsub("\n", "")) end

local function hold(self, text)
  if self.heldBytes + #text > HELD_MAX then
    -- What still fits is kept, whole lines of it.
    local stop = rotation.fit(text, 1, self.heldBytes + 1, HELD_MAX)
    local rest = stop > 0 and text:sub(stop + 1) or text
    if stop > 0 then
      self.held[#self.held + 1] = text:sub(1, stop)
      self.heldBytes = self.heldBytes + stop
    end
    local count = countLines(rest)
    self.unreported, self.lost = self.unreported + count, self.lost + count
    return
  end
  self.held[#self.held + 1] = text
  self.heldBytes = self.heldBytes + #text
end

local retry

local function armRetry(self)
  if self.timer then return end
  self.timer = uv.new_timer()
  self.timer:start(RETRY, RETRY, function() retry(self) end)
  self.timer:unref()
end

local function disarm(self)
  if not self.timer then return end
  self.timer:close()
  self.timer = nil
end

function retry(self)
  local text = table.concat(self.held)
  local stop = writeFrom(self, text, 1)
  self.held, self.heldBytes = {}, 0
  if stop <= #text then
    self.held[1] = text:sub(stop)
    self.heldBytes = #text - stop + 1
    return
  end
  disarm(self)
  if self.unreported == 0 then return end
  local note = self.note(self.unreported)
  self.unreported = 0
  self:write(note)
end

--- Appends whole lines.
---@param text string
function LogFile:write(text)
  if text == "" or self.null then return end
  if self.timer then return hold(self, text) end
  local stop = writeFrom(self, text, 1)
  if stop > #text then return end
  hold(self, stop == 1 and text or text:sub(stop))
  armRetry(self)
end

--- Opens the file anew: somebody has renamed it.
function LogFile:reopen()
  close(self)
  self.middle = false
end

--- Empties the file, and removes the older ones.
function LogFile:empty()
  if self.null then return end
  if self.regular ~= false then
    close(self)
    local fd = uv.fs_open(self.path, 1 + 512, self.mode)      -- O_WRONLY | O_TRUNC
    if fd then uv.fs_close(fd) end
    local number = 1
    while exists(("%s.%d"):format(self.path, number)) do
      uv.fs_unlink(("%s.%d"):format(self.path, number))
      number = number + 1
    end
  end
  self.held, self.heldBytes, self.unreported, self.middle = {}, 0, 0, false
  disarm(self)
end

--- Closes it; what is held gets one last chance.
function LogFile:close()
  if self.timer then retry(self) end
  disarm(self)
  close(self)
end

--- Makes a log file; it is opened at the first line.
---@param options { path: string, mode: integer, limit: integer, keep: integer, note: fun(lost: integer): string }
return function(options)
  return setmetatable({
    path = options.path, mode = options.mode, limit = options.limit, keep = options.keep, note = options.note,
    null = options.path == "/dev/null", held = {}, heldBytes = 0, lost = 0, unreported = 0, size = 0, middle = false,
  }, LogFile)
end
