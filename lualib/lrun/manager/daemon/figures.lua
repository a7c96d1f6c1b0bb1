--- Memory and processor time of processes, from /proc, when somebody asks. The processor's share is that since the last question, if that
--- is not too near; at first since the process's start. Owns what the last answers were.
local uv = require("luv")
local identity = require("lrun.manager.identity")

local NEAR = 400                -- ms: two questions within it have one answer
local FORGET = 60000

local figures = {}

local known = {}

local function forgetOld(now)
  for pid, each in pairs(known) do if now - each.at > FORGET then known[pid] = nil end end
end

--- The figures of a process.
---@param pid integer
---@return { memory: integer, cpu: number }?
function figures.of(pid)
  local usage = identity.usage(pid)
  if not usage then
    known[pid] = nil
    return nil
  end
  local now = uv.now()
  local before = known[pid]
  if before and before.start ~= usage.start then before = nil end
  if before and now - before.at < NEAR then return { memory = usage.memory, cpu = before.cpu } end
  local cpu
  if before then
    cpu = (usage.ticks - before.ticks) * 10 / (now - before.at) * 100
  else
    local lived = identity.now() - usage.start
    cpu = lived > 0 and usage.ticks / lived * 100 or 0
    forgetOld(now)
  end
  cpu = math.floor(math.max(0, cpu) * 10 + 0.5) / 10
  known[pid] = { at = now, ticks = usage.ticks, start = usage.start, cpu = cpu }
  return { memory = usage.memory, cpu = cpu }
end

return figures
