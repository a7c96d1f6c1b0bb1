--- The apps that the daemon knows: entries (see overseer.lua) by name, their ids, and their state files, which are written when
--- something has changed: definitions at once, counters a moment later, together.
local uv = require("luv")
local home = require("lrun.manager.home")
local identity = require("lrun.manager.identity")
local overseers = require("lrun.manager.daemon.overseer")
local schedule = require("lrun.manager.daemon.schedule")
local state = require("lrun.manager.state")
local watch = require("lrun.manager.daemon.watch")

local LATER = 300               -- ms

local Registry = {}
Registry.__index = Registry

--- All entries, in order of their ids.
function Registry:list()
  local list = {}
  for _, entry in pairs(self.byName) do list[#list + 1] = entry end
  table.sort(list, function(a, b) return a.record.id < b.record.id end)
  return list
end

function Registry:find(name) return self.byName[name] end

--- What targets are matched with.
function Registry:views()
  local views = {}
  for i, entry in ipairs(self:list()) do
    local app = entry.record.app
    views[i] = { id = entry.record.id, name = app.name, namespace = app.namespace, entry = entry }
  end
  return views
end

--- Whether a keeper runs, or is about to.
function Registry.runs(entry) return entry.link ~= nil or entry.timer ~= nil end

local function logPaths(self, entry)
  local list = home.changing(self.home)
  local paths = require("lrun.manager.keeper.logs").paths
  for number = 0, entry.record.app.instances - 1 do
    for _, path in pairs(paths(entry.record.app, self.home, number)) do list[#list + 1] = path end
  end
  if entry.record.app.pidFile then list[#list + 1] = entry.record.app.pidFile end
  return list
end

--- Schedules and watches follow what the app is. A stop does not forget them.
function Registry:follow(entry)
  local wanted = entry.record.wanted == "running" and not entry.record.down and self.byName[entry.record.app.name] == entry
  schedule.update(entry, wanted and entry.link ~= nil, function() self.onDue(entry, "cron") end)
  watch.update(entry, wanted and entry.link ~= nil, entry.record.app.watch and logPaths(self, entry) or {}, function() self.onDue(entry,
    "watch") end)
end

--- Writes the state file. Returns the reason when that cannot be done; it is tried again then.
---@return string? problem
function Registry:save(entry)
  if self.byName[entry.record.app.name] ~= entry then return end
  self.dirty[entry] = nil
  local ok, code = state.write(self.home, entry.record)
  self:follow(entry)
  if ok then return end
  self:saveLater(entry)
  return ("the state file of '%s' cannot be written: %s"):format(entry.record.app.name, tostring(code))
end

--- Writes it a moment later.
function Registry:saveLater(entry)
  self.dirty[entry] = true
  if self.timer:is_active() then return end
  self.timer:start(LATER, 0, function() self:saveAll() end)
end

--- Writes what has changed. Returns the first reason when something cannot be written.
---@return string? problem
function Registry:saveAll()
  local dirty, problem = self.dirty, nil
  self.dirty = {}
  for entry in pairs(dirty) do problem = self:save(entry) or problem end
  return problem
end

local function nextId(self)
  local id = 0
  for _, entry in pairs(self.byName) do id = math.max(id, entry.record.id + 1) end
  return id
end

--- A new app.
function Registry:add(app)
  local entry = self.overseer:entry{ id = nextId(self), app = app, wanted = "stopped", restarts = {}, restartsTotal = 0 }
  self.byName[app.name] = entry
  return entry
end

--- Forgets an app.
function Registry:remove(entry)
  local name = entry.record.app.name
  self.byName[name] = nil
  self.dirty[entry] = nil
  self:follow(entry)
  state.remove(self.home, name)
end

--- Gives an app another name.
function Registry:rename(entry, name)
  local before = entry.record.app.name
  self.byName[before] = nil
  entry.record.app.name = name
  self.byName[name] = entry
  local problem = self:save(entry)
  if not problem then state.remove(self.home, before) end
  return problem
end

-- Another boot: what ran then does not run now, until `resurrect`.
local function afterBoot(record)
  if record.wanted == "running" and record.boot ~= identity.boot() then record.down, record.keeper = true, nil end
end

-- One table for equal environments: most apps were started from the same one.
local function shared(bases, env)
  if type(env) ~= "table" then return env end
  local pairsOf = {}
  for name, value in pairs(env) do pairsOf[#pairsOf + 1] = name .. "=" .. tostring(value) end
  table.sort(pairsOf)
  local key = table.concat(pairsOf, "\0")
  bases[key] = bases[key] or env
  return bases[key]
end

--- Reads the state files. Returns warnings.
---@return string[]
function Registry:load()
  local records, warnings = state.readAll(self.home, true)
  local ids, bases = {}, {}
  for _, record in ipairs(records) do
    afterBoot(record)
    record.app.base = shared(bases, record.app.base)
    if ids[record.id] then record.id = nextId(self) end
    ids[record.id] = true
    self.byName[record.app.name] = self.overseer:entry(record)
  end
  return warnings
end

--- The entry that a keeper which was found belongs to; nil when its app is not to run.
function Registry:claim(hello)
  local entry = self.byName[hello.name]
  if not entry then
    -- Its state file is lost, the app is not: the keeper knows it whole.
    entry = self:add(hello.app)
    entry.record.id = hello.id
    entry.record.wanted = "running"
    for _, other in pairs(self.byName) do
      if other ~= entry and other.record.id == hello.id then entry.record.id = nextId(self) end
    end
    self.recovered[#self.recovered + 1] = ("warning: the state file of '%s' was lost; it was written anew from its keeper"):format(hello.name)
  end
  if entry.link then return nil end
  local known = entry.record.keeper
  if known and known.pid ~= hello.pid and identity.isAlive(known) then return nil end
  return entry
end

local function new(options)
  local self = setmetatable({ home = options.home, byName = {}, dirty = {}, recovered = {}, timer = uv.new_timer(), onDue = options.onDue },
    Registry)
  self.overseer = overseers.new{
    home = options.home,
    onStatus = function(entry)
      entry.record.boot = identity.boot()
      self:follow(entry)
      self:saveLater(entry)
      options.onStatus(entry)
    end,
    onEvent = options.onEvent,
    onEnded = function(entry, status)
      local record = entry.record
      record.state, record.reason = status.state, status.reason
      if record.wanted == "running" and not record.down then record.wanted = "stopped" end
      self:save(entry)
    end,
  }
  return self
end

return { new = new }
