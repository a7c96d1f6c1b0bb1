--- File handles: an open file as an object, which closes it when it is collected. Each method has two forms, as the
--- functions of `fs` that it stands for have. The handle's owner (lrun.core.files) holds the descriptor; `close` takes it
--- out, after what is under way.
local core = require("lrun.core.files")
local errors = require("errors")
local process = require("process")
local calls = require("lrun.check.calls")
local validate = require("lrun.check.validate")
local forms = require("lrun.fs.forms")
local fsCall = require("lrun.fs.call")
local lock = require("lrun.fs.lock")

---@class FileHandle
---@field fd integer -1 once it is closed
---@field read fun(self: FileHandle, length: integer, position: integer?, callback: fun(err: Error?, data: string?)) as `fs.read`
---@field readSync fun(self: FileHandle, length: integer, position: integer?): string
---@field write fun(self: FileHandle, data: string, position: integer?, callback: fun(err: Error?, written: integer?)) as `fs.write`
---@field writeSync fun(self: FileHandle, data: string, position: integer?): integer
---@field readFile fun(self: FileHandle, options: (ReadFileOptions|string)?, callback: fun(err: Error?, data: string?)) from where it stands
---@field readFileSync fun(self: FileHandle, options: (ReadFileOptions|string)?): string
---@field writeFile fun(self: FileHandle, data: string, options: (WriteFileOptions|string)?, callback: fun(err: Error?)) from where it stands
---@field writeFileSync fun(self: FileHandle, data: string, options: (WriteFileOptions|string)?)
---@field appendFile fun(self: FileHandle, data: string, options: (WriteFileOptions|string)?, callback: fun(err: Error?)) the same
---@field appendFileSync fun(self: FileHandle, data: string, options: (WriteFileOptions|string)?)
---@field stat fun(self: FileHandle, callback: fun(err: Error?, stats: Stats?))
---@field statSync fun(self: FileHandle): Stats
---@field truncate fun(self: FileHandle, length: integer?, callback: fun(err: Error?)) to 0 bytes unless given
---@field truncateSync fun(self: FileHandle, length: integer?)
---@field sync fun(self: FileHandle, callback: fun(err: Error?)) as `fs.fsync`
---@field syncSync fun(self: FileHandle)
---@field datasync fun(self: FileHandle, callback: fun(err: Error?)) as `fs.fdatasync`
---@field datasyncSync fun(self: FileHandle)
---@field chmod fun(self: FileHandle, mode: integer|string, callback: fun(err: Error?))
---@field chmodSync fun(self: FileHandle, mode: integer|string)
---@field chown fun(self: FileHandle, uid: integer, gid: integer, callback: fun(err: Error?))
---@field chownSync fun(self: FileHandle, uid: integer, gid: integer)
---@field utimes fun(self: FileHandle, atime: number, mtime: number, callback: fun(err: Error?)) seconds since 1970
---@field utimesSync fun(self: FileHandle, atime: number, mtime: number)
---@field flock fun(self: FileHandle, kind: "sh"|"ex"|"un", options: FlockOptions?, callback: fun(err: Error?)) as `fs.flock`
---@field flockSync fun(self: FileHandle, kind: "sh"|"ex"|"un", options: FlockOptions?)
local FileHandle = { name = "FileHandle" }
FileHandle.__index = FileHandle

local handles = { FileHandle = FileHandle }

--- Makes the handle of an open file, which it owns from then on.
---@param fd integer
---@return FileHandle
function handles.new(fd)
  return setmetatable({ fd = fd, _owner = core.own(fd), _busy = 0, _closing = false }, FileHandle)
end

local function closed(syscall) return fsCall.error("EBADF", syscall) end

local function release(self)
  local then_ = self._closing
  self._closing, self.fd = false, -1
  forms.async("close", self._owner:take(), then_)
end

-- Keeps the handle, and the file open, until the callback.
local function hold(self, callback)
  self._busy = self._busy + 1
  return function(...)
    self._busy = self._busy - 1
    if self._busy == 0 and self._closing then release(self) end
    return callback(...)
  end
end

local METHODS = {
  read = "read", write = "write", readFile = "readFile", writeFile = "writeFile", appendFile = "appendFile", stat = "fstat",
  truncate = "ftruncate", sync = "fsync", datasync = "fdatasync", chmod = "fchmod", chown = "fchown", utimes = "futimes",
  flock = "flock",
}

local function async(operation, ...)
  if operation == "flock" then return lock.async(...) end
  return forms.async(operation, ...)
end

local function sync(operation, ...)
  if operation == "flock" then return lock.sync(...) end
  return forms.sync(operation, ...)
end

for name, operation in pairs(METHODS) do
  FileHandle[name] = function(self, ...)
    local callback, arguments, count = fsCall.arguments(...)
    if self.fd < 0 or self._closing then return process.nextTick(callback, closed(operation)) end
    local held = hold(self, callback)
    arguments[count + 1] = held
    local ok, err = pcall(async, operation, self.fd, unpack(arguments, 1, count + 1))
    if ok then return end
    self._busy = self._busy - 1
    error(err, 0)
  end
  FileHandle[name .. "Sync"] = function(self, ...)
    if self.fd < 0 or self._closing then error(closed(operation), 0) end
    return sync(operation, self.fd, ...)
  end
end

--- Closes the file, after what is under way.
---@param callback fun(err: Error?)?
function FileHandle:close(callback)
  validate.optional(validate.func, callback, "cb")
  callback = callback or function() end
  if self.fd < 0 or self._closing then return process.nextTick(callback, closed("close")) end
  self._closing = callback
  if self._busy == 0 then release(self) end
end

--- Closes the file. Throws while a function with a callback is under way.
function FileHandle:closeSync()
  if self.fd < 0 or self._closing then error(closed("close"), 0) end
  if self._busy > 0 then
    error(errors.coded("ERR_INVALID_STATE", "closeSync: the handle is in use; call handle:close(callback), which waits"), 0)
  end
  self.fd = -1
  forms.sync("close", self._owner:take())
end

calls.methods(FileHandle, "handle")

return handles
