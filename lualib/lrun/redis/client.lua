--- A client of one Redis server: a connection that is made anew when it is lost, and the commands that wait meanwhile.
---
--- A command, or the commands of a transaction, is a unit: a list of entries (see lrun.redis.connection) that are sent one
--- behind the other. While there is no connection units wait in `_waiting`. What was sent when a connection died is answered with
--- `ECONNRESET`, since nobody knows whether the server has done it; only what reads may be sent again (`retryReads`).
local EventEmitter = require("events").EventEmitter
local await = require("await")
local calls = require("lrun.check.calls")
local commands = require("lrun.redis.commands")
local Connection = require("lrun.redis.connection")
local errors = require("errors")
local options = require("lrun.redis.options")
local process = require("process")
local subscriptions = require("lrun.redis.subscriptions")
local timers = require("timers")
local validate = require("lrun.check.validate")
local waiting = require("lrun.redis.waiting")

local nextTick = process.nextTick

--- Event connect()
--- Event ready()
--- Event error(err: Error)
--- Event close()
--- Event reconnecting(delay: integer)
--- Event end()
---@class RedisClient: EventEmitter
---@field status string wait, connecting, ready, reconnecting, end
local Client = EventEmitter:extend("RedisClient")

---@param read table of lrun.redis.options
function Client:initialize(read)
  self.status = "wait"
  self._options = read
  self._waiting = waiting.new(read)
  self._isPlain = not read.commandTimeout and not read.retryReads   -- nothing is done with a command but to send it
  self._tries = 0
  self._subscriptions = subscriptions.new()
  if not read.lazy then self:_open() end
end

-- Connecting ----------------------------------------------------------------------------------------------------------

-- A lost connection is no news to a program that listens to nothing: it is made anew.
function Client:_report(err)
  if self:listenerCount("error") > 0 then return self:emit("error", err) end
  process.emitWarning("redis: " .. err.message)
end

local function pause(self)
  local read = self._options
  local delay = math.min(read.retryMax, read.retryMin * 2 ^ math.min(self._tries - 1, 30))
  return math.floor(delay * (0.75 + math.random() / 4) + 0.5)
end

local function fail(unit, err)
  for i = #unit, 1, -1 do          -- a transaction is one: its last entry answers
    local entry = unit[i]
    if entry.timer then timers.clearTimeout(entry.timer) end
    local callback = entry.callback
    entry.callback = nil
    if callback then return nextTick(callback, err) end
  end
end

--- Internal: answers all that wait for a connection.
function Client:_failWaiting(err)
  for _, unit in ipairs(self._waiting:takeAll()) do fail(unit, err) end
end

--- Internal: sends all that has waited for one.
function Client:_sendWaiting()
  for _, unit in ipairs(self._waiting:takeAll()) do self:dispatch(unit) end
end

local function finish(self, err)
  if self.status == "end" then return end
  self.status = "end"
  if self._retry then timers.clearTimeout(self._retry) end
  if self._subscriber then self._subscriber:disconnect() end
  self:_failWaiting(err)
  nextTick(self.emit, self, "end")
end

local function ended()
  return errors.coded("ERR_SOCKET_CLOSED", "The client was closed")
end

