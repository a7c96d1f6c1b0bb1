--- net.BlockList: addresses, ranges and subnets to turn away. Addresses are compared as bytes; an IPv4 address that came
--- as IPv6 (`::ffff:1.2.3.4`) is checked against the IPv4 rules.
local errors = require("errors")
local calls = require("lrun.check.calls")
local ip = require("lrun.net.ip")
local validate = require("lrun.check.validate")

---@class BlockList
---@field rules string[] the rules, newest first, as text
local BlockList = { name = "BlockList" }
BlockList.__index = function(self, key)
  if key ~= "rules" then return BlockList[key] end
  local texts = {}
  for i = #self._rules, 1, -1 do texts[#texts + 1] = self._rules[i].text end
  return texts
end

--- Makes an empty list. Source: Node 20.
function BlockList:new()
  if not rawequal(self, BlockList) then calls.needsColon("BlockList", "new") end
  return setmetatable({ _rules = {} }, BlockList)
end

local FAMILIES = { ipv4 = 4, ipv6 = 6 }
local MAPPED = ("\0"):rep(10) .. "\255\255"

local function parse(address, family, name)
  validate.string(address, name)
  local wanted = validate.string(family or "ipv4", "family"):lower()
  if not FAMILIES[wanted] then error(errors.argValue("family", family), 0) end
  local found, bytes = ip.parse(address)
  if found ~= FAMILIES[wanted] then
    error(errors.coded("ERR_INVALID_ADDRESS", ('The "%s" argument is no %s address: %s'):format(name, wanted, address)), 0)
  end
  return bytes
end

local function label(bytes) return #bytes == 4 and "IPv4" or "IPv6" end

local function add(self, text, matches)
  self._rules[#self._rules + 1] = { text = text, matches = matches }
end

---@param address string
---@param family string? "ipv4" (default) or "ipv6"
function BlockList:addAddress(address, family)
  local bytes = parse(address, family, "address")
  add(self, ("Address: %s %s"):format(label(bytes), address), function(other) return other == bytes end)
end

--- Both ends belong to the range.
---@param first string
---@param last string
---@param family string?
function BlockList:addRange(first, last, family)
  local low, high = parse(first, family, "start"), parse(last, family, "end")
  if low > high then error(errors.argValue("start", first, "must come before end"), 0) end
  add(self, ("Range: %s %s-%s"):format(label(low), first, last), function(other)
    return #other == #low and other >= low and other <= high
  end)
end

local function inSubnet(bytes, network, prefix)
  local whole = math.floor(prefix / 8)
  if bytes:sub(1, whole) ~= network:sub(1, whole) then return false end
  local rest = prefix % 8
  if rest == 0 then return true end
  local step = 2 ^ (8 - rest)
  return math.floor(bytes:byte(whole + 1) / step) == math.floor(network:byte(whole + 1) / step)
end

---@param network string
---@param prefix integer bits
---@param family string?
function BlockList:addSubnet(network, prefix, family)
  local bytes = parse(network, family, "net")
  validate.integer(prefix, "prefix", 0, #bytes * 8)
  add(self, ("Subnet: %s %s/%d"):format(label(bytes), network, prefix), function(other)
    return #other == #bytes and inSubnet(other, bytes, prefix)
  end)
end

local function anyMatches(self, bytes)
  for _, rule in ipairs(self._rules) do
    if rule.matches(bytes) then return true end
  end
  return false
end

--- Whether a rule matches the address; false for what is no address of that family.
---@param address string
---@param family string? "ipv4" (default) or "ipv6"
---@return boolean
function BlockList:check(address, family)
  validate.string(address, "address")
  local wanted = FAMILIES[validate.string(family or "ipv4", "family"):lower()]
  if not wanted then error(errors.argValue("family", family), 0) end
  local found, bytes = ip.parse(address)
  if found ~= wanted then return false end
  if anyMatches(self, bytes) then return true end
  return #bytes == 16 and bytes:sub(1, 12) == MAPPED and anyMatches(self, bytes:sub(13))
end

calls.methods(BlockList, "blockList", { new = true })

return BlockList
