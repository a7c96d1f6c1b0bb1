--- Who hears of changes. A process gathers what it has changed in a turn; at the turn's end its own listeners hear of it, and the
--- other processes of the cluster through the primary, which knows who listens to what. Nothing is gathered while nobody
--- listens: a dictionary counts, on its page of notes, the processes that do.
---
--- Messages are internal ones of the channel: `listens` (to the primary: from now on, or no more), `keys` (what was changed), and
--- `opened` (to the primary: there is a folder). They reach `receive` from lrun.cluster.common, also where the program itself
--- has never asked for a dictionary.
local process = require("process")
local timers = require("timers")

local changes = {}

--- The `cmd` of the messages.
changes.COMMAND = "NODE_LRUN_SHARED"

local listeners = {}                 -- file → list of { prefix, f }; what walks one walks the list that was there
local leaving = {}                   -- file → true where this process's exit takes it out of the count
local pending                        -- file → { seen, list } of this turn
local interested = {}                -- in the primary: file → set of the workers' processes that listen

local function wants(prefix, key) return not prefix or type(key) == "string" and key:sub(1, #prefix) == prefix end

local function emit(file, keys)
  for _, listener in ipairs(listeners[file] or {}) do
    local mine = {}
    for _, key in ipairs(keys) do
      if wants(listener.prefix, key) then mine[#mine + 1] = key end
    end
    if #mine > 0 then process.nextTick(listener.f, #mine == 1 and mine[1] or mine) end
  end
end

local function ignore() end          -- a failed write shows as the channel's end

local function send(target, message)
  message.cmd = changes.COMMAND
  if target.connected then target:send(message, nil, nil, ignore) end
end

-- From the primary to those that listen, but for the one that it came from.
local function spread(file, keys, source)
  local targets = interested[file]
  for target in pairs(targets or {}) do
    if not target.connected then targets[target] = nil
    elseif target ~= source then send(target, { file = file, keys = keys }) end
  end
end

local function isWorker()
  local cluster = package.loaded.cluster
  return cluster ~= nil and cluster.isWorker
end

local function flush()
  local turn = pending
  pending = nil
  for file, changed in pairs(turn) do
    emit(file, changed.list)
    if isWorker() then send(process, { file = file, keys = changed.list }) else spread(file, changed.list) end
  end
end

--- A worker has made the folder that is its primary's to remove.
function changes.ask()
  if isWorker() then send(process, { opened = true }) end
end

--- A key was changed here, and somebody listens.
---@param file string the dictionary's
---@param key string|number
function changes.tell(file, key)
  if not pending then
    pending = {}
    timers.setImmediate(flush)
  end
  local changed = pending[file]
  if not changed then
    changed = { seen = {}, list = {} }
    pending[file] = changed
  end
  if changed.seen[key] then return end
  changed.seen[key] = true
  changed.list[#changed.list + 1] = key
end

--- What came over the channel.
---@param source any a worker's process, or `process`
---@param message table
function changes.receive(source, message)
  local file = message.file
  if message.opened then return require("lrun.shared.place").own() end
  if message.listens ~= nil then
    interested[file] = interested[file] or {}
    interested[file][source] = message.listens or nil
  elseif type(message.keys) == "table" then
    emit(file, message.keys)
    if not isWorker() then spread(file, message.keys, source) end
  end
end

-- The first listener of this process comes, or the last one goes.
local function announce(file, core, listens)
  core:listen(listens and 1 or -1)
  if isWorker() then send(process, { file = file, listens = listens }) end
end

--- Adds a listener. What is counted goes with the process's exit; one that is killed is counted on, which costs the others a
--- message now and then.
---@param file string
---@param core userdata the dictionary
---@param prefix string?
---@param f function
function changes.listen(file, core, prefix, f)
  local list = {}
  for i, listener in ipairs(listeners[file] or {}) do list[i] = listener end
  list[#list + 1] = { prefix = prefix, f = f }
  listeners[file] = list
  if #list > 1 then return end
  announce(file, core, true)
  if leaving[file] then return end     -- once a dictionary: each would count one less
  leaving[file] = true
  process:on("exit", function() if listeners[file] then core:listen(-1) end end)
end

--- Takes a listener away.
---@param file string
---@param core userdata
---@param f function
function changes.forget(file, core, f)
  local list = {}
  for _, listener in ipairs(listeners[file] or {}) do
    if listener.f ~= f then list[#list + 1] = listener end
  end
  if not listeners[file] then return end
  listeners[file] = #list > 0 and list or nil
  if #list == 0 then announce(file, core, false) end
end

return changes
