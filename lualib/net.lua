--- Streams over TCP and unix sockets. Source: Node 20, except `createServerHandle`, which is for programs that pass
--- listening handles to other processes themselves.
local errors = require("errors")
local calls = require("lrun.check.calls")
local connect = require("lrun.net.connect")
local ip = require("lrun.net.ip")
local listen = require("lrun.net.listen")
local validate = require("lrun.check.validate")
local BlockList = require("lrun.net.blocklist")
local Server = require("lrun.net.server")
local Socket = require("lrun.net.socket")

---@class ServerOptions
---@field allowHalfOpen boolean? the server's side stays open when the client's has ended
---@field pauseOnConnect boolean? nothing is read before `resume`
---@field noDelay boolean?
---@field keepAlive boolean?
---@field keepAliveInitialDelay integer? ms
---@field blockList BlockList?
---@field highWaterMark integer? bytes

---@class ListenOptions
---@field port (integer|string)? 0 is a free one
---@field host string? all addresses of both families by default
---@field path string? of a unix socket
---@field fd integer? a descriptor, which may listen already
---@field backlog integer? 511
---@field exclusive boolean? in a cluster worker: not shared
---@field reusePort boolean?
---@field ipv6Only boolean?
---@field readableAll boolean? of a unix socket
---@field writableAll boolean?
---@field signal AbortSignal? closes the server

---@class SocketOptions
---@field handle userdata? a luv handle, which the socket then owns
---@field fd integer? a descriptor, likewise
---@field allowHalfOpen boolean?
---@field readable boolean?
---@field writable boolean?
---@field noDelay boolean?
---@field keepAlive boolean?
---@field keepAliveInitialDelay integer? ms
---@field highWaterMark integer? bytes
---@field signal AbortSignal? destroys the socket

---@class ConnectOptions: SocketOptions
---@field port (integer|string)?
---@field host string? "localhost" by default
---@field path string? of a unix socket
---@field family integer? 0, 4 or 6
---@field localAddress string?
---@field localPort integer?
---@field lookup function? `(host, options, callback)`
---@field autoSelectFamily boolean?
---@field autoSelectFamilyAttemptTimeout integer? ms, 250
---@field timeout integer? ms

---@class net
---@field Server Server the class, as the others
---@field Socket Socket
---@field Stream Socket
---@field BlockList BlockList
local net = { Server = Server, Socket = Socket, Stream = Socket, BlockList = BlockList }

--- Makes a server.
---@param options ServerOptions?
---@param onConnection fun(socket: Socket)?
---@return Server
function net.createServer(options, onConnection) return Server:new(options, onConnection) end

--- Connects: `connect(port[, host][, listener])`, `connect(path[, listener])`, `connect(options[, listener])`.
---@overload fun(port: integer|string, host: string?, listener: function?): Socket
---@overload fun(path: string, listener: function?): Socket
---@overload fun(options: ConnectOptions, listener: function?): Socket
---@return Socket
function net.connect(...)
  local options = connect.arguments(...)
  local socket = Socket:new{
    allowHalfOpen = options.allowHalfOpen, signal = options.signal, highWaterMark = options.highWaterMark,
  }
  return socket:connect(...)
end

--- The same as `connect`.
net.createConnection = net.connect

--- Binds a socket and leaves the rest to the caller: `handle:listen(backlog, function(err) … handle:accept(client) end)`.
---@param address string? an IP address; nil for all
---@param port integer
---@return userdata? handle a bound `uv_tcp`
---@return Error? err
function net.createServerHandle(address, port)
  if address ~= nil and ip.parse(address) == 0 then
    error(type(address) == "string" and errors.coded("ERR_INVALID_IP_ADDRESS", "Invalid IP address: " .. address)
      or errors.argType("address", "string", address), 0)
  end
  return listen.bind{ address = address, port = validate.port(port, "port"), addressType = 4 }
end

--- 4, 6, or 0 when it is no address.
---@param text any
---@return integer
function net.isIP(text) return (ip.parse(text)) end

--- Whether it is an IPv4 address.
---@param text any
---@return boolean
function net.isIPv4(text) return ip.parse(text) == 4 end

--- Whether it is an IPv6 address.
---@param text any
---@return boolean
function net.isIPv6(text) return ip.parse(text) == 6 end

calls.functions(net, "net")

return net
