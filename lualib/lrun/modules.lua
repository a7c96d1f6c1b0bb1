--- What `require` finds beside the built-in modules and package.path: `require("./name")` is a file relative to the file
--- that asks, and a plain name that nothing else has is looked for beside the main script.
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
    if stat and stat.type == "file" then return path end
    tried[#tried + 1] = "\n\tno file '" .. path .. "'"
  end
  return nil, table.concat(tried)
end

local loading = {}

local function load(path)
  local loaded = package.loaded[path]
  if loaded ~= nil then return loaded end
  if loading[path] then error(("loop or previous error loading module '%s'"):format(path), 3) end
  local chunk, err = loadfile(path)
  if not chunk then error(("error loading module from file '%s':\n\t%s"):format(path, err), 0) end
  loading[path] = true
  local value = chunk(path)
  loading[path] = nil
  if value ~= nil then package.loaded[path] = value end
  if package.loaded[path] == nil then package.loaded[path] = true end
  return package.loaded[path]
end

-- The directory of the file that called `require`, `level` above this function.
local function callerDirectory(level)
  local info = debug.getinfo(level + 1, "S")
  local file = info and info.source:match("^@(.*)$")
  if not file then return startDirectory end
  return modules.absolute(file):match("^(.*)/[^/]*$")
end

--- Replaces the global `require`. `script` is the path of the main script, or nil.
function modules.install(script)
  if script and script ~= "-" then mainDirectory = modules.absolute(script):match("^(.*)/[^/]*$") end
  local plainRequire = require
  rawset(_G, "require", function(name)
    if type(name) == "string" and (name:find("^%.%.?/") or name:find("^/")) then
      local base = name:sub(1, 1) == "/" and normalize(name) or normalize(callerDirectory(2) .. "/" .. name)
      local path, tried = find(base)
      if not path then error(("module '%s' not found:%s"):format(name, tried), 2) end
      return load(path)
    end
    return plainRequire(name)
  end)
  -- `os` is Lua's own table until somebody asks for what Node adds: by require, or by using it.
  package.loaded.os = nil
  setmetatable(os, { __index = function(self, key)
    setmetatable(self, nil)
    plainRequire("os")
    return self[key]
  end })
  table.insert(package.loaders, function(name)
    local path, tried = find(mainDirectory .. "/" .. name:gsub("%.", "/"))
    return path and function() return load(path) end or tried
  end)
  local plainPairs = pairs
  -- LuaJIT's own `pairs` does not know __pairs; process.env needs it.
  rawset(_G, "pairs", function(t)
    local meta = type(t) == "table" and getmetatable(t)
    local custom = type(meta) == "table" and rawget(meta, "__pairs")
    if custom then return custom(t) end
    return plainPairs(t)
  end)
end

return modules
