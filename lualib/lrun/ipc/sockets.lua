--- Connections of a server that live in other processes. The sender keeps a list for each server and channel, the
--- receiver one for each key; they speak Node's protocol: `NODE_SOCKET_NOTIFY_CLOSE` asks for `NODE_SOCKET_ALL_CLOSED`
--- when the last one has closed, `NODE_SOCKET_GET_COUNT` for `NODE_SOCKET_COUNT`.
local ipc = require("lrun.ipc.channel")
local process = require("process")

local sockets = {}

local lastKey = 0
local keys = setmetatable({}, { __mode = "k" })     -- server → what its connections are known by

-- The sender's side ---------------------------------------------------------------------------------------------------

--- What net.Server keeps of a process that it sent connections to, until their channel has closed: asks about them.
---@class SentSockets
local SentSockets = {}
SentSockets.__index = SentSockets

local function ask(self, cmd, question, callback)
  local state = self.state
  if not state.channel then return process.nextTick(callback, 0) end
  local waiting = self[cmd]
  waiting[#waiting + 1] = callback
  state.count(state, 1)
  ipc.sendInternal(state, { cmd = question, key = self.key })
end

local function answer(self, cmd, value)
  local waiting = self[cmd]
  self[cmd] = {}
  for i = 1, #waiting do
    self.state.count(self.state, -1)
    waiting[i](value)
  end
end

--- Calls back once all of them are closed, or their process is gone.
function SentSockets:close(callback) ask(self, "NODE_SOCKET_ALL_CLOSED", "NODE_SOCKET_NOTIFY_CLOSE", callback) end

--- Calls back with how many are open.
function SentSockets:getConnections(callback) ask(self, "NODE_SOCKET_COUNT", "NODE_SOCKET_GET_COUNT", callback) end

--- Notes that a connection of `server` goes to the other end of the channel.
---@return string key
function sockets.sent(state, server)
  local key = keys[server]
  if not key then
    lastKey = lastKey + 1
    key = ("%d:%d"):format(process.pid, lastKey)
    keys[server] = key
  end
  if not state.sockets.sent[key] then
    state.sockets.sent[key] = setmetatable({
      state = state, key = key, server = setmetatable({ server }, { __mode = "v" }),
      NODE_SOCKET_ALL_CLOSED = {}, NODE_SOCKET_COUNT = {},
    }, SentSockets)
  end
  server:_sentTo(state.sockets.sent[key])
  return key
end

-- The receiver's side -------------------------------------------------------------------------------------------------

local function listFor(state, key)
  local list = state.sockets.got[key]
  if not list then
    list = { open = 0, asked = 0 }
    state.sockets.got[key] = list
  end
  return list
end

local function sayAllClosed(state, key, list)
  while list.open == 0 and list.asked > 0 do
    list.asked = list.asked - 1
    ipc.sendInternal(state, { cmd = "NODE_SOCKET_ALL_CLOSED", key = key })
  end
end

--- Notes that a connection came with `key`.
function sockets.got(state, key, socket)
  local list = listFor(state, key)
  list.open = list.open + 1
  socket:once("close", function()
    list.open = list.open - 1
    sayAllClosed(state, key, list)
  end)
end

-- Messages ------------------------------------------------------------------------------------------------------------

function sockets.receive(state, message)
  local key = message.key
  if type(key) ~= "string" then return end
  if message.cmd == "NODE_SOCKET_NOTIFY_CLOSE" then
    local list = listFor(state, key)
    list.asked = list.asked + 1
    sayAllClosed(state, key, list)
  elseif message.cmd == "NODE_SOCKET_GET_COUNT" then
    ipc.sendInternal(state, { cmd = "NODE_SOCKET_COUNT", key = key, count = listFor(state, key).open })
  else
    local list = state.sockets.sent[key]
    if list then answer(list, message.cmd, tonumber(message.count) or 0) end
  end
end

--- The other process is gone, and its connections with it.
function sockets.closed(state)
  for _, list in pairs(state.sockets.sent) do
    answer(list, "NODE_SOCKET_ALL_CLOSED", 0)
    answer(list, "NODE_SOCKET_COUNT", 0)
    local server = list.server[1]
    if server then server:_sentEnded(list) end
  end
end

return sockets
