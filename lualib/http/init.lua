--- HTTP/1.1 servers and clients. Source: Node 20.
local core = require("lrun.http")
local message = require("http.message")
local server = require("http.server")

local http = {
  Server = server.Server,
  ServerResponse = server.ServerResponse,
  IncomingMessage = message.IncomingMessage,
  OutgoingMessage = message.OutgoingMessage,
  maxHeaderSize = 16 * 1024,
}

--- Makes a server; the listener gets `request` events.
---@param options table?
---@param listener fun(req: IncomingMessage, res: ServerResponse)?
---@return HttpServer
function http.createServer(options, listener) return server.Server:new(options, listener) end

http.STATUS_CODES = {}
for status = 100, 599 do
  local text = core.statusText(status)
  if text ~= "unknown" then http.STATUS_CODES[status] = text end
end

return http
