--- What tls.Server and https.Server have in common: contexts and their names, ticket keys, and the way of a connection from
--- `_onconnection` to secure. `serving.into(class)` puts it into a class that extends net.Server; the class says in
--- `_onSecure(record)` what becomes of a connection that is secure.
---
--- A record stands for a connection until then: an Acceptance (lrun.tls.accept), which is also an entry of the server's
--- list of those under way (lrun.tls.deadlines). Besides: `raw`, the net.Socket of the `connection` event if somebody heard
--- it, else false; `counted`, the server that counts the connection; `over`: it is secure, or ends; `socket`, its TLSSocket,
--- made when one is needed; `finish`, ends the wait for the peer's end.
local accept = require("lrun.tls.accept")
local context = require("lrun.tls.context")
local core = require("lrun.core.tls")
local deadlines = require("lrun.tls.deadlines")
local errors = require("errors")
local farewell = require("lrun.tls.farewell")
local identity = require("lrun.tls.identity")
local net = require("net")
local options = require("lrun.tls.options")
local TLSSocket = require("lrun.tls.socket")
local validate = require("lrun.check.validate")

local serving = {}

local HANDSHAKE_TIMEOUT = 120000    -- ms

local emit = net.Server.emit

-- Connections -----------------------------------------------------------------------------------------------------------

-- The socket around a connection of a server's: `facts` is the encrypted handle, `handle` that or what lies over it.
local function makeSocket(server, handle, facts)
  local given = server._tlsOptions
  return TLSSocket:new(nil, {
    isServer = true, handle = handle, facts = facts, secureContext = server._secureContext, requestCert = given.requestCert,
    rejectUnauthorized = given.rejectUnauthorized, ALPNProtocols = given.ALPNProtocols, allowHalfOpen = server.allowHalfOpen,
    pauseOnCreate = server.pauseOnConnect, highWaterMark = server._options.highWaterMark,
  })
end

--- The TLSSocket of a record, which owns the connection from then on.
---@param record table
---@return TLSSocket
function serving.socketOf(record)
  local socket = record.socket
  if socket then return socket end
  local server = record.spec.server
  socket = makeSocket(server, record.handle, record.handle)
  record.socket = socket
  socket.server = server
  socket:_countedBy(record.counted or nil)
  if record.handle:established() then socket:_takeFacts(record.handle) end
  if record.raw then socket:_endsWith(record.raw) end
  return socket
end

-- The connection is over and there is no socket that says so.
local function close(record)
  if record.socket then return record.socket:destroy() end
  if not record.handle:is_closing() then record.handle:close() end
  if record.raw then record.raw:destroy() end
  local counted = record.counted
  record.counted = false
  if counted then counted:_connectionClosed() end
end

local function settle(record) record.spec.server._underWay:drop(record) end

local function failed(record, err, late)
  if record.over then                -- it is secure, or ends already
    if record.finish then return record.finish() end
    return record.socket and not record.socket.destroyed and record.socket:destroy(err)
  end
  record.over = true
  settle(record)
  local server = record.spec.server
  for _, name in ipairs(server._failureEvents) do
    if server:listenerCount(name) > 0 then emit(server, name, err, serving.socketOf(record)) end
  end
  if record.handle:is_closing() then return close(record) end
  if late or err.code == "ECONNRESET" then return close(record) end
  if server._sayToStranger then server:_sayToStranger(record.handle) end
  record.finish = farewell.say(record.handle, function() close(record) end)
end

local function late(record)
  failed(record, errors.coded("ERR_TLS_HANDSHAKE_TIMEOUT", "TLS handshake timeout"), true)
end

local Record = accept.class{ socket = false }

function Record:onSecure()
  self.over = true
  settle(self)
  self.spec.server:_onSecure(self)
end

function Record:onFailed(err) failed(self, err) end

function Record:keylog(lines)
  local socket = serving.socketOf(self)
  for line in lines:gmatch("[^\n]*\n") do emit(self.spec.server, "keylog", line, socket) end
end

local NONE = {}

-- What the connections that come now have in common, and C is told of them: that depends on who listens.
local function specOf(server)
  local c = server._secureContext.context
  local names, heard = server._names ~= nil, server._listeners or NONE
  local sessions, known, ocsp, keys = heard.resumeSession, heard.newSession, heard.OCSPRequest, heard.keylog
  local bits = (names and 1 or 0) + (sessions and 2 or 0) + (ocsp and 4 or 0) + (known and 8 or 0) + (keys and 16 or 0)
  local spec = server._specs[bits]
  if spec and spec.context == c then return spec end
  local given = server._tlsOptions
  spec = {
    context = c, server = server, names = names and server._findContext or nil,
    SNICallback = given.SNICallback, ALPNCallback = given.ALPNCallback,
    policy = accept.policy(given, {
      askName = names, askSession = sessions ~= nil, askOCSP = ocsp ~= nil, sessions = known ~= nil, keys = keys ~= nil,
      tickets = server._tickets,
    }),
  }
  if keys then c:keylog() end
  server._specs[bits] = spec
  return spec
end

local function begin(server, transport, received, raw, counted)
  -- Eight fields: a ninth costs a table as much as the eight.
  local record = {
    spec = false, handle = false, raw = false, counted = false, over = false, before = false, after = false, at = 0,
  }
  record.spec, record.raw, record.counted = specOf(server), raw, counted
  local handle = accept.wrap(setmetatable(record, Record), transport)
  server._underWay:add(record)
  handle:start(received)
end

-- Names -------------------------------------------------------------------------------------------------------------------