-- Whoever was asked when the connection died.
local function answerWaiting(self, connection, err)
  local lost = errors.coded("ECONNRESET", ("The connection was lost before the command was answered: %s"):format(err.message),
    { cause = err })
  local again = {}
  for _, entry in ipairs(connection:takeWaiting()) do
    local mayAgain = self._options.retryReads and not entry.inUnit and self.status ~= "end"
    if mayAgain and commands.reads[tostring(entry.words[1]):upper()] then
      again[#again + 1] = { entry }
    else
      fail({ entry }, lost)
    end
  end
  self._waiting:putFirst(again)
end

local function onClosed(self, connection, err)
  if self._connection ~= connection then return end
  self._connection = nil
  local quitting = self._quitting
  if self.status ~= "end" then self.status = "reconnecting" end
  answerWaiting(self, connection, err)
  if connection.refused then self:_failWaiting(err) end
  if not quitting and self.status ~= "end" then self:_report(err) end
  self:emit("close")
  if self.status == "end" then return end
  if quitting then return finish(self, err) end
  self._tries = self._tries + 1
  if self._tries > self._options.maxRetries then return finish(self, err) end
  local delay = pause(self)
  self._retry = timers.setTimeout(function()
    self._retry = nil
    self:_open()
  end, delay)
  self:emit("reconnecting", delay)
end

local function send(self, unit)
  local connection = self._connection
  local full = not unit.always and connection:full(#unit)
  if full then return fail(unit, full) end
  for _, entry in ipairs(unit) do connection:send(entry) end
end

local AGAIN_AT_ONCE = 1000           -- channels of one command

local function subscribeAgain(self)
  local function answered(err) if err and self.status ~= "end" then self:_report(err) end end
  for kind, names in pairs(subscriptions.KINDS) do
    local list = self._subscriptions:names(kind)
    for first = 1, #list, AGAIN_AT_ONCE do
      local last = math.min(first + AGAIN_AT_ONCE - 1, #list)
      local count = last - first + 1
      self._connection:send{
        n = count + 1, words = { names.subscribe, unpack(list, first, last) }, confirms = names.subscribe:lower(), left = count,
        callback = answered,
      }
    end
  end
end

local function onReady(self)
  self.status, self._tries = "ready", 0
  subscribeAgain(self)
  self:_sendWaiting()
  self:emit("ready")
end

local function onPush(self, push)
  local listeners, message, channel, pattern = self._subscriptions:listeners(push)
  for _, f in ipairs(listeners or {}) do
    local ok, err = pcall(f, message, channel, pattern)
    if not ok then nextTick(error, err, 0) end
  end
end

--- Whether there is a connection.
---@return boolean
function Client:isConnected() return self._connection ~= nil and self.status == "ready" end

--- Internal: makes a connection.
function Client:_open()
  self.status = "connecting"
  self:_locate(function(err, read)
    if self.status == "end" then return end
    local connection
    connection = Connection.new(read or self._options, {
      connect = function() self:emit("connect") end,
      ready = function() onReady(self) end,
      push = function(push) onPush(self, push) end,
      closed = function(reason) onClosed(self, connection, reason) end,
    })
    self._connection = connection
    if err then return connection:die(err) end
    connection:open()
  end)
end

--- Internal: where to connect to; a sentinel knows.
function Client:_locate(callback)
  local read = self._options
  if not read.sentinel then return callback(nil, read) end
  require("lrun.redis.sentinel").find(read, callback)
end

-- Commands ------------------------------------------------------------------------------------------------------------

local function startTimer(self, unit)
  local ms = self._options.commandTimeout
  if not ms then return end
  local entry = unit[#unit]
  if not entry.callback or entry.timer then return end
  local callback = entry.callback
  entry.timer = timers.setTimeout(function()
    entry.callback = nil
    self._waiting:drop(unit)
    callback(errors.coded("ETIMEDOUT", ("%s was not answered within %d ms"):format(tostring(entry.words[1]):upper(), ms)))
  end, ms)
  entry.callback = function(...)
    timers.clearTimeout(entry.timer)
    callback(...)
  end
end

--- Internal: sends a unit, or keeps it until there is a connection.
---@package
---@param unit table[] entries
function Client:dispatch(unit)
  if self.status == "end" then return fail(unit, ended()) end
  startTimer(self, unit)
  if self.status == "ready" then return send(self, unit) end
  local full = self._waiting:add(unit)
  if full then return fail(unit, full) end
  if self.status == "wait" then self:_open() end
end

--- Internal: sends an entry that is a unit by itself.
---@package
---@param entry table
function Client:dispatchEntry(entry)
  local connection = self._connection
  if self.status == "ready" and not self._options.commandTimeout and not connection:full(1) then return connection:send(entry) end
  self:dispatch{ entry }
end

-- What comes with a success of SELECT, for a client that is made anew later.
local function rememberDatabase(self, words, callback)
  return function(err, reply)
    if not err then self._options.db = tonumber(words[2]) or self._options.db end
    callback(err, reply)
  end
end

local TOUCHY = { SELECT = true, HGETALL = true, CONFIG = true }

-- The entry of a command; `name` is its own in upper case.
local function entryOf(self, n, words, callback, name)
  -- Constants first: a copy of a table of the right size.
  local entry = { n = 0, words = false, callback = false, map = false }
  entry.n, entry.words, entry.callback = n, words, callback
  if TOUCHY[name] then
    entry.map = commands.isMap(n, words)
    if name == "SELECT" and callback then entry.callback = rememberDatabase(self, words, callback) end
  end
  return entry
end

-- The reply, or nil and the error: of a unit that `give` makes around a callback.
local function answer(give)
  local err, reply = await(give)
  if err then return nil, err end
  return reply
end

-- `words` may end with a callback.
local function issue(self, n, words, known)
  local callback = words[n]
  local told = type(callback) == "function"
  if told then
    words[n] = nil
    n = n - 1
  end
  commands.check(n, words)
  local name = known or tostring(words[1]):upper()
  commands.checkReply(name)
  if not told then return answer(function(resume) self:dispatchEntry(entryOf(self, n, words, resume, name)) end) end
  self:dispatchEntry(entryOf(self, n, words, callback, name))
end

-- The words of a command. A list of all arguments is not made in compiled code: those of a few are by hand.
local function gather(word, n, ...)
  local a, b, c, d = ...
  if n == 1 then return { word, a } end
  if n == 2 then return { word, a, b } end
  if n == 3 then return { word, a, b, c } end
  if n == 4 then return { word, a, b, c, d } end
  return { word, ... }
end

--- Any command: `client:command("GET", "k")`. In a coroutine it returns the reply, or nil and the error; with a function
--- last that is called with `(err, reply)`.
---@param ... string|number|function
---@return any reply nil also for what is not there
---@return Error? err with the server's code
function Client:command(...) return issue(self, select("#", ...), { ... }) end

-- Commands by their names: a method for each, made when it is asked for.
local methods = {}
local function methodOf(name)
  local method = methods[name]
  if not method then
    local word = name:upper()
    local isPlain = not TOUCHY[word] and not commands.isPushed(word)
    method = function(self, ...)
      if type(self) ~= "table" or not self.dispatch then calls.needsColon("client", name) end
      local n = select("#", ...)
      if n == 2 and isPlain and self._isPlain and self.status == "ready" then
        local argument, callback = ...
        local kind, connection = type(argument), self._connection
        if type(callback) == "function" and (kind == "string" or kind == "number") and not connection:full(1) then
          return connection:sendTwo(word, argument, callback)
        end
      end
      return issue(self, n + 1, gather(word, n, ...), word)
    end
    methods[name] = method
  end
  return method
end

-- Gives a class, whose instances are clients, the commands as methods: each is the class's from when it is asked for.
local function open(class)
  local super = class.super
  setmetatable(class, { __index = function(_, key)
    local value = super[key]
    if value ~= nil or type(key) ~= "string" or not key:find("^%l[%l%d]*$") then return value end
    value = methodOf(key)
    rawset(class, key, value)
    return value
  end })
  class.__index = class
end

-- Transactions and scripts --------------------------------------------------------------------------------------------

--- A transaction: `client:multi():set("a", 1):incr("a"):exec()`.
---@return RedisMulti
function Client:multi() return require("lrun.redis.multi").new(self) end

--- A script as a function `f(keys, args[, callback])`, which sends its text once and its digest from then on.
---@param text string Lua, for the server
---@return fun(keys: (string|number)[]?, args: (string|number)[]?, callback: fun(err: Error?, reply: any)?): any, Error?
function Client:script(text) return require("lrun.redis.script").new(self, validate.string(text, "lua")) end

--- All keys, for a loop: `for key in client:scan{ match = "user:*" } do`. A key may come twice. Given a cursor, the command SCAN.
---@param how { match: string?, count: integer?, type: string? }|integer|string|nil
---@return any
function Client:scan(how, ...)
  if how ~= nil and type(how) ~= "table" then return self:command("SCAN", how, ...) end
  local words = {}
  for _, name in ipairs{ "match", "count", "type" } do
    if how and how[name] ~= nil then
      words[#words + 1] = name:upper()
      words[#words + 1] = how[name]
    end
  end
  local cursor, keys, at = "0", {}, 0
  local begun = false
  return function()
    at = at + 1
    while keys[at] == nil do
      if begun and cursor == "0" then return nil end
      local page, err = self:command("SCAN", cursor, unpack(words))
      if not page then error(err, 0) end
      begun, cursor, keys, at = true, page[1], page[2], 1
    end
    return keys[at]
  end
end

-- Publish and subscribe -----------------------------------------------------------------------------------------------

-- Calls `f` with the client whose connection takes subscriptions: with RESP2 one of its own.
local function withSubscriber(self, f)
  if self._options.dedicated then return f(self) end
  local function choose()
    local connection = self._connection
    if self.status ~= "ready" or connection.resp == 3 then return f(self) end
    if not self._subscriber then
      local read = options.at(self._options, self._options.host, self._options.port)
      read.path, read.sentinel, read.dedicated, read.lazy = self._options.path, self._options.sentinel, true, false
      self._subscriber = Client:new(read)
      self._subscriber:on("error", function(err) self:_report(err) end)
    end
    f(self._subscriber)
  end
  if self.status == "ready" or self.status == "end" then return choose() end
  self:command("PING", choose)       -- once there is a connection
end

-- Answers when a new connection has subscribed to what there is, or when none will be made any more.
local function whenReady(client, callback)
  local subscribed, closed
  function subscribed()
    client:off("end", closed)
    callback(nil, true)
  end
  function closed()
    client:off("ready", subscribed)
    callback(ended())
  end
  client:once("ready", subscribed)
  client:once("end", closed)
end

local function listen(self, kind, name, f, callback)
  local words = subscriptions.KINDS[kind]
  withSubscriber(self, function(client)
    client._subscriptions:add(kind, name, f)
    if client.status ~= "ready" and client.status ~= "end" then return whenReady(client, callback) end
    -- Also where another listens already: the server may not have confirmed that yet.
    client:dispatch{ {
      n = 2, words = { words.subscribe, name }, confirms = words.subscribe:lower(), left = 1,
      callback = function(err, reply)
        if err then client._subscriptions:remove(kind, name, f) end
        callback(err, reply)
      end,
    } }
  end)
end

local function forget(self, kind, name, f, callback)
  local words = subscriptions.KINDS[kind]
  withSubscriber(self, function(client)
    local last = client._subscriptions:remove(kind, name, f)
    if not last or client.status ~= "ready" then return nextTick(callback, nil, true) end
    client:dispatch{ {
      n = 2, words = { words.unsubscribe, name }, confirms = words.unsubscribe:lower(), left = 1, callback = callback,
    } }
  end)
end

local function subscribing(act, kind, needsListener)
  return function(self, name, f, callback)
    if type(self) ~= "table" or not self.dispatch then calls.needsColon("client", "subscribe") end
    validate.string(name, "channel")
    if needsListener or f ~= nil then validate.func(f, "listener") end
    if callback ~= nil then
      validate.func(callback, "callback")
      return act(self, kind, name, f, callback)
    end
    return answer(function(resume) act(self, kind, name, f, resume) end)
  end
end

--- Listens to a channel: `f(message, channel)`. Returns when the server has confirmed it.
---@param channel string
---@param f fun(message: string, channel: string)
---@param callback fun(err: Error?)?
---@return boolean? done
---@return Error? err
function Client:subscribe(channel, f, callback) return subscribing(listen, "channel", true)(self, channel, f, callback) end

--- Listens to all channels that a pattern fits: `f(message, channel, pattern)`.
---@param pattern string
---@param f fun(message: string, channel: string, pattern: string)
---@param callback fun(err: Error?)?
---@return boolean? done
---@return Error? err
function Client:psubscribe(pattern, f, callback) return subscribing(listen, "pattern", true)(self, pattern, f, callback) end

--- Listens to a channel of a cluster's slot.
---@param channel string
---@param f fun(message: string, channel: string)
---@param callback fun(err: Error?)?
---@return boolean? done
---@return Error? err
function Client:ssubscribe(channel, f, callback) return subscribing(listen, "shard", true)(self, channel, f, callback) end

--- Takes a listener away, or all of a channel.
---@param channel string
---@param f function?
---@param callback fun(err: Error?)?
---@return boolean? done
function Client:unsubscribe(channel, f, callback) return subscribing(forget, "channel")(self, channel, f, callback) end

--- The same for a pattern.
---@param pattern string
---@param f function?
---@param callback fun(err: Error?)?
---@return boolean? done
function Client:punsubscribe(pattern, f, callback) return subscribing(forget, "pattern")(self, pattern, f, callback) end

--- The same for a channel of a cluster's slot.
---@param channel string
---@param f function?
---@param callback fun(err: Error?)?
---@return boolean? done
function Client:sunsubscribe(channel, f, callback) return subscribing(forget, "shard")(self, channel, f, callback) end

-- Ending --------------------------------------------------------------------------------------------------------------

local function leave(self, callback)
  if self.status == "end" then return nextTick(callback, ended()) end
  if self.status == "wait" then
    finish(self, ended())
    return nextTick(callback, nil, "OK")
  end
  self:dispatch{ always = true, { n = 1, words = { "QUIT" }, callback = function(err, reply)
    if not err then finish(self, ended()) end
    if self._connection and not err then self._connection:die(ended()) end
    callback(err, reply)
  end } }
  self._quitting = true
end

--- Ends the client when all that was asked has been answered.
---@param callback fun(err: Error?, reply: string?)?
---@return string? ok "OK"
---@return Error? err
function Client:quit(callback)
  if callback ~= nil then return leave(self, validate.func(callback, "callback")) end
  return answer(function(resume) leave(self, resume) end)
end

--- Ends the client now; what was asked and not answered fails.
function Client:disconnect()
  if self.status == "end" then return end
  local connection = self._connection
  finish(self, ended())
  if connection then connection:die(ended()) end
end

calls.methods(Client, "client", {
  new = true, dispatch = true, dispatchEntry = true, subscribe = true, psubscribe = true, ssubscribe = true, unsubscribe = true, punsubscribe = true,
  sunsubscribe = true,
})
open(Client)

return { Client = Client, open = open }
