--- How a socket connects: arguments → options → addresses → one attempt after the other → the socket's handle.
--- A name with several addresses is tried in the system's order with the families taking turns; an attempt that does not
--- answer in time makes room for the next one (`autoSelectFamily`, as Node 20 does it).
local uv = require("luv")
local process = require("process")
local errors = require("errors")
local places = require("lrun.host.places")
local dns = require("lrun.net.dns")
local handles = require("lrun.net.handles")
local ip = require("lrun.net.ip")
local listen = require("lrun.net.listen")
local unix = require("lrun.core.unix")
local validate = require("lrun.check.validate")

local nextTick = process.nextTick
local connect = {}

local DEFAULT_ATTEMPT_TIMEOUT = 250

-- Arguments -----------------------------------------------------------------------------------------------------------

local function isCallable(value) return type(value) == "function" end

local function missingPlace()
  error(errors.coded("ERR_MISSING_ARGS", 'The "options" or "port" or "path" argument must be specified'), 0)
end

--- `(port[, host])`, `(path)`, `(options)`, each with a listener last, as one table.
---@return table options
---@return function? listener
function connect.arguments(...)
  local first, second, third = ...
  local options
  if type(first) == "table" then
    options = first
  elseif type(first) == "number" or type(first) == "string" and tonumber(first) then
    options = { port = first }
    if type(second) == "string" then options.host = second
    elseif second ~= nil and not isCallable(second) then error(errors.argType("host", "string", second), 0) end
  elseif type(first) == "string" then
    options = { path = first }
  elseif first == nil or isCallable(first) then
    missingPlace()
  else
    error(errors.argType("options", "table, number or string", first), 0)
  end
  local listener = third
  if isCallable(second) or options.port ~= first and second ~= nil then listener = second end
  return options, validate.optional(validate.func, listener, "connectListener")
end

local FLAGS = { "autoSelectFamily", "noDelay", "keepAlive" }

local function check(options)
  validate.optional(validate.socketPath, options.path, "options.path")
  if options.path == nil then
    if options.port == nil then missingPlace() end
    if type(options.port) ~= "number" and type(options.port) ~= "string" then
      error(errors.argType("options.port", "number or string", options.port), 0)
    end
    validate.port(options.port, "Port")
  end
  validate.optional(validate.string, options.host, "options.host")
  validate.optional(validate.func, options.lookup, "options.lookup")
  validate.optional(validate.port, options.localPort, "options.localPort")
  validate.optional(validate.number, options.timeout, "options.timeout", 0)
  validate.flags(options, FLAGS)
  validate.optional(validate.number, options.keepAliveInitialDelay, "options.keepAliveInitialDelay", 0)
  if options.family ~= nil then validate.oneOf(options.family, "options.family", { 0, 4, 6 }) end
  if options.localAddress ~= nil and ip.parse(options.localAddress) == 0 then
    error(errors.coded("ERR_INVALID_IP_ADDRESS", "Invalid IP address: " .. tostring(options.localAddress)), 0)
  end
  validate.optional(validate.integer, options.autoSelectFamilyAttemptTimeout, "options.autoSelectFamilyAttemptTimeout", 1)
end

-- Attempts ------------------------------------------------------------------------------------------------------------

-- What libuv calls when one try is over; `done(about, err)` once. `placeOf(about)`: what an error says of it.
local function finisher(self, handle, done, about, placeOf)
  return function(code)
    if self._handle ~= handle or not self.connecting then return end
    done(about, code and errors.system(code, "connect", placeOf(about)))
  end
end

local function closeAttempt(self)
  local handle = self._handle
  self._handle = nil
  if handle and not handle:is_closing() then handle:close() end
end

local function emitReady(self) self:emit("ready") end

local function succeed(self)
  self._attempt = nil
  self:_onConnected()
  if self.destroyed then return end
  nextTick(emitReady, self)
  self:emit("connect")
end

-- What an error says of an attempt; as in Node, of this end only when both of its parts were asked for.
local function placeOf(options, each)
  local place = { address = each.address, port = tonumber(options.port) }
  local localPort = tonumber(options.localPort)
  if options.localAddress and localPort and localPort > 0 then
    place.localAddress, place.localPort = options.localAddress, localPort
  end
  return place
end

local function newTcp(options, each)
  local handle, _, code = uv.new_tcp(each.family == 6 and "inet6" or "inet")
  if not handle then return nil, errors.system(code, "connect", placeOf(options, each)) end
  if options.localAddress or options.localPort then
    local own = options.localAddress or (each.family == 6 and "::" or "0.0.0.0")
    local port = tonumber(options.localPort) or 0
    local called, ok, _, failed = pcall(handle.bind, handle, own, port)
    if not called or not ok then
      handle:close()
      return nil, errors.system(failed or "EINVAL", "bind", { address = own, port = port })
    end
  end
  return handle
end

local function startTcp(handle, options, each, finished)
  local called, ok, message, code = pcall(handle.connect, handle, each.address, tonumber(options.port), finished)
  if not called then return nil, ok, "EINVAL" end
  return ok, message, code
end

-- Several addresses failed: the first one's error stands for all, which are its `errors`.
local function allFailed(failures)
  local first = failures[1]
  if #failures > 1 then first.errors = failures end
  return first
end

-- The way through the addresses of a host, one after the other; `self._attempt` while it is under way.
local Attempt = {}
Attempt.__index = Attempt

function Attempt:cancel()
  local timer = self.timer
  self.timer = false
  if timer and not timer:is_closing() then timer:close() end
end

function Attempt:place() return placeOf(self.options, self.addresses[self.at]) end

