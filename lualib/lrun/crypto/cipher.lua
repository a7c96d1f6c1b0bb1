--- Cipheriv and Decipheriv: one direction of a symmetric cipher, by `update` and `final` or as a stream. Here is the order in
--- which their methods may be called; what is computed is the core's.
local calls = require("lrun.check.calls")
local encoding = require("lrun.crypto.encoding")
local errors = require("errors")
local lazy = require("lrun.crypto.lazy")
local library = require("lrun.crypto.library")
local stream = require("stream")
local validate = require("lrun.check.validate")

local core, checked = library.core, library.checked

---@class Cipheriv: Transform
local Cipheriv = stream.Transform:extend("Cipheriv")
Cipheriv._encrypts = true

---@class Decipheriv: Transform
local Decipheriv = stream.Transform:extend("Decipheriv")
Decipheriv._encrypts = false

local TAG = 16                        -- bytes of a tag unless told otherwise
local GCM_TAGS = { [4] = true, [8] = true, [12] = true, [13] = true, [14] = true, [15] = true, [16] = true }

local function invalidState(what) return errors.coded("ERR_CRYPTO_INVALID_STATE", ("Invalid state for operation %s"):format(what)) end

local function checkKey(info, name, key)
  validate.string(key, "key")
  if #key == info.keyLength or info.freeKey and #key > 0 then return end
  error(errors.coded("ERR_CRYPTO_INVALID_KEYLEN",
    ("Invalid key length: %s takes a key of %d bytes, this one has %d"):format(name, info.keyLength, #key)), 0)
end

local function invalidIv(message) error(errors.coded("ERR_CRYPTO_INVALID_IV", "Invalid initialization vector: " .. message), 0) end

-- What an AEAD mode may have for an IV.
local function checkAeadIv(info, name, iv)
  if #iv == 0 then invalidIv(name .. " needs one") end
  if info.mode == "ccm" and (#iv < 7 or #iv > 13) then invalidIv(("%s takes 7 to 13 bytes, this one has %d"):format(name, #iv)) end
  if info.mode == "ocb" and #iv > 15 then invalidIv(("%s takes 1 to 15 bytes, this one has %d"):format(name, #iv)) end
  if info.mode == "stream" and #iv > 12 then invalidIv(("%s takes up to 12 bytes, this one has %d"):format(name, #iv)) end
end

local function checkIv(info, name, iv)
  validate.optional(validate.string, iv, "iv")
  if iv == nil then
    if info.ivLength > 0 then invalidIv(("%s takes %d bytes, none were given"):format(name, info.ivLength)) end
    return
  end
  if info.aead then return checkAeadIv(info, name, iv) end
  if #iv == info.ivLength then return end
  if info.ivLength == 0 then invalidIv(name .. " takes none: give nil, or an empty string") end
  invalidIv(("%s takes %d bytes, this one has %d"):format(name, info.ivLength, #iv))
end

local function invalidTag(length)
  return errors.coded("ERR_CRYPTO_INVALID_AUTH_TAG", ("Invalid authentication tag length: %d"):format(length))
end

-- The tag's bytes, and whether they are part of what is computed from the start.
local function readTagLength(info, name, options)
  local length = options.authTagLength
  if length ~= nil then validate.integer(length, "options.authTagLength", 0, 2 ^ 31 - 1) end
  if not info.aead then return nil, false end
  local isFixed = info.mode == "ccm" or info.mode == "ocb"
  if length == nil then
    if isFixed then error(errors.coded("ERR_CRYPTO_INVALID_AUTH_TAG", "authTagLength required for " .. name), 0) end
    return nil, false
  end
  local fits = info.mode == "gcm" and GCM_TAGS[length] or info.mode == "ccm" and length >= 4 and length <= 16 and length % 2 == 0
    or (info.mode == "ocb" or info.mode == "stream") and length >= 1 and length <= 16
  if not fits then error(invalidTag(length), 0) end
  return length, isFixed
end

-- `_handle` is the core's cipher, nil once it came to its end; `_tag` the tag.
local function initialize(self, name, key, iv, options)
  local info = library.cipher(name, "cipher")
  options = validate.optional(validate.table, options, "options") or {}
  checkKey(info, name, key)
  checkIv(info, name, iv)
  local length, isFixed = readTagLength(info, name, options)
  if iv == "" then iv = nil end
  self._name, self._info, self._tagLength = name, info, length
  self._streamOptions = options
  self._handle = checked(core.cipher(name, key, iv, self._encrypts, isFixed and length or nil))
end

local function handleOf(self, what)
  local handle = self._handle
  if not handle then error(invalidState(what), 0) end
  return handle
end

-- A wrong tag, or one that is missing: nothing of what came out may be believed.
local function unauthentic()
  return errors.coded("ERR_CRYPTO_INVALID_AUTH_TAG", "Unsupported state or unable to authenticate data")
end

-- The tag goes in before the first text: CCM and OCB compute with it.
local function putTag(self, handle)
  if self._encrypts or not self._tag or self._tagGiven then return end
  self._tagGiven = true
  checked(handle:setTag(self._tag))
end

-- The bytes that come out; or nil and an error.
local function run(self, handle, data)
  putTag(self, handle)
  self._updated = true
  local out, fault = handle:update(data)
  if out then return out end
  if self._info.mode == "ccm" and not self._encrypts then    -- it looks at the tag here, and final tells
    self._refused = true
    return ""
  end
  return nil, library.failure(fault)
end

local function finish(self, handle)
  self._handle = nil
  if self._encrypts then
    local out, fault = handle:final()
    if not out then return nil, library.failure(fault) end
    if self._info.aead then self._tag = checked(handle:tag(self._tagLength or TAG)) end
    return out
  end
  if not self._info.aead then
    local out, fault = handle:final()
    if out then return out end
    return nil, library.failure(fault)
  end
  if not self._tag or self._refused then return nil, unauthentic() end
  if self._info.mode == "ccm" then return "" end
  putTag(self, handle)
  local out = handle:final()
  if out then return out end
  return nil, unauthentic()
end

local function encoderFor(self, outputEncoding)
  local encoder = self._encoder
  if not encoder then
    encoder = encoding.encoder(outputEncoding)
    self._encoder = encoder
  elseif not encoder:is(outputEncoding) then
    error(errors.coded("ERR_CRYPTO_INVALID_STATE", "Cannot change encoding: one outputEncoding serves for all of a text"), 0)
  end
  return encoder
end

local function update(self, data, inputEncoding, outputEncoding)
  local handle = handleOf(self, "update")
  local encoder = encoderFor(self, outputEncoding)
  local out, err = run(self, handle, encoding.decode(data, inputEncoding, "data"))
  if not out then error(err, 0) end
  return encoder:encode(out)
end

local function final(self, outputEncoding)
  local handle = handleOf(self, "final")
  local encoder = encoderFor(self, outputEncoding)
  local out, err = finish(self, handle)
  if not out then error(err, 0) end
  return encoder:encode(out, true)
end

local function setAutoPadding(self, autoPadding)
  if autoPadding ~= nil then validate.boolean(autoPadding, "autoPadding") end
  checked(handleOf(self, "setAutoPadding"):padding(autoPadding ~= false))
  return self
end

local function setAAD(self, buffer, options)
  local handle = self._handle
  if not self._info.aead or not handle or self._updated then error(invalidState("setAAD"), 0) end
  options = validate.optional(validate.table, options, "options") or {}
  local bytes = encoding.decode(buffer, options.encoding, "buffer")
  local length
  if self._info.mode == "ccm" then
    length = options.plaintextLength
    if length == nil then error(errors.coded("ERR_MISSING_ARGS", "options.plaintextLength required for CCM mode with AAD"), 0) end
    validate.integer(length, "options.plaintextLength", 0, 2 ^ 31 - 1)
    putTag(self, handle)
  end
  checked(handle:extra(bytes, length))
  return self
end

local function transform(self, chunk, callback)
  local handle = self._handle
  if not handle then return callback(invalidState("update")) end
  local out, err = run(self, handle, chunk)
  if not out then return callback(err) end
  callback(nil, self._reader and self._reader:encode(out) or out)
end

local function flush(self, callback)
  local handle = self._handle
  if not handle then return callback(invalidState("final")) end
  local out, err = finish(self, handle)
  if not out then return callback(err) end
  callback(nil, self._reader and self._reader:encode(out, true) or out)
end

local function setEncoding(self, outputEncoding)
  self._reader = encoding.encoder(outputEncoding)
  return self
end

--- Source: Node 20.
---@param algorithm string
---@param key string
---@param iv string?
---@param options CipherOptions?
function Cipheriv:initialize(algorithm, key, iv, options) initialize(self, algorithm, key, iv, options) end
function Cipheriv:_transform(chunk, callback) transform(self, chunk, callback) end
function Cipheriv:_flush(callback) flush(self, callback) end
lazy.install(Cipheriv, stream.Transform)

--- Encrypts more. Source: Node 20.
---@param data string
---@param inputEncoding ("hex"|"base64"|"base64url")? of the data
---@param outputEncoding ("hex"|"base64"|"base64url")? of what is returned; the same for all of a text
---@return string
function Cipheriv:update(data, inputEncoding, outputEncoding) return update(self, data, inputEncoding, outputEncoding) end

--- The rest; once.
---@param outputEncoding ("hex"|"base64"|"base64url")?
---@return string
function Cipheriv:final(outputEncoding) return final(self, outputEncoding) end

--- Of an AEAD mode: what the reader needs to see that nothing was changed. After `final`.
---@return string tag 16 bytes, or `authTagLength`
function Cipheriv:getAuthTag()
  if not self._tag then error(invalidState("getAuthTag"), 0) end
  return self._tag
end

--- Of an AEAD mode, before `update`: data that is vouched for but not encrypted.
---@param buffer string
---@param options { plaintextLength: integer?, encoding: string? }? CCM needs the length
---@return self
function Cipheriv:setAAD(buffer, options) return setAAD(self, buffer, options) end

--- False: the text's length is a multiple of the block's, and stays.
---@param autoPadding boolean?
---@return self
function Cipheriv:setAutoPadding(autoPadding) return setAutoPadding(self, autoPadding) end

--- What those get who read it as a stream: bytes, or their text.
---@param outputEncoding string
---@return self
function Cipheriv:setEncoding(outputEncoding) return setEncoding(self, outputEncoding) end

calls.methods(Cipheriv, "cipher", { new = true })

--- Source: Node 20.
---@param algorithm string
---@param key string
---@param iv string?
---@param options CipherOptions?
function Decipheriv:initialize(algorithm, key, iv, options) initialize(self, algorithm, key, iv, options) end
function Decipheriv:_transform(chunk, callback) transform(self, chunk, callback) end
function Decipheriv:_flush(callback) flush(self, callback) end
lazy.install(Decipheriv, stream.Transform)

--- Decrypts more. Of an AEAD mode nothing of it may be believed before `final` has returned.
---@param data string
---@param inputEncoding ("hex"|"base64"|"base64url")?
---@param outputEncoding ("hex"|"base64"|"base64url")?
---@return string
function Decipheriv:update(data, inputEncoding, outputEncoding) return update(self, data, inputEncoding, outputEncoding) end

--- The rest; once. Throws when the padding is wrong, or the tag does not fit what came (`ERR_CRYPTO_INVALID_AUTH_TAG`).
---@param outputEncoding ("hex"|"base64"|"base64url")?
---@return string
function Decipheriv:final(outputEncoding) return final(self, outputEncoding) end

--- Of an AEAD mode: the writer's tag. Before `final`; with CCM before `update`.
---@param buffer string
---@param inputEncoding ("hex"|"base64"|"base64url")?
---@return self
function Decipheriv:setAuthTag(buffer, inputEncoding)
  local info = self._info
  if not info.aead or not self._handle or self._tag or (info.mode == "ccm" or info.mode == "ocb") and self._updated then
    error(invalidState("setAuthTag"), 0)
  end
  local tag = encoding.decode(buffer, inputEncoding, "buffer")
  local fits
  if self._tagLength then fits = #tag == self._tagLength
  elseif info.mode == "gcm" then fits = GCM_TAGS[#tag]
  else fits = #tag == TAG end
  if not fits then error(invalidTag(#tag), 0) end
  self._tag = tag
  return self
end

--- Of an AEAD mode, before `update`: the data that the writer has vouched for without encrypting it.
---@param buffer string
---@param options { plaintextLength: integer?, encoding: string? }? CCM needs the length
---@return self
function Decipheriv:setAAD(buffer, options) return setAAD(self, buffer, options) end

--- False: the padding that `final` would take away is left.
---@param autoPadding boolean?
---@return self
function Decipheriv:setAutoPadding(autoPadding) return setAutoPadding(self, autoPadding) end

--- What those get who read it as a stream: bytes, or their text.
---@param outputEncoding string
---@return self
function Decipheriv:setEncoding(outputEncoding) return setEncoding(self, outputEncoding) end

calls.methods(Decipheriv, "decipher", { new = true })

return { Cipheriv = Cipheriv, Decipheriv = Decipheriv }
