--- Locks and leaders, in the hub. A lock has a time to live at the driver; the hub renews it as long as its process lives, however busy,
--- and frees it when the process is gone. What could not be renewed in time is lost, and said so before anybody else can have it.
local timers = require("timers")
local uv = require("luv")

local locks = { methods = {} }
local methods = locks.methods

local LEADER_TTL = 3000              -- ms
local STAND_AGAIN = 500              -- ms between tries of a candidate
local RENEW_MOST = 60 * 60 * 1000    -- ms between renewals at most, however long a lock may live

local driver
local held = {}                      -- token → { name, ttl, session, expires, timer }
local candidates = {}                -- name → list of sessions
local lastToken = 0
local machine = ("%d.%d"):format(uv.os_getpid(), uv.hrtime() % 1e9)

local function newToken()
  lastToken = lastToken + 1
  return machine .. "." .. lastToken
end

-- Before the time at which the driver may give it to another: clocks differ, and messages take time.
local function margin(ttl) return math.max(1, math.min(ttl * 0.1, 200)) end

local function lose(token)
  local lock = held[token]
  if not lock then return end
  held[token] = nil
  timers.clearTimeout(lock.timer)
  lock.lost()
end

local schedule

local function renew(token)
  local lock = held[token]
  if not lock then return end
  local asked = uv.now()
  if asked >= lock.expires then return lose(token) end
  schedule(token)
  driver.renewLock(lock.name, token, lock.ttl, function(err, ours)
    if held[token] ~= lock then return end
    if err then return end             -- until it expires there may be another answer
    if not ours then return lose(token) end
    lock.expires = asked + lock.ttl - margin(lock.ttl)
    schedule(token)
  end)
end

function schedule(token)
  local lock = held[token]
  timers.clearTimeout(lock.timer)
  local left = lock.expires - uv.now()
  lock.timer = timers.setTimeout(renew, math.max(1, math.min(lock.ttl / 3, left, RENEW_MOST)), token)
  lock.timer:unref()
end

-- Asks for a lock: `callback(err, token, fence)`, all nil when another has it.
local function acquire(name, ttl, session, lost, callback)
  local token, asked = newToken(), uv.now()
  driver.lock(name, token, ttl, function(err, fence)
    if err then
      driver.unlock(name, token)       -- it may have been given, and the answer lost
      return callback(err)
    end
    if not fence then return callback(nil) end
    if session.closed or uv.now() >= asked + ttl - margin(ttl) then
      driver.unlock(name, token)
      return callback(nil)
    end
    held[token] = { name = name, ttl = ttl, session = session, expires = asked + ttl - margin(ttl), lost = lost }
    schedule(token)
    callback(nil, token, fence)
  end)
end

local function release(token)
  local lock = held[token]
  if not lock then return end
  held[token] = nil
  timers.clearTimeout(lock.timer)
  driver.unlock(lock.name, token)
end

function locks.start(given) driver = given end

function methods.lock(session, answer, name, ttl)
  local token
  acquire("lock:" .. name, ttl, session, function() session.emit("lost", token) end, function(err, given, fence)
    token = given
    answer(err, given, fence)
  end)
end

function methods.unlock(session, answer, token)
  local lock = held[token]
  if lock and lock.session == session then release(token) end
  answer()
end

-- Leaders: a lock that is asked for again and again -------------------------------------------------------------------

local stand

local function standAgain(name, session, place)
  if not candidates[name] or candidates[name][session] ~= place then return end
  if place.eager then return stand(name, session) end
  place.timer = timers.setTimeout(stand, STAND_AGAIN, name, session)
  place.timer:unref()
end

-- One try at a time; what is wanted meanwhile is tried at once behind one that has failed.
function stand(name, session)
  local place = candidates[name] and candidates[name][session]
  if not place or session.closed or place.token then return end
  if place.trying then
    place.eager = true
    return
  end
  place.trying, place.eager = true, false
  timers.clearTimeout(place.timer)
  acquire("leader:" .. name, LEADER_TTL, session, function()
    place.token = nil
    session.emit("deposed", name)
    standAgain(name, session, place)
  end, function(err, token)
    place.trying = false
    if err or not token then return standAgain(name, session, place) end
    if candidates[name] == nil or candidates[name][session] ~= place then return release(token) end
    place.token, place.eager = token, false
    session.emit("elected", name)
  end)
end

function methods.stand(session, answer, name)
  candidates[name] = candidates[name] or {}
  candidates[name][session] = candidates[name][session] or {}
  answer()
  stand(name, session)
end

function methods.resign(session, answer, name)
  local place = candidates[name] and candidates[name][session]
  if place then
    candidates[name][session] = nil
    timers.clearTimeout(place.timer)
    if place.token then release(place.token) end
  end
  answer()
end

function locks.leave(session)
  for name, all in pairs(candidates) do
    if all[session] then
      timers.clearTimeout(all[session].timer)
      all[session] = nil
    end
    if next(all) == nil then candidates[name] = nil end
  end
  local mine = {}
  for token, lock in pairs(held) do if lock.session == session then mine[#mine + 1] = token end end
  for _, token in ipairs(mine) do release(token) end
  for name, all in pairs(candidates) do   -- the place of one that led is free
    for each in pairs(all) do stand(name, each) end
  end
end

return locks
