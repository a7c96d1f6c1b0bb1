--- Calls and answers between the daemon and a keeper over an IPC channel, which can carry sockets. Either end calls; a call is
--- `{ call, seq, args }`, its answer `{ reply = seq, ok | err }`, and what wants no answer has no seq.
local link = {}

---@class Link
---@field closed boolean
local Link = {}
Link.__index = Link

--- Calls the other end.
---@param name string
---@param args table?
---@param callback fun(err: table?, result: any)? `err` is { code, message, hint }
---@param handle any? a luv handle, of which the other end gets a copy
function Link:call(name, args, callback, handle)
  if self.closed then
    if callback then callback{ code = "gone", message = "the other process is gone" } end
    return
  end
  local message = { call = name, args = args or {} }
  if callback then
    self.seq = self.seq + 1
    message.seq = self.seq
    self.waiting[self.seq] = callback
  end
  self.target:send(message, handle, nil, function() end)     -- a failed write shows as the channel's end
end

--- Ends it.
function Link:close()
  if not self.closed and self.target.connected then self.target:disconnect() end
end

local function onMessage(self, message, handle)
  if type(message) ~= "table" then return end
  if message.reply then
    local callback = self.waiting[message.reply]
    self.waiting[message.reply] = nil
    if callback then callback(message.err, message.ok) end
    return
  end
  local answered = false
  local function answer(err, ok)
    if answered or not message.seq then return end
    answered = true
    if not self.closed then self.target:send({ reply = message.seq, err = err, ok = ok }, nil, nil, function() end) end
  end
  self.onCall(message.call, message.args or {}, answer, handle)
end

--- Makes a link.
---@param target any an emitter with `send`: a ChildProcess, `process`, or what lrun.ipc.channel set up
---@param onCall fun(name: string, args: table, answer: fun(err: table?, ok: any), handle: any)
---@param onClose fun()
---@return Link
function link.new(target, onCall, onClose)
  local self = setmetatable({ target = target, onCall = onCall, onClose = onClose, seq = 0, waiting = {}, closed = false }, Link)
  target:on("message", function(message, handle) onMessage(self, message, handle) end)
  target:once("disconnect", function()
    self.closed = true
    local waiting = self.waiting
    self.waiting = {}
    for _, callback in pairs(waiting) do callback{ code = "gone", message = "the other process is gone" } end
    self.onClose()
  end)
  return self
end

--- A link over a connected unix socket.
---@param pipe uv_pipe_t closed here: the channel has a descriptor of its own
---@return Link? link
---@return string? code
function link.over(pipe, onCall, onClose)
  local fd, code = require("lrun.core.sockets").duplicate(pipe:fileno())
  pipe:close()
  if not fd then return nil, code end
  local target = require("events").EventEmitter:new()
  require("lrun.ipc.channel").setup(target, fd, { wire = "lua" })
  target:on("error", function() end)
  return link.new(target, onCall, onClose)
end

return link
