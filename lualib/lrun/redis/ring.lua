--- A queue in a ring: first in, first out, at a cost that does not depend on how many have passed through. Numbers of its entries go on
--- growing: `first` to `last` are there.
local band = require("bit").band

local ring = {}

local Ring = {}
Ring.__index = Ring

---@return table
function ring.new() return setmetatable({ slots = {}, mask = 15, first = 1, last = 0 }, Ring) end

local function grow(self)
  local slots, mask = {}, self.mask * 2 + 1
  for i = self.first, self.last do slots[band(i, mask) + 1] = self.slots[band(i, self.mask) + 1] end
  for i = 1, mask + 1 do if slots[i] == nil then slots[i] = false end end
  self.slots, self.mask = slots, mask
end

--- Appends; returns its number.
function Ring:push(value)
  local last = self.last + 1
  if last - self.first > self.mask then grow(self) end
  self.last = last
  self.slots[band(last, self.mask) + 1] = value
  return last
end

--- The first, which stays; nil when there is none.
function Ring:peek()
  if self.first > self.last then return nil end
  return self.slots[band(self.first, self.mask) + 1]
end

--- Takes the first away.
function Ring:shift()
  self.slots[band(self.first, self.mask) + 1] = false
  self.first = self.first + 1
end

--- Takes all away, in their order.
---@return any[]
function Ring:takeAll()
  local list = {}
  for i = self.first, self.last do list[#list + 1] = self.slots[band(i, self.mask) + 1] end
  self.slots, self.mask, self.first = {}, 15, self.last + 1
  return list
end

return ring
