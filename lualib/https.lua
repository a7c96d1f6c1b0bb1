--- HTTP/1.1 over TLS: `http` and `tls` in one. Source: Node 20.
local calls = require("lrun.check.calls")
local Server = require("lrun.https.server")

---@class HttpsServerOptions: HttpServerOptions, TLSServerOptions

---@class HttpsRequestOptions: RequestOptions, TLSSocketOptions

---@class https
---@field Server HttpsServer the class, as the next
---@field Agent HttpsAgent
---@field globalAgent HttpsAgent the one that requests use
local https = { Server = Server }

--- Makes a server; the listener gets `request` events.
---@param options HttpsServerOptions?
---@param listener fun(req: IncomingMessage, res: ServerResponse)?
---@return HttpsServer
function https.createServer(options, listener) return Server:new(options, listener) end

--- Makes a request; call `finish` to send it. The URL may be a table of options.
---@param url string|URL|HttpsRequestOptions
---@param options HttpsRequestOptions?
---@param listener fun(res: IncomingMessage)?
---@return ClientRequest
function https.request(url, options, listener) return require("lrun.https.client").ClientRequest:new(url, options, listener) end

--- `request` for a GET, sent at once.
---@param url string|URL|HttpsRequestOptions
---@param options HttpsRequestOptions?
---@param listener fun(res: IncomingMessage)?
---@return ClientRequest
function https.get(url, options, listener)
  local request = https.request(url, options, listener)
  request:finish()
  return request
end

calls.functions(https, "https")

-- The client's half is loaded by the first who asks for it.
local LATER = { Agent = true, globalAgent = true }
return setmetatable(https, {
  __index = function(module, name)
    local value = LATER[name] and require("lrun.https.client")[name]
    if value ~= nil then rawset(module, name, value) end
    return value
  end,
})
