--- Internet addresses as text: what family they are of, and their bytes in network order.
local ip = {}

local function parse4(text)
  local a, b, c, d = text:match("^(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)$")
  if not a then return nil end
  for _, part in ipairs{ a, b, c, d } do
    if tonumber(part) > 255 or #part > 1 and part:sub(1, 1) == "0" then return nil end
  end
  return string.char(a, b, c, d)
end

-- The groups of one side of "::", as bytes; nil when one of them is bad. The very last may be an IPv4 address.
local function groups(text, last)
  if text == "" then return "" end
  local parts, bytes = {}, {}
  for group in (text .. ":"):gmatch("([^:]*):") do parts[#parts + 1] = group end
  for i, part in ipairs(parts) do
    if part:find("^%x%x?%x?%x?$") then
      local value = tonumber(part, 16)
      bytes[i] = string.char(math.floor(value / 256), value % 256)
    else
      bytes[i] = i == #parts and last and parse4(part) or nil
      if not bytes[i] then return nil end
    end
  end
  return table.concat(bytes)
end

local function parse6(text)
  text = text:match("^([^%%]+)%%[%w._~-]+$") or text
  if not text:find("^[%x:.]+$") or text:find(":::", 1, true) then return nil end
  local left, right = text:match("^(.-)::(.*)$")
  if not left then
    local bytes = groups(text, true)
    return bytes and #bytes == 16 and bytes or nil
  end
  if right:find("::", 1, true) then return nil end
  local head, tail = groups(left, false), groups(right, true)
  if not head or not tail or #head + #tail > 14 then return nil end
  return head .. ("\0"):rep(16 - #head - #tail) .. tail
end

--- The family of an address: 4, 6, or 0 for anything else; then its 4 or 16 bytes.
---@param text any
---@return integer family
---@return string? bytes
function ip.parse(text)
  if type(text) ~= "string" or #text > 60 then return 0, nil end
  local bytes = parse4(text)
  if bytes then return 4, bytes end
  bytes = text:find(":", 1, true) and parse6(text)
  if bytes then return 6, bytes end
  return 0, nil
end

--- `luv`'s family names as Node's: "IPv4", "IPv6".
---@param family string?
---@return string?
function ip.familyName(family)
  if family == "inet" or family == "INET" then return "IPv4" end
  if family == "inet6" or family == "INET6" then return "IPv6" end
  return family
end

return ip
