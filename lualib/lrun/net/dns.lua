--- Names to addresses by getaddrinfo(3), on libuv's thread pool: it never blocks the loop.
local uv = require("luv")
local errors = require("errors")
local ip = require("lrun.net.ip")

local dns = {}

-- libuv's EAI_* codes under the names that Node gives them.
local CODES = { EAI_NONAME = "ENOTFOUND", EAI_NODATA = "ENOTFOUND" }

local function failure(code, host)
  code = CODES[code] or code or "ENOTFOUND"
  return errors.coded(code, ("getaddrinfo %s %s"):format(code, host), { syscall = "getaddrinfo", hostname = host })
end

local function addressesOf(list)
  local addresses, seen = {}, {}
  for _, each in ipairs(list or {}) do
    local family = each.family == "inet6" and 6 or each.family == "inet" and 4
    if family and not seen[each.addr] then
      seen[each.addr] = true
      addresses[#addresses + 1] = { address = each.addr, family = family }
    end
  end
  return addresses
end

-- Whether a text can be the name of a host: labels of 1 to 63 bytes, 253 in all, no white space. What cannot be asked for is
-- not found, whatever the resolver would say to it.
local function isName(host)
  local bare = host:gsub("%.$", "")
  if bare == "" or #bare > 253 or bare:find("[%s%c]") then return false end
  for label in (bare .. "."):gmatch("([^.]*)%.") do
    if label == "" or #label > 63 then return false end
  end
  return true
end

--- All addresses of a host, in the system's order. An address is its own answer, given a tick later.
---@param host string
---@param options { family: integer? }? 4 or 6; 0 for both
---@param callback fun(err: Error?, addresses: { address: string, family: integer }[]?)
function dns.lookupAll(host, options, callback)
  local family = options and options.family or 0
  local known = ip.parse(host)
  if known ~= 0 then
    return require("process").nextTick(callback, nil, { { address = host, family = known } })
  end
  if not isName(host) then return require("process").nextTick(callback, failure("ENOTFOUND", host)) end
  local hints = { socktype = "stream" }
  if family == 4 then hints.family = "inet" elseif family == 6 then hints.family = "inet6" end
  local ok, _, code = uv.getaddrinfo(host, nil, hints, function(err, list)
    if err then return callback(failure(err, host)) end
    local addresses = addressesOf(list)
    if #addresses == 0 then return callback(failure("ENOTFOUND", host)) end
    callback(nil, addresses)
  end)
  if not ok then require("process").nextTick(callback, failure(code, host)) end
end

return dns
