--- What the page and the monitor show: the apps now, and of each instance the figures of the last ten minutes, with marks for what happened.
--- Plain values in and out: fed with the entries of `list` and with events.
local model = {}

model.STEP = 2000               -- ms between samples
model.KEPT = 300                -- samples: ten minutes
local MARKS = 500

local Model = {}
Model.__index = Model

local SHOWN = { restart = true, reload = true, failed = true, exit = true, stopped = true, online = true }

-- Requests a second since the sample before.
local function rate(before, now, requests)
  if not before or not requests or not before.requests or requests < before.requests or now <= before.time then return requests and 0 or nil end
  return math.floor((requests - before.requests) / (now - before.time) * 10000 + 0.5) / 10
end

--- Takes the entries of `list`.
---@param rows table[]
---@param now number ms
---@return table sample what has been added: { time, apps }
function Model:take(rows, now)
  local seen, apps = {}, {}
  for i, app in ipairs(rows) do
    local total = { cpu = 0, memory = 0, connections = nil, rps = nil, lag = nil }
    local instances = {}
    for j, each in ipairs(app.instances) do
      local key = app.id .. ":" .. each.number
      seen[key] = true
      local before = self.last[key]
      if before and before.pid ~= each.pid then before = nil end
      local rps = rate(before, now, each.requests)
      self.last[key] = { pid = each.pid, requests = each.requests, time = now }
      total.cpu = total.cpu + (each.cpu or 0)
      total.memory = total.memory + (each.memory or 0)
      if each.connections then total.connections = (total.connections or 0) + each.connections end
      if rps then total.rps = (total.rps or 0) + rps end
      if each.lag then total.lag = math.max(total.lag or 0, each.lag) end
      instances[j] = { number = each.number, pid = each.pid, state = each.state, restarts = each.restarts, uptime = each.uptime, cpu = each.cpu,
        memory = each.memory, connections = each.connections, requests = each.requests, rps = rps, lag = each.lag }
    end
    apps[i] = { id = app.id, name = app.name, namespace = app.namespace, mode = app.mode, state = app.state, restarts = app.restarts,
      uptime = app.uptime, total = total, instances = instances }
    local history = self.history[app.id] or {}
    self.history[app.id] = history
    history[#history + 1] = { time = now, cpu = total.cpu, memory = total.memory, connections = total.connections, rps = total.rps,
      lag = total.lag }
    if #history > model.KEPT then table.remove(history, 1) end
    seen[app.id] = true
  end
  for key in pairs(self.last) do if not seen[key] then self.last[key] = nil end end
  for id in pairs(self.history) do if not seen[id] then self.history[id] = nil end end
  self.apps = apps
  return { time = now, apps = apps }
end

--- Takes an event; returns whether it is a mark.
---@param event table
---@return boolean
function Model:mark(event)
  if not SHOWN[event.event] or not event.id then return false end
  self.marks[#self.marks + 1] = { id = event.id, time = event.time, event = event.event, number = event.number, phase = event.phase,
    reason = event.reason, code = event.code, signal = event.signal }
  if #self.marks > MARKS then table.remove(self.marks, 1) end
  return true
end

--- An empty model.
function model.new()
  return setmetatable({ apps = {}, history = {}, last = {}, marks = {} }, Model)
end

return model
