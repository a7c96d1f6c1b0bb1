--- The core of crypto (runtime/crypto), which opens libcrypto when it is required, with what everyone needs who calls it:
--- errors of what it returns, and names that are looked up.
local core = require("lrun.core.crypto")
local errors = require("errors")
local similar = require("lrun.host.similar")
local validate = require("lrun.check.validate")

local library = { core = core }

--- The error of what the core returned as its second value.
---@param fault table `code`, `message`, `library`, `reason`
---@param where string? goes before the message
---@return Error
function library.failure(fault, where)
  local message = where and ("%s: %s"):format(where, fault.message) or fault.message
  return errors.coded(fault.code, message, { library = fault.library, reason = fault.reason })
end

--- Passes a result on, or throws the fault.
---@return any result
function library.checked(result, fault)
  if result == nil then error(library.failure(fault), 0) end
  return result
end

-- "Invalid digest: sha-25 (did you mean 'sha256'? …)"
local function unknown(code, what, name, names, list)
  local nearest = similar.nearest(name, names)
  return errors.coded(code, ("%s: %s (%scrypto.%s() lists them)"):format(
    what, name, nearest and ("did you mean '%s'? "):format(nearest) or "", list))
end

-- C would see the text up to there.
local function isName(name) return not name:find("\0", 1, true) end

--- Checks the name of a digest.
---@param name any
---@param argument string
---@return string name
---@return integer size bytes
---@return boolean free whether its length is free
function library.digest(name, argument)
  validate.string(name, argument)
  local size, free
  if isName(name) then size, free = core.digestInfo(name) end
  if not size then error(unknown("ERR_CRYPTO_INVALID_DIGEST", "Invalid digest", name, core.digests(), "getHashes"), 0) end
  return name, size, free
end

--- What is known of a cipher.
---@param name any
---@param argument string
---@return table
function library.cipher(name, argument)
  validate.string(name, argument)
  local info = isName(name) and core.cipherInfo(name)
  if not info then error(unknown("ERR_CRYPTO_UNKNOWN_CIPHER", "Unknown cipher", name, core.ciphers(), "getCiphers"), 0) end
  return info
end

--- What a job with a callback calls: Node's `(err, result)`.
---@param callback function
---@param convert (fun(result: any): any)?
---@return function
function library.callback(callback, convert)
  return function(result, fault)
    if result == nil then return callback(library.failure(fault)) end
    callback(nil, convert and convert(result) or not convert and result)
  end
end

return library
