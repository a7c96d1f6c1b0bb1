--- `run` and `dev`: apps in the foreground, for containers. Keepers are children of this process and write lines to its standard output; there
--- is no daemon, no socket and no state. SIGTERM and SIGINT drain, SIGHUP reloads; as process 1 it waits for whatever ends below it.
local uv = require("luv")
local await = require("await")
local apps = require("lrun.manager.cli.apps")
local config = require("lrun.manager.config")
local home = require("lrun.manager.home")
local identity = require("lrun.manager.identity")
local order = require("lrun.manager.order")
local overseers = require("lrun.manager.daemon.overseer")
local signals = require("lrun.host.signals")
local supervise = require("lrun.core.supervise")
local watch = require("lrun.manager.daemon.watch")

local DRAIN = 8000              -- ms

local run = {}

local function usage(text, ...) error({ usage = text:format(...) }, 0) end

local function read(command)
  local words = command.options.words
  if #words ~= 1 then usage("%s: lrun %s CONFIG or FILE", command.verb.name, command.verb.name) end
  if config.isName(words[1]) then return apps.readConfig(words[1], command, command.options.fields) end
  return { apps.fromWord(words[1], command, words[1]) }
end

local function note(self, text)
  if not self.quiet then io.stderr:write("lrun: ", text, "\n") end
end

-- What became of an instance's process that ended by itself.
local function onEvent(self, entry, event)
  if event.event == "exit" then
    self.lastEnd[entry] = event
    if event.reason == "self" then
      note(self, ("%s %d ended with %s"):format(entry.record.app.name, event.number, event.signal or "code " .. tostring(event.code)))
    end
  elseif event.event == "reload" and (event.phase == "done" or event.phase == "stopped") then
    note(self, ("%s: reload %s"):format(entry.record.app.name, event.phase))
  elseif event.event == "restart" and event.delay and event.delay > 0 then
    note(self, ("%s %d is started again in %d ms"):format(entry.record.app.name, event.number, event.delay))
  end
end

local function exitCode(self)
  if self.signalled then return 0 end
  local failed, only = false, nil
  for _, entry in ipairs(self.entries) do
    local event = self.lastEnd[entry]
    local code = event and (event.signal and 128 + (signals.number(event.signal) or 0) or event.code) or 1
    if entry.record.state == "failed" or code ~= 0 then failed = true end
    only = code
  end
  if #self.entries == 1 then return only end
  return failed and 1 or 0
end

local function finish(self)
  local code = exitCode(self)
  -- The keepers' last lines come first: their ends are awaited.
  process.exit(code)
end

local function maybeFinish(self)
  if self.starting then return end
  for _, entry in ipairs(self.entries) do
    if entry.link or entry.timer then return end
  end
  finish(self)
end

local function stopAll(self)
  if self.signalled then return end
  self.signalled = true
  local views = {}
  for i, entry in ipairs(self.entries) do
    entry.record.wanted = "stopped"
    views[i] = { name = entry.record.app.name, after = entry.record.app.after, entry = entry }
  end
  await.spawn(function()
    for _, wave in ipairs(order.reversed(views)) do
      await(function(done)
        local left = #wave
        for _, view in ipairs(wave) do
          self.overseer:stop(view.entry, "stop", DRAIN, function()
            left = left - 1
            if left == 0 then done() end
          end)
        end
      end)
    end
    finish(self)
  end)
end

local function reloadAll(self)
  for _, entry in ipairs(self.entries) do
    if entry.link then entry.link:call("reload", { reason = "reload" }, function(err)
      if err then note(self, ("%s: %s"):format(entry.record.app.name, err.message)) end
    end) end
  end
end

-- Orphans become children of process 1; their ends are nobody else's to notice.
local function reapOrphans(self)
  if process.pid ~= 1 then return end
  local timer = uv.new_timer()
  local function reap()
    local own = {}
    for _, entry in ipairs(self.entries) do if entry.record.keeper then own[entry.record.keeper.pid] = true end end
    for _, pid in ipairs(identity.children(process.pid)) do if not own[pid] then supervise.reap(pid) end end
  end
  local signal = uv.new_signal()
  signal:start("sigchld", function() timer:start(10, 0, reap) end)
  signal:unref()
  timer:unref()
end

local function start(self)
  local views = {}
  for i, entry in ipairs(self.entries) do views[i] = { name = entry.record.app.name, after = entry.record.app.after, entry = entry } end
  for _, wave in ipairs(order.waves(views)) do
    await(function(done)
      local left = #wave
      for _, view in ipairs(wave) do
        self.overseer:launch(view.entry, {}, function(err)
          if err and not self.signalled then note(self, ("%s did not start: %s"):format(view.name, err.message)) end
          local app = view.entry.record.app
          watch.update(view.entry, app.watch ~= false, home.changing(self.overseer.home), function()
            note(self, ("%s: files have changed, it is restarted"):format(app.name))
            if view.entry.link then view.entry.link:call("restart", { reason = "watch" }, function() end) end
          end)
          left = left - 1
          if left == 0 then done() end
        end)
      end
    end)
    if self.signalled then return end
  end
end

local function perform(command, list)
  require("lrun.manager.app").checkOrder(list, function() return false end)
  local options = command.options
  local self = { entries = {}, lastEnd = {}, starting = true, quiet = options.raw or options.json }
  self.overseer = overseers.new{
    home = command.home, attached = true, sink = options.json and "json" or options.raw and "raw" or "plain",
    onStatus = function() end,
    onEvent = function(entry, event) onEvent(self, entry, event) end,
    onEnded = function(entry, status)
      entry.record.state, entry.record.wanted = status.state, "stopped"
      entry.whenGone = entry.whenGone or {}
      table.insert(entry.whenGone, function() maybeFinish(self) end)
    end,
  }
  for i, app in ipairs(list) do
    self.entries[i] = self.overseer:entry{ id = i - 1, app = app, wanted = "running", restarts = {}, restartsTotal = 0 }
  end
  process:on("SIGTERM", function() stopAll(self) end)
  process:on("SIGINT", function() stopAll(self) end)
  process:on("SIGHUP", function() reloadAll(self) end)
  reapOrphans(self)
  start(self)
  self.starting = false
  maybeFinish(self)
  await(function() self.keep = uv.new_timer() self.keep:start(2147483647, 0, function() end) end)
end

function run.run(command) perform(command, read(command)) end

function run.dev(command)
  local list = read(command)
  for _, app in ipairs(list) do
    if app.watch == false then app.watch = true end
  end
  perform(command, list)
end

return run
