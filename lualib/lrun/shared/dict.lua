--- A dictionary as a program sees it. Arguments are checked here; each call is then one of C's (runtime/shared/single.c, update.c), which is
--- one transaction. What has changed is told to `changes` when somebody listens.
local await = require("await")
local calls = require("lrun.check.calls")
local changes = require("lrun.shared.changes")
local core = require("lrun.core.shared")
local errors = require("errors")
local validate = require("lrun.check.validate")
local values = require("lrun.shared.values")

local encode, decode = values.encode, values.decode
local ALWAYS, ABSENT, PRESENT = core.always, core.absent, core.present
local KEY_MAX = core.keyMax
local BATCH = 256                    -- entries that a walk reads at once
local FIRST_WAIT, LAST_WAIT = 2, 25  -- ms between looks for what another process computes

---@class Dict
---@field name string
local Dict = { name = "Dict" }
Dict.__index = Dict

local function badKey(key)
  local kind = type(key)
  if kind == "number" then error(errors.argValue("key", key, "must not be NaN"), 0) end
  if kind ~= "string" then error(errors.argType("key", "string or number", key), 0) end
  error(errors.outOfRange("key", ("at most %d bytes"):format(KEY_MAX), #key), 0)
end

local function checkKey(key)
  if type(key) == "string" and #key <= KEY_MAX or type(key) == "number" and key == key then return end
  badKey(key)
end

local function checkTtl(ttl)
  if ttl == nil then return 0 end
  if type(ttl) ~= "number" then error(errors.argType("ttl", "number", ttl), 0) end
  if ttl ~= ttl or ttl <= 0 or ttl == math.huge then error(errors.outOfRange("ttl", "> 0 and finite", ttl), 0) end
  return ttl
end

local REASONS = {
  FULL = { "ENOSPC", "the dictionary '%s' is full" },
  KIND = { "ERR_INVALID_STATE", "the key of '%s' holds another kind of value" },
  ABSENT = { "ERR_INVALID_STATE", "there is no such key in '%s', and no init was given" },
  BUSY = { "ERR_INVALID_STATE", "nothing can be changed within an update ('%s')" },
  DAMAGED = { "EIO", "the file of the dictionary '%s' is damaged" },
}

local function fail(self, reason)
  local known = REASONS[reason]
  if known then error(errors.coded(known[1], known[2]:format(self.name)), 0) end
  error(errors.system(reason, "shared", { path = self._file }), 0)
end

local function told(self, key, heard) if heard then changes.tell(self._file, key) end end

--- The value of a key, or nil.
---@param key string|number
---@return any value a copy
function Dict:get(key)
  if getmetatable(self) ~= Dict then calls.needsColon("dict", "get") end
  checkKey(key)
  local value, more = self._core:get(key)
  if more == nil then return value end
  if value == nil then fail(self, more) end
  return decode(value, true)
end

--- What is left of a key's time.
---@param key string|number
---@return number? ms `math.huge` for a key that stays; nil when there is none
function Dict:ttl(key)
  checkKey(key)
  local ms, reason = self._core:ttl(key)
  if reason then fail(self, reason) end
  return ms
end

local function put(self, mode, key, value, ttl)
  checkKey(key)
  ttl = checkTtl(ttl)
  local stored, isTable = encode(value)
  local done, heard = self._core:set(key, stored, isTable, ttl, mode)
  if done == nil then fail(self, heard) end
  if done then told(self, key, heard) end
  return done
end

--- Sets a key. Throws `ENOSPC` where there is no room and nothing may go.
---@param key string|number
---@param value string|number|boolean|table at most 1 MiB
---@param ttl number? ms until it goes; without one it stays
---@return boolean
function Dict:set(key, value, ttl) return put(self, ALWAYS, key, value, ttl) end

--- Sets a key that is not there.
---@param key string|number
---@param value string|number|boolean|table
---@param ttl number? ms
---@return boolean done
function Dict:add(key, value, ttl) return put(self, ABSENT, key, value, ttl) end

--- Sets a key that is there.
---@param key string|number
---@param value string|number|boolean|table
---@param ttl number? ms
---@return boolean done
function Dict:replace(key, value, ttl) return put(self, PRESENT, key, value, ttl) end

--- Takes a key away.
---@param key string|number
---@return boolean found
function Dict:delete(key)
  checkKey(key)
  local found, heard = self._core:delete(key)
  if found == nil then fail(self, heard) end
  if found then told(self, key, heard) end
  return found
end

--- Adds to a number. Throws `ERR_INVALID_STATE` for a key that is absent, without `init`, or holds no number.
---@param key string|number
---@param by number
---@param init number? what an absent key counts as
---@param ttl number? ms, for a key that is made by this
---@return number sum
function Dict:incr(key, by, init, ttl)
  if getmetatable(self) ~= Dict then calls.needsColon("dict", "incr") end
  checkKey(key)
  if type(by) ~= "number" then error(errors.argType("by", "number", by), 0) end
  if init ~= nil and type(init) ~= "number" then error(errors.argType("init", "number", init), 0) end
  local sum, heard = self._core:incr(key, by, init, checkTtl(ttl))
  if sum == nil then fail(self, heard) end
  told(self, key, heard)
  return sum
end

-- Within the change: the new value, and as it is stored.
local function renew(f, stored, isTable)
  local result = f(decode(stored, isTable))
  if result == nil then return nil end
  return result, encode(result)
end

--- Replaces the value of a key by what `f` makes of it; meanwhile nobody else changes the dictionary. `f` cannot await, and
--- changes nothing itself; an error in it changes nothing and is thrown here. nil takes the key away; its time stays.
---@param key string|number
---@param f fun(old: any): any
---@return any value
function Dict:update(key, f)
  checkKey(key)
  validate.func(f, "f")
  local done, result, heard = self._core:update(key, renew, f)
  if done == nil then fail(self, result) end
  if not done then error(result, 0) end
  told(self, key, heard)
  return result
end

--- Puts a value behind those of a queue.
---@param key string|number
---@param value string|number|boolean|table
---@return integer length
function Dict:push(key, value)
  checkKey(key)
  local stored, isTable = encode(value)
  local length, heard = self._core:push(key, stored, isTable)
  if length == nil then fail(self, heard) end
  told(self, key, heard)
  return length
end

--- Takes the first value of a queue.
---@param key string|number
---@return any value nil when it is empty
function Dict:pop(key)
  checkKey(key)
  local found, value, isTable, heard = self._core:pop(key)
  if found == nil then fail(self, value) end
  if not found then return nil end
  told(self, key, heard)
  return decode(value, isTable)
end

--- How many values a queue has.
---@param key string|number
---@return integer
function Dict:length(key)
  checkKey(key)
  local length, reason = self._core:length(key)
  if length == nil then fail(self, reason) end
  return length
end

--- Rate limit: counts an event unless `n` were counted within the last `window` ms. Exact: never more than n in any window.
---@param key string|number
---@param n integer at most 100000
---@param window number ms
---@return boolean allowed
---@return integer left
---@return number retryAfter ms; 0 when allowed
function Dict:limit(key, n, window)
  checkKey(key)
  validate.integer(n, "n", 0, core.limitMax)
  if type(window) ~= "number" then error(errors.argType("window", "number", window), 0) end
  if window ~= window or window <= 0 or window == math.huge then error(errors.outOfRange("window", "> 0 and finite", window), 0) end
  local allowed, left, wait = self._core:limit(key, n, window)
  if allowed == nil then fail(self, left) end
  return allowed, left, wait
end

-- One batch of a walk.
local function batch(self, prefix, after, most, withValues)
  local keys, found, isTable, more = self._core:walk{ prefix = prefix, after = after, most = most, values = withValues }
  if not keys then fail(self, found) end
  return keys, found, isTable, more
end

--- The keys, those that begin with a prefix, at most so many.
---@param prefix string?
---@param max integer?
---@return (string|number)[]
function Dict:keys(prefix, max)
  validate.optional(validate.string, prefix, "prefix")
  max = validate.optional(validate.integer, max, "max", 0) or math.huge
  local list, after = {}, nil
  repeat
    local keys, _, _, more = batch(self, prefix, after, math.min(BATCH, max - #list), false)
    for _, key in ipairs(keys) do list[#list + 1] = key end
    after = keys[#keys]
  until not more or not after or #list >= max
  return list
end

--- For a loop over keys and values: `for key, value in dict:pairs("user:") do`. What changes meanwhile may or may not be seen;
--- the loop may change the dictionary. Queues and limits have no value, and are left out.
---@param prefix string?
---@return fun(): (string|number)?, any next
function Dict:pairs(prefix)
  validate.optional(validate.string, prefix, "prefix")
  local keys, found, isTable, more, at = {}, {}, {}, true, 0
  return function()
    at = at + 1
    if keys[at] == nil then
      if not more then return nil end
      keys, found, isTable, more = batch(self, prefix, keys[at - 1], BATCH, true)
      at = 1
      if keys[1] == nil then return nil end
    end
    return keys[at], decode(found[at], isTable[at])
  end
end

--- Takes away every key, or those that begin with a prefix.
---@param prefix string?
function Dict:clear(prefix)
  validate.optional(validate.string, prefix, "prefix")
  if prefix ~= nil and prefix ~= "" then
    for _, key in ipairs(self:keys(prefix)) do self:delete(key) end
    return
  end
  local listened = self._core:isHeard() and self:keys() or {}
  local done, heard = self._core:drop()
  if not done then fail(self, heard) end
  for _, key in ipairs(listened) do told(self, key, heard) end
end

--- How full it is.
---@return { keys: integer, size: integer, used: integer } stats bytes
function Dict:stats()
  local keys, size, used = self._core:stats()
  if not keys then fail(self, size) end
  return { keys = keys, size = size, used = math.min(used, size) }
end

-- Waits until another process has computed a key's value, or has stopped to.
local function waitFor(self, key)
  local wait = FIRST_WAIT
  while true do
    await.sleep(wait)
    local value = self:get(key)
    if value ~= nil then return value end
    if self._core:lock(key) then return nil end
    wait = math.min(wait * 2, LAST_WAIT)
  end
end

-- Computes a value under the key's lock, and keeps it.
local function compute(self, key, ttl, f)
  local value = self:get(key)        -- it may have come just before we had the lock
  if value ~= nil then return value end
  value = f()
  if value ~= nil then put(self, ALWAYS, key, value, ttl) end
  return value
end

local function computeAlone(self, key, ttl, f)
  if not self._core:lock(key) then
    local value = waitFor(self, key)
    if value ~= nil then return value end
  end
  local ok, result = pcall(compute, self, key, ttl, f)
  self._core:unlock(key)
  if not ok then error(result, 0) end
  return result
end

--- The value of a key, or what `f()` returns, which is kept for `ttl` ms. One process computes, the others await it; when it dies
--- or fails, the next one computes. `f` may await. nil is not kept.
---@param key string|number
---@param ttl number? ms; nil keeps it for good
---@param f fun(): any
---@return any value
function Dict:wrap(key, ttl, f)
  checkKey(key)
  if ttl ~= nil then checkTtl(ttl) end
  validate.func(f, "f")
  local value = self:get(key)
  if value ~= nil then return value end
  local waiting = self._computing[key]
  if waiting then                    -- in this process: one of us computes for all
    await(function(callback) waiting[#waiting + 1] = callback end)
    return self:wrap(key, ttl, f)
  end
  self._computing[key] = {}
  local ok, result = pcall(computeAlone, self, key, ttl, f)
  waiting = self._computing[key]
  self._computing[key] = nil
  for _, callback in ipairs(waiting) do callback() end
  if not ok then error(result, 0) end
  return result
end

--- Event "change": `f(key)`, or `f(keys)` with a list, once a turn at most, for what any process has changed.
---@param event string "change"
---@param prefix string? only keys that begin so
---@param f fun(key: string|number|(string|number)[])
---@return self
function Dict:on(event, prefix, f)
  validate.oneOf(event, "event", { "change" })
  if f == nil then prefix, f = nil, prefix end
  validate.optional(validate.string, prefix, "prefix")
  validate.func(f, "listener")
  changes.listen(self._file, self._core, prefix, f)
  return self
end

--- Takes a listener away.
---@param event string "change"
---@param f function
---@return self
function Dict:off(event, f)
  validate.oneOf(event, "event", { "change" })
  changes.forget(self._file, self._core, f)
  return self
end

calls.methods(Dict, "dict", { get = true, incr = true })  -- these look for themselves

--- `opened` is C's side of it.
local function of(name, file, opened)
  return setmetatable({ name = name, _file = file, _core = opened, _computing = {} }, Dict)
end

return { Dict = Dict, of = of }
