--- What the servers of a cluster's worker listen on, and the lane that brings their connections. Owns the lane's end (it
--- lasts as long as the process) and `listening`: an entry for each server, those of the process's own handles too.
---   From the primary: a lane handle that stands for the primary's socket, or a copy of a socket that workers share.
---   Of this process (`exclusive`, `reusePort`, a descriptor): the primary is told that they are there, no more.
--- Servers see handles by their methods (lrun.net.handles) and tell of connections by hooks (lrun.net.listen).
local bound = require("lrun.net.listen")
local common = require("lrun.cluster.common")
local handoff = require("lrun.core.handoff")
local process = require("process")
local sockets = require("lrun.core.sockets")
local uv = require("luv")

local send = common.send

local servers = {}

local lane                  -- this end of the lane
local listening = {}        -- entry → true; an entry: { server, close = function, says that it listens no more }
local lanes = {}            -- the primary's number for a listener → what takes its connections: `onDescriptor(fd)`
local indexes = {}          -- what was asked for → { next, used }
local referenced = 0        -- lane handles that keep the process alive
local owns = 0              -- number of the last handle of this process's own

-- The lane ------------------------------------------------------------------------------------------------------------

local function onDescriptor(id, fd)
  local taker = lanes[id]
  if not taker then return lane:refuse() end
  return taker:onDescriptor(fd)
end

---@class LaneHandle stands in a server for the listening handle that the primary has
local LaneHandle = {}
LaneHandle.__index = LaneHandle

function LaneHandle:listen(_, callback)
  self.callback = callback
  return 0
end

-- The lane's connection, which `listen`'s callback was just called for.
function LaneHandle:accept(client)
  local fd = self.waiting
  if not fd then return nil, "EAGAIN", "EAGAIN" end
  self.waiting = nil
  local ok, message, code = client:open(fd)
  if ok then return ok end
  sockets.close(fd)
  lane:released()
  process.emitWarning("a connection could not be opened: " .. tostring(code))
  return nil, message, code
end

function LaneHandle:onDescriptor(fd)
  if not self.callback or self:isFull() then return lane:refuse() end
  if self.server:_onDescriptor(fd) then return end
  self.waiting = fd
  self.callback(nil)
  if self.waiting == fd then           -- the server was closed, and nobody asked for it
    self.waiting = nil
    lane:refuse()
  end
end

function LaneHandle:getsockname() return self.sockname end
function LaneHandle:get_type() return self.kind end
function LaneHandle:is_closing() return self.closed end

-- Whether its server has all the connections that it wants; the primary then gives it none, until it has room again.
function LaneHandle:isFull()
  local full = self.server:_isFull()
  if full and not self.full then send(process, { act = "room", key = self.key, room = false }) end
  self.full = self.full or full
  return full
end

function LaneHandle:released()
  lane:released()
  if not self.full or self.closed or self.server:_isFull() then return end
  self.full = false
  send(process, { act = "room", key = self.key, room = true })
end

function LaneHandle:ref()
  if self.referenced or self.closed then return end
  self.referenced = true
  referenced = referenced + 1
  lane:ref()
end

function LaneHandle:unref()
  if not self.referenced then return end
  self.referenced = false
  referenced = referenced - 1
  if referenced == 0 then lane:unref() end
end

function LaneHandle:close(callback)
  if not self.closed then
    self:unref()
    self.closed = true
  end
  if callback then process.nextTick(callback) end
end

-- What was asked for --------------------------------------------------------------------------------------------------

local function takeIndex(key)
  local set = indexes[key]
  if not set then
    set = { next = 0, used = 0 }
    indexes[key] = set
  end
  local index = set.next
  set.next, set.used = index + 1, set.used + 1
  return index
end

local function leaveIndex(key)
  local set = indexes[key]
  set.used = set.used - 1
  if set.used == 0 then indexes[key] = nil end
end

local function isUdp(request) return type(request.addressType) == "string" end

-- Puts a server among those that listen; the entry's `close` says, once, that it does no longer.
local function enter(server, onClose)
  local entry = { server = server }
  function entry.close()
    if not listening[entry] then return end
    listening[entry] = nil
    onClose()
  end
  listening[entry] = true
  return entry
end

local function enterShared(server, reply, indexKey)
  return enter(server, function()
    if reply.lane then lanes[reply.lane] = nil end
    leaveIndex(indexKey)
    send(process, { act = "close", key = reply.key })
  end)
end

-- Handles -------------------------------------------------------------------------------------------------------------

