--- WebSocket as bytes: frames, right and wrong ones, built and read here, and raw peers that send and keep them, over luv: no
--- module that is under test has a part in it.
---
--- `peer.client` and `peer.server` build what each side sends (masked, or not); `peer.connect` is a client of raw bytes,
--- `peer.listen` a server. Frames that came are compared as text: "text hello", "pong", "close 1002".
local await = require("await")
local bit = require("bit")
local ffi = require("ffi")
local sha1 = require("spec.support.sha1")
local uv = require("luv")

local band, bor, bxor, rshift = bit.band, bit.bor, bit.bxor, bit.rshift

local peer = {}

local LIMIT = 20000 -- ms that a peer waits for anything: past it the test fails
local OPCODES = { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 }
local NAMES = {}
for name, opcode in pairs(OPCODES) do NAMES[opcode] = name end

-- Frames --------------------------------------------------------------------------------------------------------

local function bigEndian(value, bytes)
  local text = {}
  for i = bytes, 1, -1 do
    text[i] = string.char(value % 256)
    value = math.floor(value / 256)
  end
  return table.concat(text)
end

local function masked(data, key)
  local out, size = ffi.new("uint8_t[?]", #data + 1), #data
  local a, b, c, d = key:byte(1, 4)
  local keys = { [0] = a, b, c, d }
  ffi.copy(out, data, size)
  for i = 0, size - 1 do out[i] = bxor(out[i], keys[band(i, 3)]) end
  return ffi.string(out, size)
end

--- The bytes of a frame.
---@param frame { opcode: integer, data: string?, fin: boolean?, rsv: integer?, mask: string|false|nil, length: integer?, bits: 7|16|64|nil }
---`rsv`: 4 is the bit of compression; `length`: what the head claims, `bits`: in how many, where not the truth
function peer.frame(frame)
  local data = frame.data or ""
  local length = frame.length or #data
  local bits = frame.bits or (length < 126 and 7) or (length < 65536 and 16) or 64
  local head = string.char(
    bor(frame.fin == false and 0 or 128, (frame.rsv or 0) * 16, frame.opcode),
    bor(frame.mask and 128 or 0, (bits == 7 and length) or (bits == 16 and 126) or 127))
  if bits > 7 then head = head .. bigEndian(length, bits / 8) end
  if not frame.mask then return head .. data end
  return head .. frame.mask .. masked(data, frame.mask)
end

-- What one of the sides sends.
local function sender(mask)
  local side = {}
  function side.frame(frame)
    if frame.mask == nil then frame.mask = mask end
    return peer.frame(frame)
  end
  for name, opcode in pairs(OPCODES) do
    side[name] = function(data, fin) return side.frame{ opcode = opcode, data = data, fin = fin } end
  end
  function side.close(code, reason)
    return side.frame{ opcode = OPCODES.close, data = code and bigEndian(code, 2) .. (reason or "") }
  end
  --- A message in one frame for each piece.
  function side.pieces(kind, pieces)
    local frames = {}
    for i, piece in ipairs(pieces) do frames[i] = side[i == 1 and kind or "continuation"](piece, i == #pieces) end
    return table.concat(frames)
  end
  return side
end

peer.client, peer.server = sender("\161\18\195\52"), sender(false)

--- The first frame of some bytes, and how many it takes; nil when it is not all there.
function peer.read(bytes)
  if #bytes < 2 then return nil end
  local first, second = bytes:byte(1, 2)
  local length, at, bits = band(second, 127), 3, 7
  if length >= 126 then
    bits = length == 126 and 16 or 64
    if #bytes < 2 + bits / 8 then return nil end
    at, length = 3 + bits / 8, 0
    for i = 3, at - 1 do length = length * 256 + bytes:byte(i) end
  end
  local key
  if second >= 128 then
    key = bytes:sub(at, at + 3)
    at = at + 4
  end
  if #bytes < at - 1 + length then return nil end
  local data = bytes:sub(at, at + length - 1)
  if key then data = masked(data, key) end
  return {
    opcode = band(first, 15), fin = first >= 128, rsv = band(rshift(first, 4), 7), masked = key ~= nil, key = key, bits = bits,
    data = data,
  }, at - 1 + length
end

--- A frame as a test tells it.
function peer.describe(frame)
  local data = frame.data
  if frame.opcode == OPCODES.close and #data >= 2 then
    data = data:byte(1) * 256 + data:byte(2) .. (#data > 2 and " " .. data:sub(3) or "")
  end
  return (NAMES[frame.opcode] or "opcode " .. frame.opcode) .. (frame.fin and "" or "…")
    .. (frame.rsv ~= 0 and " rsv" .. frame.rsv or "") .. (data ~= "" and " " .. data or "")
end

-- Connections ---------------------------------------------------------------------------------------------------

local Connection = {}
Connection.__index = Connection

local function wake(self)
  local callback = self.waiting
  self.waiting = nil
  if callback then callback() end
end

local function newConnection(handle, name)
  local self = setmetatable({ handle = handle, name = name or "the peer", parts = {}, bytes = "", received = 0 }, Connection)
  self.timer = uv.new_timer()
  return self
end

--- Goes on reading, where `pause` stopped it.
function Connection:resume()
  self.handle:read_start(function(err, data)
    if data then
      self.received = self.received + #data
      self.parts[#self.parts + 1] = data
    else
      self.ended = err or "end"
    end
    wake(self)
  end)
end

function Connection:pause() self.handle:read_stop() end

--- Waits until `take()` gives something; nil when the connection has ended before.
function Connection:wait(what, take)
  while true do
    if #self.parts > 0 then
      self.bytes = self.bytes .. table.concat(self.parts)
      self.parts = {}
    end
    local got, more = take()
    if got ~= nil then return got, more end
    if self.ended then return nil end
    local late
    await(function(callback)
      self.waiting = callback
      self.timer:start(LIMIT, 0, function()
        late = true
        wake(self)
      end)
    end)
    self.timer:stop()
    if late then error(("%s waited in vain for %s"):format(self.name, what), 0) end
  end
end

--- Sends bytes. `callback` is called when the kernel has them.
function Connection:write(bytes, callback)
  if not self.handle:is_closing() then self.handle:write(bytes, callback) end
  return self
end

--- Ends this side of the connection.
function Connection:finish()
  if not self.handle:is_closing() then self.handle:shutdown() end
end

--- Closes it; `reset`: without the bytes that are in flight.
function Connection:destroy(reset)
  if self.handle:is_closing() then return end
  self.ended = self.ended or "destroyed"
  self.timer:close()
  if reset then self.handle:close_reset() else self.handle:close() end
  wake(self)
end

--- Waits for a request's or a response's head.
---@return string? line, table<string, string>? headers
function Connection:head()
  local head = self:wait("a head", function()
    local _, stop = self.bytes:find("\r\n\r\n", 1, true)
    if not stop then return nil end
    local text = self.bytes:sub(1, stop)
    self.bytes = self.bytes:sub(stop + 1)
    return text
  end)
  if not head then return nil end
  local headers = {}
  for name, value in head:gmatch("\r\n([^:\r\n]+):[ \t]*([^\r\n]*)") do
    name = name:lower()
    headers[name] = headers[name] and headers[name] .. ", " .. value or value
  end
  return head:match("^[^\r]*"), headers
end

--- Waits for the next frame; nil at the end of the connection.
function Connection:next()
  return self:wait("a frame", function()
    local frame, size = peer.read(self.bytes)
    if frame then self.bytes = self.bytes:sub(size + 1) end
    return frame
  end)
end

-- Whether a frame is what is wanted: a close frame may have any reason where none is named.
local function isWanted(frame, wanted)
  local told = peer.describe(frame)
  if wanted:find("^close %d+$") then told = told:match("^close %d+") or told end
  return told == wanted
end

--- The next frames must be these.
function Connection:expect(...)
  for _, wanted in ipairs{ ... } do
    local frame = self:next()
    if not frame then error(("%s: %q did not come before the end (%s)"):format(self.name, wanted:sub(1, 200), self.ended), 0) end
    if not isWanted(frame, wanted) then
      error(("%s: expected %q, got %q"):format(self.name, wanted:sub(1, 200), peer.describe(frame):sub(1, 200)), 0)
    end
    if frame.masked ~= self.wantsMask then
      error(("%s: %q came %s"):format(self.name, wanted:sub(1, 200), frame.masked and "masked" or "without a mask"), 0)
    end
    local shortest = (#frame.data < 126 and 7) or (#frame.data < 65536 and 16) or 64
    if frame.bits ~= shortest then error(("%s: a length in %d bits"):format(self.name, frame.bits), 0) end
  end
  return self
end

--- The connection must end, with nothing more said; closes it.
function Connection:expectEnd()
  local frame = self:next()
  if frame then error(("%s: expected the end, got %q"):format(self.name, peer.describe(frame):sub(1, 200)), 0) end
  if self.ended ~= "end" then error(("%s: the connection ended with %s"):format(self.name, self.ended), 0) end
  self:destroy()
end

-- The handshake -------------------------------------------------------------------------------------------------

peer.KEY = "dGhlIHNhbXBsZSBub25jZQ=="

--- The answer to a key.
function peer.accept(key) return sha1.base64(key .. "258EAFA5-E914-47DA-95CA-C5AB0DC85B11") end

--- A handshake's request. `false` leaves a header out.
---@param options { method: string?, path: string?, upgrade: string?, connection: string?, key: string?, version: string?, headers: string[]? }?
function peer.request(options)
  options = options or {}
  local lines = { ("%s %s HTTP/1.1"):format(options.method or "GET", options.path or "/"), "Host: localhost" }
  local function add(name, value, default)
    if value == nil then value = default end
    if value then lines[#lines + 1] = name .. ": " .. value end
  end
  add("Upgrade", options.upgrade, "websocket")
  add("Connection", options.connection, "Upgrade")
  add("Sec-WebSocket-Key", options.key, peer.KEY)
  add("Sec-WebSocket-Version", options.version, "13")
  for _, line in ipairs(options.headers or {}) do lines[#lines + 1] = line end
  return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

--- A TCP connection (or one to a unix socket), nothing sent yet.
---@param address integer|string a port of 127.0.0.1, or a path
function peer.open(address, name)
  local handle = type(address) == "number" and uv.new_tcp() or uv.new_pipe(false)
  local self = newConnection(handle, name)
  self.wantsMask = false
  local failure = await(function(callback)
    if type(address) == "number" then handle:connect("127.0.0.1", address, callback) else handle:connect(address, callback) end
  end)
  if failure then error(("%s could not connect: %s"):format(self.name, failure), 0) end
  if type(address) == "number" then handle:nodelay(true) end
  self:resume()
  return self
end

--- A client behind its handshake. `status`, `line` and `headers` are the answer's; with `any` it may be any, else it must be 101.
---@param address integer|string
---@param options table? of `peer.request`; `behind`: bytes in the same write; `name`; `any`
function peer.connect(address, options)
  options = options or {}
  local self = peer.open(address, options.name)
  self:write(peer.request(options) .. (options.behind or ""))
  self.line, self.headers = self:head()
  self.status = tonumber(self.line and self.line:match("^HTTP/1%.1 (%d%d%d)"))
  if not options.any and self.status ~= 101 then error(("%s: answered with %s"):format(self.name, self.line or "nothing"), 0) end
  return self
end

--- Answers a request that `listen` has read; `bytes` follow in the same write.
function Connection:accept(headers, bytes)
  local lines = {
    "HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
    "Sec-WebSocket-Accept: " .. peer.accept(self.headers["sec-websocket-key"] or ""),
  }
  for _, line in ipairs(headers or {}) do lines[#lines + 1] = line end
  return self:write(table.concat(lines, "\r\n") .. "\r\n\r\n" .. (bytes or ""))
end

--- A raw server on a free port: `handler(connection)` is called for each whose request's head has come.
---@return { port: integer, close: fun() }
function peer.listen(handler)
  local listener, connections = uv.new_tcp(), {}
  assert(listener:bind("127.0.0.1", 0))
  assert(listener:listen(511, function()
    local handle = uv.new_tcp()
    if not listener:accept(handle) then return handle:close() end
    handle:nodelay(true)
    local connection = newConnection(handle, "the server")
    connection.wantsMask = true
    connections[connection] = true
    connection:resume()
    await.spawn(function()
      connection.line, connection.headers = connection:head()
      if connection.line then handler(connection) end
    end)
  end))
  return {
    port = listener:getsockname().port,
    close = function()
      listener:close()
      for connection in pairs(connections) do connection:destroy() end
    end,
  }
end

return peer
