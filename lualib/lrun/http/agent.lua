--- Agents own the client's connections: they open them, keep idle ones for the next request to the same place, and let
--- requests wait when there are enough. Source: Node 20.
---
--- `sockets`, `freeSockets`, `requests` map a name ("host:port:…") to lists: connections in use, idle ones, requests that wait.
local errors = require("errors")
local events = require("events")
local net = require("net")
local process = require("process")
local replies = require("lrun.http.replies")
local validate = require("lrun.check.validate")

local nextTick = process.nextTick

local places = setmetatable({}, { __mode = "k" })     -- socket → the place that it goes to, while it is an agent's

--- Event free(socket: Socket): a connection is idle
---@class Agent: EventEmitter
---@field keepAlive boolean
---@field keepAliveMsecs integer ms until TCP keep-alive probes of idle connections
---@field maxSockets number connections to one place
---@field maxTotalSockets number connections in all
---@field maxFreeSockets integer idle connections to one place
---@field scheduling "lifo"|"fifo" which idle connection is taken
local Agent = events.EventEmitter:extend("Agent")
Agent.defaultPort = 80
Agent.protocol = "http:"

---@param options table? `keepAlive` (false), `keepAliveMsecs` (1000), `maxSockets`, `maxTotalSockets` (no limit),
--- `maxFreeSockets` (256), `scheduling` ("lifo"), `timeout` (ms without traffic: requests emit it, idle connections are closed)
function Agent:initialize(options)
  validate.optional(validate.table, options, "options")
  options = options or {}
  validate.optional(validate.number, options.maxSockets, "maxSockets", 1)
  validate.optional(validate.number, options.maxTotalSockets, "maxTotalSockets", 1)
  validate.optional(validate.number, options.maxFreeSockets, "maxFreeSockets", 0)
  validate.optional(validate.number, options.timeout, "timeout", 0)
  validate.optional(validate.boolean, options.keepAlive, "keepAlive")
  validate.optional(validate.number, options.keepAliveMsecs, "keepAliveMsecs", 0)
  if options.scheduling ~= nil then validate.oneOf(options.scheduling, "scheduling", { "fifo", "lifo" }) end
  self.options = {}
  for name, value in pairs(options) do self.options[name] = value end
  self.keepAlive = options.keepAlive or false
  self.keepAliveMsecs = options.keepAliveMsecs or 1000
  self.maxSockets = options.maxSockets or math.huge
  self.maxTotalSockets = options.maxTotalSockets or math.huge
  self.maxFreeSockets = options.maxFreeSockets or 256
  self.scheduling = options.scheduling or "lifo"
  self.requests, self.sockets, self.freeSockets, self._opening = {}, {}, {}, {}
  self.totalSocketCount = 0
end

--- The place that a request goes to, as a key.
---@param options table
---@return string
function Agent:getName(options)
  options = validate.optional(validate.table, options, "options") or {}
  local name = ("%s:%s:%s"):format(tostring(options.host or "localhost"), tostring(options.port or ""),
    tostring(options.localAddress or ""))
  if options.family == 4 or options.family == 6 then name = name .. ":" .. options.family end
  if options.socketPath then name = name .. ":" .. tostring(options.socketPath) end
  return name
end

local function checkSocket(socket)
  if type(socket) ~= "table" or not socket._release then error(errors.argType("socket", "an instance of Socket", socket), 0) end
end

--- Opens a connection; may be replaced. Returns a socket that connects, or calls back with an error or with a socket.
---@param options table
---@param callback fun(err: any?, socket: Socket?)? what a replacement may call
---@return Socket?
function Agent:createConnection(options)
  validate.table(options, "options")
  if options.socketPath then return net.connect { path = options.socketPath } end
  return net.connect {
    host = options.host, port = options.port, localAddress = options.localAddress, localPort = options.localPort,
    family = options.family, lookup = options.lookup, autoSelectFamily = options.autoSelectFamily, noDelay = true,
  }
end

--- Whether an idle connection is kept; may be replaced.
---@param socket Socket
---@return boolean
function Agent:keepSocketAlive(socket)
  checkSocket(socket)
  socket:setKeepAlive(true, self.keepAliveMsecs)
  socket:unref()
  return true
end

--- An idle connection gets a request.
---@param socket Socket
---@param request ClientRequest
function Agent:reuseSocket(socket, request)
  checkSocket(socket)
  validate.table(request, "request")
  request.reusedSocket = true
  socket:ref()
end

