--- Queues of jobs, in the hub. A process says how many jobs it takes at once; free places are filled as jobs come. A job is leased: the
--- hub renews the lease as long as its process lives, busy or not; a process that is gone gives its jobs back at once, and a
--- machine that is gone lets them run out.
local timers = require("timers")

local queues = { methods = {} }
local methods = queues.methods

local LEASE = 4000                   -- ms
local RENEW = 1000                   -- ms between renewals
local LOOK = 1000                    -- ms between looks where nobody has told of a job

local driver
local consumers = {}                 -- queue → { session → { most, active } }
local jobs = {}                      -- token → { queue, id, session }
local looking = {}                   -- queue → true while a look is under way; "again" when another is wanted
local timer
local turn = {}                      -- queue → session that was served last

local look

-- The process that has most room; those that have as much take turns.
local function freest(queue)
  local best, bestRoom
  local list, after = {}, {}
  local passed = false
  for session in pairs(consumers[queue]) do list[#list + 1] = session end
  table.sort(list, function(a, b) return a.order < b.order end)
  for _, session in ipairs(list) do
    after[#after + 1] = session
    if session == turn[queue] then passed = #after end
  end
  for i = 1, #after do
    local session = after[(i - 1 + (passed or 0)) % #after + 1]
    local each = consumers[queue][session]
    local room = each.most - each.active
    if room > 0 and (not bestRoom or room > bestRoom) then best, bestRoom = session, room end
  end
  return best
end

local function roomOf(queue)
  local room = 0
  for _, each in pairs(consumers[queue] or {}) do room = room + each.most - each.active end
  return room
end

local function give(queue, job)
  local session = consumers[queue] and freest(queue)
  if not session then return driver.queue.release(queue, job.id, job.token) end
  turn[queue] = session
  consumers[queue][session].active = consumers[queue][session].active + 1
  jobs[job.token] = { queue = queue, id = job.id, session = session }
  session.emit("job", queue, job.token, job.id, job.bytes, job.attempt)
end

function look(queue)
  if looking[queue] then
    looking[queue] = "again"
    return
  end
  local room = roomOf(queue)
  if room == 0 then return end
  looking[queue] = true
  driver.queue.take(queue, room, LEASE, function(err, list, due)
    local again = looking[queue] == "again"
    looking[queue] = nil
    for _, job in ipairs(list or {}) do give(queue, job) end
    if again or not err and #list > 0 then return look(queue) end
    if due and due < LOOK then timers.setTimeout(look, math.max(1, due), queue):unref() end  -- later ones the timer finds
  end)
end

local function renew()
  local byQueue = {}
  for token, job in pairs(jobs) do
    byQueue[job.queue] = byQueue[job.queue] or {}
    table.insert(byQueue[job.queue], { id = job.id, token = token })
  end
  for queue, list in pairs(byQueue) do driver.queue.renew(queue, list, LEASE) end
end

local function tick()
  renew()
  for queue in pairs(consumers) do look(queue) end
end

function queues.start(given)
  driver = given
  driver.queue.onAdded(function(queue) if consumers[queue] then look(queue) end end)
end

function methods.add(_, answer, queue, bytes, options) driver.queue.add(queue, bytes, options, answer) end
function methods.stats(_, answer, queue) driver.queue.stats(queue, answer) end
function methods.failed(_, answer, queue) driver.queue.failed(queue, answer) end
function methods.retry(_, answer, queue, id) driver.queue.retry(queue, id, answer) end

local orders = 0

function methods.process(session, answer, queue, most)
  if not session.order then
    orders = orders + 1
    session.order = orders
  end
  consumers[queue] = consumers[queue] or {}
  local known = consumers[queue][session]
  consumers[queue][session] = { most = most, active = known and known.active or 0 }
  if not timer then
    timer = timers.setInterval(tick, math.min(RENEW, LOOK))
    timer:unref()
  end
  driver.queue.watch(queue)
  answer()
  look(queue)
end

local function settle(session, token)
  local job = jobs[token]
  if not job or job.session ~= session then return nil end
  jobs[token] = nil
  local consumer = consumers[job.queue] and consumers[job.queue][session]
  if consumer then consumer.active = consumer.active - 1 end
  return job
end

--- A job was done, or, with an error's text, was not.
function methods.settled(session, answer, token, failure)
  local job = settle(session, token)
  if not job then return answer() end
  local function next() look(job.queue) end
  if failure then driver.queue.fail(job.queue, job.id, token, failure, next)
  else driver.queue.done(job.queue, job.id, token, next) end
  answer()
end

function queues.leave(session)
  for queue, all in pairs(consumers) do
    all[session] = nil
    if turn[queue] == session then turn[queue] = nil end
    if next(all) == nil then consumers[queue] = nil end
  end
  for token, job in pairs(jobs) do
    if job.session == session then
      jobs[token] = nil
      driver.queue.release(job.queue, job.id, token, function() if consumers[job.queue] then look(job.queue) end end)
    end
  end
end

return queues
