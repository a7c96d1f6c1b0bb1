--- A program's `require`, and whose module a name is. In this order:
---
--- 1. what package.loaded holds
--- 2. `lrun:name`: a built-in module; `./name`, `../name`, `/name`: a file, relative to the one that asks
--- 3. names that Node has: the built-in module
--- 4. package.preload, then `name.lua` or `name/init.lua` beside the main script, which itself is no module
--- 5. other names of lrun's: the built-in module. So no new name of lrun's takes a program's module away
--- 6. package.loaders, of which that for package.path is ours; then what the runtime keeps for itself (`lrun.*`)
---
--- A file is loaded once, by whatever name it is asked for. The runtime's own modules do not come here: host/bundle.c.
local uv = require("luv")
local bundle = require("lrun.core.bundle")

local modules = {}
local builtin = require             -- the runtime's own

-- What Node has too, once somebody asks: an empty script does not. luv and cjson are C modules that are linked in: they are
-- lrun's own names.
local nodeNames
local function isNodes(name)
  if not nodeNames then
    nodeNames = {}
    for each in ([[child_process cluster crypto dgram dns events fs http https net os path process querystring readline repl
      stream timers tls url zlib]]):gmatch("%S+") do nodeNames[each] = true end
  end
  return nodeNames[name] == true
end
local OWN_C = { luv = true, cjson = true, ["cjson.safe"] = true }

local startDirectory = uv.cwd() or "/"
local mainDirectory = startDirectory

modules.script = nil                -- the main script's real path, when it is a file
modules.onLoad = nil                -- called with the path of each file that is about to be loaded

