--- One HTTP connection, a server's or a client's, as Lua knows it. C (runtime/http/connection.c) reads, parses and writes;
--- it calls `role`, a table of functions that decide what requests, ends and faults mean: lrun.http.requests for servers,
--- lrun.http.replies for clients. Each of the two has a class of connections (`Connection.class`).
---
--- A connection is also a stream handle by its methods (lrun.net.handles), so that a net.Socket stands on it as on one of
--- luv's: what is written to the socket goes out between the messages, and destroying it closes the connection. `detach`
--- gives the handle below back, for an upgrade or another process.
local core = require("lrun.core.http")
local errors = require("errors")
local net = require("net")
local process = require("process")
local uv = require("luv")

local nextTick = process.nextTick
local HIGH_WATER = core.limits.highWater
local TRUNCATED = core.errors.truncated

---@class HttpConnection
---@field c userdata|false C's side
---@field role table what C's calls do; the class has it
---@field isClient boolean the class has it
---@field owner table the server, or the client's own; has `group`; `_makeSocket(connection, handle)` where it is no net.Socket
---@field handle userdata|integer the stream below; the descriptor of one that was just accepted, until somebody asks for a handle
---@field socket Socket|false made when somebody asks for it
---@field closed boolean|"detached"|"over" closed; given away by `detach`; closed, and its role was told
---@field incoming IncomingMessage|false whose body is being received
---@field response ServerResponse|false whose turn it is, of a server's connection; `turn` is its id
---@field later table<integer, ServerResponse>|false those behind it, by id
---@field request ClientRequest|false on its way, of a client's connection, as the next four
---@field interim boolean the head that came last was a 1xx
---@field last IncomingMessage|false the last response
---@field keepAlive boolean what it said
---@field receivedBefore integer bytes that had been received when the connection became idle
---@field waiting table|false who wants to hear that all is written
---@field limited ServerResponse|ClientRequest|false whose time limit holds now
---@field ownLimit integer|false ms, as the socket's `setTimeout` said
---@field unfinished table<ServerResponse, true>|false those that were finished, and are still being compressed (lrun.http.slices)
local Connection = {}

-- What most connections never have. A table has room for eight fields, then for sixteen: a ninth costs each connection the
-- way from one to the other.
for _, name in ipairs {
  "socket", "onSocketError", "whenClosed", "request", "interim", "last", "keepAlive", "waiting",
  "limited", "ownLimit", "unfinished",
} do Connection[name] = false end
Connection.receivedBefore = 0

local ofSocket = setmetatable({}, { __mode = "k" })

--- The error of a message whose connection ended before it did.
---@return Error
function Connection.lost() return errors.coded("ECONNRESET", "aborted") end
local lost = Connection.lost

-- A socket stands on the connection. An error that the program gives it, or that it had from below, is the role's.
local function stand(self, socket)
  self.socket = socket
  ofSocket[socket] = self
  self.onSocketError = function(err) self.role.onSocketError(self, err) end
  socket:on("error", self.onSocketError)
end

-- Its life ------------------------------------------------------------------------------------------------------------

--- Hangs a connection on a luv handle, or on a descriptor that it owns from here on; `start` begins to read.
---@param class table
---@param owner table
---@param handle userdata|integer
---@return HttpConnection? connection nil when the handle is closed
local function make(class, owner, handle)
  local self = {
    c = false, owner = false, handle = false, incoming = false, response = false, turn = 0, later = false, closed = false,
  }
  self.owner, self.handle = owner, handle
  local c = core.attach(owner.group.core, handle, self, class.isClient)
  if not c then return nil end
  self.c = c
  return setmetatable(self, class)
end

--- The same for a connected net.Socket, which stands on the connection from here on.
---@param class table
---@param owner table
---@param socket Socket
---@return HttpConnection?
---@return string received what the socket had received and nobody had read: for `start`
local function adopt(class, owner, socket)
  local handle, received = socket:_release()
  if not handle then return nil, received end
  local self = make(class, owner, handle)
  if not self then
    socket:_attach(handle)
    return nil, received
  end
  stand(self, socket)
  socket:_attach(self)
  return self, received
