--- One connection to a Redis server. Owns its socket, the parser, which also gathers what is to be written, and the
--- commands that are under way, in order: a reply belongs to the first of them.
---
---   send(entry) → gathered → one write at the end of the turn → replies → entry.callback(err, reply)
---
--- `open` connects and says who we are: HELLO 3, or, where the server does not know it, AUTH and SELECT of RESP2. The owner is
--- told by `handlers`: `connect()`, `ready()`, `push(list)`, `closed(err)`, the last one once, when no reply can come any more.
local commands = require("lrun.redis.commands")
local core = require("lrun.core.redis")
local errors = require("errors")
local json = require("json")
local net = require("net")
local ring = require("lrun.redis.ring")
local timers = require("timers")

local NULL, Error = json.null, errors.Error
local FLUSH_AT = 64 * 1024           -- bytes that are written before the turn ends

local Connection = { name = "RedisConnection" }
Connection.__index = Connection

local Push = { name = "RedisPush" }  -- metatable of what comes unasked

-- "WRONGTYPE Operation against …": the first word is the code.
local function serverError(text)
  local code = text:match("^(%u[%u%d_]*) ") or text:match("^(%u[%u%d_]*)$") or "ERR"
  return errors.coded(code, text)
end

---@param options table of lrun.redis.options
---@param handlers { connect: function?, ready: function, push: function?, closed: function }
function Connection.new(options, handlers)
  return setmetatable({
    options = options, handlers = handlers, resp = 3,
    parser = core.parser(options.replyLimit),
    waiting = ring.new(), written = 0,     -- entries, and the number of the last that was written
    unsent = 0,                            -- bytes that the socket had not taken when somebody looked
    scheduled = false, isReady = false, dead = false,
  }, Connection)
end

-- The end, once: `err` says why.
function Connection:die(err)
  if self.dead then return end
  self.dead, self.isReady = true, false
  if self.timer then timers.clearTimeout(self.timer) end
  if self.socket then self.socket:destroy() end
  self.handlers.closed(err)
end

-- Replies -------------------------------------------------------------------------------------------------------------

function Connection:settle(entry, reply)
  local callback = entry.callback
  if not callback then return end
  if getmetatable(reply) == Error then return callback(reply) end
  if reply == NULL then return callback(nil, nil) end
  if entry.map and self.resp == 2 then reply = commands.toMap(reply) end
  callback(nil, reply)
end

-- What listens may throw: what came behind must not be lost with it.
local function guarded(f, ...)
  local ok, err = pcall(f, ...)
  if not ok then require("process").nextTick(error, err, 0) end
end

-- What the server says of its own accord. That it has done a SUBSCRIBE it says so, too, in the place of a reply.
function Connection:takePush(value)
  local entry = self.waiting:peek()
  if entry and entry.confirms and entry.confirms == value[1] then
    entry.left = entry.left - 1
    if entry.left == 0 then
      self.waiting:shift()
      guarded(self.settle, self, entry, true)
    end
  end
  if self.handlers.push then guarded(self.handlers.push, value) end
  return not self.dead
end

-- With RESP2 a connection that has subscribed gets nothing but pushes, which look like replies.
local function isPush(self, value)
  return getmetatable(value) == Push or self.options.dedicated and self.resp == 2 and self.isReady and getmetatable(value) ~= Error
end

function Connection:take(value)
  if type(value) == "table" and isPush(self, value) then return self:takePush(value) end
  local entry = self.waiting.first <= self.written and self.waiting:peek()
  if not entry then
    self:die(errors.coded("ERR_REDIS_PROTOCOL", "The server has answered what nobody asked"))
    return false
  end
  self.waiting:shift()
  guarded(self.settle, self, entry, value)
  return not self.dead
end

function Connection:onData(data)
  local list = {}
  local n, fault = self.parser:feed(data, list, serverError, Push)
  for i = 1, n do
    if not self:take(list[i]) then return end
  end
  if fault then
    self:die(errors.coded("ERR_REDIS_PROTOCOL", ("The server has sent what is no reply: %s"):format(fault)))
  end
end

-- Commands ------------------------------------------------------------------------------------------------------------

local function flush(self)
  self.scheduled = false
  if self.dead then return end
  local bytes = self.parser:take()
  if bytes == "" then return end
  self.written = self.waiting.last
  self.socket:write(bytes)
  self.unsent = self.socket.writableLength
end

--- Whether so many more commands would be too many: the server does not answer, or does not even read. The error, or false.
---@param n integer
---@return Error|false
function Connection:full(n)
  local entries, options = self.waiting, self.options
  if entries.last - entries.first + 1 + n > options.pendingLimit then
    return errors.coded("ENOBUFS", ("%d commands are not answered yet, the limit is %d (options.pendingLimit)")
      :format(entries.last - entries.first + 1, options.pendingLimit))
  end
  if self.unsent <= options.outputLimit then return false end
  self.unsent = self.socket.writableLength
  if self.unsent <= options.outputLimit then return false end
  return errors.coded("ENOBUFS", ("%d bytes wait for a server that does not read, the limit is %d (options.outputLimit)")
    :format(self.unsent, options.outputLimit))
