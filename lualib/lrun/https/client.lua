--- The client's side of https: requests that go to port 443 over TLS, and agents that keep sessions and keep apart the
--- connections of different TLS options.
local agents = require("lrun.http.agent")
local calls = require("lrun.check.calls")
local context = require("lrun.tls.context")
local http = require("http")
local ip = require("lrun.net.ip")
local tls = require("tls")
local validate = require("lrun.check.validate")

-- Agents ---------------------------------------------------------------------------------------------------------------

---@class HttpsAgent: Agent
---@field maxCachedSessions integer 100; 0: none are kept
local Agent = http.Agent:extend("Agent")
Agent.defaultPort = 443
Agent.protocol = "https:"

-- What makes one TLS connection another than the next.
local DISTINCT = {
  "servername", "ca", "cert", "key", "pfx", "passphrase", "certFile", "keyFile", "crl", "ciphers", "ecdhCurve", "sigalgs", "dhparam",
  "minVersion", "maxVersion", "secureOptions", "honorCipherOrder", "sessionIdContext", "rejectUnauthorized", "minDHSize",
  "checkServerIdentity", "secureContext", "requestOCSP", "ALPNProtocols",
}

---@param options table? as http.Agent's, and `maxCachedSessions` (100), and TLS options that all its requests get
function Agent:initialize(options)
  validate.optional(validate.table, options, "options")
  options = options or {}
  self.maxCachedSessions = 100
  if options.maxCachedSessions ~= nil then
    self.maxCachedSessions = validate.integer(options.maxCachedSessions, "maxCachedSessions", 0)
  end
  http.Agent.initialize(self, options)
  self._sessions, self._sessionOrder, self._contexts, self._contextCount = {}, {}, {}, 0
end

local function merged(self, options)
  local all = {}
  for name, value in pairs(options) do all[name] = value end
  for _, name in ipairs(DISTINCT) do
    if self.options[name] ~= nil then all[name] = self.options[name] end
  end
  return all
end

local function text(value)
  if type(value) ~= "table" or getmetatable(value) then return tostring(value) end
  local parts = {}
  for key, each in pairs(value) do parts[#parts + 1] = tostring(key) .. "=" .. text(each) end
  table.sort(parts)
  return "{" .. table.concat(parts, ",") .. "}"
end

--- The place that a request goes to and its TLS options, as a key.
---@param options table
---@return string
function Agent:getName(options)
  options = validate.optional(validate.table, options, "options") or {}
  local parts = { http.Agent.getName(self, options) }
  for _, name in ipairs(DISTINCT) do
    local value = self.options[name]
    if value == nil then value = options[name] end
    parts[#parts + 1] = value == nil and "" or text(value)
  end
  return table.concat(parts, ":")
end

local function keepSession(self, name, session)
  if self.maxCachedSessions == 0 then return end
  if not self._sessions[name] then
    local order = self._sessionOrder
    order[#order + 1] = name
    if #order > self.maxCachedSessions then self._sessions[table.remove(order, 1)] = nil end
  end
  self._sessions[name] = session
end

local function forgetSession(self, name)
  if not self._sessions[name] then return end
  self._sessions[name] = nil
  for i, each in ipairs(self._sessionOrder) do
    if each == name then return table.remove(self._sessionOrder, i) end
  end
end

local MOST_CONTEXTS = 100

-- Made once for all connections of a name; files may have changed.
local function contextOf(self, name, options)
  if options.secureContext then return options.secureContext end
  local known = self._contexts[name]
  if known then return known end
  local made = context.create(options)
  if options.certFile or options.keyFile then return made end
  if self._contextCount >= MOST_CONTEXTS then self._contexts, self._contextCount = {}, 0 end
  self._contexts[name], self._contextCount = made, self._contextCount + 1
  return made
end

--- Opens a connection; may be replaced. Returns a socket that connects, or calls back with an error or with a socket.
---@param options table
---@param callback fun(err: any?, socket: Socket?)? what a replacement may call
---@return TLSSocket?
function Agent:createConnection(options)
  local name = self:getName(options)
  local all = merged(self, options)
  all.secureContext = contextOf(self, name, all)
  all.session = options.session or self._sessions[name]
  if all.ALPNProtocols == nil then all.ALPNProtocols = { "http/1.1" } end
  all.path, all.noDelay, all.timeout, all.signal, all.allowHalfOpen = options.socketPath, true, nil, nil, nil
  if options.socketPath then all.port = nil end
  local socket = tls.connect(all)
  socket:on("session", function(session) keepSession(self, name, session) end)
  socket:once("close", function(hadError) if hadError then forgetSession(self, name) end end)
  return socket
end

calls.methods(Agent, "agent")

local globalAgent = Agent:new()

-- Requests ---------------------------------------------------------------------------------------------------------------

---@class HttpsClientRequest: ClientRequest
local ClientRequest = http.ClientRequest:extend("ClientRequest")
ClientRequest.protocol = "https:"
ClientRequest.defaultPort = 443

--- Internal: throws for what cannot be.
function ClientRequest:_checkOptions(options)
  http.ClientRequest._checkOptions(self, options)
  tls.TLSSocket._check(options)
end

--- Internal: for requests without an agent of their own.
function ClientRequest._newAgent() return Agent:new() end

--- Internal: for all others.
function ClientRequest._globalAgent()
  local module = require("lrun.core.loaded").https
  return type(module) == "table" and rawget(module, "globalAgent") or globalAgent
end

-- The name that is asked for and checked: of the Host header, which may be another than the host's.
local function servernameFor(request, options)
  local name = options.host
  local header = request:getHeader("host")
  if type(header) == "string" and header ~= "" then name = header:match("^%[(.*)%]") or header:match("^[^:]*") end
  return ip.parse(name) == 0 and name or ""
end

---@param url string|URL|HttpsRequestOptions
---@param options HttpsRequestOptions?
---@param listener fun(res: IncomingMessage)?
function ClientRequest:initialize(url, options, listener)
  http.ClientRequest.initialize(self, url, options, listener)
  local given = self:_getOptions()
  if given.servername == nil then given.servername = servernameFor(self, given) end
end

calls.methods(ClientRequest, "request")

return { Agent = Agent, ClientRequest = ClientRequest, globalAgent = globalAgent, checkAgent = agents.checkAgent }
