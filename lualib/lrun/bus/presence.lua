--- Who is there, in the hub. A process that has joined a topic is a member of it with its data; the hub says again and again that its
--- members are there, so that those of a machine that is gone run out. Who watches a topic is told what changed.
local timers = require("timers")

local presence = { methods = {} }
local methods = presence.methods

local TTL = 6000                     -- ms
local LOOK = 2000                    -- ms between two looks

local driver
local members = {}                   -- id → { topic, bytes, session }
local watched = {}                   -- topic → { sessions, known: id → bytes, looking }
local lastMember = 0
local timer

local look

function look(topic)
  local place = watched[topic]
  if not place then return end
  if place.looking then
    place.again = true
    return
  end
  place.looking = true
  driver.members(topic, function(err, now)
    place.looking = false
    if not err and watched[topic] == place then
      local before = place.known
      place.known = now
      for id, bytes in pairs(now) do
        if before[id] == nil then
          for session in pairs(place.sessions) do session.emit("presence", topic, "join", bytes) end
        end
      end
      for id, bytes in pairs(before) do
        if now[id] == nil then
          for session in pairs(place.sessions) do session.emit("presence", topic, "leave", bytes) end
        end
      end
    end
    if place.again then
      place.again = false
      look(topic)
    end
  end)
end

local function tick()
  for id, member in pairs(members) do driver.join(member.topic, id, member.bytes, TTL, true) end
  for topic in pairs(watched) do look(topic) end
end

local function startTimer()
  if timer then return end
  timer = timers.setInterval(tick, LOOK)
  timer:unref()
end

function presence.start(given)
  driver = given
  driver.onPresence(look)
end

--- From here on the process hears of the topic's members.
function methods.watch(session, answer, topic)
  startTimer()
  local place = watched[topic]
  if not place then
    place = { sessions = {}, known = {} }
    watched[topic] = place
    driver.watchPresence(topic)
  end
  place.sessions[session] = true
  answer()
  look(topic)
end

function methods.join(session, answer, topic, bytes)
  startTimer()
  lastMember = lastMember + 1
  local id = driver.address .. "." .. lastMember
  members[id] = { topic = topic, bytes = bytes, session = session }
  driver.join(topic, id, bytes, TTL, false, function(err) answer(err, id) end)
end

local function leave(id)
  local member = members[id]
  if not member then return end
  members[id] = nil
  driver.leave(member.topic, id)
end

function methods.leave(session, answer, id)
  if members[id] and members[id].session == session then leave(id) end
  answer()
end

function methods.list(_, answer, topic)
  driver.members(topic, function(err, now)
    local list = {}
    for _, bytes in pairs(now or {}) do list[#list + 1] = bytes end
    answer(err, list)
  end)
end

function presence.leave(session)
  for topic, place in pairs(watched) do
    place.sessions[session] = nil
    if next(place.sessions) == nil then
      watched[topic] = nil
      driver.unwatchPresence(topic)
    end
  end
  local mine = {}
  for id, member in pairs(members) do if member.session == session then mine[#mine + 1] = id end end
  for _, id in ipairs(mine) do leave(id) end
end

return presence
