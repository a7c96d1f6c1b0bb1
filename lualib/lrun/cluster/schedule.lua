--- Which worker gets a connection. Pure functions of plain values: candidates in fork order, a turn, and what is known
--- about each candidate's load; they know neither sockets nor processes.
local bit = require("bit")

local schedule = {}

schedule.SCHED_NONE = 1
schedule.SCHED_RR = 2
schedule.SCHED_REUSEPORT = 3
schedule.SCHED_LEAST = 4
schedule.SCHED_STICKY = 5

local names = {
  none = schedule.SCHED_NONE,
  rr = schedule.SCHED_RR,
  reuseport = schedule.SCHED_REUSEPORT,
  least = schedule.SCHED_LEAST,
  sticky = schedule.SCHED_STICKY,
}

-- From when on (ms) a worker is passed over that does not come back to its loop, or takes none of the connections on
-- their way to it: it is stopped, or in a debugger. One that merely waits for a processor is not stuck: round robin is
-- patient, least connections asks whether others are as late, and clients that stick to it wait longest.
local STUCK_RR, STUCK_STICKY = 100, 1000
local FULL = 128      -- connections on their way to a worker that takes none: it has no descriptors for them
local STUCK_LEAST, STUCK_MAX, TIMES_LATER = 40, 200, 3

---@class Load what is known of one candidate
---@field [1] integer connections on their way that it has not taken
---@field [2] integer open connections, those included
---@field [3] number ms for which it has been busy with one turn of its loop
---@field [4] integer ms for which it has taken none of those on their way, 0 when there are none

---@alias LoadOf fun(candidate: any): integer?, integer?, number?, integer? nothing: the candidate is gone

--- The policy that an environment variable names.
---@param name string?
---@return integer? policy
---@return string? problem when there is no such policy
function schedule.named(name)
  if name == nil or name == "" then return nil end
  local policy = names[name:lower()]
  if policy then return policy end
  return nil, ("unknown scheduling policy '%s': use rr, none, reuseport, least or sticky"):format(name)
end

--- Whether a program may set `cluster.schedulingPolicy` to this.
function schedule.isPolicy(policy)
  if type(policy) == "function" then return true end
  for _, known in pairs(names) do if policy == known then return true end end
  return false
end

--- Whether the primary accepts under this policy.
function schedule.accepts(policy)
  return policy ~= schedule.SCHED_NONE and policy ~= schedule.SCHED_REUSEPORT
end

--- The next one in turn that is not stuck with connections it has not taken; when all are, the next one.
---@param candidates any[]
---@param turn integer index to start from
---@param loadOf LoadOf
---@return integer? index nil when there is no candidate
function schedule.roundRobin(candidates, turn, loadOf)
  local count = #candidates
  local fallback
  for i = 0, count - 1 do
    local index = (turn - 1 + i) % count + 1
    local untaken, _, busy, waited = loadOf(candidates[index])
    if untaken then
      if untaken == 0 or busy < STUCK_RR and waited < STUCK_RR and untaken < FULL then return index end
      fallback = fallback or index
    end
  end
  return fallback
end

-- Short connections come and go faster than the count of open ones tells workers apart: so many connections more than
-- the others got weigh as much as one that is open, up to a few.
local LEAD_PER_OPEN, LEAD_MAX = 16, 16
-- From when on (ms) connections wait for a worker that waits for a processor. They are no work of its own that would set
-- it apart: where there are such, a connection more weighs as much as one that is open, up to twice the longest queue.
local QUEUED = 3

-- The loads of all candidates, the fewest that one was given, how many wait for one that is not stuck, and how
-- long (ms) one may be busy, or take none, and still get another: longer when not only one is late.
local function survey(candidates, loadOf)
  local opens, times, fewest, queue, longest, second = {}, {}, math.huge, 0, 0, 0
  for i = 1, #candidates do
    local untaken, open, busy, waited = loadOf(candidates[i])
    opens[i], times[i] = untaken and open or false, untaken and math.max(busy, waited) or 0
    if untaken then
      local late = times[i]
      fewest = math.min(fewest, candidates[i].given)
      if waited >= QUEUED and busy < STUCK_LEAST and untaken > queue then queue = untaken end
      if late > longest then longest, second = late, longest elseif late > second then second = late end
    end
  end
  return opens, times, fewest, queue, math.max(STUCK_LEAST, math.min(STUCK_MAX, second * TIMES_LATER))
