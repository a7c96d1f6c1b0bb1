--- A server's side of the handshake: from a connection that was accepted to one that is secure.
---
--- C shakes hands by itself; where the program has a say (names, protocols, sessions, OCSP) it stops behind the client's
--- greeting and asks here (`hello`), and goes on with `handle:answer`. `events` of a caller: `secure()`, `failed(err)`,
--- `keylog(lines)`, `renegotiated()`.
local core = require("lrun.core.tls")
local context = require("lrun.tls.context")
local errors = require("errors")
local fault = require("lrun.tls.fault")
local options = require("lrun.tls.options")

local accept = {}

local INTERNAL_ERROR = 80           -- numbers of alerts
local UNRECOGNIZED_NAME = 112

-- What the program says -----------------------------------------------------------------------------------------------

local function refuse(self, err, alert)
  self.failure = err
  self.handle:refuse(alert or INTERNAL_ERROR)
end

-- Calls back once; later calls do nothing, also when the connection has ended.
local function once(self, f)
  local called = false
  return function(...)
    if called or self.handle:is_closing() then return end
    called = true
    return f(...)
  end
end

local function answer(self, hello)
  self.handle:answer(hello.context, hello.protocol, hello.session, hello.response)
end

local function askOCSP(self, hello)
  local server = self.spec.server
  if not hello.ocsp or not server or server:listenerCount("OCSPRequest") == 0 then return answer(self, hello) end
  local chosen = hello.context or self.spec.context
  local certificate, issuer = chosen:certificate()
  if not certificate then return answer(self, hello) end
  server:emit("OCSPRequest", certificate, issuer, once(self, function(err, response)
    if err ~= nil then return refuse(self, err) end
    hello.response = response
    answer(self, hello)
  end))
end

local function askSession(self, hello)
  local server = self.spec.server
  if hello.sessionId == "" or not server or server:listenerCount("resumeSession") == 0 then return askOCSP(self, hello) end
  server:emit("resumeSession", hello.sessionId, once(self, function(err, session)
    if err ~= nil then return refuse(self, err) end
    hello.session = session
    askOCSP(self, hello)
  end))
end

local function contains(list, value)
  for _, each in ipairs(list) do if each == value then return true end end
  return false
end

local function askALPN(self, hello)
  local callback = self.spec.ALPNCallback
  if not callback or not hello.alpn then return askSession(self, hello) end
  local offered = options.alpnList(hello.alpn)
  local chosen = callback{ servername = hello.name or "", protocols = offered }
  if chosen ~= nil and not contains(offered, chosen) then
    return refuse(self, errors.coded("ERR_TLS_ALPN_CALLBACK_INVALID_RESULT",
      ("ALPN callback returned a value (%s) that did not match any of the client's offered protocols (%s)"):format(
        tostring(chosen), table.concat(offered, ", "))))
  end
  hello.protocol = chosen or false
  askSession(self, hello)
end

local function nameChosen(self, hello, chosen)
  if chosen ~= nil and not context.is(chosen) then
    return refuse(self, errors.coded("ERR_TLS_INVALID_CONTEXT", "SNICallback must give a SecureContext, made by tls.createSecureContext"))
  end
  local found = chosen or hello.name and self.spec.names and self.spec.names(hello.name)
  hello.context = found and found.context
  askALPN(self, hello)
end

local function askName(self, hello)
  local callback = self.spec.SNICallback
  if not callback or not hello.name then return nameChosen(self, hello, nil) end
  callback(hello.name, once(self, function(err, chosen)
    if err ~= nil then return refuse(self, err, UNRECOGNIZED_NAME) end
    nameChosen(self, hello, chosen)
  end))
end

-- What C tells ---------------------------------------------------------------------------------------------------------

local on = {}

function on.hello(self, name, alpn, sessionId, ocsp)
  askName(self, { name = name, alpn = alpn, sessionId = sessionId, ocsp = ocsp })
end

local function secureWhenKept(self)
  if not self.secured or self.keeping > 0 or self.handle:is_closing() then return end
  self.secured = false
  self.events.secure()
end

-- Nothing is read or written before the program has kept the session.
function on.session(self, session)
  local server = self.spec.server
  if not server or server:listenerCount("newSession") == 0 then return end
  self.keeping = self.keeping + 1
  server:emit("newSession", self.handle:sessionId(), session, once(self, function()
    self.keeping = self.keeping - 1
    secureWhenKept(self)
  end))
end

function on.secure(self)
  self.secured, self.wasSecure = true, true
  secureWhenKept(self)
end

function on.keylog(self, lines) self.events.keylog(lines) end
function on.renegotiated(self) if self.events.renegotiated then self.events.renegotiated() end end

function on.failed(self, told, code)
  local err = self.failure
  if err == nil and told then err = fault.error(told) end
  if err == nil and code == "ECONNRESET" and not self.wasSecure then err = fault.reset(true) end
  self.events.failed(err or fault.system(code))
end

-- Making one -----------------------------------------------------------------------------------------------------------

--- Puts TLS over a luv handle; `handle:start()` begins.
---@param spec { context: userdata, policy: userdata, server: EventEmitter?, names: function?, SNICallback: function?, ALPNCallback: function? }
---@param transport userdata luv handle; the connection's from now on
---@param events table
---@return userdata handle
function accept.wrap(spec, transport, events)
  local self = { spec = spec, events = events, keeping = 0, secured = false, wasSecure = false, failure = nil, handle = nil }
  self.handle = core.wrap(transport, spec.context, spec.policy, true, function(event, ...) return on[event](self, ...) end)
  return self.handle
end

--- What the options of a server, or of a socket that is one, mean to C.
---@param given table
---@param more table what the listeners of a server ask for
---@return userdata policy
function accept.policy(given, more)
  more.requestCert, more.reject = given.requestCert == true, given.rejectUnauthorized ~= false
  more.alpn = options.alpn(given.ALPNProtocols)
  more.askALPN = given.ALPNCallback ~= nil
  more.askName = more.askName or given.SNICallback ~= nil
  return core.policy(more)
end

--- The same for a socket of a program's own.
---@param given table options
---@param transport userdata
---@param events table
---@return userdata handle
function accept.over(given, transport, events)
  local secureContext = given.secureContext
  secureContext.tickets = secureContext.tickets or core.tickets()
  if given.ticketKeys then secureContext.tickets:set(given.ticketKeys) end
  return accept.wrap({
    context = secureContext.context, policy = accept.policy(given, { tickets = secureContext.tickets }),
    SNICallback = given.SNICallback, ALPNCallback = given.ALPNCallback,
  }, transport, events)
end

return accept
