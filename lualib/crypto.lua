--- Digests, ciphers, signatures, keys and random numbers, by Node's names. All but the random numbers are OpenSSL's: libcrypto is
--- opened by the first function that needs it. Source: Node 20.
local calls = require("lrun.check.calls")
local encoding = require("lrun.crypto.encoding")
local errors = require("errors")
local random = require("lrun.crypto.random")
local validate = require("lrun.check.validate")

---@class crypto
---@field constants table<string, integer> of RSA: paddings and lengths of salt
local crypto = {
  constants = {
    RSA_PKCS1_PADDING = 1, RSA_NO_PADDING = 3, RSA_PKCS1_OAEP_PADDING = 4, RSA_X931_PADDING = 5, RSA_PKCS1_PSS_PADDING = 6,
    RSA_PSS_SALTLEN_DIGEST = -1, RSA_PSS_SALTLEN_AUTO = -2, RSA_PSS_SALTLEN_MAX_SIGN = -2,
  },
}

-- Random numbers ------------------------------------------------------------------------------------------------------

--- Bytes that nobody can guess.
---@param size integer 0 to 2^31 - 257, the longest string
---@param callback fun(err: Error?, bytes: string?)? then a thread of the pool gets them
---@return string? bytes
function crypto.randomBytes(size, callback) return random.bytes(size, callback) end

--- A whole number, each as likely as the others.
---@param min integer the least; 0 when only one number is given
---@param max integer? it stays below this one; less than 2^48 above `min`
---@param callback fun(err: Error?, n: integer?)?
---@return integer?
function crypto.randomInt(min, max, callback) return random.int(min, max, callback) end

--- A UUID of version 4.
---@return string
function crypto.randomUUID() return random.uuid() end

-- Digests -------------------------------------------------------------------------------------------------------------

--- A digest to be made: `crypto.createHash("sha256"):update(data):digest("hex")`, or a stream to be written.
---@param algorithm string of `getHashes`, in either case
---@param options { outputLength: integer? }? bytes, of the shake digests
---@return Hash
function crypto.createHash(algorithm, options) return require("lrun.crypto.hash").Hash:new(algorithm, options) end

--- The digest of the data in one call.
---@param algorithm string
---@param data string
---@param outputEncoding ("hex"|"base64"|"base64url"|"buffer")? "hex"; "buffer" gives the bytes
---@return string
function crypto.hash(algorithm, data, outputEncoding)
  local library = require("lrun.crypto.library")
  local _, _, free = library.digest(algorithm, "algorithm")
  validate.string(data, "data")
  if outputEncoding == nil then outputEncoding = "hex" else encoding.check(outputEncoding, "outputEncoding") end
  if free then return encoding.encode(crypto.createHash(algorithm):update(data):digest(), outputEncoding) end
  return encoding.encode(library.checked(library.core.digest(algorithm, data)), outputEncoding)
end

--- A digest with a key, which only those can make who have it.
---@param algorithm string
---@param key string
---@param options StreamOptions?
---@return Hmac
function crypto.createHmac(algorithm, key, options) return require("lrun.crypto.hash").Hmac:new(algorithm, key, options) end

--- Whether both are the same, in a time that does not tell where they differ. Throws when they are not of the same length.
---@param a string
---@param b string
---@return boolean
function crypto.timingSafeEqual(a, b)
  validate.string(a, "buf1")
  validate.string(b, "buf2")
  if #a ~= #b then error(errors.coded("ERR_CRYPTO_TIMING_SAFE_EQUAL_LENGTH", "Input buffers must have the same byte length"), 0) end
  return require("lrun.crypto.library").core.equal(a, b)
end

--- The names of all digests.
---@return string[]
function crypto.getHashes() return require("lrun.crypto.library").core.digests() end

-- Keys from passwords and keys ----------------------------------------------------------------------------------------

--- A key from a password, by many rounds of HMAC; a thread of the pool makes it.
---@param password string
---@param salt string 16 random bytes or more
---@param iterations integer
---@param keylen integer bytes of the key
---@param digest string
---@param callback fun(err: Error?, key: string?)
function crypto.pbkdf2(password, salt, iterations, keylen, digest, callback)
  require("lrun.crypto.derive").pbkdf2(false, password, salt, iterations, keylen, digest, callback)
