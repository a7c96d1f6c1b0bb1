--- A program under test: its output is read line by line as it comes, and its end is the end of all that it started,
--- because they hold the other end of its pipes.
local await = require("await")
local child_process = require("child_process")
local net = require("net")
local servers = require("spec.support.servers")

local program = {}

local Program = {}
Program.__index = Program

-- Lets whoever waits for a line look again.
local function look(self)
  local waiting = self._waiting
  self._waiting = {}
  for _, check in ipairs(waiting) do
    if not check() then table.insert(self._waiting, check) end
  end
end

--- Waits for the next line that matches, after those that earlier waits took.
---@param pattern string Lua pattern, for a whole line
---@return string ... its captures
function Program:line(pattern)
  local function take()
    local from = self._taken + 1
    while true do
      local stop = self.output:find("\n", from, true)
      if not stop then return nil end
      local captures = { self.output:sub(from, stop - 1):match("^" .. pattern .. "$") }
      if captures[1] then
        self._taken = stop
        return captures
      end
      from = stop + 1
    end
  end
  local captures = take() or not self._closed and await(function(callback)
    table.insert(self._waiting, function()
      local found = take()
      if found then callback(found) end
      if self._closed and not found then callback(nil) end
      return found or self._closed
    end)
  end)
  if not captures then error("it ended without a line like " .. pattern .. " in:\n" .. self.output, 2) end
  return unpack(captures)
end

--- Waits until it and all its children are gone.
---@return integer? code, string? signal
function Program:gone()
  if not self._closed then await(function(callback) self.child:once("close", function() callback() end) end) end
  return self.child.exitCode, self.child.signalCode
end

--- Sends a signal to it and all its children, as a terminal does.
function Program:interrupt(signal) process.kill(-self.child.pid, signal) end

--- Starts an lrun on a script, as leader of a process group.
---@param script string
---@param arguments? string[]
---@param env? table<string, any> laid over this process's environment
function program.start(script, arguments, env)
  local all = {}
  for name, value in pairs(process.env) do all[name] = value end
  for name, value in pairs(env or {}) do all[name] = value end
  local child = child_process.spawn(process.execPath, { script, unpack(arguments or {}) },
    { detached = true, stdio = { "ignore", "pipe", "inherit" }, env = all })
  local self = setmetatable({ child = child, output = "", _taken = 0, _waiting = {}, _closed = false }, Program)
  child.stdout:on("data", function(data)
    self.output = self.output .. data
    look(self)
  end)
  child:once("close", function()
    self._closed = true
    look(self)
  end)
  return self
end

--- Body and status of one answer, or nil.
---@return string? body, integer? status
function program.get(port, path)
  return await(function(callback)
    local text = ""
    local socket = net.connect(port, "127.0.0.1")
    socket:on("data", function(data) text = text .. data end)
    socket:on("error", function() end)
    socket:on("close", function()
      callback(text:match("\r\n\r\n(.*)$"), tonumber(text:match("^HTTP/1.1 (%d+)")))
    end)
    socket:write(("GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"):format(path))
  end)
end

program.port = servers.freePort

return program
