--- Random numbers of the system's (getrandom). No libcrypto.
local uv = require("luv")
local errors = require("errors")
local process = require("process")
local validate = require("lrun.check.validate")

local random = {}

-- Bytes; throws what the system says.
local function bytes(n)
  local result, _, code = uv.random(n, 0)
  if not result then error(errors.system(code, "getrandom"), 0) end
  return result
end

--- So many bytes, at once or by a thread of the pool.
---@param size integer
---@param callback fun(err: Error?, bytes: string?)?
---@return string?
function random.bytes(size, callback)
  validate.integer(size, "size", 0, validate.LONGEST_STRING)
  validate.optional(validate.func, callback, "callback")
  if not callback then return bytes(size) end
  local ok, _, code = uv.random(size, 0, function(err, result)
    if err then return callback(errors.system(err:match("^[%w_]+") or "EIO", "getrandom")) end
    callback(nil, result)
  end)
  if not ok then error(errors.system(code, "getrandom"), 0) end
end

-- Of 48 bits those that make an equal share for every number; the others are drawn again.
local ALL = 2 ^ 48
local function below(range)
  local limit = ALL - ALL % range
  while true do
    local a, b, c, d, e, f = bytes(6):byte(1, 6)
    local n = ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f
    if n < limit then return n % range end
  end
end

local function isSafe(n) return type(n) == "number" and n == math.floor(n) and math.abs(n) <= 2 ^ 53 - 1 end

--- A number of `min` to `max` - 1.
---@return integer?
function random.int(min, max, callback)
  if max == nil or type(max) == "function" then min, max, callback = 0, min, max end
  if not isSafe(min) then error(errors.argType("min", "a safe integer", min), 0) end
  if not isSafe(max) then error(errors.argType("max", "a safe integer", max), 0) end
  validate.optional(validate.func, callback, "callback")
  if max <= min then error(errors.outOfRange("max", ("greater than the value of \"min\" (%.0f)"):format(min), max), 0) end
  if max - min >= ALL then error(errors.outOfRange("max - min", "< 2^48", max - min), 0) end
  local n = min + below(max - min)
  if not callback then return n end
  process.nextTick(callback, nil, n)
end

local HEX = {}
for i = 0, 255 do HEX[i] = ("%02x"):format(i) end

--- A version 4 UUID.
---@return string
function random.uuid()
  local a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p = bytes(16):byte(1, 16)
  return HEX[a] .. HEX[b] .. HEX[c] .. HEX[d] .. "-" .. HEX[e] .. HEX[f] .. "-" .. HEX[64 + g % 16] .. HEX[h] .. "-"
    .. HEX[128 + i % 64] .. HEX[j] .. "-" .. HEX[k] .. HEX[l] .. HEX[m] .. HEX[n] .. HEX[o] .. HEX[p]
end

return random