-- An exact name first, then wildcards, the longest first.
local function findIn(names, name)
  name = name:lower()
  local found = names.exact[name]
  if found then return found end
  for _, each in ipairs(names.wildcards) do
    if identity.fits(name, each.name, true) then return each.context end
  end
end

-- Methods -----------------------------------------------------------------------------------------------------------------

--- What TLS adds to a server.
---@class TLSServing
local methods = {}

-- A context of the server's, which asks clients for certificates as the server does unless the options say otherwise.
local function contextFor(server, given)
  if context.is(given) then return given end
  local own = { requestCert = server._tlsOptions.requestCert, rejectUnauthorized = server._tlsOptions.rejectUnauthorized }
  for name, value in pairs(given) do own[name] = value end
  return context.create(own, true)
end

--- Internal: the events that tell of a handshake that failed.
methods._failureEvents = { "tlsClientError" }

--- Internal: for the constructor, before net.Server's.
function methods:_initializeTLS(given)
  TLSSocket._check(given)
  self._handshakeTimeout = given.handshakeTimeout == nil and HANDSHAKE_TIMEOUT
    or validate.number(given.handshakeTimeout, "options.handshakeTimeout", 0, 2147483647)
  self._secureContext = given.secureContext or context.create(given, true)
  local own = {}
  for key, value in pairs(given) do own[key] = value end
  self._tlsOptions = own
  self._tickets = core.tickets()
  self._specs = {}
  self._underWay = deadlines.new(self._handshakeTimeout, late)
  self._names = nil
  self._findContext = function(name) return findIn(self._names, name) end
  if given.ticketKeys then self:setTicketKeys(given.ticketKeys) else require("lrun.tls.tickets").share(self) end
  self:on("close", function() self._underWay:close() end)
  if given.watch then require("lrun.tls.watch").follow(self, given) end
end

-- TLS stands on a handle.
methods._onDescriptor = net.Server._onDescriptor

--- Called by net for each accepted connection.
function methods:_onconnection(handle)
  if not self:_admit(handle) then return end
  if self:listenerCount("connection") == 0 then return begin(self, handle, nil, false, self) end
  local raw = net.Socket:new{ handle = handle, manualStart = true, allowHalfOpen = true }
  raw.server = self
  raw:_countedBy(self)
  emit(self, "connection", raw)
  self:_secureSocket(raw)
end

--- Internal: puts TLS over a net.Socket that came from this server or from elsewhere.
function methods:_secureSocket(raw)
  if raw.destroyed then return end
  local counted = raw:_acceptedBy()
  if raw.encrypted or raw._connection or not raw._release then
    error(errors.argType("socket", "an instance of Socket that is not encrypted", raw), 0)
  end
  raw:_rememberAddresses()
  local transport, received = raw:_release()
  if not transport then return end
  raw:_countedBy(nil)
  begin(self, transport, received, raw, counted)
end

--- Internal: the socket of an HTTP connection, made when it is first asked for.
function methods:_makeSocket(connection, handle)
  local socket = makeSocket(self, connection, handle)
  if handle:established() then socket:_takeFacts(handle) end
  return socket
end

--- Emits; a `connection` that is emitted by the program is secured and served, its socket may come from elsewhere.
---@param name any
---@return boolean heard
function methods:emit(name, ...)
  if name ~= "connection" then return emit(self, name, ...) end
  local socket = ...
  if type(socket) ~= "table" or not socket._release then error(errors.argType("socket", "an instance of Socket", socket), 0) end
  emit(self, name, socket)
  self:_secureSocket(socket)
  return true
end

--- Internal: ends the connections that are not secure yet.
function methods:_closeHandshakes()
  for _, record in ipairs(self._underWay:list()) do
    record.over = true
    settle(record)
    close(record)
  end
end

--- Chooses another context for clients that ask for a name; `*.example.org` for all of one level. The same name again
--- replaces. Source: Node 20, which keeps the first.
---@param hostname string
---@param given SecureContext|SecureContextOptions
function methods:addContext(hostname, given)
  if type(hostname) ~= "string" or hostname == "" then
    error(errors.coded("ERR_TLS_REQUIRED_SERVER_NAME", '"servername" is required parameter for Server.addContext'), 0)
  end
  validate.table(given, "options")
  local made = contextFor(self, given)
  local name = hostname:lower()
  self._names = self._names or { exact = {}, wildcards = {} }
  if not name:find("*", 1, true) then
    self._names.exact[name] = made
    return
  end
  local list = self._names.wildcards
  for _, each in ipairs(list) do
    if each.name == name then
      each.context = made
      return
    end
  end
  list[#list + 1] = { name = name, context = made }
  table.sort(list, function(a, b) return #a.name > #b.name end)
end

--- Later connections get the certificate and settings of these options; those that are open keep what they have.
---@param given SecureContextOptions
function methods:setSecureContext(given)
  validate.table(given, "options")
  local made = contextFor(self, given)
  self._secureContext = made
  if given.ticketKeys then self:setTicketKeys(given.ticketKeys) end
end

--- The keys that seal new sessions: 48 bytes.
---@return string
function methods:getTicketKeys() return self._tickets:get():sub(1, 48) end

--- Replaces the keys at once: sessions of earlier ones mean full handshakes.
---@param keys string 48 bytes
function methods:setTicketKeys(keys)
  options.ticketKeys(keys, "keys")
  if self._tickets:get() == keys then return end
  require("lrun.tls.tickets").unshare(self)
  self._tickets:set(keys)
end

--- Puts the methods into a class.
---@param class table
function serving.into(class)
  for name, method in pairs(methods) do class[name] = method end
end

return serving
