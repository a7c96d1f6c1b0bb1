--- Secure contexts: options → C's context (runtime/tls/context.h). Whatever cannot be is an error that names the option or
--- the file.
local core = require("lrun.core.tls")
local errors = require("errors")
local fault = require("lrun.tls.fault")
local options = require("lrun.tls.options")
local validate = require("lrun.check.validate")

---@class SecureContextOptions
---@field cert (string|string[])? PEM: a certificate and its chain; a list for several kinds of keys
---@field key (string|table[]|string[])? PEM; a list of texts or `{ pem, passphrase }`, each finding its certificate
---@field certFile string? path of such a PEM file
---@field keyFile string? path
---@field watch boolean? of servers: the two files are loaded again when they change
---@field passphrase string? of encrypted keys and `pfx`
---@field pfx (string|table[])? PKCS#12: bytes, or a list of bytes or `{ buf, passphrase }`
---@field ca (string|string[])? PEM: the only authorities that are believed
---@field crl (string|string[])? PEM: revocation lists
---@field ciphers string? OpenSSL's names, with colons between
---@field ecdhCurve string? "auto", or names with colons between
---@field sigalgs string? names with colons between
---@field dhparam string? "auto" or PEM, for DHE ciphers
---@field minVersion string? "TLSv1.2"
---@field maxVersion string? "TLSv1.3"
---@field honorCipherOrder boolean? of servers, true: our order of ciphers counts
---@field secureOptions integer? OpenSSL's SSL_OP_ flags
---@field sessionIdContext string? servers with different ones do not take one another's sessions
---@field sessionTimeout integer? seconds for which a session can be resumed, 300
---@field ticketKeys string? of servers: 48 bytes
---@field ocspStaple string? of servers: path of an OCSP response that goes out with the certificate

--- What many connections share. Made by `tls.createSecureContext`; can be given wherever its options can.
---@class SecureContext
---@field context userdata
local SecureContext = { name = "SecureContext" }
SecureContext.__index = SecureContext

local context = { SecureContext = SecureContext }

local SINGLE_DH, SERVER_ORDER, PRIORITIZE_CHACHA = 0, 2 ^ 22, 2 ^ 21

local function isText(value) return type(value) == "string" end
local function isKey(value) return isText(value) or type(value) == "table" and isText(value.pem) end
local function isPfx(value) return isText(value) or type(value) == "table" and isText(value.buf) end

local function checked(ok, told, where)
  if not ok then error(fault.error(told, where), 0) end
end

-- What somebody should have typed who gave a path where the text of a PEM file is wanted.
local function orFile(where, text)
  if #text > 1024 or text:find("[%c]") or not text:find("[./]") then return where end
  local name = where:match("^options%.(%a+)")
  local instead = (name == "cert" or name == "key") and ("options.%sFile takes the path of one"):format(name)
    or 'require("fs").readFileSync reads one'
  return ("%s takes the text of a PEM file, and %s"):format(where, instead)
end

-- Checks -----------------------------------------------------------------------------------------------------------

local STRINGS = { "certFile", "keyFile", "passphrase", "ciphers", "ecdhCurve", "sigalgs", "dhparam", "sessionIdContext", "ocspStaple" }

local function check(given)
  for _, name in ipairs(STRINGS) do validate.optional(validate.string, given[name], "options." .. name) end
  validate.flags(given, { "watch", "honorCipherOrder" })
  validate.optional(validate.integer, given.secureOptions, "options.secureOptions", 0)
  validate.optional(validate.integer, given.sessionTimeout, "options.sessionTimeout", 1, 2147483647)
  validate.optional(options.ticketKeys, given.ticketKeys, "options.ticketKeys")
  if given.watch and not (given.certFile and given.keyFile) then
    error(errors.argValue("options.watch", true, "needs options.certFile and options.keyFile, which it watches"), 0)
  end
end

local function versions(given)
  local lowest = options.version(given.minVersion or options.DEFAULT_MIN_VERSION, "minimum")
  local highest = options.version(given.maxVersion or options.DEFAULT_MAX_VERSION, "maximum")
  if not given.ciphers then return lowest, highest end
  local hasSuites, hasOthers = false, false
  for name in given.ciphers:gmatch("[^:]+") do
    if name:find("^TLS_") then hasSuites = true else hasOthers = true end
  end
  if not hasSuites and lowest < 0x304 and highest == 0x304 then highest = 0x303 end
  if not hasOthers and lowest < 0x304 and highest == 0x304 then lowest = 0x304 end
  return lowest, highest
