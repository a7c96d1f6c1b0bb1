--- The keys of tables that this process sends again and again. On the Lua wire a message names them by number: the sender tells a
--- channel's other end of each once, before the first message that needs it (runtime/ipc/keys.h).
---
--- A key is learned when it comes twice in the messages that are looked at: the first one and the second, the fourth, the eighth…,
--- of the large ones as well, and of each a few tables. So data that are used as keys are hardly learned, and looking costs
--- nothing.
local channels = require("lrun.core.channel")
local codec = require("lrun.ipc.codec")

local keys = {}

local MAX, LENGTH_MAX = channels.KEYS_MAX, channels.KEY_LENGTH_MAX
local TABLES = 64                    -- of a message that are looked at
local CANDIDATES = 512               -- keys that came once
local LARGE = 4096                   -- bytes of a message

local encodeInto, type = codec.encode, type

local list, known = {}, {}           -- in the order of their numbers; name → true
local output, count = codec.output(), 0  -- the buffer that knows the keys; how many these are
local candidates, candidateCount = {}, 0
local sent, nextLook = 0, 1
local largeSent, nextLargeLook = 0, 1

--- How many keys there are: a channel must have told its other end of as many before it sends what `encode` made.
---@return integer
function keys.count() return count end

--- The bytes of a value, with the keys as numbers: see `codec.encode`.
---@return ffi.cdata*? bytes
---@return integer|string length
function keys.encode(value) return encodeInto(value, output) end

local function note(key)
  if known[key] or #key > LENGTH_MAX or key == "" or #list == MAX then return end
  if candidates[key] then
    candidates[key] = nil
    candidateCount = candidateCount - 1
    known[key] = true
    list[#list + 1] = key
    return
  end
  if candidateCount == CANDIDATES then candidates, candidateCount = {}, 0 end
  candidates[key] = true
  candidateCount = candidateCount + 1
end

local function look(value, left)
  left = left - 1
  for key, each in pairs(value) do
    if type(key) == "string" then note(key) end
    if type(each) == "table" and left > 0 then left = look(each, left) end
  end
  return left
end

--- A fresh table of string.buffer's options: it keeps the dictionary that it has seen.
local function options(names) return { dict = { unpack(names) } } end

local function learn(message)
  look(message, TABLES)
  if #list == count then return end
  count = #list
  output = codec.output(options(list))
end

--- Looks at a table that has been encoded in `length` bytes, if its turn has come.
---@param message table
---@param length integer
function keys.observe(message, length)
  sent = sent + 1
  if length > LARGE then
    largeSent = largeSent + 1
    if largeSent >= nextLargeLook then
      nextLargeLook = nextLargeLook * 2
      return learn(message)
    end
  end
  if sent < nextLook then return end
  nextLook = nextLook * 2
  learn(message)
end

--- The body that tells of the keys from number `first` on.
---@param first integer counted from 1
---@return string
function keys.tell(first)
  local parts = {}
  for i = first, #list do parts[#parts + 1] = string.char(#list[i]) .. list[i] end
  return table.concat(parts)
end

--- The other end's keys, and the decoder that knows them.
---@class PeerKeys
local PeerKeys = {}
PeerKeys.__index = PeerKeys

---@return PeerKeys
function keys.peer() return setmetatable({ list = {}, decoder = nil }, PeerKeys) end

--- Takes what the other end told; runtime/ipc/keys.c has checked it.
---@param body string
function PeerKeys:add(body)
  local at = 1
  while at <= #body do
    local length = body:byte(at)
    self.list[#self.list + 1] = body:sub(at + 1, at + length)
    at = at + 1 + length
  end
  self.decoder = codec.decoder(options(self.list))
end

return keys
