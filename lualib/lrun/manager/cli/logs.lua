--- `logs`: the last lines of the apps' files, then what is appended to them. Reads the files themselves, so that no daemon is needed and a
--- reader that stands still costs nobody anything. Follows renames (rotation) and truncation.
local uv = require("luv")
local asking = require("lrun.manager.cli.asking")
local client = require("lrun.manager.cli.client")
local json = require("json")
local lines = require("lrun.manager.lines")
local wire = require("lrun.manager.wire")

local LINES = 15
local BLOCK = 65536
local LOOK_EVERY = 250          -- ms, besides what the kernel tells of the folders
local APPS_EVERY = 2000         -- ms

local logs = {}

local function usage(text, ...) error({ usage = text:format(...) }, 0) end

-- Printing ------------------------------------------------------------------------------------------------------------

local COLORS = { 36, 33, 32, 35, 34, 96, 93, 92, 95, 94 }

local function isColored()
  if process.env.NO_COLOR and process.env.NO_COLOR ~= "" then return false end
  return uv.guess_handle(1) == "tty" and process.env.TERM ~= "dumb"
end

local function parseTime(text)
  local year, month, day, hour, minute, second, fraction = text:match("^(%d+)-(%d+)-(%d+)T(%d+):(%d+):(%d+)%.?(%d*)Z$")
  if not year then return nil end
  local now = os.time()
  local offset = os.difftime(now, os.time(os.date("!*t", now)))
  local time = os.time{ year = year, month = month, day = day, hour = hour, min = minute, sec = second, isdst = false }
  return (time + offset) * 1000 + (tonumber(((fraction or "") .. "000"):sub(1, 3)) or 0)
end

-- One line of a file as `logs --json` has it.
local function entryOf(source, line)
  if source.app.logFormat == "json" then
    local ok, entry = pcall(json.decode, line)
    if ok and type(entry) == "table" and entry.line then return entry end
  end
  local time
  if source.app.time then
    local stamp, rest = line:match("^(%S+) (.*)$")
    time = stamp and parseTime(stamp)
    if time then line = rest end
  end
  return { time = time or source.changed, app = source.app.name, instance = source.number, stream = source.stream, line = wire.utf8(line) }
end

