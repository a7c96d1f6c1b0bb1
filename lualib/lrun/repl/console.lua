--- Where the prompt gets its lines from and shows what it has to say. Two consoles with the same functions: a terminal
--- with line editing (runtime/terminal/editor.c), and anything else: pipes, files, terminals that can do nothing.
---
---     console.prompt(text)   asks for a line; then the handler gets "line" (text), "eof", "gone" (the terminal), "interrupt",
---                            "complete", "search", "older", "newer" (text before the cursor, behind it), "toomuch" (was pasted)
---     console.release()      gives the terminal to whoever reads it, until the next prompt
---     console.insert(text, before)   types it; with `before` only where that still stands before the cursor
---     console.forget()       drops what was typed ahead
---     console.search(on), console.show(prompt, line)   keys go to the handler: "key" (text); shows another line
---     console.remember(line), console.history(lines), console.cancel(), console.columns()
--- A line may have newlines in it: an input of several lines that was pasted or recalled is edited as one.
local uv = require("luv")
local interrupts = require("lrun.core.interrupt")
local tty = require("lrun.core.terminal")

local console = {}

local function isTerminal(fd) return uv.guess_handle(fd) == "tty" end

local function terminal(handler)
  local ok, err = tty.open(handler)
  if not ok then return nil, err end
  return {
    prompt = tty.prompt, release = tty.release, insert = tty.insert, cancel = tty.cancel, history = tty.history, remember = tty.remember,
    columns = tty.columns, search = tty.search, show = tty.show, forget = tty.forget, editing = true,
  }
end

-- A luv stream for standard input, or false where it is a file.
local function openInput()
  local kind = uv.guess_handle(0)
  if kind == "tty" then return uv.new_tty(0, true) end
  if kind == "file" or kind == "unknown" then return false end
  local pipe = uv.new_pipe(false)
  return pipe:open(0) and pipe
end

local LINE_LIMIT = 64 * 1024 * 1024 -- bytes of a line that does not end

local function plain(handler)
  local text, ended, asking, scheduled = "", false, false, false
  local stream

  local function deliver()
    scheduled = false
    if not asking then return end
    local line, rest = text:match("^([^\n]*)\n(.*)$")
    if not line and ended and text ~= "" then line, rest = text, "" end
    if line then
      text, asking = rest, false
      return handler("line", (line:gsub("\r$", "")))
    end
    if ended then
      asking = false
      return handler("eof")
    end
  end

  local function schedule()
    if scheduled then return end
    scheduled = true
    require("timers").setImmediate(deliver)
  end

  local function onData(_, data)
    if data then text = text .. data end
    if not data or #text > LINE_LIMIT then ended = true end
    if ended and stream then uv.close(stream) stream = nil end
    deliver()
  end

  stream = openInput()
  if stream then
    stream:read_start(onData)
  else
    text, ended, stream = io.read("*a") or "", true, nil
  end
  if isTerminal(0) then
    interrupts.wake(uv.new_async(function() if interrupts.taken() then handler("interrupt") end end))
  end
  return {
    prompt = function(prompt)
      io.stdout:write(prompt)
      io.stdout:flush()
      asking = true
      schedule()
    end,
    cancel = function()
      asking = false
      io.stdout:write("\n")
    end,
    release = function() end,
    insert = function() end,
    forget = function() end,
    history = function() end,
    remember = function() end,
    columns = function() return 80 end,
    editing = false,
  }
end

--- Opens the console that fits.
---@param handler fun(kind: string, text: string?)
function console.open(handler)
  local dumb = (os.getenv("TERM") or "dumb") == "dumb"
  if isTerminal(0) and isTerminal(1) and not dumb then
    local opened = terminal(handler)
    if opened then return opened end
  end
  return plain(handler)
end

return console