end

--- The one with the fewest open connections; of several the one that was given the fewest so far, and of those the
--- next in turn. One whose loop is stuck comes last.
---@param candidates { given: integer }[]
---@param turn integer
---@param loadOf LoadOf
---@return integer? index
function schedule.leastConnections(candidates, turn, loadOf)
  local count = #candidates
  local opens, times, fewest, queue, patience = survey(candidates, loadOf)
  local best, bestScore
  for i = 0, count - 1 do
    local index = (turn - 1 + i) % count + 1
    if opens[index] then
      local lead = candidates[index].given - fewest
      local score = opens[index] + math.min(lead / LEAD_PER_OPEN, LEAD_MAX) + math.min(lead, queue * 2)
      if times[index] >= patience then score = score + 1e9 end
      if not best or score < bestScore then best, bestScore = index, score end
    end
  end
  return best
end

local function hashText(text)
  local hash = bit.tobit(0x811c9dc5)
  for i = 1, #text do
    hash = bit.bxor(hash, text:byte(i))
    -- times 16777619 (FNV's prime), in 32 bits
    hash = bit.tobit(hash + bit.lshift(hash, 1) + bit.lshift(hash, 4) + bit.lshift(hash, 7) + bit.lshift(hash, 8)
      + bit.lshift(hash, 24))
  end
  return hash
end

-- Product of two 32-bit numbers, modulo 2^32, without leaving the doubles' exact range.
local function multiply(a, b)
  local low = bit.band(b, 0xffff)
  local high = bit.rshift(b, 16)
  return bit.tobit(bit.tobit(bit.band(a, 0xffff) * low + bit.lshift(bit.tobit(bit.rshift(a, 16) * low), 16))
    + bit.lshift(bit.tobit(bit.band(a, 0xffff) * high), 16))
end

-- How much a client is drawn to a slot: unrelated numbers for all pairs.
local function attraction(hash, slot)
  local h = bit.bxor(hash, multiply(slot, 0x9e3779b1))
  h = multiply(bit.bxor(h, bit.rshift(h, 16)), 0x85ebca6b)
  h = multiply(bit.bxor(h, bit.rshift(h, 13)), 0xc2b2ae35)
  return bit.bxor(h, bit.rshift(h, 16))
end

--- The one whose slot attracts this client most (rendezvous hashing): when a candidate goes only its clients move, and
--- when one comes to its slot they move back. One that is stuck does without them as long as that lasts.
---@param candidates { slot: integer }[]
---@param client string the remote address
---@param loadOf LoadOf
---@return integer? index
function schedule.sticky(candidates, client, loadOf)
  local hash = hashText(client)
  local best, bestAttraction, stuck
  for index = 1, #candidates do
    local candidate = candidates[index]
    local a = attraction(hash, candidate.slot)
    local untaken, _, _, waited = loadOf(candidate)
    if untaken and waited >= STUCK_STICKY then
      stuck = stuck or index
    elseif untaken and (not best or a > bestAttraction) then
      best, bestAttraction = index, a
    end
  end
  return best or stuck
end

--- Asks the program's own policy.
---@param policy fun(workers: Worker[], info: table): Worker?
---@param workers Worker[] the candidates' workers, in the same order
---@param info table `remoteAddress`, `remotePort`, `localPort`, `connections` by worker id
---@return integer? index
---@return string? problem why there is none
function schedule.custom(policy, workers, info)
  local asked = coroutine.create(policy)
  local ok, chosen = coroutine.resume(asked, workers, info)
  if not ok then
    local told, text = pcall(tostring, chosen)
    return nil, "the scheduling policy failed: " .. (told and text or "and so does its error")
  end
  if coroutine.status(asked) ~= "dead" then return nil, "the scheduling policy waits: it has to answer at once" end
  if chosen == nil then return nil, "the scheduling policy named no worker" end
  for index = 1, #workers do if rawequal(workers[index], chosen) then return index end end
  return nil, "the scheduling policy named something that is no listening worker"
end

return schedule
