--- What fetch is called with: checked, and made a job (lrun.fetch.job). Wrong arguments throw; what is no URL, or of another
--- protocol, is returned.
local aborting = require("lrun.check.aborting")
local core = require("lrun.core.http")
local errors = require("errors")
local http = require("http")
local json = require("json")
local validate = require("lrun.check.validate")

local options = {}

--- Options that go to https as they are.
options.TLS = {
  "ca", "cert", "key", "certFile", "keyFile", "pfx", "passphrase", "crl", "ciphers", "ecdhCurve", "sigalgs", "dhparam", "minVersion",
  "maxVersion", "secureOptions", "secureContext", "servername", "checkServerIdentity", "rejectUnauthorized", "minDHSize",
  "requestOCSP", "ALPNProtocols",
}

--- Options of the connection.
options.CONNECTION = { "family", "localAddress", "localPort", "lookup", "maxHeaderSize", "socketPath" }

local function isStream(value) return type(value) == "table" and type(value.pipe) == "function" and type(value.on) == "function" end

-- A copy in which every name is there once, whatever its case: lower-case name → { name, value }.
local function readHeaders(given)
  local headers = {}
  for name, value in pairs(given or {}) do
    if type(name) == "number" and type(value) == "table" then name, value = value[1], value[2] end
    http.validateHeaderName(name)
    http.validateHeaderValue(name, value)
    headers[name:lower()] = { name, value }
  end
  return headers
end

local function readBody(given, headers)
  if given.json ~= nil then
    if given.body ~= nil then error(errors.argValue("options.json", "a value", "cannot be sent beside options.body"), 0) end
    if not headers["content-type"] then headers["content-type"] = { "Content-Type", "application/json" } end
    return json.encode(given.json)
  end
  local body = given.body
  if body ~= nil and type(body) ~= "string" and not isStream(body) then
    error(errors.argType("options.body", "string or an instance of Readable", body), 0)
  end
  return body
end

local function check(given)
  validate.optional(validate.string, given.method, "options.method")
  if given.method and not core.isToken(given.method) then
    error(errors.coded("ERR_INVALID_HTTP_TOKEN", ('Method must be a valid HTTP token ["%s"]'):format(given.method)), 0)
  end
  validate.optional(validate.table, given.headers, "options.headers")
  validate.optional(validate.table, given.query, "options.query")
  validate.optional(validate.number, given.timeout, "options.timeout", 0, 2147483647)
  validate.optional(validate.boolean, given.compress, "options.compress")
  validate.optional(validate.string, given.auth, "options.auth")
  if given.redirect ~= nil then
    validate.string(given.redirect, "options.redirect")
    validate.oneOf(given.redirect, "options.redirect", { "follow", "manual", "error" })
  end
  if given.signal ~= nil then aborting.check(given.signal) end
  if given.agent ~= nil then require("lrun.http.agent").checkAgent(given.agent) end
  -- TLS options are checked now, also when the URL is a plain one: a redirect may lead to https.
  for _, name in ipairs(options.TLS) do
    if given[name] ~= nil then
      require("tls").TLSSocket._check(given)
      break
    end
  end
end

local function addQuery(url, query)
  local keys = {}
  for name in pairs(query) do keys[#keys + 1] = name end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for _, name in ipairs(keys) do
    local value = query[name]
    for _, each in ipairs(type(value) == "table" and value or { value }) do
      if type(each) ~= "string" and type(each) ~= "number" and type(each) ~= "boolean" then
        error(errors.argType("options.query." .. tostring(name), "string, number, boolean or a list of them", each), 0)
      end
      url.searchParams:append(tostring(name), tostring(each))
    end
  end
end

--- A URL that fetch can follow; or nil and the error.
---@param text any
---@param base any?
---@return URL?
---@return Error? err
function options.url(text, base)
  local URL = require("url").URL
  local ok, url = pcall(URL.new, URL, tostring(text), base)
  if not ok then return nil, url end
  if url.protocol ~= "http:" and url.protocol ~= "https:" then
    return nil, errors.coded("ERR_INVALID_PROTOCOL", ('Protocol "%s" not supported. Expected "http:" or "https:"'):format(url.protocol))
  end
  url.hash = ""
  return url
end

--- Reads the arguments.
---@param url any
---@param given any
---@return table? job
---@return Error? err
function options.read(url, given)
  if type(url) ~= "string" and not (type(url) == "table" and type(url.href) == "string") then
    error(errors.argType("url", "string or an instance of URL", url), 0)
  end
  given = validate.optional(validate.table, given, "options") or {}
  check(given)
  local headers = readHeaders(given.headers)
  local body = readBody(given, headers)
  local target, problem = options.url(type(url) == "table" and url.href or url)
  if target and given.query then addQuery(target, given.query) end
  if not target then return nil, problem end
  return {
    url = target, given = given, headers = headers, body = body,
    method = (given.method or body ~= nil and "POST" or "GET"):upper(), auth = given.auth,
    redirect = given.redirect or "follow", redirects = 0, compress = given.compress ~= false, signal = given.signal,
    timeout = given.timeout, tls = {},
  }
end

return options
