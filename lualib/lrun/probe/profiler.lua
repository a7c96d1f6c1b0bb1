--- Samples of where this process spends its processor time, by LuaJIT's profiler: whole stacks, the outermost function first, and
--- how often each was met. One profile at a time; it ends with its time, or with the client that asked for it.
local uv = require("luv")
local wire = require("lrun.manager.wire")

local profiler = {}

local LONGEST = 3600                -- s
local MAX_STACKS = 20000            -- different ones; others are counted together
local DEPTH = 100
local OTHER = "(other stacks)"
local BESIDE = { G = "(garbage collector)", J = "(compiler)" }

local running

local function sampler(counts, run)
  local dumpstack = require("jit.profile").dumpstack
  local known = 0
  return function(thread, samples, state)
    local stack = dumpstack(thread, "FZ;", -DEPTH)
    if BESIDE[state] then stack = stack .. ";" .. BESIDE[state] end
    if not counts[stack] then
      if known >= MAX_STACKS then stack = OTHER else known = known + 1 end
    end
    counts[stack] = (counts[stack] or 0) + samples
    run.samples = run.samples + samples
  end
end

-- A number within bounds, both included; not a number is within none.
local function within(value, least, most) return value and value >= least and value <= most end

local function processorTime()
  local usage = uv.getrusage()
  return usage.utime.sec + usage.utime.usec / 1e6 + usage.stime.sec + usage.stime.usec / 1e6
end

--- The call: `args.seconds`, `args.interval` (ms). Answers { samples, seconds, processor, stacks = { { stack, count } … } }.
function profiler.profile(client, args, answer)
  if running then return answer.fail{ code = "busy", message = "another profile of this process is running" } end
  local seconds, interval = tonumber(args.seconds or 10), tonumber(args.interval or 1)
  if not within(seconds, 0, LONGEST) or not within(interval, 1, 1000) then
    return answer.fail{ code = "usage", message = ("a profile takes 0 to %d seconds, and an interval of 1 to 1000 ms"):format(LONGEST) }
  end
  interval = math.floor(interval)
  local counts, run, timer = {}, { samples = 0 }, uv.new_timer()
  local startedAt, processor = uv.hrtime(), processorTime()
  running = run
  local function stop()
    if running ~= run then return end
    running = nil
    require("jit.profile").stop()
    timer:close()
    if client.closed then return end
    local list = wire.list()
    for stack, count in pairs(counts) do list[#list + 1] = { stack = stack, count = count } end
    answer.ok(wire.pack{ samples = run.samples, seconds = (uv.hrtime() - startedAt) / 1e9, interval = interval,
      processor = processorTime() - processor, stacks = list })
  end
  table.insert(client.atEnd, stop)
  require("jit.profile").start("fi" .. interval, sampler(counts, run))
  timer:start(math.floor(seconds * 1000), 0, stop)
  timer:unref()
end

return profiler
