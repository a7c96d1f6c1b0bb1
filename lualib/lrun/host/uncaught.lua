--- What becomes of an error that nobody caught: `uncaughtException` listeners get the thrown value; without one it is
--- printed with a traceback and the process ends with code 1. At the prompt it is printed and the process goes on.
local vm = require("lrun.core.vm")
local errors = require("errors")
local process = require("process")

local uncaught = {}

local FAILED_IN_HANDLER = 7         -- Node's exit code for an error in an `uncaughtException` listener

local stay = false                  -- at the prompt

local function message(err)
  if errors.isError(err) or type(err) == "string" or type(err) == "number" then return tostring(err) end
  local meta = type(err) == "table" and getmetatable(err)
  if type(meta) == "table" and meta.__tostring then
    local ok, text = pcall(tostring, err)
    if ok and type(text) == "string" then return text end
  end
  local ok, text = pcall(function() return require("inspect").inspect(err) end)
  return "(error object is " .. (ok and text or tostring(err)) .. ")"
end

local SHOWN_ELSEWHERE = { message = true, stack = true, name = true }

-- `{ code = "ENOENT", … }`: what an error object holds beside its message.
local function fields(err, colors)
  if not errors.isError(err) then return nil end
  local others = {}
  for key, value in next, err do
    if not SHOWN_ELSEWHERE[key] and not (type(key) == "string" and key:find("^_")) then others[key] = value end
  end
  if next(others) == nil then return nil end
  local ok, text = pcall(function() return require("inspect").inspect(others, { depth = 1, colors = colors, breakLength = 120 }) end)
  return ok and text or nil
end

-- "file.lua:12: …" → the file and the line. An address and a port look alike: a file is in a frame, or is there.
local function placeIn(text, frames)
  local path, line = text:match("^([^\n]-):(%d+): ")
  if not path then return nil end
  for _, frame in ipairs(frames) do
    if frame.path == path then return path, tonumber(line) end
  end
  local stat = require("luv").fs_stat(path)
  if stat and stat.type == "file" then return path, tonumber(line) end
end

local RUNTIME_PLACE = "^lrun:[%w_/]+%.lua:%d+: "

--- The report on an error: message with the user's file and line, the source line on a terminal, a hint on what to type
--- instead, the fields of an error object, the traceback.
---@param coroutine thread? whose stack to show; the running one by default
---@param err any
---@param options { colors: boolean?, source: boolean?, short: boolean? }? short: no traceback of a single frame
---@return string without a newline at its end
function uncaught.describe(coroutine, err, options)
  options = options or {}
  local traceback = require("lrun.host.traceback")
  local frames = traceback.taken(err) or traceback.frames(coroutine)
  local stack = type(err) == "table" and rawget(err, "stack")
  if #frames == 0 and errors.isError(err) and type(stack) == "string" then frames = traceback.parse(stack) end
  local begun = require("lrun.host.places").of(err)
  if begun and not traceback.place(frames) then traceback.addBeginning(frames, begun) end
  local raw, place = message(err), traceback.place(frames)
  local text, path, line = raw, nil, nil
  if place then text = text:gsub(RUNTIME_PLACE, "") end
  if type(err) == "string" then path, line = placeIn(text, frames) end
  if path then traceback.addPlace(frames, path, line) end
  if not path then
    if place then
      path, line = place.path, place.line
      text = ("%s:%d: %s"):format(path, line, text)
    elseif not options.short and not text:find(RUNTIME_PLACE) then
      text = "lrun: " .. text
    end
  end
  local lines = { options.colors and "\27[31m" .. text .. "\27[0m" or text }
  if options.source and path then lines[#lines + 1] = traceback.sourceLine(path, line) end
  lines[#lines + 1] = require("lrun.host.hints").of(raw, path)
  lines[#lines + 1] = fields(err, options.colors)
  if #frames > (options.short and 1 or 0) then
    lines[#lines + 1] = "stack traceback:"
    lines[#lines + 1] = traceback.format(frames)
  end
  return table.concat(lines, "\n")
end

--- From now on an uncaught error does not end the process.
function uncaught.keepAlive() stay = true end

local function print(thread, err)
  local terminal = require("luv").guess_handle(2) == "tty"
  local text = uncaught.describe(thread, err, { source = terminal, colors = require("lrun.host.colors").wanted(2) })
  io.stdout:flush()
  io.stderr:write(text, "\n")
end

--- A handler for xpcall that prints.
---@type fun(err: any)
uncaught.report = vm.handler(print)

local function tell(err)
  process:emit("uncaughtExceptionMonitor", err, "uncaughtException")
  return process:emit("uncaughtException", err, "uncaughtException")
end

--- The host's hook. A listener that throws ends the process without the `exit` event, as in Node.
---@param coroutine thread its stack is as it was when the error was thrown
---@param err any
---@param exiting boolean the `exit` event is being emitted
function uncaught.handle(coroutine, err, exiting)
  local ok, taken = xpcall(tell, uncaught.report, err)
  if not ok and not stay then vm.exit(FAILED_IN_HANDLER) end
  if taken then return end
  print(coroutine, err)
  if not stay or exiting then process.exit(1) end
end

return uncaught
