--- Emitters and the class system that every object of the runtime is made with.
--- A class is a table that is also its instances' metatable; `extend` chains classes, `getter` adds computed fields.
--- Listeners live in `self._listeners[name]`: a function when there is one, else a list that is copied on change,
--- so that an emit walks the list it started with.
local errors = require("errors")
local calls = require("lrun.check.calls")

---@class EventEmitter
---@field protected _listeners table<any, function|function[]>?
local EventEmitter = { name = "EventEmitter", __getters = {} }
EventEmitter.__index = EventEmitter

--- Makes an instance and passes the arguments to `initialize`, the class's constructor.
---@return any instance
function EventEmitter:new(...)
  if type(self) ~= "table" or rawget(self, "__index") == nil then calls.needsColon("Class", "new") end
  local object = setmetatable({}, self)
  local initialize = self.initialize
  if initialize then initialize(object, ...) end
  return object
end

local function computedIndex(class)
  local getters = class.__getters
  return function(object, key)
    local getter = getters[key]
    if getter then return getter(object) end
    return class[key]
  end
end

--- Makes a class that inherits from this one.
---@param name string? shown by `inspect` and in error messages
---@return table class
function EventEmitter:extend(name)
  local class = setmetatable({ name = name or self.name, super = self }, { __index = self })
  class.__getters = setmetatable({}, { __index = self.__getters })
  class.__tostring = self.__tostring
  class.__index = type(self.__index) == "function" and computedIndex(class) or class
  return class
end

--- Makes `name` a read-only field of the class's instances that is computed when asked for.
---@param name string
---@param compute fun(object: any): any
function EventEmitter:getter(name, compute)
  if type(self.__index) ~= "function" then self.__index = computedIndex(self) end
  self.__getters[name] = compute
end
jit.off(EventEmitter.getter)  -- runs while modules load

local DEFAULT_MAX_LISTENERS = 10

local function checkListener(listener)
  if type(listener) ~= "function" then error(errors.argType("listener", "function", listener), 0) end
end

local function checkName(name)
  if name == nil or name ~= name then error(errors.argType("eventName", "string", name), 0) end
end

local function warnOfLeak(emitter, name, count)
  local limit = rawget(emitter, "_maxListeners") or DEFAULT_MAX_LISTENERS
  if limit == 0 or count <= limit then return end
  local warned = emitter._leakWarned
  if not warned then warned = {} emitter._leakWarned = warned end
  if warned[name] then return end
  warned[name] = true
  local message = ("Possible EventEmitter memory leak detected. %d %s listeners added to [%s]. MaxListeners is %d. "
    .. "Use emitter:setMaxListeners() to increase limit"):format(
    count, tostring(name), getmetatable(emitter).name or "EventEmitter", limit)
  require("process").emitWarning(errors.Error:new(message, {
    name = "MaxListenersExceededWarning", emitter = emitter, type = name, count = count,
  }))
end

