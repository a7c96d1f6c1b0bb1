--- Instances of a Node script in cluster mode: the keeper speaks Node's cluster messages as their primary, so that the script is
--- unmodified. In: `queryServer` is answered with `newconn` to come (round robin: this process accepts) or, for UDP and
--- NODE_CLUSTER_SCHED_POLICY=none, with the bound socket itself. Out: `newconn` with a connection, `disconnect` to retire.
--- Owns the accepting handles and the connections that no worker has taken yet.
local uv = require("luv")
local child_process = require("child_process")
local listen = require("lrun.cluster.listen")
local fork = require("lrun.manager.keeper.fork")
local app = require("lrun.manager.app")
local environment = require("lrun.manager.environment")
local preload = require("lrun.manager.keeper.preload")

local BACKLOG = 511
local WAITING_MAX = 1024        -- connections that may wait for a worker

local node = {}

-- Messages ------------------------------------------------------------------------------------------------------------

local seq = 0

local function send(worker, fields, handle, onReply)
  local child = worker.child
  if not child.connected then return false end
  fields.cmd = "NODE_CLUSTER"
  if onReply then
    seq = seq + 1
    fields.seq = seq
    worker.replies[seq] = onReply
  end
  child:send(fields, handle, nil, function() end)
  return true
end

-- Round robin ---------------------------------------------------------------------------------------------------------

local RoundRobin = {}
RoundRobin.__index = RoundRobin

local function close(handle)
  if handle and not handle:is_closing() then handle:close() end
end