end

--- The class of the connections that play a role.
---@param role table
---@param isClient boolean
---@return table class has `make(class, owner, handle)` and `adopt(class, owner, socket)` besides
function Connection.class(role, isClient)
  local class = { role = role, isClient = isClient, make = make, adopt = adopt }
  for name, value in pairs(Connection) do class[name] = value end
  class.__index = class
  return class
end

--- The connection that a socket stands on.
---@param socket Socket
---@return HttpConnection?
function Connection.of(socket) return ofSocket[socket] end

-- The handle below; one that is closed where the connection was before anybody asked for it.
local closedHandle
local function handleOf(self)
  local handle = self.handle
  if type(handle) ~= "number" then return handle end
  handle = core.handle(self.c)
  if not handle then
    if not closedHandle then
      closedHandle = uv.new_tcp()
      closedHandle:close()
    end
    return closedHandle
  end
  self.handle = handle
  return handle
end

--- Begins to read.
---@param received string? bytes that came before
function Connection:start(received) core.start(self.c, received) end

--- The socket, made when it is first asked for.
---@return Socket
function Connection:getSocket()
  local socket = self.socket
  if socket then return socket end
  local ofOwner = self.owner._makeSocket
  socket = ofOwner and ofOwner(self.owner, self, handleOf(self)) or net.Socket:new { handle = self, manualStart = true, allowHalfOpen = true }
  stand(self, socket)
  self.role.onSocket(self, socket)
  if self.closed == "detached" then socket:_rememberAddresses(handleOf(self)) end -- another protocol has the stream, and its socket knows whose
  if self.closed then socket:destroy() end
  return socket
end

-- It is about to end: what was finished and not given to C yet comes before that.
local function settleAll(self)
  if self.unfinished then require("lrun.http.slices").complete(self) end
end

--- Closes it: what was finished is given to the kernel first.
function Connection:drop()
  settleAll(self)
  if not self.closed then core.close(self.c) end
end

-- Who waited for something to be written gets an answer: `sent` is the last exchange that was.
local function answer(self, sent, why)
  local waiting = self.waiting
  if not waiting then return end
  self.waiting = false
  for i = 1, #waiting, 3 do
    local id, f, about = waiting[i], waiting[i + 1], waiting[i + 2]
    f(about, (id == 0 or id > sent) and (why or lost()) or nil)
  end
end

--- Takes the connection from HTTP; its messages get no answer from here.
---@return userdata handle
---@return string rest the bytes behind the last head
function Connection:detach()
  settleAll(self)
  local handle = handleOf(self)
  local rest = core.release(self.c) or ""
  self.closed = "detached"
  answer(self, core.sent(self.c))
  self.role.onDetach(self)
  if self.socket then
    ofSocket[self.socket] = nil
    self.socket:off("error", self.onSocketError)
  end
  return handle, rest
end

-- What ended the connection, if it was a failure: of the system's, or of what lies between HTTP and the kernel.
local function failureOf(code, told)
  if told then return errors.coded(told.code, told.message, told) end
  return code < 0 and errors.system(code, "read") or nil
end

-- The handle is closed; C has set `closed` already.
local function onClosed(self, code, told)
  self.closed = "over"
  local truncated = code == TRUNCATED and errors.coded("ERR_FILE_TRUNCATED", "The file became shorter while it was sent") or nil
  local err = failureOf(truncated and 0 or code, told)     -- of a file, not of the connection
  answer(self, core.sent(self.c), truncated)
  local socket, whenClosed = self.socket, self.whenClosed
  if whenClosed then
    whenClosed()
  elseif socket then
    socket:destroy(err)
  end
  self.role.onClosed(self, err)
end

-- Written or lost -----------------------------------------------------------------------------------------------------

