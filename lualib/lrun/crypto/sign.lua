--- Signatures: of data at once (`sign`, `verify`), or of what comes in pieces (Sign, Verify, which are streams to be written).
local calls = require("lrun.check.calls")
local encoding = require("lrun.crypto.encoding")
local errors = require("errors")
local keys = require("lrun.crypto.keys")
local lazy = require("lrun.crypto.lazy")
local library = require("lrun.crypto.library")
local stream = require("stream")
local validate = require("lrun.check.validate")

local core = library.core

local signing = {}

local PLAIN = { der = false, ["ieee-p1363"] = true }

-- padding, salt length, whether ECDSA's numbers come without DER.
local function form(handle, options)
  if options.dsaEncoding ~= nil then validate.oneOf(options.dsaEncoding, "key.dsaEncoding", { "der", "ieee-p1363" }) end
  local padding = validate.optional(validate.integer, options.padding, "key.padding", 1, 6)
  local salt = validate.optional(validate.integer, options.saltLength, "key.saltLength", -2, 2 ^ 31 - 1)
  local isPlain = PLAIN[options.dsaEncoding] and handle:details().type == "EC" or false
  return padding, salt, isPlain
end

-- An error that says what to type: a key that makes its own digest takes none.
local function failure(handle, algorithm, fault)
  local err = library.failure(fault)
  local kind = handle:details().type
  if algorithm and (kind == "ED25519" or kind == "ED448") then
    err.message = ("%s (%s makes its own digest: give nil in place of '%s')"):format(err.message, kind:lower(), algorithm)
  elseif kind == "X25519" or kind == "X448" then
    err.message = ("%s (%s keys sign nothing)"):format(err.message, kind:lower())
  end
  return err
end

local function finish(handle, algorithm, callback)
  return callback and function(result, fault)
    if result == nil then return callback(failure(handle, algorithm, fault)) end
    callback(nil, result)
  end
end

-- Node has a code of its own for a key that was left out.
local function required(key)
  if key == nil then error(errors.coded("ERR_CRYPTO_SIGN_KEY_REQUIRED", "No key provided to sign"), 0) end
  return key
end

local function checkAlgorithm(algorithm)
  if algorithm ~= nil then library.digest(algorithm, "algorithm") end
end

--- The signature of the data; by a thread of the pool when there is a callback.
---@return string?
function signing.sign(algorithm, data, key, callback)
  checkAlgorithm(algorithm)
  validate.string(data, "data")
  validate.optional(validate.func, callback, "callback")
  local handle, options = keys.handle(required(key), "private", "key")
  local padding, salt, isPlain = form(handle, options)
  local result, fault = core.sign(handle, algorithm, data, padding, salt, isPlain, finish(handle, algorithm, callback))
  if callback then return end
  if result == nil then error(failure(handle, algorithm, fault), 0) end
  return result
end

--- Whether the signature is the key's, for the data.
---@return boolean?
function signing.verify(algorithm, data, key, signature, callback)
  checkAlgorithm(algorithm)
  validate.string(data, "data")
  validate.string(signature, "signature")
  validate.optional(validate.func, callback, "callback")
  local handle, options = keys.handle(key, "public", "key")
  local padding, salt, isPlain = form(handle, options)
  local result, fault = core.verify(handle, algorithm, data, signature, padding, salt, isPlain, finish(handle, algorithm, callback))
  if callback then return end
  if result == nil then error(failure(handle, algorithm, fault), 0) end
  return result
end

-- Sign and Verify ------------------------------------------------------------------------------------------------------

---@class Sign: Writable
local Sign = stream.Writable:extend("Sign")

---@class Verify: Writable
local Verify = stream.Writable:extend("Verify")

local function initialize(self, algorithm, options)
  self._algorithm = library.digest(algorithm, "algorithm")
  self._streamOptions = validate.optional(validate.table, options, "options") or {}
  self._handle = library.checked(core.hash(algorithm))
end

local function handleOf(self)
  local handle = self._handle
  if not handle then error(errors.coded("ERR_CRYPTO_INVALID_STATE", "Not initialised: a signature is made once"), 0) end
  return handle
end

local function update(self, data, inputEncoding)
  library.checked(handleOf(self):update(encoding.decode(data, inputEncoding, "data")))
  return self
end

local function write(self, chunk, callback)
  local handle = self._handle
  if not handle then return callback(errors.coded("ERR_CRYPTO_INVALID_STATE", "Not initialised: the signature was made")) end
  local ok, fault = handle:update(chunk)
  callback(not ok and library.failure(fault) or nil)
end

local function digest(self)
  local bytes = library.checked(handleOf(self):digest())
  self._handle = nil
  return bytes
end

local function result(handle, algorithm, value, fault)
  if value == nil then error(failure(handle, algorithm, fault), 0) end
  return value
end

--- Source: Node 20.
---@param algorithm string
---@param options StreamOptions?
function Sign:initialize(algorithm, options) initialize(self, algorithm, options) end
function Sign:_write(chunk, callback) write(self, chunk, callback) end
lazy.install(Sign, stream.Writable)

--- More data. Source: Node 20.
---@param data string
---@param inputEncoding ("hex"|"base64"|"base64url")?
---@return self
function Sign:update(data, inputEncoding) return update(self, data, inputEncoding) end

--- The signature of all that was given; once.
---@param privateKey string|KeyObject|table as for `crypto.sign`
---@param outputEncoding ("hex"|"base64"|"base64url")?
---@return string
function Sign:sign(privateKey, outputEncoding)
  handleOf(self)
  encoding.check(outputEncoding, "outputEncoding")
  local handle, options = keys.handle(required(privateKey), "private", "privateKey")
  local padding, salt, isPlain = form(handle, options)
  local signature = result(handle, self._algorithm, core.signDigest(handle, self._algorithm, digest(self), padding, salt, isPlain))
  return encoding.encode(signature, outputEncoding)
end

calls.methods(Sign, "sign", { new = true })

--- Source: Node 20.
---@param algorithm string
---@param options StreamOptions?
function Verify:initialize(algorithm, options) initialize(self, algorithm, options) end
function Verify:_write(chunk, callback) write(self, chunk, callback) end
lazy.install(Verify, stream.Writable)

--- More data. Source: Node 20.
---@param data string
---@param inputEncoding ("hex"|"base64"|"base64url")?
---@return self
function Verify:update(data, inputEncoding) return update(self, data, inputEncoding) end

--- Whether the signature is that key's for all that was given; once.
---@param publicKey string|KeyObject|table as for `crypto.verify`
---@param signature string
---@param signatureEncoding ("hex"|"base64"|"base64url")?
---@return boolean
function Verify:verify(publicKey, signature, signatureEncoding)
  handleOf(self)
  signature = encoding.decode(signature, signatureEncoding, "signature")
  local handle, options = keys.handle(publicKey, "public", "object")
  local padding, salt, isPlain = form(handle, options)
  return result(handle, self._algorithm,
    core.verifyDigest(handle, self._algorithm, digest(self), signature, padding, salt, isPlain))
end

calls.methods(Verify, "verify", { new = true })

signing.Sign, signing.Verify = Sign, Verify

return signing
