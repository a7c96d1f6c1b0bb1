--- Which process is which, from /proc: by pid, start time and boot, so that a pid that is used again is never taken for another; and
--- which processes belong to an instance. Reads, and sends no signal.
local uv = require("luv")

local identity = {}

local function slurp(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("*a")
  file:close()
  return text
end

local bootId
--- What tells this boot of the machine from others.
---@return string
function identity.boot()
  bootId = bootId or (slurp("/proc/sys/kernel/random/boot_id") or "unknown"):gsub("%s", "")
  return bootId
end

---@class ProcessStat
---@field state string a letter
---@field parent integer
---@field ticks number processor time, user and system, in units of 10 ms
---@field start number ticks between boot and its start
---@field pages integer resident

--- What the kernel tells of a process; nil when there is none.
---@param pid integer
---@return ProcessStat?
function identity.stat(pid)
  local text = slurp(("/proc/%d/stat"):format(pid))
  local rest = text and text:match("^.*%) (.*)$")
  if not rest then return nil end
  local fields, count = {}, 0
  for value in rest:gmatch("%S+") do
    count = count + 1
    fields[count] = value
    if count == 22 then break end
  end
  return {
    state = fields[1], parent = tonumber(fields[2]), ticks = tonumber(fields[12]) + tonumber(fields[13]),
    start = tonumber(fields[20]), pages = tonumber(fields[22]) or 0,
  }
end

--- Whether a process runs; one that has ended and waits for its parent to notice does not.
---@param pid integer
---@return boolean
function identity.isRunning(pid)
  local stat = identity.stat(pid)
  return stat ~= nil and stat.state ~= "Z" and stat.state ~= "X"
end

---@class ProcessIdentity
---@field pid integer
---@field start number
---@field boot string

--- The identity of a process, nil when it is gone.
---@param pid integer
---@return ProcessIdentity?
function identity.of(pid)
  local stat = identity.stat(pid)
  return stat and { pid = pid, start = stat.start, boot = identity.boot() } or nil
end

--- Whether the very process runs.
---@param known ProcessIdentity?
---@return boolean
function identity.isAlive(known)
  if type(known) ~= "table" or type(known.pid) ~= "number" or known.boot ~= identity.boot() then return false end
  local stat = identity.stat(known.pid)
  return stat ~= nil and stat.start == known.start and stat.state ~= "Z" and stat.state ~= "X"
end

--- A process's children. The kernel may lack the list (then all processes are looked through).
---@param pid integer
---@return integer[]
function identity.children(pid)
  local found = {}
  local tasks = uv.fs_scandir(("/proc/%d/task"):format(pid))
  if not tasks then return found end
  local listed = false
  while true do
    local task = uv.fs_scandir_next(tasks)
    if not task then break end
    local text = slurp(("/proc/%d/task/%s/children"):format(pid, task))
    if text then
      listed = true
      for child in text:gmatch("%d+") do found[#found + 1] = tonumber(child) end
    end
  end
  if listed or not identity.isRunning(pid) then return found end
  for _, other in ipairs(identity.all()) do
    local stat = identity.stat(other)
    if stat and stat.parent == pid then found[#found + 1] = other end
  end
  return found
end

--- All pids.
---@return integer[]
function identity.all()
  local list = {}
  local scan = uv.fs_scandir("/proc")
  while scan do
    local name = uv.fs_scandir_next(scan)
    if not name then break end
    local pid = tonumber(name)
    if pid then list[#list + 1] = pid end
  end
  return list
end

--- A process's descendants, without itself.
---@param pid integer
---@param list integer[]? to append to
---@return integer[]
function identity.descendants(pid, list)
  list = list or {}
  for _, child in ipairs(identity.children(pid)) do
    list[#list + 1] = child
    identity.descendants(child, list)
  end
  return list
end

--- One variable of the environment that a process was started with; nil when it has none or may not be asked.
---@param pid integer
---@param name string
---@return string?
function identity.variable(pid, name)
  local text = slurp(("/proc/%d/environ"):format(pid))
  if not text then return nil end
  local _, stop = ("\0" .. text):find("\0" .. name .. "=", 1, true)
  return stop and text:sub(stop):match("^[^%z]*") or nil
end

local PAGE = 4096

--- Processor time (ticks), memory (bytes) and start of a process; nil when it is gone.
---@param pid integer
---@return { ticks: number, memory: integer, start: number }?
function identity.usage(pid)
  local stat = identity.stat(pid)
  if not stat then return nil end
  return { ticks = stat.ticks, memory = stat.pages * PAGE, start = stat.start }
end

--- Ticks since boot.
---@return number
function identity.now() return (uv.uptime()) * 100 end

return identity
