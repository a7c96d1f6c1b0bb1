--- `lrun --watch`: runs a program, and again when a file that it loaded changes. The program is a child that tells what it loads
--- (lrun/host/watched.lua). A change → the files' syntax is looked at: an error is shown, and the old program goes on → the
--- program is asked: a cluster reloads itself, anything else is ended and started anew.
local uv = require("luv")
local child_process = require("child_process")
local fs = require("fs")
local path = require("path")
local process = require("process")
local timers = require("timers")
local signature = require("lrun.host.watched").signature

local watch = {}

local SETTLE = 100                  -- ms without a change before it is acted on: editors write in several steps
local ANSWER = 2000                 -- ms for the program to say how it meets a change
local GRACE = 5000                  -- ms between SIGTERM and SIGKILL

local options                       -- of the command line
local folder, list                  -- of this watcher; the file in it that the program appends to
local child                         -- the program, while it runs
local ending                        -- SIGTERM was sent
local watchers = {}                 -- folder → its fs_event handle
local known = {}                    -- file → what it was when it was last looked at
local whole = {}                    -- folders in which any file counts
local loaded = {}                   -- files that the program loaded
local changed = {}                  -- files that changed since the program was last started or asked
local settle, answer                -- timers

local function say(...) io.stderr:write("lrun --watch: ", table.concat{ ... }, "\n") end

local function syntaxError(file)
  local text = io.open(file, "rb")
  if not text then return nil end
  local source = text:read("*a") or ""
  text:close()
  local _, err = loadstring(source:gsub("^\239\187\191", ""):gsub("^#[^\n]*", ""), "@" .. file)
  return err
end

-- When files have settled, the changes are met.
local function soon(f)
  if settle then timers.clearTimeout(settle) end
  settle = timers.setTimeout(f, SETTLE)
end

-- The program -----------------------------------------------------------------------------------------------------------

local start, act

local function stopWaiting()
  if answer then timers.clearTimeout(answer) end
  answer = nil
end

local function onEnd(code, signal)
  child = nil
  stopWaiting()
  if ending then
    ending = false
    return start()
  end
  if next(changed) then return soon(act) end
  say("the program ended", signal and " by " .. signal or code ~= 0 and " with code " .. code or "", "; the next change starts it again")
end

function start()
  changed = {}
  local arguments = { unpack(options.execArgv) }
  arguments[#arguments + 1] = options.watched
  for _, argument in ipairs(options.args) do arguments[#arguments + 1] = argument end
  local env = {}
  for name, value in pairs(process.env) do env[name] = value end
  env.LRUN_WATCH, env.LRUN_WATCH_FD = list, "3"
  child = child_process.spawn(process.execPath, arguments, { stdio = { "inherit", "inherit", "inherit", "pipe" }, env = env })
  child:on("error", function(err) say(tostring(err)) end)
  child.stdio[4]:on("error", function() end)           -- it has ended
  child:on("exit", onEnd)
end

local function endChild()
  local one = child
  one:kill("SIGTERM")
  local timer = timers.setTimeout(function() one:kill("SIGKILL") end, GRACE)
  one:on("exit", function() timers.clearTimeout(timer) end)
end

local function restart()
  stopWaiting()
  if not child then return start() end
  if ending then return end
  ending = true
  endChild()
end

function act()
  for file in pairs(changed) do
    local err = (loaded[file] or file:find("%.lua$")) and syntaxError(file)
    if err then return say(err, child and "; the program goes on as it is" or "") end
  end
  if not child or ending then return restart() end
  answer = timers.setTimeout(restart, ANSWER)
  child.stdio[4]:write("changed\n")
end

-- Files -----------------------------------------------------------------------------------------------------------------

local function onChange(file)
  local now = signature(file)
  if not now or now == known[file] then return end     -- it is being replaced; or somebody only looked at it
  known[file] = now
  changed[file] = true
  soon(act)
end

local function watchFolder(directory)
  if watchers[directory] then return end
  local handle = uv.new_fs_event()
  watchers[directory] = handle
  local ok, reason = handle:start(directory, {}, function(err, name)
    if err or not name then return end
    local file = path.join(directory, name)
    if known[file] or whole[directory] then onChange(file) end
    if whole[directory] and not watchers[file] and (uv.fs_stat(file) or {}).type == "directory" then watch.tree(file) end
  end)
  if not ok then
    say("cannot watch ", directory, ": ", reason)
    process.exit(1)
  end
end

--- Any file in a folder, and in those below it, counts.
function watch.tree(directory)
  whole[directory] = true
  watchFolder(directory)
  for _, entry in ipairs(fs.readdirSync(directory, { withFileTypes = true })) do
    local below = path.join(directory, entry.name)
    if entry:isDirectory() then watch.tree(below) else known[below] = signature(below) end
  end
end

-- The program has loaded a file, which it saw as `seen`; it may be another by now.
local function onLoaded(seen, file)
  if not file or loaded[file] then return end
  loaded[file] = true
  known[file] = known[file] or seen
  watchFolder(path.dirname(file))
  onChange(file)
end

-- The program's lines: files that it loads, and its answers.
local function readList(fd)
  local rest = ""
  return function()
    while true do
      local text = uv.fs_read(fd, 65536, -1)
      if not text or text == "" then return end
      rest = (rest .. text):gsub("([^\n]*)\n", function(line)
        if line == "!restart" then restart()
        elseif line == "!reload" then
          stopWaiting()
          changed = {}
        else
          onLoaded(line:match("^([^\t]*)\t(.*)$"))
        end
        return ""
      end)
    end
  end
end

local function prepare()
  folder = assert(uv.fs_mkdtemp(path.join(require("os").tmpdir(), "lrun-watch-XXXXXX")))
  list = path.join(folder, "loaded")
  local read = readList(assert(uv.fs_open(list, "a+", 384)))
  local handle = uv.new_fs_event()
  assert(handle:start(folder, {}, read))
  process:on("exit", function() fs.rmSync(folder, { recursive = true, force = true }) end)
end

-- The first signal ends the program, gently; it ends us, too.
local function onSignal(name, number)
  local function leave() process.exit(128 + number) end
  if not child then return leave() end
  ending = false
  child:removeAllListeners("exit")
  child:on("exit", leave)
  if name == "SIGTERM" then endChild() else timers.setTimeout(endChild, GRACE) end -- the terminal told the program as well
end

--- Runs the script of the command line, and stays.
---@param _ string[]
---@param given ReadOptions
function watch.run(_, given)
  options = given
  prepare()
  for _, directory in ipairs(options.watchPaths or {}) do
    local absolute = path.resolve(directory)
    if (uv.fs_stat(absolute) or {}).type ~= "directory" then
      say("--watch-path ", directory, " is no folder")
      process.exit(2)
    end
    watch.tree(absolute)
  end
  process:on("SIGTERM", onSignal)
  process:on("SIGINT", onSignal)
  start()
end

return watch
