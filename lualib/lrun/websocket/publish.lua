--- Topics over all processes of a cluster: what is published in one goes through the primary to all others that have a
--- WebSocketServer. A server is the same in each that has the same path, and the same place among those with that path, in
--- the order in which they were made.
---
--- Messages are internal ones of the channel: `joins` (to the primary: this process has a server) and what is published.
--- They reach `receive` from lrun.cluster.common, also where the program itself has no WebSockets. A channel may speak JSON:
--- bytes that are no text travel in base64.
local base64 = require("base64")
local core = require("lrun.core.websocket")
local loaded = require("lrun.core.loaded")
local process = require("process")

local publish = {}

--- The `cmd` of the messages.
publish.COMMAND = "NODE_LRUN_WEBSOCKET"

local servers = setmetatable({}, { __mode = "v" })       -- key → server of this process
local joined = setmetatable({}, { __mode = "k" })          -- in the primary: the workers' processes that have servers
local told = false

local function cluster() return type(loaded.cluster) == "table" and loaded.cluster or nil end

local function isWorker()
  local module = cluster()
  return module ~= nil and module.isWorker == true
end

local function ignore() end          -- a failed write shows as the channel's end

local function send(target, message)
  message.cmd = publish.COMMAND
  if target.connected then target:send(message, nil, nil, ignore) end
end

local function spread(message, source)
  for target in pairs(joined) do
    if not target.connected then joined[target] = nil
    elseif target ~= source then send(target, message) end
  end
end

--- A server is there.
---@param server WebSocketServer
function publish.enter(server)
  local number = 1
  local function key() return ("%s#%d"):format(server.path or "", number) end
  while servers[key()] do number = number + 1 end
  server._topicKey = key()
  servers[key()] = server
  if told or not isWorker() then return end
  told = true
  send(process, { joins = true })
end

--- It has closed.
---@param server WebSocketServer
function publish.leave(server)
  if servers[server._topicKey] == server then servers[server._topicKey] = nil end
end

local function pack(text) return core.isText(text) and text or nil, not core.isText(text) and base64.encode(text) or nil end
local function unpackText(text, encoded) return text or encoded and base64.decode(encoded) end

--- Tells the other processes what a server of this one has published to its own subscribers.
---@param server WebSocketServer
---@param topic string
---@param data string
---@param bits integer
function publish.tell(server, topic, data, bits)
  if not cluster() then return end
  if not isWorker() and next(joined) == nil then return end
  local message = { server = server._topicKey, bits = bits }
  message.topic, message.topic64 = pack(topic)
  message.data, message.data64 = pack(data)
  if isWorker() then send(process, message) else spread(message) end
end

--- What came over the channel.
---@param source any a worker's process, or `process`
---@param message table
function publish.receive(source, message)
  if message.joins then
    joined[source] = true
    return
  end
  if not isWorker() then spread(message, source) end
  local server = servers[message.server]
  if not server then return end
  local topic, data = unpackText(message.topic, message.topic64), unpackText(message.data, message.data64)
  if topic and data then core.publish(server.group.core, topic, data, message.bits) end
end

return publish
