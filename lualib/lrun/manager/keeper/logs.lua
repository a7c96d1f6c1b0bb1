--- What becomes of an app's output: read from the instances, cut into lines, written as the app wants it, into files or to this
--- process's own standard output (`lrun run`). Keeps the last words on standard error of each instance.
local uv = require("luv")
local wire = require("lrun.manager.wire")
local json = require("json")
local lines = require("lrun.manager.lines")
local logFile = require("lrun.manager.keeper.logfile")

local TAIL = 4096               -- bytes of an instance's standard error that are kept

local Logs = {}
Logs.__index = Logs

local function milliseconds()
  local seconds, microseconds = uv.gettimeofday()
  return seconds * 1000 + math.floor(microseconds / 1000)
end

local function timestamp()
  local seconds, microseconds = uv.gettimeofday()
  return os.date("!%Y-%m-%dT%H:%M:%S", seconds) .. (".%03dZ"):format(math.floor(microseconds / 1000))
end

-- `logs/app-out.log` of instance 2 → `logs/app-out-2.log`; the first instance has the plain name.
local function numbered(path, number)
  if number == 0 or path:find("^/dev/") then return path end
  local stem, ending = path:match("^(.*[^/])(%.[^./]*)$")
  return ("%s-%d%s"):format(stem or path, number, ending or "")
end

--- The files of an instance.
---@param app table
---@param home string
---@param number integer
---@return { out: string, err: string, log: string? }
local function paths(app, home, number)
  local found = {
    out = app.out or ("%s/logs/%s-out.log"):format(home, app.name),
    err = app.err or ("%s/logs/%s-error.log"):format(home, app.name),
    log = app.log,
  }
  if not app.mergeLogs then
    for stream, path in pairs(found) do found[stream] = numbered(path, number) end
  end
  return found
end

-- Formatting ----------------------------------------------------------------------------------------------------------

local function eachLine(text, format)
  return (text:gsub("([^\n]*)\n", format))
end

local function jsonLine(self, number, stream, line)
  return wire.encode{ time = milliseconds(), app = self.app.name, instance = number, stream = stream, line = wire.utf8(line) }
end

local function formatted(self, number, stream, text)
  if self.app.logFormat == "json" then
    return eachLine(text, function(line) return jsonLine(self, number, stream, line) end)
  end
  if not self.app.time then return text end
  local now = timestamp() .. " "
  return eachLine(text, function(line) return now .. line .. "\n" end)
end

-- To the standard output of `run`.
local function shown(self, number, stream, text)
  if self.sink == "raw" then return text end
  if self.sink == "json" or self.app.logFormat == "json" then
    return eachLine(text, function(line) return jsonLine(self, number, stream, line) end)
  end
  local label = ("%s %d | "):format(self.app.name, number)
  if self.app.time then label = timestamp() .. " " .. label end
  return eachLine(text, function(line) return label .. line .. "\n" end)
end

-- Files ---------------------------------------------------------------------------------------------------------------

local function file(self, path)
  local found = self.files[path]
  if found then return found end
  local inHome = path:sub(1, #self.home + 1) == self.home .. "/"
  found = logFile{
    path = path, mode = inHome and 384 or 416, limit = self.app.logSize, keep = self.app.logKeep,
    note = function(lost)
      local text = ("lrun: %d lines were lost: the log could not be written"):format(lost)
      return formatted(self, 0, "err", text .. "\n")
    end,
  }
  self.files[path] = found
  return found
end

local function deliver(self, number, stream, text)
  if stream == "err" then
    local tail = (self.tails[number] or "") .. (#text > TAIL and text:sub(-TAIL) or text)
    self.tails[number] = #tail > TAIL and tail:sub(-TAIL) or tail
  end
  if self.sink then return self.write(shown(self, number, stream, text)) end
  local places = self:paths(number)
  local whole = formatted(self, number, stream, text)
  file(self, places[stream]):write(whole)
  if places.log then file(self, places.log):write(whole) end
end

--- The files of an instance.
function Logs:paths(number)
  local found = self.places[number]
  if not found then
    found = paths(self.app, self.home, number)
    self.places[number] = found
  end
  return found
end

--- Follows a stream of an instance to its end.
---@param number integer
---@param stream "out"|"err"
---@param readable Readable
function Logs:follow(number, stream, readable)
  local cutter = lines.cutter()
  readable:on("data", function(data)
    local whole = cutter.feed(data)
    if whole then deliver(self, number, stream, whole) end
  end)
  readable:once("close", function()
    local rest = cutter.rest()
    if rest then deliver(self, number, stream, rest) end
  end)
  readable:on("error", function() end)
end

--- The last words of an instance on standard error; they are forgotten when it starts anew.
function Logs:tail(number) return self.tails[number] or "" end
function Logs:forgetTail(number) self.tails[number] = nil end

--- Lines that could not be written.
function Logs:lost()
  local count = self.lostBefore
  for _, each in pairs(self.files) do count = count + each.lost end
  return count
end

local function each(self, method)
  for _, one in pairs(self.files) do one[method](one) end
end

--- Empties the files of `count` instances.
function Logs:empty(count)
  for number = 0, count - 1 do
    for _, path in pairs(self:paths(number)) do file(self, path) end
  end
  each(self, "empty")
end

function Logs:reopen() each(self, "reopen") end

function Logs:close()
  self.lostBefore = self:lost()
  each(self, "close")
  self.files = {}
end

--- The app's fields have changed: other files, another format.
function Logs:configure(app)
  self:close()
  self.app, self.places = app, {}
end

local function new(options)
  return setmetatable({
    app = options.app, home = options.home, sink = options.sink, write = options.write,
    files = {}, places = {}, tails = {}, lostBefore = 0,
  }, Logs)
end

return { new = new, paths = paths, decode = json.decode }
