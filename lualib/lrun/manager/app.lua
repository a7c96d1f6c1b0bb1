--- What a user wrote about an app → its normal form: every field, absolute paths, ms, bytes. The program is looked for here, and
--- nothing is started. What has to look at the system asks the `context`, so that this can be tested without one.
---
--- The normal form is what is kept in the state file: the fields of lrun.manager.fields, and
---   kind     "script": a file run by an interpreter; "program": a file or command of its own; "shell": a command line
---   base     the caller's environment; `env` lies over it
local environment = require("lrun.manager.environment")
local fields = require("lrun.manager.fields")
local names = require("lrun.manager.names")
local values = require("lrun.manager.values")

local app = {}

---@class AppContext
---@field cwd string what relative paths are relative to
---@field system ValueSystem
---@field env table<string, string> the caller's
---@field section string? the NAME of `--env NAME`
---@field stat fun(path: string): string?, string? "file", "directory" …; or nil and why not
---@field readable fun(path: string): boolean
---@field executable fun(path: string): boolean
---@field find fun(command: string): string? a command in PATH
---@field read fun(path: string): string?, string?
---@field resolve fun(folder: string, path: string): string
---@field execPath string this lrun
---@field umask integer
---@field warn fun(text: string)
---@field home string where logs lie by default

local function fail(text, ...) error({ usage = select("#", ...) > 0 and text:format(...) or text }, 0) end

local INTERPRETERS = { lua = "lrun", js = "node", cjs = "node", mjs = "node", py = "python3", sh = "sh", rb = "ruby", pl = "perl" }

-- Reading the fields --------------------------------------------------------------------------------------------------

local function translate(raw, name, value)
  if name == "wait_ready" or name == "waitReady" then
    if value == true and raw.ready == nil then return "ready", "message" end
    return nil
  end
  if name == "max_memory" then return "maxMemory", value end
  if name == "command" then return "script", value end
end

local function special(field, value)
  if field.name == "time" and type(value) == "string" and value ~= "true" and value ~= "false" then return true end     -- a date format
  if field.name == "filterEnv" and type(value) == "table" and #value == 0 then return false end
  return value
end

