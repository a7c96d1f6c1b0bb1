--- A handle for datagrams over a unix socket, with the methods that luv's UDP handles have; where those take a host and a
--- port it takes a path. Owns the descriptor, and a poll handle for what comes in; `close` is the one way out.
--- Out: one system call each; while the receiver has no room, datagrams wait in `queue`, and a timer tries again.
local uv = require("luv")
local process = require("process")
local sockets = require("lrun.core.sockets")
local unix = require("lrun.core.unix")

local RETRY = 5                     -- ms between looks whether a receiver has room
local QUEUE_MAX = 1024 * 1024       -- bytes that may wait
local TURN = 64                     -- datagrams taken before others get their turn

---@class Datagram
local Datagram = {}
Datagram.__index = Datagram

local datagram = {}

-- Without a name nobody can send to it: it keeps the loop alive for what it is to send alone.
local function make(fd, named)
  local poll = uv.new_poll(fd)
  if not named then poll:unref() end
  return setmetatable({
    fd = fd, poll = poll, named = named, queue = {}, first = 1, queued = 0, closing = false, refed = true,
  }, Datagram)
end

--- A handle without a name.
---@return Datagram? handle
---@return string? code
function datagram.new()
  local fd, code = unix.socket("dgram")
  if not fd then return nil, code end
  return make(fd, false)
end

--- A handle that is bound to a path (a name that begins with NUL is abstract), and hears who sends.
---@param path string
---@return Datagram? handle
---@return string? code
function datagram.bind(path)
  local fd, code = unix.bind(path, "dgram")
  if not fd then return nil, code end
  unix.passCredentials(fd)
  return make(fd, true)
end

local function deliver(self, callback)
  for _ = 1, TURN do
    if self.closing or not self.reading then return end
    local data, path, pid, uid, gid = unix.receive(self.fd)
    if data then
      callback(nil, data, { path = path, pid = pid, uid = uid, gid = gid })
    elseif path == "EAGAIN" then
      return
    elseif path ~= "EINTR" and path ~= "ECONNREFUSED" then      -- the latter: a peer of ours is gone
      return callback(path)
    end
  end
end

---@param callback fun(err: string?, data: string?, from: { path: string, pid: integer?, uid: integer?, gid: integer? }?)
function Datagram:recv_start(callback)
  self.reading = true
  return self.poll:start("r", function(err)
    if err then return callback(err) end
    deliver(self, callback)
  end)
end

function Datagram:recv_stop()
  self.reading = false
  return self.poll:stop()
end

--- Gives it a peer; `nil` takes it away.
function Datagram:connect(path)
  local ok, code = unix.connectTo(path, self.fd)
  if ok then return 0 end
  return nil, code, code
end

--- Sends now, or not at all (EAGAIN).
---@param data string
---@param path string? the peer's where there is one
function Datagram:try_send(data, path)
  if self.first <= #self.queue then return nil, "EAGAIN", "EAGAIN" end      -- in order
  local ok, code = unix.send(path, self.fd, data)
  if ok then return #data end
  return nil, code, code
end

local flush

local function tryLater(self)
  if self.timer then return end
  self.timer = uv.new_timer()
  if not self.refed then self.timer:unref() end
  self.timer:start(RETRY, RETRY, function() flush(self) end)
end

local function stopTrying(self)
  if self.timer then self.timer:close() end
  self.timer = nil
end

function flush(self)
  while self.first <= #self.queue do
    local each = self.queue[self.first]
    local ok, code = unix.send(each.path, self.fd, each.data)
    if code == "EAGAIN" or code == "ENOBUFS" or code == "ENOMEM" then return tryLater(self) end
    self.queue[self.first] = false
    self.first, self.queued = self.first + 1, self.queued - #each.data
    each.callback(not ok and code or nil)
    if self.closing then return end
  end
  self.queue, self.first = {}, 1
  stopTrying(self)
end

--- Sends when the receiver has room. The callback gets a code, or nil.
---@param data string
---@param path string?
---@param callback fun(err: string?)
function Datagram:send(data, path, callback)
  if self.queued + #data > QUEUE_MAX then return nil, "ENOBUFS", "ENOBUFS" end
  self.queue[#self.queue + 1] = { data = data, path = path, callback = callback }
  self.queued = self.queued + #data
  tryLater(self)
  return 0
end

function Datagram:get_send_queue_size() return self.queued end
function Datagram:get_send_queue_count() return #self.queue - self.first + 1 end
function Datagram:fileno() return self.fd end
function Datagram:get_type() return "unix_dgram" end
function Datagram:is_closing() return self.closing end
function Datagram:is_active() return not self.closing end

local function bufferSize(which)
  return function(self, size)
    local bytes, code = unix.bufferSize(self.fd, which, size)
    if bytes then return bytes end
    return nil, code, code
  end
end
Datagram.recv_buffer_size = bufferSize("recv")
Datagram.send_buffer_size = bufferSize("send")

function Datagram:ref()
  self.refed = true
  if self.named then self.poll:ref() end
  if self.timer then self.timer:ref() end
end

function Datagram:unref()
  self.refed = false
  self.poll:unref()
  if self.timer then self.timer:unref() end
end

function Datagram:close(callback)
  if self.closing then return end
  self.closing = true
  stopTrying(self)
  for i = self.first, #self.queue do process.nextTick(self.queue[i].callback, "ECANCELED") end
  self.queue, self.first, self.queued = {}, 1, 0
  self.poll:close(callback)
  sockets.close(self.fd)              -- nothing polls it any more
end

return datagram
