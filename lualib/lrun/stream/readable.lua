--- The readable side of streams. A source pushes strings; a consumer takes them by flowing (`data`), by `readable` and
--- `read`, or by `pipe`. Order of events, water marks and states are Node's.
---
--- State (`self._rs`): `chunks[first..last]` are the bytes not yet read, `length` their sum. `flowing` is nil before
--- anybody asked, true, or false (paused). `reading` says that the source was asked and has not answered. A source that
--- pushes on and on until it is stopped (a socket) sets `continuous`: it stays `reading` until a push returned false.
local process = require("process")
local events = require("events")
local errors = require("errors")
local calls = require("lrun.check.calls")
local destroy = require("lrun.stream.destroy")
local pipe = require("lrun.stream.pipe")
local streamOptions = require("lrun.stream.options")

local nextTick = process.nextTick
local EventEmitter = events.EventEmitter
local emit = EventEmitter.emit

--- Event data(chunk: string)
--- Event end(): everything was read
--- Event readable(): there is something for `read`
--- Event close()
--- Event error(err: any)
---@class Readable: EventEmitter
---@field destroyed boolean
---@field closed boolean
---@field errored any the error that it was destroyed with
---@field readableEnded boolean `end` was emitted
---@field readable boolean it can be read from
---@field readableFlowing boolean? nil before anybody asked for data
---@field readableLength integer bytes not yet read
---@field readableHighWaterMark integer
---@field readableObjectMode boolean
local Readable = EventEmitter:extend("Readable")
Readable.destroyed = false
Readable.readableEnded = false

local function initialize(self, options)
  local mark, objectMode = streamOptions.mark(options, options.readableHighWaterMark, options.readableObjectMode)
  local rs = {                  -- constants only: one copy
    chunks = false, first = 1, last = 0, length = 0, objectMode = false, mark = 0, flowing = false, paused = false,
    readable = true, ended = false, endEmitted = false, reading = false, sync = true, continuous = false,
    needReadable = false, emittedReadable = false, readableListening = false, resumeScheduled = false,
    readingMore = false, pipes = false, awaitingDrain = 0,
  }
  rs.chunks, rs.objectMode, rs.mark, rs.flowing = {}, objectMode, mark, nil
  self._rs = rs
  if options.read then self._read = options.read end
  if options.readable == false then
    rs.readable, rs.ended, rs.endEmitted = false, true, true
  end
end

--- Makes a readable stream. Source: Node 20.
---@param options StreamOptions?
function Readable:initialize(options)
  options = streamOptions.table(options)
  destroy.initialize(self, options)
  self._ws = false
  initialize(self, options)
end

-- The end -------------------------------------------------------------------------------------------------------------

local function finishWritable(self)
  if self.writable and not self.writableEnded and not self.destroyed then self:finish() end
end

-- What follows `end`; queued before its listeners run, because one of them may wait.
local function afterEnd(self)
  local ws = self._ws
  if ws and self.allowHalfOpen == false and self.writable then
    nextTick(finishWritable, self)
  elseif self._autoDestroy and (not ws or ws.finished) then
    self:destroy()
  end
end

local function emitEnd(self)
  local rs = self._rs
  if rs.endEmitted or self._failed or self._closeEmitted or rs.length > 0 then return end
  rs.endEmitted = true
  self.readableEnded = true
  nextTick(afterEnd, self)
  self:emit("end")
end

local function endReadable(self, rs)
  if rs.endEmitted then return end
  rs.ended = true
  nextTick(emitEnd, self)
end

-- Reading -------------------------------------------------------------------------------------------------------------

local function sizeOf(rs, n)
  if rs.length == 0 and rs.ended then return 0 end
  if rs.objectMode then return (n == 0 or rs.length == 0) and 0 or 1 end
  if n == nil then
    if rs.flowing and rs.length > 0 then return #rs.chunks[rs.first] end
    return rs.length
  end
  if n <= 0 then return 0 end
  if n <= rs.length then return n end
  return rs.ended and rs.length or 0
