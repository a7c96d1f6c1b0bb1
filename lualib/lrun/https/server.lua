--- https.Server: an http.Server whose connections are encrypted. Once one is secure HTTP's connection takes the stream from
--- the encrypted handle, so that nothing of Lua lies between TLS and HTTP.
local calls = require("lrun.check.calls")
local http = require("http")
local serving = require("lrun.tls.serving")
local validate = require("lrun.check.validate")

---@class HttpsServer: HttpServer, TLSServing
local Server = http.Server:extend("Server")
serving.into(Server)
Server._failureEvents = { "tlsClientError", "clientError" }

---@param options HttpsServerOptions?
---@param listener fun(req: IncomingMessage, res: ServerResponse)?
function Server:initialize(options, listener)
  if type(options) == "function" then options, listener = nil, options end
  options = validate.optional(validate.table, options, "options") or {}
  local own = {}
  for name, value in pairs(options) do own[name] = value end
  if own.ALPNProtocols == nil and own.ALPNCallback == nil then own.ALPNProtocols = { "http/1.1" } end
  http.Server.initialize(self, own, listener)
  self:_initializeTLS(own)
end

-- Whether a socket is needed before anybody asks for it: somebody listens, or it has to tell another that it has ended.
local function needsSocket(self, record)
  return record.socket or record.raw or record.counted ~= self or self:listenerCount("secureConnection") > 0
end

--- Internal: a handshake went well.
function Server:_onSecure(record)
  if not needsSocket(self, record) then
    local connection = self:_serveHandle(record.handle)
    if not connection then return self:_connectionClosed() end
    return connection:start(record.handle:unread())
  end
  local socket = serving.socketOf(record)
  local connection, received = self:_serveSocket(socket)
  self:emit("secureConnection", socket)
  if connection then connection:start(received .. record.handle:unread()) end
end

local TEXT = "This port speaks HTTPS: use an https:// URL.\n"
local ANSWER = ("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"):format(#TEXT, TEXT)

-- Whether bytes begin as a request does.
local function isRequest(bytes)
  for _, method in ipairs(http.METHODS) do
    local start = (method .. " "):sub(1, #bytes)
    if #bytes >= 4 and bytes:sub(1, #start) == start then return true end
  end
  return false
end

--- Internal: the last words to a client whose handshake failed: one that speaks plain HTTP gets an answer that it understands.
function Server:_sayToStranger(handle)
  if isRequest(handle:firstBytes()) then handle:raw(ANSWER) end
end

--- Closes all connections, those that still shake hands, too.
function Server:closeAllConnections()
  http.Server.closeAllConnections(self)
  self:_closeHandshakes()
end

calls.methods(Server, "server", { emit = true })

return Server
