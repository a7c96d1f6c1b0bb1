--- Keys from passwords and other keys. With a callback the work is done by a thread of the pool; arguments are checked before.
local errors = require("errors")
local library = require("lrun.crypto.library")
local validate = require("lrun.check.validate")

local core, checked = library.core, library.checked

local derive = {}

local MOST = 2 ^ 31 - 1             -- rounds

-- The result, or that the callback comes with it.
local function start(callback, f, ...)
  local n = select("#", ...)
  local arguments = { ... }
  if not callback then return checked(f(unpack(arguments, 1, n))) end
  arguments[n + 1] = library.callback(callback)
  f(unpack(arguments, 1, n + 1))
end

local function checkCallback(isSync, callback) return not isSync and validate.func(callback, "callback") or nil end

--- PBKDF2 with HMAC.
function derive.pbkdf2(isSync, password, salt, iterations, keylen, digest, callback)
  callback = checkCallback(isSync, callback)
  validate.string(password, "password")
  validate.string(salt, "salt")
  validate.integer(iterations, "iterations", 1, MOST)
  validate.integer(keylen, "keylen", 0, validate.LONGEST_STRING)
  library.digest(digest, "digest")
  if keylen == 0 then
    if callback then require("process").nextTick(callback, nil, "") end
    return ""
  end
  return start(callback, core.pbkdf2, password, salt, iterations, keylen, digest)
end

local SCRYPT = { { "cost", "N", 16384 }, { "blockSize", "r", 8 }, { "parallelization", "p", 1 } }

-- Each has two names.
local function scryptNumbers(options)
  local numbers = {}
  for i, each in ipairs(SCRYPT) do
    local long, short, default = each[1], each[2], each[3]
    if options[long] ~= nil and options[short] ~= nil then
      error(errors.coded("ERR_INCOMPATIBLE_OPTION_PAIR",
        ('Option "%s" cannot be used in combination with option "%s"'):format(short, long)), 0)
    end
    local name = options[long] == nil and options[short] ~= nil and short or long
    local value = options[name]
    numbers[i] = value == nil and default or validate.integer(value, "options." .. name, 1, 2 ^ 32 - 1)
  end
  numbers[4] = options.maxmem == nil and 32 * 2 ^ 20 or validate.integer(options.maxmem, "options.maxmem", 0)
  return numbers
end

--- scrypt (RFC 7914).
function derive.scrypt(isSync, password, salt, keylen, options, callback)
  if not isSync and type(options) == "function" then options, callback = nil, options end
  callback = checkCallback(isSync, callback)
  validate.string(password, "password")
  validate.string(salt, "salt")
  validate.integer(keylen, "keylen", 0, validate.LONGEST_STRING)
  local n = scryptNumbers(validate.optional(validate.table, options, "options") or {})
  local fits, fault = core.scryptFits(n[1], n[2], n[3], n[4])
  if not fits then
    local why = fault.reason == "memory limit exceeded"
      and ("%s: they need about %.0f bytes, and options.maxmem is %.0f"):format(fault.reason, 128 * n[2] * (n[1] + n[3]), n[4])
      or ("a cost is a power of two greater than 1, and less than 2^(16 * blockSize); this one is %.0f"):format(n[1])
    error(errors.coded("ERR_CRYPTO_INVALID_SCRYPT_PARAMS", "Invalid scrypt params: " .. why), 0)
  end
  return start(callback, core.scrypt, password, salt, keylen, n[1], n[2], n[3], n[4])
end

--- HKDF (RFC 5869).
function derive.hkdf(isSync, digest, ikm, salt, info, keylen, callback)
  callback = checkCallback(isSync, callback)
  local _, size = library.digest(digest, "digest")
  validate.string(ikm, "ikm")
  validate.string(salt, "salt")
  validate.string(info, "info")
  validate.integer(keylen, "keylen", 0, validate.LONGEST_STRING)
  if #info > 1024 then error(errors.outOfRange("info", "at most 1024 bytes", #info), 0) end
  if keylen > 255 * size then
    error(errors.coded("ERR_CRYPTO_INVALID_KEYLEN", ("Invalid key length: %s gives at most %d bytes"):format(digest, 255 * size)), 0)
  end
  if keylen == 0 then
    if callback then require("process").nextTick(callback, nil, "") end
    return ""
  end
  return start(callback, core.hkdf, digest, ikm, salt, info, keylen)
end

return derive
