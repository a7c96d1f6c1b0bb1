--- All listening sockets of a cluster's primary (each is a lrun.cluster.listen object), by the key of what a worker asked
--- for, and the hub in which accepted connections wait for a worker. Owns the listeners and the hub; not workers, and not
--- their places, which the primary's life of workers (lrun.cluster.primary) makes.
---
--- A listener lives as long as a worker uses it, and for a while longer when the last one died: clients wait for the next.
local handoff = require("lrun.core.handoff")
local listen = require("lrun.cluster.listen")
local process = require("process")
local timers = require("timers")

local listeners = {}

--- How long (ms) a socket stays open whose last worker has died. Set by the settings.
listeners.keepFor = 5000

--- Who gets connections of listeners to come: lrun.cluster.schedule's policies.
listeners.policy = nil

--- What this primary has from the one that it takes over from: key → { handles…, several, request, serving }.
listeners.inherited = {}

local LOOK = 5              -- ms between looks whether workers have taken what is on its way to them
local LOOKS = 400           -- so many at most: a worker that is stopped takes nothing

local byKey = {}            -- key → listener
local byId = {}             -- the number that lanes know it by → listener
local lastId = 0
local hub

-- Warnings -------------------------------------------------------------------------------------------------------------

local WARNING_EVERY = 1000    -- ms; what happens with every connection is told once a second
local warnedAt = {}

local function warn(text)
  local now = process.hrtime() / 1e6
  if warnedAt[text] and now - warnedAt[text] < WARNING_EVERY then return end
  if next(warnedAt) and not warnedAt[text] then
    for known, at in pairs(warnedAt) do if now - at >= WARNING_EVERY then warnedAt[known] = nil end end
  end
  warnedAt[text] = now
  process.emitWarning(text)
end

-- The hub --------------------------------------------------------------------------------------------------------------

local function assignWaiting()
  while true do
    local id = hub:next()
    if not id then return end
    local listener = byId[id]
    if listener then listener:assign() else hub:drop() end
  end
end

local function theHub()
  hub = hub or handoff.hub(assignWaiting)
  return hub
end

--- After a change that may have set connections free: they go to workers.
function listeners.redistribute()
  if not hub then return end
  repeat assignWaiting() until not hub:flush()
end

--- A lane to a new worker.
---@return userdata? lane
---@return integer|Error peer the descriptor of the worker's end, of which it is to get a copy
function listeners.lane() return theHub():lane() end

-- Opening and closing --------------------------------------------------------------------------------------------------

local function keyOf(request)
  return ("%s:%s:%s:%s:%s"):format(tostring(request.address), tostring(request.port), tostring(request.addressType),
    tostring(request.fd), tostring(request.index))
end

local function stopKeeping(listener)
  if listener.kept then timers.clearTimeout(listener.kept) end
  listener.kept = nil
end

local function close(listener)
  stopKeeping(listener)
  listener:close()
  byKey[listener.key], byId[listener.id] = nil, nil
end

-- Lets the loop end: a primary that starts no other worker does not live for it.
local function keep(listener)
  if listener.kept then return end
  listener.kept = timers.setTimeout(function()
    close(listener)
    listeners.redistribute()
  end, listeners.keepFor)
  listener.kept:unref()
end

-- A worker asks for a port under another name than that of a socket which is kept for nobody.
local function makeRoom(request)
  local made = false
  for _, listener in pairs(byKey) do
    if listener.kept and listener:boundPort() == request.port then
      close(listener)
      made = true
    end
  end
  return made
end

local function open(key, request)
  lastId = lastId + 1
  local given = listeners.inherited[key]
  listeners.inherited[key] = nil
  local options = {
    id = lastId, key = key, hub = theHub(), policy = listeners.policy, request = request, given = given, warn = warn,
  }
  local listener, code = listen.open(options)
  if code == "EADDRINUSE" and makeRoom(request) then listener, code = listen.open(options) end
  if not listener then return nil, code end
  byKey[key], byId[listener.id] = listener, listener
  return listener
end

local function remove(listener, worker, died)
  if not listener:remove(worker) then return end
  if died and listeners.keepFor > 0 then keep(listener) else close(listener) end
end

--- Closes what is kept for workers to come.
function listeners.closeKept()
  for _, listener in pairs(byKey) do if listener.kept then close(listener) end end
  listeners.redistribute()