end

-- `size`: bytes that wait, those of the entry among them.
local function sent(self, entry, size)
  self.waiting:push(entry)
  if size >= FLUSH_AT then return flush(self) end
  if self.scheduled then return end
  self.scheduled = true
  timers.setImmediate(flush, self)
end

--- Sends a command at the end of the turn. `entry`: `n`, `words`, `callback(err, reply)`; `map` where RESP2's reply is one; `confirms`
--- and `left` where so many pushes of that kind stand for the reply.
function Connection:send(entry) sent(self, entry, self.parser:put(entry.n, entry.words)) end

--- The same for a command of a word and an argument, a string or number, whose entry has no more than the callback.
---@param word string
---@param argument string|number
---@param callback fun(err: Error?, reply: any)
function Connection:sendTwo(word, argument, callback)
  sent(self, { callback = callback }, self.parser:putTwo(word, argument))
end

--- The commands that were sent and not answered; nobody will be told by this connection any more.
---@return table[] entries
function Connection:takeWaiting()
  local list = {}
  for _, entry in ipairs(self.waiting:takeAll()) do
    if not entry.greeting then list[#list + 1] = entry end
  end
  return list
end

-- Greeting ------------------------------------------------------------------------------------------------------------

local function ask(self, callback, ...)
  self:send{ n = select("#", ...), words = { ... }, callback = callback, greeting = true }
end

function Connection:ready()
  timers.clearTimeout(self.timer)
  self.timer = nil
  self.isReady = true
  self.handlers.ready()
end

-- Asks whether this is the master, where a sentinel has said so.
function Connection:checkRole()
  if not self.options.mustBeMaster then return self:ready() end
  ask(self, function(err, role)
    if err then return self:die(err) end
    if type(role) ~= "table" or role[1] ~= "master" then
      return self:die(errors.coded("READONLY", "The server that the sentinel named is no master"))
    end
    self:ready()
  end, "ROLE")
end

function Connection:selectDatabase()
  if self.options.db == 0 then return self:checkRole() end
  ask(self, function(err)
    if err then return self:refuse(err) end
    self:checkRole()
  end, "SELECT", self.options.db)
end

--- What the server refuses of the greeting, it will refuse again: `err` answers every command that waits.
function Connection:refuse(err)
  self.refused = err
  self:die(err)
end

function Connection:authenticate()
  local options = self.options
  if not options.password then return self:selectDatabase() end
  local function answered(err)
    if err then return self:refuse(err) end
    self:selectDatabase()
  end
  if options.username then return ask(self, answered, "AUTH", options.username, options.password) end
  ask(self, answered, "AUTH", options.password)
end

local UNKNOWN = { ERR = true, NOPROTO = true }

function Connection:greet()
  local options = self.options
  if options.plain then                -- a sentinel: as simple as can be
    self.resp = 2
    return self:authenticate()
  end
  local function answered(err)
    if not err then return self:selectDatabase() end
    if not UNKNOWN[err.code] then return self:refuse(err) end
    self.resp = 2
    self:authenticate()
  end
  if options.password then
    return ask(self, answered, "HELLO", 3, "AUTH", options.username or "default", options.password)
  end
  ask(self, answered, "HELLO", 3)
end

local function where(options)
  return options.path or ("%s:%d"):format(options.host, options.port)
end

local function makeSocket(options)
  local to = options.path and { path = options.path }
    or { host = options.host, port = options.port, noDelay = true, keepAlive = true }
  if not options.tls then return net.connect(to), "connect" end
  for name, value in pairs(type(options.tls) == "table" and options.tls or {}) do to[name] = value end
  return require("tls").connect(to), "secureConnect"
end

--- Connects, greets; `handlers.ready` comes when commands can be sent.
function Connection:open()
  local options = self.options
  self.timer = timers.setTimeout(function()
    self:die(errors.coded("ETIMEDOUT",
      ("connect ETIMEDOUT %s: no answer within %d ms"):format(where(options), options.connectTimeout),
      { syscall = "connect", address = options.host, port = options.port }))
  end, options.connectTimeout)
  local socket, event = makeSocket(options)
  self.socket = socket
  socket:once(event, function()
    if self.dead then return end
    if self.handlers.connect then self.handlers.connect() end
    self:greet()
  end)
  socket:on("data", function(data) if not self.dead then self:onData(data) end end)
  socket:on("error", function(err) self:die(err) end)
  socket:on("close", function()
    self:die(errors.coded("ECONNRESET", ("The connection to %s was closed by the server"):format(where(options))))
  end)
end

return Connection
