--- A client of a Redis cluster: a client for each node, and the node of each slot, as CLUSTER SLOTS tells it. A command goes to the
--- node of its first key's slot. A node that says MOVED is believed, and the whole map is asked for again; ASK leads to another
--- node for once.
local clients = require("lrun.redis.client")
local commands = require("lrun.redis.commands")
local errors = require("errors")
local options = require("lrun.redis.options")
local timers = require("timers")

local MAX_DETOURS = 16
local TRY_AGAIN = 100                -- ms, while slots move

local Client = clients.Client

---@class RedisCluster: RedisClient
local Cluster = Client:extend("RedisCluster")

---@param read table of lrun.redis.options
function Cluster:initialize(read)
  self._nodes, self._slots = {}, {}  -- clients by "host:port"; "host:port" by slot
  Client.initialize(self, read)
  self._isPlain = false              -- each command has a node to be found
end

-- Nodes ---------------------------------------------------------------------------------------------------------------

local function placeOf(host, port) return ("%s:%d"):format(host, port) end

function Cluster:_node(place)
  local node = self._nodes[place]
  if node then return node end
  local host, port = place:match("^(.*):(%d+)$")
  local read = options.at(self._options, host, tonumber(port))
  read.lazy = true
  node = Client:new(read)
  node:on("error", function(err)
    self:_report(err)
    self:_refreshSoon()
  end)
  node:on("end", function() self._nodes[place] = nil end)
  self._nodes[place] = node
  return node
end

-- Takes over what CLUSTER SLOTS says: ranges of { from, to, { host, port, … } }.
local function learn(self, ranges, askedHost)
  local slots, known = {}, {}
  for _, range in ipairs(ranges) do
    local master = range[3]
    local host = type(master[1]) == "string" and master[1] ~= "" and master[1] or askedHost
    local place = placeOf(host, master[2])
    known[place] = true
    for slot = range[1], range[2] do slots[slot] = place end
  end
  self._slots = slots
  for place, node in pairs(self._nodes) do
    if not known[place] and not node:isConnected() then node:disconnect() end
  end
end

-- Where the map can be asked for: nodes that are known, then those that were named.
local function sources(self)
  local list, seen = {}, {}
  local function add(place)
    if seen[place] then return end
    seen[place] = true
    list[#list + 1] = place
  end
  for place in pairs(self._nodes) do add(place) end
  for _, host in ipairs(self._options.cluster.hosts) do add(placeOf(host.host, host.port)) end
  return list
end

--- Internal: asks for the map: `callback(err)`.
function Cluster:_refresh(callback)
  local list = sources(self)
  local function try(i, last)
    local place = list[i]
    if not place then return callback(last or errors.coded("ECONNREFUSED", "No node of the cluster answers")) end
    local host, port = place:match("^(.*):(%d+)$")
    local read = options.at(self._options, host, tonumber(port))
    read.maxRetries, read.commandTimeout = 0, read.connectTimeout
    local asked = Client:new(read)
    asked:on("error", function() end)
    asked:command("CLUSTER", "SLOTS", function(err, ranges)
      asked:disconnect()
      if err or type(ranges) ~= "table" or #ranges == 0 then return try(i + 1, err) end
      learn(self, ranges, host)
      callback()
    end)
  end
  try(1)
end

--- Internal: the same in a while, once for all who ask.
function Cluster:_refreshSoon()
  if self._refreshing or self.status == "end" then return end
  self._refreshing = true
  self:_refresh(function() self._refreshing = false end)
end

--- Internal: in the place of a connection there is a map.
function Cluster:_open()
  self.status = "connecting"
  self:_refresh(function(err)
    if self.status == "end" then return end
    if err then
      self:_report(err)
      self._tries = self._tries + 1
      if self._tries > self._options.maxRetries then
        self:_failWaiting(err)
        return self:disconnect()
      end
      self.status = "reconnecting"
      self._retry = timers.setTimeout(function() self:_open() end,
        math.min(self._options.retryMax, self._options.retryMin * 2 ^ math.min(self._tries, 10)))
      return
    end
    self.status, self._tries = "ready", 0
    self:emit("connect")
    self:_sendWaiting()
    self:emit("ready")
  end)
end

-- Commands ------------------------------------------------------------------------------------------------------------

local function slotOf(unit)
  for _, entry in ipairs(unit) do
    local key = commands.key(entry.n, entry.words)
    if key then return commands.slot(key) end
  end
end

function Cluster:_placeFor(slot)
  local place = slot and self._slots[slot]
  if place then return place end
  return next(self._nodes) or self._slots[0] or select(2, next(self._slots)) or sources(self)[1]
end

-- The first answer of a unit that leads elsewhere.
local function watch(unit, found)
  local copy = {}
  for i, entry in ipairs(unit) do
    local each = {}
    for name, value in pairs(entry) do each[name] = value end
    each.timer = nil
    local callback = entry.callback
    each.callback = function(err, reply)
      if err and (err.code == "MOVED" or err.code == "ASK" or err.code == "TRYAGAIN") then found.err = found.err or err end
      if i < #unit then
        if callback and not found.err then callback(err, reply) end
        return
      end
      found.done(err, reply, callback)
    end
    copy[i] = each
  end
  return copy
end

--- Internal: sends a unit to the node of its slot, and after it where it leads to.
function Cluster:_route(unit, place, asking, detours)
  local node = self:_node(place)
  local found = {}
  function found.done(err, reply, callback)
    local led = found.err
    if not led or detours >= MAX_DETOURS then
      if callback then callback(err, reply) end
      return
    end
    if led.code == "TRYAGAIN" then
      timers.setTimeout(function() self:_route(unit, place, asking, detours + 1) end, TRY_AGAIN)
      return
    end
    local slot, host, port = led.message:match("^%u+ (%d+) (.-):(%d+)$")
    if not slot then
      if callback then callback(led) end
      return
    end
    local to = placeOf(host ~= "" and host or place:match("^(.*):"), tonumber(port))
    if led.code == "MOVED" then
      self._slots[tonumber(slot)] = to
      self:_refreshSoon()
    end
    self:_route(unit, to, led.code == "ASK", detours + 1)
  end
  local copy = watch(unit, found)
  if asking then table.insert(copy, 1, { n = 1, words = { "ASKING" } }) end
  node:dispatch(copy)
end

--- Internal: see lrun.redis.client.
---@package
function Cluster:dispatch(unit)
  if self.status ~= "ready" then return Client.dispatch(self, unit) end
  local name = tostring(unit[1].words[1]):upper()
  if name == "QUIT" then
    local callback = unit[1].callback
    self:disconnect()
    return require("process").nextTick(callback, nil, "OK")
  end
  local slot = slotOf(unit)
  if unit[1].confirms == "ssubscribe" then slot = commands.slot(unit[1].words[2]) end
  self:_route(unit, self:_placeFor(slot), false, 0)
end

--- Internal: see lrun.redis.client.
---@package
function Cluster:dispatchEntry(entry) self:dispatch{ entry } end

--- Ends the client now, with the connections to all nodes.
function Cluster:disconnect()
  if self.status == "end" then return end
  Client.disconnect(self)
  for _, node in pairs(self._nodes) do node:disconnect() end
end

clients.open(Cluster)

return Cluster
