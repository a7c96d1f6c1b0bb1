--- System calls that fail on demand: programs run with spec/support/fault.c preloaded, which the C compiler makes when it is
--- first needed.
local errors = require("errors")
local os = require("os")

local faults = {}

local library                       -- its path; false: there is no compiler

local function compile()
  local path = os.tmpname()
  local command = ("${CC:-cc} -shared -fPIC -O1 -o '%s' spec/support/fault.c -ldl 2>/dev/null"):format(path)
  if os.execute(command) ~= 0 then
    os.remove(path)
    return false
  end
  return path
end

--- The environment in which calls fail, or nil where there is no compiler: then the spec is skipped.
---@param list string[] each "NAME ERRNO FROM COUNT": such as "sendmsg ENOMEM 3 1", the third call and no other
---@return table<string, string>? env
function faults.environment(list)
  if library == nil then library = compile() end
  if not library then return nil end
  local env = {}
  for name, value in pairs(process.env) do env[name] = value end
  local items = {}
  for i, item in ipairs(list) do
    items[i] = item:gsub("%f[%u]E[%u%d]+", function(name)
      local errno = errors.system(name, "").errno
      assert(errno > -4000, "libuv does not know " .. name .. ": give its number")
      return tostring(-errno)
    end)
  end
  env.LRUN_FAULTS = table.concat(items, ";")
  env.LD_PRELOAD = library
  env.ASAN_OPTIONS = (env.ASAN_OPTIONS and env.ASAN_OPTIONS .. ":" or "") .. "verify_asan_link_order=0"
  return env
end

--- Removes what was compiled.
function faults.clean()
  if library then os.remove(library) end
  library = nil
end

return faults
