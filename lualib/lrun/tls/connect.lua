--- tls.connect: arguments → a TLSSocket that connects, or that is put over a given stream.
local errors = require("errors")
local net = require("lrun.net.connect")
local options = require("lrun.tls.options")
local TLSSocket = require("lrun.tls.socket")
local validate = require("lrun.check.validate")

local connect = {}

-- `(port[, host][, options][, listener])`, `(path[, options][, listener])`, `(options[, listener])`.
local function arguments(...)
  local count = select("#", ...)
  local list = { ... }
  local listener = list[count]
  if type(listener) == "function" then count = count - 1 else listener = nil end
  local first = list[1]
  local given = count > 1 and type(list[count]) == "table" and list[count] or nil
  if type(first) == "table" then return first, listener end
  local own = {}
  for key, value in pairs(given or {}) do own[key] = value end
  if type(first) == "string" and not tonumber(first) then
    own.path = first
  else
    own.port = first
    if type(list[2]) == "string" and count >= 2 then own.host = list[2] end
  end
  return own, listener
end

--- See tls.connect.
---@return TLSSocket
function connect.connect(...)
  local given, listener = arguments(...)
  if given.socket ~= nil then
    options.stream(given.socket, "options.socket")
  elseif given.path == nil and given.port == nil then
    error(errors.coded("ERR_MISSING_ARGS", 'The "options" or "port" or "path" argument must be specified'), 0)
  elseif given.path == nil then
    validate.port(given.port, "Port")
  end
  if given.isServer then error(errors.argValue("options.isServer", true, "is for tls.TLSSocket:new, tls.connect is a client"), 0) end
  local socket = TLSSocket:new(given.socket, given)
  if listener then socket:once("secureConnect", listener) end
  if given.socket == nil then
    net.connect(socket, given)
  elseif given.timeout then
    socket:setTimeout(given.timeout)
  end
  return socket
end

return connect