end

--- The same at once: nothing else runs meanwhile.
---@param password string
---@param salt string
---@param iterations integer
---@param keylen integer
---@param digest string
---@return string key
function crypto.pbkdf2Sync(password, salt, iterations, keylen, digest)
  return require("lrun.crypto.derive").pbkdf2(true, password, salt, iterations, keylen, digest)
end

---@class ScryptOptions
---@field cost integer? a power of two; 16384. Also `N`
---@field blockSize integer? 8. Also `r`
---@field parallelization integer? 1. Also `p`
---@field maxmem integer? bytes it may take, 32 MiB: about 128 * cost * blockSize are needed

--- A key from a password, by much memory; a thread of the pool makes it.
---@param password string
---@param salt string 16 random bytes or more
---@param keylen integer bytes of the key
---@param options ScryptOptions|fun(err: Error?, key: string?)|nil
---@param callback fun(err: Error?, key: string?)
function crypto.scrypt(password, salt, keylen, options, callback)
  require("lrun.crypto.derive").scrypt(false, password, salt, keylen, options, callback)
end

--- The same at once.
---@param password string
---@param salt string
---@param keylen integer
---@param options ScryptOptions?
---@return string key
function crypto.scryptSync(password, salt, keylen, options)
  return require("lrun.crypto.derive").scrypt(true, password, salt, keylen, options)
end

--- Keys from a key (HKDF); a thread of the pool makes them.
---@param digest string
---@param ikm string the key there is
---@param salt string may be empty
---@param info string what the new one is for, up to 1024 bytes; may be empty
---@param keylen integer up to 255 times the digest's length
---@param callback fun(err: Error?, key: string?)
function crypto.hkdf(digest, ikm, salt, info, keylen, callback)
  require("lrun.crypto.derive").hkdf(false, digest, ikm, salt, info, keylen, callback)
end

--- The same at once.
---@param digest string
---@param ikm string
---@param salt string
---@param info string
---@param keylen integer
---@return string key
function crypto.hkdfSync(digest, ikm, salt, info, keylen)
  return require("lrun.crypto.derive").hkdf(true, digest, ikm, salt, info, keylen)
end

-- Ciphers -------------------------------------------------------------------------------------------------------------

---@class CipherOptions: StreamOptions
---@field authTagLength integer? bytes of an AEAD mode's tag: 16; CCM and OCB need it

--- Encrypts, by `update` and `final` or as a stream.
---@param algorithm string of `getCiphers`, such as "aes-256-gcm"
---@param key string of the length that the cipher has
---@param iv string? never the same twice with one key; nil where the cipher has none
---@param options CipherOptions?
---@return Cipheriv
function crypto.createCipheriv(algorithm, key, iv, options)
  return require("lrun.crypto.cipher").Cipheriv:new(algorithm, key, iv, options)
end

--- Decrypts.
---@param algorithm string
---@param key string
---@param iv string?
---@param options CipherOptions?
---@return Decipheriv
function crypto.createDecipheriv(algorithm, key, iv, options)
  return require("lrun.crypto.cipher").Decipheriv:new(algorithm, key, iv, options)
end

--- The names of all ciphers.
---@return string[]
function crypto.getCiphers() return require("lrun.crypto.library").core.ciphers() end

--- What a cipher needs; nil when there is none of that name.
---@param name string
---@return { name: string, nid: integer, mode: string, keyLength: integer, ivLength: integer?, blockSize: integer? }?
function crypto.getCipherInfo(name)
  validate.string(name, "nameOrNid")
  local info = not name:find("\0", 1, true) and require("lrun.crypto.library").core.cipherInfo(name)
  if not info then return nil end
  return {
    name = name:lower(), nid = info.nid, mode = info.mode, keyLength = info.keyLength,
    ivLength = info.ivLength > 0 and info.ivLength or nil, blockSize = info.mode ~= "stream" and info.blockSize or nil,
  }
