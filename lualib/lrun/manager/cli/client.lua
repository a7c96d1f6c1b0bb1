--- The command line's connection to the daemon: found, or started where the command needs one. Waits on the coroutine that calls it.
--- Throws { exit, code, message, hint }.
local uv = require("luv")
local await = require("await")
local calls = require("lrun.manager.calls")
local home = require("lrun.manager.home")

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

local function greet(pipe)
  local found, isSilent = calls.greet(pipe, "the daemon", GREETING_LIMIT)
  if isSilent then fail("no-daemon", ("the daemon does not answer within %d s"):format(GREETING_LIMIT / 1000)) end
  return found
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

return client
