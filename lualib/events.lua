--- Emitters and the class system that every object of the runtime is made with.
--- A class is a table that is also its instances' metatable; `extend` chains classes, `getter` adds computed fields.
--- A class whose instances have many fields may have `_blank`, a function that returns a new table with constants in them: that is
--- one copy, where a table that grows field by field is moved again and again.
--- Listeners live in `self._listeners[name]`: one, or a list that is copied on change, so that an emit walks the list it
--- started with. A listener is a function, or a record { listener, fired } of one that is called once.
local errors = require("errors")
local calls = require("lrun.check.calls")

---@class EventEmitter
---@field protected _listeners table<any, function|function[]>?
local EventEmitter = { name = "EventEmitter", __getters = {}, __allGetters = {}, __subclasses = {} }
EventEmitter.__index = EventEmitter

--- Makes an instance and passes the arguments to `initialize`, the class's constructor.
---@return any instance
function EventEmitter:new(...)
  if type(self) ~= "table" or rawget(self, "__index") == nil then calls.needsColon("Class", "new") end
  local blank = self._blank
  local object = setmetatable(blank and blank() or {}, self)
  local initialize = self.initialize
  if initialize then initialize(object, ...) end
  return object
end

local function computedIndex(class)
  local getters = class.__allGetters
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
  class.__getters, class.__allGetters, class.__subclasses = setmetatable({}, { __index = self.__getters }), {}, {}
  for key, compute in next, self.__allGetters do class.__allGetters[key] = compute end
  table.insert(self.__subclasses, class)
  class.__tostring = self.__tostring
  class.__index = type(self.__index) == "function" and computedIndex(class) or class
  return class
end

-- Every class has the getters of those above it in one table, too: it is looked into for every method that is called.
local function spread(class, name, compute)
  class.__allGetters[name] = compute
  for _, subclass in ipairs(class.__subclasses) do
    if rawget(subclass.__getters, name) == nil then spread(subclass, name, compute) end
  end
end

--- Makes `name` a read-only field of the class's instances that is computed when asked for.
---@param name string
---@param compute fun(object: any): any
function EventEmitter:getter(name, compute)
  if type(self.__index) ~= "function" then self.__index = computedIndex(self) end
  self.__getters[name] = compute
  spread(self, name, compute)
end
jit.off(EventEmitter.extend)  -- these run while modules load
jit.off(EventEmitter.getter)
jit.off(spread)

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

-- What is called for a listener, and what was given for it: the same, but for those of `once`.
local function originalOf(each) return type(each) == "function" and each or each.listener end

local function isList(present) return type(present) == "table" and present.listener == nil end

-- `each` is a listener, or a record of one for one call: { listener, fired }.
local function add(emitter, name, each, first)
  local all = emitter._listeners
  if not all then
    all = {}
    emitter._listeners = all
  end
  if all.newListener then emitter:emit("newListener", name, originalOf(each)) end
  local present = all[name]
  if present == nil then
    all[name] = each
    return emitter
  end
  local list = {}
  if first then list[1] = each end
  if isList(present) then
    for i = 1, #present do list[#list + 1] = present[i] end
  else
    list[#list + 1] = present
  end
  if not first then list[#list + 1] = each end
  all[name] = list
  warnOfLeak(emitter, name, #list)
  return emitter
end

local function without(list, at)
  local rest = {}
  for i = 1, #list do
    if i ~= at then rest[#rest + 1] = list[i] end
  end
  return #rest == 1 and rest[1] or rest
end

-- `each` is what was given for it, or its record.
local function remove(emitter, name, each)
  local all = emitter._listeners
  local present = all and all[name]
  if present == nil then return emitter end
  if isList(present) then
    local at
    for i = #present, 1, -1 do
      if present[i] == each or originalOf(present[i]) == each then at = i break end
    end
    if not at then return emitter end
    all[name] = without(present, at)
  else
    if present ~= each and originalOf(present) ~= each then return emitter end
    all[name] = nil
  end
  if all.removeListener then emitter:emit("removeListener", name, originalOf(each)) end
  return emitter
end

local function addOnce(emitter, name, listener, first)
  checkName(name)
  checkListener(listener)
  local once = { listener = false, fired = false }
  once.listener = listener
  return add(emitter, name, once, first)
end

local function addAlways(emitter, name, listener, first)
  checkName(name)
  checkListener(listener)
  return add(emitter, name, listener, first)
end

-- An emit inside the emit may have called it.
local function callOnce(emitter, name, once, ...)
  if once.fired then return end
  once.fired = true
  remove(emitter, name, once)
  once.listener(...)
end

--- Adds a listener behind those that are there. Source: Node 20, `emitter.on`.
---@param name any event name, not nil
---@param listener function
---@return self
function EventEmitter:on(name, listener) return addAlways(self, name, listener, false) end

--- The same as `on`.
EventEmitter.addListener = EventEmitter.on

--- Adds a listener that is removed before its first call.
---@param name any
---@param listener function
---@return self
function EventEmitter:once(name, listener) return addOnce(self, name, listener, false) end

--- Adds a listener before those that are there.
---@param name any
---@param listener function
---@return self
function EventEmitter:prependListener(name, listener) return addAlways(self, name, listener, true) end

--- `once`, but before those that are there.
---@param name any
---@param listener function
---@return self
function EventEmitter:prependOnceListener(name, listener) return addOnce(self, name, listener, true) end

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
  elseif present.listener then
    callOnce(self, name, present, ...)
  else
    for i = 1, #present do
      local each = present[i]
      if type(each) == "function" then each(...) else callOnce(self, name, each, ...) end
    end
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
  return isList(present) and #present or 1
end

--- A copy of the event's listeners; those added by `once` as they were given.
---@param name any
---@return function[]
function EventEmitter:listeners(name)
  local all = self._listeners
  local present = all and all[name]
  local list = {}
  if isList(present) then
    for i = 1, #present do list[i] = originalOf(present[i]) end
  elseif present then
    list[1] = originalOf(present)
  end
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
