--- What the processes of a cluster share for TLS: ticket keys, and certificate files that change.
---
--- The primary makes the keys when the first worker that serves TLS asks for them, gives them to all that ask, and from
--- time to time puts a new one in front (`cluster.settings.ticketRotation`); two old ones still open tickets. It watches
--- the certificate files that workers name, once each, and sends them what it has read: a worker that has dropped its
--- privileges could not. Messages are internal ones of the channel: `keys` and `watch` to the primary, `keys` and `pair`
--- from it; they reach `receive` from lrun.cluster.common. Bytes travel as hexadecimal text.
local process = require("process")
local uv = require("luv")

local tickets = {}

--- The `cmd` of the messages.
tickets.COMMAND = "NODE_LRUN_TLS"

local KEY = 48                      -- bytes
local ROTATION = 12 * 60 * 60 * 1000

local function toHex(bytes) return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end
local function fromHex(text) return (text:gsub("%x%x", function(h) return string.char(tonumber(h, 16)) end)) end

local function ignore() end         -- a failed write shows as the channel's end

local function send(target, message)
  message.cmd = tickets.COMMAND
  if target.connected then target:send(message, nil, nil, ignore) end
end

local function cluster() return require("lrun.core.loaded").cluster end

local function isWorker()
  local module = cluster()
  return type(module) == "table" and module.isWorker == true and process.connected == true
end

-- Keys, in any process ------------------------------------------------------------------------------------------------------

local shared = setmetatable({}, { __mode = "k" })   -- servers that follow the keys
local keys                                          -- the newest first
local asked = false

local function take(new)
  keys = new
  for server in pairs(shared) do server._tickets:set(new) end
end

--- The server takes the cluster's keys from now on, if there is a cluster.
---@param server TLSServer
function tickets.share(server)
  shared[server] = true
  if keys then return server._tickets:set(keys) end
  if asked or not isWorker() then return end
  asked = true
  send(process, { act = "keys" })
end

--- The server has keys of its own.
---@param server TLSServer
function tickets.unshare(server) shared[server] = nil end

-- Keys, in the primary -------------------------------------------------------------------------------------------------------

local users = {}                    -- processes of workers that asked → true

local function spread(message)
  for target in pairs(users) do
    if target.connected then send(target, message) else users[target] = nil end
  end
end

local function rotate()
  take(uv.random(KEY) .. (keys or ""):sub(1, 2 * KEY))
  spread{ act = "keys", keys = toHex(keys) }
  local module = cluster()
  local every = module and module.settings.ticketRotation or ROTATION
  require("timers").setTimeout(rotate, every):unref()
end

-- Files ----------------------------------------------------------------------------------------------------------------------

local watching = {}                 -- primary: both paths → { targets, cert, key }
local followers = {}                -- worker: both paths → list of functions

local function nameOf(message) return message.certFile .. "\0" .. message.keyFile end

local function usable(pair, passphrase)
  local ok, err = pcall(require("lrun.tls.context").create, { cert = pair.cert, key = pair.key, passphrase = passphrase }, true)
  return not ok and err or nil
end

local function sendPair(target, message, pair)
  send(target, { act = "pair", certFile = message.certFile, keyFile = message.keyFile, cert = pair.cert, key = pair.key })
end

-- Only what is a certificate and its key leaves the primary.
local function watchFor(target, message)
  if type(message.certFile) ~= "string" or type(message.keyFile) ~= "string" then return end
  local entry = watching[nameOf(message)]
  if not entry then
    entry = { targets = {} }
    watching[nameOf(message)] = entry
    local watch = require("lrun.tls.watch")
    local function onChange(cert, key)
      local pair = { cert = cert, key = key }
      local err = usable(pair, message.passphrase)
      if err ~= nil then return err end
      entry.pair = pair
      for each in pairs(entry.targets) do
        if each.connected then sendPair(each, message, pair) else entry.targets[each] = nil end
      end
    end
    local pair = watch.read(message.certFile, message.keyFile)
    if pair and usable(pair, message.passphrase) == nil then entry.pair = pair end
    watch.files(message.certFile, message.keyFile, onChange)
  end
  entry.targets[target] = true
  if entry.pair then sendPair(target, message, entry.pair) end
end

local function absolute(path) return path:sub(1, 1) == "/" and path or uv.cwd() .. "/" .. path end

--- In a worker: has the primary watch; nil where there is none.
---@return (fun())? stop
function tickets.watch(certFile, keyFile, passphrase, onChange)
  if not isWorker() then return nil end
  local request = { act = "watch", certFile = absolute(certFile), keyFile = absolute(keyFile), passphrase = passphrase }
  local name = nameOf(request)
  followers[name] = followers[name] or {}
  followers[name][onChange] = true
  send(process, request)
  return function() followers[name][onChange] = nil end
end

-- Messages -------------------------------------------------------------------------------------------------------------------

local function onWorkersMessage(target, message)
  if message.act == "keys" then
    users[target] = true
    if not keys then rotate() else send(target, { act = "keys", keys = toHex(keys) }) end
  elseif message.act == "watch" then
    watchFor(target, message)
  end
end

local function onPrimarysMessage(message)
  if message.act == "keys" and type(message.keys) == "string" then
    local new = fromHex(message.keys)
    if #new >= KEY and #new % KEY == 0 then take(new) end
  elseif message.act == "pair" then
    for onChange in pairs(followers[nameOf(message)] or {}) do onChange(message.cert, message.key) end
  end
end

--- An internal message with our `cmd` has come.
---@param target any where from: a ChildProcess, or process
---@param message table
function tickets.receive(target, message)
  if target == process then onPrimarysMessage(message) else onWorkersMessage(target, message) end
end

return tickets
