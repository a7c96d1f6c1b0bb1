--- Keepers as the daemon and `lrun run` see them: started, spoken to, started anew when they die. An entry is one app:
---   record  what the state file holds      status   what its keeper told last      link  to its keeper, nil without one
---   sockets copies of what its instances listen on: key → { path, handle }
--- Owns links, copies, and the timers of entries whose keeper has to come back.
local uv = require("luv")
local child_process = require("child_process")
local home = require("lrun.manager.home")
local identity = require("lrun.manager.identity")
local link = require("lrun.manager.link")
local revive = require("lrun.manager.revive")

local FIRST_PAUSE, LAST_PAUSE = 20, 15000      -- ms before a dead keeper is replaced
local STEADY = 10000                           -- ms after which its death counts as the first

local LOST_LIMIT = 1500                        -- ms for a keeper whose link has ended to end itself

local Overseer = {}
Overseer.__index = Overseer

local function newMark()
  return (uv.random(12):gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

local function closeHandle(handle)
  if handle and not handle:is_closing() then handle:close() end
end

local function dropSockets(entry)
  for _, each in pairs(entry.sockets) do closeHandle(each.handle) end
  entry.sockets = {}
end

--- Makes an entry of a record.
function Overseer:entry(record)
  return { record = record, sockets = {}, pause = FIRST_PAUSE }
end

local function count(status)
  local found = {}
  for _, each in ipairs(status.instances) do found[tostring(each.number)] = each.restarts end
  return found
end

local function takeStatus(self, entry, status)
  if not status then return end
  entry.status = status
  entry.record.restarts = count(status)
  entry.record.restartsTotal = status.restarts
  self.onStatus(entry)
end

local handlers = {}

function handlers.event(self, entry, args)
  self.onEvent(entry, args)
end

function handlers.status(self, entry, args) takeStatus(self, entry, args) end

function handlers.socket(_, entry, args, handle)
  if not handle then return end
  local before = entry.sockets[args.key]
  if before then closeHandle(before.handle) end
  entry.sockets[args.key] = { path = args.path, handle = handle }
end

function handlers.released(_, entry, args)
  local held = entry.sockets[args.key]
  entry.sockets[args.key] = nil
  if held then closeHandle(held.handle) end
end

-- The app has ended, by itself or because it was asked to; its keeper goes when it is told that this is known.
local function onEnded(self, entry, status, answer)
  takeStatus(self, entry, status)
  entry.ended = true
  dropSockets(entry)
  self.onEnded(entry, status)
  answer(nil, true)
end

local function stopTimer(entry)
  if entry.timer then closeHandle(entry.timer) end
  entry.timer = nil
end

local function settleGone(entry)
  local waiting = entry.whenGone or {}
  entry.whenGone = nil
  for _, callback in ipairs(waiting) do callback() end
end

-- Calls back when the process is really gone, so that nothing of it is seen by whoever looks next.
local function awaitProcess(known, callback)
  if not known or not identity.isAlive(known) then return callback() end
  local timer = uv.new_timer()
  timer:start(2, 2, function()
    if identity.isAlive(known) then return end
    closeHandle(timer)
    callback()
  end)
end

local connect, relaunch

-- The link to a keeper has ended, and the app has not. The process is gone a moment later; one that is not is asked again, and
-- only one that does not answer is taken for dead.
local function onLinkLost(self, entry, known)
  local deadline = uv.now() + LOST_LIMIT
  stopTimer(entry)
  entry.timer = uv.new_timer()
  entry.timer:start(0, 5, function()
    local alive = known and identity.isAlive(known)
    if alive and uv.now() < deadline then return end
    stopTimer(entry)
    if not alive then return relaunch(self, entry) end
    connect(self, ("%d.%d.sock"):format(entry.record.id, known.pid), function(found, hello)
      if entry.link then return end
      if found then
        dropSockets(entry)
        self:adopt(entry, found, hello)
        return found.link:call("sockets", {}, function() end)
      end
      uv.kill(known.pid, "sigkill")
      relaunch(self, entry)
    end)
  end)
end

function relaunch(self, entry)
  for number, restarts in pairs(entry.record.restarts or {}) do entry.record.restarts[number] = restarts + 1 end
  entry.record.keeper = nil
  stopTimer(entry)
  entry.timer = uv.new_timer()
  entry.timer:start(entry.pause, 0, function()
    stopTimer(entry)
    self:launch(entry, {}, function() end)
  end)
  entry.pause = math.min(LAST_PAUSE, entry.pause * 3)
end

local function onKeeperGone(self, entry)
  local steady = uv.now() - (entry.keeperSince or 0) > STEADY
  entry.link = nil
  local known = entry.record.keeper
  if entry.ended or entry.record.wanted ~= "running" or entry.record.down then
    entry.ended, entry.record.keeper = nil, nil
    dropSockets(entry)
    return awaitProcess(known, function() settleGone(entry) end)
  end
  settleGone(entry)
  if steady then entry.pause = FIRST_PAUSE end
  entry.status = nil
  onLinkLost(self, entry, known)
end

local function handlersOf(self, entry)
  local made
  local function onCall(name, args, answer, handle)
    if entry.link ~= made and entry.nextLink ~= made then return answer(nil, true) end      -- a keeper that was replaced
    if not entry.record.app and name ~= "socket" and name ~= "released" then
      -- It was found a moment ago; whose it is is not known yet.
      if name ~= "ended" then return answer(nil, true) end
      entry.endedEarly = { status = args, answer = answer }
      return
    end
    if name == "ended" then return onEnded(self, entry, args, answer) end
    local handler = handlers[name]
    if handler then handler(self, entry, args, handle) end
    answer(nil, true)
  end
  local function onClose()
    if entry.link == made then onKeeperGone(self, entry) end
  end
  return onCall, onClose, function(value) made = value end
end

local function spawn(self)
  local log = self.attached and "inherit" or revive.log(self.home)
  local child = child_process.spawn(process.execPath, { "lrun:keeper" }, {
    cwd = "/", detached = not self.attached, env = revive.environment(self.home), serialization = "lua",
    stdio = { "ignore", self.attached and "inherit" or "ignore", log, "ipc" },
  })
  if type(log) == "number" then uv.fs_close(log) end
  return child
end

--- Starts a keeper, which starts the app. callback(err, status) when the app is ready, or is not.
---@param entry table
---@param options { replaces: boolean? } another keeper runs and is to hand over
---@param callback fun(err: table?, status: table?)
function Overseer:launch(entry, options, callback)
  stopTimer(entry)
  local record = entry.record
  local ok, child = pcall(spawn, self)
  if not ok or not child.pid then
    local reason = ok and "" or ": " .. tostring(child)
    if ok then child:on("error", function() end) end
    return callback{ code = "failed", message = "the keeper could not be started" .. reason }
  end
  child:on("error", function() end)
  child:unref()
  local onCall, onClose, set = handlersOf(self, entry)
  local made = link.new(child, onCall, onClose)
  set(made)
  local sweep = not options.replaces and record.mark or nil
  record.mark = newMark()
  local known = identity.of(child.pid)
  if options.replaces then
    entry.nextLink = made
  else
    entry.link, entry.ended = made, nil
    record.keeper = known
    entry.keeperSince = uv.now()
    entry.status = nil
    self.onStatus(entry)
  end
  for key, each in pairs(entry.sockets) do made:call("adopt", { key = key, path = each.path }, nil, each.handle) end
  made:call("begin", {
    app = record.app, id = record.id, home = self.home, mark = record.mark, sweep = sweep, restarts = record.restarts, sink = self.sink,
    attached = self.attached,
  }, function(err, status)
    if not options.replaces then takeStatus(self, entry, status) end
    callback(err, status, made, known)
  end)
end

--- Replaces the keeper of a cluster by a new one, without a lost request.
function Overseer:renew(entry, callback)
  local old = entry.link
  for number, restarts in pairs(entry.record.restarts or {}) do entry.record.restarts[number] = restarts + 1 end
  self:launch(entry, { replaces = true }, function(err, status, made, known)
    entry.nextLink = nil
    if err then
      if made then made:call("stop", { reason = "reload" }, function() made:close() end) end
      return callback(err)
    end
    local former = entry.record.keeper
    entry.link, entry.record.keeper, entry.keeperSince = made, known, uv.now()
    takeStatus(self, entry, status)
    old:call("handOver", {}, function() end)
    awaitProcess(former, function() callback(nil, status) end)
  end)
end

--- Calls the keeper of an entry; callback(err, result).
function Overseer:call(entry, name, args, callback)
  if not entry.link then return callback{ code = "gone", message = ("'%s' does not run"):format(entry.record.app.name) } end
  entry.link:call(name, args, callback)
end

--- Stops an app and waits for its keeper's end.
---@param reason string
---@param killTimeout integer? ms at most
function Overseer:stop(entry, reason, killTimeout, callback)
  stopTimer(entry)
  if not entry.link then
    -- One that lives and was not reached yet goes without being asked; its instances go with it.
    local known = entry.record.keeper
    if known and identity.isAlive(known) then uv.kill(known.pid, "sigkill") end
    entry.record.keeper = nil
    dropSockets(entry)
    entry.status = nil
    return callback()
  end
  entry.whenGone = entry.whenGone or {}
  table.insert(entry.whenGone, callback)
  entry.link:call("stop", { reason = reason, killTimeout = killTimeout }, function() end)
end

--- Connects to a keeper that runs; callback(link?, hello).
function connect(self, name, callback)
  local folder = self.home .. "/keepers"
  home.connect(folder, name, function(pipe, code)
    if not pipe then
      if code == "ECONNREFUSED" or code == "ENOENT" then uv.fs_unlink(folder .. "/" .. name) end
      return callback(nil)
    end
    local entry = self:entry{}
    local onCall, onClose, set = handlersOf(self, entry)
    local made = link.over(pipe, onCall, onClose)
    if not made then return callback(nil) end
    set(made)
    entry.link = made
    local answered = false
    local timer = uv.new_timer()
    local function done(hello)
      if answered then return end
      answered = true
      closeHandle(timer)
      if not hello then made:close() end
      callback(hello and entry, hello)
    end
    timer:start(3000, 0, function() done(nil) end)
    made:call("hello", {}, function(err, hello) done(not err and hello or nil) end)
  end)
end

--- Finds the keepers that run. For each `take(hello)` gives the entry it belongs to, nil to send it away.
---@param take fun(hello: table): table?
---@param callback fun()
function Overseer:find(take, callback)
  local left = 1
  local function done()
    left = left - 1
    if left == 0 then callback() end
  end
  local scan = uv.fs_scandir(self.home .. "/keepers")
  local names = {}
  while scan do
    local name = uv.fs_scandir_next(scan)
    if not name then break end
    if name:find("^%d+%.%d+%.sock$") then names[#names + 1] = name elseif name:find("^%.") then uv.fs_unlink(self.home .. "/keepers/" .. name) end
  end
  for _, name in ipairs(names) do
    left = left + 1
    connect(self, name, function(found, hello)
      if not found then return done() end
      local entry = take(hello)
      if not entry then
        found.link:call("handOver", {}, function() end)
        return done()
      end
      self:adopt(entry, found, hello)
      found.link:call("sockets", {}, function() done() end)
    end)
  end
  done()
end

--- An entry takes over the link to a keeper that was found.
function Overseer:adopt(entry, found, hello)
  -- `found` goes on as the entry that the link's handlers know: what the record was is moved there.
  local record = entry.record
  local whenGone = entry.whenGone
  for key in pairs(entry) do entry[key] = nil end
  for key, value in pairs(found) do entry[key] = value end
  entry.record, entry.whenGone = record, whenGone
  record.keeper, record.mark = identity.of(hello.pid), hello.mark
  entry.version, entry.keeperSince = hello.version, uv.now()
  local made = found.link
  local onCall, onClose, set = handlersOf(self, entry)
  set(made)
  made.onCall, made.onClose = onCall, onClose
  takeStatus(self, entry, hello.status)
  local early = entry.endedEarly
  entry.endedEarly = nil
  if early then onEnded(self, entry, early.status, early.answer) end
end

--- Lets go of all keepers: they go on.
function Overseer:leave(entries, callback)
  local left = 1
  local function done()
    left = left - 1
    if left == 0 then callback() end
  end
  for _, entry in ipairs(entries) do
    if entry.link then
      left = left + 1
      entry.link:call("bye", {}, done)
    end
  end
  done()
end

Overseer.awaitProcess = awaitProcess
Overseer.dropSockets = dropSockets

---@class OverseerOptions
---@field home string LRUN_HOME
---@field attached boolean? keepers end with this process
---@field sink string? where lines go in place of files: "plain", "raw", "json" on standard output
---@field onStatus fun(entry: table)
---@field onEvent fun(entry: table, event: table)
---@field onEnded fun(entry: table, status: table)

--- Makes an overseer.
---@param options OverseerOptions
local function new(options)
  return setmetatable({
    home = options.home, attached = options.attached or false, sink = options.sink,
    onStatus = options.onStatus, onEvent = options.onEvent, onEnded = options.onEnded,
  }, Overseer)
end

return { new = new, awaitProcess = awaitProcess }
