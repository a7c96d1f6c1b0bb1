--- The driver of many machines: Redis is the engine. One client of the primary does everything: it subscribes for all processes of the
--- machine, and has the server do in one step, by scripts, what must be one.
---
--- Keys and channels begin with `lrun:bus:`: t: topics, r: responders, d: machines, q: queues, l: locks, p: presence, c: the cache,
--- w: limits.
local codec = require("lrun.ipc.codec")
local redis = require("redis")
local scripts = require("lrun.bus.scripts")
local timers = require("timers")
local topics = require("lrun.bus.topics")
local uv = require("luv")

local driver = {}

local PREFIX = "lrun:bus:"
local COMMAND_TIMEOUT = 5000         -- ms
local CANDIDATES_LIVE = 200          -- ms that the list of responders is believed
local AGAIN, MOST_AGAIN = 500, 20    -- ms between tries to tell what must not be lost, and how many
local RENEW_AT_ONCE = 500            -- leases that one command renews

local function ignore() end

local function machineName()
  local bytes = uv.random(9)
  return require("lrun.core.encoding").hex(bytes)
end

local function escapeGlob(text) return (text:gsub("[%[%]?*\\^]", "\\%0")) end

local function text(value) return type(value) == "string" and value or nil end

-- Runs a script: `answer(err, reply)`.
local function runner(client)
  local loaded = {}
  return function(name, keys, args, answer)
    local run = loaded[name]
    if not run then
      run = client:script(scripts[name])
      loaded[name] = run
    end
    run(keys, args, answer or ignore)
  end
end

-- Publish and subscribe -----------------------------------------------------------------------------------------------

