--- Writes the type files for lua-language-server: `lrun types.lua LUALIB OUTPUT`. One `---@meta` file a public module, made
--- from the annotations in lualib: the module's functions and fields, and the classes that these name, each class in the
--- file of the first module that does. What is private (`_name`) stays out.
---
--- A source is read line by line into items: a comment of `---` lines and the statement behind it. `---@class` makes a class
--- of the variable that the statement declares; `function variable.name` and `function variable:name` are its members.
--- `--- Event name(arguments)` above a class is what listeners for that event get.
local lualib, output = ...

-- Name, source if it is another than its name says, variables that hold the module's functions.
local MODULES = {
  { "events" }, { "errors" }, { "timers" }, { "stream" }, { "process", variables = { "process", "api" } }, { "os" }, { "abort" },
  { "net" }, { "dgram" }, { "http" }, { "child_process" }, { "cluster", source = "lrun/cluster/primary" },
  { "tls" }, { "https" }, { "fetch" },
  { "await" }, { "json" }, { "fs" }, { "path" }, { "inspect" }, { "repl" },
  { "base64" }, { "crypto" }, { "dns" }, { "log" }, { "querystring" }, { "readline" }, { "redis" }, { "shared" }, { "bus" }, { "url" },
  { "websocket" }, { "zlib" },
}

-- Reading -------------------------------------------------------------------------------------------------------------

local function isPrivate(name) return name:find("^_") ~= nil end

-- `function a.b(c)`, `a.b = function(c)`, `a.b = c.d`; nil for anything else.
local function member(statement)
  local variable, mark, name, arguments = statement:match("^function ([%w_]+)([.:])([%w_]+)%((.-)%)")
  if variable then return { variable = variable, mark = mark, name = name, arguments = arguments } end
  variable, name, arguments = statement:match("^([%w_]+)%.([%w_]+) = function%((.-)%)")
  if variable then return { variable = variable, mark = ".", name = name, arguments = arguments } end
  local of, target
  variable, name, of, target = statement:match("^([%w_]+)%.([%w_]+) = ([%w_]+)%.([%w_]+)$")
  if variable and variable == of then return { variable = variable, mark = ".", name = name, target = target } end
end

local function isFieldOfPrivate(line)
  return line:find("^%-%-%-@field protected ") or line:find("^%-%-%-@field private ") or line:find("^%-%-%-@field %[")
end

local function has(comment, tag)
  for _, line in ipairs(comment) do if line:find("^%-%-%-@" .. tag .. "%f[%W]") then return true end end
  return false
end

