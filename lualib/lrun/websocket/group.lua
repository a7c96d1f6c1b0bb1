--- A group of WebSocket connections whose limits are the same: those of one server, or those of clients with the same
--- options. Owns C's side of it (`core`), and the timer that looks at the time limits of all of them, instead of a timer
--- each. It runs while there are connections.
local core = require("lrun.core.websocket")
local uv = require("luv")

---@class SocketGroup
---@field core userdata
local Group = {}
Group.__index = Group

local TIMES = { "idleTimeout", "pingInterval", "closeTimeout", "stallTimeout" }

-- How often to look for the shortest of some limits: often enough, never more than 50 times a second, nor less than once
-- in five.
local function intervalFor(settings)
  local shortest = math.huge
  for _, name in ipairs(TIMES) do
    local ms = settings[name]
    if ms and ms > 0 then shortest = math.min(shortest, ms) end
  end
  return math.floor(math.min(math.max(shortest / 5, 20), 5000))
end

---@param isServer boolean
---@param settings table maxPayload, backpressureLimit, drop, the times in ms, threshold, level, memLevel
---@return SocketGroup
function Group.new(isServer, settings)
  return setmetatable({ core = core.group(isServer, settings), interval = intervalFor(settings), timer = false }, Group)
end

---@return integer connections that are open
function Group:count() return core.count(self.core) end

local function sweep(self)
  core.sweep(self.core)
  if self:count() > 0 then return end
  self.timer:close()
  self.timer = false
end

--- There is a connection: looks at it now and then.
function Group:watch()
  if self.timer then return end
  self.timer = uv.new_timer()
  self.timer:start(self.interval, self.interval, function() sweep(self) end)
  self.timer:unref()
end

return Group
