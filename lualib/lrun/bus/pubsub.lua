--- Publish and subscribe, in the hub. The driver is asked for each pattern once a machine; what comes is told, with its pattern, to
--- every process that has it.
local pubsub = { methods = {} }
local methods = pubsub.methods

local driver
local holders = {}                   -- pattern → { session → true }

local function onMessage(pattern, topic, bytes, origin)
  for session in pairs(holders[pattern] or {}) do session.emit("message", pattern, topic, bytes, origin) end
end

function pubsub.start(given)
  driver = given
  driver.onMessage(onMessage)
end

--- `bytes` is a message, `origin` names the process that must not get it, or is nil.
function methods.publish(_, answer, topic, bytes, origin) driver.publish(topic, bytes, origin, answer) end

function methods.subscribe(session, answer, pattern)
  local known = holders[pattern]
  if known then
    known[session] = true
    return driver.settled(pattern, answer)
  end
  holders[pattern] = { [session] = true }
  driver.subscribe(pattern, answer)
end

local function release(session, pattern)
  local known = holders[pattern]
  if not known or not known[session] then return end
  known[session] = nil
  if next(known) ~= nil then return end
  holders[pattern] = nil
  driver.unsubscribe(pattern)
end

function methods.unsubscribe(session, answer, pattern)
  release(session, pattern)
  answer()
end

function pubsub.leave(session)
  local mine = {}
  for pattern, known in pairs(holders) do if known[session] then mine[#mine + 1] = pattern end end
  for _, pattern in ipairs(mine) do release(session, pattern) end
end

return pubsub
