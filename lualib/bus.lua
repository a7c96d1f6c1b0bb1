--- What the workers of a machine, and of all machines, tell and hand each other: publish and subscribe, requests, queues of jobs, locks,
--- leaders, limits, presence, a cache. Without a server the primary is the bus of this machine; with Redis all machines have one.
local EventEmitter = require("events").EventEmitter
local await = require("await")
local calls = require("lrun.check.calls")
local codec = require("lrun.ipc.codec")
local errors = require("errors")
local link = require("lrun.bus.link")
local nextTick = require("process").nextTick
local redisOptions = require("lrun.redis.options")
local things = require("lrun.bus.things")
local validate = require("lrun.check.validate")

local DEFAULT_TIMEOUT = 5000         -- ms
local TIMEOUT_MAX = 2147483647       -- ms that a timer can wait

--- Event gap()
---@class bus: EventEmitter
local Bus = EventEmitter:extend("Bus")
local bus = Bus:new()

local connected                      -- what connect was given, as text

local function identity(url)
  if url == nil then return "" end
  if type(url) == "string" then return url end
  return tostring(url)
end

--- Connects this process, once in the script, the same in primary and workers: `redis://…`, options of `redis.connect`, or nothing:
--- then the primary is the bus of this machine. Throws for another address than that of an earlier call.
---@param url string|RedisOptions|nil
function Bus.connect(url)
  if url ~= nil and type(url) ~= "string" and type(url) ~= "table" then error(errors.argType("url", "string or table", url), 0) end
  if url ~= nil and connected == nil then redisOptions.read(url) end
  if connected ~= nil then
    if connected ~= identity(url) then
      error(errors.coded("ERR_INVALID_STATE", "The bus is connected already, to another address: one a process"), 0)
    end
    return
  end
  connected = identity(url)
  local cluster = package.loaded.cluster
  if not cluster or cluster.isPrimary then require("lrun.bus.hub").connect(url) end
  link.call("hello", function() end)
end

local function check(self, name)
  if self ~= bus then calls.needsColon("bus", name) end
  if connected == nil then error(errors.coded("ERR_INVALID_STATE", "Call bus.connect() first"), 0) end
end

local function topicOf(topic, name)
  validate.string(topic, name)
  if topic == "" or topic:find("[%z\r\n]") then error(errors.argValue(name, topic, "must not be empty, nor hold line breaks"), 0) end
  return topic
end

-- The bytes of a message.
local function encode(value, name)
  if value == nil then error(errors.missing(name), 0) end
  local text, reason = codec.text(value)
  if not text then error(errors.coded("ERR_INVALID_ARG_TYPE", ('The "%s" argument cannot be carried: %s'):format(name, reason)), 0) end
  return text
end

-- A call of the hub's, in a coroutine: the reply, or nil and the error.
local function ask(name, ...)
  local args, n = { ... }, select("#", ...)
  local err, reply = await(function(callback) link.call(name, callback, unpack(args, 1, n)) end)
  if err then return nil, err end
  return reply
end

-- Publish and subscribe -----------------------------------------------------------------------------------------------

local me = ("%d.%s"):format(require("luv").os_getpid(), tostring({}):match("0x(%x+)"))
local subscribers = {}               -- pattern → list of { f, self }

link.on("message", function(pattern, topic, bytes, origin)
  local list = subscribers[pattern]
  if not list then return end
  local ok, message = codec.fromText(bytes)
  if not ok then return end
  -- The origin is marked with `!` where its publisher does not want it back.
  local own = origin and origin:sub(2) == me
  for _, each in ipairs(list) do
    if not own or origin:sub(1, 1) ~= "!" and each.own then nextTick(each.f, message, topic) end
  end
end)

--- Tells all who subscribe to the topic, in all processes of all machines, at most once.
---@param topic string
---@param message any what the IPC channel can carry
---@param options { self: boolean? }? `self = false`: not this process
---@return boolean? done
---@return Error? err
function Bus:publish(topic, message, options)
  check(self, "publish")
  topicOf(topic, "topic")
  options = validate.optional(validate.table, options, "options") or {}
  validate.flags(options, { "self" })
  local bytes = encode(message, "message")
  local origin = (options.self == false and "!" or "=") .. me
  if not coroutine.running() then
    link.call("publish", function() end, topic, bytes, origin)
    return true
  end
  return ask("publish", topic, bytes, origin)
end

---@class Subscription
local Subscription = { name = "Subscription" }
Subscription.__index = Subscription

