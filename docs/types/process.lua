---@meta process
-- The global `process`, for lua-language-server. lualib/process.lua makes the same functions callable with a dot and with a
-- colon, which no annotation can say.

---@alias Signal string|integer a name in any case ("SIGTERM"), or a number

---@class (exact) MemoryUsage bytes
---@field rss integer the resident set
---@field heapUsed number Lua's heap
---@field heapTotal number
---@field external number what is resident beside Lua's heap

--- This process. Source: Node 20.
---
--- Events: `exit (code)`, `beforeExit (code)`, `uncaughtException (err, origin)`, `message (message, handle)`, `disconnect`,
--- `warning (warning)`, and every signal by its name: `SIGTERM (name, number)`.
---@class process: EventEmitter
---@field pid integer
---@field ppid integer
---@field argv table<integer, string> [0] the path of lrun, [1] the script's absolute path, [2]… its arguments
---@field argv0 string how lrun was called
---@field execPath string
---@field execArgv string[] lrun's own options
---@field env table<string, string?> the environment, read and written
---@field platform string "linux"
---@field arch string
---@field title string what ps shows; can be set
---@field version string
---@field versions table<string, string> lrun, luajit, uv, luv, llhttp
---@field features table<string, boolean>
---@field exitCode integer? the code of an end without exit(code)
---@field stdin Readable
---@field stdout Writable
---@field stderr Writable
---@field connected boolean? nil without a channel to the parent
---@field channel { ref: fun(self), unref: fun(self) }?
process = {}

--- Ends the process: the `exit` event, then what the channels still hold is written, then the end.
---@param code integer? default `process.exitCode`, else 0
function process.exit(code) end

--- Ends the process at once with SIGABRT and a core dump, without an event.
function process.abort() end

--- Calls `f(...)` after the running callback, before the loop sees any event.
---@param f function
function process.nextTick(f, ...) end

--- Sends a signal; 0 only tests whether the process is there. Throws ESRCH, EPERM, ERR_UNKNOWN_SIGNAL.
---@param pid integer
---@param signal Signal? default SIGTERM
---@return true
function process.kill(pid, signal) end

--- Seconds since this process started.
---@return number
function process.uptime() end

--- A monotonic clock in nanoseconds.
---@return number
function process.hrtime() end

--- The working directory.
---@return string
function process.cwd() end

--- Changes the working directory. Throws a system error with `path` and `dest`.
---@param dir string
function process.chdir(dir) end

---@return MemoryUsage
function process.memoryUsage() end

--- CPU time in microseconds; with an earlier result, since then.
---@param previous { user: integer, system: integer }?
---@return { user: integer, system: integer }
function process.cpuUsage(previous) end

--- Resource usage as getrusage(2) tells it, under Node's names; times in microseconds, `maxRSS` in KiB.
---@return table<string, integer>
function process.resourceUsage() end

--- The file mode creation mask; sets it when one is given.
---@param mask (integer|string)? a number, or octal digits
---@return integer old
function process.umask(mask) end

---@return integer
function process.getuid() end
---@return integer
function process.getgid() end
---@return integer
function process.geteuid() end
---@return integer
function process.getegid() end
--- Throws EPERM, ERR_UNKNOWN_CREDENTIAL.
---@param id integer|string number or name
function process.setuid(id) end
---@param id integer|string
function process.setgid(id) end
---@param id integer|string
function process.seteuid(id) end
---@param id integer|string
function process.setegid(id) end
---@param groups (integer|string)[]
function process.setgroups(groups) end
---@param user integer|string
---@param extraGroup integer|string
function process.initgroups(user, extraGroup) end

--- Prints a warning on standard error and emits a `warning` event.
---@param text string|Error
---@param options string|{ type: string?, code: string? }? the warning's type
function process.emitWarning(text, options) end

--- Sends the parent a message; nil without a channel, so that a script can test for it.
---@param message any
---@param handle any? a net.Socket, net.Server, dgram.Socket or luv handle
---@param options { keepOpen: boolean? }?
---@param callback fun(err: Error?)?
---@return boolean more false: much waits to be written
function process.send(message, handle, options, callback) end

--- Closes the channel to the parent; nil without one.
function process.disconnect() end

return process
