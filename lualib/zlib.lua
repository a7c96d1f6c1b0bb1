--- Compression: gzip, deflate, brotli and zstd, by Node's names. Source: Node 20 (zstd: Node 22).
local calls = require("lrun.check.calls")
local coding = require("lrun.zlib.coding")
local core = require("lrun.core.zlib")
local errors = require("errors")
local timers = require("timers")
local validate = require("lrun.check.validate")
local streams = require("lrun.zlib.stream")

---@class ZlibOptions
---@field level integer? 0 to 9; -1, the default, is 6
---@field windowBits integer? 8 to 15
---@field memLevel integer? 1 to 9; 8
---@field strategy integer? of `zlib.constants`
---@field dictionary string? that both sides know
---@field chunkSize integer? bytes of a stream's pieces, 16384
---@field flush integer? what a stream does after each write: `Z_NO_FLUSH`
---@field finishFlush integer? what is done at the end: `Z_FINISH`; `Z_SYNC_FLUSH` takes what is cut off
---@field maxOutputLength integer? bytes that may come out, 2^30 for functions; more is `ERR_BUFFER_TOO_LARGE`
---@field params table<integer, integer>? of brotli and zstd

---@class zlib
---@field constants table<string, integer>
---@field Zlib Zlib what all streams inherit from
local zlib = { constants = require("lrun.zlib.constants"), Zlib = streams.Zlib }

local SLICE = 64 * 1024              -- bytes that are taken in one turn of the loop

local function checkData(data, name)
  if type(data) == "string" then return data end
  local err = errors.argType("data", "string", data)
  if data == nil or type(data) == "number" then -- as Debian's lua-zlib is called, whose functions make others
    err.message = ("%s. zlib here has Node's names: zlib.%sSync(data), zlib.%s(data, callback), zlib.create%s()"):format(
      err.message, name, name, name:sub(1, 1):upper() .. name:sub(2))
  end
  error(err, 0)
end

local function sync(name, data, options)
  local kind = coding.formats[name]
  checkData(data, name)
  options = coding.options(kind, options)
  local coder = coding.open(kind, options)
  local out, whole, number, message = coder:all(data, options.finishFlush, options.maxOutputLength)
  coder:close()
  if not out then error(coding.failure(options, whole, number, message), 0) end
  if not whole and coding.mustBeWhole(kind, options) then error(coding.cut(), 0) end
  return out
end

