--- The IPC channel as both ends see it: `send`, `disconnect`, `connected` and `channel` of a ChildProcess and of `process`,
--- and their events `message`, `internalMessage`, `disconnect` and `error`. Source: Node 20, but a channel keeps the loop
--- alive only while something listens for `message` or `disconnect`, at both ends.
---
--- runtime/ipc/channel.c owns the socket; this module owns who hears of what. Per target one state table:
--- `channel` (C; nil once closed), `control` (what users see as `target.channel`), `pending` (messages before the first
--- listener), `left` (this end has disconnected and hears no more messages; what is queued is still written), `sockets`
--- (connections sent and received, see lrun.ipc.sockets).
local ffi = require("ffi")
local uv = require("luv")
local channels = require("lrun.core.channel")
local calls = require("lrun.check.calls")
local codec = require("lrun.ipc.codec")
local keys = require("lrun.ipc.keys")
local errors = require("errors")
local process = require("process")
local sockets = require("lrun.core.sockets")
local events = require("events")
local validate = require("lrun.check.validate")

local EventEmitter = events.EventEmitter
local emit = EventEmitter.emit
local listenerCount = EventEmitter.listenerCount

-- Called for each message: to compiled code a local function is a constant, one in a table is not.
local countKeys, encodeKeyed, observeKeys = keys.count, keys.encode, keys.observe
local decodeBytes = codec.decode
local type, rawequal = type, rawequal

local ipc = {}

-- runtime/ipc/channel.h: compiled code calls these without leaving its trace.
local Message = ffi.typeof(channels.MESSAGE)
local nextMessage = ffi.cast(ffi.typeof("void (*)(void *, $ *, char *)", Message), channels.next)
local appendFrame = ffi.cast("int (*)(void *, const char *, size_t, int)", channels.append)
local SHORT = channels.SHORT
local copy = ffi.new("char[?]", SHORT)           -- the body of a short message, from `nextMessage` to `decode`
local NOTHING, HANDLE, KEYS, TOO_LONG = channels.NOTHING, channels.HANDLE, channels.KEYS, channels.TOO_LONG

-- Bytes that messages without a listener may take; then the channel is read no further until there is one.
local PENDING_MAX = 16 * 1024 * 1024

-- What keeps the loop alive -------------------------------------------------------------------------------------------

--- What users see as `channel`.
---@class Control
---@field fd integer
local Control = EventEmitter:extend("Channel")

-- Listeners and unanswered questions count until the user has said what he wants.
local function count(state, by)
  local before = state.refs
  state.refs = before + by
  if state.explicit or not state.channel then return end
  if before == 0 and state.refs > 0 then state.channel:ref()
  elseif before > 0 and state.refs == 0 then state.channel:unref() end
end

--- Keeps the loop alive while the channel is open, whoever listens.
function Control:ref()
  local state = self._state
  state.explicit = true
  if state.channel then state.channel:ref() end
end

--- Lets the loop end although the channel is open, whoever listens.
function Control:unref()
  local state = self._state
  state.explicit = true
  if state.channel then state.channel:unref() end
end

-- Receiving -----------------------------------------------------------------------------------------------------------

local function isInternal(message)
  if type(message) ~= "table" then return false end
  local cmd = message.cmd
  return type(cmd) == "string" and #cmd > 5 and cmd:sub(1, 5) == "NODE_"
end

