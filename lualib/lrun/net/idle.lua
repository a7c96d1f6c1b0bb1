--- The time limit of a connection without traffic. Traffic only notes when it was; the timer looks at that when it fires.
--- Bytes that leave a queue are traffic, too, though nothing tells of them. Owns one timer, which keeps no process alive.
local uv = require("luv")

---@class Idle
---@field limit integer ms
---@field fired boolean the limit was reached, and there was no traffic since
---@field private last integer ms of the loop's clock
---@field private queued integer bytes that waited when it last looked
local Idle = {}
Idle.__index = Idle

---@param onTimeout fun() called when the limit is reached, and again after later traffic
---@param queuedBytes fun(): integer what waits to be written
---@return Idle
function Idle.new(onTimeout, queuedBytes)
  local timer = uv.new_timer()
  timer:unref()
  local self = setmetatable({ timer = timer, onTimeout = onTimeout, queuedBytes = queuedBytes, limit = 0, fired = false, queued = 0 }, Idle)
  self.onTimer = function() self:look() end
  return self
end

function Idle:look()
  local queued = self.queuedBytes()
  if queued > 0 and queued ~= self.queued then self:touch() end
  self.queued = queued
  local left = self.last + self.limit - uv.now()
  if left > 0 then
    self.timer:start(left, 0, self.onTimer)
  else
    self.fired = true
    self.onTimeout()
  end
end

--- Notes traffic.
function Idle:touch()
  self.last = uv.now()
  if not self.fired then return end
  self.fired = false
  self.timer:start(self.limit, 0, self.onTimer)
end

--- Begins anew with another limit.
---@param ms integer
function Idle:start(ms)
  self.limit, self.fired = ms, false
  uv.update_time()
  self.last = uv.now()
  self.timer:start(ms, 0, self.onTimer)
end

--- The end of it.
function Idle:stop()
  if not self.timer:is_closing() then self.timer:close() end
end

return Idle
