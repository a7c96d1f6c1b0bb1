--- Colons and dots. The contract has methods called with a colon and functions of a module with a dot; the wrong one
--- of the two is an error that says which to type. `methods` and `functions` put that check in front of what they wrap.
local calls = {}

local errorsModule
local function fail(message)
  errorsModule = errorsModule or require("errors")
  error(errorsModule.coded("ERR_INVALID_ARG_TYPE", message), 0)
end

--- Throws the error for a method that was called with a dot.
function calls.needsColon(label, name)
  fail(("call %s:%s(...) with a colon"):format(label, name))
end

--- Throws the error for a function of a module that was called with a colon.
function calls.needsDot(label, name)
  fail(("call %s.%s(...) with a dot"):format(label, name))
end

local function checkedMethod(label, name, method)
  return function(self, ...)
    if type(self) ~= "table" or getmetatable(self) == nil then calls.needsColon(label, name) end
    return method(self, ...)
  end
end

--- Wraps the public methods that `class` itself defines.
---@param class table
---@param label string the name a user would give an object, such as "server"
---@param except table<string, boolean>? names to leave alone: constructors, and hot methods that check for themselves
function calls.methods(class, label, except)
  for name, method in pairs(class) do
    if type(method) == "function" and not name:find("^_") and name ~= "initialize" and not (except and except[name]) then
      class[name] = checkedMethod(label, name, method)
    end
  end
end

local function checkedFunction(owner, label, name, f)
  return function(...)
    if rawequal((...), owner) then calls.needsDot(label, name) end
    return f(...)
  end
end

--- Wraps a function of `class` that makes an object and takes no self.
---@param class table
---@param name string
function calls.maker(class, name) class[name] = checkedFunction(class, class.name, name, class[name]) end

--- Wraps the functions of `module`, which take no self.
---@param module table
---@param label string the module's name
---@param except table<string, boolean>?
function calls.functions(module, label, except)
  for name, f in pairs(module) do
    if type(f) == "function" and not name:find("^_") and not (except and except[name]) then
      module[name] = checkedFunction(module, label, name, f)
    end
  end
end

jit.off(calls.methods)       -- these two run while modules load, once for each class
jit.off(calls.functions)

return calls
