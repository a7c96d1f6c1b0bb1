--- Where lines of the log go: standard error, without ever waiting for whoever reads it. What does not fit is held, up to a limit;
--- past it whole lines are dropped and counted, and the count is told when there is room again.
local process = require("process")
local sockets = require("lrun.core.sockets")
local timers = require("timers")

local sink = {}

local FD = 2
local LIMIT = 1024 * 1024            -- bytes that are held
local AGAIN = 20                     -- ms between tries

local held, size = {}, 0             -- pieces in their order
local lost = 0
local timer
local makeLoss = function(n) return ("%d lines were lost\n"):format(n) end

--- How a loss is told: `f(n)` returns the line.
function sink.onLoss(f) makeLoss = f end

-- Gives out what is held; true when all of it is.
local function drain()
  if size == 0 then return true end
  local text = table.concat(held)
  local n = sockets.writeSome(FD, text)
  if not n then                      -- nobody will ever read it
    held, size, lost = {}, 0, 0
    return true
  end
  text = text:sub(n + 1)
  held, size = text ~= "" and { text } or {}, #text
  return size == 0
end

local schedule

local function again()
  timer = nil
  if not drain() then return schedule() end
  if lost > 0 then
    local line = makeLoss(lost)
    lost = 0
    sink.write(line)
  end
end

function schedule()
  if timer then return end
  timer = timers.setTimeout(again, AGAIN)
  timer:unref()
end

local watchesExit = false

--- A line, with its end.
---@param line string
function sink.write(line)
  if not drain() or lost > 0 then
    if size + #line > LIMIT then lost = lost + 1 else
      held[#held + 1] = line
      size = size + #line
    end
    return schedule()
  end
  local n = sockets.writeSome(FD, line)
  if not n or n == #line then return end
  held, size = { line:sub(n + 1) }, #line - n
  schedule()
  if watchesExit then return end
  watchesExit = true
  process:on("exit", drain)
end

return sink
