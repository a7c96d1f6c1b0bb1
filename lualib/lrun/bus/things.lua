--- What `bus:queue`, `bus:lock` and their kin return: objects over the calls of the hub. Those that are told something by it are found
--- here by their names.
local EventEmitter = require("events").EventEmitter
local await = require("await")
local calls = require("lrun.check.calls")
local codec = require("lrun.ipc.codec")
local errors = require("errors")
local link = require("lrun.bus.link")
local validate = require("lrun.check.validate")

local things = {}

local function ignore() end

-- Queues --------------------------------------------------------------------------------------------------------------

---@class BusQueue
---@field name string
local Queue = { name = "BusQueue" }
Queue.__index = Queue

local workers = {}                   -- queue → function

---@class JobOptions
---@field delay number? ms until it may be done
---@field priority integer? a larger one goes first; 0
---@field id string? the same id is added once
---@field attempts integer? how often it is tried; 1
---@field backoff number? ms between tries; 0

local function jobOptions(given)
  given = validate.optional(validate.table, given, "options") or {}
  return {
    delay = validate.optional(validate.number, given.delay, "options.delay", 0) or 0,
    priority = validate.optional(validate.integer, given.priority, "options.priority") or 0,
    attempts = validate.optional(validate.integer, given.attempts, "options.attempts", 1) or 1,
    backoff = validate.optional(validate.number, given.backoff, "options.backoff", 0) or 0,
    id = validate.optional(validate.string, given.id, "options.id"),
  }
end

--- Adds a job: at least one process does it.
---@param job any what the IPC channel can carry
---@param options JobOptions?
---@return string? id
---@return Error? err
function Queue:add(job, options)
  return self._ask("add", self.queue, self._encode(job, "job"), jobOptions(options))
end

--- Does jobs here, `n` at once: `f(job)`, which may await. One whose `f` throws has failed; one whose process dies goes to another.
---@param n integer
---@param f fun(job: any, id: string, attempt: integer)
---@return boolean? done
---@return Error? err
function Queue:process(n, f)
  validate.integer(n, "n", 1)
  validate.func(f, "worker")
  workers[self.queue] = f
  local _, err = self._ask("process", self.queue, n)
  if err then return nil, err end
  return true
end

--- How many wait, are being done, are delayed, have failed.
---@return { waiting: integer, active: integer, delayed: integer, failed: integer }? stats
---@return Error? err
function Queue:stats() return self._ask("stats", self.queue) end

--- The jobs that have failed for good.
---@return { id: string, job: any, error: string }[]? list
---@return Error? err
function Queue:failed()
  local list, err = self._ask("failed", self.queue)
  if not list then return nil, err end
  for _, each in ipairs(list) do
    local _, job = codec.fromText(each.bytes)
    each.job, each.bytes, each.seq = job, nil, nil
  end
  return list
end

--- Gives a job that has failed all its attempts anew.
---@param id string
---@return boolean? found
---@return Error? err
function Queue:retry(id) return self._ask("retry", self.queue, validate.string(id, "id")) end

calls.methods(Queue, "queue")

local function work(queue, token, id, bytes, attempt)
  local f = workers[queue]
  local ok, job = codec.fromText(bytes)
  local failure = not ok and "the job is no message" or nil
  if ok then ok, failure = pcall(f, job, id, attempt) end
  link.call("settled", ignore, token, not ok and tostring(failure) or nil)
end

link.on("job", function(...) await.spawn(work, ...) end)

function things.queue(name, ask, encode) return setmetatable({ queue = name, _ask = ask, _encode = encode }, Queue) end

-- Locks ---------------------------------------------------------------------------------------------------------------

--- Event lost()
---@class BusLock: EventEmitter
---@field fence integer grows with every holder
---@field isHeld boolean
local Lock = EventEmitter:extend("BusLock")

local locks = {}                     -- token → lock, as long as it is held

--- Frees it. Harmless when it was freed or lost.
function Lock:release()
  if not self.isHeld then return end
  self.isHeld = false
  locks[self._token] = nil
  link.call("unlock", ignore, self._token)
end

link.on("lost", function(token)
  local lock = locks[token]
  if not lock then return end
  locks[token] = nil
  lock.isHeld = false
  lock:emit("lost")
end)

calls.methods(Lock, "lock")

function things.lock(name, ttl)
  local err, token, fence = await(function(callback) link.call("lock", callback, name, ttl) end)
  if err then return nil, err end
  if not token then return nil end
  local lock = Lock:new()
  lock.isHeld, lock.fence, lock._token = true, fence, token
  locks[token] = lock
  return lock
end

-- Leaders -------------------------------------------------------------------------------------------------------------

--- Event elected()
--- Event deposed()
---@class BusLeader: EventEmitter
---@field isLeader boolean
local Leader = EventEmitter:extend("BusLeader")

local leaders = {}

--- Stands no more.
function Leader:resign()
  self.isLeader = false
  leaders[self._office] = nil
  link.call("resign", ignore, self._office)
end

