--- The streams behind process.stdin, process.stdout and process.stderr, made when first asked for.
--- process.stdout hands its bytes to the one owner of the output (runtime/io/output.c), as `print` and io.stdout do;
--- process.stderr writes at once, after what was printed. Both write completely, whatever the descriptor is. Descriptors that
--- other processes share stay as they were: nothing here makes an output non-blocking.
local uv = require("luv")
local process = require("process")
local errors = require("errors")
local calls = require("lrun.check.calls")
local handles = require("lrun.net.handles")
local output = require("lrun.core.output")
local sockets = require("lrun.core.sockets")
local stream = require("stream")

local stdio = {}

-- Output --------------------------------------------------------------------------------------------------------------

---@class StandardOutput: Writable
---@field fd integer
---@field isTTY boolean? true on a terminal
---@field columns integer? of the terminal
---@field rows integer?
local StandardOutput = stream.Writable:extend("WriteStream")

--- Makes one; `process.stdout` and `process.stderr` are there already.
---@param fd integer
function StandardOutput:initialize(fd)
  stream.Writable.initialize(self, {})
  self.fd = fd
  if uv.guess_handle(fd) == "tty" then self.isTTY = true end
end

--- Writes a string. With a callback it is given to the kernel now, and the callback learns how that went.
---@param chunk string
---@param encoding (string|fun(err: any?))?
---@param callback fun(err: any?)?
---@return boolean more
function StandardOutput:write(chunk, encoding, callback)
  self._asked = type(encoding) == "function" or callback ~= nil
  local more = stream.Writable.write(self, chunk, encoding, callback)
  self._asked = false
  return more
end

function StandardOutput:_write(data, callback)
  local ok, code
  if self.fd == 1 then ok, code = output.write(data, self._asked) else ok, code = sockets.writeAll(self.fd, data) end
  if ok then callback() else callback(errors.system(code, "write")) end
end

function StandardOutput:_writev(chunks, callback) return self:_write(table.concat(chunks), callback) end

local warned = false

-- Once, for listeners, and for who sees the terminal: where standard error goes the disk may be as full.
local function warn(err)
  if warned then return end
  warned = true
  local warning = errors.Error:new("standard output: " .. err.message, { name = "OutputWarning", code = err.code })
  if uv.guess_handle(2) == "tty" then return process.emitWarning(warning) end
  process.nextTick(function() process:emit("warning", warning) end)
end

-- A reader that is gone ends the program, a disk that is full does not.
local function isFatal(err) return err.code == "EPIPE" end

-- The descriptor is not ours to close, and others print there, too: as in Node the stream goes on.
function StandardOutput:_destroy(err, callback)
  if errors.isError(err) and err.syscall == "write" and not isFatal(err) and self:listenerCount("error") == 0 then
    warn(err)
    err = nil
  end
  callback(err)
  self.destroyed, self.closed, self._failed, self.errored = false, false, false, nil
  process.nextTick(function() self._errorEmitted, self._closeEmitted = false, false end)
end

StandardOutput:getter("columns", function(self) return (sockets.windowSize(self.fd)) end)
StandardOutput:getter("rows", function(self) return (select(2, sockets.windowSize(self.fd))) end)

--- The terminal's size.
---@return integer[]? size columns and rows
function StandardOutput:getWindowSize()
  local columns, rows = sockets.windowSize(self.fd)
  return columns and { columns, rows } or nil
end

--- Adds a listener; `resize` costs a signal handler, so that is there only for those who listen.
---@param name any
---@param listener function
---@return self
function StandardOutput:on(name, listener)
  stream.Writable.on(self, name, listener)
  if name == "resize" and self.isTTY and not self._watchesSize then
    self._watchesSize = true
    process:on("SIGWINCH", function() self:emit("resize") end)
  end
  return self
end
StandardOutput.addListener = StandardOutput.on

calls.methods(StandardOutput, "stream")

-- Input ---------------------------------------------------------------------------------------------------------------

local FILE_CHUNK = 64 * 1024

local function ended()
  local input = stream.Readable:new{ read = function(self) self:push(nil) end }
  input.fd = 0
  return input
end

local function readFile(self)
  local ok, _, code = uv.fs_read(0, FILE_CHUNK, -1, function(err, data)
    if self.destroyed then return end
    if err then return self:destroy(errors.system(err:match("^%w+") or "EIO", "read")) end
    if data == "" then self:push(nil) else self:push(data) end
  end)
  if not ok then self:destroy(errors.system(code, "read")) end
end

local function fromFile() return stream.Readable:new{ highWaterMark = FILE_CHUNK, read = readFile } end

local function fromHandle(handle)
  return require("net").Socket:new{ handle = handle, writable = false, manualStart = true }
end

local function opened(kind, fd)
  local handle, code = handles.open(kind, fd)
  if handle then return fromHandle(handle) end
  local input = ended()
  input:destroy(errors.system(code, "open"))
  return input
end

-- A pipe is opened once more, so that it becomes non-blocking for us alone; a socket has no second description.
local function fromPipe()
  local fd = sockets.reopen(0)
  return opened("pipe", fd or 0)
end

local function fromTerminal()
  local handle = uv.new_tty(0, true)
  if not handle then return fromFile() end
  local input = fromHandle(handle)
  input.isTTY, input.isRaw = true, false
  --- Gives every key at once and unechoed, or whole lines again; the end of the process restores the terminal.
  function input:setRawMode(raw)
    uv.tty_set_mode(handle, raw and 1 or 0)
    if raw and not self._restores then
      self._restores = true
      process:on("exit", function() uv.tty_reset_mode() end)
    end
    self.isRaw = not not raw
    return self
  end
  return input
end

local SOURCES = {
  tty = fromTerminal, pipe = fromPipe, file = fromFile,
  tcp = function() return opened("tcp", 0) end,
}

--- The stream for descriptor 0. Nothing is read before somebody listens, so it does not keep the process alive until then.
---@return Readable
function stdio.stdin()
  local channel = rawget(process, "channel")
  local source = not (channel and channel.fd == 0) and SOURCES[uv.guess_handle(0)] or ended
  local input = source()
  input.fd = 0
  return input
end

--- The host's hook: the output that was accepted could not be written.
---@param number integer libuv's, negative
function stdio.failed(number)
  local err, out = errors.system(number, "write"), rawget(process, "stdout")
  if out and out:listenerCount("error") > 0 then
    out:emit("error", err)
  elseif isFatal(err) then
    error(err, 0)
  else
    warn(err)
  end
end

--- The stream for descriptor 1.
---@return StandardOutput
function stdio.stdout() return StandardOutput:new(1) end

--- The stream for descriptor 2.
---@return StandardOutput
function stdio.stderr() return StandardOutput:new(2) end

return stdio
