--- KeyObject, and whatever else a key is given as: PEM, DER, tables of options.
local calls = require("lrun.check.calls")
local errors = require("errors")
local library = require("lrun.crypto.library")
local validate = require("lrun.check.validate")

local core = library.core

local keys = {}

---@class KeyObject
---@field type "public"|"private"
---@field asymmetricKeyType string such as "rsa", "ec", "ed25519"
---@field asymmetricKeyDetails { modulusLength: integer?, publicExponent: integer?, namedCurve: string? }
local KeyObject = { name = "KeyObject" }
KeyObject.__index = KeyObject
function KeyObject:__tostring() return ("%s key (%s)"):format(self.type, self.asymmetricKeyType) end

-- The core's keys, by object: what is secret is no field that a log would print.
local handles = setmetatable({}, { __mode = "k" })

local function detailsOf(told)
  return {
    modulusLength = told.exponent and told.bits or nil,
    publicExponent = told.exponent and tonumber(told.exponent, 16) or nil,
    namedCurve = told.type == "EC" and told.group or nil,
  }
end

--- Makes an object of the core's key.
---@param handle userdata
---@param kind "public"|"private"
---@return KeyObject
function keys.wrap(handle, kind)
  local told = handle:details()
  local object = setmetatable({ type = kind, asymmetricKeyType = told.type:lower(), asymmetricKeyDetails = detailsOf(told) }, KeyObject)
  handles[object] = handle
  return object
end

local function isKeyObject(value) return type(value) == "table" and getmetatable(value) == KeyObject end

-- Writing -------------------------------------------------------------------------------------------------------------

-- By Node's `type`: OpenSSL's name, for which half, for which types of keys.
local STRUCTURES = {
  spki = { name = "SubjectPublicKeyInfo", of = "public" },
  pkcs8 = { name = "PrivateKeyInfo", of = "private" },
  pkcs1 = { name = "pkcs1", of = "both", only = "rsa" },
  sec1 = { name = "type-specific", of = "private", only = "ec" },
}

local function structureOf(object, options, where)
  local kind = options.type
  local allowed = object.type == "public" and { "spki", "pkcs1" } or { "pkcs8", "pkcs1", "sec1" }
  validate.oneOf(kind == nil and allowed[1] or kind, where .. ".type", allowed)
  local structure = STRUCTURES[kind or allowed[1]]
  if structure.only and structure.only ~= object.asymmetricKeyType then
    error(errors.coded("ERR_CRYPTO_INCOMPATIBLE_KEY_OPTIONS", ("The selected key encoding %s can only be used for %s keys."):format(
      kind, structure.only == "ec" and "EC" or "RSA")), 0)
  end
  return structure.name == "pkcs1" and object.type == "private" and "type-specific" or structure.name
end

local function checkProtection(object, options, where)
  if options.cipher == nil and options.passphrase == nil then return end
  if object.type == "public" then error(errors.argValue(where .. ".cipher", options.cipher, "is for private keys alone"), 0) end
  validate.string(options.cipher, where .. ".cipher")
  library.cipher(options.cipher, where .. ".cipher")
  validate.string(options.passphrase, where .. ".passphrase")
  if options.format == "der" and options.type ~= nil and options.type ~= "pkcs8" then
    error(errors.coded("ERR_CRYPTO_INCOMPATIBLE_KEY_OPTIONS", ("The selected key encoding %s does not support encryption."):format(
      options.type)), 0)
  end
end

--- The text or bytes of a key.
---@param object KeyObject
---@param options table
---@param where string names the options in an error
---@return string
function keys.write(object, options, where)
  validate.table(options, where)
  local format = validate.oneOf(options.format == nil and "pem" or options.format, where .. ".format", { "pem", "der" })
  local structure = structureOf(object, options, where)
  checkProtection(object, options, where)
  local text, fault = handles[object]:write(object.type == "private", format:upper(), structure, options.cipher, options.passphrase)
  if not text then error(library.failure(fault), 0) end
  return text
end

--- The key as text or bytes. Source: Node 20; `jwk` is not among the formats.
---@param options { type: string?, format: string?, cipher: string?, passphrase: string? }? `type`: "spki" or "pkcs1" of a public
--- key, "pkcs8", "pkcs1" or "sec1" of a private one; `format`: "pem" or "der"; a private key is encrypted by `cipher` and `passphrase`
---@return string
function KeyObject:export(options) return keys.write(self, options or {}, "options") end

--- Whether both are the same key.
---@param other KeyObject
---@return boolean
function KeyObject:equals(other)
  if not isKeyObject(other) then error(errors.argType("otherKeyObject", "an instance of KeyObject", other), 0) end
  return self.type == other.type and handles[self]:equal(handles[other])
end

calls.methods(KeyObject, "key")

-- Reading -------------------------------------------------------------------------------------------------------------

-- What an error of OpenSSL's alone would leave the reader to guess.
local function hint(options, kind, isEncrypted)
  if isEncrypted then return " (is the passphrase right?)" end
  if options.format == "der" then return "" end
  if not options.key:find("-----BEGIN ", 1, true) then
    return ' (it is no PEM; of DER say so: { key = ..., format = "der" })'
  end
  return kind == "private" and not options.key:find("PRIVATE KEY-----", 1, true) and " (there is no private key in it)" or ""
end

local function refuse(fault, isEncrypted, options, kind, argument)
  if isEncrypted and options.passphrase == nil then
    error(errors.coded("ERR_MISSING_PASSPHRASE",
      "Passphrase required for encrypted key: give it as { key = ..., passphrase = ... }"), 0)
  end
  local err = library.failure(fault, argument)
  err.message = err.message .. hint(options, kind, isEncrypted)
  error(err, 0)
end

local READ = { spki = "SubjectPublicKeyInfo", pkcs8 = nil, pkcs1 = nil, sec1 = nil }

local function read(options, kind, argument)
  validate.string(options.key, argument)
  local format = validate.oneOf(options.format == nil and "pem" or options.format, argument .. ".format", { "pem", "der" })
  validate.optional(validate.oneOf, options.type, argument .. ".type", { "spki", "pkcs8", "pkcs1", "sec1" })
  validate.optional(validate.string, options.passphrase, argument .. ".passphrase")
  local handle, fault, isEncrypted = core.readKey(options.key, kind == "private", format:upper(),
    READ[options.type], options.passphrase)
  if not handle then refuse(fault, isEncrypted, options, kind, argument) end
  return handle
end

--- The core's key of whatever stands for one, and the options that came with it.
---@param value any
---@param kind "public"|"private" of a private key the public half is known as well
---@param argument string
---@return userdata handle
---@return table options
function keys.handle(value, kind, argument)
  if type(value) == "string" then return read({ key = value }, kind, argument), {} end
  if type(value) ~= "table" then error(errors.argType(argument, "string, table or an instance of KeyObject", value), 0) end
  local options = value
  if not isKeyObject(value) then
    value = options.key
    if not isKeyObject(value) then return read(options, kind, argument .. ".key"), options end
  end
  if kind == "private" and value.type ~= "private" then
    error(errors.coded("ERR_CRYPTO_INVALID_KEY_OBJECT_TYPE", "Invalid key object type public, expected private."), 0)
  end
  return handles[value], isKeyObject(options) and {} or options
end

--- Reads a private key.
---@return KeyObject
function keys.private(value)
  return keys.wrap(keys.handle(value, "private", "key"), "private")
end

--- Reads a public key, or takes that of a private key or a certificate.
---@return KeyObject
function keys.public(value)
  return keys.wrap(keys.handle(value, "public", "key"), "public")
end

keys.KeyObject = KeyObject

return keys
