--- Where lines of the log go: standard error, without ever waiting for whoever reads it. What does not fit is held, up to a limit;
--- past it whole lines are dropped and counted, and the count is told when there is room again.
local process = require("process")
local sockets = require("lrun.core.sockets")
local timers = require("timers")

local sink = {}

local FD = 2
local LIMIT = 1024 * 1024            -- bytes that are held
local AGAIN = 20                     -- ms between tries

local held, first, last = {}, 1, 0   -- pieces in their order
local size = 0
local lost = 0
local timer
local makeLoss = function(n) return ("%d lines were lost\n"):format(n) end

--- How a loss is told: `f(n)` returns the line.
function sink.onLoss(f) makeLoss = f end

-- Gives out what is held, piece by piece: a reader that takes nothing costs one try. True when all of it is out.
local function drain()
  while first <= last do
    local piece = held[first]
    local n = sockets.writeSome(FD, piece)
    if not n then                    -- nobody will ever read it
      held, first, last, size, lost = {}, 1, 0, 0, 0
      return true
    end
    size = size - n
    if n < #piece then
      held[first] = piece:sub(n + 1)
      return false
    end
    held[first] = nil
    first = first + 1
  end
  return true
end

local function hold(piece)
  last = last + 1
  held[last] = piece
  size = size + #piece
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
    if size + #line > LIMIT then lost = lost + 1 else hold(line) end
    return schedule()
  end
  local n = sockets.writeSome(FD, line)
  if not n or n == #line then return end
  hold(line:sub(n + 1))
  schedule()
  if watchesExit then return end
  watchesExit = true
  process:on("exit", drain)
end

return sink