end

-- Signatures and their keys -------------------------------------------------------------------------------------------

---@class SigningKey
---@field key string|KeyObject PEM, or DER where `format` says so
---@field format ("pem"|"der")?
---@field type ("pkcs8"|"pkcs1"|"sec1"|"spki")? of DER
---@field passphrase string? of an encrypted private key
---@field padding integer? of RSA: `constants.RSA_PKCS1_PADDING` or `RSA_PKCS1_PSS_PADDING`
---@field saltLength integer? of PSS
---@field dsaEncoding ("der"|"ieee-p1363")? of ECDSA: how the signature's two numbers are written

--- Signs.
---@param algorithm string? a digest; nil for Ed25519 and Ed448, which make their own
---@param data string
---@param key string|KeyObject|SigningKey the private key
---@param callback fun(err: Error?, signature: string?)? then a thread of the pool signs
---@return string? signature
function crypto.sign(algorithm, data, key, callback) return require("lrun.crypto.sign").sign(algorithm, data, key, callback) end

--- Whether a signature is good.
---@param algorithm string?
---@param data string
---@param key string|KeyObject|SigningKey the public key, or the private one, or a certificate
---@param signature string
---@param callback fun(err: Error?, good: boolean?)?
---@return boolean?
function crypto.verify(algorithm, data, key, signature, callback)
  return require("lrun.crypto.sign").verify(algorithm, data, key, signature, callback)
end

--- Signs what comes in pieces: `createSign("sha256"):update(data):sign(key)`, or a stream to be written.
---@param algorithm string
---@param options StreamOptions?
---@return Sign
function crypto.createSign(algorithm, options) return require("lrun.crypto.sign").Sign:new(algorithm, options) end

--- Verifies what comes in pieces: `createVerify("sha256"):update(data):verify(key, signature)`.
---@param algorithm string
---@param options StreamOptions?
---@return Verify
function crypto.createVerify(algorithm, options) return require("lrun.crypto.sign").Verify:new(algorithm, options) end

---@class KeyPairOptions
---@field modulusLength integer? bits, of rsa and rsa-pss
---@field publicExponent integer? of rsa: 65537
---@field hashAlgorithm string? of rsa-pss: the one digest it signs with
---@field mgf1HashAlgorithm string? of rsa-pss
---@field saltLength integer? of rsa-pss: the least
---@field namedCurve string? of ec: of `getCurves`, or "P-256", "P-384", "P-521"
---@field publicKeyEncoding { type: string?, format: string? }? as for `KeyObject:export`; then the key comes so
---@field privateKeyEncoding { type: string?, format: string?, cipher: string?, passphrase: string? }?

--- A new pair of keys; a thread of the pool makes it.
---@param kind "rsa"|"rsa-pss"|"ec"|"ed25519"|"ed448"|"x25519"|"x448"
---@param options KeyPairOptions|nil
---@param callback fun(err: Error?, publicKey: (KeyObject|string)?, privateKey: (KeyObject|string)?)
function crypto.generateKeyPair(kind, options, callback) require("lrun.crypto.generate").async(kind, options, callback) end

--- The same at once.
---@param kind string
---@param options KeyPairOptions?
---@return { publicKey: KeyObject|string, privateKey: KeyObject|string }
function crypto.generateKeyPairSync(kind, options) return require("lrun.crypto.generate").sync(kind, options) end

--- Reads a private key, so that it is read once for many signatures.
---@param key string|SigningKey
---@return KeyObject
function crypto.createPrivateKey(key) return require("lrun.crypto.keys").private(key) end

--- Reads a public key: SPKI or PKCS#1, the public half of a private key, or that of a certificate.
---@param key string|KeyObject|SigningKey
---@return KeyObject
function crypto.createPublicKey(key) return require("lrun.crypto.keys").public(key) end

--- The names of the curves for ec.
---@return string[]
function crypto.getCurves()
  local list = require("lrun.crypto.library").core.curves()
  table.sort(list)
  return list
end

calls.functions(crypto, "crypto")

return crypto
