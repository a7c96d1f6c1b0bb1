--- Signals by name and by number.
local errors = require("errors")

local signals = {}

local numbers                       -- "SIGTERM" → 15
local names                         -- 15 → "SIGTERM"

local function load()
  numbers, names = require("lrun.core.system").signals(), {}
  for name, number in pairs(numbers) do
    -- Of two names for one number Node shows the older one.
    if not names[number] or name == "SIGABRT" or name == "SIGCHLD" or name == "SIGIO" then names[number] = name end
  end
end

--- All names and their numbers.
---@return table<string, integer>
function signals.all()
  if not numbers then load() end
  return numbers
end

--- The number of a signal given by name (any case, as in Node) or number; throws ERR_UNKNOWN_SIGNAL.
---@param signal string|integer
---@param name string the argument's name
---@param zero boolean? 0 is allowed, which only tests
---@return integer
function signals.number(signal, name, zero)
  if not numbers then load() end
  if type(signal) == "number" then
    if names[signal] or zero and signal == 0 then return signal end
  elseif type(signal) == "string" then
    local number = numbers[signal] or numbers[signal:upper()]
    if number then return number end
  else
    error(errors.argType(name, "string or number", signal), 0)
  end
  error(errors.coded("ERR_UNKNOWN_SIGNAL", "Unknown signal: " .. tostring(signal)), 0)
end

--- The name of a signal's number, such as "SIGTERM"; nil for an unknown one.
---@param number integer
---@return string?
function signals.name(number)
  if not numbers then load() end
  return names[number]
end

return signals
