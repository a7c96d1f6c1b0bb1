--- What one-shot functions and streams share: the formats, their options, checked, and errors as Node words them.
local constants = require("lrun.zlib.constants")
local core = require("lrun.core.zlib")
local errors = require("errors")
local validate = require("lrun.check.validate")

local coding = {}

-- The numbers that a format's library has for: go on, give out what there is, the same so that reading can start there, end.
local ZLIB = {
  none = constants.Z_NO_FLUSH, sync = constants.Z_SYNC_FLUSH, full = constants.Z_FULL_FLUSH, finish = constants.Z_FINISH,
  mostFlush = constants.Z_BLOCK,
}
local BROTLI = {
  none = 0, sync = constants.BROTLI_OPERATION_FLUSH, full = constants.BROTLI_OPERATION_FLUSH,
  finish = constants.BROTLI_OPERATION_FINISH, mostFlush = 3,
}
local ZSTD = { none = 0, sync = constants.ZSTD_e_flush, full = constants.ZSTD_e_flush, finish = constants.ZSTD_e_end, mostFlush = 2 }

local function format(name, family, decodes, leastWindow)
  return { number = core.formats[name], family = family, decodes = decodes, leastWindow = leastWindow }
end

--- By the name of its function: `number` (the core's), `family`, `decodes`.
coding.formats = {
  gzip = format("gzip", ZLIB, false, 9), gunzip = format("gunzip", ZLIB, true, 8), unzip = format("unzip", ZLIB, true, 8),
  deflate = format("deflate", ZLIB, false, 8), inflate = format("inflate", ZLIB, true, 8),
  deflateRaw = format("deflateRaw", ZLIB, false, 8), inflateRaw = format("inflateRaw", ZLIB, true, 8),
  brotliCompress = format("brotliCompress", BROTLI, false), brotliDecompress = format("brotliDecompress", BROTLI, true),
  zstdCompress = format("zstdCompress", ZSTD, false), zstdDecompress = format("zstdDecompress", ZSTD, true),
}

-- Output that a program did not bound: what a string can be without trouble.
local DEFAULT_MOST = 2 ^ 30

local function integer(options, name, default, min, max)
  local value = options[name]
  if value == nil then return default end
  return validate.integer(value, "options." .. name, min, max)
end

local function checkParams(params)
  for name, value in pairs(params) do
    if type(name) ~= "number" then error(errors.coded("ERR_BROTLI_INVALID_PARAM",
      ("The key '%s' of options.params is not valid: they are numbers, such as zlib.constants.BROTLI_PARAM_QUALITY"):format(
        tostring(name))), 0) end
    if type(value) ~= "number" and type(value) ~= "boolean" then
      error(errors.argType(("options.params[%d]"):format(name), "number", value), 0)
    end
  end
end

local function readParams(params)
  if params == nil then return nil end
  validate.table(params, "options.params")
  checkParams(params)
  local numbers = {}
  for name, value in pairs(params) do numbers[name] = value == true and 1 or value == false and 0 or value end
  return numbers
end

--- The options of a format, checked and with their defaults.
---@param kind table of coding.formats
---@param options table?
---@return table
function coding.options(kind, options)
  options = validate.optional(validate.table, options, "options") or {}
  local family = kind.family
  local most = options.maxOutputLength
  if most ~= nil then
    validate.number(most, "options.maxOutputLength")
    if most ~= most or most < 1 or most == math.huge then
      error(errors.outOfRange("options.maxOutputLength", ">= 1 and finite", most), 0)
    end
  end
  return {
    chunkSize = integer(options, "chunkSize", constants.Z_DEFAULT_CHUNK, constants.Z_MIN_CHUNK, 2 ^ 30),
    flush = integer(options, "flush", family.none, 0, family.mostFlush),
    finishFlush = integer(options, "finishFlush", family.finish, 0, family.mostFlush),
    maxOutputLength = math.min(most or DEFAULT_MOST, 2 ^ 53),
    bounded = most ~= nil,
    level = integer(options, "level", constants.Z_DEFAULT_LEVEL, -1, 9),
    memLevel = integer(options, "memLevel", constants.Z_DEFAULT_MEMLEVEL, 1, 9),
    strategy = integer(options, "strategy", constants.Z_DEFAULT_STRATEGY, 0, constants.Z_FIXED),
    windowBits = kind.leastWindow
      and integer(options, "windowBits", constants.Z_DEFAULT_WINDOWBITS, kind.decodes and 0 or kind.leastWindow, 15) or 0,
    dictionary = validate.optional(validate.string, options.dictionary, "options.dictionary"),
    params = readParams(options.params),
  }
end

--- The error of what the core returned: nil, code, number, message.
---@return Error
function coding.failure(options, code, number, message)
  if code == "ERR_BUFFER_TOO_LARGE" then
    return errors.coded(code, ("Cannot create a Buffer larger than %.0f bytes"):format(options.maxOutputLength))
  end
  return errors.coded(code, message, { errno = number })
end

--- A decoder's input ended within what it reads.
---@return Error
function coding.cut() return errors.coded("Z_BUF_ERROR", "unexpected end of file", { errno = constants.Z_BUF_ERROR }) end

--- A coder of the format. Throws what its library says to the options.
---@param kind table
---@param options table of coding.options
---@return userdata
function coding.open(kind, options)
  local coder, code, number, message = core.new(kind.number, options)
  if not coder then error(coding.failure(options, code, number, message), 0) end
  return coder
end

--- Whether the end of the input must be the end of what is read.
---@return boolean
function coding.mustBeWhole(kind, options) return kind.decodes and options.finishFlush == kind.family.finish end

return coding
