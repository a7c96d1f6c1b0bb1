--- HTTP/1.1 servers and clients. Source: Node 20.
local core = require("lrun.core.http")
local message = require("lrun.http.incoming")
local server = require("lrun.http.server")
local outgoing = require("lrun.http.outgoing")
local responses = require("lrun.http.server_response")

---@class HttpServerOptions: ServerOptions
---@field headersTimeout integer? ms for a head, 60000
---@field requestTimeout integer? ms for a whole request, 300000
---@field keepAliveTimeout integer? ms until the next request, 5000
---@field timeout integer? ms without traffic, 0 for any
---@field maxHeadersCount integer? 2000
---@field maxRequestsPerSocket integer? 0 for any number
---@field maxHeaderSize integer? bytes of a head, 16384
---@field accessLog (boolean|fun(entry: AccessLogEntry, req: IncomingMessage, res: ServerResponse))? true: each response is written to `log`
---@field compress boolean? responses are compressed for clients that take it; false
---@field IncomingMessage table? a class that extends http.IncomingMessage, of which requests are made
---@field ServerResponse table? the same for responses

---@class RequestOptions
---@field host string? "localhost"
---@field hostname string?
---@field port (integer|string)? 80
---@field socketPath string? a unix socket
---@field method string? "GET"
---@field path string? "/"
---@field headers (table<string, string|number|string[]>|string[])?
---@field auth string? "user:password"
---@field setHost boolean? false leaves the Host header out
---@field agent (Agent|false)?
---@field createConnection function?
---@field timeout integer? ms without traffic
---@field maxHeaderSize integer? bytes of the response's head, 16384
---@field compress boolean? true asks for a compressed response and decodes it
---@field signal AbortSignal?
---@field localAddress string?
---@field localPort integer?
---@field family integer?
---@field lookup function?

---@class http
---@field Server HttpServer the class, as the next five
---@field ServerResponse ServerResponse
---@field IncomingMessage IncomingMessage
---@field OutgoingMessage OutgoingMessage
---@field ClientRequest ClientRequest
---@field Agent Agent
---@field globalAgent Agent the one that requests use
---@field maxHeaderSize integer bytes
---@field METHODS string[]
---@field STATUS_CODES table<integer, string>
local http = {
  Server = server.Server,
  ServerResponse = responses.ServerResponse,
  IncomingMessage = message.IncomingMessage,
  OutgoingMessage = outgoing.OutgoingMessage,
  maxHeaderSize = require("lrun.http.group").maxHeaderSize,
}

--- Makes a server; the listener gets `request` events.
---@param options HttpServerOptions?
---@param listener fun(req: IncomingMessage, res: ServerResponse)?
---@return HttpServer
function http.createServer(options, listener) return server.Server:new(options, listener) end

--- Makes a request; call `finish` to send it. The URL may be a table of options.
---@param url string|URL|RequestOptions
---@param options RequestOptions?
---@param listener fun(res: IncomingMessage)?
---@return ClientRequest
function http.request(url, options, listener) return require("lrun.http.client").ClientRequest:new(url, options, listener) end

--- `request` for a GET, sent at once.
---@param url string|URL|RequestOptions
---@param options RequestOptions?
---@param listener fun(res: IncomingMessage)?
---@return ClientRequest
function http.get(url, options, listener)
  local request = http.request(url, options, listener)
  request:finish()
  return request
end

--- Makes a handler for `createServer` that answers with the files below a folder; what is not there goes to `next`, or is 404.
--- All options of `res:sendFile`, too. Source: Express' express.static.
---@param root string a directory
---@param options ServeFilesOptions?
---@return fun(req: IncomingMessage, res: ServerResponse, next: function?) handler
function http.serveFiles(root, options) return require("lrun.http.serve_files")(root, options) end

--- Throws for what may not name a header.
---@param name string
function http.validateHeaderName(name) outgoing.lowerName(name) end

--- Throws for what may not be a header's value.
---@param name string
---@param value any
function http.validateHeaderValue(name, value) outgoing.checkValue(name, value) end

http.METHODS = {
  "ACL", "BIND", "CHECKOUT", "CONNECT", "COPY", "DELETE", "GET", "HEAD", "LINK", "LOCK", "M-SEARCH", "MERGE", "MKACTIVITY",
  "MKCALENDAR", "MKCOL", "MOVE", "NOTIFY", "OPTIONS", "PATCH", "POST", "PROPFIND", "PROPPATCH", "PURGE", "PUT", "REBIND",
  "REPORT", "SEARCH", "SOURCE", "SUBSCRIBE", "TRACE", "UNBIND", "UNLINK", "UNLOCK", "UNSUBSCRIBE",
}

http.STATUS_CODES = {}
for status = 100, 599 do
  local text = core.statusText(status)
  if text ~= "unknown" then http.STATUS_CODES[status] = text end
end

require("lrun.check.calls").functions(http, "http")

-- The client's half is loaded by the first who asks for it.
local LATER = {
  Agent = function() return require("lrun.http.agent").Agent end,
  globalAgent = function() return require("lrun.http.client").globalAgent end,
  ClientRequest = function() return require("lrun.http.client").ClientRequest end,
}
return setmetatable(http, {
  __index = function(module, name)
    local value = LATER[name] and LATER[name]()
    if value ~= nil then rawset(module, name, value) end
    return value
  end,
  __pairs = function(module)
    for name in next, LATER do local _ = module[name] end
    return next, module, nil
  end,
})