local function add(emitter, name, listener, first)
  checkName(name)
  checkListener(listener)
  local all = emitter._listeners
  if not all then
    all = {}
    emitter._listeners = all
  end
  if all.newListener then
    emitter:emit("newListener", name, emitter._onceOf and emitter._onceOf[listener] or listener)
  end
  local present = all[name]
  if present == nil then
    all[name] = listener
    return emitter
  end
  local list = {}
  if first then list[1] = listener end
  if type(present) == "function" then
    list[#list + 1] = present
  else
    for i = 1, #present do list[#list + 1] = present[i] end
  end
  if not first then list[#list + 1] = listener end
  all[name] = list
  warnOfLeak(emitter, name, #list)
  return emitter
end

local function remove(emitter, name, listener)
  local all = emitter._listeners
  local present = all and all[name]
  if present == nil then return emitter end
  local onceOf = emitter._onceOf
  local removed
  if type(present) == "function" then
    if present == listener or onceOf and onceOf[present] == listener then
      removed = present
      all[name] = nil
    end
  else
    local at
    for i = #present, 1, -1 do
      if present[i] == listener or onceOf and onceOf[present[i]] == listener then at = i break end
    end
    if at then
      removed = present[at]
      local list = {}
      for i = 1, #present do if i ~= at then list[#list + 1] = present[i] end end
      if #list == 1 then list = list[1] end
      all[name] = list
    end
  end
  if removed then
    local original = onceOf and onceOf[removed] or removed
    if onceOf then onceOf[removed] = nil end
    if all.removeListener then emitter:emit("removeListener", name, original) end
  end
  return emitter
end

local function onceWrapper(emitter, name, listener)
  checkListener(listener)
  local function wrapper(...)
    remove(emitter, name, wrapper)
    return listener(...)
  end
  local onceOf = emitter._onceOf
  if not onceOf then
    onceOf = setmetatable({}, { __mode = "k" })
    emitter._onceOf = onceOf
  end
  onceOf[wrapper] = listener
  return wrapper
end

--- Adds a listener behind those that are there. Source: Node 20, `emitter.on`.
---@param name any event name, not nil
---@param listener function
---@return self
function EventEmitter:on(name, listener) return add(self, name, listener, false) end

--- The same as `on`.
EventEmitter.addListener = EventEmitter.on

--- Adds a listener that is removed before its first call.
---@param name any
---@param listener function
---@return self
function EventEmitter:once(name, listener) return add(self, name, onceWrapper(self, name, listener), false) end

--- Adds a listener before those that are there.
---@param name any
---@param listener function
---@return self
function EventEmitter:prependListener(name, listener) return add(self, name, listener, true) end

--- `once`, but before those that are there.
---@param name any
---@param listener function
---@return self
function EventEmitter:prependOnceListener(name, listener) return add(self, name, onceWrapper(self, name, listener), true) end

--- Removes the listener that was added last of those that are `listener`.
---@param name any
---@param listener function
---@return self
function EventEmitter:off(name, listener)
  checkName(name)
  checkListener(listener)
  return remove(self, name, listener)
end

--- The same as `off`.
EventEmitter.removeListener = EventEmitter.off

--- Removes all listeners of an event, or of all events.
---@param name any?
---@return self
function EventEmitter:removeAllListeners(name)
  if name ~= nil then checkName(name) end
  local all = self._listeners
  if not all then return self end
  if all.removeListener then
    local names = name ~= nil and { name } or self:eventNames()
    for _, each in ipairs(names) do
      if each ~= "removeListener" then
        local list = self:listeners(each)
        for i = #list, 1, -1 do remove(self, each, list[i]) end
      end
    end
  end
  if name ~= nil then all[name] = nil else self._listeners = nil end
  return self
end

local function throwUnhandled(self, err)
  if err == nil or not errors.isError(err) and type(err) ~= "string" then
    err = errors.coded("ERR_UNHANDLED_ERROR", ("Unhandled error. (%s)"):format(require("inspect").inspect(err)), { context = err })
  end
  require("lrun.host.places").blame(err, self)
  error(err, 0)
end

--- Calls the event's listeners in order with the arguments. An `error` event that nobody listens to is thrown.
---@param name any
---@return boolean heard whether there was a listener
function EventEmitter:emit(name, ...)
  if type(self) ~= "table" then calls.needsColon("emitter", "emit") end
  local all = self._listeners
  local present = all and all[name]
  if present == nil then
    if name == "error" then throwUnhandled(self, (...)) end
    return false
  end
  if type(present) == "function" then
    present(...)
  else
    for i = 1, #present do present[i](...) end
  end
  return true
end

--- How many listeners an event has.
---@param name any
---@return integer
function EventEmitter:listenerCount(name)
  local all = self._listeners
  local present = all and all[name]
  if present == nil then return 0 end
  return type(present) == "function" and 1 or #present
end

--- A copy of the event's listeners; those added by `once` as they were given.
---@param name any
---@return function[]
function EventEmitter:listeners(name)
  local all = self._listeners
  local present = all and all[name]
  local onceOf, list = self._onceOf, {}
  if type(present) == "function" then present = { present } end
  for i, listener in ipairs(present or {}) do list[i] = onceOf and onceOf[listener] or listener end
  return list
end

--- The events that have listeners, in no order.
---@return any[]
function EventEmitter:eventNames()
  local names = {}
  for name in pairs(self._listeners or {}) do names[#names + 1] = name end
  return names
end

--- How many listeners an event may have before a warning tells of a leak; 0 for any number. Default 10.
---@param count integer
---@return self
function EventEmitter:setMaxListeners(count)
  if type(count) ~= "number" or count < 0 or count ~= count then
    error(errors.outOfRange("n", "a non-negative number", count), 0)
  end
  self._maxListeners = count
  return self
end

calls.methods(EventEmitter, "emitter", { new = true, extend = true, getter = true, emit = true })

---@class events
---@field EventEmitter EventEmitter the class
local module = { EventEmitter = EventEmitter }

return module
