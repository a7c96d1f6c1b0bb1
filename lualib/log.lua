--- A log: lines with a time, a level, who wrote them, and fields. Text on a terminal, else JSON, on standard error. It never throws and
--- never waits for whoever reads it.
local colors = require("lrun.host.colors")
local format = require("lrun.log.format")
local sink = require("lrun.log.sink")
local uv = require("luv")

local LEVELS = { debug = 1, info = 2, warn = 3, error = 4 }

local threshold, asJson = LEVELS.info, uv.guess_handle(2) ~= "tty"
for word in (os.getenv("LRUN_LOG") or ""):gmatch("[^%s,]+") do
  if LEVELS[word] then threshold = LEVELS[word] elseif word == "json" then asJson = true elseif word == "text" then asJson = false end
end
local colored = colors.wanted(2)

local function now()
  local seconds, micros = uv.gettimeofday()
  return ("%s.%03dZ"):format(os.date("!%Y-%m-%dT%H:%M:%S", seconds), math.floor(micros / 1000))
end

local function worker()
  local cluster = package.loaded.cluster
  return cluster and cluster.isWorker and cluster.worker.id or nil
end

local function write(level, text, own, fields)
  local all = {}
  for key, value in pairs(own) do all[key] = value end
  if type(fields) == "table" then
    for key, value in pairs(fields) do all[key] = value end
  elseif fields ~= nil then
    all.value = fields
  end
  local entry = {
    time = now(), level = level, process = uv.os_getpid(), worker = worker(), text = tostring(text), fields = all,
  }
  sink.write(asJson and format.json(entry) or format.text(entry, colored))
end

sink.onLoss(function(n)
  local entry = {
    time = now(), level = "warn", process = uv.os_getpid(), worker = worker(), text = n .. " lines were lost", fields = { lost = n },
  }
  return asJson and format.json(entry) or format.text(entry, colored)
end)

-- The functions of a log whose lines have the fields `own`, too, into the table `log`. What goes wrong in them, a `__tostring` that
-- throws for one, is nobody's business.
local function make(own, log)
  for level, rank in pairs(LEVELS) do
    log[level] = function(text, fields, more)
      if rank < threshold then return end
      if rawequal(text, log) then text, fields = fields, more end    -- a colon does no harm
      if not pcall(write, level, text, own, fields) then pcall(write, level, text, own) end
    end
  end
  function log.child(fields, more)
    if rawequal(fields, log) then fields = more end
    local all = {}
    for key, value in pairs(own) do all[key] = value end
    for key, value in pairs(type(fields) == "table" and fields or {}) do all[key] = value end
    return make(all, {})
  end
  return log
end

-- What follows stands for what `make` puts in its place: annotations are read from here.
---@class log
local log = {}

--- Writes a line of level debug, which is left out unless LRUN_LOG says `debug`.
---@param text any
---@param fields table? what belongs to it, by name
function log.debug(text, fields) return text, fields end

--- Writes a line.
---@param text any
---@param fields table?
function log.info(text, fields) return text, fields end

--- Writes a line of level warn.
---@param text any
---@param fields table?
function log.warn(text, fields) return text, fields end

--- Writes a line of level error.
---@param text any
---@param fields table?
function log.error(text, fields) return text, fields end

--- A log whose lines have these fields, too, with the same functions.
---@param fields table
---@return log
function log.child(fields) return fields end

return make({}, log)
