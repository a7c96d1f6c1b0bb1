--- Who listens to which channels of a client, by kind: channels, patterns, and channels of a cluster's slot. A name is subscribed
--- to when its first listener comes, and again after each new connection, until the last listener has gone.
local subscriptions = {}

local Subscriptions = {}
Subscriptions.__index = Subscriptions

--- The commands of each kind, and what the server calls its messages.
subscriptions.KINDS = {
  channel = { subscribe = "SUBSCRIBE", unsubscribe = "UNSUBSCRIBE", message = "message" },
  pattern = { subscribe = "PSUBSCRIBE", unsubscribe = "PUNSUBSCRIBE", message = "pmessage" },
  shard = { subscribe = "SSUBSCRIBE", unsubscribe = "SUNSUBSCRIBE", message = "smessage" },
}
local KINDS = subscriptions.KINDS

---@return table
function subscriptions.new()
  return setmetatable({ channel = {}, pattern = {}, shard = {} }, Subscriptions)
end

--- Adds a listener.
function Subscriptions:add(kind, name, f)
  local list = self[kind][name]
  local copy = { unpack(list or {}) }
  copy[#copy + 1] = f
  self[kind][name] = copy
end

--- Takes a listener away, or all; whether none is left that was there.
function Subscriptions:remove(kind, name, f)
  local list = self[kind][name]
  if not list then return false end
  local copy = {}
  for _, each in ipairs(list) do
    if f ~= nil and each ~= f then copy[#copy + 1] = each end
  end
  self[kind][name] = #copy > 0 and copy or nil
  return #copy == 0
end

--- The names of a kind.
---@return string[]
function Subscriptions:names(kind)
  local list = {}
  for name in pairs(self[kind]) do list[#list + 1] = name end
  return list
end

function Subscriptions:isEmpty()
  return next(self.channel) == nil and next(self.pattern) == nil and next(self.shard) == nil
end

--- The listeners of a push, and what they get: message, channel, pattern.
---@param push any[]
---@return function[]? listeners
function Subscriptions:listeners(push)
  local kind = push[1]
  if kind == KINDS.channel.message then return self.channel[push[2]], push[3], push[2] end
  if kind == KINDS.pattern.message then return self.pattern[push[2]], push[4], push[3], push[2] end
  if kind == KINDS.shard.message then return self.shard[push[2]], push[3], push[2] end
end

return subscriptions
