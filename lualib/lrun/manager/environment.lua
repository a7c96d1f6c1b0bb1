--- The environment of an app: what is kept of the caller's, what a file says, what is shown. Plain values in and out.
local environment = {}

-- What belongs to the process that a variable was made for, and to no other.
local PRIVATE = {
  "LRUN_CHANNEL_FD", "LRUN_CHANNEL_SERIALIZATION", "LRUN_LANE_FD", "LRUN_CLUSTER_ID", "LRUN_APP", "LRUN_INSTANCE", "LRUN_KEEPER", "LRUN_MANAGER",
  "NODE_CHANNEL_FD", "NODE_CHANNEL_SERIALIZATION_MODE", "NODE_UNIQUE_ID", "NODE_APP_INSTANCE", "LISTEN_FDS", "LISTEN_PID",
  "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "MAINPID",
}

local SECRETS = { "secret", "passw", "token", "credential", "private", "apikey", "api_key", "access_key", "auth", "cookie", "session",
  "_key$", "^key$",
  "pwd$", "passphrase", "dsn", "database_url", "connection_string" }

-- Names that a secret's pattern takes and that hold none.
local HARMLESS = { PWD = true, OLDPWD = true, SSH_AUTH_SOCK = true, XAUTHORITY = true, XDG_SESSION_ID = true, XDG_SESSION_TYPE = true }

--- The caller's environment without what was made for the caller alone.
---@param env table<string, string>
---@param filter boolean|string[]? true: nothing of it; a list: names, or beginnings of names, that are left out
---@return table<string, string>
function environment.inherited(env, filter)
  local kept = {}
  if filter == true then return kept end
  for name, value in pairs(env) do kept[name] = tostring(value) end
  for _, name in ipairs(PRIVATE) do kept[name] = nil end
  for _, beginning in ipairs(type(filter) == "table" and filter or {}) do
    for name in pairs(env) do
      if name:sub(1, #beginning) == beginning then kept[name] = nil end
    end
  end
  return kept
end

--- Whether a name looks like one of a secret.
---@param name string
---@return boolean
function environment.isSecret(name)
  if HARMLESS[name] then return false end
  local lower = name:lower()
  for _, word in ipairs(SECRETS) do if lower:find(word) then return true end end
  return false
end

--- The same environment with secrets' values replaced, and passwords in addresses.
---@param env table<string, string>
---@return table<string, string>
function environment.masked(env)
  local shown = {}
  for name, value in pairs(env) do
    if environment.isSecret(name) then shown[name] = "********"
    else shown[name] = (value:gsub("(%a[%w+.-]*://[^/%s:@]*:)[^/%s@]+@", "%1********@")) end
  end
  return shown
end

local ESCAPES = { n = "\n", r = "\r", t = "\t", ["\\"] = "\\", ['"'] = '"', ["$"] = "$" }

local function unquote(text)
  local double = text:match('^"(.*)"$')
  if double then return (double:gsub("\\(.)", function(c) return ESCAPES[c] or "\\" .. c end)) end
  local single = text:match("^'(.*)'$")
  if single then return single end
  return (text:gsub("%s+#.*$", ""):gsub("%s+$", ""))
end

--- Reads a file of lines NAME=value; `export` before it, quotes around the value and comments are understood.
---@param text string
---@return table<string, string>? env
---@return string? problem with the line's number
function environment.parse(text)
  local env, number = {}, 0
  for line in (text:gsub("\r\n", "\n") .. "\n"):gmatch("([^\n]*)\n") do
    number = number + 1
    local trimmed = line:match("^%s*(.-)%s*$"):gsub("^export%s+", "")
    if trimmed ~= "" and trimmed:sub(1, 1) ~= "#" then
      local name, value = trimmed:match("^([%a_][%w_.]*)%s*=%s*(.*)$")
      if not name then return nil, ("line %d is not NAME=value"):format(number) end
      env[name] = unquote(value)
    end
  end
  return env
end

--- What an instance gets: the caller's environment under the app's own.
---@param app table a normalized app: `base`, `env`
---@return table<string, string>
function environment.of(app)
  local env = {}
  for name, value in pairs(app.base or {}) do env[name] = value end
  for name, value in pairs(app.env or {}) do env[name] = value end
  return env
end

return environment
