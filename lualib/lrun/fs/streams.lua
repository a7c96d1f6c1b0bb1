--- File streams. Each owns one descriptor, which it opens itself or is lent by `options.fd`; `_destroy` closes it, after
--- the system call that is under way, unless `autoClose` is false. One system call is under way at a time (`_busy`).
local errors = require("errors")
local stream = require("stream")
local validate = require("lrun.check.validate")
local destroy = require("lrun.stream.destroy")
local fsCall = require("lrun.fs.call")
local arguments = require("lrun.fs.arguments")
local ways = require("lrun.fs.ways")
local calls = require("lrun.check.calls")

local FILE_MODE = 438               -- 0666
local READ_MARK = 64 * 1024

---@class FileStreamOptions
---@field flags (string|integer)? default "r" for reading, "w" for writing
---@field mode (integer|string)? of a file that is made
---@field fd integer? a descriptor to use in place of a path
---@field start integer? position of the first byte
---@field autoClose boolean? false: the descriptor stays open. Default true
---@field emitClose boolean?
---@field highWaterMark integer? bytes; default 64 KiB for reading, 16 KiB for writing
---@field signal AbortSignal? destroys the stream
---@field encoding string? accepted, changes nothing

---@class ReadStreamOptions: FileStreamOptions
---@field finish integer? position of the last byte, included; may also be written `["end"]`, as in Node

---@class WriteStreamOptions: FileStreamOptions

--- Event open(fd: integer)
--- Event ready()
---@class ReadStream: Readable
---@field path string?
---@field fd integer? once it is open
---@field bytesRead integer
---@field pending boolean not open yet
local ReadStream = stream.Readable:extend("ReadStream")

--- Event open(fd: integer)
--- Event ready()
---@class WriteStream: Writable
---@field path string?
---@field fd integer? once it is open
---@field bytesWritten integer
---@field pending boolean not open yet
local WriteStream = stream.Writable:extend("WriteStream")

-- What both do --------------------------------------------------------------------------------------------------------

local function check(path, options, flags)
  options = arguments.options(options)
  if options.fd == nil then arguments.path(path) else arguments.fd(options.fd) end
  if options.fd ~= nil and path ~= nil then arguments.path(path) end
  if options.autoClose ~= nil then arguments.flag(options, "autoClose") end
  validate.optional(validate.integer, options.start, "start", 0)
  validate.optional(validate.integer, options.highWaterMark, "options.highWaterMark", 0)
  arguments.signal(options.signal)
  return options, arguments.flags(options.flags, "flags", flags), arguments.mode(options.mode, "mode", FILE_MODE)
end

local function streamOptions(options, mark)
  return { highWaterMark = options.highWaterMark or mark, autoDestroy = options.autoClose, emitClose = options.emitClose }
end

-- The system call is over: a destroy that waited for it goes on. Returns whether the stream may.
local function settled(self)
  self._busy = false
  local waiting = self._afterBusy
  if not waiting then return true end
  self._afterBusy = nil
  waiting()
  return false
end

local function onOpen(self, code, fd)
  self.pending = false
  if code then
    if settled(self) then
      self._autoClose = false
      self:destroy(fsCall.error(code, "open", { path = self.path }))
    end
    return
  end
  self.fd = fd
  if not settled(self) then return end
  local held = self._held
  self._held = nil
  if held then held() end
  self:emit("open", fd)
  self:emit("ready")
end

local function open(self, path, options, flags, mode)
  self.path, self.fd, self._position = path, options.fd, options.start
  self._autoClose, self._lent = options.autoClose ~= false, options.fd ~= nil
  self.pending = options.fd == nil
  self._busy = self.pending
  if self.pending then
    ways.later("open", function(...) onOpen(self, ...) end, path, flags, mode)
  end
  if options.signal then stream.addAbortSignal(options.signal, self) end
end

local function destroyStream(self, err, callback)
  if self._busy then
    self._afterBusy = function() destroyStream(self, err, callback) end
    return
  end
  local held, fd = self._held, self.fd
  self._held = nil
  if held then held(err or destroy.refusal("write")) end
  if fd == nil or not self._autoClose then return callback(err) end
  self.fd = nil
  ways.later("close", function(code) callback(err or code and fsCall.error(code, "close") or nil) end, fd)
