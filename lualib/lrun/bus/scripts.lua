--- What the bus has Redis do in one step: scripts, in Redis' Lua. `base` is the beginning of the keys of a queue, lock or topic. A job is
--- a hash: b (its bytes), n and m (attempts it may have, and has had), w (ms between them), p (priority), s (its number), t (the
--- token of who has it), e (its last error). Time is the server's.
local NOW = [[
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
]]

-- A job waits: those of larger priority first, then in the order in which they were added.
local WAIT = [[
local function wait(base, id)
  local job = redis.call('HMGET', base .. 'j:' .. id, 'p', 's')
  redis.call('ZADD', base .. 'wait', -(tonumber(job[1]) or 0), string.format('%016d', tonumber(job[2]) or 0) .. ':' .. id)
end
local function tell(base) redis.call('PUBLISH', base .. 'n', '') end
]]

return {
  -- KEYS base; ARGV id or '', bytes, delay, priority, attempts, backoff → id
  add = NOW .. WAIT .. [[
    local base, id = KEYS[1], ARGV[1]
    local seq = redis.call('INCR', base .. 'seq')
    if id == '' then
      id = tostring(seq)
      while redis.call('EXISTS', base .. 'j:' .. id) == 1 do
        seq = redis.call('INCR', base .. 'seq')
        id = tostring(seq)
      end
    elseif redis.call('EXISTS', base .. 'j:' .. id) == 1 then
      return id
    end
    redis.call('HSET', base .. 'j:' .. id, 'b', ARGV[2], 'p', ARGV[4], 'n', ARGV[5], 'w', ARGV[6], 'm', 0, 's', seq)
    if tonumber(ARGV[3]) > 0 then
      redis.call('ZADD', base .. 'delay', now + tonumber(ARGV[3]), id)
    else
      wait(base, id)
    end
    tell(base)
    return id]],

  -- KEYS base; ARGV how many, lease, token → { due or -1, { id, token, bytes, attempt }, … }
  take = NOW .. WAIT .. [[
    local base = KEYS[1]
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', base .. 'delay', '-inf', now)) do
      redis.call('ZREM', base .. 'delay', id)
      wait(base, id)
    end
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', base .. 'active', '-inf', now)) do
      redis.call('ZREM', base .. 'active', id)
      redis.call('HDEL', base .. 'j:' .. id, 't')
      wait(base, id)
    end
    local next = redis.call('ZRANGE', base .. 'delay', 0, 0, 'WITHSCORES')
    local list = { next[2] and tonumber(next[2]) - now or -1 }
    local popped = redis.call('ZPOPMIN', base .. 'wait', ARGV[1])
    for i = 1, #popped, 2 do
      local id = string.sub(popped[i], 18)
      local token = ARGV[3] .. i
      local job = redis.call('HMGET', base .. 'j:' .. id, 'b', 'm')
      if job[1] then
        redis.call('HSET', base .. 'j:' .. id, 't', token)
        redis.call('ZADD', base .. 'active', now + tonumber(ARGV[2]), id)
        list[#list + 1] = { id, token, job[1], tonumber(job[2]) + 1 }
      end
    end
    return list]],

  -- KEYS base; ARGV lease, id, token, … → how many are still ours
  renew = NOW .. [[
    local base, ours = KEYS[1], 0
    for i = 2, #ARGV, 2 do
      if redis.call('HGET', base .. 'j:' .. ARGV[i], 't') == ARGV[i + 1] then
        redis.call('ZADD', base .. 'active', now + tonumber(ARGV[1]), ARGV[i])
        ours = ours + 1
      end
    end
    return ours]],

  -- KEYS base; ARGV id, token
  done = [[
    local base, id = KEYS[1], ARGV[1]
    if redis.call('HGET', base .. 'j:' .. id, 't') ~= ARGV[2] then return 0 end
    redis.call('ZREM', base .. 'active', id)
    redis.call('DEL', base .. 'j:' .. id)
    return 1]],

  -- KEYS base; ARGV id, token, error
  fail = NOW .. WAIT .. [[
    local base, id = KEYS[1], ARGV[1]
    local key = base .. 'j:' .. id
    if redis.call('HGET', key, 't') ~= ARGV[2] then return 0 end
    redis.call('ZREM', base .. 'active', id)
    redis.call('HDEL', key, 't')
    redis.call('HSET', key, 'e', ARGV[3])
    local made, job = redis.call('HINCRBY', key, 'm', 1), redis.call('HMGET', key, 'n', 'w')
    if made >= tonumber(job[1]) then
      redis.call('ZADD', base .. 'failed', now, id)
    elseif tonumber(job[2]) > 0 then
      redis.call('ZADD', base .. 'delay', now + tonumber(job[2]), id)
    else
      wait(base, id)
    end
    tell(base)
    return 1]],

  -- KEYS base; ARGV id, token
  release = WAIT .. [[
    local base, id = KEYS[1], ARGV[1]
    if redis.call('HGET', base .. 'j:' .. id, 't') ~= ARGV[2] then return 0 end
    redis.call('ZREM', base .. 'active', id)
    redis.call('HDEL', base .. 'j:' .. id, 't')
    wait(base, id)
    tell(base)
    return 1]],

  -- KEYS base → waiting, active, delayed, failed
  stats = [[
    local list = {}
    for i, name in ipairs({ 'wait', 'active', 'delay', 'failed' }) do list[i] = redis.call('ZCARD', KEYS[1] .. name) end
    return list]],

  -- KEYS base → { id, bytes, error }, …
  failed = [[
    local list = {}
    for i, id in ipairs(redis.call('ZRANGE', KEYS[1] .. 'failed', 0, -1)) do
      local job = redis.call('HMGET', KEYS[1] .. 'j:' .. id, 'b', 'e')
      list[i] = { id, job[1] or '', job[2] or '' }
    end
    return list]],

  -- KEYS base; ARGV id
  retry = WAIT .. [[
    if redis.call('ZREM', KEYS[1] .. 'failed', ARGV[1]) == 0 then return 0 end
    redis.call('HSET', KEYS[1] .. 'j:' .. ARGV[1], 'm', 0)
    wait(KEYS[1], ARGV[1])
    tell(KEYS[1])
    return 1]],

  -- KEYS lock, fence; ARGV token, ttl → fence or nil. The fence grows also where the server has lost what it knew.
  lock = [[
    if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return false end
    local clock = redis.call('TIME')
    local fence = math.max((tonumber(redis.call('GET', KEYS[2])) or 0) + 1, clock[1] * 1000 + math.floor(clock[2] / 1000))
    redis.call('SET', KEYS[2], string.format('%.0f', fence))
    return fence]],

  -- KEYS lock; ARGV token, ttl
  renewLock = [[
    if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
    return redis.call('PEXPIRE', KEYS[1], ARGV[2])]],

  -- KEYS lock; ARGV token
  unlock = [[
    if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
    return redis.call('DEL', KEYS[1])]],

  -- KEYS limit; ARGV n, window, a name for this event → allowed, left, ms to wait
  limit = [[
    local clock = redis.call('TIME')
    local now, n, window = clock[1] * 1000 + clock[2] / 1000, tonumber(ARGV[1]), tonumber(ARGV[2])
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
    local count = redis.call('ZCARD', KEYS[1])
    if count < n then
      redis.call('ZADD', KEYS[1], string.format('%.3f', now), ARGV[3])
      redis.call('PEXPIRE', KEYS[1], math.ceil(window))
      return { 1, n - count - 1, '0' }
    end
    if n == 0 then return { 0, 0, tostring(window) } end
    local oldest = redis.call('ZRANGE', KEYS[1], count - n, count - n, 'WITHSCORES')
    return { 0, 0, string.format('%.3f', tonumber(oldest[2]) + window - now) }]],

  -- KEYS base; ARGV id, bytes, ttl, '1' for a renewal
  join = NOW .. [[
    local added = redis.call('HSET', KEYS[1] .. 'm', ARGV[1], ARGV[2])
    redis.call('ZADD', KEYS[1] .. 'e', now + tonumber(ARGV[3]), ARGV[1])
    redis.call('PEXPIRE', KEYS[1] .. 'm', ARGV[3] * 10)
    redis.call('PEXPIRE', KEYS[1] .. 'e', ARGV[3] * 10)
    if added == 1 then redis.call('PUBLISH', KEYS[1] .. 'n', '') end
    return added]],

  -- KEYS base; ARGV id
  leave = [[
    redis.call('ZREM', KEYS[1] .. 'e', ARGV[1])
    if redis.call('HDEL', KEYS[1] .. 'm', ARGV[1]) == 1 then redis.call('PUBLISH', KEYS[1] .. 'n', '') end
    return 1]],

  -- KEYS base → id, bytes, …
  members = NOW .. [[
    local gone = redis.call('ZRANGEBYSCORE', KEYS[1] .. 'e', '-inf', now)
    for _, id in ipairs(gone) do
      redis.call('ZREM', KEYS[1] .. 'e', id)
      redis.call('HDEL', KEYS[1] .. 'm', id)
    end
    if #gone > 0 then redis.call('PUBLISH', KEYS[1] .. 'n', '') end
    local list = {}
    for _, id in ipairs(redis.call('HKEYS', KEYS[1] .. 'm')) do
      list[#list + 1] = id
      list[#list + 1] = redis.call('HGET', KEYS[1] .. 'm', id)
    end
    return list]],
}
