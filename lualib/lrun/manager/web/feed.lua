--- Keeps a model current: asks the daemon every two seconds and hears its events; without a daemon it shows the state files, and goes on
--- when there is one again. For `web` and `monit`.
local uv = require("luv")
local await = require("await")
local client = require("lrun.manager.cli.client")
local models = require("lrun.manager.web.model")
local show = require("lrun.manager.cli.show")

local feed = {}

local function milliseconds()
  local seconds, microseconds = uv.gettimeofday()
  return seconds * 1000 + math.floor(microseconds / 1000)
end

local function connected(self)
  if self.connection and not self.connection.ended then return self.connection end
  local ok, found = pcall(self.run.connect, { start = false })
  self.connection = ok and found or nil
  if self.connection then
    self.connection:stream("events", {}, function(event)
      if self.model:mark(event) then self.onEvent(event) end
    end, function() end)
  end
  return self.connection
end

local function rowsOf(self)
  local connection = connected(self)
  if connection then
    local ok, rows = pcall(connection.call, connection, "list", {})
    if ok then return rows end
  end
  return show.rows((show.fromFiles(self.run.home)))
end

--- Asks once, now.
function feed.refresh(self)
  if self.busy then return end
  self.busy = true
  await.spawn(function()
    local sample = self.model:take(rowsOf(self), milliseconds())
    self.busy = false
    self.onSample(sample)
  end)
end

--- A call of the daemon's; throws as Client:call does.
function feed.call(self, verb, args)
  local connection = connected(self)
  if not connection then error({ code = "no-daemon", message = "no daemon runs", exit = 4 }, 0) end
  return connection:call(verb, args)
end

--- Begins.
---@param options { run: table, onSample: fun(sample: table), onEvent: fun(event: table), every: integer? }
---@return table feed with `model`
function feed.start(options)
  local self = { run = options.run, model = models.new(), onSample = options.onSample, onEvent = options.onEvent }
  self.timer = uv.new_timer()
  self.timer:start(0, options.every or models.STEP, function() feed.refresh(self) end)
  return self
end

feed.sleep = client.sleep

return feed
