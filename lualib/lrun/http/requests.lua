--- What becomes of the requests of a server's connection (lrun.http.connection), the role that it plays: makes req and res
--- for each, calls the handler, and decides about faults, timeouts, upgrades and ends.
local core = require("lrun.core.http")
local errors = require("errors")
local Connection = require("lrun.http.connection")
local message = require("lrun.http.incoming")
local nextTick = require("process").nextTick
local outgoing = require("lrun.http.outgoing")

local band = require("bit").band
local flags = message.flags
local responses = require("lrun.http.server_response")
local makeRequest, makeResponse, ServerResponse = message.request, responses.make, responses.ServerResponse
local BODY = flags.body

local requests = {}

-- Handlers ------------------------------------------------------------------------------------------------------------

-- For xpcall: the error, and the report on it while the stack still stands.
local describeFailure = require("lrun.core.vm").handler(function(thread, err)
  local status = type(err) == "table" and rawget(err, "statusCode")
  if type(status) == "number" and status >= 400 and status <= 499 then return { status = status } end
  local gone = errors.isError(err) and err.code == "ECONNRESET" -- a body that the client did not finish
  return { status = 500, gone = gone, text = require("lrun.host.uncaught").describe(thread, err) }
end)

-- A handler that threw: 500 when nothing was sent yet, or the status that the error names; the connection ends.
local function failed(res, failure)
  -- No report: the stack or the memory did not suffice for one.
  if type(failure) ~= "table" or not failure.status then failure = { status = 500, text = "lrun: " .. tostring(failure) } end
  if failure.gone and (res.destroyed or res.closed) then return end
  if failure.text then
    io.stdout:flush()
    io.stderr:write(failure.text, "\n")
  end
  if res:_hasBegun() then
    if not res.writableEnded then res:destroy() end
    return
  end
  res:_startOver(failure.status)
  res:setHeader("Content-Type", "text/plain")
  res:finish(core.statusText(failure.status) .. "\n")
end

local function emitRequest(server, req, res) server:emit("request", req, res) end

local function handle(server, req, res)
  local listeners = server._listeners
  local listener = listeners and listeners.request
  local ok, failure
  if type(listener) == "function" then
    ok, failure = xpcall(listener, describeFailure, req, res)
  else
    ok, failure = xpcall(emitRequest, describeFailure, server, req, res)
  end
  if not ok then failed(res, failure) end
end

-- Emits an event whose listener answers in the handler's place; false when there is none.
local function answeredBy(server, name, req, res)
  if server:listenerCount(name) == 0 then return false end
  local ok, failure = xpcall(server.emit, describeFailure, server, name, req, res)
  if not ok then failed(res, failure) end
  return true
end

-- Requests ------------------------------------------------------------------------------------------------------------

-- Listeners of `upgrade` that can do without a socket → what takes the connection itself.
local takers = setmetatable({}, { __mode = "k" })

--- A listener of `upgrade` can do without the socket: where it is the only one, and there is no socket yet,
--- `take(req, res, connection)` is called first. It takes the connection (`leave`), answers by `res`, or returns false.
---@param listener function
---@param take fun(req: IncomingMessage, res: ServerResponse, connection: HttpConnection): boolean
function requests.takesConnection(listener, take) takers[listener] = take end

--- Takes a connection from HTTP for another protocol; whoever does it tells the server, by `_connectionClosed`, when it has ended.
---@param connection HttpConnection
---@param res ServerResponse of the request that asked for it
---@return userdata handle
---@return string rest the bytes behind the head
function requests.leave(connection, res)
  res:_dismiss()
  return connection:detach()
end

local function takenWithoutSocket(server, connection, req, res)
  local listener = server._listeners and server._listeners.upgrade
  local take = listener and not connection.socket and takers[listener]
  return take and take(req, res, connection)
end

-- The protocol changes: the socket goes to the listener with the bytes that came behind the head.
local function handOver(server, connection, req, res, name)
  if name == "upgrade" and takenWithoutSocket(server, connection, req, res) then return end
  local socket = connection:getSocket()
  res:_dismiss()
  local rest = socket:_standAlone()
  server:emit(name, req, socket, rest)
end

