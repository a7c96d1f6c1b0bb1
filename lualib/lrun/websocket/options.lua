--- The options of a WebSocketServer, checked, with their defaults.
local errors = require("errors")
local extension = require("lrun.websocket.extension")
local validate = require("lrun.check.validate")

local options = {}

local MAX_MS = 2147483647
local INTEGERS = {
  maxPayload = 1024 * 1024, backpressureLimit = 1024 * 1024, idleTimeout = 120000, pingInterval = 30000, closeTimeout = 30000,
  stallTimeout = 30000,
}

local function checkOrigins(origins)
  for _, origin in ipairs(origins) do validate.string(origin, "options.origins[i]") end
  validate.optional(validate.boolean, origins.required, "options.origins.required")
end

-- One of three says where the connections come from.
local function checkPlace(given)
  local count = (given.port ~= nil and 1 or 0) + (given.server ~= nil and 1 or 0) + (given.noServer and 1 or 0)
  if count ~= 1 then
    error(errors.coded("ERR_INVALID_ARG_VALUE", 'One and only one of the options "port", "server", and "noServer" must be specified'), 0)
  end
  if given.port ~= nil then validate.port(given.port, "options.port") end
  local server = given.server
  if server ~= nil and not (type(server) == "table" and type(server.on) == "function" and type(server.address) == "function") then
    error(errors.argType("options.server", "an instance of http.Server or https.Server", server), 0)
  end
end

local function isFullWindow(bits) return bits == nil or bits > 12 end

--- What C's group has to know.
---@param read table as `options.read` returns it
---@param deflate PerMessageDeflateOptions|false
---@param isServer boolean
---@return table
function options.settings(read, deflate, isServer)
  local side = isServer and "server" or "client"
  local goesOn = deflate and not deflate[side .. "NoContextTakeover"] and isFullWindow(deflate[side .. "MaxWindowBits"])
  local settings = extension.settings(deflate, goesOn)
  for name in pairs(INTEGERS) do settings[name] = read[name] end
  settings.drop = read.onBackpressure == "drop"
  return settings
end

--- Checks the numbers that servers and clients have alike.
---@param given table
---@param defaults table<string, integer>
---@return table
function options.numbers(given, defaults)
  local read = {}
  for name in pairs(INTEGERS) do
    local value = given[name]
    if value == nil then value = defaults[name] or 0 end
    local isTime = name:find("Timeout$") or name:find("Interval$")
    read[name] = validate.integer(value, "options." .. name, 0, isTime and MAX_MS or nil)
  end
  return read
end

--- Checks a server's options.
---@param given WebSocketServerOptions?
---@return table read a copy with the defaults
---@return PerMessageDeflateOptions|false deflate
function options.read(given)
  given = given or {}
  validate.table(given, "options")
  checkPlace(given)
  validate.flags(given, { "noServer", "clientTracking" })
  for _, name in ipairs{ "host", "path" } do validate.optional(validate.string, given[name], "options." .. name) end
  for _, name in ipairs{ "handleProtocols", "verifyClient" } do validate.optional(validate.func, given[name], "options." .. name) end
  validate.optional(validate.integer, given.backlog, "options.backlog", 0)
  if given.origins ~= nil then checkOrigins(validate.table(given.origins, "options.origins")) end
  if given.onBackpressure ~= nil then validate.oneOf(given.onBackpressure, "options.onBackpressure", { "close", "drop" }) end
  local read = options.numbers(given, INTEGERS)
  for name, value in pairs(given) do if read[name] == nil then read[name] = value end end
  return read, extension.options(given.perMessageDeflate, false)
end

return options
