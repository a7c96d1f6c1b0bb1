--- The driver of a machine by itself: everything is in the memory of the primary, and goes with it. Answers come in a later tick, as they
--- do from a server.
local nextTick = require("process").nextTick
local timers = require("timers")
local topics = require("lrun.bus.topics")
local uv = require("luv")

local memory = {}

local function ignore() end

local function now() return uv.hrtime() / 1e6 end

-- Queues: the jobs that wait, in order; those that are delayed, leased or failed, by id.
local function newQueues()
  local queues, onAdded = {}, ignore
  local lastToken = 0

  local function of(name)
    local queue = queues[name]
    if not queue then
      queue = { jobs = {}, waiting = {}, delayed = {}, lastId = 0, seq = 0 }
      queues[name] = queue
    end
    return queue
  end

  -- Before the first that is less urgent, or as urgent and younger.
  local function enqueue(queue, job)
    job.state = "waiting"
    local list, low, high = queue.waiting, 1, #queue.waiting + 1
    while low < high do
      local middle = math.floor((low + high) / 2)
      local each = list[middle]
      if each.priority > job.priority or each.priority == job.priority and each.seq < job.seq then low = middle + 1 else high = middle end
    end
    table.insert(list, low, job)
  end

  local function delay(queue, job, ms)
    job.state, job.at = "delayed", now() + ms
    queue.delayed[job] = true
  end

  local function promote(queue)
    local time, due = now(), nil
    for job in pairs(queue.delayed) do
      if job.at <= time then
        queue.delayed[job] = nil
        enqueue(queue, job)
      else
        due = math.min(due or math.huge, job.at - time)
      end
    end
    return due
  end

  local function held(name, id, token)
    local job = of(name).jobs[id]
    return job and job.token == token and job or nil
  end

  local api = {}
  function api.onAdded(f) onAdded = f end
  api.watch, api.renew = ignore, ignore        -- who lives is known here

  function api.add(name, bytes, options, answer)
    local queue = of(name)
    local id = options.id
    if id == nil then
      repeat
        queue.lastId = queue.lastId + 1
        id = tostring(queue.lastId)
      until not queue.jobs[id]
    end
    if not queue.jobs[id] then
      queue.seq = queue.seq + 1
      local job = {
        id = id, seq = queue.seq, bytes = bytes, priority = options.priority, attempts = options.attempts, backoff = options.backoff, made = 0,
      }
      queue.jobs[id] = job
      if options.delay > 0 then
        delay(queue, job, options.delay)
      else
        enqueue(queue, job)
      end
      onAdded(name)
    end
    nextTick(answer, nil, id)
  end

  function api.take(name, n, _, answer)
    local queue, list = of(name), {}
    local due = promote(queue)
    while #list < n and queue.waiting[1] do
      local job = table.remove(queue.waiting, 1)
      lastToken = lastToken + 1
      job.state, job.token = "active", tostring(lastToken)
      list[#list + 1] = { id = job.id, token = job.token, bytes = job.bytes, attempt = job.made + 1 }
    end
    nextTick(answer, nil, list, due)
  end

  function api.done(name, id, token, answer)
    if held(name, id, token) then of(name).jobs[id] = nil end
    nextTick(answer)
  end

  function api.fail(name, id, token, failure, answer)
    local job, queue = held(name, id, token), of(name)
    if job then
      job.token, job.made = nil, job.made + 1
      if job.made >= job.attempts then
        job.state, job.failure = "failed", failure
      elseif job.backoff > 0 then
        delay(queue, job, job.backoff)
      else
        enqueue(queue, job)
      end
      onAdded(name)
    end
    nextTick(answer)
  end

  function api.release(name, id, token, answer)
    local job = held(name, id, token)
    if job then
      job.token = nil
      enqueue(of(name), job)
    end
    if answer then nextTick(answer) end
  end

  function api.stats(name, answer)
    local stats = { waiting = 0, active = 0, delayed = 0, failed = 0 }
    for _, job in pairs(of(name).jobs) do stats[job.state] = stats[job.state] + 1 end
    nextTick(answer, nil, stats)
  end

  function api.failed(name, answer)
    local list = {}
    for _, job in pairs(of(name).jobs) do
      if job.state == "failed" then list[#list + 1] = { id = job.id, bytes = job.bytes, error = job.failure, seq = job.seq } end
    end
    table.sort(list, function(a, b) return a.seq < b.seq end)
    nextTick(answer, nil, list)
  end

  function api.retry(name, id, answer)
    local queue = of(name)
    local job = queue.jobs[id]
    local found = job ~= nil and job.state == "failed"
    if found then
      job.made = 0
      enqueue(queue, job)
      onAdded(name)
    end
    nextTick(answer, nil, found)
  end
  return api
end

-- Values with an end.
local function newCache()
  local values = {}
  local function alive(key)
    local each = values[key]
    if each and each.ends <= now() then
      values[key] = nil
      each = nil
    end
    return each
  end
  return {
    get = function(key, answer)
      local each = alive(key)
      nextTick(answer, nil, each and each.bytes)
    end,
    set = function(key, bytes, ttl, answer)
      local each = { bytes = bytes, ends = ttl and now() + ttl or math.huge }
      values[key] = each
      if ttl then
        timers.setTimeout(function() if values[key] == each then values[key] = nil end end, ttl):unref()
      end
      nextTick(answer, nil, true)
    end,
    delete = function(key, answer)
      local found = alive(key) ~= nil
      values[key] = nil
      nextTick(answer, nil, found)
    end,
  }
end

local function newLimit()
  local rings = {}
  return function(key, n, window, answer)
    local time, times = now(), rings[key] or {}
    local first = 1
    while times[first] and times[first] <= time - window do first = first + 1 end
    if first > 1 then times = { unpack(times, first) } end
    rings[key] = times
    local allowed = #times < n
    if allowed then
      times[#times + 1] = time
      timers.setTimeout(function()
        local left = rings[key]
        if left and #left > 0 and left[#left] <= now() - window then rings[key] = nil end
      end, window + 1):unref()
    end
    nextTick(answer, nil, allowed, n - #times, allowed and 0 or n == 0 and window or times[#times - n + 1] + window - time)
  end
end

---@return table driver
function memory.new()
  local driver = { address = "0", queue = newQueues(), cache = newCache(), limit = newLimit() }
  local onMessage, onDirect, onPresence = ignore, ignore, ignore
  local patterns, responders, locks, members = {}, {}, {}, {}
  local fence = 0

  function driver.onMessage(f) onMessage = f end
  function driver.onDirect(f) onDirect = f end
  function driver.onPresence(f) onPresence = f end
  driver.onGap = ignore

  function driver.publish(topic, bytes, origin, answer)
    nextTick(function()
      for pattern in pairs(patterns) do
        if topics.fits(pattern, topic) then onMessage(pattern, topic, bytes, origin) end
      end
    end)
    nextTick(answer, nil, true)
  end
  function driver.subscribe(pattern, answer)
    patterns[pattern] = true
    nextTick(answer, nil, true)
  end
  function driver.settled(_, answer) nextTick(answer, nil, true) end
  function driver.unsubscribe(pattern) patterns[pattern] = nil end

  function driver.advertise(topic, id, answer)
    responders[topic] = responders[topic] or {}
    responders[topic][id] = true
    nextTick(answer, nil, true)
  end
  function driver.withdraw(topic, id) if responders[topic] then responders[topic][id] = nil end end
  function driver.candidates(topic, answer)
    local list = {}
    for id in pairs(responders[topic] or {}) do list[#list + 1] = id end
    nextTick(answer, nil, list)
  end
  function driver.send(to, kind, number, _, bytes, failed, reached)
    nextTick(onDirect, kind, "0", number, to, bytes, failed)
    if reached then nextTick(reached, true) end
  end

  function driver.lock(name, token, ttl, answer)
    local lock = locks[name]
    if lock and lock.ends > now() then return nextTick(answer) end
    fence = math.max(fence + 1, math.floor(os.time() * 1000))
    locks[name] = { token = token, ends = now() + ttl }
    nextTick(answer, nil, fence)
  end
  function driver.renewLock(name, token, ttl, answer)
    local lock = locks[name]
    local ours = lock ~= nil and lock.token == token
    if ours then lock.ends = now() + ttl end
    nextTick(answer, nil, ours)
  end
  function driver.unlock(name, token)
    if locks[name] and locks[name].token == token then locks[name] = nil end
  end

  function driver.join(topic, id, bytes, _, again, answer)
    members[topic] = members[topic] or {}
    members[topic][id] = bytes
    if not again then nextTick(onPresence, topic) end
    if answer then nextTick(answer) end
  end
  function driver.leave(topic, id)
    if members[topic] then members[topic][id] = nil end
    nextTick(onPresence, topic)
  end
  function driver.members(topic, answer)
    local copy = {}
    for id, bytes in pairs(members[topic] or {}) do copy[id] = bytes end
    nextTick(answer, nil, copy)
  end
  driver.watchPresence, driver.unwatchPresence = ignore, ignore
  return driver
end

return memory
