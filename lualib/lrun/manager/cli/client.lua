--- The command line's connection to the daemon: found, or started where the command needs one; calls and their events. Waits on the
--- coroutine that calls it. Throws { exit, code, message, hint }.
local uv = require("luv")
local await = require("await")
local home = require("lrun.manager.home")
local json = require("json")
local wire = require("lrun.manager.wire")

local client = {}

local START_LIMIT = 10000       -- ms for a daemon to answer that was just started
local GREETING_LIMIT = 15000

local function fail(code, message, hint)
  error({ exit = 4, code = code, message = message, hint = hint }, 0)
end

local function sleep(ms)
  await(function(done)
    local timer = uv.new_timer()
    timer:start(ms, 0, function()
      timer:close()
      done()
    end)
  end)
end
client.sleep = sleep

local function connectTo(folder, name)
  return await(function(done) home.connect(folder, name, done) end)
end

-- Whether keepers run whose daemon is gone.
local function hasKeepers(path)
  local scan = uv.fs_scandir(path .. "/keepers")
  while scan do
    local name = uv.fs_scandir_next(scan)
    if not name then return false end
    if name:find("^%d+%.%d+%.sock$") then
      local pipe = connectTo(path .. "/keepers", name)
      if pipe then
        pipe:close()
        return true
      end
    end
  end
  return false
end

local Client = {}
Client.__index = Client

local function onEnd(self)
  if self.ended then return end
  self.ended = true
  if not self.pipe:is_closing() then self.pipe:close() end
  local waiting = self.waiting
  self.waiting = {}
  for _, each in pairs(waiting) do each.done{ code = "gone", message = "the daemon went away", exit = 4 } end
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

-- Reads the greeting. nil when the daemon went away before it: nothing was asked of it.
local function greet(pipe)
  local self = setmetatable({ pipe = pipe, waiting = {}, lastId = 0 }, Client)
  local reader = wire.reader(math.huge, function(line) onLine(self, line) end)
  local greeted = await(function(done)
    local timer = uv.new_timer()
    self.onGreeting = function(good)
      self.onGreeting = nil
      timer:close()
      done(good)
    end
    timer:start(GREETING_LIMIT, 0, function()
      self.silent = true
      onEnd(self)
    end)
    pipe:read_start(function(err, data)
      if err or not data then return onEnd(self) end
      reader.feed(data)
    end)
  end)
  if self.silent then fail("no-daemon", ("the daemon does not answer within %d s"):format(GREETING_LIMIT / 1000)) end
  return greeted and self or nil
end

local function try(path)
  local pipe, code = connectTo(path, "daemon.sock")
  if not pipe then
    if code == "EACCES" or code == "EPERM" then fail("forbidden", ("the daemon of '%s' is another user's"):format(path)) end
    return nil
  end
  return greet(pipe)
end

local function lastWords(path)
  local file = io.open(path .. "/lrun.log", "rb")
  local text = file and file:read("*a") or ""
  if file then file:close() end
  return text:match("([^\n]+)\n?$")
end

local function startDaemon(path, resurrect)
  home.make(path)
  local child = require("lrun.manager.revive").daemon(path, resurrect)
  local endedWith
  child:on("exit", function(code) endedWith = code end)
  local deadline = uv.now() + START_LIMIT
  local pause = 2
  while true do
    local found = try(path)
    if found then return found end
    uv.update_time()
    if endedWith and endedWith ~= 0 or uv.now() > deadline then
      local words = lastWords(path)
      fail("no-daemon", ("the daemon did not start%s"):format(words and ": " .. words or ""))
    end
    if endedWith == 0 then
      -- Another one had the lock: it answers, or is on its way out.
      sleep(10)
      found = try(path)
      if found then return found end
      endedWith = nil
      child = require("lrun.manager.revive").daemon(path, resurrect)
      child:on("exit", function(code) endedWith = code end)
    end
    sleep(pause)
    pause = math.min(20, pause * 2)
  end
end

--- Connects to the daemon.
---@param path string LRUN_HOME
---@param options { start: boolean, resurrect: boolean? } without `start` one is started only for keepers that lost theirs
---@return table? client nil when there is none
function client.open(path, options)
  if not home.check(path) and not options.start then return nil end
  local found = try(path)
  if found then return found end
  if options.start or hasKeepers(path) then return startDaemon(path, options.resurrect or false) end
end

--- Calls a verb and waits for the answer.
---@param call string
---@param args table
---@param onEvent fun(event: any)?
---@return any result
--- Throws what the daemon answered: { code, message, hint, exit }.
function Client:call(call, args, onEvent)
  self.lastId = self.lastId + 1
  local id = self.lastId
  local err, result = await(function(done)
    if self.ended then return done{ code = "gone", message = "the daemon went away", exit = 4 } end
    self.waiting[id] = { done = done, onEvent = onEvent }
    self.pipe:write(wire.encode{ id = id, call = call, args = wire.pack(args) })
  end)
  if err then
    err.exit = err.exit or 1
    error(err, 0)
  end
  return result
end

--- Calls without waiting: for streams. `onClose` is called when the daemon has gone.
function Client:stream(call, args, onEvent, onClose)
  self.lastId = self.lastId + 1
  self.waiting[self.lastId] = { done = onClose, onEvent = onEvent }
  self.pipe:write(wire.encode{ id = self.lastId, call = call, args = args })
end

function Client:close()
  self.ended = true
  if not self.pipe:is_closing() then self.pipe:close() end
end

return client
