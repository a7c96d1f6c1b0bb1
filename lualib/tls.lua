--- Encrypted connections: TLS 1.2 and 1.3 over TCP, unix sockets, or any stream. Certificates are checked by default, against
--- the system's store. Source: Node 20; libssl is opened when this module is first required.
local calls = require("lrun.check.calls")
local context = require("lrun.tls.context")
local identity = require("lrun.tls.identity")
local options = require("lrun.tls.options")
local roots = require("lrun.tls.roots")
local Server = require("lrun.tls.server")
local TLSSocket = require("lrun.tls.socket")

---@class TLSServerOptions: SecureContextOptions, ServerOptions
---@field secureContext SecureContext? in place of the options of one
---@field requestCert boolean? asks clients for a certificate
---@field rejectUnauthorized boolean? true: with `requestCert`, a client without a good one is turned away
---@field ALPNProtocols string[]? the first that the client offers is spoken; none in common ends the handshake
---@field ALPNCallback (fun(offer: { servername: string, protocols: string[] }): string?)?
---@field SNICallback (fun(servername: string, done: fun(err: any?, context: SecureContext?)))?
---@field handshakeTimeout integer? ms, 120000

---@class TLSSocketOptions: SecureContextOptions
---@field isServer boolean? which side it is
---@field secureContext SecureContext?
---@field servername string? of a client: the name to ask for and to check; the host by default
---@field session string? of a client: from an earlier connection
---@field checkServerIdentity (fun(host: string, cert: table): any)? in place of `tls.checkServerIdentity`
---@field rejectUnauthorized boolean? true
---@field requestCert boolean? of a server
---@field ALPNProtocols string[]?
---@field requestOCSP boolean? of a client
---@field minDHSize integer? bits, 1024
---@field allowHalfOpen boolean?
---@field highWaterMark integer?
---@field signal AbortSignal?

---@class TLSConnectOptions: TLSSocketOptions, ConnectOptions
---@field socket Duplex? the stream to speak over, in place of a connection of its own

---@class tls
---@field Server TLSServer the class, as the others
---@field TLSSocket TLSSocket
---@field SecureContext SecureContext
---@field DEFAULT_MIN_VERSION string "TLSv1.2"
---@field DEFAULT_MAX_VERSION string "TLSv1.3"
---@field DEFAULT_CIPHERS string what clients offer; servers take the strong ones of it alone, unless it is changed
local tls = {
  Server = Server, TLSSocket = TLSSocket, SecureContext = context.SecureContext,
  DEFAULT_MIN_VERSION = options.DEFAULT_MIN_VERSION, DEFAULT_MAX_VERSION = options.DEFAULT_MAX_VERSION,
  DEFAULT_CIPHERS = options.DEFAULT_CIPHERS,
}

--- Makes a server.
---@param given TLSServerOptions?
---@param onSecureConnection fun(socket: TLSSocket)?
---@return TLSServer
function tls.createServer(given, onSecureConnection) return Server:new(given, onSecureConnection) end

--- Connects: `connect(port[, host][, options][, listener])`, `connect(path[, options][, listener])`,
--- `connect(options[, listener])`. The listener hears `secureConnect`.
---@overload fun(given: TLSConnectOptions, listener: function?): TLSSocket
---@overload fun(port: integer|string, host: string?, given: TLSConnectOptions?, listener: function?): TLSSocket
---@return TLSSocket
function tls.connect(...) return require("lrun.tls.connect").connect(...) end

--- Makes a context, to be given to several servers or connections.
---@param given SecureContextOptions?
---@return SecureContext
function tls.createSecureContext(given) return context.create(given) end

--- Whether a certificate is a host's: nil, or the error that a client ends with.
---@param host string
---@param cert table as `getPeerCertificate` gives it
---@return Error?
function tls.checkServerIdentity(host, cert) return identity.check(host, cert) end

--- The authorities that the system trusts, PEM texts. Source: ours.
---@return string[]
function tls.rootCertificates() return roots.list() end

--- The names of all ciphers that can be used, in small letters.
---@return string[]
function tls.getCiphers() return roots.ciphers() end

calls.functions(tls, "tls")

return tls
