--- What `redis.connect` is given: a URL, options, or both, checked and made one table.
local encoding = require("lrun.core.encoding")
local errors = require("errors")
local validate = require("lrun.check.validate")

local options = {}

local DEFAULT_PORT, SENTINEL_PORT = 6379, 26379

local function badUrl(url, reason)
  return errors.coded("ERR_INVALID_URL", ("Invalid URL: '%s': %s"):format(url, reason), { input = url })
end

local FORMS = "it must be redis://[user:password@]host[:port][/db], rediss://… or redis+unix:///path[?db=n]"

local function database(url, text)
  if text == nil or text == "" then return nil end
  if not text:find("^%d+$") or #text > 9 then error(badUrl(url, "a database is a number"), 0) end
  return tonumber(text)
end

-- `user:password@`; the rest.
local function credentials(text, into)
  local before, rest = text:match("^([^@/]*)@(.*)$")
  if not before then return text end
  local user, password = before:match("^([^:]*):(.*)$")
  user = encoding.fromPercent(user or before, false)
  into.username = user ~= "" and user or nil
  into.password = password and encoding.fromPercent(password, false) or nil
  return rest
end

local function readUnix(url, rest)
  local found = {}
  local path = credentials(rest, found)
  local bare, query = path:match("^([^?]*)%?(.*)$")
  path = encoding.fromPercent(bare or path, false)
  if path:sub(1, 1) ~= "/" then error(badUrl(url, FORMS), 0) end
  found.path, found.db = path, database(url, query and query:match("^db=(.*)$"))
  if query and not query:find("^db=%d+$") then error(badUrl(url, "behind the path only ?db=n can stand"), 0) end
  return found
end

local function readUrl(url)
  local unix = url:match("^redis%+unix://(.+)$")
  if unix then return readUnix(url, unix) end
  local scheme, rest = url:match("^(rediss?)://(.*)$")
  if not scheme then error(badUrl(url, FORMS), 0) end
  local found = { tls = scheme == "rediss" or nil }
  rest = credentials(rest, found)
  local place, db = rest:match("^([^/]*)/(.*)$")
  place = place or rest
  local host, port = place:match("^%[([%x:.]+)%]:?(.*)$")
  if not host then
    host, port = place:match("^([^:]*):?(.*)$")
  end
  if port ~= "" and not (port:find("^%d+$") and tonumber(port) <= 65535) then
    error(badUrl(url, "a port is a number up to 65535"), 0)
  end
  found.host = host ~= "" and encoding.fromPercent(host, false) or nil
  found.port = tonumber(port)
  found.db = database(url, db)
  return found
end

local function hosts(list, name, port)
  validate.table(list, name)
  if #list == 0 then error(errors.argValue(name, list, "must have a host at least"), 0) end
  local read = {}
  for i, each in ipairs(list) do
    local at = ("%s[%d]"):format(name, i)
    validate.table(each, at)
    read[i] = {
      host = validate.string(each.host or "127.0.0.1", at .. ".host"), port = validate.port(each.port or port, at .. ".port", 1),
    }
  end
  return read
end

local KNOWN = {}
for name in ([[url host port path username password db sentinel cluster connectTimeout commandTimeout retry maxRetries offlineQueue
  lazy tls retryReads replyLimit pendingLimit outputLimit keepAlive]]):gmatch("%S+") do KNOWN[name] = true end

local function checkNames(given)
  for name in pairs(given) do
    if not KNOWN[name] then
      error(errors.argValue("options." .. tostring(name), given[name], "is no option of redis.connect"), 0)
    end
  end
end

local function readRetry(retry, into)
  if retry == nil then return end
  if retry == false then
    into.maxRetries = 0
    return
  end
  validate.table(retry, "options.retry")
  into.retryMin = validate.optional(validate.number, retry.min, "options.retry.min", 1) or into.retryMin
  into.retryMax = validate.optional(validate.number, retry.max, "options.retry.max", into.retryMin) or into.retryMax
  into.maxRetries = validate.optional(validate.integer, retry.maxRetries, "options.retry.maxRetries", 0) or into.maxRetries
end

---@param url string|RedisOptions|nil
---@param more RedisOptions?
---@return table
function options.read(url, more)
  if url ~= nil and type(url) ~= "string" and type(url) ~= "table" then
    error(errors.argType("url", "string or table", url), 0)
  end
  local given = {}
  if type(url) == "table" then
    if more ~= nil then error(errors.argType("url", "string", url), 0) end
    more, url = url, url.url
  end
  if url ~= nil then given = readUrl(url) end
  more = validate.optional(validate.table, more, "options") or {}
  checkNames(more)
  for name, value in pairs(more) do given[name] = value end
  local read = {
    host = validate.string(given.host or "127.0.0.1", "options.host"),
    port = validate.port(given.port or DEFAULT_PORT, "options.port", 1),
    path = validate.optional(validate.socketPath, given.path, "options.path"),
    username = validate.optional(validate.string, given.username, "options.username"),
    password = validate.optional(validate.string, given.password, "options.password"),
    db = validate.optional(validate.integer, given.db, "options.db", 0) or 0,
    connectTimeout = validate.optional(validate.integer, given.connectTimeout, "options.connectTimeout", 1) or 10000,
    commandTimeout = validate.optional(validate.integer, given.commandTimeout, "options.commandTimeout", 1),
    offlineQueue = validate.optional(validate.integer, given.offlineQueue, "options.offlineQueue", 0) or 10000,
    pendingLimit = validate.optional(validate.integer, given.pendingLimit, "options.pendingLimit", 1) or 1000000,
    outputLimit = validate.optional(validate.integer, given.outputLimit, "options.outputLimit", 1024) or 256 * 1024 * 1024,
    replyLimit = validate.optional(validate.integer, given.replyLimit, "options.replyLimit", 1024) or 512 * 1024 * 1024,
    retryMin = 50, retryMax = 2000,
    maxRetries = validate.optional(validate.integer, given.maxRetries, "options.maxRetries", 0) or math.huge,
    tls = given.tls,
  }
  validate.flags(given, { "lazy", "retryReads" })
  read.lazy, read.retryReads = given.lazy or false, given.retryReads or false
  readRetry(given.retry, read)
  if given.tls ~= nil and given.tls ~= true and given.tls ~= false then validate.table(given.tls, "options.tls") end
  if given.sentinel ~= nil then
    validate.table(given.sentinel, "options.sentinel")
    read.sentinel = {
      name = validate.string(given.sentinel.name, "options.sentinel.name"),
      hosts = hosts(given.sentinel.hosts, "options.sentinel.hosts", SENTINEL_PORT),
      username = validate.optional(validate.string, given.sentinel.username, "options.sentinel.username"),
      password = validate.optional(validate.string, given.sentinel.password, "options.sentinel.password"),
    }
  end
  if given.cluster ~= nil then
    validate.table(given.cluster, "options.cluster")
    read.cluster = { hosts = hosts(given.cluster.hosts, "options.cluster.hosts", DEFAULT_PORT) }
    if read.db ~= 0 then error(errors.argValue("options.db", read.db, "must be 0 in a cluster"), 0) end
  end
  return read
end

--- The options of a node of the same cluster, or of a connection to another host.
---@param base table of options.read
---@param host string
---@param port integer
---@return table
function options.at(base, host, port)
  local copy = {}
  for name, value in pairs(base) do copy[name] = value end
  copy.host, copy.port, copy.path, copy.cluster, copy.sentinel = host, port, nil, nil, nil
  return copy
end

return options
