--- Asks sentinels where the master is, one after the other; the first that knows is believed, and asked first the next time. Whether
--- what it has named is a master, the connection asks itself (`mustBeMaster`).
local Connection = require("lrun.redis.connection")
local errors = require("errors")
local options = require("lrun.redis.options")

local sentinel = {}

-- Asks one: `callback(err, host, port)`.
local function ask(read, host, callback)
  local given = options.at(read, host.host, host.port)
  given.plain, given.db, given.tls = true, 0, read.tls
  given.username, given.password = read.sentinel.username, read.sentinel.password
  local connection
  local called = false
  local function done(...)
    if called then return end
    called = true
    callback(...)
    connection:die(errors.coded("ECONNRESET", "done"))
  end
  connection = Connection.new(given, {
    ready = function()
      connection:send{ n = 3, words = { "SENTINEL", "get-master-addr-by-name", read.sentinel.name }, callback = function(err, place)
        if err then return done(err) end
        if type(place) ~= "table" or not tonumber(place[2]) then return done(nil, nil) end
        done(nil, place[1], tonumber(place[2]))
      end }
    end,
    closed = function(err) done(err) end,
  })
  connection:open()
end

--- `callback(err, options)`: those of a connection to the master.
---@param read table of lrun.redis.options
function sentinel.find(read, callback)
  local hosts = read.sentinel.hosts
  local function try(i, last)
    local host = hosts[i]
    if not host then
      return callback(last or errors.coded("ECONNREFUSED",
        ("None of the %d sentinels knows a master '%s'"):format(#hosts, read.sentinel.name)))
    end
    ask(read, host, function(err, name, port)
      if not name then return try(i + 1, err or last) end
      table.remove(hosts, i)
      table.insert(hosts, 1, host)
      local found = options.at(read, name, port)
      found.mustBeMaster = true
      callback(nil, found)
    end)
  end
  try(1)
end

return sentinel