-- Behind requests that are not answered yet it waits for them.
local function handOverInTurn(server, connection, req, res, name)
  if connection.response == res then return handOver(server, connection, req, res, name) end
  core.pause(connection.c)           -- what comes now is the other protocol's
  res:_whenFirst(function(_, err)
    if err == nil then nextTick(handOver, server, connection, req, res, name) end
  end)
end

local function special(server, connection, req, res, bits)
  if band(bits, flags.last) ~= 0 then
    res:_isLast()
    server:emit("dropRequest", req, connection:getSocket())
    res:writeHead(503)
    return res:finish()
  end
  if band(bits, flags.upgrade) ~= 0 then
    local name = req.method == "CONNECT" and "connect" or "upgrade"
    if server:listenerCount(name) > 0 then return handOverInTurn(server, connection, req, res, name) end
    if name == "connect" then return res:destroy() end
  end
  local expects = band(bits, flags.minor) ~= 0             -- a client of HTTP/1.0 knows no expectations
  if expects and band(bits, flags.expect100) ~= 0 then
    res:_expectsWord()
    if answeredBy(server, "checkContinue", req, res) then return end
    res:writeContinue()
  elseif expects and band(bits, flags.expect) ~= 0 then
    res:_expectsWord()
    if answeredBy(server, "checkExpectation", req, res) then return end
    res:writeHead(417)
    return res:finish()
  end
  handle(server, req, res)
end

local SPECIAL = flags.upgrade + flags.expect + flags.expect100 + flags.last

local function onRequest(connection, id, head, bits)
  local server = connection.owner
  local responseClass = server.responseClass
  local res = makeResponse(connection, id, responseClass)
  local req = makeRequest(res, head, bits, server.requestClass)
  if band(bits, BODY) ~= 0 then connection.incoming = req end
  connection:begin(id, res)
  if responseClass ~= ServerResponse then res:_begin() end
  if band(bits, SPECIAL) ~= 0 then return special(server, connection, req, res, bits) end
  return handle(server, req, res)
end

-- What else C says ----------------------------------------------------------------------------------------------------

function requests.onEnd(connection, section)
  local incoming = connection.incoming
  if not incoming then return end
  connection.incoming = false
  incoming:_complete(section)
end

function requests.onDrain(connection, id)
  local res = connection:find(id)
  if res then outgoing.drained(res) end
end

function requests.onFault(connection, status, code, reason, packet, parsed)
  local server = connection.owner
  if server:listenerCount("clientError") == 0 then return core.refuse(connection.c, status) end
  server:emit("clientError", message.fault(code, reason, packet, parsed), connection:getSocket())
end

function requests.onTimeout(connection)
  local server, response, socket = connection.owner, connection.response, connection:getSocket()
  local req = response and response.req
  local heard = req and not req.complete and req:emit("timeout", socket)
  heard = response and response:emit("timeout", socket) or heard
  heard = socket:emit("timeout") or heard
  heard = server:emit("timeout", socket) or heard
  if not heard then connection:drop() end
end

-- Nobody can be answered any more.
local function abandon(connection, err)
  if connection.response or connection.later then
    for _, response in ipairs(connection:takeResponses()) do response:_onLost(err) end
  end
  local incoming = connection.incoming
  connection.incoming = false
  if incoming and not incoming.destroyed then incoming:destroy(Connection.lost()) end
end

function requests.onClosed(connection, err)
  local server = connection.owner
  abandon(connection, err)
  if connection.socket then return end                     -- it tells the rest, by its `close` and `error`
  server:_connectionClosed()
  if err and server:listenerCount("clientError") > 0 then server:emit("clientError", err, connection:getSocket()) end
end

--- The socket failed, or the program destroyed it with an error.
function requests.onSocketError(connection, err) connection.owner:emit("clientError", err, connection.socket) end

--- The connection goes to another process, or to another protocol: its requests get no answer from here.
function requests.onDetach(connection) abandon(connection, nil) end

--- The socket of an accepted connection was made: it tells the server when it has ended.
function requests.onSocket(connection, socket)
  socket.server = connection.owner
  if connection.closed ~= "over" and connection.closed ~= "detached" then socket:_countedBy(connection.owner) end
end

Connection.take { onrequest = onRequest }
requests.Connection = Connection.class(requests, false)

return requests
