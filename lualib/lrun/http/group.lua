--- A group of connections whose limits are the same: those of one server, or those of clients with one maxHeaderSize.
--- Owns C's side of it (`core`) and the timer that looks at the time limits of all of them, instead of a timer each.
local core = require("lrun.core.http")
local uv = require("luv")

---@class ConnectionGroup
---@field core userdata C's side: counters, limits, the list of the connections
local Group = { maxHeaderSize = 16 * 1024, maxHeadersCount = 2000 }     -- where nothing else is said
Group.__index = Group

---@param maxHeaderSize integer bytes of a head
---@param maxHeadersCount integer
---@param configure function? called before each look, for limits that may have changed
---@return ConnectionGroup
function Group.new(maxHeaderSize, maxHeadersCount, configure)
  return setmetatable({
    core = core.server(maxHeaderSize, maxHeadersCount), configure = configure or false, shortest = math.huge, timer = false,
    interval = false,
  }, Group)
end

---@return integer connections that are open
function Group:count() return core.count(self.core) end

--- Looks at the connections every `interval` ms as long as there are any.
---@param interval integer
function Group:sweep(interval)
  if self.interval == interval then return end
  self.interval = interval
  if not self.timer then
    self.timer = uv.new_timer()
    self.timer:unref()
  end
  self.timer:start(interval, interval, function()
    if self:count() == 0 then
      self.timer:close()
      self.timer, self.interval = false, false
      return
    end
    if self.configure then self.configure() end
    core.sweep(self.core)
  end)
end

--- How often to look for limits of `shortest` ms: often enough, never more than 50 times a second, nor less than 4.
---@param shortest number
---@return integer
function Group.intervalFor(shortest) return math.floor(math.min(math.max(shortest / 5, 20), 250)) end

--- Some connection has a limit of `ms`, 0 for none: the looks are as frequent as that takes.
---@param ms number
function Group:limit(ms)
  if ms <= 0 or ms >= self.shortest and self.interval then return end
  self.shortest = math.min(ms, self.shortest)
  self:sweep(Group.intervalFor(self.shortest))
end

return Group
