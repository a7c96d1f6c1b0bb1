--- What /proc tells the specs of a process.
local uv = require("luv")

local processes = {}

--- How many descriptors a process (this one) has open.
---@param pid integer?
---@return integer
function processes.descriptors(pid)
  local count = 0
  local scan = assert(uv.fs_scandir(("/proc/%s/fd"):format(pid or "self")))
  while uv.fs_scandir_next(scan) do count = count + 1 end
  return count
end

--- The letter that the kernel has for what a process does ("S": it waits), nil when there is none.
---@param pid integer
---@return string?
function processes.state(pid)
  local file = io.open(("/proc/%d/stat"):format(pid))
  if not file then return nil end
  local state = file:read("*a"):match("%)%s+(%a)")
  file:close()
  return state
end

--- Whether a process runs (a zombie does not).
---@param pid integer
---@return boolean
function processes.alive(pid)
  local state = processes.state(pid)
  return state ~= nil and state ~= "Z" and state ~= "X"
end

return processes