function Attempt:settle(err)
  self:cancel()
  local socket = self.socket
  if not err then return succeed(socket) end
  self.failures = self.failures or {}
  self.failures[#self.failures + 1] = err
  if self.at == #self.addresses then return socket:destroy(allFailed(self.failures)) end
  closeAttempt(socket)
  self:tryNext()
end

function Attempt:settleLater(err)
  if not self.socket.destroyed then self:settle(err) end
end

function Attempt:limit()
  local ms = math.max(10, self.options.autoSelectFamilyAttemptTimeout or DEFAULT_ATTEMPT_TIMEOUT)
  self.timer = uv.new_timer()
  self.timer:start(ms, 0, function() self:settle(errors.system("ETIMEDOUT", "connect", self:place())) end)
end

function Attempt:tryNext()
  self.at = self.at + 1
  local socket, options, each = self.socket, self.options, self.addresses[self.at]
  local handle, err = newTcp(options, each)
  if not handle then return nextTick(Attempt.settleLater, self, err) end
  if self.at < #self.addresses then self:limit() end
  socket:_attach(handle)
  local finished = finisher(socket, handle, Attempt.settle, self, Attempt.place)
  local ok, _, code = startTcp(handle, options, each, finished)
  if not ok then nextTick(finished, code) end
end

local function tryAddresses(self, options, addresses)
  local attempt = setmetatable({ socket = self, options = options, addresses = addresses, at = 0, failures = false, timer = false }, Attempt)
  self._attempt = attempt
  attempt:tryNext()
end

local function takingTurns(addresses)
  local byFamily, ordered = { [4] = {}, [6] = {} }, {}
  for _, each in ipairs(addresses) do
    local list = byFamily[each.family]
    if list then list[#list + 1] = each end
  end
  local first = addresses[1].family
  local other = first == 4 and 6 or 4
  for i = 1, #addresses do
    ordered[#ordered + 1] = byFamily[first][i]
    ordered[#ordered + 1] = byFamily[other][i]
  end
  return ordered
end

-- What a `lookup` option called back with: one address, or a list of them.
local function foundAddresses(address, family)
  if type(address) == "table" then return address end
  local known = ip.parse(address)
  return { { address = address, family = known ~= 0 and known or family } }
end

local function lookUp(self, options)
  local host = options.host
  if host == nil or host == "" then host = "localhost" end
  local function found(err, address, family)
    if self.destroyed or not self.connecting then return end
    if err ~= nil then
      nextTick(function() self:destroy(err) end)
      return self:emit("lookup", err, nil, nil, host)
    end
    local addresses = foundAddresses(address, family)
    if #addresses == 0 or ip.parse(addresses[1].address) == 0 then
      return self:destroy(errors.coded("ERR_INVALID_IP_ADDRESS", "Invalid IP address: " .. tostring((addresses[1] or {}).address)))
    end
    addresses = options.autoSelectFamily == false and { addresses[1] } or takingTurns(addresses)
    nextTick(function() if not self.destroyed then tryAddresses(self, options, addresses) end end)
    for _, each in ipairs(addresses) do self:emit("lookup", nil, each.address, each.family, host) end
  end
  local wanted = { family = options.family or 0, hints = options.hints, all = true }
  if options.lookup then options.lookup(host, wanted, found) else dns.lookupAll(host, wanted, found) end
end

local function connectedPipe(name)
  local fd, code = unix.connect(name, "stream")
  if not fd then return nil, code end
  return handles.take("pipe", fd)
end

local function settlePath(self, err)
  if err then return self:destroy(err) end
  succeed(self)
end

local function connectPath(self, options)
  local path = options.path
  local function fail(code)
    nextTick(function()
      if self.connecting then self:destroy(errors.system(code, "connect", { address = path })) end
    end)
  end
  if path:sub(1, 1) == "\0" then
    local handle, code = connectedPipe(path)
    if not handle then return fail(code) end
    self:_attach(handle)
    return nextTick(function() if self.connecting then succeed(self) end end)
  end
  if #path > listen.MAX_PATH then return fail("ENAMETOOLONG") end
  local pipe = uv.new_pipe(false)
  self:_attach(pipe)
  local finished = finisher(self, pipe, settlePath, self, function() return { address = path } end)
  local ok, _, code = pipe:connect(path, finished)
  if not ok then nextTick(finished, code) end
end

-- A socket that was used and closed may connect again; its listeners and what it is piped to get what comes then.
local function renew(self)
  if not self.destroyed then return end
  local before = self._rs
  require("stream").Duplex.initialize(self, { allowHalfOpen = self.allowHalfOpen, highWaterMark = before.mark })
  local rs = self._rs
  rs.continuous, rs.flowing, rs.paused = true, before.flowing, before.paused
  rs.pipes, rs.awaitingDrain = before.pipes, before.awaitingDrain
  rs.readableListening, rs.needReadable = before.readableListening, before.readableListening
  self._emitClose = false
  self.errored, self._peer, self._own, self.readableEnded = nil, nil, nil, false
  self._received, self._written = 0, 0
end

--- Socket:connect.
---@return Socket
function connect.connect(self, ...)
  local options, listener = connect.arguments(...)
  check(options)
  if self.connecting or self._handle then
    error(errors.coded("ERR_SOCKET_CONNECTION_PENDING", "The socket is already connected or connecting"), 0)
  end
  renew(self)
  places.note(self)
  if listener then self:once("connect", listener) end
  if options.timeout then self:setTimeout(options.timeout) end
  if options.noDelay then self:setNoDelay(true) end
  if options.keepAlive then self:setKeepAlive(true, options.keepAliveInitialDelay) end
  self.connecting = true
  if options.path then
    connectPath(self, options)
  else
    local host = options.host
    local family = ip.parse(host)
    if family ~= 0 then
      tryAddresses(self, options, { { address = host, family = family } })
    else
      lookUp(self, options)
    end
  end
  return self
end

return connect