local function push(map, name, value)
  local list = map[name]
  if not list then
    list = {}
    map[name] = list
  end
  list[#list + 1] = value
end

local function take(map, name, value)
  local list = map[name]
  if not list then return false end
  for i, each in ipairs(list) do
    if each == value then
      table.remove(list, i)
      if #list == 0 then map[name] = nil end
      return true
    end
  end
  return false
end

local function count(map, name) return map[name] and #map[name] or 0 end

local function takeFree(self, name)
  local list = self.freeSockets[name]
  while list and #list > 0 do
    local socket = table.remove(list, self.scheduling == "lifo" and #list or 1)
    if #list == 0 then self.freeSockets[name] = nil end
    if not socket.destroyed and replies.isClean(socket) then return socket end
    socket:destroy()
  end
end

local serveWaiting

-- Connections to a place, those that are being made included.
local function used(self, name) return count(self.sockets, name) + (self._opening[name] or 0) end

local function hasRoom(self, name)
  return used(self, name) < self.maxSockets and self.totalSocketCount < self.maxTotalSockets
end

-- `createConnection` returns a socket, or calls back with an error or a socket.
local function open(self, request, name)
  local options = request:_getOptions()
  local answered = false
  local function created(err, socket)
    if answered then return end
    answered = true
    local opening = self._opening[name] - 1
    self._opening[name] = opening > 0 and opening or nil
    if err == nil and (type(socket) ~= "table" or not socket._release) then
      err = errors.argType("socket", "an instance of Socket", socket)
    end
    if err ~= nil then
      self.totalSocketCount = self.totalSocketCount - 1
      nextTick(function() request:destroy(err) end)
      return serveWaiting(self, name)
    end
    places[socket] = name
    push(self.sockets, name, socket)
    socket:once("close", function() self:_removeSocket(socket) end)
    request:_onSocket(socket)
  end
  self.totalSocketCount = self.totalSocketCount + 1
  self._opening[name] = (self._opening[name] or 0) + 1
  local ok, socket
  if options.createConnection then ok, socket = pcall(options.createConnection, options, created)
  else ok, socket = pcall(self.createConnection, self, options, created) end
  if not ok then created(socket) elseif socket ~= nil then created(nil, socket) end
end

--- Internal: finds or opens a connection for the request, or lets it wait.
---@param request ClientRequest
function Agent:addRequest(request)
  if type(request) ~= "table" or not request._getOptions then
    error(errors.argType("request", "an instance of ClientRequest", request), 0)
  end
  local name = self:getName(request:_getOptions())
  local socket = takeFree(self, name)
  if socket then
    push(self.sockets, name, socket)
    self:reuseSocket(socket, request)
    return request:_onSocket(socket)
  end
  if hasRoom(self, name) then return open(self, request, name) end
  push(self.requests, name, request)
  if used(self, name) < self.maxSockets then
    local _, idle = next(self.freeSockets) -- takes a place among maxTotalSockets
    if idle then idle[1]:destroy() end
  end
end

-- A place became free: the request that has waited longest, first of all one to the same place.
function serveWaiting(self, name)
  if not self.requests[name] or not hasRoom(self, name) then
    name = nil
    for each in pairs(self.requests) do
      if hasRoom(self, each) then name = each break end
    end
    if not name then return end
  end
  local request = self.requests[name][1]
  take(self.requests, name, request)
  open(self, request, name)
end

--- Internal: the connection has done its request and may be used again.
---@param socket Socket
function Agent:_free(socket)
  local name = places[socket]
  local list = self.requests[name]
  local waiting = list and list[1]
  if waiting then
    take(self.requests, name, waiting)
    self:reuseSocket(socket, waiting)
    return waiting:_onSocket(socket)
  end
  take(self.sockets, name, socket)
  local room = count(self.freeSockets, name) < self.maxFreeSockets
    and count(self.freeSockets, name) + count(self.sockets, name) < self.maxSockets
    and (self.totalSocketCount < self.maxTotalSockets or next(self.requests) == nil)
  if not self.keepAlive or not room or not self:keepSocketAlive(socket) then
    push(self.sockets, name, socket)
    return socket:destroy()
  end
  push(self.freeSockets, name, socket)
  self:emit("free", socket)
end

--- Internal: the connection is gone.
---@param socket Socket
function Agent:_removeSocket(socket)
  local name = places[socket]
  if not name then return end
  places[socket] = nil
  take(self.sockets, name, socket)
  take(self.freeSockets, name, socket)
  self.totalSocketCount = self.totalSocketCount - 1
  serveWaiting(self, name)
end

--- Internal: the request does not want a connection any more.
---@param request ClientRequest
function Agent:_forget(request) take(self.requests, self:getName(request:_getOptions()), request) end

--- Closes all connections.
function Agent:destroy()
  for _, map in ipairs { self.freeSockets, self.sockets } do
    local all = {}
    for _, list in pairs(map) do
      for _, socket in ipairs(list) do all[#all + 1] = socket end
    end
    for _, socket in ipairs(all) do socket:destroy() end
  end
end

require("lrun.check.calls").methods(Agent, "agent")

-- Throws for what cannot be an agent.
local function checkAgent(agent)
  if type(agent) ~= "table" or type(agent.addRequest) ~= "function" then
    error(errors.argType("options.agent", "an instance of Agent, or false", agent), 0)
  end
  return agent
end

return { Agent = Agent, checkAgent = checkAgent }
