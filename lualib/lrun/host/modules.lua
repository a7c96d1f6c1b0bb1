--- `require`: after LuaJIT's own rules, and two of ours. `require("./name")` is a file relative to the file that asks, and a
--- plain name that nothing else has is looked for beside the main script.
local uv = require("luv")

local modules = {}

local startDirectory = uv.cwd() or "/"
local mainDirectory = startDirectory

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

local function find(base)
  local tried = {}
  for _, suffix in ipairs{ "", ".lua", "/init.lua" } do
    local path = base .. suffix
    local stat = uv.fs_stat(path)
    if stat and stat.type == "file" then return uv.fs_realpath(path) or path end
    tried[#tried + 1] = "\n\tno file '" .. path .. "'"
  end
  return nil, table.concat(tried)
end

local loading = {}                  -- name or path → { function that runs its loader, the coroutine it runs on }
local loaders = setmetatable({}, { __mode = "k" }) -- such a function → the loader

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

-- Runs a module's loader, once. The module is what it returns, or what it put into package.loaded, or true.
local function load(key, loader)
  if loading[key] and isRunning(unpack(loading[key])) then error(("loop loading module '%s'"):format(key), 3) end
  local function run()
    local value = loader(key)         -- no tail call: `run` stays on the stack
    return value
  end
  loading[key] = { run, coroutine.running() }
  loaders[run] = loader
  local value = run()
  loading[key] = nil
  if value ~= nil then package.loaded[key] = value end
  if package.loaded[key] == nil then package.loaded[key] = true end
  return package.loaded[key]
end

local function loadFile(path)
  local loaded = package.loaded[path]
  if loaded then return loaded end
  local chunk, err = loadfile(path)
  if not chunk then error(("error loading module from file '%s':\n\t%s"):format(path, err), 0) end
  return load(path, chunk)
end

-- The directory of a file; of a link, where the file itself is.
local function directoryOf(file)
  local absolute = modules.absolute(file)
  return (uv.fs_realpath(absolute) or absolute):match("^(.*)/[^/]*$")
end

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

-- LuaJIT's search, in Lua, so that an error in a module has the whole of its stack.
local function findLoader(name)
  local tried = {}
  for _, search in ipairs(package.loaders) do
    local ok, found = pcall(search, name)
    if not ok then error(found, 0) end
    if type(found) == "function" then return found end
    if type(found) == "string" then tried[#tried + 1] = found end
  end
  return nil, table.concat(tried)
end

local function findFile(name, directory)
  return find(normalize(name:sub(1, 1) == "/" and name or directory .. "/" .. name))
end

-- Names the line that called `require`, unless that is the runtime's (-l).
local function notFound(name, tried)
  local caller = debug.getinfo(3, "S")
  error(("module '%s' not found:%s"):format(name, tried), caller and isRuntime(caller.source) and 0 or 3)
end

-- No tail calls: errors name the line that called this.
local function require(name)
  local module = package.loaded[name]
  if module then return module end
  if type(name) ~= "string" then error(("bad argument #1 to 'require' (string expected, got %s)"):format(type(name)), 2) end
  if name:find("^%.?%.?/") then
    local path, tried = findFile(name, callerDirectory(2))
    if not path then notFound(name, tried) end
    module = loadFile(path)
  else
    local loader, tried = findLoader(name)
    if not loader then notFound(name, tried) end
    module = load(name, loader)
  end
  return module
end

--- Replaces the global `require`. `script` is the path of the main script, or nil.
function modules.install(script)
  if script and script ~= "-" then mainDirectory = directoryOf(script) end
  rawset(_G, "require", require)
  table.insert(package.loaders, function(name)
    local path, tried = find(mainDirectory .. "/" .. name:gsub("%.", "/"))
    return path and function() return loadFile(path) end or tried
  end)
end

return modules