local function nextWorker(self)
  for _ = 1, #self.workers do
    local worker = table.remove(self.workers, 1)
    self.workers[#self.workers + 1] = worker
    if worker.child.connected and not worker.retired then return worker end
  end
end

local distribute

local function give(self, worker, client)
  worker.untaken[client] = true
  local sent = send(worker, { act = "newconn", key = self.key }, client, function(reply)
    if not worker.untaken[client] then return end
    worker.untaken[client] = nil
    if reply.accepted then return close(client) end
    distribute(self, client)
  end)
  if sent then return end
  worker.untaken[client] = nil
  distribute(self, client)
end

function distribute(self, client)
  local worker = nextWorker(self)
  if worker then
    worker.owner[client] = self
    return give(self, worker, client)
  end
  if #self.waiting >= WAITING_MAX then return close(client) end
  self.waiting[#self.waiting + 1] = client
end

local function onConnection(self)
  local client = self.kind == "pipe" and uv.new_pipe(false) or uv.new_tcp()
  if not self.acceptor:accept(client) then return close(client) end
  distribute(self, client)
end

-- Accepts while there are workers; else connections wait in the kernel's queue.
local function resume(self)
  if self.acceptor or #self.workers == 0 then return end
  self.acceptor = self.open()
  if not self.acceptor then return end
  self.acceptor:listen(BACKLOG, function(err) if not err then onConnection(self) end end)
  local waiting = self.waiting
  self.waiting = {}
  for _, client in ipairs(waiting) do distribute(self, client) end
end

local function pause(self)
  close(self.acceptor)
  self.acceptor = nil
end

function RoundRobin:add(worker)
  self.workers[#self.workers + 1] = worker
  resume(self)
end

--- True when nobody is left.
function RoundRobin:remove(worker)
  for i = #self.workers, 1, -1 do if self.workers[i] == worker then table.remove(self.workers, i) end end
  if #self.workers > 0 then return false end
  pause(self)
  return true
end

function RoundRobin:close()
  pause(self)
  close(self.handle)
  for _, client in ipairs(self.waiting) do close(client) end
  self.waiting = {}
end

-- Shared --------------------------------------------------------------------------------------------------------------

local Shared = {}
Shared.__index = Shared

function Shared:add(worker) self.workers[worker] = true end
function Shared:remove(worker)
  self.workers[worker] = nil
  return next(self.workers) == nil
end
function Shared:close() close(self.handle) end

-- The primary ---------------------------------------------------------------------------------------------------------

-- The keeper's table of what its workers listen on: key → RoundRobin or Shared.
local function listenersOf(keeper)
  keeper.nodeListeners = keeper.nodeListeners or {}
  return keeper.nodeListeners
end

local function isShared(keeper, message)
  local udp = message.addressType == "udp4" or message.addressType == "udp6"
  return udp or environment.of(keeper.app).NODE_CLUSTER_SCHED_POLICY == "none"
end

local ERRNOS = { EADDRINUSE = -98, EACCES = -13, EADDRNOTAVAIL = -99, EINVAL = -22, ENOENT = -2, EMFILE = -24, ENOTSUP = -95 }

local function openListener(keeper, key, message)
  local request = {
    address = message.address, port = message.port, addressType = message.addressType, fd = message.fd, index = message.index,
    backlog = message.backlog, ipv6Only = type(message.flags) == "number" and message.flags % 2 == 1 or nil,
  }
  if not listen.isRequest(request) then return nil, "EINVAL" end
  local handle, code = listen.bind(request)
  if not handle then return nil, code end
  local made = { key = key, handle = handle, kind = uv.handle_get_type(handle), request = request }
  if isShared(keeper, message) then
    made.workers = {}
    return setmetatable(made, Shared)
  end
  made.workers, made.waiting = {}, {}
  made.open = function() return require("lrun.net.handles").take(made.kind, require("lrun.core.sockets").duplicate(handle:fileno())) end
  return setmetatable(made, RoundRobin)
end

local function queryServer(keeper, worker, message)
  local listeners = listenersOf(keeper)
  local key = ("%s:%s:%s:%s:%s"):format(tostring(message.address), tostring(message.port), tostring(message.addressType),
    tostring(message.fd or ""), tostring(message.index))
  local listener = listeners[key]
  if not listener then
    local code
    listener, code = openListener(keeper, key, message)
    if not listener then return send(worker, { ack = message.seq, errno = ERRNOS[code] or -22, key = key }) end
    listeners[key] = listener
    -- A port that is taken shows only when somebody listens.
    if getmetatable(listener) == RoundRobin then
      local ok, failure = require("lrun.core.supervise").listen(listener.handle:fileno(), BACKLOG)
      if not ok then
        listener:close()
        listeners[key] = nil
        return send(worker, { ack = message.seq, errno = failure.errno, key = key })
      end
    end
  end
  worker.listens[key] = listener
  if getmetatable(listener) == Shared then
    listener:add(worker)
    return send(worker, { ack = message.seq, key = key }, listener.handle)
  end
  local name = listener.kind == "tcp" and listener.handle:getsockname() or nil
  send(worker, { ack = message.seq, key = key, sockname = name and { address = name.ip, port = name.port,
    family = name.family == "inet6" and "IPv6" or "IPv4" } })
  listener:add(worker)
end

local function leave(keeper, worker, key, byItself)
  local listener = worker.listens[key]
  if not listener then return end
  worker.listens[key] = nil
  if not listener:remove(worker) or not byItself then return end
  listener:close()
  listenersOf(keeper)[key] = nil
  keeper.sockets:closed(listener.request)
end

local function leaveAll(keeper, worker)
  for key in pairs(worker.listens) do leave(keeper, worker, key, false) end
  -- What it was given and did not take goes to others.
  local untaken = worker.untaken
  worker.untaken = {}
  for client in pairs(untaken) do distribute(worker.owner[client], client) end
end

local handlers = {}

function handlers.queryServer(keeper, worker, message) queryServer(keeper, worker, message) end
function handlers.listening(_, worker)
  worker.isListening = true
  local waiting = worker.onListening
  worker.onListening = {}
  for _, callback in ipairs(waiting) do callback() end
end
function handlers.close(keeper, worker, message)
  leave(keeper, worker, message.key, not worker.retired)
end
function handlers.exitedAfterDisconnect(_, worker, message) send(worker, { ack = message.seq }) end

local function takeMetrics(worker, message)
  for name in pairs(worker.metrics) do
    if type(message[name]) == "number" then worker.metrics[name] = message[name] end
  end
end

local function follow(keeper, worker)
  worker.child:on("internalMessage", function(message)
    if type(message) ~= "table" then return end
    if message.cmd == preload.METRICS then return takeMetrics(worker, message) end
    if message.cmd ~= "NODE_CLUSTER" then return end
    local reply = message.ack and worker.replies[message.ack]
    if reply then
      worker.replies[message.ack] = nil
      return reply(message)
    end
    local handler = handlers[message.act]
    if handler then handler(keeper, worker, message) end
  end)
  worker.child:on("error", function() end)
  worker.child:once("disconnect", function() leaveAll(keeper, worker) end)
  worker.child:once("exit", function() leaveAll(keeper, worker) end)
end

local lastId = 0

local function environmentOf(keeper, number, mark)
  local env = fork.environment(keeper, number, mark)
  lastId = lastId + 1
  env.NODE_UNIQUE_ID = tostring(lastId)
  local path = preload.path(keeper.home, keeper.app.uid ~= nil)
  if path then
    env.NODE_OPTIONS = (env.NODE_OPTIONS and env.NODE_OPTIONS .. " " or "") .. ('--require "%s"'):format((path:gsub('[\\"]', "\\%0")))
  end
  return env, path ~= nil
end

--- Starts one.
---@return table? started
---@return string? problem
function node.start(keeper, number, mark)
  local made = keeper.app
  local env, endsItself = environmentOf(keeper, number, mark)
  local interpreter = app.interpreter(made.interpreter, function(name) return require("lrun.manager.keeper.find")(name, env.PATH) end,
    process.execPath)
  if not interpreter then return nil, ("the interpreter '%s' is not installed (not found in PATH)"):format(made.interpreter) end
  local options, problem = fork.launchOptions(made)
  if not options then return nil, problem end
  local args = { unpack(made.interpreterArgs) }
  args[#args + 1] = made.script
  for _, argument in ipairs(made.args) do args[#args + 1] = argument end
  options.env, options.serialization, options.stdio = env, "json", { "pipe", "pipe", "pipe", "ipc" }
  local ok, child = pcall(child_process.spawn, interpreter, args, options)
  if not ok then return nil, tostring(child) end
  local worker = { child = child, replies = {}, untaken = {}, owner = setmetatable({}, { __mode = "k" }), listens = {}, onListening = {},
    metrics = { connections = 0, requests = 0, lag = 0 } }
  if child.pid then follow(keeper, worker) end
  return {
    child = child, worker = worker, kind = "node", endsItself = endsItself,
    metrics = endsItself and function()
      return { connections = worker.metrics.connections, requests = worker.metrics.requests, lag = worker.metrics.lag }
    end or nil,
    onListening = function(done)
      if worker.isListening then return done() end
      worker.onListening[#worker.onListening + 1] = done
    end,
    retire = function()
      worker.retired = true
      for key in pairs(worker.listens) do leave(keeper, worker, key, false) end
      send(worker, { act = "disconnect" })
    end,
  }
end

--- Closes what is listened on: the app has stopped.
function node.release(keeper)
  for key, listener in pairs(listenersOf(keeper)) do
    listener:close()
    keeper.nodeListeners[key] = nil
  end
end

return node
