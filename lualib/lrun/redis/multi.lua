--- A transaction: commands are gathered, and sent between MULTI and EXEC in one piece.
local await = require("await")
local calls = require("lrun.check.calls")
local commands = require("lrun.redis.commands")
local errors = require("errors")
local nextTick = require("process").nextTick
local validate = require("lrun.check.validate")

---@class RedisMulti
local Multi = { name = "RedisMulti" }

--- Adds a command.
---@param ... string|number
---@return self
function Multi:command(...)
  local n, words = select("#", ...), { ... }
  commands.check(n, words)
  commands.checkReply(tostring(words[1]):upper())
  self._commands[#self._commands + 1] = { n = n, words = words, map = commands.isMap(n, words) }
  return self
end

--- Drops what was gathered.
---@return self
function Multi:discard()
  self._commands = {}
  return self
end

-- Replies of EXEC whose commands have maps, where the server speaks RESP2.
local function mapped(gathered, replies)
  for i, each in ipairs(gathered) do
    local reply = replies[i]
    if each.map and type(reply) == "table" and not errors.isError(reply) and reply[1] ~= nil then
      replies[i] = commands.toMap(reply)
    end
  end
  return replies
end

local function run(self, callback)
  local gathered = self._commands
  self._commands = {}
  if #gathered == 0 then return nextTick(callback, nil, {}) end
  local unit = { { n = 1, words = { "MULTI" }, inUnit = true } }
  local refused
  for _, each in ipairs(gathered) do
    unit[#unit + 1] = {
      n = each.n, words = each.words, inUnit = true,
      callback = function(err) refused = refused or err end,
    }
  end
  unit[#unit + 1] = { n = 1, words = { "EXEC" }, inUnit = true, callback = function(err, replies)
    if err then
      if refused and err.code == "EXECABORT" then err.cause = refused end
      return callback(err)
    end
    callback(nil, replies and mapped(gathered, replies))
  end }
  self._client:dispatch(unit)
end

--- Sends them. The reply is a list of theirs, with an error object in the place of one that failed; nil, and no error,
--- when a key that was watched has changed; an error when a command was not taken: then nothing is done.
---@param callback fun(err: Error?, replies: any[]?)?
---@return any[]? replies
---@return Error? err
function Multi:exec(callback)
  if callback ~= nil then return run(self, validate.func(callback, "callback")) end
  local err, replies = await(run, self)
  if err then return nil, err end
  return replies
end

calls.methods(Multi, "multi")

local methods = {}
Multi.__index = function(_, key)
  local own = Multi[key]
  if own ~= nil or type(key) ~= "string" or not key:find("^%l[%l%d]*$") then return own end
  local method = methods[key]
  if not method then
    local word = key:upper()
    method = function(self, ...)
      if type(self) ~= "table" then calls.needsColon("multi", key) end
      return self:command(word, ...)
    end
    methods[key] = method
  end
  return method
end

return { new = function(client) return setmetatable({ _client = client, _commands = {} }, Multi) end }
