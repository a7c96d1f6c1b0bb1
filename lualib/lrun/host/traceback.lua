--- Tracebacks for users: their own frames, the runtime's folded into one line between them, and across coroutines: below
--- the frames of a coroutine that `await.spawn` or `await.all` started stand those of the code that did.
local traceback = {}

local MAX_FRAMES = 50               -- shown; of a deep recursion the first and the last
local MAX_LEVELS = 1000             -- walked, half of them at either end: to find one takes as many steps as it is deep
local MAX_COROUTINES = 20           -- joined

-- coroutine → the coroutine that waits for it, or the place that started it
local origins = setmetatable({}, { __mode = "k" })

local function isRuntime(info) return info.short_src:find("^lrun:") ~= nil or info.short_src == "(command line bootstrap)" end

-- `caller` tells whether the name is one that the user gave: the runtime's callbacks have names of its own.
local function describeFrame(info, caller)
  local where = info.currentline > 0 and ("%s:%d"):format(info.short_src, info.currentline) or info.short_src
  if info.what == "main" then return where .. ": in main chunk" end
  if info.name and info.namewhat ~= "" and caller and caller.what ~= "C" and not isRuntime(caller) then
    return ("%s: in function '%s'"):format(where, info.name)
  end
  return ("%s: in function <%s:%d>"):format(where, info.short_src, info.linedefined)
end

-- getinfo of the coroutine that runs has no coroutine argument: its levels would count the caller's frames.
local function infoAt(co, level)
  if co == coroutine.running() or co == nil then return debug.getinfo(level + 2, "Snl") end
  return debug.getinfo(co, level, "Snl")
end

-- How many levels there are.
local function depthOf(co)
  local low, high = 0, MAX_LEVELS
  while infoAt(co, high) do low, high = high, high * 2 end
  while high - low > 1 do
    local middle = math.floor((low + high) / 2)
    if infoAt(co, middle) then low = middle else high = middle end
  end
  return high
end

