--- A server's side of the handshake: from a connection that was accepted to one that is secure.
---
--- C shakes hands by itself; where the program has a say (names, protocols, sessions, OCSP) it stops behind the client's
--- greeting and asks here (`hello`), and goes on with `handle:answer`. An acceptance is one connection's table, of a class
--- that the caller makes with `accept.class`: C calls its methods, and these those of the caller.
local core = require("lrun.core.tls")
local context = require("lrun.tls.context")
local errors = require("errors")
local fault = require("lrun.tls.fault")
local options = require("lrun.tls.options")

local accept = {}

local INTERNAL_ERROR = 80           -- numbers of alerts
local UNRECOGNIZED_NAME = 112

---@class Acceptance what C calls: `hello`, `session`, `secure`, `failed`, `keylog`, `renegotiated`
---@field spec table what the connection's server, or socket, says: `context`, `policy`, `server`?, `names`?, `SNICallback`?,
--- `ALPNCallback`?
---@field handle userdata the encrypted connection
---@field keeping integer sessions that the program has yet to keep
---@field secured boolean the handshake is over, which nobody was told yet
---@field failure any what the program refuses the connection with
local Acceptance = { keeping = 0, secured = false }

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

function Acceptance:hello(name, alpn, sessionId, ocsp)
  askName(self, { name = name, alpn = alpn, sessionId = sessionId, ocsp = ocsp })
end

local function secureWhenKept(self)
  if not self.secured or self.keeping > 0 or self.handle:is_closing() then return end
  self.secured = false
  self:onSecure()
end

-- Nothing is read or written before the program has kept the session.
function Acceptance:session(session)
  local server = self.spec.server
  if not server or server:listenerCount("newSession") == 0 then return end
  self.keeping = self.keeping + 1
  server:emit("newSession", self.handle:sessionId(), session, once(self, function()
    self.keeping = self.keeping - 1
    secureWhenKept(self)
  end))
end

function Acceptance:secure()
  if self.keeping == 0 then return self:onSecure() end
  self.secured = true
end

function Acceptance:renegotiated() if self.onRenegotiated then self:onRenegotiated() end end

function Acceptance:failed(told, code)
  local err = self.failure
  if err == nil and told then err = fault.error(told) end
  if err == nil and code == "ECONNRESET" and not self.handle:established() then err = fault.reset(true) end
  self:onFailed(err or fault.system(code))
end

-- Making one -----------------------------------------------------------------------------------------------------------

--- A class of acceptances with these methods: `onSecure()`, `onFailed(err)`, `keylog(lines)`, `onRenegotiated()`?
---@param methods table changed
---@return table class
function accept.class(methods)
  for name, value in pairs(Acceptance) do methods[name] = value end
  methods.__index = methods
  return methods
end

--- Puts TLS over a luv handle; `handle:start()` begins.
---@param self Acceptance its `handle` is set
---@param transport userdata luv handle; the connection's from now on
---@return userdata handle
function accept.wrap(self, transport)
  local spec = self.spec
  local handle = core.wrap(transport, spec.context, spec.policy, true, self)
  self.handle = handle
  return handle
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

--- What a socket that a program has put over a stream says.
---@param given table options
---@return table spec
function accept.specOf(given)
  local secureContext = given.secureContext
  secureContext.tickets = secureContext.tickets or core.tickets()
  if given.ticketKeys then secureContext.tickets:set(given.ticketKeys) end
  return {
    context = secureContext.context, policy = accept.policy(given, { tickets = secureContext.tickets }),
    SNICallback = given.SNICallback, ALPNCallback = given.ALPNCallback,
  }
end

return accept
