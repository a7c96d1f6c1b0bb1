--- A server's side of the opening handshake (RFC 6455, section 4.2): judges a request, answers it, and hangs a socket on its
--- stream; what is refused gets an HTTP response, and the end of the connection.
---
--- The connection comes as a net.Socket (`upgrade` of http.Server). It is taken from the socket when everybody has agreed;
--- until then the socket reads, so that a client that goes away is noticed. `req.socket` is that socket still: it has no
--- stream any more, but knows both addresses. Where nobody has to be asked no socket is made (`take`).
local base64 = require("base64")
local core = require("lrun.core.websocket")
local errors = require("errors")
local extension = require("lrun.websocket.extension")
local http = require("http")
local process = require("process")
local requests = require("lrun.http.requests")
local sockets = require("lrun.websocket.socket")
local uncaught = require("lrun.host.uncaught")

local handshake = {}

local GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
local KEY = "^[%w+/][%w+/]*==$"

--- The answer to a client's key.
---@param key string
---@return string
function handshake.accept(key) return base64.encode(core.sha1(key .. GUID)) end

-- Refusing ------------------------------------------------------------------------------------------------------------

--- Answers with a status, and ends the connection.
---@param socket Socket
---@param status integer
---@param text string? the body, the status's text by default
---@param headers table<string, string>?
function handshake.refuse(socket, status, text, headers)
  if socket.destroyed then return end
  text = text or http.STATUS_CODES[status] or ""
  local lines = { ("HTTP/1.1 %d %s"):format(status, http.STATUS_CODES[status] or ""), "Connection: close" }
  local all = { ["Content-Type"] = "text/plain; charset=utf-8", ["Content-Length"] = tostring(#text) }
  for name, value in pairs(headers or {}) do all[name] = tostring(value) end
  for name, value in pairs(all) do
    if name:find("[%c:]") or value:find("[\r\n%z]") then error(errors.argValue("headers", name, "is no header"), 0) end
    lines[#lines + 1] = name .. ": " .. value
  end
  socket:once("finish", function() socket:destroy() end)
  socket:finish(table.concat(lines, "\r\n") .. "\r\n\r\n" .. text)
end

-- Judging -------------------------------------------------------------------------------------------------------------

local TOKEN = "^[!#$%%&'*+%-.^_`|~%w]+$"

-- The names in Sec-WebSocket-Protocol; nil for what is no list of different names.
local function protocolsOf(header)
  local list, seen = {}, {}
  for name in (header .. ","):gmatch("([^,]*),") do
    name = name:match("^[ \t]*(.-)[ \t]*$")
    if seen[name] or not name:find(TOKEN) then return nil end
    seen[name] = true
    list[#list + 1] = name
  end
  return list
end

local NONE = {}
local VERSIONS = { ["Sec-WebSocket-Version"] = "13", Upgrade = "websocket" }

-- The key, the protocols and the extensions that a request asks for; or nothing, and the status, the reason and headers to
-- refuse it with.
local function read(req)
  local headers = req.headers
  if req.method ~= "GET" then return nil, 405, "Invalid HTTP method", { Allow = "GET" } end
  if req.httpVersionMajor < 1 or req.httpVersionMajor == 1 and req.httpVersionMinor < 1 then
    return nil, 400, "Invalid HTTP version"
  end
  if (headers.upgrade or ""):lower() ~= "websocket" then return nil, 400, "Invalid Upgrade header" end
  if headers["sec-websocket-version"] ~= "13" then
    return nil, 426, "Missing or invalid Sec-WebSocket-Version header", VERSIONS
  end
  local key = headers["sec-websocket-key"]
  if not key or #key ~= 24 or not key:find(KEY) then return nil, 400, "Missing or invalid Sec-WebSocket-Key header" end
  local offer, protocols = headers["sec-websocket-protocol"], NONE
  if offer then
    protocols = protocolsOf(offer)
    if not protocols then return nil, 400, "Invalid Sec-WebSocket-Protocol header" end
  end
  return key, protocols, headers["sec-websocket-extensions"]
end

-- The subprotocol that is agreed on, "" for none.
local function chooseProtocol(server, req, protocols)
  if #protocols == 0 then return "" end
  local handle = server.options.handleProtocols
  if not handle then return protocols[1] end
  local chosen = handle(protocols, req)
  if not chosen then return "" end
  if type(chosen) ~= "string" or not chosen:find(TOKEN) then
    error(errors.argType("handleProtocols' result", "one of the protocols, or false", chosen), 0)
  end
  return chosen
end

-- Agreeing ------------------------------------------------------------------------------------------------------------

local function response(key, protocol, answer)
  return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " .. handshake.accept(key)
    .. (protocol ~= "" and "\r\nSec-WebSocket-Protocol: " .. protocol or "")
    .. (answer and "\r\nSec-WebSocket-Extensions: " .. answer or "") .. "\r\n\r\n"
end

-- The same when the listeners of `headers` have seen it.
local function shown(server, req, text)
  if server:listenerCount("headers") == 0 then return text end
  local lines = {}
  for line in text:gmatch("([^\r]+)\r\n") do lines[#lines + 1] = line end
  server:emit("headers", lines, req)
  for i, line in ipairs(lines) do
    if type(line) ~= "string" or line:find("[\r\n%z]") or i > 1 and not line:find("^[^%s:]+:") then
      error(errors.argValue("headers", line, "has what is no header line"), 0)
    end
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

local function agreeOn(server, extensions)
  if not server.perMessageDeflate or not extensions then return nil end
  return extension.accept(extensions, server.perMessageDeflate)
end

-- Hangs a socket on a stream, after the response `text`; `received` came behind the request. A table for all of it, as for
-- options, would be one more for each connection.
local function open(server, req, text, handle, received, protocol, agreement, counted, callback)
  local ws = sockets.make(server)
  if not sockets.attach(ws, server.group, handle, protocol, agreement, counted) then return server:_uncount(counted) end
  core.write(ws._c, text)
  process.nextTick(sockets.start, ws, received)            -- behind the listeners of `connection`, also those that wait
  server:_entered(ws)
  if callback then callback(ws, req) else server:emit("connection", ws, req) end
end

-- The client is still there, and may be let in.
local function complete(server, asked, socket, head, callback)
  if socket.destroyed or not socket.readable or not socket.writable then return socket:destroy() end
  if not server:_isRunning() then return handshake.refuse(socket, 503) end
  local req = asked.req
  local protocol = chooseProtocol(server, req, asked.protocols)
  local agreement, answer = agreeOn(server, asked.extensions)
  local text = shown(server, req, response(asked.key, protocol, answer))
  local counted = socket:_acceptedBy()
  socket:_rememberAddresses()
  local handle, received = socket:_detach()
  if not handle then return end
  open(server, req, text, handle, head .. received, protocol, agreement, counted or false, callback)
end

local function letIn(server, asked, socket, head, callback)
  if xpcall(complete, uncaught.report, server, asked, socket, head, callback) then return end
  handshake.refuse(socket, 500)
end

local function takesCallback(f)
  local info = debug.getinfo(f, "u")
  return info.nparams >= 2
end

-- Asks verifyClient, which may answer later.
local function verify(server, asked, socket, decided)
  local check = server.options.verifyClient
  local req = asked.req
  local info = { origin = req.headers.origin, secure = socket.encrypted == true, req = req }
  if not takesCallback(check) then
    if check(info) then return decided() end
    return handshake.refuse(socket, 401)
  end
  local answered = false
  check(info, function(result, status, text, headers)
    if answered then return end
    answered = true
    if result then return decided() end
    handshake.refuse(socket, status or 401, text, headers)
  end)
end

local function isAllowed(origins, origin)
  if not origins then return true end
  if origin == nil then return not origins.required end
  for _, each in ipairs(origins) do if each == origin then return true end end
  return false
end

--- Answers a handshake; `callback(ws, req)` when there is a WebSocket.
---@param server WebSocketServer
---@param req IncomingMessage
---@param socket Socket
---@param head string bytes that came behind the request
---@param callback fun(ws: WebSocket, req: IncomingMessage)
function handshake.run(server, req, socket, head, callback)
  local function ignore() end
  socket:on("error", ignore)                               -- of a client that leaves meanwhile
  -- Of one that is to be refused: nil, the status, the reason, the headers.
  local key, protocols, extensions, headers = read(req)
  if not key then
    local status, reason = protocols, extensions
    if server:listenerCount("wsClientError") > 0 then
      return server:emit("wsClientError", errors.coded("WS_ERR_HANDSHAKE", reason, { status = status }), socket, req)
    end
    return handshake.refuse(socket, status, reason, headers)
  end
  if not server:shouldHandle(req) then return handshake.refuse(socket, 400) end
  if not isAllowed(server.options.origins, req.headers.origin) then return handshake.refuse(socket, 403) end
  local asked = { req = req, key = key, protocols = protocols, extensions = extensions }
  local function decided() letIn(server, asked, socket, head, callback) end
  if not server.options.verifyClient then return decided() end
  if not xpcall(verify, uncaught.report, server, asked, socket, decided) then handshake.refuse(socket, 500) end
end

-- Whether the program has a word in the answer: then it may wait, and the connection is to be watched meanwhile.
local function asksProgram(server)
  local options = server.options
  return options.verifyClient or options.handleProtocols or server:listenerCount("headers") > 0
    or server:listenerCount("wsClientError") > 0
end

--- The same for a connection of an http server's that has no socket, where nobody has to be asked; false: make one. The server
--- emits `connection`.
---@param server WebSocketServer
---@param req IncomingMessage
---@param res ServerResponse
---@param connection HttpConnection
---@return boolean done
function handshake.take(server, req, res, connection)
  if asksProgram(server) then return false end
  local key, protocols, extensions = read(req)
  if not key or not server:shouldHandle(req) or not isAllowed(server.options.origins, req.headers.origin) then return false end
  local protocol = protocols[1] or ""
  local agreement, answer = agreeOn(server, extensions)
  local text = response(key, protocol, answer)
  local handle, rest = requests.leave(connection, res)
  open(server, req, text, handle, rest, protocol, agreement)
  return true
end

return handshake
