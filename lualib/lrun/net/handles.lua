--- Handles: what sockets and servers stand on, and luv handles around descriptors that are open already.
---
--- Sockets and servers call a handle's methods and never ask whose it is. A stream has, with luv's meaning and results:
---   read_start(f), read_stop(), write(data, f), try_write(data), shutdown(f), get_write_queue_size(),
---   close(f), is_closing(), ref(), unref(), get_type(), fileno(), and where they make sense
---   getsockname(), getpeername(), nodelay(on), keepalive(on, seconds), close_reset(f).
--- One that belongs to another protocol, such as HTTP's, has besides: detach() → the handle below, when the protocol is
--- left; rest(), what was received and not used; traffic() → bytes received and sent; set_timeout(ms), which keeps the time
--- without traffic and has the socket emit `timeout`.
--- A listening handle has listen(backlog, f), accept(stream), getsockname(), close(f), is_closing(), ref(), unref(), get_type().
local uv = require("luv")
local ip = require("lrun.net.ip")
local sockets = require("lrun.core.sockets")
local unix = require("lrun.core.unix")

local handles = {}

local function answers(value, first, second) return value[first] and value[second] and (value:is_closing() or true) end

local function has(value, first, second)
  local kind = type(value)
  if kind ~= "userdata" and kind ~= "table" then return false end
  local ok, known = pcall(answers, value, first, second)
  return ok and known == true
end

local function isStream(value) return has(value, "read_start", "try_write") end

--- The stream handle that a value is, or has: a socket object.
---@param value any
---@return any? handle
function handles.stream(value)
  if type(value) == "table" and not isStream(value) then value = rawget(value, "_handle") end
  return isStream(value) and value or nil
end

--- Whether a value is an open handle that can listen.
---@param value any
---@return boolean
function handles.canListen(value) return has(value, "listen", "accept") end

--- Whether a value is an open handle of a UDP socket.
---@param value any
---@return boolean
function handles.isDatagram(value) return has(value, "recv_start", "try_send") end

--- The address of one end of a handle; nil for a unix socket, a terminal, and where it is closed.
---@param handle any
---@param method "getsockname"|"getpeername"
---@return { address: string, port: integer, family: string }?
function handles.address(handle, method)
  if not handle or handle:is_closing() or not handle[method] then return nil end
  local name = handle[method](handle)
  return type(name) == "table" and { address = name.ip, port = name.port, family = ip.familyName(name.family) } or nil
end

--- Who is at the other end of a unix socket.
---@param handle any
---@return { pid: integer, uid: integer, gid: integer }?
---@return string? code
function handles.credentials(handle)
  local fd = handle and not handle:is_closing() and handle:fileno()
  if not fd then return nil, "EBADF" end
  local pid, uid, gid = unix.peerCredentials(fd)
  if not pid then return nil, uid end
  return { pid = pid, uid = uid, gid = gid }
end

local makers = {
  tcp = function() return uv.new_tcp() end,
  pipe = function() return uv.new_pipe(false) end,
  udp = function() return uv.new_udp() end,
}

--- Makes a handle, which then owns the descriptor; where that fails the descriptor stays the caller's.
---@param kind string "tcp", "pipe" (also unix sockets), "udp"; there is no handle for others
---@param fd integer
---@return userdata? handle
---@return string? code
function handles.open(kind, fd)
  local make = makers[kind]
  if not make then return nil, "EINVAL" end
  local handle = make()
  local ok, _, code = handle:open(fd)
  if ok then return handle end
  handle:close()
  return nil, code
end

--- The same, but the descriptor is closed where it fails.
---@param kind string
---@param fd integer
---@return userdata? handle
---@return string? code
function handles.take(kind, fd)
  local handle, code = handles.open(kind, fd)
  if not handle then sockets.close(fd) end
  return handle, code
end

return handles
