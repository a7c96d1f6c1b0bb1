--- The options that contexts, servers and clients have in common: their checks, and forms that C takes.
local errors = require("errors")
local validate = require("lrun.check.validate")

local options = {}

options.DEFAULT_MIN_VERSION, options.DEFAULT_MAX_VERSION = "TLSv1.2", "TLSv1.3"

-- What clients offer: many servers are old. Servers of ours take the first, forward secret and authenticated, alone.
local SUITES = "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"
local MODERN = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
  .. "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:DHE-RSA-AES128-GCM-SHA256:"
  .. "DHE-RSA-AES256-GCM-SHA384"
options.DEFAULT_CIPHERS = SUITES .. ":" .. MODERN .. ":ECDHE-RSA-AES128-SHA256:DHE-RSA-AES128-SHA256:"
  .. "ECDHE-RSA-AES256-SHA384:DHE-RSA-AES256-SHA384:ECDHE-RSA-AES256-SHA256:DHE-RSA-AES256-SHA256:"
  .. "HIGH:!aNULL:!eNULL:!EXPORT:!DES:!RC4:!MD5:!PSK:!SRP:!CAMELLIA:!ARIA"
options.SERVER_CIPHERS = SUITES .. ":" .. MODERN

local VERSIONS = { TLSv1 = 0x301, ["TLSv1.1"] = 0x302, ["TLSv1.2"] = 0x303, ["TLSv1.3"] = 0x304 }

--- The number of a version; throws for what is none.
---@param name string
---@param which "minimum"|"maximum"
---@return integer
function options.version(name, which)
  local number = VERSIONS[name]
  if not number then
    error(errors.coded("ERR_TLS_INVALID_PROTOCOL_VERSION",
      ('"%s" is not a valid %s TLS protocol version: "TLSv1", "TLSv1.1", "TLSv1.2" and "TLSv1.3" are'):format(tostring(name), which)), 0)
  end
  return number
end

--- A string or a list; a list of one for a string.
---@param value any
---@param name string
---@param item fun(each: any): boolean
---@return any[]
function options.list(value, name, item, expected)
  if item(value) then return { value } end
  if type(value) ~= "table" then error(errors.argType(name, expected, value), 0) end
  for i, each in ipairs(value) do
    if not item(each) then error(errors.argType(("%s[%d]"):format(name, i), expected, each), 0) end
  end
  return value
end

--- The protocols of ALPN as they are on the wire, each behind its length.
---@param protocols string[]?
---@return string?
function options.alpn(protocols)
  if protocols == nil then return nil end
  validate.table(protocols, "options.ALPNProtocols")
  local wire = {}
  for i, protocol in ipairs(protocols) do
    local name = ("options.ALPNProtocols[%d]"):format(i)
    validate.string(protocol, name)
    if #protocol == 0 or #protocol > 255 then error(errors.outOfRange(name, "1 to 255 bytes long", #protocol), 0) end
    wire[i] = string.char(#protocol) .. protocol
  end
  local text = table.concat(wire)
  if #text > 65535 then error(errors.outOfRange("options.ALPNProtocols", "65535 bytes in all", #text), 0) end
  return text
end

--- The protocols of a client's list as it was on the wire.
---@param wire string
---@return string[]
function options.alpnList(wire)
  local list, at = {}, 1
  while at <= #wire do
    local length = wire:byte(at)
    list[#list + 1], at = wire:sub(at + 1, at + length), at + 1 + length
  end
  return list
end

--- Throws unless the value is 48 bytes.
---@param keys any
---@param name string
---@return string
function options.ticketKeys(keys, name)
  validate.string(keys, name)
  if #keys ~= 48 then error(errors.argValue(name, #keys .. " bytes", "must be 48 bytes"), 0) end
  return keys
end

--- Throws unless the value may be an emitter of bytes: what a server or client can speak over.
---@param stream any
---@param name string
function options.stream(stream, name)
  if type(stream) ~= "table" or type(stream.on) ~= "function" or type(stream.write) ~= "function"
    or type(stream.pipe) ~= "function" then
    error(errors.argType(name, "an instance of Duplex", stream), 0)
  end
  return stream
end

return options