local function laneHandle(server, reply, indexKey)
  local handle = setmetatable({
    server = server, key = reply.key, kind = reply.kind, sockname = reply.sockname, closed = false,
  }, LaneHandle)
  local entry = enterShared(server, reply, indexKey)
  lanes[reply.lane] = handle
  handle:ref()
  local function released() handle:released() end
  return handle, { closed = released, refused = released, close = entry.close }, entry
end

-- A socket of the kernel's: what it brings is counted here, but for what the lane brings, which has counted it.
-- Those are connections that the primary accepts on behalf of a worker that is gone.
local function kernelHooks(server, entry, reply)
  local fromLane = false
  local hooks = { close = entry.close }
  function hooks.opened() if not fromLane then lane:opened() end end
  function hooks.closed() lane:released() end
  function hooks.refused() if fromLane then lane:released() end end
  if not reply or not reply.lane then return hooks end
  lanes[reply.lane] = { onDescriptor = function(_, fd)
    local client = reply.kind == "tcp" and uv.new_tcp() or uv.new_pipe(false)
    if not client:open(fd) then
      client:close()
      return lane:refuse()
    end
    fromLane = true
    server:_onconnection(client)
    fromLane = false
  end }
  return hooks
end

local ADDRESS_TYPES = { IPv4 = 4, IPv6 = 6 }

-- What the server is bound to, as the `listening` event of the primary tells it.
local function boundAddress(server, request)
  local address = server:address()
  if type(address) ~= "table" then return { address = request.address or address, port = -1, addressType = -1 } end
  local addressType = isUdp(request) and request.addressType or ADDRESS_TYPES[address.family]
  return { address = address.address, port = address.port, addressType = addressType }
end

local function announce(server, request, key, entry)
  server:once("listening", function()
    if not listening[entry] then return end          -- it was closed meanwhile
    servers.onListening()
    local fields = boundAddress(server, request)
    fields.act, fields.key = "listening", key
    send(process, fields)
  end)
end

-- A path that means the same everywhere.
local function absolute(path)
  if path:sub(1, 1) == "\0" then return path end
  return require("path").resolve(path)
end

local PASSED_ON = { "port", "addressType", "fd", "backlog", "ipv6Only", "reuseAddr", "readableAll", "writableAll" }

local cluster = {}          -- becomes lrun.net.listen's `cluster`

function cluster.provide(server, request, callback)
  local message = { act = "queryServer" }
  for _, name in ipairs(PASSED_ON) do message[name] = request[name] end
  local isPath = request.addressType == -1
  message.address = isPath and request.address and absolute(request.address) or request.address
  local indexKey = bound.keyOf(message)
  message.index = takeIndex(indexKey)
  send(process, message, nil, function(reply, handle)
    if reply.errno then
      leaveIndex(indexKey)
      return callback(bound.failure(reply.errno, request, isUdp(request) and "bind" or nil))
    end
    local hooks, entry
    if handle then
      entry = enterShared(server, reply, indexKey)
      hooks = isUdp(request) and { close = entry.close } or kernelHooks(server, entry, reply)
    else
      handle, hooks, entry = laneHandle(server, reply, indexKey)
    end
    announce(server, message, reply.key, entry)
    callback(nil, handle, hooks)
  end)
end

function cluster.watch(server, request)
  if not bound.isServer(request) then return nil end
  owns = owns + 1
  local number, key = owns, bound.keyOf(request)
  local entry = enter(server, function() send(process, { act = "ownClosed", number = number }) end)
  server:once("listening", function()
    if listening[entry] then send(process, { act = "ownListening", number = number, key = key }) end
  end)
  return isUdp(request) and { close = entry.close } or kernelHooks(server, entry)
end

-- For the worker's life -------------------------------------------------------------------------------------------------

--- Closes all servers of this process and calls `done` when their connections have ended. Gently: other workers go on.
---@param gently boolean
---@param done fun()
function servers.close(gently, done)
  local left = 1
  local function closed()
    left = left - 1
    if left == 0 then done() end
  end
  local entries = {}
  for entry in pairs(listening) do entries[#entries + 1] = entry end
  for _, entry in ipairs(entries) do
    left = left + 1
    local server = entry.server
    if gently and server._drain then
      entry.close()
      server:_drain(closed)
    else
      server:close(closed)
    end
  end
  closed()
end

--- Opens the lane that the primary left in the environment; from then on `listen` goes through the primary.
---@param onListening fun() called when a server of the primary's listens
function servers.start(onListening)
  servers.onListening = onListening
  local fd = tonumber(process.env.LRUN_LANE_FD)
  process.env.LRUN_LANE_FD = nil
  if fd then
    local err
    lane, err = handoff.worker(fd, onDescriptor)
    if not lane then error(err, 0) end
  end
  bound.cluster = cluster
end

return servers