end

-- Takes `n` bytes out of the buffer; the caller knows that they are there.
local function take(rs, n)
  local chunks, first = rs.chunks, rs.first
  local head = chunks[first]
  if rs.objectMode or n == #head then
    chunks[first] = nil
    rs.first = first + 1
  elseif n < #head then
    chunks[first] = head:sub(n + 1)
    head = head:sub(1, n)
  elseif n == rs.length then
    head = table.concat(chunks, "", first, rs.last)
    rs.chunks, rs.first, rs.last = {}, 1, 0
  else
    local parts, missing = {}, n
    while missing > 0 do
      local chunk = chunks[rs.first]
      if #chunk > missing then
        parts[#parts + 1] = chunk:sub(1, missing)
        chunks[rs.first] = chunk:sub(missing + 1)
        break
      end
      parts[#parts + 1] = chunk
      missing = missing - #chunk
      chunks[rs.first] = nil
      rs.first = rs.first + 1
    end
    head = table.concat(parts)
  end
  if rs.first > rs.last then rs.first, rs.last = 1, 0 end
  rs.length = rs.length - n
  return head
end

local read

local function flow(self)
  local rs = self._rs
  while rs.flowing and read(self) ~= nil do end
end

local function emitReadableNow(self)
  local rs = self._rs
  if not self.destroyed and not self._failed and (rs.length > 0 or rs.ended) then
    rs.emittedReadable = false
    emit(self, "readable")
  end
  rs.needReadable = not rs.flowing and not rs.ended and rs.length <= rs.mark
  flow(self)
end

local function emitReadable(self, rs)
  rs.needReadable = false
  if rs.emittedReadable then return end
  rs.emittedReadable = true
  nextTick(emitReadableNow, self)
end

local function readMore(self)
  local rs = self._rs
  while not rs.reading and not rs.ended and (rs.length < rs.mark or rs.flowing and rs.length == 0) do
    local length = rs.length
    read(self, 0)
    if length == rs.length then break end
  end
  rs.readingMore = false
end

local function maybeReadMore(self, rs)
  if rs.readingMore or rs.continuous then return end
  rs.readingMore = true
  nextTick(readMore, self)
end

local function askSource(self, rs)
  rs.reading, rs.sync = true, true
  if rs.length == 0 then rs.needReadable = true end
  local ok, thrown = pcall(self._read, self, rs.mark)
  rs.sync = false
  if not ok then destroy.withError(self, thrown) end
end

function read(self, wanted)
  local rs = self._rs
  if wanted and wanted > rs.mark and not rs.objectMode then
    local mark = 1
    while mark < wanted do mark = mark * 2 end
    rs.mark = mark
  end
  if wanted ~= 0 then rs.emittedReadable = false end
  if wanted == 0 and rs.needReadable and (rs.ended or rs.length > 0 and rs.length >= rs.mark) then
    if rs.length == 0 and rs.ended then endReadable(self, rs) else emitReadable(self, rs) end
    return nil
  end
  local n = sizeOf(rs, wanted)
  if n == 0 and rs.ended then
    if rs.length == 0 then endReadable(self, rs) end
    return nil
  end
  if not rs.ended and not rs.reading and not self.destroyed and not self._failed
    and (rs.needReadable or rs.length == 0 or rs.length - n < rs.mark) then
    askSource(self, rs)
    if not rs.reading then n = sizeOf(rs, wanted) end
  end
  if n == 0 or rs.length == 0 then
    rs.needReadable = rs.needReadable or rs.length <= rs.mark
    return nil
  end
  local chunk = take(rs, n)
  if rs.length == 0 then
    if not rs.ended then rs.needReadable = true else endReadable(self, rs) end
  end
  if not self._failed and not self._closeEmitted then emit(self, "data", chunk) end
  return chunk
end

--- Takes `n` bytes, or all that is there. nil when there are not as many (a `readable` event will follow) or at the end.
---@param n integer?
---@return string?
function Readable:read(n)
  if n ~= nil and (type(n) ~= "number" or n ~= n or n < 0) then error(errors.argType("size", "number", n), 0) end
  return read(self, n and math.floor(n))
end

--- For sources: asks for more data, to be pushed now or later. Subclasses implement it.
function Readable:_read()
  destroy.withError(self, errors.coded("ERR_METHOD_NOT_IMPLEMENTED", "The _read() method is not implemented"))
end

-- Filling -------------------------------------------------------------------------------------------------------------

local function onEnd(self, rs)
  if rs.ended then return end
  rs.ended = true
  if rs.sync then
    emitReadable(self, rs)
  else
    rs.needReadable = false
    rs.emittedReadable = true
    emitReadableNow(self)
  end
end

--- Internal: for sources: what was asked for is not pushed; `_read` is called again when the flow goes on.
function Readable:_postpone() self._rs.reading = false end

--- For sources: hands over data, or nil at the end. False says: stop, `_read` is called when more is wanted.
---@param chunk string?
---@return boolean more
function Readable:push(chunk)
  local rs = type(self) == "table" and self._rs
  if not rs then calls.needsColon("stream", "push") end
  if chunk == nil then
    rs.reading = false
    onEnd(self, rs)
    return false
  end
  local objectMode = rs.objectMode
  if not objectMode and type(chunk) ~= "string" then
    destroy.withError(self, errors.argType("chunk", "string", chunk))
    return false
  end
  if rs.ended then
    destroy.withError(self, errors.coded("ERR_STREAM_PUSH_AFTER_EOF", "stream.push() after EOF"))
    return false
  end
  if self.destroyed or self._failed then return false end
  if not rs.continuous then rs.reading = false end
  local size = objectMode and 1 or #chunk
  if size == 0 then
    maybeReadMore(self, rs)
    return rs.length < rs.mark
  end
  if rs.flowing and rs.length == 0 and not rs.sync and self._listeners and self._listeners.data then
    maybeReadMore(self, rs)
    emit(self, "data", chunk)
    return not rs.ended
  end
  rs.last = rs.last + 1
  rs.chunks[rs.last] = chunk
  rs.length = rs.length + size
  if rs.needReadable or rs.flowing then emitReadable(self, rs) end
  maybeReadMore(self, rs)
  local more = rs.length < rs.mark
  if not more then rs.reading = false end
  return more
end

--- Puts bytes back in front of those not yet read.
---@param chunk string
---@return boolean more as `push`
function Readable:unshift(chunk)
  local rs = self._rs
  if not rs.objectMode and type(chunk) ~= "string" then error(errors.argType("chunk", "string", chunk), 0) end
  if rs.endEmitted then
    destroy.withError(self, errors.coded("ERR_STREAM_UNSHIFT_AFTER_END_EVENT", "stream.unshift() after end event"))
    return false
  end
  local size = rs.objectMode and 1 or #chunk
  if size > 0 and not self.destroyed then
    rs.first = rs.first - 1
    rs.chunks[rs.first] = chunk
    rs.length = rs.length + size
    if rs.needReadable or rs.flowing then emitReadable(self, rs) end
  end
  return rs.length < rs.mark
end

-- Flowing -------------------------------------------------------------------------------------------------------------

local function resumeNow(self)
  local rs = self._rs
  if not rs.reading then read(self, 0) end
  rs.resumeScheduled = false
  emit(self, "resume")
  flow(self)
  if rs.flowing and not rs.reading then read(self, 0) end
end

--- Starts or restarts the flow of `data` events.
---@return self
function Readable:resume()
  local rs = self._rs
  if not rs.flowing then
    rs.flowing = not rs.readableListening
    if not rs.resumeScheduled then
      rs.resumeScheduled = true
      nextTick(resumeNow, self)
    end
  end
  rs.paused = false
  return self
end

--- Stops the flow; a source that reads from the kernel stops doing so.
---@return self
function Readable:pause()
  local rs = self._rs
  if rs.flowing ~= false then
    rs.flowing = false
    emit(self, "pause")
  end
  rs.paused = true
  return self
end

---@return boolean
function Readable:isPaused() return self._rs.paused == true or self._rs.flowing == false end

local function wakeReader(self) read(self, 0) end

local function onListening(self, name)
  if name == "data" then
    local rs = self._rs
    rs.readableListening = self:listenerCount("readable") > 0
    if rs.flowing ~= false then self:resume() end
  elseif name == "readable" then
    local rs = self._rs
    if rs.endEmitted or rs.readableListening then return end
    rs.readableListening, rs.needReadable = true, true
    rs.flowing, rs.emittedReadable = false, false
    if rs.length > 0 or rs.ended then
      emitReadable(self, rs)
    elseif not rs.reading then
      nextTick(wakeReader, self)
    end
  end
end

local function updateListening(self)
  local rs = self._rs
  rs.readableListening = self:listenerCount("readable") > 0
  if rs.resumeScheduled and not rs.paused then
    rs.flowing = true
  elseif self:listenerCount("data") > 0 then
    self:resume()
  elseif not rs.readableListening then
    rs.flowing = nil
  end
end

--- Adds a listener; one for `data` starts the flow, unless the stream was paused.
---@param name any
---@param listener function
---@return self
function Readable:on(name, listener)
  EventEmitter.on(self, name, listener)
  onListening(self, name)
  return self
end
Readable.addListener = Readable.on

--- `on`, for one call.
---@param name any
---@param listener function
---@return self
function Readable:once(name, listener)
  EventEmitter.once(self, name, listener)
  onListening(self, name)
  return self
end

--- Removes a listener.
---@param name any
---@param listener function
---@return self
function Readable:off(name, listener)
  EventEmitter.off(self, name, listener)
  if name == "readable" then nextTick(updateListening, self) end
  return self
end
Readable.removeListener = Readable.off

--- Removes all listeners of an event, or of all.
---@param name any?
---@return self
function Readable:removeAllListeners(name)
  EventEmitter.removeAllListeners(self, name)
  if name == "readable" or name == nil then nextTick(updateListening, self) end
  return self
end

-- The rest ------------------------------------------------------------------------------------------------------------

--- Accepted for Node's sake: strings hold bytes.
---@return self
function Readable:setEncoding() return self end

--- Writes everything to `destination` as fast as that takes it, and finishes it at the end.
---@param destination Writable
---@param options { finish: boolean? }? `finish = false` leaves the destination open
---@return Writable destination
function Readable:pipe(destination, options) return pipe.pipe(self, destination, streamOptions.table(options)) end

--- Stops piping to `destination`, or to all.
---@param destination Writable?
---@return self
function Readable:unpipe(destination) return pipe.unpipe(self, destination) end

--- Ends the stream at once; `error` (when given) and `close` follow.
---@param err any?
---@return self
function Readable:destroy(err) return destroy.destroy(self, err) end

--- For sources: frees what the stream stands on, then calls back. Subclasses implement it.
function Readable:_destroy(err, callback) callback(err) end

local function define(class)
  class:getter("readable", function(self)
    local rs = self._rs
    return rs.readable and not self.destroyed and not self._errorEmitted and not rs.endEmitted
  end)
  class:getter("readableFlowing", function(self) return self._rs.flowing end)
  class:getter("readableLength", function(self) return self._rs.length end)
  class:getter("readableHighWaterMark", function(self) return self._rs.mark end)
  class:getter("readableObjectMode", function(self) return self._rs.objectMode end)
end

calls.methods(Readable, "stream", { push = true, new = true })
define(Readable)

return { Readable = Readable, initialize = initialize, flow = flow }
