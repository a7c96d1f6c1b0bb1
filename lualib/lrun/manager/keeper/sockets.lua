--- The listening sockets of an app: what a cluster's workers, or a program with `listen`, are given. Each is held here by a descriptor of
--- its own for as long as the app runs, so that a port stays open while nobody listens, and a copy goes to the daemon, from which the
--- next keeper has it. Owns these descriptors; `release` is their one way out.
local uv = require("luv")
local bound = require("lrun.net.listen")
local core = require("lrun.core.sockets")
local handles = require("lrun.net.handles")
local supervise = require("lrun.core.supervise")

local BACKLOG = 511

local Sockets = {}
Sockets.__index = Sockets

---@class HeldSocket
---@field key string
---@field kind "tcp"|"pipe"|"udp"
---@field fd integer
---@field path string? of a unix socket
---@field handle userdata? what was bound here, with which its file would go
---@field used boolean whether this keeper's instances have asked for it

-- What tells one request for a socket from another.
local function keyOf(request)
  local port = request.port or 0
  return ("%s|%s|%s|%s"):format(tostring(request.address), tostring(port), tostring(request.addressType),
    port == 0 and tostring(request.index or 0) or "")
end

local function kindOf(handle) return uv.handle_get_type(handle) end

local function drop(self, held)
  self.held[held.key] = nil
  core.close(held.fd)
  self.onReleased(held.key)
end

-- A handle of its own for a held socket.
local function open(held)
  local fd, code = core.duplicate(held.fd)
  if not fd then return nil, code end
  return handles.take(held.kind, fd)
end

--- A socket that came from the daemon: a former keeper's.
---@param key string
---@param path string?
---@param handle any a luv handle, which is closed here
function Sockets:adopt(key, path, handle)
  local fd = core.duplicate(handle:fileno())
  local kind = kindOf(handle)
  if path then
    -- libuv would remove the file with the handle; it did not bind it, so it does not.
    path = tostring(path)
  end
  handle:close()
  if not fd then return end
  self.held[key] = { key = key, kind = kind, fd = fd, path = path, used = false }
end

--- The socket that a request means, if it is held.
---@return userdata? handle
function Sockets:take(request)
  if request.reusePort or request.fd then return nil end
  local held = self.held[keyOf(request)]
  if not held then return nil end
  if held.path and not uv.fs_stat(held.path) then
    drop(self, held)
    return nil
  end
  held.used = true
  return (open(held))
end

--- A socket was bound for a request: keeps it.
function Sockets:bound(request, handle)
  if request.reusePort or request.fd then return end
  local key = keyOf(request)
  local fd = core.duplicate(handle:fileno())
  if not fd then return end
  if self.held[key] then drop(self, self.held[key]) end
  local path = request.addressType == -1 and request.address or nil
  if path and path:byte() == 0 then path = nil end
  self.held[key] = { key = key, kind = kindOf(handle), fd = fd, path = path, used = true, handle = handle }
  self.onBound(self.held[key])
end

--- The app itself has closed the server: nobody shall wait for it.
function Sockets:closed(request)
  local held = self.held[keyOf(request)]
  if held then drop(self, held) end
end

--- Calls f(key, path, handle) for each that is held; the handle is closed afterwards.
function Sockets:each(f)
  for _, held in pairs(self.held) do
    local handle = open(held)
    if handle then
      f(held.key, held.path, handle)
      handle:close()
    end
  end
end

-- The request that an address of `listen` stands for.
local function requestOf(address)
  if address.path then return { address = address.path, addressType = -1, port = -1 } end
  local host = address.host
  local isV6 = host and host:find(":", 1, true)
  return { address = host, port = address.port, addressType = (isV6 or not host) and 6 or 4, index = 0 }
end

local function removeStale(path)
  local stat = uv.fs_stat(path)
  if not stat or stat.type ~= "socket" then return end
  local probe = uv.new_pipe(false)
  -- Nobody takes connections there any more: connect fails at once, without a loop.
  local fd = core.connectPath and core.connectPath(path)
  probe:close()
  if fd then core.close(fd) else uv.fs_unlink(path) end
end

local function bindNew(self, request)
  local handle, err = bound.bind(request)
  if not handle and request.addressType == -1 and err.code == "EADDRINUSE" then
    removeStale(request.address)
    handle, err = bound.bind(request)
  end
  if not handle then return nil, tostring(err) end
  local ok, failure = supervise.listen(handle:fileno(), BACKLOG)
  if not ok then
    handle:close()
    return nil, ("%s %s"):format(failure.message, request.address or request.port)
  end
  self:bound(request, handle)
  self.bindings[#self.bindings + 1] = handle        -- closing a unix socket's would remove its file
  return true
end

--- The listening descriptors for `listen`, in its order; they stay ours.
---@param addresses table[]
---@return integer[]? descriptors
---@return string? problem
function Sockets:descriptors(addresses)
  local list = {}
  for i, address in ipairs(addresses) do
    local request = requestOf(address)
    local key = keyOf(request)
    local held = self.held[key]
    if not held then
      local ok, problem = bindNew(self, request)
      if not ok then return nil, problem end
      held = self.held[keyOf(request)]      -- binding to any address says which it chose
      self.held[key] = held
    end
    held.used = true
    list[i] = held.fd
  end
  return list
end

--- Gives back those that a former keeper had and this one's instances did not ask for.
function Sockets:releaseUnused()
  for _, held in pairs(self.held) do
    if not held.used then
      drop(self, held)
      if held.path then uv.fs_unlink(held.path) end
    end
  end
end

--- Another keeper has them now: closes ours, and leaves the files of unix sockets.
function Sockets:letGo()
  for _, held in pairs(self.held) do
    if held.handle then bound.leaveFile(held.handle) end
    core.close(held.fd)
  end
  self.held = {}
end

--- Gives all of them back.
function Sockets:release()
  for _, handle in ipairs(self.bindings) do
    if not handle:is_closing() then handle:close() end
  end
  self.bindings = {}
  local dropped = {}
  for _, held in pairs(self.held) do
    if not dropped[held] then
      dropped[held] = true
      core.close(held.fd)
      self.onReleased(held.key)
      if held.path then uv.fs_unlink(held.path) end
    end
  end
  self.held = {}
end

--- Makes the store.
---@param options { onBound: fun(held: HeldSocket), onReleased: fun(key: string) }
local function new(options)
  return setmetatable({ held = {}, bindings = {}, onBound = options.onBound, onReleased = options.onReleased }, Sockets)
end

return { new = new, open = open, keyOf = keyOf }