link.on("elected", function(name)
  local leader = leaders[name]
  if not leader then return end
  leader.isLeader = true
  leader:emit("elected")
end)

link.on("deposed", function(name)
  local leader = leaders[name]
  if not leader then return end
  leader.isLeader = false
  leader:emit("deposed")
end)

calls.methods(Leader, "leader")

function things.leader(name)
  local leader = leaders[name]
  if leader then return leader end
  leader = Leader:new()
  leader.isLeader, leader._office = false, name
  leaders[name] = leader
  link.call("stand", ignore, name)
  return leader
end

-- Presence ------------------------------------------------------------------------------------------------------------

--- Event join(data: any)
--- Event leave(data: any)
---@class BusPresence: EventEmitter
local Presence = EventEmitter:extend("BusPresence")

local watching = {}                  -- topic → list of presences

--- Is there, with data that the others see, until `leave` or the end of this process.
---@param data any
---@return boolean? done
---@return Error? err
function Presence:join(data)
  local bytes, reason = codec.text(data)
  if not bytes then error(errors.coded("ERR_INVALID_ARG_TYPE", ('The "data" argument cannot be carried: %s'):format(reason)), 0) end
  self:leave()
  local id, err = self._ask("join", self._topic, bytes)
  if not id then return nil, err end
  self._member = id
  return true
end

--- Is there no more.
function Presence:leave()
  local member = self._member
  self._member = nil
  if member then link.call("leave", ignore, member) end
end

--- The data of all who are there.
---@return any[]? list
---@return Error? err
function Presence:list()
  local list, err = self._ask("list", self._topic)
  if not list then return nil, err end
  local all = {}
  for _, bytes in ipairs(list) do
    local ok, data = codec.fromText(bytes)
    if ok then all[#all + 1] = data end
  end
  return all
end

link.on("presence", function(topic, event, bytes)
  local ok, data = codec.fromText(bytes)
  if not ok then return end
  for _, presence in ipairs(watching[topic] or {}) do presence:emit(event, data) end
end)

calls.methods(Presence, "presence")

function things.presence(topic, ask)
  local presence = Presence:new()
  presence._topic, presence._ask = topic, ask
  presence:once("newListener", function()  -- one that nobody listens to is told nothing, and goes when it is dropped
    watching[topic] = watching[topic] or {}
    table.insert(watching[topic], presence)
    link.call("watch", ignore, topic)
  end)
  return presence
end

-- The cache -----------------------------------------------------------------------------------------------------------

local FIRST_WAIT, LAST_WAIT = 5, 50  -- ms between looks for what another computes
local COMPUTING_TTL = 5000           -- ms that the computation of a machine that is gone holds the others up

---@class BusCache
local Cache = { name = "BusCache" }
Cache.__index = Cache

local function checkKey(key)
  validate.string(key, "key")
  if key == "" then error(errors.argValue("key", key, "must not be empty"), 0) end
end

local function checkTtl(ttl)
  if ttl == nil then return end
  validate.number(ttl, "ttl")
  if ttl ~= ttl or ttl <= 0 or ttl == math.huge then error(errors.outOfRange("ttl", "> 0 and finite", ttl), 0) end
end

--- The value of a key, or nil.
---@param key string
---@return any value
---@return Error? err
function Cache:get(key)
  checkKey(key)
  local bytes, err = self._ask("cacheGet", key)
  if not bytes then return nil, err end
  return select(2, codec.fromText(bytes))
end

--- Sets a key.
---@param key string
---@param value any
---@param ttl number? ms
---@return boolean? done
---@return Error? err
function Cache:set(key, value, ttl)
  checkKey(key)
  checkTtl(ttl)
  return self._ask("cacheSet", key, self._encode(value, "value"), ttl)
end

--- Takes a key away.
---@param key string
---@return boolean? found
---@return Error? err
function Cache:delete(key)
  checkKey(key)
  return self._ask("cacheDelete", key)
end

--- The value, or what `f()` returns, kept for `ttl`: one process computes, the others await it.
---@param key string
---@param ttl number? ms
---@param f fun(): any
---@return any value
---@return Error? err
function Cache:wrap(key, ttl, f)
  checkKey(key)
  checkTtl(ttl)
  validate.func(f, "f")
  local wait = FIRST_WAIT
  while true do
    local value, err = self:get(key)
    if value ~= nil or err then return value, err end
    local lock, failure = things.lock("cache:" .. key, COMPUTING_TTL)
    if failure then return nil, failure end
    if lock then
      value = self:get(key)           -- it may have come just before we had the lock
      local ok, result = true, value
      if value == nil then ok, result = pcall(f) end
      if ok and value == nil and result ~= nil then ok, err = pcall(self.set, self, key, result, ttl) end
      lock:release()
      if not ok then error(err or result, 0) end
      return result
    end
    await.sleep(wait)
    wait = math.min(wait * 2, LAST_WAIT)
  end
end

calls.methods(Cache, "cache")

function things.cache(ask, encode) return setmetatable({ _ask = ask, _encode = encode }, Cache) end

return things