local function deliver(state, message, handle)
  local target = state.target
  if state.pending or listenerCount(target, "message") == 0 then
    local pending, channel = state.pending, state.channel
    if not pending then
      pending = { from = channel and channel:received() or 0 }
      state.pending = pending
    end
    pending[#pending + 1] = { message, handle }
    if channel and channel:received() - pending.from > PENDING_MAX then channel:pause() end
    return
  end
  return emit(target, "message", message, handle)
end

local function deliverPending(state)
  local pending = state.pending
  if not pending or listenerCount(state.target, "message") == 0 then return end
  state.pending = nil
  if state.channel then state.channel:resume() end
  for i = 1, #pending do process.nextTick(deliver, state, pending[i][1], pending[i][2]) end
end

-- What came with an internal message is nobody's when nobody listens for these.
local function dispatch(state, message, handle)
  if not isInternal(message) then return deliver(state, message, handle) end
  if emit(state.target, "internalMessage", message, handle) or handle == nil then return end
  require("lrun.ipc.handles").drop(handle)
end

-- What the two ends say to each other without the script.
local protocol = {}

function protocol.NODE_HANDLE(state, message, fd)
  if state.wire == "json" then
    fd = state.channel:take()
    if not fd then return end        -- the sender sends it again
  end
  if state.left and not isInternal(message.msg) then
    if fd then sockets.close(fd) end
    return
  end
  local handle
  if fd then handle = require("lrun.ipc.handles").receive(state, message, fd) end
  if not handle then process.emitWarning("Handle did not reach the receiving process correctly", "SentHandleNotReceivedWarning") end
  return dispatch(state, message.msg, handle)
end

local function onAnswer(state, message)
  if not state.channel:answered(message.cmd == "NODE_HANDLE_ACK") then
    process.emitWarning("Handle did not reach the receiving process correctly", "SentHandleNotReceivedWarning")
  end
end
protocol.NODE_HANDLE_ACK = onAnswer
protocol.NODE_HANDLE_NACK = onAnswer

local function onSocketMessage(state, message) return require("lrun.ipc.sockets").receive(state, message) end
protocol.NODE_SOCKET_NOTIFY_CLOSE = onSocketMessage
protocol.NODE_SOCKET_ALL_CLOSED = onSocketMessage
protocol.NODE_SOCKET_GET_COUNT = onSocketMessage
protocol.NODE_SOCKET_COUNT = onSocketMessage

local function onMessage(state, message, fd)
  if type(message) == "table" and isInternal(message) then
    local internal = protocol[message.cmd]
    if internal then return internal(state, message, fd) end
    return emit(state.target, "internalMessage", message)
  end
  if fd then sockets.close(fd) end   -- descriptors travel in NODE_HANDLE envelopes only
  if not state.left then return deliver(state, message) end
end

-- The other end tells of keys that it will name by number.
local function onKeys(state, incoming)
  state.peerKeys = state.peerKeys or keys.peer()
  state.peerKeys:add(ffi.string(incoming.body, incoming.length))
  state.decoder = state.peerKeys.decoder
  state.shapes = state.shapes or require("lrun.ipc.shapes").of(copy, state.peerKeys.list)
end

local function decode(state, incoming)
  local length, known = incoming.length, state.shapes
  if length > SHORT then
    local message
    if known then message = known:takeLong(incoming.body, length) end
    if message == nil then message = decodeBytes(incoming.body, length, state.decoder) end
    return message
  end
  if known then
    local shape = incoming.shape
    local make = known.functions[shape]
    if make then
      local message = make()
      if message ~= nil then return message end
      known:miss(shape)
    elseif make == nil then
      known:note(shape, length)
    end
  end
  return decodeBytes(copy, length, state.decoder)
end

-- Takes what has arrived, message by message. A listener may throw or wait: then the host calls again, and a coroutine
-- that went on later finds that its turn is over.
local function batch(state)
  local turn, incoming = state.turn + 1, state.incoming
  state.turn = turn
  while state.turn == turn and state.address do
    nextMessage(state.address, incoming, copy)
    local kind = incoming.kind
    if kind == NOTHING then return end
    local ok, message = true
    if kind == KEYS then onKeys(state, incoming)
    elseif state.wire == "lua" then message = decode(state, incoming)
    else ok, message = state.channel:decodeJson() end
    if not ok then
      if incoming.fd >= 0 then sockets.close(incoming.fd) end
      return state.channel:refuse()
    end
    if kind == HANDLE then
      local fd = incoming.fd
      onMessage(state, message, fd >= 0 and fd or nil)
    elseif kind ~= KEYS then
      onMessage(state, message)
    end
  end
end

-- The end -------------------------------------------------------------------------------------------------------------

local function reportGarbage(target, reason)
  local err = errors.coded("EPROTO", "The IPC channel was closed: " .. reason, { syscall = "read" })
  if listenerCount(target, "error") > 0 then emit(target, "error", err) else process.emitWarning(err) end
end

local function closedError() return errors.coded("ERR_IPC_CHANNEL_CLOSED", "Channel closed") end

local function onClose(state, unwritten, reason)
  local target = state.target
  state.channel, state.address = nil, nil
  target.connected = false
  target.channel = nil
  if next(state.sockets.sent) then require("lrun.ipc.sockets").closed(state) end
  for _, callback in ipairs(unwritten) do process.nextTick(callback, closedError()) end
  if reason then process.nextTick(reportGarbage, target, reason) end
  process.nextTick(function()
    emit(target, "disconnect")
    if state.onClosed then state.onClosed() end
  end)
end

-- Sending -------------------------------------------------------------------------------------------------------------

local null = require("lrun.core.json").null
local SENDABLE = { string = true, number = true, boolean = true, cdata = true }

local function checkMessage(message)
  if type(message) == "table" or SENDABLE[type(message)] then return end
  if message == nil then error(errors.missing("message"), 0) end
  if message ~= null then error(errors.argType("message", "string, table, number, or boolean", message), 0) end
end

local function unsendable(reason)
  error(errors.coded("ERR_INVALID_ARG_VALUE", "The argument 'message' cannot be sent: " .. tostring(reason)), 0)
end

-- Why the message was not queued: the message's fault is thrown, the system's returned.
local function refused(code)
  if code == TOO_LONG then
    error(errors.coded("ERR_OUT_OF_RANGE", "The argument 'message' cannot be sent: it is longer than 512 MiB"), 0)
  end
  return false, errors.system(code, "write")
end

-- The bytes of a message, which names by number no key that the other end has not been told of.
local function encode(state, message)
  if state.told < countKeys() then
    local ok, err = state.channel:appendKeys(keys.tell(state.told + 1))
    if not ok then return nil, err end
    state.told = countKeys()
  end
  local bytes, length = encodeKeyed(message)
  if not bytes then unsendable(length) end
  if type(message) == "table" then observeKeys(message, length) end
  return bytes, length
end

--- Queues a message, with a descriptor if one is given, of which a copy travels.
---@return boolean room
---@return Error? err
local function append(state, message, fd, callback)
  local address = state.address
  if not address then return false, closedError() end
  local room
  if state.wire == "lua" then
    local bytes, length = encode(state, message)
    if not bytes then return false, length end
    room = appendFrame(address, bytes, length, fd or -1)
  else
    local reason
    room, reason = state.channel:appendJson(message, fd or -1)
    if not room then unsendable(reason) end
  end
  if room < 0 then return refused(room) end
  if callback then state.channel:wait(callback) end
  return room == 1
end
ipc.append = append

local function fail(target, err, callback)
  process.nextTick(callback or function() emit(target, "error", err) end, err)
  return false
end

local function send(state, message, handle, options, callback)
  if type(handle) == "function" then
    handle, options, callback = nil, nil, handle
  elseif type(options) == "function" then
    options, callback = nil, options
  elseif options ~= nil then
    validate.table(options, "options")
  end
  if callback ~= nil and type(callback) ~= "function" then callback = nil end
  local target = state.target
  if not target.connected then
    return fail(target, closedError(), callback)
  end
  checkMessage(message)
  local room, err
  if handle ~= nil then
    room, err = require("lrun.ipc.handles").send(state, message, handle, options or {}, callback)
  else
    room, err = append(state, message, nil, callback)
  end
  if err then return fail(target, err, callback) end
  return room
end

-- Sends between runtimes: never an error event.
function ipc.sendInternal(state, message)
  if state.channel then append(state, message) end
end

local function disconnect(state)
  local target = state.target
  if not target.connected then
    emit(target, "error", errors.coded("ERR_IPC_DISCONNECTED", "IPC channel is already disconnected"))
    return
  end
  target.connected = false
  target.channel = nil
  state.left = true
  state.channel:close()
end

-- Setting up ----------------------------------------------------------------------------------------------------------

local COUNTED = { message = true, disconnect = true }

local function watchListeners(state)
  local target = state.target
  local function added(name)
    if COUNTED[name] then count(state, 1) end
    if name == "message" and state.pending then process.nextTick(deliverPending, state) end
  end
  local function removed(name)
    if COUNTED[name] then count(state, -1) end
  end
  EventEmitter.on(target, "newListener", added)
  EventEmitter.on(target, "removeListener", removed)
  count(state, listenerCount(target, "message") + listenerCount(target, "disconnect"))
end

--- Gives `target`, an emitter, a channel over a descriptor.
---@param target EventEmitter a ChildProcess, or `process`
---@param fd integer a connected unix socket, ours from now on
---@param options { wire: "lua"|"json", onClosed: function? } onClosed is called after the `disconnect` event
---@return fun(callback: function) drain for when the other process has ended: reads all that it sent, then calls back, unless the
--- channel has closed by then or is about to tell so
function ipc.setup(target, fd, options)
  local state = { target = target, wire = options.wire, onClosed = options.onClosed, refs = 0, turn = 0, told = 0, sockets = { sent = {}, got = {} } }
  state.incoming = Message()
  local channel, address = channels.open(fd, options.wire,
    function() return batch(state) end, function(unwritten, reason) return onClose(state, unwritten, reason) end)
  if not channel then error(address, 0) end
  state.channel, state.address = channel, ffi.cast("void *", address)
  local control = setmetatable({ _state = state, fd = fd }, Control)
  target.connected = true
  target.channel = control
  target.send = function(first, ...)
    if rawequal(first, target) then return send(state, ...) end
    if target ~= process then calls.needsColon("child", "send") end
    return send(state, first, ...)
  end
  target.disconnect = function() return disconnect(state) end
  watchListeners(state)
  state.count = count
  return function(callback)
    if state.channel then state.channel:drain(callback) end
  end
end

local function takeVariable(name)
  local value = process.env[name]
  process.env[name] = nil
  return value
end

--- Opens the channel that the parent process left in the environment.
function ipc.start()
  local own, nodes = takeVariable("LRUN_CHANNEL_FD"), takeVariable("NODE_CHANNEL_FD")
  local serialization = takeVariable("LRUN_CHANNEL_SERIALIZATION")
  local mode = takeVariable("NODE_CHANNEL_SERIALIZATION_MODE")
  local fd = tonumber(own or nodes)
  if not own and mode == "advanced" and fd then
    sockets.close(fd)
    process.emitWarning("The parent's IPC channel speaks V8's serialization, which lrun does not: fork with serialization 'json'")
    return
  end
  if not fd or uv.guess_handle(fd) ~= "pipe" then
    error(errors.coded("EBADF", ("the IPC channel's descriptor, %s, is not a socket"):format(own or nodes), { syscall = "open" }), 0)
  end
  ipc.setup(process, fd, { wire = own and serialization ~= "json" and "lua" or "json" })
end

return ipc
