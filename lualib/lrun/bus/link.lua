--- Between a process and the bus of its machine, which is the primary's. A call goes to the hub of the primary and is answered there;
--- what happens comes as an event. In the primary, and outside a cluster, the hub is in this very process.
---
--- Messages are internal ones of the channel: `{ call, id, args }` up, `{ id, err, reply }` and `{ event, args }` down.
local errors = require("errors")
local process = require("process")

local link = {}

--- The `cmd` of the messages.
link.COMMAND = "NODE_LRUN_BUS"

local nextTick = process.nextTick
local handlers = {}                  -- event → function
local waiting, lastId = {}, 0
local hub                            -- in the primary
local own                            -- its session for this process

local function isWorker()
  local cluster = package.loaded.cluster
  return cluster ~= nil and cluster.isWorker
end

local function pack(...) return { n = select("#", ...), ... } end

--- An event of the hub's: `f(...)`.
function link.on(event, f) handlers[event] = f end

local function deliver(event, args)
  local f = handlers[event]
  if f then f(unpack(args, 1, args.n)) end
end

local function ignore() end          -- a failed write shows as the channel's end

local function send(target, message)
  message.cmd = link.COMMAND
  if target.connected then target:send(message, nil, nil, ignore) end
end

-- Errors cross as tables.
local function plain(err)
  if err == nil then return nil end
  return { message = err.message or tostring(err), code = err.code }
end

local function revived(err)
  if err == nil then return nil end
  return errors.coded(err.code or "ERR_BUS_RESPONDER", err.message)
end

-- The hub's session of this process.
local function ownSession()
  if own then return own end
  hub = hub or require("lrun.bus.hub")
  own = hub.session("0", function(event, ...) nextTick(deliver, event, pack(...)) end)
  return own
end

--- Calls the hub: `callback(err, ...)`.
---@param name string
---@param callback fun(err: Error?, ...)
function link.call(name, callback, ...)
  if not isWorker() then
    return require("lrun.bus.hub").call(ownSession(), name, callback, ...)
  end
  if not process.connected then
    return nextTick(callback, errors.coded("ERR_IPC_DISCONNECTED", "The primary, which holds the bus, is gone"))
  end
  lastId = lastId + 1
  waiting[lastId] = callback
  send(process, { call = name, id = lastId, args = pack(...) })
end

-- In the primary: the sessions of its workers, by their processes.
local sessions = {}

local function sessionOf(source)
  local session = sessions[source]
  if session then return session end
  hub = hub or require("lrun.bus.hub")
  session = hub.session(tostring(source.pid), function(event, ...) send(source, { event = event, args = pack(...) }) end)
  sessions[source] = session
  local function gone()
    if not sessions[source] then return end
    sessions[source] = nil
    hub.close(session)
  end
  source:once("exit", gone)
  source:once("disconnect", gone)
  return session
end

--- What came over the channel.
---@param source any a worker's process, or `process`
---@param message table
function link.receive(source, message)
  if message.event then return deliver(message.event, message.args) end
  if message.call then
    local id = message.id
    local function answer(err, ...) send(source, { id = id, err = plain(err), reply = pack(...) }) end
    hub = hub or require("lrun.bus.hub")
    return hub.call(sessionOf(source), message.call, answer, unpack(message.args, 1, message.args.n))
  end
  local callback = waiting[message.id]
  waiting[message.id] = nil
  if callback then callback(revived(message.err), unpack(message.reply, 1, message.reply.n)) end
end

if isWorker() then
  process:once("disconnect", function()
    local all = waiting
    waiting = {}
    for _, callback in pairs(all) do
      callback(errors.coded("ERR_IPC_DISCONNECTED", "The primary, which holds the bus, is gone"))
    end
  end)
end

return link
