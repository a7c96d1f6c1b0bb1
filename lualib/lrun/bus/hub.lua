--- The bus of a machine, in its primary: what each process of the machine has asked for (a session), and the services that
--- do it, over one driver. A process that is gone has its session closed: what it held is free at once.
local errors = require("errors")

local hub = {}

local SERVICES = { "pubsub", "requests", "queues", "locks", "presence", "limits" }

local driver
local sessions = {}
local methods, services

local function load()
  methods, services = {}, {}
  for i, name in ipairs(SERVICES) do
    local service = require("lrun.bus." .. name)
    services[i] = service
    service.start(driver, hub)
    for method, f in pairs(service.methods) do methods[method] = f end
  end
end

--- Connects the bus of this machine: `url` nil for one of its own.
---@param url string|table|nil
function hub.connect(url)
  if driver then return end
  driver = require(url and "lrun.bus.redis" or "lrun.bus.memory").new(url)
  load()
  driver.onGap(function() hub.broadcast("gap") end)
end

--- Whether it is connected.
function hub.isConnected() return driver ~= nil end

--- A session for a process. `emit(event, ...)` tells it what happens.
---@return table
function hub.session(name, emit)
  local session = { name = name, emit = emit, closed = false }
  sessions[session] = true
  return session
end

--- The process is gone.
function hub.close(session)
  if session.closed then return end
  session.closed = true
  sessions[session] = nil
  for _, service in ipairs(services or {}) do
    if service.leave then service.leave(session) end
  end
end

--- Tells every process of the machine.
function hub.broadcast(event, ...)
  for session in pairs(sessions) do session.emit(event, ...) end
end

--- Does what a process has asked for: `answer(err, ...)`.
function hub.call(session, name, answer, ...)
  if not driver then
    return answer(errors.coded("ERR_INVALID_STATE", "The primary has no bus: call bus.connect() in it, too"))
  end
  if session.closed then return end
  if name == "hello" then return answer() end
  local method = methods[name]
  if not method then return answer(errors.coded("ERR_INVALID_STATE", "The primary's bus knows no " .. tostring(name))) end
  method(session, answer, ...)
end

return hub
