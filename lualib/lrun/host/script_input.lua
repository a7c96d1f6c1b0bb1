--- Reads a script from standard input and leaves what comes after it to the script.
---
--- The script ends with the input, or with a line `__END__`. Nothing behind that line is taken from the descriptor: files are
--- sought back, pipes are looked into with tee(2), sockets with MSG_PEEK; a terminal gives one line at a time.
local ffi = require("ffi")
local uv = require("luv")

ffi.cdef[[
struct lrun_pollfd { int fd; short events, revents; };
int poll(struct lrun_pollfd *fds, unsigned long count, int timeout);
ssize_t read(int fd, void *bytes, size_t length);
ssize_t recv(int fd, void *bytes, size_t length, int flags);
ssize_t tee(int from, int to, size_t length, unsigned flags);
int64_t lseek64(int fd, int64_t offset, int whence);
char *strerror(int code);
]]
local C = ffi.C
local CHUNK = 65536
local POLLIN, MSG_PEEK, SEEK_CUR = 1, 2, 1           -- Linux's, on every processor

local function numberOf(code) return -select(3, require("lrun.core.errno").describe(code)) end
local EINTR, EAGAIN = numberOf("EINTR"), numberOf("EAGAIN")
local MARKER = "__END__\r?\n"

local buffer = ffi.new("char[?]", CHUNK)

-- A call that waits, whatever other processes made of the descriptor.
local function repeated(f, ...)
  while true do
    local n = tonumber(f(...))
    if n >= 0 then return n end
    local code = ffi.errno()
    if code == EAGAIN then C.poll(ffi.new("struct lrun_pollfd", 0, POLLIN), 1, -1)
    elseif code ~= EINTR then error(ffi.string(C.strerror(code)), 0) end
  end
end

local function take(length) return ffi.string(buffer, repeated(C.read, 0, buffer, length)) end

-- Takes exactly so many bytes, which are there.
local function skip(length)
  while length > 0 do length = length - repeated(C.read, 0, buffer, math.min(length, CHUNK)) end
end

local function peekSocket() return ffi.string(buffer, repeated(C.recv, 0, buffer, CHUNK, MSG_PEEK)) end

-- A look into a pipe: what is there is doubled into one of our own.
local function pipePeeker()
  local pair = uv.pipe()
  if not pair then return nil end
  return function()
    local n, parts = repeated(C.tee, 0, pair.write, CHUNK, 0), {}
    while n > 0 do
      local got = repeated(C.read, pair.read, buffer, n)
      parts[#parts + 1] = ffi.string(buffer, got)
      n = n - got
    end
    return table.concat(parts)
  end, function()
    uv.fs_close(pair.read)
    uv.fs_close(pair.write)
  end
end

local function nothing() end

-- How descriptor 0 is looked at: `look()` → the next bytes, "" at the end; `keep(used, left)`: so many of them were the
-- script's, so many were not; `done()`.
local function source()
  local stat = uv.fs_fstat(0)
  local kind = stat and stat.type
  if kind == "socket" then return peekSocket, skip, nothing end
  if kind == "fifo" then
    local look, done = pipePeeker()
    if look then return look, skip, done end
  end
  local function back(_, left) if kind == "file" and left > 0 then C.lseek64(0, -left, SEEK_CUR) end end
  return function() return take(CHUNK) end, back, nothing
end

-- Where the marker's line starts, and where what follows it does; nil when it is not there in full.
local function findEnd(piece, startsLine)
  local rest = startsLine and piece:match("^" .. MARKER .. "()")
  if rest then return 1, rest end
  local at
  at, rest = piece:match("\n()" .. MARKER .. "()")
  return at, rest
end

-- How many bytes at the end may be the first of a marker's line.
local function openEnd(piece, startsLine)
  local line = piece:match("\n([^\n]*)$") or startsLine and piece or nil
  return line and ("__END__\r"):sub(1, #line) == line and #line or 0
end

--- The script's text.
---@return string? text
---@return string? err
local function read()
  local ok, look, keep, done = pcall(source)
  if not ok then return nil, look end
  local parts, held, startsLine = {}, "", true
  local function step()
    local chunk = look()
    local piece = held .. chunk
    local stop, rest = findEnd(piece, startsLine)
    if stop then
      keep(rest - 1 - #held, #piece - rest + 1)
      parts[#parts + 1] = piece:sub(1, stop - 1)
      return true
    end
    keep(#chunk, 0)
    if chunk == "" then
      if not (startsLine and held:find("^__END__\r?$")) then parts[#parts + 1] = held end
      return true
    end
    local open = openEnd(piece, startsLine)
    held = piece:sub(#piece - open + 1)
    piece = piece:sub(1, #piece - open)
    if piece ~= "" then
      parts[#parts + 1] = piece
      startsLine = piece:byte(-1) == 10
    end
  end
  local fine, err
  repeat fine, err = pcall(step) until not fine or err
  done()
  if not fine then return nil, err end
  return table.concat(parts)
end

return read
