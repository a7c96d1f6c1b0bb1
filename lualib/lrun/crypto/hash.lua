--- Hash and Hmac: digests of what is given by `update`, or written to them as streams. What both have is Digest's.
local calls = require("lrun.check.calls")
local encoding = require("lrun.crypto.encoding")
local errors = require("errors")
local lazy = require("lrun.crypto.lazy")
local library = require("lrun.crypto.library")
local stream = require("stream")
local validate = require("lrun.check.validate")

local core, checked = library.core, library.checked

---@class Digest: Transform
local Digest = stream.Transform:extend("Digest")

---@class Hash: Digest
local Hash = Digest:extend("Hash")

---@class Hmac: Digest
local Hmac = Digest:extend("Hmac")

local function finalized() return errors.coded("ERR_CRYPTO_HASH_FINALIZED", "Digest already called") end

local function readOptions(options)
  if type(options) == "number" then options = { outputLength = options } end    -- as Node's older signature had it
  return validate.optional(validate.table, options, "options") or {}
end

-- The bytes that `digest` asks for, where its length is free.
local function readLength(options, name, size, free)
  local length = options.outputLength
  if length == nil then return free and size or nil end
  validate.integer(length, "options.outputLength", 0, validate.LONGEST_STRING)
  if free then return length end
  if length == size then return nil end
  error(errors.argValue("options.outputLength", length, ("must be %d, the length of %s"):format(size, name)), 0)
end

-- `_handle` is the core's digest, nil once it was made; `_result` what a stream was ended with.

--- Source: Node 20.
---@param name string
---@param options { outputLength: integer? }?
function Hash:initialize(name, options)
  local size, free
  name, size, free = library.digest(name, "algorithm")
  options = readOptions(options)
  self._algorithm, self._streamOptions = name, options
  self._length = readLength(options, name, size, free)
  self._handle = checked(core.hash(name))
end

local function handleOf(self)
  local handle = self._handle
  if not handle then error(finalized(), 0) end
  return handle
end

--- More data. Source: Node 20.
---@param data string
---@param inputEncoding ("hex"|"base64"|"base64url")? of the data; without one it is bytes
---@return self
function Digest:update(data, inputEncoding)
  local handle = handleOf(self)
  checked(handle:update(encoding.decode(data, inputEncoding, "data")))
  return self
end

local function finish(self)
  local bytes = checked(handleOf(self):digest(self._length))
  self._handle = nil
  return bytes
end

--- The digest of all that was given; once. What was written to it as a stream must have ended.
---@param outputEncoding ("hex"|"base64"|"base64url")? bytes without one
---@return string
function Digest:digest(outputEncoding)
  encoding.check(outputEncoding, "outputEncoding")
  local bytes = self._result
  if bytes then self._result = nil else bytes = finish(self) end
  return encoding.encode(bytes, outputEncoding)
end

--- Another that goes on from here by itself.
---@param options { outputLength: integer? }?
---@return Hash
function Hash:copy(options)
  local handle = handleOf(self)
  local copy = Hash:new(self._algorithm, options)
  if options == nil then copy._length = self._length end
  copy._handle = checked(handle:copy())
  return copy
end

--- What its end gives to those who read it as a stream: bytes, or their text.
---@param outputEncoding string
---@return self
function Digest:setEncoding(outputEncoding)
  encoding.check(outputEncoding, "encoding")
  self._readEncoding = outputEncoding
  return self
end

function Digest:_transform(chunk, callback)
  if not self._handle then return callback(finalized()) end
  local ok, fault = self._handle:update(chunk)
  callback(not ok and library.failure(fault) or nil)
end

function Digest:_flush(callback)
  if not self._handle then return callback(finalized()) end
  local bytes = finish(self)
  self._result = bytes
  callback(nil, encoding.encode(bytes, self._readEncoding))
end

lazy.install(Digest, stream.Transform)

--- Source: Node 20.
---@param name string of the digest
---@param key string
---@param options StreamOptions?
function Hmac:initialize(name, key, options)
  name = library.digest(name, "hmac")
  validate.string(key, "key")
  self._algorithm, self._streamOptions = name, validate.optional(validate.table, options, "options") or {}
  self._handle = checked(core.mac(name, key))
end

calls.methods(Digest, "hash", { new = true })
calls.methods(Hash, "hash", { new = true })

return { Hash = Hash, Hmac = Hmac }
