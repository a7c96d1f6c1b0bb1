--- The two forms of an operation: `sync` returns its value or throws, `async` takes a callback as its last argument. Both
--- check the arguments at the call.
local errors = require("errors")
local operations = require("lrun.fs.operations")
local fsCall = require("lrun.fs.call")

local forms = {}

--- At most three arguments, as no operation has more.
function forms.sync(name, a, b, c)
  local operation = operations[name]
  if operation.now then return operation.now(operation.check(a, b, c)) end
  return fsCall.sync(operation.run, operation.check(a, b, c))
end

local function start(operation, callback, a, b, c, d, e)
  if operation.single then return fsCall.single(operation.single, callback, a, b, c) end
  if operation.try and operation.try(callback, a, b, c, d, e) ~= false then return end
  return fsCall.async(operation.run, callback, a, b, c, d, e)
end

--- The same with a callback, which is the last that is given.
function forms.async(name, a, b, c, d)
  local callback
  if d ~= nil then
    callback = d
  elseif c ~= nil then
    callback, c = c, nil
  elseif b ~= nil then
    callback, b = b, nil
  else
    callback, a = a, nil
  end
  if type(callback) ~= "function" then error(errors.argType("cb", "function", nil), 0) end
  local operation = operations[name]
  return start(operation, callback, operation.check(a, b, c))
end

return forms