end

-- Certificates and keys ----------------------------------------------------------------------------------------------

local function readFile(path)
  local file, _, code = io.open(path, "rb")
  local text
  if file then
    text, _, code = file:read("*a")
    file:close()
  end
  if not text then error(errors.system(-code, "open", { path = path }), 0) end
  return text
end

-- Every certificate, and where an error says that it is.
local function certificates(given)
  local list = {}
  for i, text in ipairs(given.cert ~= nil and options.list(given.cert, "options.cert", isText, "string or table") or {}) do
    list[#list + 1] = { text = text, where = type(given.cert) == "table" and ("options.cert[%d]"):format(i) or "options.cert" }
  end
  if given.certFile then
    list[#list + 1] = { text = readFile(given.certFile), where = "options.certFile " .. given.certFile }
  end
  return list
end

local function keys(given)
  local list = {}
  for i, key in ipairs(given.key ~= nil and options.list(given.key, "options.key", isKey, "string or table") or {}) do
    local own = type(key) == "table" and key.passphrase or nil
    validate.optional(validate.string, own, "options.key[].passphrase")
    list[#list + 1] = {
      text = type(key) == "table" and key.pem or key, passphrase = own or given.passphrase,
      where = type(given.key) == "table" and ("options.key[%d]"):format(i) or "options.key",
    }
  end
  if given.keyFile then
    list[#list + 1] = { text = readFile(given.keyFile), passphrase = given.passphrase, where = "options.keyFile " .. given.keyFile }
  end
  return list
end

local function badKey(what, key, told)
  if what ~= "passphrase" then
    local where = orFile(key.where, key.text)
    return fault.error(told, where == key.where and where .. " is no private key" or where)
  end
  local say = key.passphrase and "options.passphrase is wrong for the encrypted " or "options.passphrase is missing for the encrypted "
  return fault.error(told, say .. key.where)
end

local function mismatch(key, certificate)
  return errors.coded("ERR_OSSL_X509_KEY_VALUES_MISMATCH",
    ("%s: the private key is not the one of the certificate in %s (key values mismatch)"):format(key.where, certificate.where),
    { library = "x509 certificate routines", reason = "key values mismatch" })
end

-- Each certificate takes the key that fits; each key must have fitted one.
local function pair(c, certs, privateKeys)
  if #certs == 0 and #privateKeys == 0 then return end
  if #privateKeys == 0 then
    error(errors.coded("ERR_MISSING_ARGS", ("options.key is missing: %s needs its private key"):format(certs[1].where)), 0)
  elseif #certs == 0 then
    error(errors.coded("ERR_MISSING_ARGS", ("options.cert is missing: %s needs its certificate"):format(privateKeys[1].where)), 0)
  end
  for _, certificate in ipairs(certs) do
    local found
    for _, key in ipairs(privateKeys) do
      local ok, what, told = c:identity(certificate.text, key.text, key.passphrase)
      if ok then
        key.used, found = true, true
        break
      elseif what == "cert" then
        error(fault.error(told, orFile(certificate.where, certificate.text)), 0)
      elseif what ~= "mismatch" then
        error(badKey(what, key, told), 0)
      end
    end
    if not found then error(mismatch(privateKeys[#privateKeys], certificate), 0) end
  end
  for _, key in ipairs(privateKeys) do
    if not key.used then error(mismatch(key, certs[#certs]), 0) end
  end
end

local function loadPfx(c, given)
  if given.pfx == nil then return end
  for _, each in ipairs(options.list(given.pfx, "options.pfx", isPfx, "string or table")) do
    local bytes, passphrase = each, given.passphrase
    if type(each) == "table" then bytes, passphrase = each.buf, each.passphrase or passphrase end
    local ok, what, told = c:pfx(bytes, passphrase)
    if not ok then
      local where = what == "passphrase" and "options.passphrase is wrong or missing for options.pfx" or "options.pfx"
      if what == "mismatch" then where = "options.pfx: its key is not the certificate's" end
      error(fault.error(told, where), 0)
    end
  end
end

-- The rest -----------------------------------------------------------------------------------------------------------

-- Returns what tells this trust from another: sessions made under one are not resumed under another. A server that asks
-- nobody for a certificate needs no system store.
local function loadTrust(c, given, forServer)
  local trust = {}
  local function load(name, method)
    if given[name] == nil then return end
    for _, text in ipairs(options.list(given[name], "options." .. name, isText, "string or table")) do
      local ok, told = c[method](c, text)
      checked(ok, told, ok and name or orFile("options." .. name, text))
      trust[#trust + 1] = name .. #text .. ":" .. text
    end
  end
  load("ca", "addCA")
  load("crl", "addCRL")
  if given.ca == nil and (not forServer or given.requestCert) then c:systemStore() end
  return table.concat(trust)
end

local function setCiphers(c, given, forServer)
  local text = given.ciphers or forServer and context.serverCiphers() or context.defaultCiphers()
  local suites, others = {}, {}
  for name in text:gmatch("[^:]+") do
    local list = name:find("^TLS_") and suites or others
    list[#list + 1] = name
  end
  local ok, told = c:ciphers(#others > 0 and table.concat(others, ":") or nil, #suites > 0 and table.concat(suites, ":") or nil)
  checked(ok, told, "options.ciphers")
end

local function setKeyExchange(c, given)
  if given.ecdhCurve and given.ecdhCurve ~= "auto" then
    local ok, told = c:groups(given.ecdhCurve)
    checked(ok, told, "options.ecdhCurve")
  end
  if given.sigalgs then
    local ok, told = c:sigalgs(given.sigalgs)
    checked(ok, told, "options.sigalgs")
  end
  if not given.dhparam then return end
  local auto = given.dhparam == "auto"
  local ok, told = c:dh(not auto and given.dhparam or nil)
  checked(ok, told, "options.dhparam")
  if not auto and told < 1024 then error(errors.argValue("options.dhparam", told .. " bits", "must have 1024 bits or more"), 0) end
end

local function setFlags(c, given, forServer)
  local set = given.secureOptions or SINGLE_DH
  local bit = require("bit")
  if given.honorCipherOrder or forServer and given.honorCipherOrder ~= false then
    set = bit.bor(set, SERVER_ORDER, PRIORITIZE_CHACHA)
  end
  c:options(set % 2 ^ 32)
end

local defaultCiphers = options.DEFAULT_CIPHERS

--- What clients, and servers after a program has changed it, take: `tls.DEFAULT_CIPHERS`.
---@return string
function context.defaultCiphers()
  local module = require("lrun.core.loaded").tls
  return type(module) == "table" and module.DEFAULT_CIPHERS or defaultCiphers
end

function context.serverCiphers()
  local now = context.defaultCiphers()
  return now == defaultCiphers and options.SERVER_CIPHERS or now
end

--- Makes a context. `forServer`: for a server's own use.
---@param given SecureContextOptions?
---@param forServer boolean?
---@return SecureContext
function context.create(given, forServer)
  given = validate.optional(validate.table, given, "options") or {}
  check(given)
  local c = core.newContext(versions(given))
  setCiphers(c, given, forServer)
  setKeyExchange(c, given)
  setFlags(c, given, forServer)
  loadPfx(c, given)
  local trust = loadTrust(c, given, forServer)
  pair(c, certificates(given), keys(given))
  if given.ca ~= nil then c:complete() end
  c:sessionIdContext(("lrun:%s:%s:%s:%s"):format(given.sessionIdContext or "", tostring(given.requestCert == true),
    tostring(given.rejectUnauthorized), trust))
  if given.sessionTimeout then c:sessionTimeout(given.sessionTimeout) end
  if given.ocspStaple then
    local ok, told = c:ocsp(readFile(given.ocspStaple))
    checked(ok, told, ("options.ocspStaple %s is no OCSP response in DER"):format(given.ocspStaple))
  end
  return setmetatable({ context = c }, SecureContext)
end

--- Whether a value is a context.
---@param value any
---@return boolean
function context.is(value) return type(value) == "table" and type(rawget(value, "context")) == "userdata" end

return context
