--- Who may ask the page's server: the token, the Host, the Origin. Plain values in and out.
local guard = {}

-- In a time that does not tell how much of it was right.
local function same(a, b)
  if #a ~= #b then return false end
  local difference = 0
  for i = 1, #a do difference = bit.bor(difference, bit.bxor(a:byte(i), b:byte(i))) end
  return difference == 0
end

local function hostOf(text)
  local host = text:match("^%[([%x:.]+)%]:?%d*$") or text:match("^([^:]+):?%d*$")
  return host and host:lower()
end

local function isAddress(host) return host:find("^%d+%.%d+%.%d+%.%d+$") ~= nil or host:find(":", 1, true) ~= nil end

--- Why a request is refused; nil when it is not.
---@param request { host: string?, origin: string?, authorization: string?, token: string? } what came
---@param rules { token: string, host: string } what is served: `host` is what was listened on
---@return integer? status
---@return string? reason
function guard.refusal(request, rules)
  local host = request.host and hostOf(request.host)
  local everywhere = rules.host == "0.0.0.0" or rules.host == "::"
  local known = host and (host == "localhost" or host == rules.host:lower() or host == "127.0.0.1" or host == "::1" or everywhere and isAddress(host))
  if not known then return 421, "this Host is not served" end
  if request.origin and request.origin ~= "null" then
    local scheme, place = request.origin:match("^(https?)://(.+)$")
    if not scheme or place:lower() ~= request.host:lower() then return 403, "this Origin may not ask" end
  elseif request.origin then
    return 403, "this Origin may not ask"
  end
  local token = request.token or (request.authorization or ""):match("^[Bb]earer%s+(%S+)$")
  if not token or not same(token, rules.token) then return 401, "the token is missing or wrong" end
end

return guard
