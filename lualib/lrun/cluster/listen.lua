--- The listening sockets of a cluster's primary, one object a key (what a worker asked for: address, port, type, and
--- the number of such requests that the worker made before).
---   Lanes: the primary accepts, a policy names a worker for each connection, its lane takes it there.
---   Shared: one socket that every worker gets a copy of (SCHED_NONE, UDP).
---   Several: a socket with SO_REUSEPORT for each worker; one that has lost its worker is accepted from here, and its
---   connections take the lanes, until a new worker takes it over.
--- A listener owns its bound luv handles and acceptors; `close` is their one way out. It does not own workers.
local uv = require("luv")
local bound = require("lrun.net.listen")
local schedule = require("lrun.cluster.schedule")
local sockets = require("lrun.core.sockets")

local BACKLOG = 511

local listen = {}

---@class Place what a listener knows of one worker
---@field worker Worker
---@field lane userdata
---@field slot integer
---@field own table<integer, string> servers on the worker's own sockets: number → what they asked for
---@field replaces Worker? the one that it is to take over from
---@field given integer how many connections it was named for; one that comes later starts level with the others
---@field env table? what it was forked with
---@field startedAt number ns
---@field messages integer that came from it

-- Binding ---------------------------------------------------------------------------------------------------------

local function closeHandle(handle)
  if handle and not handle:is_closing() then bound.close(handle) end
end

