--- Requests and answers, in the hub. Each process that responds to a topic is a responder with an address of its own; a request goes to
--- them in turn. An answer comes back to the address of the machine that asked.
local errors = require("errors")
local timers = require("timers")

local requests = { methods = {} }
local methods = requests.methods

local AGAIN = 50                     -- ms until responders are looked for again

local driver
local responders = {}                -- id → { session, topic }
local lastResponder, lastRequest = 0, 0
local waiting = {}                   -- request → { answer, timer }
local asked = {}                     -- in the machine that responds: what a process is working on, by number
local turns = {}                     -- topic → which responder was last

local function finish(number, err, bytes)
  local request = waiting[number]
  if not request then return end
  waiting[number] = nil
  timers.clearTimeout(request.timer)
  request.answer(err, bytes)
end

-- A request for one of our responders, or an answer to one of our requests.
local function onDirect(kind, from, number, responder, bytes, failed)
  if kind == "answer" then
    if failed then return finish(number, errors.coded("ERR_BUS_RESPONDER", bytes)) end
    return finish(number, nil, bytes)
  end
  local known = responders[responder]
  if not known then return driver.send(from, "answer", number, "", "the responder is gone", true) end
  lastRequest = lastRequest + 1
  asked[lastRequest] = { from = from, number = number, session = known.session }
  known.session.emit("request", lastRequest, known.topic, bytes)
end

function requests.start(given)
  driver = given
  driver.onDirect(onDirect)
end

function methods.respond(session, answer, topic)
  lastResponder = lastResponder + 1
  local id = tostring(lastResponder)
  responders[id] = { session = session, topic = topic }
  driver.advertise(topic, id, answer)
end

function methods.unrespond(session, answer, topic)
  for id, each in pairs(responders) do
    if each.session == session and each.topic == topic then
      responders[id] = nil
      driver.withdraw(topic, id)
      break
    end
  end
  answer()
end

-- A process has worked a request off.
function methods.answer(session, answer, number, bytes, failed)
  local request = asked[number]
  asked[number] = nil
  if request and request.session == session then driver.send(request.from, "answer", request.number, "", bytes, failed) end
  answer()
end

local function tryOnce(topic, number, bytes)
  if not waiting[number] then return end
  driver.candidates(topic, function(err, list)
    local request = waiting[number]
    if not request then return end
    if err or #list == 0 then
      request.lonely = not err
      timers.setTimeout(tryOnce, AGAIN, topic, number, bytes)
      return
    end
    request.lonely = false
    table.sort(list)
    turns[topic] = (turns[topic] or 0) % #list + 1
    driver.send(list[turns[topic]], "request", number, nil, bytes, nil, function(reached)
      if not reached then timers.setTimeout(tryOnce, AGAIN, topic, number, bytes) end
    end)
  end)
end

function methods.request(_, answer, topic, bytes, timeout)
  lastRequest = lastRequest + 1
  local number = lastRequest
  local request = { answer = answer }
  waiting[number] = request
  request.timer = timers.setTimeout(function()
    finish(number, errors.coded("ETIMEDOUT", ("The request to '%s' was not answered within %g ms%s"):format(
      topic, timeout, request.lonely and ": nobody responds to it" or "")))
  end, timeout)
  tryOnce(topic, number, bytes)
end

function requests.leave(session)
  for id, each in pairs(responders) do
    if each.session == session then
      responders[id] = nil
      driver.withdraw(each.topic, id)
    end
  end
  for number, each in pairs(asked) do
    if each.session == session then
      asked[number] = nil
      driver.send(each.from, "answer", each.number, "", "the responder has ended", true)
    end
  end
end

return requests
