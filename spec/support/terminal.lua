--- A program in a pseudo-terminal of its own, and what its screen shows. `setsid` (util-linux) makes the terminal the
--- program's controlling one, so that Ctrl-C is a signal.
local ffi = require("ffi")
local uv = require("luv")
local await = require("await")
local timers = require("timers")
local screens = require("./screen")

ffi.cdef[[
int posix_openpt(int flags);
int grantpt(int fd);
int unlockpt(int fd);
int ptsname_r(int fd, char *name, size_t length);
struct lrun_winsize { unsigned short rows, columns, x, y; };
int ioctl(int fd, unsigned long request, ...);
]]
local O_RDWR, O_NOCTTY, O_CLOEXEC = 2, 256, 524288
local TIOCSWINSZ = 0x5414

local terminal = {}
local Terminal = {}
Terminal.__index = Terminal

local function openPair()
  local master = ffi.C.posix_openpt(O_RDWR + O_NOCTTY + O_CLOEXEC)
  assert(master >= 0 and ffi.C.grantpt(master) == 0 and ffi.C.unlockpt(master) == 0, "no pseudo-terminal")
  local name = ffi.new("char[64]")
  assert(ffi.C.ptsname_r(master, name, 64) == 0)
  local slave = assert(uv.fs_open(ffi.string(name), O_RDWR + O_NOCTTY + O_CLOEXEC, 0))
  return master, slave
end

function Terminal:resize(rows, columns)
  self.screen.rows, self.screen.columns = rows, columns
  ffi.C.ioctl(self._master, TIOCSWINSZ, ffi.new("struct lrun_winsize", rows, columns, 0, 0))
end

local function changed(self)
  local waiting = self._waiting
  if waiting then waiting() end
end

local function onOutput(self)
  local data = uv.fs_read(self._master, 65536, -1)
  if data and data ~= "" then
    self.raw = self.raw .. data
    self.screen:write(data)
  else
    self._ended = true
    self._poll:stop()
  end
  changed(self)
end

--- Starts a program: `args` are lrun's, `env` is added to the environment.
---@param options { args: string[]?, env: table?, rows: integer?, columns: integer?, cwd: string?, program: string? }
function terminal.open(options)
  options = options or {}
  local master, slave = openPair()
  local self = setmetatable({ raw = "", _master = master }, Terminal)
  self.screen = screens.new(options.rows or 24, options.columns or 80)
  self:resize(options.rows or 24, options.columns or 80)
  local env = uv.os_environ()
  for name, value in pairs{ TERM = "xterm", LANG = "C.UTF-8", LRUN_HISTORY = "", NO_COLOR = "1", INPUTRC = "/dev/null" } do env[name] = value end
  for name, value in pairs(options.env or {}) do env[name] = value or nil end
  local list = {}
  for name, value in pairs(env) do list[#list + 1] = name .. "=" .. value end
  local args = { "--ctty", options.program or process.execPath }
  for _, each in ipairs(options.args or {}) do args[#args + 1] = each end
  self._process, self.pid = uv.spawn("setsid", { args = args, env = list, stdio = { slave, slave, slave }, cwd = options.cwd },
    function(code, signal)
      self.code, self.signal = code, signal
      self._process:close()
      changed(self)
    end)
  uv.fs_close(slave)
  assert(self._process, self.pid)
  self._poll = uv.new_poll(master)
  self._poll:start("r", function() onOutput(self) end)
  return self
end

local function waitUntil(self, what, ms, condition)
  local met = condition()
  if met then return met end
  local ok = await(function(resume)
    local timer
    local function settle(value)
      self._waiting = nil
      timer:close()
      resume(value)
    end
    timer = timers.setTimeout(function() settle(false) end, ms or 15000)
    self._waiting = function()
      met = condition()
      if met then settle(true) end
    end
  end)
  if not ok then error(("%s did not come; the screen:\n%s"):format(what, self.screen:text()), 0) end
  return met
end

--- Waits until the screen matches a pattern (or, with `plain`, contains a text).
function Terminal:waitFor(pattern, plain, ms)
  return waitUntil(self, pattern, ms, function() return self.screen:text():find(pattern, 1, plain) end)
end

--- Waits until the last line is exactly this.
function Terminal:waitForLine(line, ms)
  return waitUntil(self, "line '" .. line .. "'", ms, function() return self:lastLine() == line end)
end

--- Waits for the program's end.
function Terminal:waitForExit(ms)
  waitUntil(self, "the end", ms, function() return self.code ~= nil end)
  return self.code, self.signal
end

--- The last line that is not empty; a prompt without text is ">".
function Terminal:lastLine() return self.screen:text():match("([^\n]*)$") end

--- Types.
function Terminal:type(text) assert(uv.fs_write(self._master, text, -1)) end

--- Starts the prompt and waits until it is ready.
function terminal.prompt(options)
  local self = terminal.open(options)
  self:waitForLine(">")
  return self
end

--- Takes the terminal away.
function Terminal:hangUp()
  if not self._poll:is_closing() then self._poll:close() end
  if self._master then uv.fs_close(self._master) end
  self._master = nil
end

--- Ends it, if it lives, and lets go of everything.
function Terminal:close()
  if not self.code and self._process:is_active() then
    uv.kill(self.pid, "sigkill")
    self:waitForExit()
  end
  self:hangUp()
end

return terminal
