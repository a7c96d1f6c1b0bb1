--- Where C's calls go: requests to the server's module, all else to the role of the connection, server's or client's.
--- A role is a table of functions that take the connection: onEnd(trailers, whether bytes follow unasked), onDrain(id, the last response that is written), onFault(status, code, reason,
--- bytes, how many of them were good), onTimeout(), onClosed(code).
local core = require("lrun.core.http")
local message = require("lrun.http.incoming")

local dispatch = {}

local function onEnd(connection, section, surplus) return connection.role.onEnd(connection, section, surplus) end
local function onDrain(connection, id, sentId) return connection.role.onDrain(connection, id, sentId) end
local function onTimeout(connection) return connection.role.onTimeout(connection) end

local function onFault(connection, status, code, reason, bytes, parsed)
  return connection.role.onFault(connection, status, code, reason, bytes, parsed)
end

-- The handle is closed; `connection.closed` is true already.
local function onClosed(connection, code) return connection.role.onClosed(connection, code) end

core.setup {
  ondata = message.onData, onend = onEnd, ondrain = onDrain, onfault = onFault, ontimeout = onTimeout, onclosed = onClosed,
}

--- Says who takes the heads: `onrequest` or `onresponse`.
---@param takers table<string, function>
function dispatch.take(takers) core.setup(takers) end

--- Looks at the connections of `owner` (`_http`) every `interval` ms as long as there are any.
---@param owner table
---@param interval integer
---@param before function? called with the owner before each look
function dispatch.sweep(owner, interval, before)
  if owner._sweeping == interval then return end
  owner._sweeping = interval
  if not owner._sweeper then
    owner._sweeper = require("luv").new_timer()
    owner._sweeper:unref()
  end
  owner._sweeper:start(interval, interval, function()
    if core.count(owner._http) == 0 then
      owner._sweeper:close()
      owner._sweeper, owner._sweeping = nil, nil
      return
    end
    if before then before(owner) end
    core.sweep(owner._http)
  end)
end

--- How often to look for limits of `shortest` ms: often enough, never more than 50 times a second, nor less than 4.
---@param shortest number
---@return integer
function dispatch.interval(shortest) return math.floor(math.min(math.max(shortest / 5, 20), 250)) end

return dispatch
