--- What the text before the cursor may go on to: names of globals, fields and methods, built-in modules, files in
--- `require("./`, the prompt's commands.
local uv = require("luv")
local modules = require("lrun.host.modules")

local complete = {}

local KEYWORDS = { "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local", "nil",
  "not", "or", "repeat", "return", "then", "true", "until", "while" }
local COMMANDS = { ".editor", ".exit", ".help", ".load ", ".save " }
local LONGEST = 1000                -- bytes that are looked at: the patterns' time grows with the square of them
local CHAIN_LIMIT = 20              -- classes above a class; a chain may be a ring

--- The names of the built-in modules, sorted; `process` is a global.
---@return string[]
function complete.modules()
  local names = {}
  for _, name in ipairs(modules.names()) do if name ~= "process" then names[#names + 1] = name end end
  return names
end

local function startsWith(text, prefix) return text:sub(1, #prefix) == prefix end

-- Gathers what starts with `prefix`, each once, sorted.
local function matching(names, prefix)
  local found, seen = {}, {}
  for _, name in ipairs(names) do
    if startsWith(name, prefix) and not seen[name] then
      seen[name] = true
      found[#found + 1] = name
    end
  end
  table.sort(found)
  return found
end

local function metatableOf(value)
  local meta = debug.getmetatable(value)
  return type(meta) == "table" and meta or nil
end

local function addKeys(names, t, value, methodsOnly)
  for key in next, t do
    if type(key) == "string" and key:find("^[%a_][%w_]*$") and not key:find("^__") then
      local isMethod = type(rawget(t, key)) == "function"
      if not methodsOnly or isMethod then names[#names + 1] = key end
    end
  end
  local meta = metatableOf(t)
  local iterate = meta and rawget(meta, "__pairs")
  if type(iterate) == "function" and not methodsOnly then
    pcall(function() for key in iterate(value) do if type(key) == "string" then names[#names + 1] = key end end end)
  end
end

-- The fields of a value and of the classes above it.
local function fieldsOf(value, methodsOnly)
  local names = {}
  if type(value) == "table" then addKeys(names, value, value, methodsOnly) end
  local meta = metatableOf(value)
  for _ = 1, CHAIN_LIMIT do
    if not meta then break end
    local index = rawget(meta, "__index")
    local class = type(index) == "table" and index or type(index) == "function" and rawget(meta, "__getters") and meta
    if type(class) ~= "table" then break end
    addKeys(names, class, value, methodsOnly)
    for _, computed in ipairs(methodsOnly and {} or { "__getters", "__lazy" }) do
      for key in next, rawget(class, computed) or {} do names[#names + 1] = key end
    end
    meta = metatableOf(class)
  end
  return names
end

local function files(partial, luaOnly)
  local directory, prefix = partial:match("^(.*/)([^/]*)$")
  if not directory then directory, prefix = "", partial end
  local names = {}
  local request = uv.fs_scandir(directory == "" and "." or directory)
  while request do
    local name, kind = uv.fs_scandir_next(request)
    if not name then break end
    local hidden = name:sub(1, 1) == "." and prefix:sub(1, 1) ~= "."
    if kind == "link" then kind = (uv.fs_stat(directory .. name) or {}).type end
    if not hidden and kind == "directory" then
      names[#names + 1] = directory .. name .. "/"
    elseif not hidden and (not luaOnly or name:find("%.lua$")) then
      names[#names + 1] = directory .. (luaOnly and name:gsub("%.lua$", "") or name)
    end
  end
  return matching(names, partial)
end

local function inRequire(partial)
  if partial:find("^%.%.?/") or partial:find("^/") then return files(partial, true) end
  local names = complete.modules()
  names[#names + 1], names[#names + 2] = "./", "../"
  return matching(names, partial)
end

-- The value of a chain such as `cluster.workers[1].process`; nothing is called.
local function evaluate(chain, environment)
  local name, rest = chain:match("^([%a_][%w_]*)(.*)$")
  local value = environment[name]
  while rest ~= "" and value ~= nil do
    local key, after = rest:match("^[.:]([%a_][%w_]*)(.*)$")
    if not key then
      key, after = rest:match("^%[(%d+)%](.*)$")
      key = tonumber(key)
    end
    if not key then
      local mark
      mark, key, after = rest:match("^%[([\"'])([^\"']*)%1%](.*)$")
      if not mark then return nil end
    end
    value, rest = value[key], after
  end
  return value
end

local function names(before, environment, locals)
  local chain, separator, partial = before:match("([%a_][%w_.:%[%]\"']*)([.:])([%w_]*)$")
  if chain then
    local ok, value = pcall(evaluate, chain, environment)
    if not ok or value == nil then return partial, {} end
    local fields = fieldsOf(value, separator == ":")
    if not startsWith(partial, "_") then
      for i = #fields, 1, -1 do if startsWith(fields[i], "_") then table.remove(fields, i) end end
    end
    return partial, matching(fields, partial)
  end
  partial = before:match("[%a_][%w_]*$")
  if not partial or before:find("[.:][%a_][%w_]*$") then return "", {} end
  local all = fieldsOf(_G)
  for _, name in ipairs(locals) do all[#all + 1] = name end
  for _, name in ipairs(complete.modules()) do all[#all + 1] = name end
  for _, word in ipairs(KEYWORDS) do all[#all + 1] = word end
  return partial, matching(all, partial)
end

--- Completes what stands before the cursor.
---@param before string
---@param environment table what a name stands for
---@param locals string[]? names of locals
---@return string partial the part that the candidates start with
---@return string[] candidates
function complete.complete(before, environment, locals)
  before = before:sub(-LONGEST)
  local file = before:match("^%s*%.load%s+(.*)$") or before:match("^%s*%.save%s+(.*)$")
  if file then return file, files(file, false) end
  local command = before:match("^%s*(%.%a*)$")
  if command then return command, matching(COMMANDS, command) end
  local module = before:match("require%s*%(?%s*[\"']([^\"']*)$")
  if module then return module, inRequire(module) end
  return names(before, environment, locals or {})
end

--- The longest text that all of `candidates` start with.
---@param candidates string[]
---@return string
function complete.common(candidates)
  local common = candidates[1] or ""
  for _, candidate in ipairs(candidates) do
    while not startsWith(candidate, common) do common = common:sub(1, -2) end
  end
  return common
end

return complete
