--- One timer for many things that each may take equally long: a list in the order of their beginnings.
local uv = require("luv")

local Deadlines = {}
Deadlines.__index = Deadlines

local function arm(self)
  local first = self.first
  if not first then return self.timer and uv.timer_stop(self.timer) end
  if not self.timer then
    self.timer = uv.new_timer()
    uv.unref(self.timer)
  end
  uv.timer_start(self.timer, math.max(0, first.at - uv.now()), 0, function() self:_fire() end)
end

local function remove(self, entry)
  if entry.before then entry.before.after = entry.after else self.first = entry.after end
  if entry.after then entry.after.before = entry.before else self.last = entry.before end
  entry.before, entry.after, entry.listed = nil, nil, false
end

function Deadlines:_fire()
  local now = uv.now()
  while self.first and self.first.at <= now do
    local entry = self.first
    remove(self, entry)
    entry.late(entry.value)
  end
  arm(self)
end

--- `late(value)` is called unless the entry is dropped in time.
---@param value any
---@param late fun(value: any)
---@return table entry
function Deadlines:add(value, late)
  local entry = { value = value, late = late, at = uv.now() + self.limit, listed = true, before = self.last, after = nil }
  if self.last then self.last.after = entry else self.first = entry end
  self.last = entry
  if self.first == entry then arm(self) end
  return entry
end

--- The thing is done. Harmless when it was dropped before.
---@param entry table
function Deadlines:drop(entry)
  if not entry.listed then return end
  local wasFirst = self.first == entry
  remove(self, entry)
  if wasFirst and not self.first then arm(self) end
end

--- Gives the timer back; `add` makes another.
function Deadlines:close()
  local timer = self.timer
  self.timer = nil
  if timer and not uv.is_closing(timer) then uv.close(timer) end
end

local deadlines = {}

--- Makes a list. Its timer keeps no process alive.
---@param limit integer ms
---@return table
function deadlines.new(limit)
  return setmetatable({ limit = limit, timer = nil, first = nil, last = nil }, Deadlines)
end

return deadlines
