--- The report that a process writes when it gets SIGUSR1 (runtime/probe/report.h): that it heard, and where it is. Several may wait for
--- it; the process itself removes it.
local uv = require("luv")
local processes = require("lrun.probe.cli.process")

local report = {}

---@class ProbeReport
---@field time number ns
---@field state string "forbidden", "lua", "interpreter", "trace", "c", "collector", "compiler", "unknown"
---@field trace integer?
---@field begins ReportFrame?
---@field frames ReportFrame[]

---@class ReportFrame
---@field source string a file, or a chunk's name
---@field line integer 0: unknown
---@field defined integer 0: the main chunk
---@field isRuntime boolean

local function frame(text)
  local line, defined, source = text:match("^frame (%d+) (%d+) (.*)$")
  if not line then return nil end
  return { source = (source:gsub("^[@=]", "")), isFile = source:sub(1, 1) == "@", line = tonumber(line), defined = tonumber(defined),
    isRuntime = source:find("^=lrun:") ~= nil }
end

--- Reads one.
---@param text string
---@return ProbeReport? report nil when it is none
function report.parse(text)
  local found = { frames = {}, time = tonumber(text:match("^time (%d+)\n")), state = text:match("\nstate (%a+)\n") }
  if not found.time or not found.state then return nil end
  found.trace = tonumber(text:match("\ntrace (%d+)\n"))
  for line in text:gmatch("[^\n]+") do
    local begins = line:match("^begins (.*)$")
    if begins then found.begins = frame(begins) else found.frames[#found.frames + 1] = frame(line) end
  end
  return found
end

--- The report of a process that was written after a time; nil when there is none yet.
---@param process ProbedProcess
---@param folders string[]
---@param since number ns of the monotonic clock
---@return ProbeReport?
function report.take(process, folders, since)
  for _, folder in ipairs(folders) do
    local stat = uv.fs_lstat(folder)
    if stat and stat.type == "directory" and stat.uid == process.uid then
      local text = processes.read(("%s/%d.report"):format(folder, process.inner))
      local found = text and report.parse(text)
      if found and found.time >= since then
        found.folder = folder
        return found
      end
    end
  end
end

-- The name of a function, from the line that defines it; nil when that tells none.
local function nameOf(each, lines)
  local text = each.defined > 0 and lines and lines[each.defined]
  if not text then return nil end
  return text:match("function%s+([%w_.:]+)") or text:match("([%w_.]+)%s*=%s*function") or nil
end

local function linesOf(path, cache)
  if cache[path] == nil then
    local text, lines = processes.read(path), {}
    for line in ((text or "") .. "\n"):gmatch("([^\n]*)\n") do lines[#lines + 1] = line end
    cache[path] = text and lines or false
  end
  return cache[path] or nil
end

-- Frame → the lines of its file; nil where it cannot be read.
local function reader(process)
  local cache, folder = {}, uv.fs_readlink(("/proc/%d/cwd"):format(process.pid)) or "."
  return function(each)
    return each.isFile and linesOf(each.source:sub(1, 1) == "/" and each.source or folder .. "/" .. each.source, cache) or nil
  end
end

--- What tells short names of functions, such as `app.lua:innermost`.
---@param process ProbedProcess
---@return fun(frame: ReportFrame): string
function report.namer(process)
  local linesFor = reader(process)
  return function(each)
    local file = each.source:match("([^/]*)$")
    if each.defined == 0 then return file .. ":main" end
    return ("%s:%s"):format(file, nameOf(each, linesFor(each)) or each.defined)
  end
end

--- The frames as text; those of the runtime are left out between the user's.
---@param process ProbedProcess
---@param frames ReportFrame[]
---@return string[]
function report.lines(process, frames)
  local list, linesFor = {}, reader(process)
  for _, each in ipairs(frames) do
    if not each.isRuntime then
      local source = linesFor(each)
      local where = each.line > 0 and ("%s:%d"):format(each.source, each.line) or each.source
      local name = nameOf(each, source)
      if each.defined == 0 then list[#list + 1] = where .. ": in main chunk"
      elseif name then list[#list + 1] = ("%s: in function '%s'"):format(where, name)
      else list[#list + 1] = ("%s: in function <%s:%d>"):format(where, each.source, each.defined) end
      local text = source and each.line > 0 and #list == 1 and source[each.line]
      if text and text:find("%S") then list[#list] = list[#list] .. "    | " .. text:match("^%s*(.-)%s*$"):sub(1, 100) end
    end
  end
  return list
end

return report