local function normalize(path)
  local parts = {}
  for part in path:gmatch("[^/]+") do
    if part == ".." then parts[#parts] = nil elseif part ~= "." then parts[#parts + 1] = part end
  end
  return "/" .. table.concat(parts, "/")
end

--- The absolute form of a path that was given when the process started.
function modules.absolute(path)
  return normalize(path:sub(1, 1) == "/" and path or startDirectory .. "/" .. path)
end

--- Whether `require(name)` may give a module of lrun's.
---@param name string
---@return boolean
function modules.isBuiltin(name) return OWN_C[name] or not name:find(".", 1, true) and bundle.has(name) end

--- Whether Node has a module of this name, too: then no file of a program's takes its place.
---@param name string
---@return boolean
function modules.isNodes(name) return isNodes(name) end

--- The names of the built-in modules, sorted.
---@return string[]
function modules.names() return bundle.names() end

--- A built-in module if it was loaded, by whomever.
---@param name string
---@return any
function modules.loaded(name) return builtin("lrun.core.loaded")[name] end

-- Loading -------------------------------------------------------------------------------------------------------------

local loading = {}                  -- name or path → { function that runs its loader, the coroutine it runs on }
local loaders = setmetatable({}, { __mode = "k" }) -- such a function → the loader
local namesOf = {}                  -- path → the names by which package.loaded has the file

-- What threw is on no stack but a dead one's: it may be tried again.
local function isRunning(run, co)
  if not co or coroutine.status(co) == "dead" then return false end
  local level, info = 0, debug.getinfo(co, 0, "f")
  while info and info.func ~= run do
    level = level + 1
    info = debug.getinfo(co, level, "f")
  end
  return info ~= nil
end

-- Runs the loader of `key`, once; `name` is its argument. The module is what it returns, or what it put into
-- package.loaded, or true.
local function load(key, loader, name)
  if loading[key] and isRunning(unpack(loading[key])) then error(("loop loading module '%s'"):format(key), 3) end
  local function run()
    local value = loader(name)        -- no tail call: `run` stays on the stack
    return value
  end
  loading[key] = { run, coroutine.running() }
  loaders[run] = loader
  local value = run()
  loading[key] = nil
  local loaded = package.loaded
  if value ~= nil then loaded[key] = value
  elseif loaded[key] == nil then loaded[key] = loaded[name] == nil or loaded[name] end
  return loaded[key]
end

-- `name`: what it was asked for by, which is the chunk's argument; a file that is asked for by its path has that. A name that
-- package.loaded had, and has no longer, was taken out of it so that the file is loaded anew.
local function loadFile(path, name)
  local names = namesOf[path] or {}
  namesOf[path] = names
  if names[name] and package.loaded[name] == nil then package.loaded[path] = nil end
  if package.loaded[path] then
    names[name] = true
    return package.loaded[path]
  end
  if modules.onLoad then modules.onLoad(path) end
  local chunk, err = loadfile(path)
  if not chunk then error(("error loading module '%s' from file '%s':\n\t%s"):format(name, path, err), 0) end
  local module = load(path, chunk, name)
  names[name] = true
  return module
end

-- Finding -------------------------------------------------------------------------------------------------------------

local function realpath(path) return uv.fs_realpath(path) or path end

-- The first file of `base` and a suffix, under its real path; nil and what was looked for.
local function find(base, suffixes)
  local tried = {}
  for _, suffix in ipairs(suffixes) do
    local path = base .. suffix
    local stat = uv.fs_stat(path)
    if stat and stat.type == "file" then return realpath(path) end
    tried[#tried + 1] = "\n\tno file '" .. path .. "'"
  end
  return nil, table.concat(tried)
end

-- The directory of a file; of a link, where the file itself is.
local function directoryOf(file) return (realpath(modules.absolute(file)):match("^(.*)/[^/]*$")) end

local function isRuntime(source) return source:find("^=lrun:") ~= nil end

-- The directory of the file that called `require`, from `level` above this function on: `pcall(require, …)` is asked by
-- whoever called pcall; a file whose last line is `return require(…)` has left the stack to the function that ran it.
local function callerDirectory(level)
  local info
  repeat
    level = level + 1
    info = debug.getinfo(level, "Sf")
  until not info or info.what ~= "C"
  if info and loaders[info.func] then info = debug.getinfo(loaders[info.func], "S") end
  local file = info and info.source:match("^@(.*)$")
  if file then return directoryOf(file) end
  return info and not isRuntime(info.source) and startDirectory or mainDirectory
end

local FILE_SUFFIXES = { "", ".lua", "/init.lua" }
local MODULE_SUFFIXES = { ".lua", "/init.lua" }

local function findFile(name, directory)
  return find(normalize(name:sub(1, 1) == "/" and name or directory .. "/" .. name), FILE_SUFFIXES)
end

local function findBesideMain(name)
  local path, tried = find(mainDirectory .. "/" .. name:gsub("%.", "/"), MODULE_SUFFIXES)
  if path == modules.script then return nil, "" end
  return path, tried
end

-- In LuaJIT's words.
local function notFound(name, tried, why)
  local caller = debug.getinfo(3, "S")
  local text = ("module '%s' not found:%s"):format(name, tried or why)
  -- Names the line that called `require`, unless that is the runtime's (-l).
  error(text, caller and isRuntime(caller.source) and 0 or 3)
end

-- A module of lrun's as the program may see it: package.loaded has it from now on.
local function takeBuiltin(name, key)
  local module = builtin(name)
  package.loaded[key] = module
  return module
end

-- LuaJIT's search, in Lua, so that an error in a module has the whole of its stack. `count`: how many places to look at.
local function findLoader(name, count)
  local tried = {}
  for i = 1, count or #package.loaders do
    local search = package.loaders[i]
    local ok, found = pcall(search, name)
    if not ok then error(found, 0) end
    if type(found) == "function" then return found end
    if type(found) == "string" then tried[#tried + 1] = found end
  end
  return nil, table.concat(tried)
end

local PROGRAM_LOADERS = 2           -- of package.loaders: for package.preload, and for files beside the main script

-- No tail calls: errors name the line that called this.
local function require(name)
  local module = package.loaded[name]
  if module then return module end
  if type(name) ~= "string" then error(("bad argument #1 to 'require' (string expected, got %s)"):format(type(name)), 2) end
  local prefixed = name:match("^lrun:(.*)$")
  if prefixed then
    if not modules.isBuiltin(prefixed) then notFound(name, nil, "\n\tlrun has " .. table.concat(modules.names(), ", ")) end
    module = takeBuiltin(prefixed, name)
  elseif name:find("^%.?%.?/") then
    local path, tried = findFile(name, callerDirectory(2))
    if not path then notFound(name, tried) end
    module = loadFile(path, path)
  elseif isNodes(name) and modules.isBuiltin(name) then
    module = takeBuiltin(name, name)
  else
    local own = modules.isBuiltin(name)
    local loader, tried = findLoader(name, own and PROGRAM_LOADERS)
    if loader then module = load(name, loader, name)
    elseif own then module = takeBuiltin(name, name)
    elseif bundle.has(name) or modules.loaded(name) then module = builtin(name)
    else notFound(name, tried) end
  end
  return module
end

modules.require = require

-- For package.path: LuaJIT's own would give a file that was loaded by its path a second life.
local function searchPath(name)
  local found, tried = package.searchpath(name, package.path)
  if not found then return tried end
  return function() return (loadFile(realpath(found), name)) end
end

local function searchBesideMain(name)
  local path, tried = findBesideMain(name)
  return path and function() return (loadFile(path, name)) end or tried
end

--- Replaces the global `require`. `script` is the path of the main script, or nil.
function modules.install(script)
  if script and script ~= "-" then
    modules.script = realpath(modules.absolute(script))
    mainDirectory = modules.script:match("^(.*)/[^/]*$")
  end
  rawset(_G, "require", require)
  package.loaders[2] = searchPath
  table.insert(package.loaders, PROGRAM_LOADERS, searchBesideMain)
end

return modules