-- Appends the frames of one coroutine.
local function walk(co, frames)
  local folded, level, depth = {}, 0, nil
  local info = infoAt(co, level)
  while info do
    level = level + 1
    if level == MAX_LEVELS / 2 then depth = depthOf(co) end
    if depth and depth > MAX_LEVELS and level == MAX_LEVELS / 2 then
      local skipped = depth - MAX_LEVELS
      level, folded = level + skipped, {}
      frames[#frames + 1] = { text = ("... %d more"):format(skipped), folded = true }
    end
    local caller = infoAt(co, level)
    if info.what == "C" or info.short_src:find("^%[builtin") then -- luacheck: ignore 542
      -- the caller's line says what was called
    elseif isRuntime(info) then
      local name = info.short_src:match("^lrun:(.-)%.lua$") or "lrun"
      if folded[#folded] ~= name then folded[#folded + 1] = name end
    else
      if #folded > 0 and #frames > 0 then
        frames[#frames + 1] = { text = "(lrun: " .. table.concat(folded, ", ") .. ")", folded = true }
      end
      folded = {}
      frames[#frames + 1] = { text = describeFrame(info, caller), source = info.source, path = info.short_src, line = info.currentline }
    end
    info = caller
  end
  while #frames > 0 and frames[#frames].folded do frames[#frames] = nil end
end

-- The frame that `here` noted.
local function frameOf(place)
  local info = debug.getinfo(place.func, "S")
  info.currentline = place.currentline
  return { text = describeFrame(info), source = info.source, path = info.short_src, line = place.currentline }
end

--- The frames of a coroutine and of those that wait for it, the innermost first.
---@param co thread? the running one by default
---@return { text: string, source: string?, path: string?, line: integer? }[]
function traceback.frames(co)
  local frames = {}
  co = co or coroutine.running()
  walk(co, frames)
  for _ = 1, MAX_COROUTINES do
    local origin = co and origins[co]
    if not origin then break end
    local more = {}
    if type(origin) == "thread" then walk(origin, more) else more[1] = frameOf(origin) end
    if #more > 0 then
      frames[#frames + 1] = { text = "(awaited from)", folded = true }
      for _, frame in ipairs(more) do frames[#frames + 1] = frame end
    end
    co = type(origin) == "thread" and origin or nil
  end
  return frames
end

-- Whether the frames tell of a place.
local function contains(frames, path, line)
  for _, frame in ipairs(frames) do
    if frame.path == path and frame.line == line then return true end
  end
  return false
end

--- What began the work whose end nobody awaits: the frame of a place that was noted.
---@param frames table[]
---@param place { func: function, currentline: integer }
function traceback.addBeginning(frames, place) frames[#frames + 1] = frameOf(place) end

--- What only an error's message tells: the line of a frame that the virtual machine left without one, and the frame of a
--- function that C called (a comparison of table.sort), which is gone when the error has passed C.
---@param frames table[]
---@param path string
---@param line integer
function traceback.addPlace(frames, path, line)
  local first = frames[1]
  if not first then return end
  if first.path == path and first.line <= 0 then
    first.line, first.text = line, ("%s:%d%s"):format(path, line, first.text:sub(#path + 1))
  elseif not contains(frames, path, line) then
    table.insert(frames, 1, { text = ("%s:%d: in a function that C called"):format(path, line), source = "@" .. path, path = path,
      line = line })
  end
end

--- The first frame that is the user's.
---@param frames table[]
function traceback.place(frames)
  for _, frame in ipairs(frames) do if frame.source then return frame end end
end

-- A frame that is followed by itself stands once.
local function fold(frames)
  local lines, i = {}, 1
  while i <= #frames do
    local last = i
    while frames[last + 1] and frames[last + 1].text == frames[i].text do last = last + 1 end
    local times = last - i + 1
    lines[#lines + 1] = "\t" .. frames[i].text .. (times > 1 and (" (%d times)"):format(times) or "")
    i = last + 1
  end
  return lines
end

--- The frames as text, a line each.
---@param frames table[]
---@return string
function traceback.format(frames)
  local lines, shown = fold(frames), {}
  local skipped = #lines - MAX_FRAMES
  for i, line in ipairs(lines) do
    if skipped <= 0 or i <= MAX_FRAMES - 10 or i > #lines - 10 then
      shown[#shown + 1] = line
    elseif i == MAX_FRAMES - 9 then
      shown[#shown + 1] = ("\t... %d more"):format(skipped)
    end
  end
  return table.concat(shown, "\n")
end

--- The frames in the `stack` of an error object.
---@param text string
---@return table[] frames
function traceback.parse(text)
  local frames = {}
  for line in text:gmatch("[^\n]+") do
    local path, number = line:match("^\t(.-):(%d+): in ")
    if path then
      frames[#frames + 1] = { text = line:sub(2), source = "@" .. path, path = path, line = tonumber(number) }
    end
  end
  return frames
end

--- `child` runs because `parent`, which is suspended meanwhile, waits for it; nil: no longer.
---@param child thread
---@param parent thread?
function traceback.join(child, parent) origins[child] = parent end

--- `child` was started by the code that runs now, which goes on: the line that started it is kept.
---@param child thread
---@param place { func: function, currentline: integer }?
function traceback.started(child, place) origins[child] = place end

local kept                          -- the last error that was thrown on from one coroutine to another, and where it came from

--- Called where `err` was thrown, before its stack is lost: `taken` then has its frames.
---@param err any
function traceback.keep(err) kept = { err = err, frames = traceback.frames() } end

--- The frames that were kept for `err`, once.
---@param err any
---@return table[]?
function traceback.taken(err)
  local found = kept
  if not found or not rawequal(found.err, err) then return nil end
  kept = nil
  return found.frames
end

local function readLine(path, number)
  local file = io.open(path, "rb")
  if not file then return end
  local count, text = 0, nil
  for line in file:lines() do
    count = count + 1
    if count == number then text = line break end
  end
  file:close()
  return text
end

local SOURCE_WIDTH = 160

--- The source line of a frame, with its number, or nil when the file cannot tell.
---@param path string
---@param number integer
---@return string?
function traceback.sourceLine(path, number)
  local ok, line = pcall(readLine, path, number)
  if not ok or not line or not line:find("%S") then return nil end
  return ("%6d | %s"):format(number, (line:gsub("\r$", ""):sub(1, SOURCE_WIDTH):gsub("[%z\1-\8\11-\31\127]", "?")))
end

return traceback