--- Ends it: nothing more comes.
function Subscription:close()
  local list, copy = subscribers[self.pattern] or {}, {}
  for _, each in ipairs(list) do if each ~= self._entry then copy[#copy + 1] = each end end
  if #copy == #list then return end
  subscribers[self.pattern] = #copy > 0 and copy or nil
  if #copy == 0 then link.call("unsubscribe", function() end, self.pattern) end
end
calls.methods(Subscription, "subscription")

--- Hears what is published: `f(message, topic)`. Patterns: `*` is one part of a dotted topic, `**` any number. Returns when it holds.
---@param pattern string
---@param f fun(message: any, topic: string)
---@param options { self: boolean? }? `self = false`: not what this process publishes
---@return Subscription? handle
---@return Error? err
function Bus:subscribe(pattern, f, options)
  check(self, "subscribe")
  topicOf(pattern, "pattern")
  validate.func(f, "listener")
  options = validate.optional(validate.table, options, "options") or {}
  validate.flags(options, { "self" })
  local entry = { f = f, own = options.self ~= false }
  local list = { unpack(subscribers[pattern] or {}) }
  list[#list + 1] = entry
  subscribers[pattern] = list
  local handle = setmetatable({ pattern = pattern, _entry = entry }, Subscription)
  local done, err = ask("subscribe", pattern)
  if done then return handle end
  handle:close()
  return nil, err
end

-- Requests ------------------------------------------------------------------------------------------------------------

local responders = {}                -- topic → list of functions

local function respondTo(number, f, message)
  local ok, result = pcall(f, message)
  local bytes
  if ok then
    local text, reason = codec.text(result)
    if text then bytes = text else ok, result = false, "the answer cannot be carried: " .. reason end
  end
  if not ok then bytes = tostring(result) end
  link.call("answer", function() end, number, bytes, not ok)
end

link.on("request", function(number, topic, bytes)
  local list = responders[topic]
  local ok, message = codec.fromText(bytes)
  if not list or not ok then return link.call("answer", function() end, number, "there is no responder", true) end
  await.spawn(respondTo, number, list[#list], message)
end)

--- Answers requests of a topic: what `f(message)` returns is the answer; an error in it is the other side's. It may await.
---@param topic string
---@param f fun(message: any): any
---@return { close: fun() }? handle
---@return Error? err
function Bus:respond(topic, f)
  check(self, "respond")
  topicOf(topic, "topic")
  validate.func(f, "responder")
  responders[topic] = responders[topic] or {}
  table.insert(responders[topic], f)
  local function close()
    for i, each in ipairs(responders[topic] or {}) do
      if each == f then
        table.remove(responders[topic], i)
        link.call("unrespond", function() end, topic)
        return
      end
    end
  end
  local done, err = ask("respond", topic)
  if done then return { close = close } end
  close()
  return nil, err
end

--- Asks one of those who respond to a topic, in turn.
---@param topic string
---@param message any
---@param timeout number? ms, 5000; then `ETIMEDOUT`
---@return any answer
---@return Error? err of the responder's: `ERR_BUS_RESPONDER`
function Bus:request(topic, message, timeout)
  check(self, "request")
  topicOf(topic, "topic")
  local bytes = encode(message, "message")
  if timeout ~= nil then validate.number(timeout, "timeout", 0, TIMEOUT_MAX) end
  local reply, err = ask("request", topic, bytes, timeout or DEFAULT_TIMEOUT)
  if err then return nil, err end
  local ok, answer = codec.fromText(reply)
  if not ok then return nil, errors.coded("ERR_BUS_RESPONDER", "The answer is no message") end
  return answer
end

-- The other things ----------------------------------------------------------------------------------------------------

--- A queue of jobs.
---@param name string
---@return BusQueue
function Bus:queue(name)
  check(self, "queue")
  return things.queue(topicOf(name, "name"), ask, encode)
end

--- A lock, or nil when another has it. It is renewed as long as this process lives.
---@param name string
---@param ttl number ms that it outlives the machine
---@return BusLock? lock
---@return Error? err
function Bus:lock(name, ttl)
  check(self, "lock")
  topicOf(name, "name")
  validate.number(ttl, "ttl")
  if ttl ~= ttl or ttl <= 0 or ttl == math.huge then error(errors.outOfRange("ttl", "> 0 and finite", ttl), 0) end
  return things.lock(name, ttl)
end

--- Stands for election: of all who do one is elected, and another when that one is gone.
---@param name string
---@return BusLeader
function Bus:leader(name)
  check(self, "leader")
  return things.leader(topicOf(name, "name"))
end

--- Counts an event unless `n` were counted within the last `window` ms, over all machines.
---@param key string
---@param n integer
---@param window number ms
---@return boolean? allowed
---@return integer|Error left
---@return number retryAfter ms
function Bus:limit(key, n, window)
  check(self, "limit")
  topicOf(key, "key")
  validate.integer(n, "n", 0)
  validate.number(window, "window")
  if window ~= window or window <= 0 or window == math.huge then error(errors.outOfRange("window", "> 0 and finite", window), 0) end
  local err, allowed, left, wait = await(function(callback) link.call("limit", callback, key, n, window) end)
  if err then return nil, err end
  return allowed, left, wait
end

--- Who is there.
---@param topic string
---@return BusPresence
function Bus:presence(topic)
  check(self, "presence")
  return things.presence(topicOf(topic, "topic"), ask)
end

--- Values that all processes of all machines find.
---@return BusCache
function Bus:cache()
  check(self, "cache")
  return things.cache(ask, encode)
end

link.on("gap", function() bus:emit("gap") end)

return bus