-- The path as the kernel can take it: relative when that is shorter, else by way of its directory's descriptor.
local function shortPath(path)
  if #path <= bound.MAX_PATH then return path end
  local here = uv.cwd() .. "/"
  if path:sub(1, #here) == here and #path - #here <= bound.MAX_PATH then return path:sub(#here + 1) end
  local directory, name = path:match("^(.*)/([^/]+)$")
  if not directory then return path end
  local fd, _, code = uv.fs_open(directory ~= "" and directory or "/", "r", 0)
  if not fd then return nil, nil, code end
  return ("/proc/self/fd/%d/%s"):format(fd, name), fd
end

local function bindPath(request)
  local path, directory, code = shortPath(request.address)
  if not path then return nil, code end
  local handle, err = bound.bind(setmetatable({ address = path }, { __index = request }))
  if handle then return handle, nil, directory end
  if directory then uv.fs_close(directory) end
  return nil, err.code
end

-- A descriptor of the primary; it keeps its own.
local function openDescriptor(request)
  local fd, code = sockets.duplicate(request.fd)
  if not fd then return nil, code end
  local handle, err = bound.bind(setmetatable({ fd = fd }, { __index = request }))
  if handle then return handle end
  sockets.close(fd)
  return nil, err.code
end

local ADDRESS_TYPES = { [4] = true, [6] = true, [-1] = true, udp4 = true, udp6 = true }

local function isInteger(value, min, max)
  return type(value) == "number" and value >= min and value <= max and value % 1 == 0
end

--- Whether a worker's message can be a request: a worker may send anything.
---@param message table
---@return boolean
function listen.isRequest(message)
  local address, addressType, fd = message.address, message.addressType, message.fd
  if address ~= nil and type(address) ~= "string" then return false end
  if message.port ~= nil and not isInteger(message.port, -1, 65535) then return false end
  if message.backlog ~= nil and not isInteger(message.backlog, -0x80000000, 0x7fffffff) then return false end
  if fd ~= nil then return isInteger(fd, 0, 0x7fffffff) end
  return ADDRESS_TYPES[addressType] == true and (addressType ~= -1 or address ~= nil)
end

--- nil, or who holds bound sockets beyond the life of their listeners: `take(request)` → handle?, `bound(request, handle)`,
--- `closed(request)` when a worker closed the last server on it by itself.
listen.store = nil

local function bindAnew(request)
  if request.fd then return openDescriptor(request) end
  if request.addressType == -1 then return bindPath(request) end
  local handle, err = bound.bind(request)
  if not handle then return nil, err.code end
  -- libuv keeps a port that is in use back until somebody asks for the socket's name, or listens.
  local ok, _, code = handle:getsockname()
  if ok then return handle end
  closeHandle(handle)
  return nil, code
end

--- Binds what a worker asked for.
---@param request table as lrun.listen has it
---@return uv_handle_t? handle
---@return string? code when it could not be bound
---@return integer? directory a descriptor that must stay open as long as the handle
function listen.bind(request)
  local store = listen.store
  local kept = store and store:take(request)
  if kept then return kept end
  local asked = store and setmetatable({}, { __index = request })
  local handle, code, directory = bindAnew(asked or request)
  if handle and store then store:bound(request, handle) end
  return handle, code, directory
end

-- What all kinds do ---------------------------------------------------------------------------------------------------

local function isUdp(request)
  return request.addressType == "udp4" or request.addressType == "udp6"
end

-- nil: a unix socket.
local function portOf(handle)
  local name = handle:getsockname()
  return type(name) == "table" and name.port or nil
end

local function kindOf(handle)
  return handle:get_type()
end

local Listener = {}
Listener.__index = Listener

local function class()
  local made = setmetatable({}, { __index = Listener })
  made.__index = made
  return made
end

-- Puts a worker that listens among the candidates, in fork order.
local function insertPlace(places, place)
  local at = #places + 1
  while at > 1 and places[at - 1].worker.id > place.worker.id do at = at - 1 end
  table.insert(places, at, place)
end

local function removePlace(places, worker)
  for i, place in ipairs(places) do
    if place.worker == worker then
      table.remove(places, i)
      return place
    end
  end
end

local function loadOf(place) return place.lane:load() end

local function customInfo(hub, places)
  local remoteAddress, remotePort, _, localPort = hub:peer()
  local connections, workers = {}, {}
  for i, place in ipairs(places) do
    local _, open = place.lane:load()
    connections[place.worker.id] = open or 0
    workers[i] = place.worker
  end
  return workers, { remoteAddress = remoteAddress, remotePort = remotePort, localPort = localPort, connections = connections }
end

-- The place that gets the first waiting connection.
function Listener:choose()
  local places, policy, index = self.places, self.policy, nil
  if #places == 1 and type(policy) ~= "function" then return places[1] end
  if type(policy) == "function" then
    local problem
    index, problem = schedule.custom(policy, customInfo(self.hub, places))
    if index then return places[index] end
    self.warn(problem)
  elseif policy == schedule.SCHED_LEAST then
    index = schedule.leastConnections(places, self.turn, loadOf)
  elseif policy == schedule.SCHED_STICKY then
    local address = self.hub:peer()
    if address then return places[schedule.sticky(places, address, loadOf) or 1] end
  end
  index = index or schedule.roundRobin(places, self.turn, loadOf)
  if not index then return nil end
  self.turn = index % #places + 1
  return places[index]
end

--- Gives the first waiting connection to a worker.
function Listener:assign()
  while #self.places > 0 do
    local place = self:choose() or self.places[1]
    -- The policy is the program's own: it may have ended workers, or this listener.
    if self.closed then break end
    if self.hub:assign(place.lane) then
      place.given = place.given + 1
      return
    end
    removePlace(self.places, place.worker)
  end
  if self.closed or next(self.users) == nil and not self.kept then self.hub:drop() else self.hub:park() end
end

function Listener:acceptFrom(handle)
  local acceptor, err = self.hub:acceptor(handle:fileno(), self.id, self.request.backlog or BACKLOG)
  if not acceptor then return nil, err.code end
  return acceptor
end

-- Makes the worker a candidate that starts level with the others.
local function addPlace(self, place)
  local fewest = math.huge
  for _, other in ipairs(self.places) do fewest = math.min(fewest, other.given) end
  if fewest < math.huge then place.given = math.max(place.given, fewest) end
  insertPlace(self.places, place)
  self:placesChanged()
end

--- The worker's server listens: it can get connections.
---@param place Place
function Listener:listening(place)
  if not self.users[place.worker] or self.closed then return end
  removePlace(self.places, place.worker)
  self.full[place.worker] = nil
  addPlace(self, place)
end

--- The worker's server has, or has no more, as many connections as it wants.
---@param place Place
---@param room boolean
function Listener:roomChanged(place, room)
  local worker = place.worker
  if room and self.full[worker] then
    self.full[worker] = nil
    addPlace(self, place)
  elseif not room and removePlace(self.places, worker) then
    self.full[worker] = true
    self:placesChanged()
  end
end

--- How many workers listen.
---@return integer
function Listener:serving()
  local count = #self.places
  for _ in pairs(self.full) do count = count + 1 end
  return count
end

--- Whether the worker's server listens.
---@return boolean
function Listener:serves(worker)
  for _, place in ipairs(self.places) do if place.worker == worker then return true end end
  return self.full[worker] == true
end

--- The worker is gone, or has closed its server.
---@return boolean empty nobody is left
function Listener:remove(worker)
  removePlace(self.places, worker)
  self.full[worker] = nil
  self.users[worker] = nil
  self:left(worker)
  self:placesChanged()
  return next(self.users) == nil
end

--- Whether this is a port that a worker which has it may not have again, though the kernel would let it.
---@return boolean
function Listener:has() return false end

function Listener:left() end
function Listener:placesChanged() end

-- The code when it failed.
function Listener:bindHandles()
  local handle, code
  if self.given then
    for i, each in ipairs(self.given) do self.handles[i] = each end
    return nil
  end
  handle, code, self.directory = listen.bind(self.request)
  self.handles[1] = handle
  return code
end

---@return integer? port nil: a unix socket
function Listener:boundPort() return self.handles[1] and portOf(self.handles[1]) end

--- The primary accepts nothing any more; what it has accepted still goes to workers.
function Listener:stop()
  self.stopped = true
  self:placesChanged()
end

--- Takes the connections that clients wait on, before it is closed.
function Listener:sweep() end

function Listener:closeAll() end

function Listener:close()
  if self.closed then return end
  self.closed = true
  self:closeAll()
  for _, handle in ipairs(self.handles) do closeHandle(handle) end
  if self.directory then uv.fs_close(self.directory) end
end

-- Lanes ---------------------------------------------------------------------------------------------------------------

local Lanes = class()

function Lanes:open()
  self.acceptors = {}
  local code = self:bindHandles()
  for _, handle in ipairs(self.handles) do
    if code then break end
    local acceptor
    acceptor, code = self:acceptFrom(handle)
    self.acceptors[#self.acceptors + 1] = acceptor
  end
  return code
end

function Lanes:add(place, reply)
  self.users[place.worker] = true
  local name = self.handles[1]:getsockname()
  if type(name) ~= "table" then name = nil end
  reply({ lane = self.id, kind = kindOf(self.handles[1]), sockname = name })
end

function Lanes:placesChanged()
  for _, acceptor in ipairs(self.acceptors) do
    if #self.places > 0 and not self.stopped then acceptor:resume() else acceptor:pause() end
  end
end

function Lanes:sweep()
  for _, acceptor in ipairs(self.acceptors) do acceptor:sweep() end
end

function Lanes:closeAll()
  for _, acceptor in ipairs(self.acceptors) do acceptor:close() end
end

-- Shared --------------------------------------------------------------------------------------------------------------

local Shared = class()

-- A worker may name any number, and gets a copy: nothing but what listens, or is bound to receive datagrams, is given out.
function Shared:open()
  if not self.given and self.request.fd and not sockets.serves(self.request.fd) then return "EINVAL" end
  return self:bindHandles()
end

function Shared:add(place, reply)
  self.users[place.worker] = true
  reply({ kind = kindOf(self.handles[1]) }, self.handles[1])
end

-- Several -------------------------------------------------------------------------------------------------------------

local Several = class()

---@class PortSocket one of the sockets of a port
---@field handle uv_tcp_t
---@field owners table<Worker, boolean>
---@field acceptor userdata? while it has no owner

function Several:addSocket(handle)
  self.port = self.port or portOf(handle)     -- the first one of port 0 decides for all
  local socket = { handle = handle, owners = {} }
  self.sockets[#self.sockets + 1] = socket
  self.handles[#self.sockets] = handle
  return socket
end

function Several:newSocket()
  local request = setmetatable({ reusePort = true, port = self.port }, { __index = self.request })
  local handle, code = listen.bind(request)
  if not handle then return nil, code end
  return self:addSocket(handle)
end

function Several:open()
  self.sockets = {}
  self.address = self.request.address     -- as it was asked for; binding fills in what it chose
  if self.request.port ~= 0 then self.port = self.request.port end
  local given = self.given or {}
  for _, handle in ipairs(given) do self:addSocket(handle) end
  if #given > 0 then return nil end
  local _, code = self:newSocket()
  return code
end

function Several:has(address, port)
  return port ~= nil and port ~= 0 and port == self.port and address == self.address
end

-- The socket of the worker that this one replaces, else one without a worker, else a new one.
function Several:socketFor(place)
  for _, socket in ipairs(self.sockets) do
    if place.replaces and socket.owners[place.replaces] then return socket end
  end
  for _, socket in ipairs(self.sockets) do
    if next(socket.owners) == nil then return socket end
  end
  return self:newSocket()
end

function Several:add(place, reply)
  local socket, code = self:socketFor(place)
  if not socket then return reply({ errno = code }) end
  self.users[place.worker] = true
  socket.owners[place.worker] = true
  reply({ kind = kindOf(socket.handle), lane = self.id }, socket.handle)
end

function Several:listening(place)
  for _, socket in ipairs(self.sockets) do
    if socket.owners[place.worker] and socket.acceptor then
      socket.acceptor:close()          -- from here on the worker accepts
      socket.acceptor = nil
    end
  end
  self:acceptForNobody()
  Listener.listening(self, place)
end

-- Sockets without a worker are accepted from here.
function Several:acceptForNobody()
  for _, socket in ipairs(self.sockets) do
    if next(socket.owners) == nil and not socket.acceptor then socket.acceptor = self:acceptFrom(socket.handle) end
  end
end

function Several:left(worker)
  for _, socket in ipairs(self.sockets) do socket.owners[worker] = nil end
  self:acceptForNobody()
end

function Several:placesChanged()
  for _, socket in ipairs(self.sockets) do
    local acceptor = socket.acceptor
    if acceptor and #self.places > 0 and not self.stopped then acceptor:resume() elseif acceptor then acceptor:pause() end
  end
end

function Several:sweep()
  for _, socket in ipairs(self.sockets) do
    if socket.acceptor then socket.acceptor:sweep() end
  end
end

function Several:closeAll()
  for _, socket in ipairs(self.sockets) do
    if socket.acceptor then socket.acceptor:close() end
  end
end

-- ---------------------------------------------------------------------------------------------------------------------

-- Sockets that were bound without SO_REUSEPORT stay alone; several of one port need somebody who accepts from each.
local function classFor(policy, request, given)
  if isUdp(request) then return Shared end
  if schedule.accepts(policy) then return Lanes end
  if given then return given.several and Several or Shared end
  local tcp = not request.fd and request.addressType ~= -1
  if policy == schedule.SCHED_REUSEPORT and tcp then return Several end
  return Shared
end

--- Binds, and for the lanes listens.
---@param options { id: integer, key: string, hub: userdata, policy: integer|function, request: table, given: table?, warn: function }
--- given: handles that are bound already, `several` when the kernel spreads over them
---@return table? listener
---@return string? code
function listen.open(options)
  local listener = setmetatable({
    id = options.id, key = options.key, hub = options.hub, policy = options.policy, request = options.request, warn = options.warn,
    places = {},     -- workers that listen, in fork order
    full = {},       -- workers that listen and want no more connections for now
    users = {},      -- workers that asked for it and have not closed it
    kept = nil,      -- the timer while it is open for workers to come
    turn = 1,
    given = options.given,
    handles = {},
  }, classFor(options.policy, options.request, options.given))
  local code = listener:open()
  if not code then return listener end
  listener:close()
  return nil, code
end

return listen
