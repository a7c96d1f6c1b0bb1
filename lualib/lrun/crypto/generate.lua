--- New pairs of keys.
local errors = require("errors")
local keys = require("lrun.crypto.keys")
local library = require("lrun.crypto.library")
local validate = require("lrun.check.validate")

local core = library.core

local generate = {}

local function digestOf(options, name) return options[name] ~= nil and library.digest(options[name], "options." .. name) or nil end

local function rsa(options)
  return {
    bits = validate.integer(options.modulusLength, "options.modulusLength", 512, 16384),
    exponent = options.publicExponent == nil and 65537 or validate.integer(options.publicExponent, "options.publicExponent", 3, 2 ^ 32 - 1),
  }
end

local function rsaPss(options)
  local plan = rsa(options)
  plan.digest, plan.maskDigest = digestOf(options, "hashAlgorithm"), digestOf(options, "mgf1HashAlgorithm")
  if options.saltLength ~= nil then plan.saltLength = validate.integer(options.saltLength, "options.saltLength", 0, 2 ^ 31 - 1) end
  return plan
end

local ALIASES = { ["P-256"] = "prime256v1", ["P-384"] = "secp384r1", ["P-521"] = "secp521r1" }

local function ec(options)
  local name = validate.string(options.namedCurve, "options.namedCurve")
  if ALIASES[name] then return { curve = name } end
  local curves = core.curves()
  for _, each in ipairs(curves) do if each == name then return { curve = name } end end
  local nearest = require("lrun.host.similar").nearest(name, curves)
  error(errors.coded("ERR_CRYPTO_INVALID_CURVE", ("Invalid EC curve name: %s (%scrypto.getCurves() lists them)"):format(
    name, nearest and ("did you mean '%s'? "):format(nearest) or "")), 0)
end

local function none() return {} end

-- By Node's name: OpenSSL's, and what reads the options.
local TYPES = {
  rsa = { "RSA", rsa }, ["rsa-pss"] = { "RSA-PSS", rsaPss }, ec = { "EC", ec }, ed25519 = { "ED25519", none },
  ed448 = { "ED448", none }, x25519 = { "X25519", none }, x448 = { "X448", none },
}
local NAMES = { "rsa", "rsa-pss", "ec", "ed25519", "ed448", "x25519", "x448" }

-- Both halves, as objects or as the options want them written.
local function pairOf(handle, options)
  local pair = { publicKey = keys.wrap(handle, "public"), privateKey = keys.wrap(handle, "private") }
  for name, encoding in pairs{ publicKey = "publicKeyEncoding", privateKey = "privateKeyEncoding" } do
    if options[encoding] ~= nil then pair[name] = keys.write(pair[name], options[encoding], "options." .. encoding) end
  end
  return pair
end

local function plan(kind, options)
  validate.string(kind, "type")
  validate.oneOf(kind, "type", NAMES)
  options = validate.optional(validate.table, options, "options") or {}
  for _, name in ipairs{ "publicKeyEncoding", "privateKeyEncoding" } do
    validate.optional(validate.table, options[name], "options." .. name)
  end
  return TYPES[kind][1], TYPES[kind][2](options), options
end

--- A pair, at once.
---@return { publicKey: KeyObject|string, privateKey: KeyObject|string }
function generate.sync(kind, options)
  local name, numbers
  name, numbers, options = plan(kind, options)
  return pairOf(library.checked(core.generate(name, numbers)), options)
end

--- A pair, made by a thread of the pool: `callback(err, publicKey, privateKey)`.
function generate.async(kind, options, callback)
  if type(options) == "function" then options, callback = nil, options end
  validate.func(callback, "callback")
  local name, numbers
  name, numbers, options = plan(kind, options)
  core.generate(name, numbers, function(handle, fault)
    if not handle then return callback(library.failure(fault)) end
    local ok, pair = pcall(pairOf, handle, options)
    if not ok then return callback(pair) end
    callback(nil, pair.publicKey, pair.privateKey)
  end)
end

return generate