local function printer(run)
  local options, colored = run.options, isColored()
  return function(source, line)
    if options.json then return io.stdout:write(wire.encode(entryOf(source, line))) end
    if source.app.logFormat == "json" and not options.raw then line = entryOf(source, line).line end
    if options.raw then return io.stdout:write(line, "\n") end
    local label = ("%s %d"):format(source.app.name, source.number)
    local mark = source.stream == "err" and "!" or "|"
    if colored then label = ("\27[%dm%s\27[0m"):format(COLORS[source.app.id % #COLORS + 1], label) end
    io.stdout:write(label, " ", mark, " ", line, "\n")
  end
end

-- Files ---------------------------------------------------------------------------------------------------------------

-- The files of apps, each once.
local function sourcesOf(documents, options)
  local list, seen = {}, {}
  for _, app in ipairs(documents) do
    for _, each in ipairs(app.instances) do
      for _, stream in ipairs{ "out", "err" } do
        local wanted = options.out == options.err or options[stream]
        local path = each[stream]
        if wanted and path and path ~= "/dev/null" and not seen[path] then
          seen[path] = true
          list[#list + 1] = { path = path, app = app, number = each.number, stream = stream }
        end
      end
    end
  end
  return list
end

local function readAt(fd, size, offset)
  local parts, got = {}, 0
  while got < size do
    local data = uv.fs_read(fd, math.min(BLOCK, size - got), offset + got)
    if not data or data == "" then break end
    parts[#parts + 1] = data
    got = got + #data
  end
  return table.concat(parts)
end

-- The last `count` lines before `size`, as a list.
local function lastLines(fd, size, count)
  if count == 0 then return {} end
  local text, from = "", size
  while from > 0 do
    local step = math.min(BLOCK, from)
    from = from - step
    text = readAt(fd, step, from) .. text
    if select(2, text:gsub("\n", "")) > count then break end
  end
  local list = {}
  for line in (text:find("\n$") and text or text .. "\n"):gmatch("([^\n]*)\n") do list[#list + 1] = line end
  if text == "" then return {} end
  local first = math.max(1, #list - count + 1)
  return { unpack(list, first) }
end

local function tailOf(source, count)
  local fd = uv.fs_open(source.path, "r", 0)
  local found = {}
  if fd then
    local stat = uv.fs_fstat(fd)
    if stat.type ~= "file" then
      uv.fs_close(fd)
      source.special = true
      return {}
    end
    source.fd, source.inode, source.at = fd, stat.ino, stat.size
    source.changed = stat.mtime.sec * 1000
    found = lastLines(fd, stat.size, count)
  end
  if #found < count then
    -- The rest may be in the file before.
    local older = uv.fs_open(source.path .. ".1", "r", 0)
    if older then
      local before = lastLines(older, uv.fs_fstat(older).size, count - #found)
      uv.fs_close(older)
      for i, line in ipairs(found) do before[#before + 1] = line or i end
      found = before
    end
  end
  return found
end

-- Following -----------------------------------------------------------------------------------------------------------

local function take(source, write)
  while true do
    local data = uv.fs_read(source.fd, BLOCK, source.at)
    if not data or data == "" then return end
    source.at = source.at + #data
    local whole = source.cutter.feed(data)
    for line in (whole or ""):gmatch("([^\n]*)\n") do write(source, line) end
  end
end

local function look(source, write)
  if source.special then return end
  local stat = uv.fs_stat(source.path)
  if source.fd then
    local own = uv.fs_fstat(source.fd)
    if own and own.size < source.at then source.at = 0 end
    source.changed = own and own.mtime.sec * 1000
    take(source, write)
  end
  if stat and stat.type == "file" and (not source.fd or stat.ino ~= source.inode) then
    if source.fd then uv.fs_close(source.fd) end
    source.fd, source.inode, source.at = uv.fs_open(source.path, "r", 0), stat.ino, 0
    if source.fd then take(source, write) end
  end
end

local function follow(run, sources, write)
  local folders, byPath = {}, {}
  local function lookAtAll()
    for _, source in ipairs(sources) do look(source, write) end
    io.stdout:flush()
  end
  local function add(source)
    byPath[source.path] = true
    source.cutter = lines.cutter()
    local folder = source.path:match("^(.*)/[^/]*$")
    if folders[folder] then return end
    local handle = uv.new_fs_event()
    if handle:start(folder, {}, lookAtAll) then folders[folder] = handle else handle:close() end
  end
  for _, source in ipairs(sources) do add(source) end
  local since = 0
  while true do
    client.sleep(LOOK_EVERY)
    lookAtAll()
    since = since + LOOK_EVERY
    if since >= APPS_EVERY then
      since = 0
      -- Other instances, other apps.
      local ok, found = pcall(function()
        return asking.chosen(run, #run.options.words > 0 and run.options.words or { "all" })
      end)
      for _, source in ipairs(ok and sourcesOf(found, run.options) or {}) do
        if not byPath[source.path] then
          sources[#sources + 1] = source
          add(source)
        end
      end
    end
  end
end

--- Shows logs.
function logs.logs(run)
  local options = run.options
  local count = LINES
  if options.lines then
    count = tonumber(options.lines)
    if not count or count < 0 or count % 1 ~= 0 then usage("logs: --lines '%s' is no number of lines", options.lines) end
  end
  local words = #options.words > 0 and options.words or { "all" }
  local documents = asking.chosen(run, words)
  local sources, write = sourcesOf(documents, options), printer(run)
  for _, source in ipairs(sources) do
    for _, line in ipairs(tailOf(source, count)) do write(source, line) end
  end
  io.stdout:flush()
  if options.follow == false then return end
  follow(run, sources, write)
end

logs.sourcesOf, logs.tailOf, logs.look, logs.entryOf = sourcesOf, tailOf, look, entryOf

return logs
