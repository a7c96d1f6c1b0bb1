--- tls.Server: a net.Server whose connections are encrypted. `connection` gives the raw socket, `secureConnection` the
--- TLSSocket of a handshake that went well. Source: Node 20.
local calls = require("lrun.check.calls")
local net = require("net")
local serving = require("lrun.tls.serving")
local validate = require("lrun.check.validate")

--- Event secureConnection(socket: TLSSocket)
--- Event tlsClientError(err: Error, socket: TLSSocket): a handshake that failed; the connection ends
--- Event newSession(id: string, session: string, done: fun())
--- Event resumeSession(id: string, done: fun(err: any?, session: string?))
--- Event OCSPRequest(certificate: string, issuer: string?, done: fun(err: any?, response: string?))
--- Event keylog(line: string, socket: TLSSocket)
---@class TLSServer: Server, TLSServing
local Server = net.Server:extend("Server")
serving.into(Server)

---@param options TLSServerOptions?
---@param onSecureConnection fun(socket: TLSSocket)? listener for `secureConnection`
function Server:initialize(options, onSecureConnection)
  if type(options) == "function" then options, onSecureConnection = nil, options end
  options = validate.optional(validate.table, options, "options") or {}
  validate.optional(validate.func, onSecureConnection, "secureConnectionListener")
  net.Server.initialize(self, options)
  self:_initializeTLS(options)
  if onSecureConnection then self:on("secureConnection", onSecureConnection) end
end

--- Internal: a handshake went well.
function Server:_onSecure(record)
  local socket = serving.socketOf(record)
  local options = self._options
  if options.noDelay == false then socket:setNoDelay(false) end
  if options.keepAlive then socket:setKeepAlive(true, options.keepAliveInitialDelay) end
  socket:emit("secure")
  if socket.destroyed then return end
  socket:_begin()
  self:emit("secureConnection", socket)
end

calls.methods(Server, "server", { emit = true })

return Server
