--- What http.request takes: a URL, a table of options, or both; read and checked before anything is sent.
local core = require("lrun.core.http")
local errors = require("errors")
local validate = require("lrun.check.validate")

local options = {}

-- A URL as options; its port is nil where it is the scheme's own.
local function fromUrl(url)
  local given = {
    protocol = url.protocol, host = url.hostname:match("^%[(.*)%]$") or url.hostname, port = tonumber(url.port),
    path = url.pathname .. url.search,
  }
  if url.username ~= "" or url.password ~= "" then
    local unescape = require("querystring").unescape
    given.auth = unescape(url.username) .. ":" .. unescape(url.password)
  end
  return given
end

-- A table that is a URL of the module `url`, or like one, and no options.
local function isUrl(given)
  return type(given.href) == "string" and type(given.protocol) == "string" and type(given.pathname) == "string"
    and given.path == nil and given.auth == nil
end

--- One table of options.
---@param url string|URL|table
---@param more table?
---@return table
function options.from(url, more)
  local all = {}
  if type(url) == "string" then all = fromUrl(require("url").URL:new(url))
  elseif type(url) == "table" and isUrl(url) then all = fromUrl(url)
  elseif type(url) == "table" then more = url
  else error(errors.argType("url", "string or table", url), 0) end
  validate.optional(validate.table, more, "options")
  for name, value in pairs(more or {}) do all[name] = value end
  if more and more.hostname then all.host = more.hostname end
  return all
end

--- Throws for a method or a path that may not stand in a request line.
function options.checkLine(method, path)
  validate.optional(validate.string, method, "options.method")
  if method and not core.isToken(method) then
    error(errors.coded("ERR_INVALID_HTTP_TOKEN", ('Method must be a valid HTTP token ["%s"]'):format(method)), 0)
  end
  validate.optional(validate.string, path, "options.path")
  if path and path:find("[%z\1-\32\127-\255]") then
    error(errors.coded("ERR_UNESCAPED_CHARACTERS", "Request path contains unescaped characters"), 0)
  end
end

--- Throws the error for a URL, or an agent, of another protocol.
---@param expected string "http:" or "https:"
---@param got any
function options.wrongProtocol(expected, got)
  local hint = got == "https:" and ': require("https") for that' or got == "http:" and ': require("http") for that' or ""
  error(errors.coded("ERR_INVALID_PROTOCOL", ('Protocol "%s" not supported. Expected "%s"%s'):format(tostring(got), expected, hint)), 0)
end

local STRINGS = { "hostname", "host", "socketPath", "auth", "localAddress" }
local FUNCTIONS = { "createConnection", "lookup" }

--- Throws for what cannot be.
---@param given table
---@param protocol string what is spoken
function options.check(given, protocol)
  if given.protocol and given.protocol ~= protocol then options.wrongProtocol(protocol, given.protocol) end
  options.checkLine(given.method, given.path)
  for i = 1, #STRINGS do
    local name = STRINGS[i]
    if given[name] ~= nil then validate.string(given[name], "options." .. name) end
  end
  for i = 1, #FUNCTIONS do
    local name = FUNCTIONS[i]
    if given[name] ~= nil then validate.func(given[name], "options." .. name) end
  end
  validate.optional(validate.boolean, given.setHost, "options.setHost")
  validate.optional(validate.boolean, given.compress, "options.compress")
  validate.optional(validate.integer, given.maxHeaderSize, "options.maxHeaderSize", 1, 2 ^ 30)
  validate.optional(validate.number, given.timeout, "options.timeout", 0)
  validate.optional(validate.table, given.headers, "options.headers")
  if given.port ~= nil then validate.port(given.port, "options.port") end
end

return options
