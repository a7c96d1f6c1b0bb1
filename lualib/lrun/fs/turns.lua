--- Answers that were there at once: they are delivered together, once a turn of the loop, so that a chain of calls, each made
--- by the callback of the one before, lets everything else go on.
local core = require("lrun.core.files")
local vm = require("lrun.core.vm")

local turns = {}

local MOST = 4096                   -- a longer queue is not kept for the next turn
local WIDTH = 4                     -- a function and three arguments, of which the last ones may be nil
local queue, spare, count = {}, {}, 0
local awake = false

local function call(f, a, b, c)
  if c ~= nil then return vm.enter(f, a, b, c) end
  if b ~= nil then return vm.enter(f, a, b) end
  return vm.enter(f, a)
end

local function onTurn()
  local turn, last = queue, count
  queue, count = spare, 0
  spare = {}                        -- a turn in a turn, where a callback runs the loop
  for i = 1, last, WIDTH do
    local f, a, b, c = turn[i], turn[i + 1], turn[i + 2], turn[i + 3]
    turn[i], turn[i + 1], turn[i + 2], turn[i + 3] = false, nil, nil, nil
    call(f, a, b, c)
    vm.ticks()
  end
  if last <= MOST then spare = turn end
  if count > 0 then return end
  awake = false
  core.awake(false)
end
core.turns(onTurn)

--- Calls `f(a, b, c)` in the next turn.
function turns.push(f, a, b, c)
  local at, list = count, queue
  list[at + 1], list[at + 2], list[at + 3], list[at + 4] = f, a, b, c
  count = at + WIDTH
  if awake then return end
  awake = true
  core.awake(true)
end

return turns
