--- What a client must know of commands: how they are written, which only read, where their keys are, and which replies of RESP2
--- are maps. Pure functions.
local bit = require("bit")
local errors = require("errors")

local band, bxor, lshift, rshift = bit.band, bit.bxor, bit.lshift, bit.rshift

local commands = {}

-- Writing -------------------------------------------------------------------------------------------------------------

local function numberText(value)
  if value == math.floor(value) and value > -1e17 and value < 1e17 then return ("%.0f"):format(value) end
  if value ~= value then return "nan" end
  if value == math.huge then return "inf" end
  if value == -math.huge then return "-inf" end
  local short = ("%.15g"):format(value)
  return tonumber(short) == value and short or ("%.17g"):format(value)
end

local function refuse(index, value)
  error(errors.argType(index == 1 and "command" or ("arguments[%d]"):format(index - 1), "string or number", value), 0)
end

--- Checks that a command is of strings and numbers; throws.
function commands.check(n, words)
  if n == 0 then refuse(1, nil) end
  for i = 1, n do
    local kind = type(words[i])
    if kind ~= "string" and kind ~= "number" then refuse(i, words[i]) end
  end
end

local PUSHED = { SUBSCRIBE = true, PSUBSCRIBE = true, SSUBSCRIBE = true, UNSUBSCRIBE = true, PUNSUBSCRIBE = true, SUNSUBSCRIBE = true }

--- Whether a command is answered by what the server sends unasked.
---@param name string in upper case
---@return boolean
function commands.isPushed(name) return PUSHED[name] == true end

--- Checks that a command has a reply in its turn: those that subscribe are answered by what the server sends unasked.
---@param name string in upper case
function commands.checkReply(name)
  if not PUSHED[name] then return end
  local method = name:lower()
  error(errors.argValue("command", name, ("has no reply of its own: call client:%s(channel, f)"):format(method)), 0)
end

-- What they are -------------------------------------------------------------------------------------------------------

local function set(text)
  local names = {}
  for name in text:gmatch("%S+") do names[name] = true end
  return names
end

--- Commands that change nothing: they may be sent again.
commands.reads = set[[
  BITCOUNT BITPOS DBSIZE DUMP ECHO EXISTS EXPIRETIME GEODIST GEOHASH GEOPOS GEOSEARCH GET GETBIT GETRANGE HEXISTS HGET HGETALL
  HKEYS HLEN HMGET HRANDFIELD HSCAN HSTRLEN HVALS INFO KEYS LCS LINDEX LLEN LPOS LRANGE MGET PEXPIRETIME PFCOUNT PING PTTL
  RANDOMKEY SCAN SCARD SDIFF SINTER SINTERCARD SISMEMBER SMEMBERS SMISMEMBER SRANDMEMBER SSCAN STRLEN SUBSTR SUNION TIME TTL
  TYPE XLEN XRANGE XREVRANGE ZCARD ZCOUNT ZDIFF ZINTER ZINTERCARD ZLEXCOUNT ZMSCORE ZRANDMEMBER ZRANGE ZRANGEBYLEX
  ZRANGEBYSCORE ZRANK ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE ZUNION]]

-- Commands without a key, and those whose first key is the second argument or is counted there.
local KEYLESS = set[[
  ACL ASKING AUTH BGREWRITEAOF BGSAVE CLIENT CLUSTER COMMAND CONFIG DBSIZE DEBUG DISCARD ECHO EXEC FAILOVER FLUSHALL FLUSHDB
  FUNCTION HELLO INFO KEYS LASTSAVE LATENCY LOLWUT MEMORY MODULE MONITOR MULTI PING PSUBSCRIBE PUBLISH PUBSUB PUNSUBSCRIBE QUIT
  RANDOMKEY READONLY READWRITE REPLICAOF RESET ROLE SAVE SCAN SCRIPT SELECT SHUTDOWN SLOWLOG SUBSCRIBE SWAPDB SYNC TIME
  UNSUBSCRIBE UNWATCH WAIT]]
local SECOND = set"BITOP OBJECT XGROUP XINFO"
local COUNTED = set"EVAL EVAL_RO EVALSHA EVALSHA_RO FCALL FCALL_RO"
local COUNTED_FIRST = set"LMPOP SINTERCARD ZDIFF ZINTER ZINTERCARD ZMPOP ZUNION"
local BLOCKING_COUNTED = set"BLMPOP BZMPOP"

local function behind(words, n, word)
  for i = 2, n - 1 do
    if type(words[i]) == "string" and words[i]:upper() == word then return words[i + 1] end
  end
end

--- The first key of a command; nil when it has none.
---@param n integer
---@param words (string|number)[]
---@return string?
function commands.key(n, words)
  local name = tostring(words[1]):upper()
  local key
  if KEYLESS[name] then
    key = name == "MEMORY" and tostring(words[2]):upper() == "USAGE" and words[3] or nil
  elseif name == "XREAD" or name == "XREADGROUP" then
    key = behind(words, n, "STREAMS")
  elseif COUNTED[name] then
    key = tonumber(words[3]) ~= 0 and words[4] or nil
  elseif COUNTED_FIRST[name] then
    key = words[3]
  elseif BLOCKING_COUNTED[name] then
    key = words[4]
  else
    key = SECOND[name] and words[3] or words[2]
  end
  return key ~= nil and (type(key) == "number" and numberText(key) or key) or nil
end

-- Commands whose flat reply of RESP2 is a map in RESP3.
local MAPS = set"HGETALL"

--- Whether a reply of RESP2 is to be made a map.
function commands.isMap(n, words)
  local name = tostring(words[1]):upper()
  return MAPS[name] or name == "CONFIG" and n > 1 and tostring(words[2]):upper() == "GET"
end

--- Makes a flat list of names and values a map.
function commands.toMap(list)
  if type(list) ~= "table" then return list end
  local map = {}
  for i = 1, #list, 2 do map[list[i]] = list[i + 1] end
  return map
end

-- Slots ---------------------------------------------------------------------------------------------------------------


local crcTable
local function makeTable()
  crcTable = {}
  for byte = 0, 255 do
    local crc = lshift(byte, 8)
    for _ = 1, 8 do
      crc = band(crc, 0x8000) ~= 0 and bxor(lshift(crc, 1), 0x1021) or lshift(crc, 1)
    end
    crcTable[byte] = band(crc, 0xFFFF)
  end
end

--- The slot of a key, 0 to 16383; of a key with a tag in braces, the tag's. Source: Redis cluster specification.
---@param key string
---@return integer
function commands.slot(key)
  if not crcTable then makeTable() end
  local open = key:find("{", 1, true)
  local close = open and key:find("}", open + 1, true)
  if close and close > open + 1 then key = key:sub(open + 1, close - 1) end
  local crc = 0
  for i = 1, #key do
    crc = bxor(band(lshift(crc, 8), 0xFFFF), crcTable[band(bxor(rshift(crc, 8), key:byte(i)), 255)])
  end
  return band(crc, 16383)
end

return commands
