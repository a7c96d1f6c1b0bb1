--- What becomes of the answers on a client's connection (lrun.http.connection), the role that it plays: gives responses to
--- the request that is on its way, and the connection back to the agent once that is over and nothing came unasked.
local process = require("process")
local Connection = require("lrun.http.connection")
local Group = require("lrun.http.group")
local message = require("lrun.http.incoming")
local outgoing = require("lrun.http.outgoing")

local band = require("bit").band
local nextTick = process.nextTick
local flags = message.flags

local replies = {}

-- Connections belong to an owner, one for each maxHeaderSize.
local owners = {}

local function ownerFor(maxHeaderSize)
  local owner = owners[maxHeaderSize]
  if not owner then
    owner = { group = Group.new(maxHeaderSize, Group.maxHeadersCount), timeout = 0 }
    owners[maxHeaderSize] = owner
  end
  return owner
end

--- The HTTP connection on a socket that is connected, made the first time.
---@param socket Socket
---@param maxHeaderSize integer?
---@return HttpConnection? connection nil when it is closed
function replies.connectionOf(socket, maxHeaderSize)
  local connection = Connection.of(socket)
  if connection then return not connection.closed and connection or nil end
  local made, received = replies.Connection:adopt(ownerFor(maxHeaderSize or Group.maxHeaderSize), socket)
  if made then made:start(received) end
  return made and not made.closed and made or nil
end

--- Whether a request may be sent on an idle connection: not where something came unasked, which would be taken for its
--- answer.
---@param socket Socket
---@return boolean
function replies.isClean(socket)
  local connection = Connection.of(socket)
  if not connection then return true end
  return not connection.closed and connection.receivedBefore == (connection:traffic())
end

-- Heads ---------------------------------------------------------------------------------------------------------------

local function interim(request, response)
  if response.statusCode == 100 then request:emit("continue") end
  request:emit("information", {
    statusCode = response.statusCode, statusMessage = response.statusMessage, httpVersion = response.httpVersion,
    httpVersionMajor = response.httpVersionMajor, httpVersionMinor = response.httpVersionMinor,
    headers = response.headers, rawHeaders = response.rawHeaders,
  })
end

-- The protocol changes: the socket goes to the listener.
local function handOver(connection, request, response, name)
  connection.request = false
  local socket = connection:getSocket()
  local rest = socket:_standAlone()
  request:_handOver(response, socket, rest, name)
end

local function onResponse(connection, status, head, bits)
  local request = connection.request
  if not request or request.res then return connection:drop() end     -- nobody asked
  local response = message.response(connection, request, status, head, bits)
  request:_onBytes()
  if status == 101 then return handOver(connection, request, response, "upgrade") end
  if status < 200 then
    connection.interim = true
    return interim(request, response)
  end
  if request.method == "CONNECT" and status < 300 then return handOver(connection, request, response, "connect") end
  if band(bits, flags.body) ~= 0 and request:_decodes() then require("lrun.http.decoded_message").take(response) end
  connection.incoming, connection.last = response, response
  connection.keepAlive = band(bits, flags.keepAlive) ~= 0
  request.res = response
  if request:listenerCount("response") == 0 then
    response:resume()
    return
  end
  request:emit("response", response)
end

Connection.take { onresponse = onResponse }

-- The end -------------------------------------------------------------------------------------------------------------

-- How long the server says that it keeps idle connections; a second less is safe.
local function idleLimit(connection, agent)
  local hint = connection.last and connection.last.headers["keep-alive"]
  local seconds = hint and tonumber(hint:match("timeout=(%d+)"))
  local limit = agent.options.timeout or 0
  if seconds then
    local ms = math.max(seconds * 1000 - 1000, 500)
    if limit == 0 or ms < limit then limit = ms end
  end
  return limit
end

local function giveBack(connection, agent)
  if connection.closed then return end
  if not replies.isClean(connection.socket) then return connection:drop() end
  agent:_free(connection.socket)
end

--- The response has come and the request was sent: the connection is free, or ends.
---@param connection HttpConnection
function replies.release(connection)
  local request = connection.request
  connection.request = false
  connection:endLimit(request)
  request:_isOver()
  if not (connection.keepAlive and request:_keepsAlive()) then return connection:drop() end
  connection.receivedBefore = (connection:traffic())
  connection:set_timeout(idleLimit(connection, request.agent))
  nextTick(giveBack, connection, request.agent)
end

-- `surplus`: more came behind the response. What is no response is the request's error, told when it is parsed; then C
-- closes the connection.
function replies.onEnd(connection, section, surplus)
  if connection.interim then
    connection.interim = false
    return
  end
  local request, response = connection.request, connection.incoming
  if not request or not response then return end
  connection.incoming = false
  response:_complete(section)
  if connection.closed or connection.request ~= request then return end
  if surplus then
    connection.keepAlive = false
    return
  end
  if request:_isSent() then replies.release(connection) end
end

function replies.onDrain(connection)
  if connection.request then outgoing.drained(connection.request) end
end

function replies.onFault(connection, _, code, reason, packet, parsed)
  local request = connection.request
  connection:drop()
  if request then request:destroy(message.fault(code, reason, packet, parsed)) end
end

function replies.onTimeout(connection)
  local request = connection.request
  if not request then return connection:drop() end -- idle long enough
  connection:getSocket():emit("timeout")
  request:emit("timeout")
end

local function abandon(connection, err)
  local request, incoming = connection.request, connection.incoming
  connection.request, connection.incoming = false, false
  if incoming and not incoming.complete and not incoming.destroyed then incoming:destroy(Connection.lost()) end
  if request then request:_lost(err) end
end

function replies.onClosed(connection, err) abandon(connection, err) end

function replies.onDetach(connection) abandon(connection, nil) end

function replies.onSocket() end

--- The program destroyed the socket with an error: it is the request's.
function replies.onSocketError(connection, err)
  local request = connection.request
  if request then request:destroy(err) end
end

replies.Connection = Connection.class(replies, true)

return replies
