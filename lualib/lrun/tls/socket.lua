--- tls.TLSSocket: a net.Socket whose handle is an encrypted connection (runtime/tls/handle.h).
---
--- A client is made here and connects, or is put over a stream that is there; a server's is made by lrun.tls.accept when
--- its connection is secure, or by a program over a stream (`isServer`). Until it is secure what is written waits.
--- A stream that is no socket, or that is itself encrypted, is joined to the connection by a pair of unix sockets.
local core = require("lrun.core.tls")
local calls = require("lrun.check.calls")
local context = require("lrun.tls.context")
local errors = require("errors")
local fault = require("lrun.tls.fault")
local identity = require("lrun.tls.identity")
local ip = require("lrun.net.ip")
local Socket = require("lrun.net.socket")
local process = require("process")
local options = require("lrun.tls.options")
local validate = require("lrun.check.validate")

local nextTick = process.nextTick

--- Event secureConnect(): of a client: the handshake is over, the certificate is believed
--- Event secure(): the same at both sides, before certificates are looked at
--- Event session(session: string): of a client: what makes a later connection quicker
--- Event OCSPResponse(response: string?)
--- Event keylog(line: string)
---@class TLSSocket: Socket
---@field encrypted boolean true
---@field authorized boolean the peer's certificate is believed
---@field authorizationError string? why not, a code
---@field alpnProtocol string|false|nil false: none; nil before the handshake
---@field servername string|false|nil what the client asked for; false: nothing
local TLSSocket = Socket:extend("TLSSocket")
TLSSocket.encrypted = true

-- Options ------------------------------------------------------------------------------------------------------------

local FUNCTIONS = { "checkServerIdentity", "SNICallback", "ALPNCallback", "pskCallback" }

--- Throws for options that no connection can have.
---@param given table
function TLSSocket._check(given)
  for _, name in ipairs(FUNCTIONS) do validate.optional(validate.func, given[name], "options." .. name) end
  validate.optional(validate.integer, given.minDHSize, "options.minDHSize", 1)
  validate.optional(validate.string, given.session, "options.session")
  validate.optional(validate.string, given.servername, "options.servername")
  validate.flags(given, { "isServer", "requestCert", "rejectUnauthorized", "requestOCSP" })
  options.alpn(given.ALPNProtocols)
  if given.secureContext ~= nil and not context.is(given.secureContext) then
    error(errors.argType("options.secureContext", "an instance of SecureContext", given.secureContext), 0)
  end
end

local function rejects(given) return given.rejectUnauthorized ~= false end

-- The handshake --------------------------------------------------------------------------------------------------------

local function placeOf(given)
  return { host = given.host, port = tonumber(given.port), path = given.path, localAddress = given.localAddress }
end

local function hostOf(given)
  if given.servername and given.servername ~= "" then return given.servername end
  return given.host and given.host ~= "" and given.host or "localhost"
end

-- A client's name for the server: what was asked for, else the host; addresses are no names.
local function servernameOf(given)
  if given.servername ~= nil then return given.servername ~= "" and given.servername or nil end
  local host = given.host
  return host and host ~= "" and ip.parse(host) == 0 and (host:gsub("%.$", "")) or nil
end

local function describe(self, told)
  local given = self._tls
  local where = told.depth and not given.isServer and hostOf(given) or nil
  return fault.error(told, where, placeOf(given))
end

local function onFailed(self, told, code)
  if told then return self:destroy(describe(self, told)) end
  if not self._secured and code == "ECONNRESET" then
    return self:destroy(fault.reset(self._tls.isServer, placeOf(self._tls)))
  end
  self:destroy(fault.system(code))
end

-- What speaks against a client's connection that is secure: an error, or nil.
local function objection(self, handle)
  local given = self._tls
  local name, told = handle:verification()
  if name then return describe(self, told), name end
  if handle:reused() then return nil end
  local verify = given.checkServerIdentity or identity.check
  local err = verify(hostOf(given), self:getPeerCertificate(true))
  if err ~= nil then return err, type(err) == "table" and err.code or tostring(err) end
end

local function checkStrength(self, handle)
  local least = self._tls.minDHSize or 1024
  local key = handle:ephemeralKey()
  if key and key.type == "DH" and key.size < least then
    return errors.coded("ERR_TLS_DH_PARAM_SIZE", ("DH parameter size %d is less than %d"):format(key.size, least))
  end
end