local function readFields(raw, context, label)
  local found, sections = {}, {}
  local ordered = {}
  for name in pairs(raw) do ordered[#ordered + 1] = name end
  table.sort(ordered, function(a, b) return tostring(a) < tostring(b) end)
  for _, name in ipairs(ordered) do
    local value = raw[name]
    if type(name) ~= "string" then fail("%s: an app is a table of fields, not a list", label) end
    if name == "disable_logs" then
      if value == true then found.out, found.err = "/dev/null", "/dev/null" end
      name = nil
    elseif fields.isTranslated(name) then
      name, value = translate(raw, name, value)
    end
    local section = name and name:match("^env_(.+)$")
    local field = name and fields.find(name)
    if field then
      value = special(field, value)
      local normal, problem = values.read(field, value, context.system)
      if normal == nil then fail("%s: %s: %s", label, name, problem) end
      found[field.name] = normal
    elseif section then
      local env, problem = values.read(fields.find("env"), value, context.system)
      if not env then fail("%s: %s %s", label, name, problem) end
      sections[section] = env
    elseif name and fields.isIgnored(name) then
      context.warn(("%s: '%s' means nothing here and is ignored"):format(label, name))
    elseif name then
      fail("%s: unknown field '%s'%s", label, name, fields.hint(name))
    end
  end
  return found, sections
end

-- The program ---------------------------------------------------------------------------------------------------------

local function checkFile(path, given, context)
  local kind, reason = context.stat(path)
  if kind == "directory" then fail("'%s' is a directory", given) end
  if not kind then fail("'%s': %s", given, reason or "no such file") end
  if not context.readable(path) then fail("'%s' cannot be read: permission denied", given) end
end

-- "script", "program" or "shell", and the absolute path.
local function findProgram(script, context)
  local path = context.resolve(context.cwd, script)
  if context.stat(path) == nil and context.stat(path .. ".lua") == "file" and not script:find("%s") then path = path .. ".lua" end
  if context.stat(path) then
    checkFile(path, script, context)
    return "script", path
  end
  if script:find("%s") then return "shell", script end
  if not script:find("/", 1, true) then
    local command = context.find(script)
    if command then return "program", command end
  end
  fail("'%s' is no file%s", script, script:find("/", 1, true) and "" or ", command or app")
end

local function interpreterOf(made, context, label)
  local given = made.interpreter
  if made.kind ~= "script" then
    if given and given ~= "none" then return given end
    return nil
  end
  if given == "none" then return nil end
  if given then return given end
  local name = INTERPRETERS[made.script:match("%.(%a+)$") or ""]
  if not name and not context.executable(made.script) then
    local text = context.read(made.script)
    if text and text:sub(1, 2) ~= "#!" or not context.executable(made.script) then
      fail("%s: '%s' cannot be executed and has no known ending: name its --interpreter", label, made.script)
    end
  end
  return name
end

--- The interpreter's file, looked for anew at each start.
---@param name string "lrun", a command, or a path
---@param find fun(command: string): string?
---@param execPath string
---@return string? path
function app.interpreter(name, find, execPath)
  if name == "lrun" then return execPath end
  return find(name)
end

local CLUSTERS = { lrun = "lua", node = "node" }

--- What kind of cluster an app can be: "lua", "node", or nil.
---@param made table
---@return "lua"|"node"|nil
function app.clusterKind(made)
  if made.kind ~= "script" or not made.interpreter then return nil end
  return CLUSTERS[made.interpreter:match("[^/]+$")]
end

local function defaultMode(made, raw)
  local counted = raw.instances ~= nil
  return app.clusterKind(made) and counted and not made.listen and "cluster" or "fork"
end

local function setProgram(made, context, label)
  if not made.script then fail("%s: 'script' is missing: what shall be run?", label) end
  if made.cwd then
    made.cwd = context.resolve(context.cwd, made.cwd)
    local kind = context.stat(made.cwd)
    if kind ~= "directory" then fail("%s: cwd '%s' is no directory", label, made.cwd) end
    local ok = context.stat(context.resolve(made.cwd, made.script))
    local own = setmetatable({ cwd = ok and made.cwd or context.cwd }, { __index = context })
    made.kind, made.script = findProgram(made.script, own)
  else
    made.kind, made.script = findProgram(made.script, context)
    made.cwd = context.cwd
  end
  made.interpreter = interpreterOf(made, context, label)
  if made.interpreter and not app.interpreter(made.interpreter, context.find, context.execPath) then
    fail("%s: the interpreter '%s' is not installed (not found in PATH)", label, made.interpreter)
  end
end

-- The rest ------------------------------------------------------------------------------------------------------------

local function setPaths(made, context)
  for _, name in ipairs{ "out", "err", "log", "pidFile" } do
    if made[name] then made[name] = context.resolve(context.cwd, made[name]) end
  end
  for _, address in ipairs(made.listen or {}) do
    if address.path then address.path = context.resolve(made.cwd, address.path) end
  end
end

local function setEnvironment(made, sections, context, label)
  local env = {}
  if made.envFile then
    local path = context.resolve(context.cwd, made.envFile)
    local text, reason = context.read(path)
    if not text then fail("%s: envFile '%s': %s", label, path, reason or "cannot be read") end
    local fromFile, problem = environment.parse(text)
    if not fromFile then fail("%s: envFile '%s': %s", label, path, problem) end
    for name, value in pairs(fromFile) do env[name] = value end
    made.envFile = path
  end
  if made.port then env.PORT = tostring(made.port) end
  for name, value in pairs(made.env or {}) do env[name] = value end
  if context.section then
    for name, value in pairs(sections[context.section] or {}) do env[name] = value end
  end
  made.env = env
  made.base = environment.inherited(context.env, made.filterEnv)
end

local function checkTogether(made, label)
  if made.mode == "cluster" and not app.clusterKind(made) then
    fail("%s: mode cluster is for Lua and Node scripts; write fork", label)
  end
  if made.mode == "cluster" and made.listen then
    fail("%s: 'listen' hands descriptors to a program in fork mode; a cluster listens by itself", label)
  end
  if made.ready == "listen" and made.mode ~= "cluster" then
    fail("%s: ready = \"listen\" is known of a cluster only; write message, notify or an address", label)
  end
  for _, check in ipairs{ "ready", "health" } do
    local value = made[check]
    if type(value) == "table" and not value.port then
      value.port = made.port
      if not value.port then fail("%s: %s.port is missing: which port shall be asked?", label, check) end
    end
  end
  if made.incrementVar then
    local start = made.env[made.incrementVar] or made.base[made.incrementVar]
    if not tonumber(start) then fail("%s: incrementVar: the environment has no number in %s", label, made.incrementVar) end
  end
end

--- The normal form of an app.
---@param raw table as it was written
---@param context AppContext
---@param label string what errors begin with
---@return table app
--- Throws { usage = text } for what cannot be.
function app.normalize(raw, context, label)
  if type(raw) ~= "table" then fail("%s: an app is a table of fields", label) end
  local made, sections = readFields(raw, context, label)
  if context.section and sections[context.section] == nil then made.unknownSection = true end
  if made.name then
    local problem = names.problem(made.name)
    if problem then fail("%s: %s", label, problem) end
  end
  setProgram(made, context, label)
  if not made.name then
    made.name = made.kind == "shell" and names.ofCommand(made.script) or names.ofScript(made.script)
    local problem = names.problem(made.name)
    if problem then fail("%s: %s: give it another with --name", label, problem) end
  end
  for _, field in ipairs(fields.list) do
    if made[field.name] == nil and field.default ~= nil then made[field.name] = field.default end
  end
  if made.namespace:find("[/*#%z\1-\31]") or made.namespace == "all" then fail("%s: the namespace '%s' cannot be", label, made.namespace) end
  made.args = made.args or {}
  made.interpreterArgs = made.interpreterArgs or {}
  made.mode = made.mode or defaultMode(made, raw)
  made.ready = made.ready or (made.mode == "cluster" and "listen" or "uptime")
  made.umask = made.umask or context.umask
  setPaths(made, context)
  setEnvironment(made, sections, context, label)
  checkTogether(made, label)
  return made
end

--- Apps that begin after others: throws for a name that nobody has, and for a circle.
---@param apps table[] normal forms
---@param isKnown fun(name: string): boolean of apps that are there already
function app.checkOrder(apps, isKnown)
  local byName = {}
  for _, each in ipairs(apps) do byName[each.name] = each end
  local state = {}
  local function visit(each, path)
    if state[each] == "done" then return end
    if state[each] == "open" then fail("'after' goes in a circle: %s", table.concat(path, " → ") .. " → " .. each.name) end
    state[each] = "open"
    path[#path + 1] = each.name
    for _, name in ipairs(each.after) do
      if byName[name] then visit(byName[name], path)
      elseif not isKnown(name) then fail("'%s' is after '%s', which is no app", each.name, name) end
    end
    path[#path] = nil
    state[each] = "done"
  end
  for _, each in ipairs(apps) do visit(each, {}) end
end

-- What may differ between two equal apps.
local INCIDENTAL = { base = true, umask = true, unknownSection = true, env = false }

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for key, value in pairs(a) do if not same(value, b[key]) then return false end end
  for key in pairs(b) do if a[key] == nil then return false end end
  return true
end

--- The names of the fields in which two apps differ; the caller's environment does not count.
---@param a table
---@param b table
---@return string[]
function app.differences(a, b)
  local list, seen = {}, {}
  for _, each in ipairs{ a, b } do
    for name in pairs(each) do
      if not seen[name] and not INCIDENTAL[name] then
        seen[name] = true
        if not same(a[name], b[name]) then list[#list + 1] = name end
      end
    end
  end
  table.sort(list)
  return list
end

return app
