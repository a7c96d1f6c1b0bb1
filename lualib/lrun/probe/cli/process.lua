--- What /proc tells of a process before anything is asked of it, and of one that does not answer.
local uv = require("luv")

local processes = {}

local SIGUSR1_BIT = 512             -- of the masks in /proc/PID/status

local function read(path)
  local file = io.open(path, "rb")
  local text = file and file:read("*a")
  if file then file:close() end
  return text
end

local function fail(code, text, hint) error({ exit = code == "unknown-target" and 3 or 1, code = code, message = text, hint = hint }, 0) end

-- Whether a mask of signals, in hexadecimal digits, has SIGUSR1.
local function has(mask) return math.floor((tonumber((mask or ""):sub(-4), 16) or 0) / SIGUSR1_BIT) % 2 == 1 end

local function field(status, name) return status:match("\n" .. name .. ":%s*([^\n]*)") end

---@class ProbedProcess
---@field pid integer
---@field inner integer its id in its own namespace
---@field uid integer effective
---@field state string a letter, as ps(1) shows it
---@field isPending boolean SIGUSR1 was sent and has not been taken

--- What is known of a process; nil when there is none.
---@param pid integer
---@return ProbedProcess?
function processes.look(pid)
  local status = read(("/proc/%d/status"):format(pid))
  if not status then return nil end
  local group = tonumber(field(status, "Tgid"))
  if group and group ~= pid then return processes.look(group) end
  return {
    pid = pid, inner = tonumber((field(status, "NSpid") or ""):match("(%d+)%s*$")) or pid,
    uid = tonumber((field(status, "Uid") or ""):match("^%d+%s+(%d+)")), state = (field(status, "State") or "?"):sub(1, 1),
    isPending = has(field(status, "SigPnd")) or has(field(status, "ShdPnd")), isCaught = has(field(status, "SigCgt")),
  }
end

local MARK = "lrun.core.probe"      -- in every program that has this room

local function isLrun(pid)
  local path = ("/proc/%d/exe"):format(pid)
  local name = uv.fs_readlink(path)
  if not name then return false, (read(("/proc/%d/comm"):format(pid)) or "?"):gsub("%s+$", "") end
  local own, its = uv.fs_stat("/proc/self/exe"), uv.fs_stat(path)
  if own and its and own.ino == its.ino and own.dev == its.dev then return true end
  if not its or its.size > 256 * 1024 * 1024 then return false, name end
  local text = read(path)
  return text ~= nil and text:find(MARK, 1, true) ~= nil, name
end

--- Throws { exit, code, message, hint } where a process cannot be looked into.
---@param pid integer
---@return ProbedProcess
function processes.check(pid)
  local found = processes.look(pid)
  if not found then fail("unknown-target", ("there is no process %d"):format(pid), "lrun list shows the manager's, ps -C lrun all") end
  if found.state == "Z" or found.state == "X" then fail("unknown-target", ("process %d has ended"):format(pid)) end
  local uid = require("lrun.core.system").geteuid()
  if found.uid ~= uid and uid ~= 0 then
    fail("forbidden", ("process %d belongs to another user"):format(pid), ("try sudo -u '#%d' lrun …"):format(found.uid))
  end
  local ours, name = isLrun(found.pid)
  if not ours then fail("foreign", ("process %d is no lrun, or one of an older version: it runs %s"):format(pid, name)) end
  if found.state == "T" or found.state == "t" then
    fail("stopped", ("process %d is stopped"):format(pid),
      found.state == "t" and "a debugger holds it" or ("kill -CONT %d lets it go on"):format(pid))
  end
  if not found.isCaught then fail("starting", ("process %d is about to start, or to end"):format(pid), "try again") end
  return found
end

-- The kernel ------------------------------------------------------------------------------------------------------------

-- Names of the system calls in which a process is likely to wait.
local CALLS = {
  x64 = { [0] = "read", [1] = "write", [7] = "poll", [23] = "select", [35] = "nanosleep", [42] = "connect", [43] = "accept", [44] = "sendto",
    [45] = "recvfrom", [46] = "sendmsg", [47] = "recvmsg", [61] = "wait4", [72] = "fcntl", [73] = "flock", [74] = "fsync", [202] = "futex",
    [230] = "clock_nanosleep", [232] = "epoll_wait", [247] = "waitid", [257] = "openat", [281] = "epoll_pwait", [270] = "pselect6",
    [271] = "ppoll" },
  arm64 = { [63] = "read", [64] = "write", [73] = "ppoll", [72] = "pselect6", [101] = "nanosleep", [203] = "connect", [202] = "accept",
    [206] = "sendto", [207] = "recvfrom", [211] = "sendmsg", [212] = "recvmsg", [260] = "wait4", [25] = "fcntl", [32] = "flock",
    [82] = "fsync", [98] = "futex", [115] = "clock_nanosleep", [22] = "epoll_pwait", [95] = "waitid", [56] = "openat" },
}

local STATES = { R = "runs", S = "sleeps", D = "waits for a device or a file system and hears no signal", I = "idles" }

--- What the kernel says of it, in words.
---@param pid integer
---@return string
function processes.kernel(pid)
  local found = processes.look(pid)
  if not found then return "it has ended" end
  local parts = { "it " .. (STATES[found.state] or "is in state " .. found.state) }
  local number = (read(("/proc/%d/syscall"):format(pid)) or ""):match("^(%d+)")
  if number then
    local name = (CALLS[jit.arch] or {})[tonumber(number)]
    parts[#parts + 1] = name and ("in the system call %s"):format(name) or ("in system call %s"):format(number)
  end
  local place = read(("/proc/%d/wchan"):format(pid))
  if place and place:find("^[%a_]") then parts[#parts + 1] = "at " .. place:match("^[%w_.]+") end
  return table.concat(parts, " ")
end

--- A path as this process sees it.
---@param found ProbedProcess
---@param path string as that process sees it
---@return string
function processes.outside(found, path)
  local own, its = uv.fs_readlink("/proc/self/ns/mnt"), uv.fs_readlink(("/proc/%d/ns/mnt"):format(found.pid))
  if not its or own == its then return path end
  return ("/proc/%d/root%s"):format(found.pid, path)
end

--- The folders in which its socket and its reports may be, the more likely first.
---@param found ProbedProcess
---@return string[]
function processes.folders(found)
  local list = {}
  local environment = "\0" .. (read(("/proc/%d/environ"):format(found.pid)) or "")
  local given = environment:match("%zXDG_RUNTIME_DIR=(/[^%z]*)")
  if given then list[1] = processes.outside(found, given .. "/lrun") end
  list[#list + 1] = processes.outside(found, ("/tmp/lrun-%d"):format(found.uid))
  return list
end

processes.read = read

return processes
