--- How `fs` runs its operations. Each is one function `operation(call, …)` that is written once, as a sequence of system
--- calls, and throws error objects. `sync` gives it a `call` that blocks. `async` runs it on a coroutine and gives it a
--- `call` that waits there; what the operation returns or throws goes to the callback. An operation of one system call
--- needs no coroutine: `single`.
local await = require("await")
local errors = require("errors")
local turns = require("lrun.fs.turns")
local ways = require("lrun.fs.ways")
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

--- Makes a system call and blocks. Returns its value, or throws.
local function callNow(syscall, where, a, b, c)
  local value, second = ways.now(syscall, a, b, c)
  if value == nil then error(fsCall.error(second, syscall, where), 0) end
  return value, second
end

local function callLater(syscall, where, a, b, c)
  local code, value, second = await(function(resume) ways.later(syscall, resume, a, b, c) end)
  if code then error(fsCall.error(code, syscall, where), 0) end
  return value, second
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
    turns.push(report, callback, ...)           -- whether it went well, and one value
  end
  await.spawn(function(...) settle(pcall(operation, callLater, ...)) end, ...)
  returned = true
end

local function whereOf(paths, first, second)
  return paths > 0 and { path = first, dest = paths > 1 and second or nil } or nil
end

local function wait(call, callback, a, b, c)
  ways.pool(call.syscall, function(code, value)
    if code then return callback(fsCall.error(code, call.syscall, whereOf(call.paths, a, b))) end
    if call.valued then return callback(nil, value) end
    callback(nil)
  end, a, b, c)
end

--- Runs an operation that is one system call; `call`: its name, how many of its first arguments are paths, and whether its
--- value is the operation's.
---@param call { syscall: string, paths: integer, valued: boolean }
function fsCall.single(call, callback, a, b, c)
  local value, second = ways.try(call.syscall, a, b, c)
  if value == false then return wait(call, callback, a, b, c) end
  if value == nil then return fsCall.failure(callback, second, call.syscall, whereOf(call.paths, a, b)) end
  turns.push(callback, nil, call.valued and value or nil)
end

--- The operation function for the same.
function fsCall.operation(call)
  return function(make, a, b, c)
    local value = make(call.syscall, whereOf(call.paths, a, b), a, b, c)
    if call.valued then return value end
  end
end

--- Calls back in the next turn, with a value or the error of a system call.
function fsCall.answer(callback, value) turns.push(callback, nil, value) end

function fsCall.failure(callback, code, syscall, where)
  turns.push(function() callback(fsCall.error(code, syscall, where)) end)
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
