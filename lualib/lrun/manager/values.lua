--- Reads the value of one field of an app into its normal form. Plain values in and out: what has to look at the system (users,
--- processors) asks the `system` that it is given.
local cron = require("lrun.manager.cron")
local nearest = require("lrun.manager.nearest")
local units = require("lrun.manager.units")

local values = {}

values.MAX_INSTANCES = 1000

---@class ValueSystem what a value may depend on
---@field processors integer that may be used
---@field signals table<string, integer>
---@field user fun(name: string): integer? the id of a user
---@field group fun(name: string): integer?

local function quote(value) return type(value) == "string" and ("'%s'"):format(value) or tostring(value) end

--- Splits a text into words; quotes hold words together.
---@param text string
---@return string[]
function values.words(text)
  local words, at = {}, 1
  while true do
    at = text:find("%S", at)
    if not at then return words end
    local word = {}
    while at <= #text and not text:find("^%s", at) do
      local mark = text:sub(at, at)
      local stop = (mark == '"' or mark == "'") and text:find(mark, at + 1, true)
      if stop then
        word[#word + 1] = text:sub(at + 1, stop - 1)
        at = stop + 1
      else
        word[#word + 1] = mark
        at = at + 1
      end
    end
    words[#words + 1] = table.concat(word)
  end
end

local kinds = {}

function kinds.string(value)
  if type(value) == "number" then value = ("%.14g"):format(value) end
  if type(value) ~= "string" then return nil, "has to be a text" end
  if value == "" then return nil, "cannot be empty" end
  if value:find("%z") then return nil, "cannot hold a null byte" end
  return value
end

function kinds.strings(value)
  if type(value) == "string" then return values.words(value) end
  if type(value) == "number" then return { ("%.14g"):format(value) } end
  if type(value) ~= "table" then return nil, "has to be a list of texts" end
  local list = {}
  for i, each in ipairs(value) do
    if type(each) ~= "string" and type(each) ~= "number" and type(each) ~= "boolean" then return nil, "has to be a list of texts" end
    list[i] = type(each) == "number" and ("%.14g"):format(each) or tostring(each)
    if list[i]:find("%z") then return nil, "cannot hold a null byte" end
  end
  if next(value) ~= nil and #value == 0 then return nil, "has to be a list of texts" end
  return list
end

function kinds.boolean(value)
  if type(value) == "boolean" then return value end
  if value == "true" then return true end
  if value == "false" then return false end
  return nil, "has to be true or false, not " .. quote(value)
end

kinds.duration = units.duration
kinds.size = units.size

function kinds.maxMemory(value)
  local size, problem = units.size(value)
  if size and size < 64 * 1024 then return nil, ("%s bytes is less than any program takes: write \"%sM\""):format(size, tostring(value)) end
  return size, problem
end

local function integer(value, min, max, what)
  local found = tonumber(value)
  if not found or found % 1 ~= 0 or type(value) == "boolean" then return nil, ("has to be %s, not %s"):format(what, quote(value)) end
  if found < min or found > max then return nil, ("has to be from %d to %d, not %s"):format(min, max, quote(value)) end
  return found
end

function kinds.count(value) return integer(value, 0, 1e9, "a whole number") end
function kinds.port(value) return integer(value, 1, 65535, "a port") end
function kinds.nice(value) return integer(value, -20, 19, "a niceness") end

function kinds.instances(value, system)
  if value == "max" then return system.processors end
  local count, problem = integer(value, -system.processors, values.MAX_INSTANCES, "a number, max, or -1")
  if not count then return nil, problem end
  if count <= 0 then return math.max(1, system.processors + count) end
  return count
end

local MODES = { cluster = "cluster", fork = "fork", cluster_mode = "cluster", fork_mode = "fork" }
function kinds.mode(value)
  if MODES[value] then return MODES[value] end
  return nil, "has to be cluster or fork, not " .. quote(value)
end

function kinds.environment(value)
  if type(value) ~= "table" then return nil, "has to be a table of names and values" end
  local env = {}
  for name, each in pairs(value) do
    if type(name) ~= "string" or name == "" or name:find("[=%z]") then return nil, ("has a name that cannot be: %s"):format(quote(name)) end
    if type(each) == "table" then each = require("json").encode(each) end
    if type(each) == "number" then each = ("%.14g"):format(each) end
    env[name] = tostring(each)
    if env[name]:find("%z") then return nil, ("has a null byte in %s"):format(name) end
  end
  return env
end

function kinds.filter(value)
  if type(value) == "boolean" or value == "true" then return value and true or false end
  if type(value) == "string" then
    local list = {}
    for name in value:gmatch("[^,%s]+") do list[#list + 1] = name end
    return list
  end
  return kinds.strings(value)
end

local function addressList(value)
  if type(value) == "number" then return { tostring(value) } end
  if type(value) == "string" then
    local list = {}
    for each in value:gmatch("[^,%s]+") do list[#list + 1] = each end
    return list
  end
  return kinds.strings(value)
end

--- `listen`: each "PORT", "HOST:PORT", "[IPv6]:PORT", or a path, as { host, port } or { path }.
function kinds.addresses(value)
  local list, problem = addressList(value)
  if not list then return nil, problem end
  if #list == 0 then return nil, "names no address" end
  local found = {}
  for i, text in ipairs(list) do
    local host, port = text:match("^%[([%x:.]+)%]:(%d+)$")
    if not host then host, port = text:match("^([^:/]*):(%d+)$") end
    if not host and text:find("^%d+$") then host, port = "", text end
    if port then
      if tonumber(port) > 65535 then return nil, ("has no port in '%s'"):format(text) end
      found[i] = { host = host ~= "" and host or nil, port = tonumber(port) }
    elseif text:find("/", 1, true) then
      found[i] = { path = text }
    else
      return nil, ("has no address in '%s': write \"0.0.0.0:8000\" or a path"):format(text)
    end
  end
  return found
end

-- "http://host:port/path", ":port/path", or { http =, port =, host =, … }
local function check(value, extra)
  if type(value) == "string" then
    local host, port, path = value:match("^https?://%[?([%w.:-]-)%]?:(%d+)(/?.*)$")
    if not host and value:find("^http://") then
      host, path = value:match("^http://([^/:]+)(/?.*)$")
      port = 80
    end
    if not host and value:find("^/") then path = value end
    if not path then return nil, ("has to be an address such as http://127.0.0.1:8000/ok, not %s"):format(quote(value)) end
    return { http = path == "" and "/" or path, host = host, port = tonumber(port) }
  end
  if type(value) ~= "table" or type(value.http) ~= "string" then return nil, 'has to be a table such as { http = "/ok", port = 8000 }' end
  local known = { http = true, host = true, port = true }
  for name in pairs(extra or {}) do known[name] = true end
  for name in pairs(value) do
    if not known[name] then
      local list = {}
      for each in pairs(known) do list[#list + 1] = each end
      return nil, ("has no field '%s'%s"):format(tostring(name), nearest.hint(tostring(name), list))
    end
  end
  local made = { http = value.http, host = value.host }
  if not made.http:find("^/") then
    local whole, problem = check(made.http)
    if not whole then return nil, problem end
    made = whole
  end
  if value.port ~= nil then
    local port, problem = kinds.port(value.port)
    if not port then return nil, "port " .. problem end
    made.port = port
  end
  return made
end

local READY = { listen = "listen", uptime = "uptime", message = "message", notify = "notify" }
function kinds.ready(value)
  if READY[value] then return value end
  if type(value) == "string" and not value:find("^http") and not value:find("^/") then
    return nil, ("has to be listen, uptime, message, notify or an address, not %s"):format(quote(value))
  end
  return check(value)
end

function kinds.health(value)
  local health, problem = check(value, { every = true, timeout = true, fails = true })
  if not health then return nil, problem end
  local given = type(value) == "table" and value or {}
  for name, default in pairs{ every = 5000, timeout = 2000 } do
    local ms, fault = units.duration(given[name] == nil and default or given[name])
    if not ms or ms < 1 then return nil, ("%s: %s"):format(name, fault or "cannot be 0") end
    health[name] = ms
  end
  local fails, fault = integer(given.fails == nil and 3 or given.fails, 1, 1000, "a whole number")
  if not fails then return nil, "fails " .. fault end
  health.fails = fails
  return health
end

function kinds.codes(value)
  if type(value) == "number" then value = { value } end
  if type(value) == "string" then
    local list = {}
    for each in value:gmatch("[^,%s]+") do list[#list + 1] = each end
    value = list
  end
  if type(value) ~= "table" then return nil, "has to be a list of exit codes" end
  local codes = {}
  for i, each in ipairs(value) do
    local code, problem = integer(each, 0, 255, "an exit code")
    if not code then return nil, problem end
    codes[i] = code
  end
  return codes
end

function kinds.cron(value)
  local pattern, problem = cron.parse(value)
  if not pattern then return nil, problem end
  return value
end

function kinds.watch(value)
  if type(value) == "boolean" then return value end
  if value == "true" or value == "false" then return value == "true" end
  return kinds.strings(value)
end

function kinds.signal(value, system)
  if type(value) == "number" then value = tostring(value) end
  if type(value) ~= "string" then return nil, "has to be a signal such as SIGTERM" end
  local name = value:upper()
  if system.signals[name] then return name end
  if system.signals["SIG" .. name] then return "SIG" .. name end
  for known, number in pairs(system.signals) do if tostring(number) == value then return known end end
  local known = {}
  for each in pairs(system.signals) do known[#known + 1] = each end
  table.sort(known)
  return nil, ("is no signal: %s%s"):format(quote(value), nearest.hint(name:find("^SIG") and name or "SIG" .. name, known))
end

function kinds.logFormat(value)
  if value == "plain" or value == "raw" or value == "" then return "plain" end
  if value == "json" then return "json" end
  return nil, "has to be plain or json, not " .. quote(value)
end

local function account(lookup, what)
  return function(value, system)
    if type(value) == "number" or type(value) == "string" and value:find("^%d+$") then return integer(value, 0, 4294967294, "an id") end
    if type(value) ~= "string" then return nil, ("has to be a %s"):format(what) end
    local id = system[lookup](value)
    if not id then return nil, ("names a %s that is not there: '%s'"):format(what, value) end
    return value
  end
end
kinds.user = account("user", "user")
kinds.group = account("group", "group")

function kinds.umask(value)
  local mask = type(value) == "string" and value:match("^0?o?([0-7]+)$")
  local number = mask and tonumber(mask, 8) or type(value) == "number" and value
  if not number or number < 0 or number > 511 or number % 1 ~= 0 then return nil,
    "has to be an octal mask such as \"027\", not " .. quote(value) end
  return number
end

local LIMITS = { as = true, core = true, cpu = true, data = true, fsize = true, memlock = true, nofile = true, nproc = true, stack = true,
  rss = true, sigpending = true, msgqueue = true, rtprio = true, nice = true, locks = true, rttime = true }
local SIZES = { as = true, core = true, data = true, fsize = true, memlock = true, stack = true, rss = true, msgqueue = true }

function kinds.limits(value)
  if type(value) == "string" then
    local made = {}
    for name, each in value:gmatch("([%w_]+)=([^,%s]+)") do made[name] = each end
    if next(made) == nil then return nil, "has to be NAME=VALUE, such as nofile=1024,as=1G" end
    value = made
  end
  if type(value) ~= "table" then return nil, "has to be a table such as { nofile = 1024 }" end
  local limits = {}
  for name, each in pairs(value) do
    if not LIMITS[name] then
      local known = {}
      for one in pairs(LIMITS) do known[#known + 1] = one end
      table.sort(known)
      return nil, ("has no limit '%s'%s"):format(tostring(name), nearest.hint(tostring(name), known))
    end
    local found, problem
    if each == "unlimited" then found = "unlimited"
    elseif SIZES[name] and type(each) == "string" and not each:find("^%d+$") then found, problem = units.size(each)
    else found, problem = integer(each, 0, 2 ^ 53, "a number") end
    if not found then return nil, ("%s %s"):format(name, problem) end
    limits[name] = found
  end
  return limits
end

--- Reads a value.
---@param field AppField
---@param value any
---@param system ValueSystem
---@return any? normal
---@return string? problem what is wrong with it, without the field's name
function values.read(field, value, system)
  local read = field.name == "maxMemory" and kinds.maxMemory or kinds[field.kind]
  return read(value, system)
end

return values