-- Decides about the server; false when the socket is no more.
local function believe(self, handle)
  local weak = checkStrength(self, handle)
  if weak then
    self:destroy(weak)
    return false
  end
  local err, code = objection(self, handle)
  if self.destroyed then return false end
  if err ~= nil and rejects(self._tls) then
    self.authorizationError = code
    self:destroy(err)
    return false
  end
  self.authorized, self.authorizationError = err == nil, code
  return true
end

local function tellSessions(self)
  local waiting = self._sessions
  self._believed, self._sessions = true, nil
  for i = 1, waiting and #waiting or 0 do
    if not self.destroyed then self:emit("session", waiting[i]) end
  end
end

--- Internal: takes the facts of a connection that is secure.
function TLSSocket:_takeFacts(handle)
  self._secured, self.secureConnecting = true, false
  self.alpnProtocol = handle:alpn()
  if self._tls.isServer then
    self.servername = handle:servername()
    local name = self._tls.requestCert and handle:verification()
    local shown = self._tls.requestCert and next(handle:peerCertificate()) ~= nil
    self.authorized = shown and not name or false
    if self._tls.requestCert and not self.authorized then
      self.authorizationError = name or "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"
    end
  end
end

local function onSecure(self)
  local handle = self._facts
  if not handle then return end
  self:_takeFacts(handle)
  self:emit("secure")
  if self.destroyed or self._tls.isServer then return end
  if self._tls.requestOCSP then self:emit("OCSPResponse", handle:ocspResponse()) end
  if self.destroyed or not believe(self, handle) then return end
  self:emit("secureConnect")
  tellSessions(self)
end