--- Calls `f(about, err)`, which must not throw, when the kernel has all of exchange `id` (0: all that waits now), at once
--- where it has; with an error when the connection ends before.
---@param id integer
---@param f fun(about: any, err: Error?)
---@param about any not nil
function Connection:whenSent(id, f, about)
  if id > 0 and core.sent(self.c) >= id then return f(about) end
  if self.closed then return f(about, lost()) end
  if id == 0 and core.pending(self.c, 0) == 0 then return f(about) end
  local waiting = self.waiting
  if waiting then
    local n = #waiting
    waiting[n + 1], waiting[n + 2], waiting[n + 3] = id, f, about
  else
    self.waiting = { id, f, about }
  end
  core.tell(self.c)
end

local function onSent(self, sent)
  local waiting = self.waiting
  if not waiting then return end
  self.waiting = false
  local left
  for i = 1, #waiting, 3 do
    local id, f, about = waiting[i], waiting[i + 1], waiting[i + 2]
    if id <= sent then
      f(about)
    else
      left = left or {}
      local n = #left
      left[n + 1], left[n + 2], left[n + 3] = id, f, about
    end
  end
  if not left then return end
  local newer = self.waiting
  for i = 1, newer and #newer or 0 do left[#left + 1] = newer[i] end
  self.waiting = left
  local now = core.sent(self.c)
  if now > sent then return onSent(self, now) end          -- who was called has written, and it is sent already
  core.tell(self.c)
end

-- A server's responses, in order --------------------------------------------------------------------------------------

--- A request came: its response waits for its turn.
---@param id integer
---@param response ServerResponse
function Connection:begin(id, response)
  if not self.response then
    self.response, self.turn = response, id
    return
  end
  local later = self.later
  if not later then
    later = {}
    self.later = later
  end
  later[id] = response
end

local function dropNow(self) self:drop() end

-- The next response gets its turn.
local function promote(self)
  local later, least = self.later, math.huge
  for id in pairs(later) do least = math.min(id, least) end
  local response = later[least]
  later[least] = nil
  if next(later) == nil then self.later = false end
  self.response, self.turn = response, least
  if response.destroyed then return self:giveUp(least) end
  response:_onTurn()
end

--- The response is complete.
---@param id integer
function Connection:settle(id)
  if self.turn == id then
    if self.later then promote(self) else self.response = false end
  elseif self.later then
    self.later[id] = nil
    if next(self.later) == nil then self.later = false end
  end
end

--- The response of an id that is not complete yet.
---@param id integer
---@return ServerResponse?
function Connection:find(id)
  if self.turn == id then return self.response or nil end
  return self.later and self.later[id] or nil
end

--- Gives a response up: the connection ends when those before it are written.
---@param id integer
function Connection:giveUp(id)
  local later = self.later
  if later and later[id] then return core.destroy(self.c, id) end      -- and `promote` sees to it
  if id == 1 then return self:drop() end
  self:whenSent(id - 1, dropNow, self)
end

