--- A script on the server, as a function. The first call has the server load it and tell its digest, which the others send; a server
--- that has forgotten it is sent the text once more.
local await = require("await")
local validate = require("lrun.check.validate")

local script = {}

-- `command`, how many keys, keys, arguments.
local function words(command, what, keys, args)
  local list = { command, what, #keys }
  for _, key in ipairs(keys) do list[#list + 1] = key end
  for _, each in ipairs(args) do list[#list + 1] = each end
  return list
end

---@param client RedisClient
---@param text string
function script.new(client, text)
  local digest, waiting = nil, nil

  local function withDigest(f)
    if digest then return f() end
    if waiting then
      waiting[#waiting + 1] = f
      return
    end
    waiting = { f }
    client:command("SCRIPT", "LOAD", text, function(err, reply)
      local list = waiting
      waiting, digest = nil, reply
      for _, each in ipairs(list) do each(err) end
    end)
  end

  local function run(keys, args, callback)
    withDigest(function(failure)
      if failure then return callback(failure) end
      local list = words("EVALSHA", digest, keys, args)
      list[#list + 1] = function(err, reply)
        if not err or err.code ~= "NOSCRIPT" then return callback(err, reply) end
        list = words("EVAL", text, keys, args)
        list[#list + 1] = callback
        client:command(unpack(list))
      end
      client:command(unpack(list))
    end)
  end

  return function(keys, args, callback)
    keys = validate.optional(validate.table, keys, "keys") or {}
    args = validate.optional(validate.table, args, "args") or {}
    if callback ~= nil then return run(keys, args, validate.func(callback, "callback")) end
    local err, reply = await(run, keys, args)
    if err then return nil, err end
    return reply
  end
end

return script