end

ReadStream._destroy, WriteStream._destroy = destroyStream, destroyStream

-- Reading -------------------------------------------------------------------------------------------------------------

function ReadStream._blank()
  return {
    destroyed = false, closed = false, readableEnded = false, _failed = false, _errorEmitted = false, _closeEmitted = false,
    _emitClose = true, _autoDestroy = true, _rs = false, _ws = false, _autoClose = true, _lent = false, _busy = false, _held = false,
    _afterBusy = false, _sends = false, _left = false, pending = false, bytesRead = 0,
  }
end

--- Opens a file for reading; `fs.createReadStream` makes it.
---@param path string?
---@param options (ReadStreamOptions|string)?
function ReadStream:initialize(path, options)
  local flags, mode
  options, flags, mode = check(path, options, "r")
  local last = options.finish
  if last == nil then last = options["end"] end
  if last ~= nil and last ~= math.huge then
    validate.integer(last, "end", 0)
    local start = options.start or 0
    if start > last then error(errors.outOfRange("start", ('<= "end" (here: %.0f)'):format(last), start), 0) end
    -- Without `start` a descriptor is read from where it stands, and only the count is known.
    self._left = last - start + 1
  end
  stream.Readable.initialize(self, streamOptions(options, READ_MARK))
  self.bytesRead = 0
  open(self, path, options, flags, mode)
end

local function onRead(self, code, data)
  if not settled(self) then return end
  if code then return self:destroy(fsCall.error(code, "read")) end
  if data == "" then return self:push(nil) end
  self.bytesRead = self.bytesRead + #data
  if self._position then self._position = self._position + #data end
  if self._left then self._left = self._left - #data end
  self:push(data)
end

function ReadStream:_read(size)
  if self.pending then
    self._held = function(err) if err == nil then self:_read(size) end end
    return
  end
  if self.destroyed or self._busy then return end
  if self._rs.pipes and require("lrun.fs.pieces").send(self, size) then return end
  if self._left and self._left < size then size = self._left end
  if size <= 0 then return self:push(nil) end
  self._busy = true
  ways.later("read", function(...) onRead(self, ...) end, self.fd, size, self._position or -1)
end

--- Closes the file early.
---@param callback fun(err: Error?)?
function ReadStream:close(callback)
  if callback then
    if self.closed then require("process").nextTick(callback) else self:once("close", callback) end
  end
  self:destroy()
end

-- Writing -------------------------------------------------------------------------------------------------------------

--- Opens a file for writing; `fs.createWriteStream` makes it.
---@param path string?
---@param options (WriteStreamOptions|string)?
function WriteStream:initialize(path, options)
  local flags, mode
  options, flags, mode = check(path, options, "w")
  stream.Writable.initialize(self, streamOptions(options))
  self.bytesWritten = 0
  open(self, path, options, flags, mode)
end

function WriteStream:_write(data, callback)
  if self.pending then
    self._held = function(err)
      if err == nil then self:_write(data, callback) else callback(err) end
    end
    return
  end
  if data == "" then return callback() end
  self._busy = true
  ways.later("write", function(code, written)
    if not code then
      self.bytesWritten = self.bytesWritten + written
      if self._position then self._position = self._position + written end
    end
    if not settled(self) then return callback(destroy.refusal("write")) end
    if code then return callback(fsCall.error(code, "write")) end
    if written < #data then return self:_write(data:sub(written + 1), callback) end
    callback()
  end, self.fd, data, self._position or -1)
end

function WriteStream:_writev(list, callback) self:_write(table.concat(list), callback) end

--- Finishes the writing and closes the file.
---@param callback fun(err: Error?)?
function WriteStream:close(callback)
  if callback then
    if self.closed then return require("process").nextTick(callback) end
    self:once("close", callback)
  end
  if not self._autoClose then self:once("finish", function() self:destroy() end) end
  self:finish()
end

calls.methods(ReadStream, "stream")
calls.methods(WriteStream, "stream")

return { ReadStream = ReadStream, WriteStream = WriteStream }
