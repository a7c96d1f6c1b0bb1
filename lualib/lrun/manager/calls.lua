--- Calls over a unix socket, as the daemon and a process that is looked into answer them (daemon/server.lua): the caller's side.
--- A call is a line of JSON, its events and its answer are others.
local uv = require("luv")
local await = require("await")
local json = require("json")
local wire = require("lrun.manager.wire")

local calls = {}

---@class Calls
---@field version string of the program at the other end
---@field pid integer
---@field ended boolean?
---@field onLost (fun(count: integer))? events that were not sent, because nobody read them
local Calls = {}
Calls.__index = Calls

local function onEnd(self)
  if self.ended then return end
  self.ended = true
  if not self.pipe:is_closing() then self.pipe:close() end
  local waiting = self.waiting
  self.waiting = {}
  for _, each in pairs(waiting) do each.done{ code = "gone", message = self.who .. " went away", exit = 4 } end
  if self.onGreeting then self.onGreeting(false) end
end

local function onLine(self, line)
  local ok, message = pcall(json.decode, line)
  if not ok or type(message) ~= "table" then return onEnd(self) end
  if message.version and not self.version then
    self.version, self.pid = message.version, message.pid
    for _, warning in ipairs(message.warnings or {}) do io.stderr:write("lrun: ", warning, "\n") end
    return self.onGreeting(true)
  end
  if message.lost and self.onLost then self.onLost(message.lost) end
  local each = self.waiting[message.id]
  if not each then return end
  if message.event then
    if each.onEvent then each.onEvent(wire.unpack(message.event)) end
    return
  end
  self.waiting[message.id] = nil
  if message.error then return each.done(message.error) end
  local value = message.ok
  if value == json.null then value = nil end
  each.done(nil, wire.unpack(value))
end

--- Reads the greeting of whoever answers calls at the other end.
---@param pipe uv_pipe_t connected
---@param who string what errors call the other end
---@param limit integer ms
---@return Calls? connection nil when it went away before its greeting: nothing was asked of it
---@return boolean isSilent it did not say anything
function calls.greet(pipe, who, limit)
  local self = setmetatable({ pipe = pipe, who = who, waiting = {}, lastId = 0 }, Calls)
  local reader = wire.reader(math.huge, function(line) onLine(self, line) end)
  local isSilent = false
  local greeted = await(function(done)
    local timer = uv.new_timer()
    self.onGreeting = function(good)
      self.onGreeting = nil
      timer:close()
      done(good)
    end
    timer:start(limit, 0, function()
      isSilent = true
      onEnd(self)
    end)
    pipe:read_start(function(err, data)
      if err or not data then return onEnd(self) end
      reader.feed(data)
    end)
  end)
  return greeted and self or nil, isSilent
end

--- Calls a verb and waits for the answer.
---@param call string
---@param args table
---@param onEvent fun(event: any)?
---@return any result
--- Throws what the daemon answered: { code, message, hint, exit }.
function Calls:call(call, args, onEvent)
  self.lastId = self.lastId + 1
  local id = self.lastId
  local err, result = await(function(done)
    if self.ended then return done{ code = "gone", message = self.who .. " went away", exit = 4 } end
    self.waiting[id] = { done = done, onEvent = onEvent }
    self.pipe:write(wire.encode{ id = id, call = call, args = wire.pack(args) })
  end)
  if err then
    err.exit = err.exit or 1
    error(err, 0)
  end
  return result
end

--- Calls without waiting: for streams. `onClose` is called when the other end has gone.
function Calls:stream(call, args, onEvent, onClose)
  self.lastId = self.lastId + 1
  self.waiting[self.lastId] = { done = onClose, onEvent = onEvent }
  self.pipe:write(wire.encode{ id = self.lastId, call = call, args = args })
end

function Calls:close()
  self.ended = true
  if not self.pipe:is_closing() then self.pipe:close() end
end

return calls