local function onSession(self, session)
  if self._believed then return self:emit("session", session) end
  self._sessions = self._sessions or {}
  self._sessions[#self._sessions + 1] = session
end

local function onKeylog(self, lines)
  for line in lines:gmatch("[^\n]*\n") do self:emit("keylog", line) end
end

-- What C calls for a client's connection.
local Client = {}
Client.__index = Client

function Client:secure() onSecure(self.socket) end
function Client:session(session) onSession(self.socket, session) end
function Client:keylog(lines) onKeylog(self.socket, lines) end
function Client:failed(told, code) onFailed(self.socket, told, code) end
function Client:renegotiated() self.socket:emit("secure") end

-- The same for a server's side that a program has put over a stream; made with the first of them.
local Server

local function serverClass()
  local accept = require("lrun.tls.accept")
  Server = Server or accept.class{
    onSecure = function(self) onSecure(self.socket) end,
    onFailed = function(self, err)
      if self.handle and not self.socket.destroyed then self.socket:destroy(err) end
    end,
    keylog = Client.keylog, onRenegotiated = Client.renegotiated,
  }
  return accept
end

-- The transport --------------------------------------------------------------------------------------------------------

local function policyOf(self, given)
  return core.policy{
    reject = rejects(given), requestCert = given.requestCert == true, sessions = true, keys = self:listenerCount("keylog") > 0,
    alpn = options.alpn(given.ALPNProtocols),
  }
end

local function prepareClient(self, handle, given)
  local name = servernameOf(given)
  if name then
    handle:setServername(name)
    self.servername = name
  end
  if given.requestOCSP then handle:requestOCSP() end
  if given.session then handle:setSession(given.session) end
end

-- Puts TLS over a luv handle; the handshake is begun by the caller.
local function wrapClient(self, transport)
  local given = self._tls
  local handle = core.wrap(transport, given.secureContext.context, policyOf(self, given), false, setmetatable({ socket = self }, Client))
  if self:listenerCount("keylog") > 0 then given.secureContext.context:keylog() end
  prepareClient(self, handle, given)
  self.secureConnecting = true
  return handle
end

local function wrapServer(self, transport)
  local accept = serverClass()
  self.secureConnecting = true
  return accept.wrap(setmetatable({ spec = accept.specOf(self._tls), handle = false, socket = self }, Server), transport)
end

local function begin(self, handle, received)
  if not self.destroyed and not handle:is_closing() then handle:start(received) end
end

local function attach(self, transport, received)
  local handle = (self._tls.isServer and wrapServer or wrapClient)(self, transport)
  self._handle, self._facts = handle, handle
  Socket._onConnected(self)
  nextTick(begin, self, handle, received)
end

--- Internal: the connection stands; the handshake begins.
function TLSSocket:_onConnected()
  self._handle = wrapClient(self, self._handle)
  self._facts = self._handle
  Socket._onConnected(self)
  if not self.destroyed then nextTick(begin, self, self._handle) end
end

-- Over a net.Socket: its handle is ours from now on, both objects end together.
local function takeSocket(self, raw)
  raw:_rememberAddresses()
  self._peer, self._own = raw._peer, raw._own
  local transport, received = raw:_release()
  if not transport then return self:destroy(fault.reset(self._tls.isServer, placeOf(self._tls))) end
  local server = raw:_acceptedBy()
  raw:_countedBy(nil)
  self:_countedBy(server)
  attach(self, transport, received)
end

-- Over any other stream: a pair of sockets, one end for us, one that is piped to it.
local function bridge(self, raw)
  local handles = require("lrun.net.handles")
  local ours, theirs = require("lrun.core.channel").pair()
  local other = Socket:new{ handle = handles.take("pipe", theirs), allowHalfOpen = true }
  other:pipe(raw)
  raw:pipe(other)
  other:on("error", function() raw:destroy() end)
  other:on("close", function() raw:destroy() end)
  raw:on("close", function() other:destroySoon() end)
  attach(self, handles.take("pipe", ours), nil)
end

local function isPlainSocket(raw) return type(raw._release) == "function" and not raw.encrypted and not raw._connection end

local function follow(self, raw)
  self._parent = raw
  self:_endsWith(raw)
  raw:once("error", function(err) self:destroy(err) end)
  local join = isPlainSocket(raw) and takeSocket or bridge
  local function take()
    if not self.destroyed then join(self, raw) end
  end
  if not raw.connecting and (raw.writableLength or 0) == 0 then return take() end
  self.connecting = true
  local function whenWritten()       -- what was written in the clear goes out in the clear
    if (raw.writableLength or 0) == 0 then take() else raw:write("", take) end
  end
  if raw.connecting then raw:once("connect", whenWritten) else whenWritten() end
end

--- Internal: two objects for one connection: they end together.
function TLSSocket:_endsWith(raw)
  self:once("close", function() raw:destroy() end)
  raw:once("close", function() if not self.destroyed then self:destroy() end end)
end

--- Internal: reading may begin.
function TLSSocket:_begin()
  if not self._rs.paused and self._rs.readable then self:read(0) end
end

-- Making one -----------------------------------------------------------------------------------------------------------

--- Makes a socket over another one, or over any duplex stream: `isServer` says which side it is. Source: Node 20.
---@param socket Duplex? nil: it will `connect`
---@param given TLSSocketOptions?
function TLSSocket:initialize(socket, given)
  if socket ~= nil then options.stream(socket, "socket") end
  given = validate.optional(validate.table, given, "options") or {}
  TLSSocket._check(given)
  local own = {}
  for key, value in pairs(given) do own[key] = value end
  own.isServer = given.isServer == true
  own.secureContext = given.secureContext or context.create(given, own.isServer)
  Socket.initialize(self, {
    allowHalfOpen = given.allowHalfOpen or socket ~= nil and socket.allowHalfOpen == true or nil, signal = given.signal,
    highWaterMark = given.highWaterMark, handle = given.handle, pauseOnCreate = given.pauseOnCreate, manualStart = true,
  })
  self._tls, self.authorized, self._secured, self._believed = own, false, false, false
  self._facts = given.facts          -- the encrypted handle, which may lie below another one: an HTTP connection
  if socket ~= nil then follow(self, socket) end
end

-- Writing ----------------------------------------------------------------------------------------------------------------

-- One write is with the handle at a time: one function tells that it is done, of all of them.
local function listen(self)
  local function written()
    local callback = self._sealing
    self._sealing = nil
    if self._idle then self._idle:touch() end
    self._written = self._written + self._ws.size
    callback()
  end
  self._onSent = written
  return written
end

function TLSSocket:_write(data, callback)
  local handle = self._handle
  if self.connecting or not handle or handle ~= self._facts or handle:is_closing() then return Socket._write(self, data, callback) end
  if self._idle then self._idle:touch() end
  local sent, _, code = handle:send(data, self._onSent or listen(self))
  if sent then
    self._written = self._written + #data
    return callback()
  elseif sent == nil then
    return callback(errors.system(code, "write"))
  end
  self._sealing = callback
end

function TLSSocket:_destroy(err, callback)
  local sealing = self._sealing
  self._sealing, self._parent = nil, nil
  Socket._destroy(self, err, callback)
  if sealing then nextTick(sealing, err or errors.system("ECANCELED", "write")) end
end

-- Facts ------------------------------------------------------------------------------------------------------------------

-- What a method of the handle tells; nil once it is closed.
local function fact(self, method, ...)
  local handle = self._facts
  if not handle then return nil end
  return handle[method](handle, ...)
end

--- The peer's certificate: a table with Node's fields; empty when it has shown none. Detailed: with `issuerCertificate`,
--- up to the root, which is its own.
---@param detailed boolean?
---@return table? certificate nil when the connection is closed
function TLSSocket:getPeerCertificate(detailed)
  return fact(self, "peerCertificate", detailed == true)
end

--- Our own certificate; an empty table when there is none.
---@return table?
function TLSSocket:getCertificate() return fact(self, "certificate") end

--- The cipher: `{ name, standardName, version }`.
---@return table?
function TLSSocket:getCipher() return fact(self, "cipher") end

--- "TLSv1.2", "TLSv1.3"; nil once closed.
---@return string?
function TLSSocket:getProtocol() return fact(self, "protocol") end

--- The session, for `options.session` of a later connection. In TLS 1.3 the event `session` is the way.
---@return string?
function TLSSocket:getSession() return fact(self, "session") end

--- The ticket of the session, if it has one.
---@return string?
function TLSSocket:getTLSTicket() return fact(self, "ticket") end

--- Whether the handshake took up an earlier session.
---@return boolean
function TLSSocket:isSessionReused() return fact(self, "reused") == true end

--- Of a client: `{ type, name, size }` of the key that was agreed on; an empty table where there is none; nil at a server.
---@return table?
function TLSSocket:getEphemeralKeyInfo() return fact(self, "ephemeralKey") end

--- The last Finished message that we sent.
---@return string?
function TLSSocket:getFinished() return fact(self, "finished") end

--- The last Finished message of the peer.
---@return string?
function TLSSocket:getPeerFinished() return fact(self, "peerFinished") end

--- Bytes that both ends derive from their handshake, and nobody else can.
---@param length integer
---@param label string
---@param bytes string? context
---@return string
function TLSSocket:exportKeyingMaterial(length, label, bytes)
  validate.integer(length, "length", 1, 2 ^ 20)
  validate.string(label, "label")
  validate.optional(validate.string, bytes, "context")
  local handle = self._facts
  if not self._secured or not handle then
    error(errors.coded("ERR_TLS_INVALID_STATE", "TLS socket connection must be securely established"), 0)
  end
  local material, told = handle:export(length, label, bytes)
  if not material then error(fault.error(told), 0) end
  return material
end

-- Settings ---------------------------------------------------------------------------------------------------------------

--- Records of at most so many bytes are sent.
---@param size integer? 512 to 16384, the default
---@return boolean
function TLSSocket:setMaxSendFragment(size)
  size = size == nil and 16384 or validate.integer(size, "size")
  return fact(self, "maxSendFragment", size) == true
end

--- Of a client, before the handshake: the name that it asks for.
---@param name string
function TLSSocket:setServername(name)
  validate.string(name, "name")
  if self._tls.isServer then
    error(errors.coded("ERR_TLS_SNI_FROM_SERVER", "Cannot issue SNI from a TLS server-side socket"), 0)
  end
  self._tls.servername, self.servername = name, name
  fact(self, "setServername", name)
end

--- Of a client, before the handshake: the session to take up.
---@param session string
function TLSSocket:setSession(session)
  validate.string(session, "session")
  self._tls.session = session
  fact(self, "setSession", session)
end

--- Shakes hands again over TLS 1.2; TLS 1.3 knows no such thing. Servers refuse it to clients, so few peers take part.
---@param given table? Node's; changes nothing
---@param callback fun(err: Error?)?
---@return boolean begun
function TLSSocket:renegotiate(given, callback)
  validate.optional(validate.table, given, "options")
  validate.optional(validate.func, callback, "callback")
  local function fail(err)
    if callback then nextTick(callback, err) end
    return false
  end
  if not self._secured or not self._facts then
    return fail(errors.coded("ERR_TLS_INVALID_STATE", "TLS socket connection must be securely established"))
  end
  local ok, told = fact(self, "renegotiate")
  if not ok then return fail(told and fault.error(told) or errors.system("ENOTCONN", "renegotiate")) end
  if callback then self:once("secure", function() callback() end) end
  return true
end

--- Renegotiation is refused already.
function TLSSocket:disableRenegotiation() return nil end

calls.methods(TLSSocket, "socket")

return TLSSocket
