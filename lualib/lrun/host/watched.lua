--- The side of the program that runs under `lrun --watch`: tells the watcher which files were loaded, by lines appended to the
--- file that LRUN_WATCH names, in each process of the program; and, in the first of them, answers whether a change is met by a
--- reload of the cluster or has to be met by a start anew.
local uv = require("luv")

local watched = {}

local APPEND = 384                  -- 0600

local function tell(line)
  local fd = uv.fs_open(os.getenv("LRUN_WATCH") or "", "a", APPEND)
  if not fd then return end         -- the watcher is gone
  uv.fs_write(fd, line .. "\n", -1)
  uv.fs_close(fd)
end

--- What a file is; nil when there is none.
---@param file string
---@return string?
function watched.signature(file)
  local stat = uv.fs_stat(file)
  if not stat or stat.type == "directory" then return nil end
  return ("%d.%d %d %d"):format(stat.mtime.sec, stat.mtime.nsec, stat.size, stat.ino)
end

-- With what the file is now: it may have changed when the watcher comes to look.
local function tellFile(file) tell((watched.signature(file) or "gone") .. "\t" .. file) end

-- A primary that has workers has them replaced, one after the other.
local function onChange()
  local cluster = require("lrun.core.loaded")["lrun.cluster.primary"]
  if not cluster or next(cluster.workers) == nil then return tell("!restart") end
  tell("!reload")
  cluster.reload(function(err)
    if err then io.stderr:write("lrun --watch: the reload failed, the old workers go on: ", tostring(err), "\n") end
  end)
end

local function listen(fd)
  local pipe = uv.new_pipe(false)
  if not pipe:open(fd) then return pipe:close() end
  require("lrun.core.sockets").closeOnExec(fd)
  pipe:read_start(function(_, data)
    if data then return onChange() end
    pipe:close()
    require("process").exit(1)      -- nobody watches any more
  end)
  pipe:unref()
end

--- Begins to tell.
function watched.start()
  local process, programs = require("process"), require("lrun.host.modules")
  local fd = tonumber(process.env.LRUN_WATCH_FD)
  process.env.LRUN_WATCH_FD = nil
  if fd then listen(fd) end
  programs.onLoad = tellFile
  if programs.script then tellFile(programs.script) end
end

return watched
