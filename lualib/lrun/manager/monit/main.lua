--- `monit`: the terminal monitor. Owns the terminal (raw keys, the alternate screen) until it ends, by q, Ctrl-C or a signal; then the terminal
--- is as it was. Redraws the lines that changed.
local uv = require("luv")
local await = require("await")
local feed = require("lrun.manager.web.feed")
local screen = require("lrun.manager.monit.screen")
local sockets = require("lrun.core.sockets")

local monit = {}

local LOG_LINES = 200

local function isColored()
  local env = process.env
  if env.NO_COLOR and env.NO_COLOR ~= "" then return false end
  return env.TERM ~= "dumb" and env.TERM ~= "vt100"
end

local function size()
  local columns, rows = sockets.windowSize(1)
  if not columns or columns == 0 then columns, rows = 80, 24 end
  return rows, columns
end

local function write(text)
  sockets.writeAll(1, text)
end

local function draw(self)
  local rows, columns = size()
  local entries = screen.entries(self.feed and self.feed.model.apps or {})
  self.chosen = math.max(1, math.min(self.chosen, math.max(1, #entries)))
  local room = screen.room(rows)
  if self.chosen < self.top then self.top = self.chosen end
  if self.chosen > self.top + room - 1 then self.top = self.chosen - room + 1 end
  self.top = math.max(1, math.min(self.top, math.max(1, #entries - room + 1)))
  local lines = screen.lines{
    apps = self.feed and self.feed.model.apps or {}, chosen = self.chosen, top = self.top, log = self.log, message = self.message, rows = rows,
    columns = columns, colored = self.colored,
  }
  if rows ~= self.rows or columns ~= self.columns then
    self.rows, self.columns, self.shown = rows, columns, {}
    write("\27[2J")
  end
  write(screen.difference(self.shown, lines))
  self.shown = lines
end

-- Draws once in a turn of the loop, however much has changed.
local function drawSoon(self)
  if self.drawing then return end
  self.drawing = true
  process.nextTick(function()
    self.drawing = false
    if not self.ended then draw(self) end
  end)
end

-- The log of the chosen instance.
local function followLog(self)
  local entries = screen.entries(self.feed.model.apps)
  local entry = entries[self.chosen]
  local key = entry and ("%d:%d"):format(entry.app.id, entry.instance.number) or ""
  if key == self.logOf then return end
  self.logOf = key
  if self.stopLog then self.stopLog() end
  self.stopLog, self.log = nil, {}
  if not entry then return end
  await.spawn(function()
    local ok, documents = pcall(feed.call, self.feed, "show", { targets = { "#" .. entry.app.id } })
    if not ok then
      local show = require("lrun.manager.cli.show")
      local all = show.fromFiles(self.run.home)
      documents = require("lrun.manager.targets").match(all, "#" .. entry.app.id)
    end
    if self.logOf ~= key or self.ended then return end
    self.stopLog = require("lrun.manager.web.logs").follow(documents, function(line)
      if line.instance ~= entry.instance.number and not documents[1].mergeLogs then return end
      self.log[#self.log + 1] = line.line
      if #self.log > LOG_LINES then table.remove(self.log, 1) end
      drawSoon(self)
    end)
    drawSoon(self)
  end)
end

local function finish(self, code)
  if self.ended then return end
  self.ended = true
  self.tty:set_mode(0)
  write("\27[?25h\27[?1049l")
  process.exit(code)
end

local function act(self, verb)
  local entry = screen.entries(self.feed.model.apps)[self.chosen]
  if not entry then return end
  self.message = ("%s %s …"):format(verb, entry.app.name)
  drawSoon(self)
  await.spawn(function()
    local ok, err = pcall(feed.call, self.feed, verb, { targets = { "#" .. entry.app.id } })
    self.message = not ok and type(err) == "table" and err.message:match("[^\n]*") or nil
    feed.refresh(self.feed)
    drawSoon(self)
  end)
end

local function move(self, by)
  self.chosen = self.chosen + by
  draw(self)
  followLog(self)
end

local KEYS = {
  ["\27[A"] = function(self) move(self, -1) end, ["\27[B"] = function(self) move(self, 1) end,
  ["\27OA"] = function(self) move(self, -1) end, ["\27OB"] = function(self) move(self, 1) end,
  ["\27[5~"] = function(self) move(self, -screen.room(self.rows)) end, ["\27[6~"] = function(self) move(self, screen.room(self.rows)) end,
  ["\27[H"] = function(self) move(self, -1e6) end, ["\27[F"] = function(self) move(self, 1e6) end,
  k = function(self) move(self, -1) end, j = function(self) move(self, 1) end,
  r = function(self) act(self, "restart") end, l = function(self) act(self, "reload") end, s = function(self) act(self, "stop") end,
  q = function(self) finish(self, 0) end, ["\3"] = function(self) finish(self, 0) end,
  ["\12"] = function(self) self.shown = {} write("\27[2J") draw(self) end,
}

local function onKeys(self, data)
  while data ~= "" do
    local key = data:match("^\27[%[O][%d;]*[%a~]") or data:sub(1, 1)
    data = data:sub(#key + 1)
    local action = KEYS[key]
    if action then action(self) end
  end
end

--- Runs until it is ended.
function monit.monit(run)
  if uv.guess_handle(0) ~= "tty" or uv.guess_handle(1) ~= "tty" then
    error({ usage = "monit needs a terminal; lrun list --json or lrun web --help are for programs" }, 0)
  end
  local self = { run = run, chosen = 1, top = 1, log = {}, shown = {}, colored = isColored(), rows = 0, columns = 0 }
  self.tty = uv.new_tty(0, true)
  self.tty:set_mode(1)
  write("\27[?1049h\27[?25l\27[2J")
  self.feed = feed.start{
    run = run,
    onSample = function()
      drawSoon(self)
      followLog(self)
    end,
    onEvent = function() feed.refresh(self.feed) end,
  }
  draw(self)
  self.tty:read_start(function(err, data)
    if err or not data then return finish(self, 0) end
    onKeys(self, data)
  end)
  process:on("SIGWINCH", function() drawSoon(self) end)
  for _, signal in ipairs{ "SIGTERM", "SIGINT", "SIGHUP" } do process:on(signal, function() finish(self, 0) end) end
  await(function(done) self.done = done end)
end

return monit
