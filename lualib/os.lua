--- Lua's own `os` table with Node's functions added.
local uv = require("luv")
local calls = require("lrun.check.calls")
local errors = require("errors")
local ip = require("lrun.net.ip")
local signals = require("lrun.host.signals")
local validate = require("lrun.check.validate")

---@class os: oslib
---@field EOL string "\n"
---@field constants { signals: table<string, integer>, priority: table<string, integer> }
local os = setmetatable(_G.os, nil)

local luas = {}                     -- the names that Lua itself gave
for name in pairs(os) do luas[name] = true end

local function check(syscall, value, _, code)
  if value == nil then error(errors.system(code, syscall), 0) end
  return value
end

--- One table a processor: `model`, `speed` (MHz), `times` (ms: user, nice, sys, idle, irq).
---@return { model: string, speed: integer, times: table<string, integer> }[]
function os.cpus() return uv.cpu_info() or {} end

local function readNumbers(path)
  local file = io.open(path)
  local text = file and file:read("*l")
  if file then file:close() end
  if not text then return end
  return tonumber(text:match("^%S+")), tonumber(text:match("^%S+%s+(%S+)"))
end

-- Processors that the control group's quota is worth, rounded up; nil without a quota.
local function quota()
  local limit, period = readNumbers("/sys/fs/cgroup/cpu.max")
  if not limit then
    limit = readNumbers("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
    period = readNumbers("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
  end
  if limit and period and limit > 0 and period > 0 then return math.max(1, math.ceil(limit / period)) end
end

--- How many processors this process may use: its affinity mask, and its control group's quota.
---@return integer
function os.availableParallelism()
  local available = uv.available_parallelism()
  return math.min(available, quota() or available)
end

--- The machine's name.
---@return string
function os.hostname() return check("uv_os_gethostname", uv.os_gethostname()) end

--- Bytes of memory that the machine has.
---@return integer
function os.totalmem() return uv.get_total_memory() end

--- Bytes of memory that are free.
---@return integer
function os.freemem() return uv.get_free_memory() end

--- How many processes ran or waited to.
---@return number[] averages over 1, 5 and 15 minutes
function os.loadavg() return { uv.loadavg() } end

--- Seconds since the system started.
---@return number
function os.uptime() return check("uv_uptime", uv.uptime()) end

-- "255.255.0.0" → 16
local function prefixOf(netmask)
  local _, bytes = ip.parse(netmask)
  local bits = 0
  for i = 1, #(bytes or "") do
    local byte = bytes:byte(i)
    while byte > 0 do bits, byte = bits + byte % 2, math.floor(byte / 2) end
  end
  return bits
end

--- Interface name → list of `{ address, family, netmask, mac, internal, cidr }`.
---@return table<string, table[]>
function os.networkInterfaces()
  local interfaces = {}
  for name, addresses in pairs(check("uv_interface_addresses", uv.interface_addresses())) do
    local list = {}
    for i, each in ipairs(addresses) do
      list[i] = {
        address = each.ip, netmask = each.netmask, internal = each.internal,
        cidr = ("%s/%d"):format(each.ip, prefixOf(each.netmask)),
        family = each.family == "inet6" and "IPv6" or "IPv4",
        mac = (each.mac or ""):gsub(".", function(byte) return ("%02x:"):format(byte:byte()) end):sub(1, -2),
      }
    end
    interfaces[name] = list
  end
  return interfaces
end

--- "linux".
---@return string
function os.platform() return jit.os:lower() end

--- "Linux": uname's name of the system.
---@return string
function os.type() return uv.os_uname().sysname end

--- The kernel's release.
---@return string
function os.release() return uv.os_uname().release end

--- The kernel's version.
---@return string
function os.version() return uv.os_uname().version end

--- "x86_64": uname's name of the machine.
---@return string
function os.machine() return uv.os_uname().machine end

--- "x64".
---@return string
function os.arch() return jit.arch end

--- "LE" or "BE".
---@return string
function os.endianness() return require("ffi").abi("le") and "LE" or "BE" end

--- Where temporary files go: TMPDIR, TMP, TEMP, else "/tmp".
---@return string
function os.tmpdir()
  local dir = uv.os_getenv("TMPDIR") or uv.os_getenv("TMP") or uv.os_getenv("TEMP") or "/tmp"
  return #dir > 1 and dir:gsub("/$", "") or dir
end

--- HOME, else as the system knows it.
---@return string
function os.homedir() return check("uv_os_homedir", uv.os_homedir()) end

--- `{ username, uid, gid, shell, homedir }` of the effective user.
---@return { username: string, uid: integer, gid: integer, shell: string?, homedir: string }
function os.userInfo()
  local user = check("uv_os_get_passwd", uv.os_get_passwd())
  return { username = user.username, uid = user.uid, gid = user.gid, shell = user.shell, homedir = user.homedir }
end

local function checkPid(pid) return validate.integer(pid, "pid", -2147483648, 2147483647) end

--- The scheduling priority of a process, −20 to 19. Throws ESRCH.
---@param pid integer? default this process
---@return integer
function os.getPriority(pid) return check("uv_os_getpriority", uv.os_getpriority(checkPid(pid or 0))) end

--- setPriority(priority) or setPriority(pid, priority), −20 to 19. Throws ESRCH, EACCES, EPERM.
---@param pid integer
---@param priority integer?
function os.setPriority(pid, priority)
  if priority == nil then pid, priority = 0, pid end
  checkPid(pid)
  validate.integer(priority, "priority", -20, 19)
  check("uv_os_setpriority", uv.os_setpriority(pid, priority))
end

os.EOL = "\n"

os.constants = {
  signals = signals.all(),
  priority = {
    PRIORITY_LOW = 19, PRIORITY_BELOW_NORMAL = 10, PRIORITY_NORMAL = 0, PRIORITY_ABOVE_NORMAL = -7,
    PRIORITY_HIGH = -14, PRIORITY_HIGHEST = -20,
  },
}

calls.functions(os, "os", luas)

return os
