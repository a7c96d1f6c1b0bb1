--- How `fs` runs its operations. Each is one function `operation(call, …)` that is written once, as a sequence of system
--- calls, and throws error objects. `sync` gives it a `call` that blocks. `async` runs it on a coroutine and gives it a
--- `call` that waits there for libuv's thread pool; what the operation returns or throws goes to the callback.
local uv = require("luv")
local await = require("await")
local errors = require("errors")
local process = require("process")
local describe = require("lrun.core.errno").describe

local fsCall = {}

--- The error of a system call: `ENOENT: no such file or directory, open 'x'`, or without a path `EBADF: bad file descriptor, read`.
---@param code string|integer
---@param syscall string
---@param where { path: string, dest: string? }?
---@return Error
function fsCall.error(code, syscall, where)
  if where then return errors.system(code, syscall, where) end
  local name, reason, errno = describe(code)
  return errors.coded(name, ("%s: %s, %s"):format(name, reason, syscall), { errno = errno, syscall = syscall })
end

--- The same from the text that luv gives a callback, which starts with the code.
function fsCall.errorOf(text, syscall, where)
  return fsCall.error(text:match("^[%u%d]+") or "UNKNOWN", syscall, where)
end

--- Calls `uv["fs_" .. syscall]` and blocks. Returns its first result, or throws.
local function callNow(syscall, where, ...)
  local result, text = uv["fs_" .. syscall](...)
  if result == nil then error(fsCall.errorOf(text, syscall, where), 0) end
  return result
end

local function callLater(syscall, where, ...)
  local arguments, count = { ... }, select("#", ...)
  local err, result = await(function(resume)
    arguments[count + 1] = resume
    local request, text = uv["fs_" .. syscall](unpack(arguments, 1, count + 1))
    if request == nil then resume(text) end
  end)
  if err then error(fsCall.errorOf(err, syscall, where), 0) end
  return result
end

--- Runs the operation and returns what it returns, or throws.
---@param operation function
function fsCall.sync(operation, ...) return operation(callNow, ...) end

-- What is no error object was thrown by a function that the program gave.
local function report(callback, ok, ...)
  if ok then return callback(nil, ...) end
  return callback((...))
end

--- Takes the callback, the last argument that is not nil, off the arguments.
---@return function callback
---@return any[] arguments
---@return integer count
function fsCall.arguments(...)
  local arguments, count = { ... }, select("#", ...)
  while count > 0 and arguments[count] == nil do count = count - 1 end
  local callback = arguments[count]
  if type(callback) ~= "function" then error(errors.argType("cb", "function", nil), 0) end
  arguments[count] = nil
  return callback, arguments, count - 1
end

--- Runs the operation on a coroutine. The callback is called later, never before this function has returned.
---@param operation function
---@param callback fun(err: Error?, ...)
function fsCall.async(operation, callback, ...)
  local returned = false
  local function settle(...)
    if returned then return report(callback, ...) end
    process.nextTick(report, callback, ...)
  end
  await.spawn(function(...) settle(pcall(operation, callLater, ...)) end, ...)
  returned = true
end

--- Runs `body` and then `cleanup`, whether it throws or not. A failure of `cleanup` counts when `body` went well.
function fsCall.finally(cleanup, body)
  local ok, result = pcall(body)
  if not ok then
    pcall(cleanup)
    error(result, 0)
  end
  cleanup()
  return result
end

return fsCall
