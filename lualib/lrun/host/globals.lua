--- Lua's own globals where they do otherwise here: `process` is added, `os` has what Node adds, `pairs` knows `__pairs`,
--- `print` knows the one owner of the output (runtime/io/output.c), and what blocks or ends the process flushes first.
local vm = require("lrun.core.vm")

local globals = {}

-- `os` is Lua's own table until somebody asks for what Node adds: by require, or by using it.
local function extendOs()
  package.loaded.os = nil
  setmetatable(os, { __index = function(self, key)
    setmetatable(self, nil)
    require("os")
    return self[key]
  end })
end

local plainPairs = pairs

-- LuaJIT's own does not know __pairs; process.env needs it.
local function pairs(t)
  local meta = type(t) == "table" and getmetatable(t)
  local custom = type(meta) == "table" and rawget(meta, "__pairs")
  if custom then return custom(t) end
  return plainPairs(t)
end

-- What has only collected is given to the kernel before `owner[name]` waits or ends the process.
local function flushing(owner, name, last)
  local plain = owner[name]
  owner[name] = function(...)
    vm.flush(last)
    return plain(...)
  end
end

function globals.install(process)
  rawset(_G, "process", process)
  rawset(_G, "pairs", pairs)
  require("lrun.core.output").install(io)
  flushing(os, "exit", true)
  flushing(os, "execute", false)
  flushing(io, "popen", false)
  extendOs()
end

return globals
