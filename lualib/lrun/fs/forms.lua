--- The two forms of an operation: `sync` returns its value or throws, `async` takes a callback as its last argument. Both
--- check the arguments at the call.
local operations = require("lrun.fs.operations")
local fsCall = require("lrun.fs.call")

local forms = {}

function forms.sync(name, ...)
  local operation = operations[name]
  return fsCall.sync(operation.run, operation.check(...))
end

function forms.async(name, ...)
  local operation = operations[name]
  local callback, arguments, count = fsCall.arguments(...)
  return fsCall.async(operation.run, callback, operation.check(unpack(arguments, 1, count)))
end

return forms