local function addTopics(self, client)
  local onMessage = ignore
  local listening = {}               -- pattern → { listener, waiting: callbacks, or false once it holds }
  local prefix = PREFIX .. "t:"

  function self.onMessage(f) onMessage = f end

  function self.publish(topic, bytes, origin, answer)
    client:publish(prefix .. topic, (origin or "") .. "\n" .. bytes, function(err) answer(err, not err or nil) end)
  end

  local function listener(pattern)
    return function(payload, channel)
      local topic = channel:sub(#prefix + 1)
      local origin, bytes = payload:match("^([^\n]*)\n(.*)$")
      if bytes and topics.fits(pattern, topic) then onMessage(pattern, topic, bytes, origin ~= "" and origin or nil) end
    end
  end

  function self.subscribe(pattern, answer)
    local place = { listener = listener(pattern), waiting = { answer } }
    listening[pattern] = place
    local function confirmed(err)
      local all = place.waiting
      place.waiting = false
      for _, each in ipairs(all) do each(err, not err or nil) end
    end
    if topics.isPattern(pattern) then client:psubscribe(prefix .. topics.glob(pattern), place.listener, confirmed)
    else client:subscribe(prefix .. pattern, place.listener, confirmed) end
  end

  function self.settled(pattern, answer)
    local place = listening[pattern]
    if place and place.waiting then place.waiting[#place.waiting + 1] = answer else answer(nil, true) end
  end

  function self.unsubscribe(pattern)
    local place = listening[pattern]
    listening[pattern] = nil
    if not place then return end
    if topics.isPattern(pattern) then client:punsubscribe(prefix .. topics.glob(pattern), place.listener, ignore)
    else client:unsubscribe(prefix .. pattern, place.listener, ignore) end
  end
end

-- Requests ------------------------------------------------------------------------------------------------------------

local function addDirect(self, client)
  local onDirect = ignore
  local machine = PREFIX .. "d:" .. self.address
  local cached = {}                  -- topic → { list, at }

  local function receive(payload)
    local ok, message = codec.fromText(payload)
    if not ok or type(message) ~= "table" or not text(message.kind) then return end
    onDirect(message.kind, text(message.from) or "", message.number, text(message.responder), text(message.bytes) or "", message.failed)
  end
  client:subscribe(machine, receive, ignore)

  function self.onDirect(f) onDirect = f end

  local function channelOf(topic, id) return ("%sr:%s:%s/%s"):format(PREFIX, topic, self.address, id) end

  function self.advertise(topic, id, answer)
    local channel = channelOf(topic, id)
    client:subscribe(channel, receive, function(err) answer(err, not err or nil) end)
  end

  function self.withdraw(topic, id)
    local channel = channelOf(topic, id)
    client:unsubscribe(channel, receive, ignore)
  end

  -- Channels that somebody listens to are responders that live.
  function self.candidates(topic, answer)
    local known = cached[topic]
    if known and known.at > uv.now() - CANDIDATES_LIVE then return answer(nil, { unpack(known.list) }) end
    local prefix = PREFIX .. "r:" .. topic .. ":"
    client:pubsub("CHANNELS", escapeGlob(prefix) .. "*", function(err, channels)
      if err then return answer(err) end
      local list = {}
      for _, channel in ipairs(channels) do
        if not channel:find(":", #prefix + 1, true) then list[#list + 1] = channel end
      end
      cached[topic] = #list > 0 and { list = list, at = uv.now() } or nil
      answer(nil, { unpack(list) })
    end)
  end

  --- `to` is a responder's channel, for a request, or a machine, for an answer.
  function self.send(to, kind, number, responder, bytes, failed, reached)
    local channel = kind == "request" and to or PREFIX .. "d:" .. to
    local message = {
      kind = kind, from = self.address, number = number, bytes = bytes, failed = failed or nil,
      responder = kind == "request" and to:match("/([^/]*)$") or responder,
    }
    client:publish(channel, (codec.text(message)), function(err, receivers)
      if not err and receivers == 0 and kind == "request" then cached = {} end
      if reached then reached(not err and receivers > 0) end
    end)
  end
end

-- Queues --------------------------------------------------------------------------------------------------------------

local function addQueues(self, client, run)
  local queue, onAdded, watched = {}, ignore, {}
  local tokens = 0
  self.queue = queue

  local function keys(name) return { ("%sq:%s:"):format(PREFIX, name) } end

  function queue.onAdded(f) onAdded = f end

  function queue.watch(name)
    if watched[name] then return end
    watched[name] = true
    client:subscribe(keys(name)[1] .. "n", function() onAdded(name) end, ignore)
  end

  function queue.add(name, bytes, options, answer)
    run("add", keys(name), { options.id or "", bytes, options.delay, options.priority, options.attempts, options.backoff }, answer)
  end

  function queue.take(name, n, lease, answer)
    tokens = tokens + 1
    run("take", keys(name), { n, lease, ("%s.%d."):format(self.address, tokens) }, function(err, reply)
      if err then return answer(err) end
      local list = {}
      for i = 2, #reply do
        local job = reply[i]
        list[#list + 1] = { id = job[1], token = job[2], bytes = job[3], attempt = job[4] }
      end
      answer(nil, list, reply[1] >= 0 and reply[1] or nil)
    end)
  end

  function queue.renew(name, jobs, lease)
    for first = 1, #jobs, RENEW_AT_ONCE do
      local args = { lease }
      for i = first, math.min(first + RENEW_AT_ONCE - 1, #jobs) do
        args[#args + 1] = jobs[i].id
        args[#args + 1] = jobs[i].token
      end
      run("renew", keys(name), args)
    end
  end

  -- What became of a job is told until the server has heard it; if it never does, the lease runs out and the job is done again.
  local function insist(script, name, args, answer)
    local tries = 0
    local function try()
      run(script, keys(name), args, function(err, reply)
        tries = tries + 1
        if err and tries < MOST_AGAIN then return timers.setTimeout(try, AGAIN):unref() end
        if answer then answer(err, reply) end
      end)
    end
    try()
  end

  function queue.done(name, id, token, answer) insist("done", name, { id, token }, answer) end
  function queue.fail(name, id, token, failure, answer) insist("fail", name, { id, token, failure }, answer) end
  function queue.release(name, id, token, answer) insist("release", name, { id, token }, answer) end

  function queue.stats(name, answer)
    run("stats", keys(name), {}, function(err, reply)
      if err then return answer(err) end
      answer(nil, { waiting = reply[1], active = reply[2], delayed = reply[3], failed = reply[4] })
    end)
  end

  function queue.failed(name, answer)
    run("failed", keys(name), {}, function(err, reply)
      if err then return answer(err) end
      local list = {}
      for i, each in ipairs(reply) do list[i] = { id = each[1], bytes = each[2], error = each[3] } end
      answer(nil, list)
    end)
  end

  function queue.retry(name, id, answer)
    run("retry", keys(name), { id }, function(err, reply) answer(err, reply == 1) end)
  end
end

-- Locks, limits, presence, cache --------------------------------------------------------------------------------------

local function addLocks(self, run)
  local function key(name) return PREFIX .. "l:" .. name end
  function self.lock(name, token, ttl, answer) run("lock", { key(name), PREFIX .. "fence" }, { token, math.ceil(ttl) }, answer) end
  function self.renewLock(name, token, ttl, answer)
    run("renewLock", { key(name) }, { token, math.ceil(ttl) }, function(err, reply) answer(err, reply == 1) end)
  end
  function self.unlock(name, token) run("unlock", { key(name) }, { token }) end

  local events = 0
  function self.limit(name, n, window, answer)
    events = events + 1
    run("limit", { PREFIX .. "w:" .. name }, { n, window, self.address .. "." .. events }, function(err, reply)
      if err then return answer(err) end
      answer(nil, reply[1] == 1, reply[2], tonumber(reply[3]))
    end)
  end
end

local function addPresence(self, client, run)
  local onPresence, watching = ignore, {}
  local function base(topic) return PREFIX .. "p:" .. topic .. ":" end
  function self.onPresence(f) onPresence = f end
  function self.watchPresence(topic)
    watching[topic] = function() onPresence(topic) end
    client:subscribe(base(topic) .. "n", watching[topic], ignore)
  end
  function self.unwatchPresence(topic)
    client:unsubscribe(base(topic) .. "n", watching[topic], ignore)
    watching[topic] = nil
  end
  function self.join(topic, id, bytes, ttl, _, answer) run("join", { base(topic) }, { id, bytes, ttl }, answer) end
  function self.leave(topic, id) run("leave", { base(topic) }, { id }) end
  function self.members(topic, answer)
    run("members", { base(topic) }, {}, function(err, reply)
      if err then return answer(err) end
      local members = {}
      for i = 1, #reply, 2 do members[reply[i]] = reply[i + 1] end
      answer(nil, members)
    end)
  end
end

local function addCache(self, client)
  local function key(name) return PREFIX .. "c:" .. name end
  self.cache = {
    get = function(name, answer) client:get(key(name), answer) end,
    set = function(name, bytes, ttl, answer)
      local function done(err) answer(err, not err or nil) end
      if ttl then client:set(key(name), bytes, "PX", math.ceil(ttl), done) else client:set(key(name), bytes, done) end
    end,
    delete = function(name, answer) client:del(key(name), function(err, n) answer(err, n == 1) end) end,
  }
end

---@param where string|table URL, or options of redis.connect
---@return table driver
function driver.new(where)
  local options = { commandTimeout = COMMAND_TIMEOUT }
  if type(where) == "table" then
    for name, value in pairs(where) do options[name] = value end
    where = nil
  end
  local client
  if where then client = redis.connect(where, options) else client = redis.connect(options) end
  local self = { address = machineName() }
  local onGap, ready = ignore, false
  function self.onGap(f) onGap = f end
  client:on("ready", function()
    if ready then onGap() end
    ready = true
  end)
  local run = runner(client)
  addTopics(self, client)
  addDirect(self, client)
  addQueues(self, client, run)
  addLocks(self, run)
  addPresence(self, client, run)
  addCache(self, client)
  return self
end

return driver
