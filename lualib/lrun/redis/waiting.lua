--- Commands that wait for a connection, in their order: units, each a list of entries that are sent one behind the other (see
--- lrun.redis.client). What may wait is bounded, in commands and in bytes.
local errors = require("errors")

---@class RedisWaiting
local Waiting = { name = "RedisWaiting" }
Waiting.__index = Waiting

local waiting = {}

---@param options { offlineQueue: integer, outputLimit: integer } of lrun.redis.options
---@return RedisWaiting
function waiting.new(options)
  return setmetatable({ options = options, units = {}, dropped = 0, commands = 0, bytes = 0 }, Waiting)
end

local function sizeOf(unit)
  local size = 0
  for _, entry in ipairs(unit) do
    for i = 1, entry.n do
      local word = entry.words[i]
      size = size + (type(word) == "string" and #word or 16)
    end
  end
  return size
end

local function count(self, unit, sign)
  self.commands = self.commands + sign * #unit
  self.bytes = self.bytes + sign * unit.bytes
end

--- Adds a unit behind the others.
---@param unit table[] entries
---@return Error? err `ENOBUFS` when there is no room for it
function Waiting:add(unit)
  local options = self.options
  if self.commands + #unit > options.offlineQueue then
    return errors.coded("ENOBUFS", ("%d commands wait for a connection, the limit is %d (options.offlineQueue)")
      :format(self.commands, options.offlineQueue))
  end
  unit.bytes = sizeOf(unit)
  if self.commands > 0 and self.bytes + unit.bytes > options.outputLimit then
    return errors.coded("ENOBUFS", ("%d bytes of commands wait for a connection, the limit is %d (options.outputLimit)")
      :format(self.bytes, options.outputLimit))
  end
  self.units[#self.units + 1] = unit
  count(self, unit, 1)
end

--- Puts units, which were sent already, before all others.
---@param units table[][]
function Waiting:putFirst(units)
  local list = {}
  for _, unit in ipairs(units) do
    unit.bytes = sizeOf(unit)
    count(self, unit, 1)
    list[#list + 1] = unit
  end
  for _, unit in ipairs(self.units) do list[#list + 1] = unit end
  self.units = list
end

--- Lets go of a unit that nobody waits for any more. The list is cleared of such ones when they are the most of it.
---@param unit table[]
function Waiting:drop(unit)
  if unit.dropped or not unit.bytes then return end
  unit.dropped = true
  count(self, unit, -1)
  self.dropped = self.dropped + 1
  if self.dropped * 2 > #self.units then self.units = self:live() end
end

--- Internal: the units that are still waited for.
function Waiting:live()
  local list = {}
  for _, unit in ipairs(self.units) do if not unit.dropped then list[#list + 1] = unit end end
  self.dropped = 0
  return list
end

--- Takes all away, in their order.
---@return table[][] units
function Waiting:takeAll()
  local list = self:live()
  for _, unit in ipairs(list) do unit.bytes = nil end
  self.units, self.commands, self.bytes = {}, 0, 0
  return list
end

return waiting
