--- The hosts of URLs: names, IPv4 and IPv6 addresses, in the form that everybody compares. Pure functions of text.
--- Source: WHATWG's URL standard, "Hosts".
local encoding = require("lrun.core.encoding")
local lshift = require("bit").lshift

local host = {}

-- What no host holds, and what no domain holds beside that. NUL is %z in a pattern.
local FORBIDDEN = "[%z\t\n\r #/:<>?@%[\\%]^|]"
local FORBIDDEN_IN_DOMAIN = "[%z\1-\32#%%/:<>?@%[\\%]^|\127]"

-- IPv4 ----------------------------------------------------------------------------------------------------------------

-- One part of an address: decimal, octal (0…) or hexadecimal (0x…).
local function number(text)
  if text == "" then return nil end
  local digits, base = text, 10
  if text:find("^0[xX]") then
    digits, base = text:sub(3), 16
  elseif #text > 1 and text:byte() == 48 then
    digits, base = text:sub(2), 8
  end
  if digits == "" then return 0 end
  local allowed = base == 10 and "^%d+$" or base == 16 and "^%x+$" or "^[0-7]+$"
  if not digits:find(allowed) then return nil end
  local value = 0
  for digit in digits:gmatch(".") do value = value * base + tonumber(digit, 16) end
  return value
end

local function parts(text)
  local list = {}
  for part in (text .. "."):gmatch("([^.]*)%.") do list[#list + 1] = part end
  if list[#list] == "" and #list > 1 then list[#list] = nil end
  return list
end

local function endsInNumber(text)
  if not text:find("[%xxX]%.?$", -2) then return false end       -- most: a top level's last letter
  local list = parts(text)
  local last = list[#list]
  return last:find("^%d+$") ~= nil or last:find("^0[xX]%x*$") ~= nil
end

local function ipv4(text)
  local list = parts(text)
  if #list > 4 then return nil end
  local value = 0
  for i, part in ipairs(list) do
    local n = number(part)
    if not n then return nil end
    if i < #list then
      if n > 255 then return nil end
      value = value + n * 256 ^ (4 - i)
    else
      if n >= 256 ^ (5 - #list) then return nil end
      value = value + n
    end
  end
  local bytes = {}
  for i = 4, 1, -1 do
    bytes[i] = ("%d"):format(value % 256)
    value = math.floor(value / 256)
  end
  return table.concat(bytes, ".")
end

-- IPv6 ----------------------------------------------------------------------------------------------------------------

-- The two pieces of an IPv4 address at the end of an IPv6 address.
local function embedded(text)
  local a, b, c, d = text:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$")
  if not a then return nil end
  for _, part in ipairs{ a, b, c, d } do
    if tonumber(part) > 255 or #part > 1 and part:byte() == 48 then return nil end
  end
  return lshift(tonumber(a), 8) + tonumber(b), lshift(tonumber(c), 8) + tonumber(d)
end

-- Appends the pieces of `text`, which stands on one side of `::`; nil when it is none.
local function pieces(text, list)
  if text == "" then return list end
  local groups = {}
  for group in (text .. ":"):gmatch("([^:]*):") do groups[#groups + 1] = group end
  for i, group in ipairs(groups) do
    if i == #groups and group:find(".", 1, true) then
      local high, low = embedded(group)
      if not high then return nil end
      list[#list + 1], list[#list + 2] = high, low
    elseif group:find("^%x%x?%x?%x?$") then
      list[#list + 1] = tonumber(group, 16)
    else
      return nil
    end
  end
  return list
end

-- The longest run of at least two zeros: where it begins and ends.
local function longestZeros(list)
  local from, to, at
  for i = 1, 9 do
    if list[i] == 0 then
      at = at or i
    elseif at then
      if i - at > 1 and (not from or i - at > to - from + 1) then from, to = at, i - 1 end
      at = nil
    end
  end
  return from, to
end

local function serialized(list)
  local from, to = longestZeros(list)
  local text, i = {}, 1
  while i <= 8 do
    if i == from then
      text[#text + 1] = i == 1 and "::" or ":"
      i = to + 1
    else
      text[#text + 1] = ("%x"):format(list[i]) .. (i < 8 and ":" or "")
      i = i + 1
    end
  end
  return "[" .. table.concat(text) .. "]"
end

local function ipv6(text)
  local first, last = text:find("::", 1, true)
  local list = pieces(first and text:sub(1, first - 1) or text, {})
  if not list then return nil end
  if first then
    if text:sub(1, first - 1):find(".", 1, true) then return nil end
    local rest = pieces(text:sub(last + 1), {})
    if not rest or #list + #rest > 7 then return nil end
    for _ = #list + #rest + 1, 8 do list[#list + 1] = 0 end
    for _, piece in ipairs(rest) do list[#list + 1] = piece end
  end
  if #list ~= 8 then return nil end
  return serialized(list)
end

-- Names ---------------------------------------------------------------------------------------------------------------

local idn                           -- libidn2, false when the machine has none

local function loadIdn()
  local ffi = require("ffi")
  ffi.cdef[[
    int idn2_to_ascii_8z(const char *input, char **output, int flags);
    void idn2_free(void *ptr);
  ]]
  for _, name in ipairs{ "libidn2.so.0", "idn2" } do
    local ok, library = pcall(ffi.load, name)
    if ok then return library end
  end
  return false
end

local NON_TRANSITIONAL = 8          -- IDN2_NONTRANSITIONAL of idn2.h: what browsers do

-- A name with letters beyond ASCII in ASCII; nil and why. Labels that are ASCII already are not looked into.
local function toAscii(text)
  if idn == nil then idn = loadIdn() end
  if not idn then
    return nil, "a name with letters outside ASCII needs the package libidn2-0 (or its form that begins with xn--)"
  end
  local ffi = require("ffi")
  local out = ffi.new("char *[1]")
  if idn.idn2_to_ascii_8z(text, out, NON_TRANSITIONAL) ~= 0 then return nil end
  local ascii = ffi.string(out[0])
  idn.idn2_free(out[0])
  return ascii
end

local function normal(name)
  if endsInNumber(name) then return ipv4(name) end
  return name
end

local function domain(text)
  if text:find("^[a-z0-9.-]+$") then return normal(text) end
  text = encoding.fromPercent(text, false)
  if text:find("%z") then return nil end
  if text:find("[\128-\255]") then
    local ascii, reason = toAscii(text)
    if not ascii then return nil, reason end
    text = ascii
  end
  text = text:lower()
  if text == "" or text:find(FORBIDDEN_IN_DOMAIN) then return nil end
  return normal(text)
end

local OPAQUE = encoding.set(" !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")

--- A host as a URL holds it, in its normal form.
---@param text string
---@param special boolean the scheme is one of those whose hosts are domains
---@return string? host nil when it is none
---@return string? reason where there is more to say
function host.parse(text, special)
  if text:sub(1, 1) == "[" then
    if text:sub(-1) ~= "]" then return nil end
    return ipv6(text:sub(2, -2))
  end
  if special then return domain(text) end
  if text:find(FORBIDDEN) then return nil end
  return encoding.percent(text, OPAQUE)
end

return host
