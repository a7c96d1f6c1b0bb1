--- The new primary's side of a handover: what the old one left in the environment (LRUN_HANDOVER) and in descriptors.
---   { channel = fd, fromManager = count, sockets = { { fds, kind, key, request, several, serving, own, name }, … } }
--- The handles wait here until a worker (`listeners.inherited`) or a server of this process (`listen.inherited`) asks for
--- them; when all are served the old primary is told `ready`, and when it says `go`, socket files are ours, too.
local bound = require("lrun.net.listen")
local buffers = require("string.buffer")
local common = require("lrun.cluster.common")
local encoding = require("lrun.core.encoding")
local handles = require("lrun.net.handles")
local process = require("process")
local sockets = require("lrun.core.sockets")
local timers = require("timers")
local EventEmitter = require("events").EventEmitter

local inherit = {}

-- ms that as many workers as before may take once there is one for each socket, and that a program without sockets must live.
local GRACE = 1000

local old                   -- the old primary: an emitter with a channel
local left = {}             -- entries that nobody serves yet
local entries = {}
local own = {}              -- key → entries that servers of this process may take
local grace, ready, missingBefore

-- What nobody serves, or fewer than before.
local function unserved(all)
  local list = {}
  local listeners = require("lrun.cluster.listeners")
  for _, entry in ipairs(left) do
    local serving = entry.own and (entry.taken and 1 or 0) or listeners.serving(entry.key)
    if serving < (all and entry.serving or math.min(1, entry.serving)) then list[#list + 1] = entry.name end
  end
  return list
end

local function tellReady()
  if ready then return end
  ready = true
  if grace then timers.clearTimeout(grace) end
  common.send(old, { act = "ready" })
end

--- Something listens: looks whether all that was taken over is served.
function inherit.check()
  if ready or not old or #left == 0 then return end
  local missing = table.concat(unserved(false), ", ")
  if missing ~= missingBefore then
    missingBefore = missing
    common.send(old, { act = "missing", names = missing })
  end
  if missing ~= "" then return end
  if #unserved(true) == 0 then return tellReady() end
  grace = grace or timers.setTimeout(tellReady, GRACE)
end

local function takeOwn(key)
  local entry = own[key] and table.remove(own[key], 1)
  if not entry then return nil end
  entry.taken = true
  process.nextTick(inherit.check)      -- when it listens
  return entry.handles[1]
end

-- The old primary has gone on to its end: the files are ours, and what nobody asked for is closed.
local function onGo()
  for _, entry in ipairs(entries) do
    if entry.path then bound.ownFile(entry.handles[1], entry.path) end
  end
  local listeners = require("lrun.cluster.listeners")
  timers.setTimeout(function()
    local function close(entry)
      for _, handle in ipairs(entry.handles) do bound.close(handle) end
    end
    for key, given in pairs(listeners.inherited) do
      listeners.inherited[key] = nil
      close{ handles = given }
    end
    for _, list in pairs(own) do
      for i = #list, 1, -1 do close(table.remove(list, i)) end
    end
    bound.inherited = nil
  end, listeners.keepFor):unref()
end

local function openEntry(entry)
  entry.handles = {}
  for i, fd in ipairs(entry.fds) do
    sockets.closeOnExec(fd)
    entry.handles[i] = handles.take(entry.kind, fd)
  end
  return #entry.handles == #entry.fds
end

local function adopt(entry)
  if not openEntry(entry) then return end
  entries[#entries + 1] = entry
  if entry.serving > 0 then left[#left + 1] = entry end
  if entry.own then
    own[entry.key] = own[entry.key] or {}
    table.insert(own[entry.key], entry)
    return
  end
  local given = { several = entry.several }
  for i, handle in ipairs(entry.handles) do given[i] = handle end
  require("lrun.cluster.listeners").inherited[entry.key] = given
end

--- Takes over, if this process was started for it. Before the script runs.
function inherit.start()
  local text = process.env.LRUN_HANDOVER
  process.env.LRUN_HANDOVER = nil
  local ok, what = pcall(function() return buffers.decode(encoding.fromBase64(text)) end)
  if not ok or type(what) ~= "table" then error("LRUN_HANDOVER is not what cluster.handover has left", 0) end
  if what.fromManager > 0 then
    process.env.LISTEN_PID, process.env.LISTEN_FDS = process.pid, what.fromManager
    bound.fromManager = what.fromManager
  end
  for _, entry in ipairs(what.sockets) do adopt(entry) end
  bound.inherited = { take = takeOwn }
  old = EventEmitter:new()
  require("lrun.ipc.channel").setup(old, what.channel, { wire = "lua" })
  common.receive(old, function(message) if message.act == "go" then onGo() end end)
  if #left > 0 then process.nextTick(inherit.check) else grace = timers.setTimeout(tellReady, GRACE) end
end

return inherit
