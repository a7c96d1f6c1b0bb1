--- One timer for many things that each may take equally long: a list in the order of their beginnings.
---
--- An entry is a table of the caller's with the fields `before`, `after` (false while it is on no list, and at the ends) and
--- `at`. The timer is set when there is none: entries mostly come and go before it fires, and then it finds what is left.
local uv = require("luv")

---@class Deadlines
---@field limit integer ms; 0 for none
---@field late fun(entry: table)
local Deadlines = {}
Deadlines.__index = Deadlines

local function remove(self, entry)
  local before, after = entry.before, entry.after
  if before then before.after = after else self.first = after end
  if after then after.before = before else self.last = before end
  entry.before, entry.after = false, false
end

local function arm(self)
  local timer = self.timer
  if not timer then
    timer = uv.new_timer()
    self.timer = timer
    uv.unref(timer)
  end
  uv.timer_start(timer, math.max(1, self.first.at - uv.now()), 0, self.fire)
  self.armed = true
end

local function fire(self)
  self.armed = false
  local now = uv.now()
  while self.first and self.first.at <= now do
    local entry = self.first
    remove(self, entry)
    self.late(entry)
  end
  if self.first and not self.armed then arm(self) end
end

--- `late(entry)` is called unless it is dropped in time.
---@param entry table
function Deadlines:add(entry)
  local last = self.last
  entry.before = last
  if last then last.after = entry else self.first = entry end
  self.last = entry
  if self.limit == 0 then return end
  entry.at = uv.now() + self.limit
  if not self.armed then arm(self) end
end

--- The thing is done. Harmless when it is on no list.
---@param entry table
function Deadlines:drop(entry)
  if entry.before or entry.after or self.first == entry then remove(self, entry) end
end

--- All that are not done, the oldest first.
---@return table[]
function Deadlines:list()
  local list, entry = {}, self.first
  while entry do
    list[#list + 1], entry = entry, entry.after
  end
  return list
end

--- Gives the timer back; `add` makes another.
function Deadlines:close()
  local timer = self.timer
  self.timer, self.armed = false, false
  if timer and not uv.is_closing(timer) then uv.close(timer) end
end

local deadlines = {}

--- Makes a list. Its timer keeps no process alive.
---@param limit integer ms; 0: as long as they like
---@param late fun(entry: table)
---@return Deadlines
function deadlines.new(limit, late)
  local self = setmetatable({ limit = limit, late = late, timer = false, armed = false, first = false, last = false }, Deadlines)
  self.fire = function() fire(self) end
  return self
end

return deadlines
