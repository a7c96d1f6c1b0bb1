--- What http.request takes: a URL, a table of options, or both; read and checked before anything is sent.
local core = require("lrun.core.http")
local errors = require("errors")
local validate = require("lrun.check.validate")

local options = {}

local function invalidUrl(text) error(errors.coded("ERR_INVALID_URL", "Invalid URL", { input = text }), 0) end

local function parseUrl(text)
  local scheme, rest = text:match("^(%a[%w+.-]*:)//(.*)$")
  if not scheme or text:find("[%c%s]") then invalidUrl(text) end
  local authority, path = rest:match("^([^/?#]*)([^#]*)")
  local auth, place = authority:match("^(.*)@(.*)$")
  place = place or authority
  local host, port = place:match("^%[([%x:.]+)%]:?(%d*)$")
  if not host then host, port = place:match("^([^:]*):?(%d*)$") end
  if not host or host == "" or port ~= "" and tonumber(port) > 65535 then invalidUrl(text) end
  if path:sub(1, 1) ~= "/" then path = "/" .. path end
  local function unescape(part) return (part:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)) end
  return { protocol = scheme:lower(), host = host, port = tonumber(port), path = path, auth = auth and unescape(auth) }
end

--- For `Authorization: Basic`.
---@param text string
---@return string
function options.base64(text)
  local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
  return (text:gsub("..?.?", function(part)
    local a, b, c = part:byte(1, 3)
    local n = a * 65536 + (b or 0) * 256 + (c or 0)
    local out = ""
    for i = 3, 0, -1 do
      local digit = math.floor(n / 64 ^ i) % 64
      out = out .. alphabet:sub(digit + 1, digit + 1)
    end
    return out:sub(1, #part + 1) .. ("="):rep(3 - #part)
  end))
end

--- One table of options.
---@param url string|table
---@param more table?
---@return table
function options.from(url, more)
  local all = {}
  if type(url) == "string" then all = parseUrl(url)
  elseif type(url) == "table" then more = url
  else error(errors.argType("url", "string or table", url), 0) end
  if more ~= nil and type(more) ~= "table" then error(errors.argType("options", "table", more), 0) end
  for name, value in pairs(more or {}) do all[name] = value end
  if more and more.hostname then all.host = more.hostname end
  return all
end

--- Throws for a method or a path that may not stand in a request line.
function options.checkLine(method, path)
  if method ~= nil and type(method) ~= "string" then error(errors.argType("options.method", "string", method), 0) end
  if method and not core.isToken(method) then
    error(errors.coded("ERR_INVALID_HTTP_TOKEN", ('Method must be a valid HTTP token ["%s"]'):format(method)), 0)
  end
  if path ~= nil and type(path) ~= "string" then error(errors.argType("options.path", "string", path), 0) end
  if path and path:find("[%z\1-\32\127-\255]") then
    error(errors.coded("ERR_UNESCAPED_CHARACTERS", "Request path contains unescaped characters"), 0)
  end
end

--- Throws for what cannot be.
---@param given table
function options.check(given)
  if given.protocol and given.protocol ~= "http:" then
    error(errors.coded("ERR_INVALID_PROTOCOL",
      ('Protocol "%s" not supported. Expected "http:"'):format(tostring(given.protocol))), 0)
  end
  options.checkLine(given.method, given.path)
  for _, name in ipairs { "hostname", "host", "socketPath", "auth", "localAddress" } do
    validate.optional(validate.string, given[name], "options." .. name)
  end
  for _, name in ipairs { "createConnection", "lookup" } do validate.optional(validate.func, given[name], "options." .. name) end
  validate.optional(validate.boolean, given.setHost, "options.setHost")
  validate.optional(validate.integer, given.maxHeaderSize, "options.maxHeaderSize", 1, 2 ^ 30)
  validate.optional(validate.number, given.timeout, "options.timeout", 0)
  validate.optional(validate.table, given.headers, "options.headers")
  if given.port ~= nil then validate.port(given.port, "options.port") end
end

return options
