--- luv handles around descriptors that are open already.
local uv = require("luv")
local sockets = require("lrun.core.sockets")

local handles = {}

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
