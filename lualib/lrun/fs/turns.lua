--- Answers that were there at once: they are delivered together, once a turn of the loop, so that a chain of calls, each made
--- by the callback of the one before, lets everything else go on. The queue is read by C (runtime/files/turns.c): four values
--- an entry, a function and three arguments of which the last ones may be nil; at 0 how many values there are.
local ffi = require("ffi")
local core = require("lrun.core.files")

local turns = {}

local queue = { [0] = 0 }
core.turns(queue)
local awake = ffi.cast("void (*)(void)", core.awake)

--- Calls `f(a, b, c)` in the next turn.
function turns.push(f, a, b, c)
  local at = queue[0]
  queue[at + 1], queue[at + 2], queue[at + 3], queue[at + 4] = f, a, b, c
  queue[0] = at + 4
  if at == 0 then awake() end
end

return turns
