--- Errors of TLS: what C tells of a fault (runtime/tls/fault.h) as an Error with Node's code, and where it happened.
local errors = require("errors")

local fault = {}

-- What somebody who meets one of these mostly wants to know.
local HINTS = {
  ERR_SSL_WRONG_VERSION_NUMBER = "the peer does not speak TLS on this port",
  ERR_SSL_HTTP_REQUEST = "the client speaks plain HTTP",
  ERR_SSL_NO_SHARED_CIPHER = "client and server have no cipher in common, or the server has no certificate for it",
  ERR_SSL_UNSUPPORTED_PROTOCOL = "client and server have no version of TLS in common",
  ERR_SSL_NO_CIPHER_MATCH = "no cipher of that name is known",
  ERR_OSSL_PEM_NO_START_LINE = "this is no PEM",
}

--- Makes the error.
---@param told table `code`, `message`, `library`, `reason`; of a certificate also `depth` and `subject`
---@param where string? goes before the message: an option, a file
---@param fields table? more fields of the error
---@return Error
function fault.error(told, where, fields)
  local message = told.message
  local hint = HINTS[told.code]
  if hint then message = ("%s (%s)"):format(message, hint) end
  if where then message = where .. ": " .. message end
  local all = { library = told.library, reason = told.reason, depth = told.depth, subject = told.subject }
  for key, value in pairs(fields or {}) do all[key] = value end
  return errors.coded(told.code, message, all)
end

--- A connection that ended before it was secure.
---@param isServer boolean
---@param fields table? of the error
---@return Error
function fault.reset(isServer, fields)
  return errors.coded("ECONNRESET", isServer and "socket hang up"
    or "Client network socket disconnected before secure TLS connection was established", fields)
end

--- A connection that the system has ended.
---@param code string
---@return Error
function fault.system(code) return errors.system(code, code == "EPIPE" and "write" or "read") end

return fault