-- A slice a turn, so that the loop goes on meanwhile.
local function async(name, data, options, callback)
  if type(options) == "function" then options, callback = nil, options end
  checkData(data, name)
  validate.func(callback, "callback")
  local kind = coding.formats[name]
  options = coding.options(kind, options)
  local coder = coding.open(kind, options)
  local pieces, at, given = {}, 0, 0
  local function finish(err)
    local whole = coder:isWhole()
    coder:close()
    if err == nil and not whole and coding.mustBeWhole(kind, options) then err = coding.cut() end
    if err then return callback(err) end
    callback(nil, table.concat(pieces))
  end
  local function turn()
    local stop = at + SLICE
    local last = stop >= #data
    local out, whole, number, message = coder:all(data:sub(at + 1, stop),
      last and options.finishFlush or kind.family.none, options.maxOutputLength - given)
    if not out then return finish(coding.failure(options, whole, number, message)) end
    pieces[#pieces + 1] = out
    at, given = stop, given + #out
    if last then return finish() end
    timers.setImmediate(turn)
  end
  timers.setImmediate(turn)
end

local Gzip = streams.of(coding.formats.gzip, "Gzip")

--- Compresses, in gzip's format.
---@param data string
---@param options ZlibOptions|fun(err: Error?, result: string?)|nil
---@param callback fun(err: Error?, result: string?)
function zlib.gzip(data, options, callback) async("gzip", data, options, callback) end

--- The same at once; throws.
---@param data string
---@param options ZlibOptions?
---@return string
function zlib.gzipSync(data, options) return sync("gzip", data, options) end

--- The same as a stream.
---@param options ZlibOptions?
---@return Zlib
function zlib.createGzip(options) return Gzip:new(options) end

local Gunzip = streams.of(coding.formats.gunzip, "Gunzip")

--- Reads gzip: one member or several.
---@param data string
---@param options ZlibOptions|fun(err: Error?, result: string?)|nil
---@param callback fun(err: Error?, result: string?)
function zlib.gunzip(data, options, callback) async("gunzip", data, options, callback) end

--- The same at once; throws.
---@param data string
---@param options ZlibOptions?
---@return string
function zlib.gunzipSync(data, options) return sync("gunzip", data, options) end

--- The same as a stream.
---@param options ZlibOptions?
---@return Zlib
function zlib.createGunzip(options) return Gunzip:new(options) end

local Deflate = streams.of(coding.formats.deflate, "Deflate")

--- Compresses, in zlib's format.
---@param data string
---@param options ZlibOptions|fun(err: Error?, result: string?)|nil
---@param callback fun(err: Error?, result: string?)
function zlib.deflate(data, options, callback) async("deflate", data, options, callback) end

--- The same at once; throws.
---@param data string
---@param options ZlibOptions?
---@return string
function zlib.deflateSync(data, options) return sync("deflate", data, options) end

--- The same as a stream.
---@param options ZlibOptions?
---@return Zlib
function zlib.createDeflate(options) return Deflate:new(options) end

local Inflate = streams.of(coding.formats.inflate, "Inflate")

--- Reads zlib's format.
---@param data string
---@param options ZlibOptions|fun(err: Error?, result: string?)|nil
---@param callback fun(err: Error?, result: string?)
function zlib.inflate(data, options, callback) async("inflate", data, options, callback) end

--- The same at once; throws.
---@param data string
---@param options ZlibOptions?
---@return string
function zlib.inflateSync(data, options) return sync("inflate", data, options) end

--- The same as a stream.
---@param options ZlibOptions?
---@return Zlib
function zlib.createInflate(options) return Inflate:new(options) end

local DeflateRaw = streams.of(coding.formats.deflateRaw, "DeflateRaw")

--- Compresses, without head and sum.
---@param data string
---@param options ZlibOptions|fun(err: Error?, result: string?)|nil
---@param callback fun(err: Error?, result: string?)
function zlib.deflateRaw(data, options, callback) async("deflateRaw", data, options, callback) end

--- The same at once; throws.
---@param data string
---@param options ZlibOptions?
---@return string
function zlib.deflateRawSync(data, options) return sync("deflateRaw", data, options) end

--- The same as a stream.
---@param options ZlibOptions?
---@return Zlib
function zlib.createDeflateRaw(options) return DeflateRaw:new(options) end

local InflateRaw = streams.of(coding.formats.inflateRaw, "InflateRaw")

--- Reads what has no head and no sum.
---@param data string
---@param options ZlibOptions|fun(err: Error?, result: string?)|nil
---@param callback fun(err: Error?, result: string?)
function zlib.inflateRaw(data, options, callback) async("inflateRaw", data, options, callback) end

--- The same at once; throws.
---@param data string
---@param options ZlibOptions?
---@return string
function zlib.inflateRawSync(data, options) return sync("inflateRaw", data, options) end

--- The same as a stream.
---@param options ZlibOptions?
---@return Zlib
function zlib.createInflateRaw(options) return InflateRaw:new(options) end

local Unzip = streams.of(coding.formats.unzip, "Unzip")

--- Reads gzip or zlib's format, as the first byte says.
---@param data string
---@param options ZlibOptions|fun(err: Error?, result: string?)|nil
---@param callback fun(err: Error?, result: string?)
function zlib.unzip(data, options, callback) async("unzip", data, options, callback) end

--- The same at once; throws.
---@param data string
---@param options ZlibOptions?
---@return string
function zlib.unzipSync(data, options) return sync("unzip", data, options) end

--- The same as a stream.
---@param options ZlibOptions?
---@return Zlib
function zlib.createUnzip(options) return Unzip:new(options) end

local BrotliCompress = streams.of(coding.formats.brotliCompress, "BrotliCompress")

--- Compresses by brotli; needs the package libbrotli1.
---@param data string
---@param options ZlibOptions|fun(err: Error?, result: string?)|nil
---@param callback fun(err: Error?, result: string?)
function zlib.brotliCompress(data, options, callback) async("brotliCompress", data, options, callback) end

--- The same at once; throws.
---@param data string
---@param options ZlibOptions?
---@return string
function zlib.brotliCompressSync(data, options) return sync("brotliCompress", data, options) end

--- The same as a stream.
---@param options ZlibOptions?
---@return Zlib
function zlib.createBrotliCompress(options) return BrotliCompress:new(options) end

local BrotliDecompress = streams.of(coding.formats.brotliDecompress, "BrotliDecompress")

--- Reads brotli.
---@param data string
---@param options ZlibOptions|fun(err: Error?, result: string?)|nil
---@param callback fun(err: Error?, result: string?)
function zlib.brotliDecompress(data, options, callback) async("brotliDecompress", data, options, callback) end

--- The same at once; throws.
---@param data string
---@param options ZlibOptions?
---@return string
function zlib.brotliDecompressSync(data, options) return sync("brotliDecompress", data, options) end

--- The same as a stream.
---@param options ZlibOptions?
---@return Zlib
function zlib.createBrotliDecompress(options) return BrotliDecompress:new(options) end

local ZstdCompress = streams.of(coding.formats.zstdCompress, "ZstdCompress")

--- Compresses by Zstandard; needs the package libzstd1.
---@param data string
---@param options ZlibOptions|fun(err: Error?, result: string?)|nil
---@param callback fun(err: Error?, result: string?)
function zlib.zstdCompress(data, options, callback) async("zstdCompress", data, options, callback) end

--- The same at once; throws.
---@param data string
---@param options ZlibOptions?
---@return string
function zlib.zstdCompressSync(data, options) return sync("zstdCompress", data, options) end

--- The same as a stream.
---@param options ZlibOptions?
---@return Zlib
function zlib.createZstdCompress(options) return ZstdCompress:new(options) end

local ZstdDecompress = streams.of(coding.formats.zstdDecompress, "ZstdDecompress")

--- Reads Zstandard.
---@param data string
---@param options ZlibOptions|fun(err: Error?, result: string?)|nil
---@param callback fun(err: Error?, result: string?)
function zlib.zstdDecompress(data, options, callback) async("zstdDecompress", data, options, callback) end

--- The same at once; throws.
---@param data string
---@param options ZlibOptions?
---@return string
function zlib.zstdDecompressSync(data, options) return sync("zstdDecompress", data, options) end

--- The same as a stream.
---@param options ZlibOptions?
---@return Zlib
function zlib.createZstdDecompress(options) return ZstdDecompress:new(options) end

--- The check sum of gzip and PNG.
---@param data string
---@param value integer? the sum of what came before; 0
---@return integer sum 0 to 2^32 - 1
function zlib.crc32(data, value)
  validate.string(data, "data")
  return core.crc32(data, value == nil and 0 or validate.integer(value, "value", 0, 2 ^ 32 - 1))
end

calls.functions(zlib, "zlib", { Zlib = true })

return zlib
