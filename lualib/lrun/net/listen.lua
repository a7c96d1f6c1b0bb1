--- Where bound sockets come from: `open` gives a server or a UDP socket its handle, from this process, or, in a cluster
--- worker, through `listen.cluster`, which the cluster sets. `bind` makes one here; the primary binds with it too.
---
--- Hooks: what comes with a handle for whoever keeps account of it, functions that the server calls, each of which may be
--- missing: `opened()` and `closed()` for each connection that it takes, `refused()` for one that it turns away,
--- `close()` when it closes the handle, the last call for that.
---
--- A request: `{ address =, port =, addressType = 4|6|"udp4"|"udp6"|-1 (a path), fd =, backlog =, exclusive =,
--- reusePort =, reuseAddr =, ipv6Only =, readableAll =, writableAll = }`. Without an address, `::` for both families, or
--- `0.0.0.0` where there is no IPv6; `bind` writes what it chose into the request.
local uv = require("luv")
local errors = require("errors")
local handles = require("lrun.net.handles")
local sockets = require("lrun.core.sockets")
local unix = require("lrun.core.unix")

local listen = {}

--- nil, or what a cluster worker does: `provide(server, request, callback)`, callback `(err, handle, hooks)`, for handles
--- that it gets from the primary; `watch(server, request)` → hooks, for those of this process.
listen.cluster = nil

listen.MAX_PATH = 107               -- sun_path of Linux, less its final NUL
listen.BACKLOG = 511

--- How many descriptors from 3 on the service manager gave this process (LISTEN_FDS); a script may remove the variables.
listen.fromManager = tonumber(os.getenv("LISTEN_PID")) == uv.os_getpid() and tonumber(os.getenv("LISTEN_FDS")) or 0

--- nil, or what a process has from the one that it takes over from: `take(key)` → a bound handle, or nil.
listen.inherited = nil

-- handle → { server, request, key, number } of those that servers of this process have from `open`; they are numbered in turn.
local bound, lastNumber = {}, 0

local function fail(handle, code, request, syscall)
  if handle and not handle:is_closing() then listen.close(handle) end
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

-- Files of unix sockets -----------------------------------------------------------------------------------------------

local files = {}                    -- handle → { path, dev, ino } of the file that goes with it
local watching = false

-- Only our own: another process may have taken the name meanwhile. While the socket is open nobody gets its number.
local function removeFile(file)
  local found = uv.fs_lstat(file.path)
  if found and found.ino == file.ino and found.dev == file.dev then uv.fs_unlink(file.path) end
end

--- Has the file of a unix socket removed when its handle is closed, or the process ends.
---@param handle userdata
---@param path string
function listen.ownFile(handle, path)
  if not watching then
    watching = true
    require("process"):on("exit", function() for _, file in pairs(files) do removeFile(file) end end)
  end
  if path:sub(1, 1) ~= "/" then path = (uv.cwd() or ".") .. "/" .. path end
  local found = uv.fs_lstat(path)
  if found then files[handle] = { path = path, dev = found.dev, ino = found.ino } end
end

--- The file that is removed with a handle.
---@param handle userdata
---@return string? path
function listen.fileOf(handle) return files[handle] and files[handle].path end

--- Leaves the file of a unix socket to another process that has the socket, too.
---@param handle userdata
function listen.leaveFile(handle) files[handle] = nil end

--- Closes what `bind` has made, its file included.
---@param handle any
function listen.close(handle)
  bound[handle] = nil
  local file = files[handle]
  if file then
    files[handle] = nil
    removeFile(file)
  end
  handle:close()
end

-- Binding -------------------------------------------------------------------------------------------------------------

local function bindPath(request)
  local path = request.address
  local abstract = path:sub(1, 1) == "\0"
  if not abstract and #path > listen.MAX_PATH then return fail(nil, "ENAMETOOLONG", request) end
  local handle
  local fd, code = unix.bind(path, "stream")
  if fd then handle, code = handles.take("pipe", fd) end
  if not handle then return fail(nil, code, request) end
  if abstract then return handle end
  listen.ownFile(handle, path)
  if request.readableAll or request.writableAll then
    local mode = (request.readableAll and "r" or "") .. (request.writableAll and "w" or "")
    local ok, _, failed = handle:chmod(mode)
    if not ok then return fail(handle, failed, request) end
  end
  return handle
end

local function bindTcp(handle, request, address)
  if request.reusePort then
    local ok, code = sockets.reusePort(handle:fileno())
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
  handle:close()
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
    local ok, code = sockets.reusePort(handle:fileno())
    if not ok then return fail(handle, code, request, "bind") end
  end
  local flags = { ipv6only = v6 and request.ipv6Only or false, reuseaddr = request.reuseAddr or false }
  local address = request.address or (v6 and "::" or "0.0.0.0")
  local called, ok, _, code = pcall(uv.udp_bind, handle, address, request.port or 0, flags)
  if not called then return fail(handle, "EINVAL", request, "bind") end
  if not ok then return fail(handle, code, request, "bind") end
  return handle
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

--- The hooks of a server that got its handle in this process.
---@param server table
---@param request table
---@return table? hooks
function listen.watched(server, request)
  return listen.cluster and listen.cluster.watch(server, request)
end

--- What a request is known by.
---@param request table
---@return string
function listen.keyOf(request)
  return ("%s:%s:%s:%s"):format(tostring(request.address), tostring(request.port), tostring(request.addressType),
    tostring(request.fd))
end

--- Gets a bound handle for `server`: in a cluster worker from the primary, unless the request is exclusive.
---@param server table
---@param request table
---@param callback fun(err: Error?, handle: any, hooks: table?)
function listen.open(server, request, callback)
  if listen.cluster and not request.exclusive then return listen.cluster.provide(server, request, callback) end
  local key = listen.keyOf(request)     -- before binding, which writes into the request what it chose
  local handle, err = listen.inherited and listen.inherited.take(key), nil
  if not handle then handle, err = listen.bind(request) end
  if handle then
    lastNumber = lastNumber + 1
    bound[handle] = { server = server, request = request, key = key, number = lastNumber }
  end
  callback(err, handle, handle and listen.watched(server, request))
end

--- Whether a UDP request is that of a server: nobody gave the others a port.
---@return boolean
function listen.isServer(request)
  return type(request.addressType) ~= "string" or request.fd ~= nil or (request.port or 0) ~= 0
end

--- Servers of this process that listen on handles of their own, and UDP sockets that are servers, in the order of their
--- listening.
---@return { server: table, handle: userdata, request: table, key: string, number: integer }[]
function listen.servers()
  local list = {}
  for handle, each in pairs(bound) do
    if listen.isServer(each.request) then
      list[#list + 1] = {
        handle = handle, server = each.server, request = each.request, key = each.key, number = each.number,
      }
    end
  end
  table.sort(list, function(one, other) return one.number < other.number end)
  return list
end

return listen
