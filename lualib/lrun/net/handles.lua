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
local sockets = require("lrun.core.sockets")

local handles = {}

local function has(value, first, second)
  local kind = type(value)
  if kind ~= "userdata" and kind ~= "table" then return false end
  local ok, known = pcall(function() return value[first] and value[second] and (value:is_closing() or true) end)
  return ok and known == true
end

--- Whether a value is an open stream handle.
---@param value any
---@return boolean
function handles.isStream(value) return has(value, "read_start", "try_write") end

--- Whether a value is an open handle that can listen.
---@param value any
---@return boolean
function handles.canListen(value) return has(value, "listen", "accept") end

--- Whether a value is an open handle of a UDP socket.
---@param value any
---@return boolean
function handles.isDatagram(value) return has(value, "recv_start", "try_send") end

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