--- All responses that are not complete; there are none any more.
---@return ServerResponse[]
function Connection:takeResponses()
  local list = { self.response or nil }
  for _, response in pairs(self.later or {}) do list[#list + 1] = response end
  self.response, self.later = false, false
  return list
end

--- The rest of a message's body interests nobody.
---@param message IncomingMessage
---@param id integer
function Connection:ignore(message, id)
  if self.incoming ~= message or self.closed then return end
  self.incoming = false
  core.dump(self.c, id)
end

-- Time limits ---------------------------------------------------------------------------------------------------------

local function setLimit(self, ms)
  core.setTimeout(self.c, ms)
  self.owner.group:limit(ms)
end

--- `ms` without traffic, until `endLimit` for the same message, are a timeout.
---@param message ServerResponse|ClientRequest
---@param ms number
function Connection:limit(message, ms)
  if self.closed then return end
  self.limited = message
  setLimit(self, ms)
end

--- The limit of a message ends with it.
---@param message ServerResponse|ClientRequest
function Connection:endLimit(message)
  if self.limited ~= message or self.closed then return end
  self.limited = false
  setLimit(self, self.ownLimit or self.owner.timeout or 0)
end

--- Throws for what is no time limit.
---@param ms any
---@return number
function Connection.checkLimit(ms)
  if type(ms) ~= "number" then error(errors.argType("msecs", "number", ms), 0) end
  if not (ms >= 0 and ms < math.huge) then error(errors.outOfRange("msecs", "a non-negative finite number", ms), 0) end
  return ms
end

-- As a stream handle --------------------------------------------------------------------------------------------------

-- The bytes that come are HTTP's.
function Connection.read_start() return true end
function Connection.read_stop() return true end

function Connection:try_write(data)
  if self.closed then return nil, "EPIPE: broken pipe", "EPIPE" end
  if core.pending(self.c, 0) + #data >= HIGH_WATER then return nil, "EAGAIN: resource temporarily unavailable", "EAGAIN" end
  core.rawWrite(self.c, data)
  return #data
end

local function written(callback, err) nextTick(callback, err and err.code) end

function Connection:write(data, callback)
  if self.closed then return nil, "EPIPE: broken pipe", "EPIPE" end
  core.rawWrite(self.c, data)
  if callback then self:whenSent(0, written, callback) end
  return true
end

function Connection:shutdown(callback)
  if self.closed then return nil, "ENOTCONN: socket is not connected", "ENOTCONN" end
  settleAll(self)
  core.finishAll(self.c)
  self:whenSent(0, written, function() callback() end)
  return true
end

function Connection:get_write_queue_size() return core.pending(self.c, 0) end

function Connection:close(callback)
  settleAll(self)
  self.whenClosed = callback or function() end
  core.close(self.c)
end

--- Closes with a TCP reset; nil where the stream below knows none.
function Connection:close_reset(callback)
  local handle = handleOf(self)
  if not handle.close_reset then return nil end
  self:detach()
  return handle:close_reset(callback)
end

function Connection:is_closing() return self.closed ~= false end
function Connection:ref() return handleOf(self):ref() end
function Connection:unref() return handleOf(self):unref() end
function Connection:get_type() return handleOf(self):get_type() end
function Connection:fileno() return handleOf(self):fileno() end
function Connection:getsockname() return handleOf(self):getsockname() end
function Connection:getpeername()
  local handle = handleOf(self)
  return handle.getpeername and handle:getpeername()
end
function Connection:nodelay(on)
  local handle = handleOf(self)
  return handle.nodelay and handle:nodelay(on)
end
function Connection:keepalive(on, seconds)
  local handle = handleOf(self)
  return handle.keepalive and handle:keepalive(on, seconds)
end

--- Beyond luv's methods: a handle that keeps the time without traffic by itself.
function Connection:set_timeout(ms)
  self.ownLimit = ms
  if not self.limited and not self.closed then setLimit(self, ms) end
end

--- Beyond luv's: bytes received and sent.
function Connection:traffic() return core.traffic(self.c) end

--- Beyond luv's: what was received and not parsed yet.
function Connection:rest() return core.rest(self.c) or "" end

-- C's calls -----------------------------------------------------------------------------------------------------------

core.setup {
  ondata = function(self, chunk)
    local incoming = self.incoming
    if incoming then return incoming:_receive(chunk) end
  end,
  onend = function(self, section, surplus) return self.role.onEnd(self, section, surplus) end,
  ondrain = function(self, id, sent)
    if id == 0 then return onSent(self, sent) end
    return self.role.onDrain(self, id)
  end,
  onfault = function(self, status, code, reason, bytes, parsed) return self.role.onFault(self, status, code, reason, bytes, parsed) end,
  ontimeout = function(self) return self.role.onTimeout(self) end,
  onclosed = onClosed,
}

--- Says who takes the heads: `onrequest(connection, id, head, bits)`, `onresponse(connection, status, head, bits)`.
---@param takers table<string, function>
function Connection.take(takers) core.setup(takers) end

return Connection
