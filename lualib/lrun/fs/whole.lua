--- Whole files. A small file that is in memory is read without waiting: opened, read and closed in one step. Of any other what
--- is in memory comes first, and the pool reads on with the descriptor.
local uv = require("luv")
local errors = require("errors")
local aborting = require("lrun.check.aborting")
local validate = require("lrun.check.validate")
local fsCall = require("lrun.fs.call")
local arguments = require("lrun.fs.arguments")
local turns = require("lrun.fs.turns")
local ways = require("lrun.fs.ways")

local FILE_MODE = 438                               -- 0666, before the umask
local CHUNK = 512 * 1024                            -- bytes read or written by one system call
local MAX_FILE = 2147483647                         -- bytes that a Lua string holds
local O_RDONLY = uv.constants.O_RDONLY

local whole = {}

local function throwIfAborted(signal)
  if signal and signal.aborted then error(aborting.failure(signal), 0) end
end

--- Opens a path, or takes a descriptor as it is; runs `body(fd)`; closes what it opened.
function whole.withFile(call, target, flags, mode, body)
  if type(target) == "number" then return body(target) end
  local fd = call("open", { path = target }, target, flags, mode)
  return fsCall.finally(function() call("close", nil, fd) end, function() return body(fd) end)
end

-- Reading -------------------------------------------------------------------------------------------------------------

local function tooLarge(size)
  return errors.coded("ERR_FS_FILE_TOO_LARGE", ("File size (%.0f) is greater than 2 GiB"):format(size))
end

-- Reads to the end; `size` is what the file says, 0 where that says nothing; `first` was read before.
local function readOn(call, fd, size, first, signal)
  local parts, length = { first }, #first
  repeat
    throwIfAborted(signal)
    local wanted = size > length and math.min(size - length, CHUNK) or size == 0 and CHUNK / 8 or 0
    local data = wanted > 0 and call("read", nil, fd, wanted, -1) or ""
    length = length + #data
    if length > MAX_FILE then error(tooLarge(length), 0) end
    parts[#parts + 1] = data
  until data == ""
  return table.concat(parts)
end

local function readAll(call, fd, signal)
  local found = call("fstat", nil, fd)
  local size = found:isFile() and found.size or 0
  if size > MAX_FILE then error(tooLarge(size), 0) end
  return readOn(call, fd, size, "", signal)
end

-- `size` and `first` are nil where nothing was read yet.
local function readAndClose(call, fd, size, first)
  return fsCall.finally(function() call("close", nil, fd) end, function()
    if size then return readOn(call, fd, size, first) end
    return readAll(call, fd)
  end)
end

local readFile = {}
whole.readFile = readFile

function readFile.check(target, options)
  arguments.target(target)
  options = arguments.options(options)
  return target, arguments.flags(options.flag, "flags", "r"), arguments.signal(options.signal)
end

function readFile.run(call, target, flags, signal)
  throwIfAborted(signal)
  return whole.withFile(call, target, flags, FILE_MODE, function(fd) return readAll(call, fd, signal) end)
end

local function isPlain(target, flags, signal) return flags == O_RDONLY and not signal and type(target) == "string" end

function readFile.now(target, flags, signal)
  if not isPlain(target, flags, signal) then return fsCall.sync(readFile.run, target, flags, signal) end
  local data, code, syscall = ways.now("readFile", target)
  if type(data) == "string" then return data end
  if data then return fsCall.sync(readAndClose, data) end
  error(fsCall.error(code, syscall or "open", not syscall and { path = target } or nil), 0)
end

-- What one turn may copy was copied: the next one goes on.
local function readRest(callback, fd, size, data)
  turns.push(function() fsCall.async(readAndClose, callback, fd, size, data) end)
end

function readFile.try(callback, target, flags, signal)
  if not isPlain(target, flags, signal) then return false end
  local data, fd, size = ways.try("readFile", target)
  if data == false then return false end
  if data == nil then return fsCall.failure(callback, fd, "open", { path = target }) end
  if not fd then return fsCall.answer(callback, data) end
  readRest(callback, fd, size, data)
end

-- Writing -------------------------------------------------------------------------------------------------------------

local function writeAll(call, fd, data, signal)
  local at = 1
  while at <= #data do
    throwIfAborted(signal)
    local piece = #data <= CHUNK and at == 1 and data or data:sub(at, at + CHUNK - 1)
    at = at + call("write", nil, fd, piece, -1)
  end
end

function whole.checkWrite(defaultFlag, target, data, options)
  arguments.target(target)
  validate.string(data, "data")
  options = arguments.options(options)
  return target, data, arguments.flags(options.flag, "flags", defaultFlag),
    arguments.mode(options.mode, "mode", FILE_MODE), arguments.signal(options.signal)
end

function whole.write(call, target, data, flags, mode, signal)
  throwIfAborted(signal)
  whole.withFile(call, target, flags, mode, function(fd) writeAll(call, fd, data, signal) end)
end

return whole
