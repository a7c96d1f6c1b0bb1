--- Names and addresses by the system's resolver (getaddrinfo, getnameinfo), on libuv's thread pool. Source: Node 20's `dns`,
--- whose `resolve` asks name servers itself; here every function asks the system, so /etc/hosts counts in all of them.
local calls = require("lrun.check.calls")
local errors = require("errors")
local ip = require("lrun.net.ip")
local resolver = require("lrun.net.dns")
local uv = require("luv")
local validate = require("lrun.check.validate")

---@class dns
local dns = {}

local FAMILIES = { [0] = 0, [4] = 4, [6] = 6, IPv4 = 4, IPv6 = 6 }

local function familyOf(value, name)
  if value == nil then return 0 end
  local family = FAMILIES[value]
  if not family then error(errors.argValue(name, value, "must be one of: 0, 4, 6"), 0) end
  return family
end

---@class LookupOptions
---@field family integer|string|nil 4 or 6 ("IPv4", "IPv6"); 0 for both
---@field all boolean? every address, as a list of `{ address, family }`
---@field order string? "verbatim" (as the system gives them), "ipv4first" or "ipv6first"

local ORDERS = { "verbatim", "ipv4first", "ipv6first" }

local function ordered(addresses, order)
  if order == nil or order == "verbatim" then return addresses end
  local first = order == "ipv4first" and 4 or 6
  local list = {}
  for _, each in ipairs(addresses) do if each.family == first then list[#list + 1] = each end end
  for _, each in ipairs(addresses) do if each.family ~= first then list[#list + 1] = each end end
  return list
end

--- The address of a host: `callback(err, address, family)`, or with `all` `callback(err, list)`. Errors as Node's:
--- `getaddrinfo ENOTFOUND name`, with `code`, `syscall`, `hostname`. Throws for wrong arguments.
---@overload fun(hostname: string, callback: function)
---@param hostname string
---@param options LookupOptions|integer a family
---@param callback fun(err: Error?, address: any, family: integer?)
function dns.lookup(hostname, options, callback)
  validate.string(hostname, "hostname")
  if type(options) == "function" then options, callback = nil, options end
  if type(options) == "number" then options = { family = options } end
  options = validate.optional(validate.table, options, "options") or {}
  validate.func(callback, "callback")
  local family = familyOf(options.family, "options.family")
  validate.flags(options, { "all" })
  local order = options.order
  if order ~= nil then validate.oneOf(order, "options.order", ORDERS) end
  resolver.lookupAll(hostname, { family = family }, function(err, addresses)
    if err then return callback(err) end
    addresses = ordered(addresses, order)
    if options.all then return callback(nil, addresses) end
    callback(nil, addresses[1].address, addresses[1].family)
  end)
end

local function resolve(family, query, hostname, callback)
  validate.string(hostname, "name")
  validate.func(callback, "callback")
  resolver.lookupAll(hostname, { family = family }, function(err, addresses)
    if err then
      return callback(errors.coded(err.code, ("%s %s %s"):format(query, err.code, hostname),
        { syscall = query, hostname = hostname }))
    end
    local list = {}
    for i, each in ipairs(addresses) do list[i] = each.address end
    callback(nil, list)
  end)
end

--- The IPv4 addresses of a host: `callback(err, list)`.
---@param hostname string
---@param callback fun(err: Error?, addresses: string[]?)
function dns.resolve4(hostname, callback) resolve(4, "queryA", hostname, callback) end

--- The IPv6 addresses of a host: `callback(err, list)`.
---@param hostname string
---@param callback fun(err: Error?, addresses: string[]?)
function dns.resolve6(hostname, callback) resolve(6, "queryAaaa", hostname, callback) end

--- The addresses of a host by kind of record; those that the system's resolver knows are `"A"` and `"AAAA"`.
---@overload fun(hostname: string, callback: function)
---@param hostname string
---@param kind string "A" (the default) or "AAAA"
---@param callback fun(err: Error?, addresses: string[]?)
function dns.resolve(hostname, kind, callback)
  if type(kind) == "function" then kind, callback = "A", kind end
  validate.oneOf(kind, "rrtype", { "A", "AAAA" })
  if kind == "A" then return dns.resolve4(hostname, callback) end
  return dns.resolve6(hostname, callback)
end

local function reverseFailure(code, address)
  return errors.coded(code, ("getHostByAddr %s %s"):format(code, address), { syscall = "getHostByAddr", hostname = address })
end

--- The names of an address: `callback(err, list)`. Throws `EINVAL` for what is no address.
---@param address string
---@param callback fun(err: Error?, names: string[]?)
function dns.reverse(address, callback)
  validate.string(address, "name")
  validate.func(callback, "callback")
  local family = ip.parse(address)
  if family == 0 then error(reverseFailure("EINVAL", address), 0) end
  local asked = { ip = address, port = 0, family = family == 6 and "inet6" or "inet" }
  local function answered(err, name)
    -- The system gives the address itself where there is no name.
    if err or not name or ip.parse((name:gsub("%%.*$", ""))) ~= 0 then
      return callback(reverseFailure(err and err ~= "EAI_NONAME" and err or "ENOTFOUND", address))
    end
    callback(nil, { name })
  end
  local ok, _, code = uv.getnameinfo(asked, answered)
  if not ok then require("process").nextTick(answered, code) end
end

calls.functions(dns, "dns")

return dns