end

-- What workers ask for -------------------------------------------------------------------------------------------------

-- Under SCHED_REUSEPORT the kernel would let a worker have a port twice.
local function listensAlready(worker, request)
  for _, listener in pairs(byKey) do
    if listener.users[worker] and listener:has(request.address, request.port) then return true end
  end
  return false
end

--- Gives a worker what it asked for: `reply(fields, handle)`, at once.
---@param place Place
---@param request table its message
---@param reply fun(fields: table, handle: any)
function listeners.query(place, request, reply)
  if not listen.isRequest(request) then return reply{ errno = "EINVAL" } end
  local key = keyOf(request)
  local listener = byKey[key]
  if not listener then
    if listensAlready(place.worker, request) then return reply{ errno = "EADDRINUSE" } end
    local code
    listener, code = open(key, request)
    if not listener then return reply{ errno = code } end
  end
  listener:add(place, function(fields, handle)
    fields.key = key
    reply(fields, handle)
  end)
  if next(listener.users) ~= nil then return stopKeeping(listener) end
  if not listener.kept then close(listener) end
end

--- A worker's server listens.
function listeners.listening(place, key)
  local listener = byKey[key]
  if not listener then return end
  listener:listening(place)
  listeners.redistribute()
end

--- A worker's server has as many connections as it wants, or room for more again.
function listeners.room(place, key, room)
  local listener = byKey[key]
  if not listener then return end
  listener:roomChanged(place, room)
  listeners.redistribute()
end

--- A worker has closed a server.
function listeners.closed(worker, key)
  local listener = byKey[key]
  if listener and listener.users[worker] then
    remove(listener, worker, false)
    if not byKey[key] and listen.store and not worker.exitedAfterDisconnect then listen.store:closed(listener.request) end
  end
  listeners.redistribute()
end

--- A worker has ended, or gets no more connections.
---@param worker Worker
---@param died boolean it did not mean to
function listeners.leave(worker, died)
  for _, listener in pairs(byKey) do
    if listener.users[worker] then remove(listener, worker, died) end
  end
  listeners.redistribute()
end

--- The primary accepts no connection any more. Those that it has go on to workers.
function listeners.stop()
  for _, listener in pairs(byKey) do listener:stop() end
end

--- Closes all sockets; who waits on them still gets to a worker.
function listeners.finish()
  for _, listener in pairs(byKey) do
    listener:sweep()
    close(listener)
  end
  listeners.redistribute()
end

--- Calls `done()` when workers have taken what is on their way to them, or one has taken none for a while.
---@param places table<any, Place>
---@param done fun()
function listeners.whenTaken(places, done)
  if not listeners.busy(places) then return done() end
  local looks, timer = 0, nil
  timer = timers.setInterval(function()
    looks = looks + 1
    if looks < LOOKS and listeners.busy(places) then return end
    timers.clearInterval(timer)
    done()
  end, LOOK)
end

--- Whether connections are on their way to one of the places.
---@param places table<any, Place>
---@return boolean
function listeners.busy(places)
  listeners.redistribute()
  for _, place in pairs(places) do
    if place.lane and (place.lane:load() or 0) > 0 then return true end
  end
  return false
end

-- Facts ----------------------------------------------------------------------------------------------------------------

--- All sockets, for a primary that takes over: what was asked for, the handles, and how many workers listen there.
---@return { key: string, request: table, handles: userdata[], several: boolean, serving: integer }[]
function listeners.all()
  local list = {}
  for key, listener in pairs(byKey) do
    list[#list + 1] = {
      key = key, request = listener.request, handles = listener.handles, several = listener.sockets ~= nil,
      serving = listener:serving(),
    }
  end
  return list
end

--- How many workers listen on the socket of that key.
---@return integer
function listeners.serving(key) return byKey[key] and byKey[key]:serving() or 0 end

--- Whether a worker has asked for a socket.
---@return boolean
function listeners.uses(worker)
  for _, listener in pairs(byKey) do if listener.users[worker] then return true end end
  return false
end

--- Whether a worker listens wherever another one does.
---@return boolean
function listeners.servesAllOf(worker, other)
  for _, listener in pairs(byKey) do
    if listener.users[other] and not listener:serves(worker) then return false end
  end
  return true
end

return listeners
