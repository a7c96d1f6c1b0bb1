--- Where bound sockets come from: `open` gives a server or a UDP socket its handle, from this process, or, in a cluster
--- worker, through `listen.provider`, which the cluster sets. `bind` makes one here; the primary binds with it too.
---
--- A request: `{ address =, port =, addressType = 4|6|"udp4"|"udp6"|-1 (a path), fd =, backlog =, exclusive =,
--- reusePort =, reuseAddr =, ipv6Only =, readableAll =, writableAll = }`. Without an address, `::` for both families, or
--- `0.0.0.0` where there is no IPv6; `bind` writes what it chose into the request.
local uv = require("luv")
local errors = require("errors")
local handles = require("lrun.net.handles")
local sockets = require("lrun.core.sockets")

local listen = {}

--- nil, or the cluster worker's `function(server, request, callback)`; callback `(err, handle)`.
listen.provider = nil

listen.MAX_PATH = 107               -- sun_path of Linux, less its final NUL

local function fail(handle, code, request, syscall)
  if handle and not uv.is_closing(handle) then uv.close(handle) end
  return nil, listen.failure(code, request, syscall)
end

--- The error for a request that failed: it names the address that was asked for.
---@param code string|integer
---@param request table
---@param syscall string? "listen" unless given
---@return Error
function listen.failure(code, request, syscall)
  local isPath = request.addressType == -1
  return errors.system(code, syscall or "listen", {
    address = request.address or (request.fd == nil and "::" or nil),
    port = not isPath and request.port or nil,
  })
end

-- Unix sockets of this process; libuv removes their files when they are closed, and we when the process ends before.
local paths

local function removePaths()
  for handle, path in pairs(paths) do
    local known, closing = pcall(uv.is_closing, handle)    -- one that was closed and collected is no handle any more
    if known and not closing then uv.fs_unlink(path) end
  end
end

local function rememberPath(handle, path)
  if not paths then
    paths = setmetatable({}, { __mode = "k" })
    require("process"):on("exit", removePaths)
  end
  if path:sub(1, 1) ~= "/" then path = (uv.cwd() or ".") .. "/" .. path end
  paths[handle] = path
end

local function bindPath(request)
  local path = request.address
  if path:sub(1, 1) == "\0" then
    local fd, code = sockets.bindAbstract(path)
    local bound
    if fd then bound, code = handles.take("pipe", fd) end
    if not bound then return fail(nil, code, request) end
    return bound
  end
  if #path > listen.MAX_PATH then return fail(nil, "ENAMETOOLONG", request) end
  local handle = uv.new_pipe(false)
  local ok, _, code = uv.pipe_bind(handle, path)
  if not ok then return fail(handle, code, request) end
  rememberPath(handle, path)
  if request.readableAll or request.writableAll then
    local mode = (request.readableAll and "r" or "") .. (request.writableAll and "w" or "")
    ok, _, code = uv.pipe_chmod(handle, mode)
    if not ok then return fail(handle, code, request) end
  end
  return handle
end

local function bindTcp(handle, request, address)
  if request.reusePort then
    local ok, code = sockets.reusePort(uv.fileno(handle))
    if not ok then return nil, code end
  end
  local flags = { ipv6only = request.ipv6Only and address:find(":", 1, true) ~= nil or false }
  local called, ok, _, code = pcall(uv.tcp_bind, handle, address, request.port or 0, flags)
  if not called then return nil, "EINVAL" end
  return ok, code
end

local NO_IPV6 = { EAFNOSUPPORT = true, EINVAL = true, EADDRNOTAVAIL = true, EPROTONOSUPPORT = true }

local function newTcp(request, address)
  local handle, _, code = uv.new_tcp(address:find(":", 1, true) and "inet6" or "inet")
  if not handle then return nil, code end
  local ok
  ok, code = bindTcp(handle, request, address)
  if ok then return handle end
  uv.close(handle)
  return nil, code
end

local function bindAnyTcp(request)
  if request.address then
    local handle, code = newTcp(request, request.address)
    if not handle then return fail(nil, code, request) end
    return handle
  end
  local handle, code = newTcp(request, "::")
  local address = "::"
  if not handle and NO_IPV6[code] then
    handle, code = newTcp(request, "0.0.0.0")
    address = "0.0.0.0"
  end
  if not handle then return fail(nil, code, request) end
  request.address, request.addressType = address, address == "::" and 6 or 4
  return handle
end

local function bindUdp(request)
  local v6 = request.addressType == "udp6"
  local handle, _, failed = uv.new_udp(v6 and "inet6" or "inet")
  if not handle then return fail(nil, failed, request, "bind") end
  if request.reusePort then
    local ok, code = sockets.reusePort(uv.fileno(handle))
    if not ok then return fail(handle, code, request, "bind") end
  end
  local flags = { ipv6only = v6 and request.ipv6Only or false, reuseaddr = request.reuseAddr or false }
  local address = request.address or (v6 and "::" or "0.0.0.0")
  local called, ok, _, code = pcall(uv.udp_bind, handle, address, request.port or 0, flags)
  if not called then return fail(handle, "EINVAL", request, "bind") end
  if not ok then return fail(handle, code, request, "bind") end
  return handle
end

--- Whether a value is a luv handle of one of the kinds: "tcp", "pipe", "tty", "udp".
---@param value any
---@return boolean
function listen.isHandle(value, ...)
  if type(value) ~= "userdata" then return false end
  local known, kind = pcall(uv.handle_get_type, value)
  for i = 1, select("#", ...) do
    if known and kind == select(i, ...) then return true end
  end
  return false
end

--- Wraps a descriptor, which the handle then owns.
---@param fd integer
---@param wanted string? "udp": anything else is refused; else TCP and unix sockets are taken
---@return userdata? handle
---@return string? code "EINVAL", "EBADF", …
function listen.wrap(fd, wanted)
  local called, kind = pcall(uv.guess_handle, fd)
  if not called or (kind == "udp") ~= (wanted == "udp") then return nil, "EINVAL" end
  local handle, code = handles.open(kind, fd)
  if handle and fd > 2 then sockets.closeOnExec(fd) end   -- inherited, from systemd for instance; our children shall not have it
  return handle, code
end

--- Makes a bound handle in this process.
---@param request table
---@return userdata? handle
---@return Error? err
function listen.bind(request)
  local isUdp = request.addressType == "udp4" or request.addressType == "udp6"
  if request.fd ~= nil then
    local handle, code = listen.wrap(request.fd, isUdp and "udp" or nil)
    if not handle then return fail(nil, code, request, isUdp and "bind" or nil) end
    return handle
  end
  if isUdp then return bindUdp(request) end
  if request.addressType == -1 then return bindPath(request) end
  return bindAnyTcp(request)
end

--- Gets a bound handle for `server`: in a cluster worker from the primary, unless the request is exclusive.
---@param server table
---@param request table
---@param callback fun(err: Error?, handle: any)
function listen.open(server, request, callback)
  if listen.provider and not request.exclusive then return listen.provider(server, request, callback) end
  local handle, err = listen.bind(request)
  callback(err, handle)
end

return listen
