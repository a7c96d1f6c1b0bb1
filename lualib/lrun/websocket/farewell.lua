--- The end of a process that others replace: its sockets are closed with 1012 (service restart), not all at once: their
--- clients will connect again, elsewhere. In a reload over half the time that the process has; else a thousand a second,
--- and no longer than that.
local leaving = require("lrun.cluster.leaving")
local process = require("process")
local timers = require("timers")

local farewell = {}

local SERVICE_RESTART = 1012
local DRAIN_TIMEOUT = 30000          -- ms, where nobody said
local STEP = 10                      -- ms between two of many

local servers = setmetatable({}, { __mode = "k" })       -- as keys
local gone = false
local asked = false

local function close(socket) socket:close(SERVICE_RESTART) end

local function everybody()
  local list = {}
  for server in pairs(servers) do
    for socket in server:_eachSocket() do list[#list + 1] = socket end
  end
  return list
end

-- Closes them one after the other within `window` ms.
local function spread(list, window)
  local count, closed, start = #list, 0, process.hrtime() / 1e6
  local function step()
    local due = window > 0 and math.floor((process.hrtime() / 1e6 - start) / window * count) + 1 or count
    while closed < math.min(due, count) do
      closed = closed + 1
      close(list[closed])
    end
    if closed < count then timers.setTimeout(step, math.max(STEP, window / count)) end
  end
  step()
end

local function leave(limit)
  gone = true
  local list = everybody()
  local half = (limit or DRAIN_TIMEOUT) / 2
  spread(list, limit and half or math.min(#list, half))
end

--- The server's sockets are said good-bye to.
---@param server WebSocketServer
function farewell.enter(server)
  servers[server] = true
  if asked then return end
  asked = true
  leaving.add(leave)
end

--- It has ended by itself.
---@param server WebSocketServer
function farewell.leave(server) servers[server] = nil end

--- A socket is open; one that comes too late goes at once.
---@param socket WebSocket
function farewell.entered(socket)
  if gone then process.nextTick(close, socket) end
end

return farewell
