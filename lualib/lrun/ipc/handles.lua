--- Descriptors that travel with messages: which objects can be sent, in which envelope, and what becomes of both ends.
--- The envelope is Node's, on both wires: `{ cmd = "NODE_HANDLE", type = "net.Socket", msg = <message>, … }`; `rest` in it
--- is ours: what the socket had received and nobody had read.
local uv = require("luv")
local channels = require("lrun.core.channel")
local errors = require("errors")
local ipc = require("lrun.ipc.channel")
local luvHandles = require("lrun.net.handles")
local sockets = require("lrun.core.sockets")

local handles = {}

local function isA(value, module, class)
  local loaded = require("lrun.core.loaded")[module]
  if not loaded then return false end
  local at = type(value) == "table" and getmetatable(value) or nil
  while at do
    if at == loaded[class] then return true end
    at = rawget(at, "super")
  end
  return false
end

local function luvKind(value)
  if type(value) ~= "userdata" then return nil end
  local ok, kind = pcall(uv.handle_get_type, value)
  return ok and (kind == "tcp" or kind == "pipe" or kind == "udp") and kind or nil
end

-- Sending -------------------------------------------------------------------------------------------------------------

local senders = {}

local function close(handle)
  if not uv.is_closing(handle) then uv.close(handle) end
end

-- What the script had written before it sent the socket still goes out.
local function closeWhenWritten(handle)
  if uv.is_closing(handle) then return end
  if uv.stream_get_write_queue_size(handle) > 0 and uv.write(handle, "", function() close(handle) end) then return end
  close(handle)
end

-- What the second result does is done once the message is queued: until then the socket is as it was.
senders["net.Socket"] = function(state, envelope, socket, options)
  local handle = socket._handle
  if not handle or socket.connecting then return nil end
  local server = socket:_acceptedBy()
  if server then
    envelope.key = require("lrun.ipc.sockets").sent(state, server)
  end
  if options.keepOpen then return handle end
  local unread = socket:_unread()
  if unread ~= "" then envelope.rest = unread end
  return handle, function()
    closeWhenWritten((socket:_detach()))
    if server then server:_connectionClosed() end
  end
end

senders["net.Server"] = function(_, _, server)
  local handle = server._handle
  return type(handle) == "userdata" and handle or nil
end

senders["dgram.Socket"] = function(_, envelope, socket)
  envelope.dgramType = socket.type  -- Node's receiver asks for it
  return socket._handle
end

senders["net.Native"] = function(_, _, handle) return handle end
senders["dgram.Native"] = senders["net.Native"]

local function typeOf(handle)
  if isA(handle, "net", "Socket") then
    if handle.encrypted then
      error(errors.coded("ERR_INVALID_HANDLE_TYPE", "A TLS socket cannot be sent: its keys and what it has read stay in this process. "
        .. "Send the plain socket before TLS begins, and wrap it there with tls.TLSSocket or emit it as connection"), 0)
    end
    return "net.Socket"
  end
  if isA(handle, "net", "Server") then return "net.Server" end
  if isA(handle, "dgram", "Socket") then return "dgram.Socket" end
  local kind = luvKind(handle)
  if kind then return kind == "udp" and "dgram.Native" or "net.Native" end
  error(errors.coded("ERR_INVALID_HANDLE_TYPE", "This handle type cannot be sent"), 0)
end

--- Sends a message with a handle; without one when the handle has been sent or closed before, as Node does.
---@return boolean? room
---@return Error? err
function handles.send(state, message, handle, options, callback)
  local envelope = { cmd = "NODE_HANDLE", type = typeOf(handle), msg = message }
  local native, letGo = senders[envelope.type](state, envelope, handle, options)
  local fd = native and not native:is_closing() and native:fileno()
  if not fd then return ipc.append(state, message, nil, callback) end
  local room, err = ipc.append(state, envelope, fd, callback)
  if letGo and not err then letGo() end
  return room, err
end

-- Receiving -----------------------------------------------------------------------------------------------------------

local receivers = {}

receivers["net.Socket"] = function(state, envelope, native)
  local socket = require("net").Socket:new{ handle = native, readable = true, writable = true }
  if type(envelope.rest) == "string" then socket:push(envelope.rest) end
  if type(envelope.key) == "string" then require("lrun.ipc.sockets").got(state, envelope.key, socket) end
  return socket
end

receivers["net.Server"] = function(_, _, native)
  local server = require("net").Server:new()
  server:listen(native)
  return server
end

receivers["dgram.Socket"] = function(_, envelope, native)
  local name = native:getsockname()
  local socket = require("dgram").createSocket(name and name.family == "inet6" and "udp6" or "udp4")
  socket:bind(native)
  return socket
end

receivers["net.Native"] = function(_, _, native) return native end
receivers["dgram.Native"] = receivers["net.Native"]

local NEEDS = { ["dgram.Socket"] = "udp", ["dgram.Native"] = "udp" }

-- Whether a descriptor can be what its envelope says; a peer may say anything.
local function fits(fd, name, kind)
  if (NEEDS[name] == "udp") ~= (kind == "udp") then return false end
  return name ~= "net.Server" or channels.listens(fd)
end

--- Closes what came with a message that nobody takes.
---@param handle any from `receive`
function handles.drop(handle)
  if type(handle) == "userdata" then return close(handle) end
  if handle.destroy then handle:destroy() else handle:close() end
end

--- Makes what the envelope says from a descriptor, which it owns. nil when the two do not fit.
---@param envelope table
---@param fd integer
---@return any? handle
function handles.receive(state, envelope, fd)
  local kind = channels.kindOf(fd)
  local receiver = receivers[envelope.type]
  if not receiver or not fits(fd, envelope.type, kind) then
    sockets.close(fd)
    return nil
  end
  local native = luvHandles.take(kind, fd)
  return native and receiver(state, envelope, native)
end

return handles
