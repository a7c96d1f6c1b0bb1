--- For specs of fs: both forms of a function, its failure, a directory of the test's own, a program in another process.
local await = require("await")
local child_process = require("child_process")
local errors = require("errors")
local fs = require("fs")
local timers = require("timers")
local ways = require("lrun.fs.ways")

local files = {}

--- How each form is called; both return the value or throw.
files.forms = {
  sync = function(name, ...) return fs[name .. "Sync"](...) end,
  async = function(name, ...)
    local err, value = await(fs[name], ...)
    if err then error(err, 0) end
    return value
  end,
}

--- The error object that `f(...)` throws.
function files.fails(f, ...)
  local ok, err = pcall(f, ...)
  assert(not ok, "did not throw")
  assert(errors.isError(err), tostring(err))
  return err
end

--- Makes a directory, and a function that gives paths in it.
function files.directory()
  local dir = fs.realpathSync(fs.mkdtempSync("/tmp/lrun-fs-"))
  return dir, function(name) return dir .. "/" .. name end
end

--- Whether files in a directory are tried without a thread. In a chroot whose root is no mount of its own the table of mounts
--- does not have the file system: nothing is tried there.
function files.areTried(dir)
  local path = dir .. "/tried"
  fs.writeFileSync(path, "text")
  local fd = ways.try("open", path, 0)
  fs.unlinkSync(path)
  if fd then fs.closeSync(fd) end
  return fd ~= false and fd ~= nil
end

--- Waits until `condition()` is true; fails after 20 s.
function files.eventually(what, condition)
  for _ = 1, 10000 do
    local value = condition()
    if value then return value end
    await(function(done) timers.setTimeout(done, 2) end)
  end
  error("not in time: " .. what, 2)
end

--- Runs a program of Lua in another lrun; returns its exit code, what it wrote to standard output, and to standard error.
function files.run(source, ...)
  local err, out, text = await(child_process.execFile, process.execPath, { "-e", source, ... }, { timeout = 60000 })
  return err and err.code or 0, out, text
end

return files