-- The classes, aliases and members of one file.
local function read(path)
  local file = { classes = {}, aliases = {}, members = {}, classOf = {} }
  local comment = {}
  for line in io.lines(path) do
    if line:find("^%-%-%-") then
      comment[#comment + 1] = line
    else
      local declared = line:match("^local ([%w_]+) = ")
      local class
      for _, each in ipairs(comment) do
        class = class or each:match("^%-%-%-@class ([%w_]+)")
        local alias = each:match("^%-%-%-@alias ([%w_]+)")
        if alias then file.aliases[alias] = each end
      end
      if class then
        file.classes[class] = { name = class, comment = comment, file = file, variable = declared }
        if declared then file.classOf[declared] = class end
      else
        local found = member(line)
        if found and not isPrivate(found.name) and not has(comment, "package") then
          found.comment = comment
          file.members[#file.members + 1] = found
        end
      end
      comment = {}
    end
  end
  return file
end

local function sources(directory, list)
  list = list or {}
  local fs = require("fs")
  for _, entry in ipairs(fs.readdirSync(directory, { withFileTypes = true })) do
    local path = directory .. "/" .. entry.name
    if entry:isDirectory() then sources(path, list)
    elseif entry.name:find("%.lua$") then list[#list + 1] = path end
  end
  return list
end

local files, classes, aliases = {}, {}, {}
for _, path in ipairs(sources(lualib)) do
  local file = read(path)
  files[path] = file
  for name, class in pairs(file.classes) do
    if classes[name] then error(("%s: class %s is in another file, too"):format(path, name), 0) end
    classes[name] = class
  end
  for name, line in pairs(file.aliases) do aliases[name] = line end
end

-- Writing -------------------------------------------------------------------------------------------------------------

local written = {}                  -- classes and aliases that have their place
local current                       -- the source of the module that is written

local function membersOf(file, variables)
  local list, byName = {}, {}
  for _, each in ipairs(file.members) do
    if variables[each.variable] then
      list[#list + 1] = each
      byName[each.name] = each
    end
  end
  return list, byName
end

-- A class's members, with those that the module's source adds to it.
local function classMembers(class)
  local list, byName = membersOf(class.file, { [class.variable] = true })
  if current == class.file or current.classOf[class.variable] then return list, byName end
  for _, each in ipairs((membersOf(current, { [class.variable] = true }))) do
    list[#list + 1] = each
    byName[each.name] = each
  end
  return list, byName
end

-- Lines with types in them.
local function types(comment, found)
  for _, line in ipairs(comment) do
    if (line:find("^%-%-%-@") or line:find("^%-%-%- Event ")) and not isFieldOfPrivate(line) then
      for name in line:gmatch("[%a_][%w_]*") do
        if classes[name] or aliases[name] then found[#found + 1] = name end
      end
    end
  end
end

-- The type that a text starts with: prose may follow.
local function typeAt(text)
  local at = 1
  local function take(pattern)
    local stop = select(2, text:find("^" .. pattern, at))
    at = stop and stop + 1 or at
    return stop ~= nil
  end
  repeat
    local found = take("fun%b()%s*:%s*[%w_.]+") or take("fun%b()") or take("%b()") or take("%b{}") or take('%b""') or take("[%w_.]+")
    if not found then break end
    while take("%[%]") or take("%?") do end
  until not take("|")
  return text:sub(1, at - 1)
end

-- Where a callback comes last, what is optional before it may be left out.
local function overload(comment, owner, mark, arguments)
  local kept, left, last, returned = {}, 0, nil, ""
  for _, line in ipairs(comment) do
    local name, rest = line:match("^%-%-%-@param ([%w_]+%??) (.*)$")
    local kind = rest and typeAt(rest)
    if kind then
      last = name
      if kind:find("%?$") and not kind:find("^%(?fun") then left = left + 1 else kept[#kept + 1] = name .. ": " .. kind end
    end
    if returned == "" and line:find("^%-%-%-@return ") then returned = ": " .. typeAt(line:match("^%-%-%-@return (.*)$")) end
  end
  local final = arguments:match("([%w_]+)$")
  if left == 0 or last ~= final or not (kept[#kept] or ""):find("^" .. final .. ": %(?fun") then return nil end
  if mark == ":" then table.insert(kept, 1, "self: " .. owner) end
  return ("---@overload fun(%s)%s"):format(table.concat(kept, ", "), (returned:gsub("self$", owner)))
end

local function writeMember(out, owner, mark, each, byName)
  local defined = each
  while defined.target do defined = byName[defined.target] or error(each.name .. " is another name of nothing", 0) end
  local comment = #each.comment > 0 and each.comment or defined.comment
  for _, line in ipairs(comment) do out[#out + 1] = line end
  if defined ~= each and not has(comment, "param") and not has(comment, "return") then
    for _, line in ipairs(defined.comment) do if line:find("^%-%-%-@") then out[#out + 1] = line end end
  end
  out[#out + 1] = overload(comment, owner, mark or defined.mark, defined.arguments)
  if each.name == "new" and not has(comment, "return") then out[#out + 1] = "---@return " .. owner end
  out[#out + 1] = ("function %s%s%s(%s) end\n"):format(owner, mark or defined.mark, each.name, defined.arguments)
end

local function writeHead(out, comment)
  for _, line in ipairs(comment) do if not isFieldOfPrivate(line) then out[#out + 1] = line end end
end

local function writeConstructor(out, class, initialize)
  for _, line in ipairs(initialize and initialize.comment or {}) do out[#out + 1] = line end
  out[#out + 1] = "---@return " .. class.name
  out[#out + 1] = ("function %s:new(%s) end\n"):format(class.name, initialize and initialize.arguments or "...")
end

local function parentsOf(class)
  local parents = {}
  for _, line in ipairs(class.comment) do
    for name in (line:match("^%-%-%-@class [%w_]+:(.*)$") or ""):gmatch("[%w_]+") do parents[#parents + 1] = classes[name] end
  end
  return parents
end

local function isEmitter(class)
  if class.name == "EventEmitter" then return true end
  for _, parent in ipairs(parentsOf(class)) do if isEmitter(parent) then return true end end
  return false
end

-- `--- Event name(arguments)` of a class and of those above it, each name once.
local function eventsOf(class, list, seen)
  for _, line in ipairs(class.comment) do
    local name, arguments = line:match("^%-%-%- Event (%w+)(%b())")
    if name and not seen[name] then
      seen[name] = true
      list[#list + 1] = { name = name, arguments = arguments }
    end
  end
  for _, parent in ipairs(parentsOf(class)) do eventsOf(parent, list, seen) end
  return list
end

-- `on` and `once` with what each event's listener gets.
local function writeListening(out, class)
  local list = eventsOf(class, {}, {})
  for _, method in ipairs(#list > 0 and { "on", "once" } or {}) do
    out[#out + 1] = method == "on" and "--- Adds a listener." or "--- Adds a listener for one event."
    out[#out + 1] = "---@param name any\n---@param listener function\n---@return self"
    for _, event in ipairs(list) do
      out[#out + 1] = ('---@overload fun(self: %s, name: "%s", listener: fun%s): %s'):format(class.name, event.name,
        event.arguments, class.name)
    end
    out[#out + 1] = ("function %s:%s(name, listener) end\n"):format(class.name, method)
  end
  return #list > 0
end

local function writeClass(out, class)
  writeHead(out, class.comment)
  if not class.variable then
    out[#out + 1] = ""
    return
  end
  out[#out + 1] = ("local %s = {}\n"):format(class.name)
  local list, byName = classMembers(class)
  if isEmitter(class) and not byName.new then writeConstructor(out, class, byName.initialize) end
  local listens = writeListening(out, class)
  for _, each in ipairs(list) do
    local isDone = each.name == "initialize" or listens and (each.name == "on" or each.name == "once")
    if not isDone then writeMember(out, class.name, nil, each, byName) end
  end
end

-- The names that a module's or class's annotations use, and those that these use.
local function reach(comments, order)
  local queue = {}
  for _, comment in ipairs(comments) do types(comment, queue) end
  for _, name in ipairs(queue) do     -- grows while it is walked
    if not written[name] then
      written[name] = true
      order[#order + 1] = name
      local class = classes[name]
      types(class and class.comment or { aliases[name] }, queue)
      for _, each in ipairs(class and class.variable and classMembers(class) or {}) do
        types(each.comment, queue)
      end
    end
  end
end

local function writeModule(module)
  local name = module[1]
  local file = files[("%s/%s.lua"):format(lualib, module.source or name)]
  current = file
  local variables = {}
  for _, variable in ipairs(module.variables or { name }) do variables[variable] = true end
  local own = file.classes[name]
  local list, byName = membersOf(file, variables)
  local comments = { own and own.comment }
  for _, each in ipairs(list) do comments[#comments + 1] = each.comment end
  local order, out = {}, { "---@meta " .. name, "" }
  reach(comments, order)
  for _, each in ipairs(order) do
    if classes[each] then writeClass(out, classes[each]) else out[#out + 1] = aliases[each] .. "\n" end
  end
  if own then writeHead(out, own.comment) else out[#out + 1] = "---@class " .. name end
  out[#out + 1] = (name == "process" and "%s = {}\n" or "local %s = {}\n"):format(name)
  if own then writeListening(out, own) end
  for _, each in ipairs(list) do writeMember(out, name, ".", each, byName) end
  out[#out + 1] = ("return %s\n"):format(name)
  local to = assert(io.open(("%s/%s.lua"):format(output, name), "w"))
  to:write(table.concat(out, "\n"))
  to:close()
end

-- What the process manager reads: `---@type LrunConfig` above the table of a lrun.config.lua.
local KINDS = {
  string = "string", strings = "string|string[]", boolean = "boolean", duration = "integer|string", size = "integer|string", count = "integer",
  port = "integer", nice = "integer", instances = 'integer|"max"', mode = '"cluster"|"fork"', environment = "table<string, any>",
  filter = "boolean|string[]", addresses = "string|string[]|integer", codes = "integer|integer[]", cron = "string", watch = "boolean|string[]",
  signal = "string", logFormat = '"plain"|"json"', user = "string|integer", group = "string|integer", umask = "string|integer",
  limits = "table<string, integer|string>", health = "string|LrunCheck",
  ready = '"listen"|"uptime"|"message"|"notify"|string|{ http: string, port: integer?, host: string? }',
}

local function writeConfig()
  local out = {
    "---@meta lrun.config", "",
    "---@class LrunCheck", "---@field http string path or address", "---@field port integer?", "---@field host string?",
    "---@field every (integer|string)? ms or a text such as \"5s\"", "---@field timeout (integer|string)?", "---@field fails integer? in a row", "",
    "--- One app of lrun's process manager. Durations: ms, or texts such as \"1.5s\"; sizes: bytes, or texts such as \"300M\".",
    "---@class LrunApp",
  }
  for _, field in ipairs(require("lrun.manager.fields").list) do
    local kind = assert(KINDS[field.kind], "the type file has no type for " .. field.kind)
    local mark = field.name == "script" and kind or (kind:find("|", 1, true) and "(" .. kind .. ")?" or kind .. "?")
    out[#out + 1] = ("---@field %s %s %s"):format(field.name, mark, field.help)
  end
  out[#out + 1] = "---@field [string] any pm2's names, and env_NAME: what `--env NAME` lays over env\n"
  out[#out + 1] = "--- What a lrun.config.lua returns."
  out[#out + 1] = "---@class LrunConfig"
  out[#out + 1] = "---@field apps LrunApp[]\n"
  local to = assert(io.open(output .. "/lrun.config.lua", "w"))
  to:write(table.concat(out, "\n"))
  to:close()
end

for _, module in ipairs(MODULES) do written[module[1]] = true end   -- each in its own file
require("fs").mkdirSync(output, { recursive = true })
for _, module in ipairs(MODULES) do writeModule(module) end
writeConfig()
