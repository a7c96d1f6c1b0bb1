--- The writable side of streams. One write is at the sink at a time (`_write`); the others wait in a queue and go out one
--- by one, or together where the sink has `_writev`. Order of events and states are Node's.
---
--- State (`self._ws`): `chunks[first..last]` and `callbacks[…]` are the writes that wait, `length` all bytes not yet
--- written, `size` and `callback` the write at the sink, `pending` the callbacks that a tick will call.
local process = require("process")
local events = require("events")
local errors = require("errors")
local validate = require("lrun.check.validate")
local calls = require("lrun.check.calls")
local destroy = require("lrun.stream.destroy")
local streamOptions = require("lrun.stream.options")

local nextTick = process.nextTick
local EventEmitter = events.EventEmitter

--- Event drain(): the queue is empty after `write` returned false
--- Event finish(): everything was written
--- Event pipe(source: Readable)
--- Event unpipe(source: Readable)
--- Event close()
--- Event error(err: any)
---@class Writable: EventEmitter
---@field destroyed boolean
---@field closed boolean
---@field errored any
---@field writable boolean it can be written to
---@field writableEnded boolean `finish` was called
---@field writableFinished boolean everything was written; `finish` was emitted
---@field writableLength integer bytes not yet written
---@field writableHighWaterMark integer
---@field writableNeedDrain boolean `write` returned false and `drain` did not come yet
---@field writableCorked integer
---@field writableObjectMode boolean
local Writable = EventEmitter:extend("Writable")
Writable.destroyed = false
Writable.writableEnded = false
Writable.writableFinished = false

local onWritten

-- What the sink calls, made when it is first asked to write.
local function listen(self, ws)
  local function onWrite(err) onWritten(self, ws, err) end
  ws.onWrite = onWrite
  return onWrite
end

local function initialize(self, options)
  local mark, objectMode = streamOptions.mark(options, options.writableHighWaterMark, options.writableObjectMode)
  local ws = {                  -- constants only: one copy
    chunks = false, callbacks = false, first = 1, last = 0, length = 0, size = 0, callback = false, pending = 0,
    mark = 0, objectMode = false, onWrite = false,
    writing = false, sync = false, flushing = false, corked = 0, needDrain = false,
    ending = false, finished = false, finalCalled = false, finalPending = false, finishing = false, onFinish = false,
  }
  ws.mark, ws.objectMode = mark, objectMode
  self._ws = ws
  self.writableEnded, self.writableFinished = false, false
  if options.write then self._write = options.write end
  if options.writev then self._writev = options.writev end
  if options.final then self._final = options.final end
  if options.writable == false then ws.ending, ws.finished = true, true end
end

--- Makes a writable stream. Source: Node 20.
---@param options StreamOptions?
function Writable:initialize(options)
  options = streamOptions.table(options)
  destroy.initialize(self, options)
  self._rs = false
  initialize(self, options)
end

-- Finishing -----------------------------------------------------------------------------------------------------------

local function callFinishers(ws, err)
  local list = ws.onFinish
  if not list then return end
  ws.onFinish = false
  for i = 1, #list do nextTick(list[i], err) end
end

local function needsFinish(self, ws)
  return ws.ending and not self.destroyed and ws.length == 0 and not self._failed and not ws.finished
    and not ws.writing and not self._errorEmitted and not self._closeEmitted
end

-- What follows `finish`; queued before its listeners run, because one of them may wait.
local function afterFinish(self)
  local rs = self._rs
  if self._autoDestroy and (not rs or rs.endEmitted) then self:destroy() end
end

local function emitFinish(self)
  nextTick(afterFinish, self)
  self:emit("finish")
end

-- The callbacks of `finish` come before its event, each in a tick of its own, because one of them may wait.
local function finishNow(self)
  local ws = self._ws
  ws.finishing = false
  if not needsFinish(self, ws) then return end
  ws.finished = true
  self.writableFinished = true
  if not ws.onFinish then return emitFinish(self) end
  callFinishers(ws)
  nextTick(emitFinish, self)
end

local function callFinal(self, ws)
  ws.finalPending = true
  local called = false
  local function done(err)
    if called then
      return destroy.withError(self, errors.coded("ERR_MULTIPLE_CALLBACK", "Callback called multiple times"))
    end
    called, ws.finalPending = true, false
    if err ~= nil then
      callFinishers(ws, err)
      destroy.withError(self, err)
    elseif needsFinish(self, ws) and not ws.finishing then
      ws.finishing = true
      nextTick(finishNow, self)
    end
  end
  local ok, thrown = pcall(self._final, self, done)
  if not ok then done(thrown) end
end

local function finishMaybe(self, ws)
  if not needsFinish(self, ws) or ws.pending > 0 or ws.finalPending or ws.finishing then return end
  if not ws.finalCalled then
    ws.finalCalled = true
    if self._final then return callFinal(self, ws) end
  end
  ws.finishing = true
  nextTick(finishNow, self)
end

-- Writing -------------------------------------------------------------------------------------------------------------

-- `callback` may be one function or the list of those whose chunks went out together.
local function callBack(callback, err)
  if type(callback) == "function" then return callback(err) end
  for i = 1, #callback do
    if callback[i] then nextTick(callback[i], err) end
  end
end

local function afterWrite(self, callback, counted)
  local ws = self._ws
  if counted then ws.pending = ws.pending - 1 end
  local drained = ws.needDrain and not ws.ending and not self.destroyed and ws.length == 0
  if drained then ws.needDrain = false end
  if self.destroyed then self:_failPending() else finishMaybe(self, ws) end
  if drained then self:emit("drain") end
  if callback then callBack(callback) end
end

local function writeFailed(self, callback, err)
  destroy.withError(self, err)
  self:_failPending()
  if callback then callBack(callback, err) end
end

local function sink(self, ws, chunk, size, callback)
  ws.size, ws.callback, ws.writing, ws.sync = size, callback, true, true
  self:_write(chunk, ws.onWrite or listen(self, ws))
  ws.sync = false
end

-- The queue has tables of its own while something waits.
local function resetQueue(ws)
  ws.chunks, ws.callbacks, ws.first, ws.last = false, false, 1, 0
end

local function flushTogether(self, ws)
  local first, last, chunks = ws.first, ws.last, ws.chunks
  local callbacks, size = {}, 0
  local list = {}
  for i = first, last do
    list[#list + 1] = chunks[i]
    size = size + (ws.objectMode and 1 or #chunks[i])
    if ws.callbacks[i] then callbacks[#callbacks + 1] = ws.callbacks[i] end
  end
  resetQueue(ws)
  ws.size, ws.callback, ws.writing, ws.sync = size, #callbacks > 0 and callbacks, true, true
  self:_writev(list, ws.onWrite or listen(self, ws))
  ws.sync = false
end

local function flush(self, ws)
  if ws.flushing or ws.corked > 0 or self.destroyed or ws.last < ws.first then return end
  ws.flushing = true
  if ws.last > ws.first and self._writev then
    flushTogether(self, ws)
  else
    repeat
      local at = ws.first
      local chunk, callback = ws.chunks[at], ws.callbacks[at]
      ws.chunks[at], ws.callbacks[at] = nil, nil
      ws.first = at + 1
      sink(self, ws, chunk, ws.objectMode and 1 or #chunk, callback)
    until ws.writing or ws.first > ws.last or self.destroyed
    if ws.first > ws.last then resetQueue(ws) end
  end
  ws.flushing = false
end

-- The sink is done with a write, now (`ws.sync`) or later.
function onWritten(self, ws, err)
  if not ws.writing then
    return destroy.withError(self, errors.coded("ERR_MULTIPLE_CALLBACK", "Callback called multiple times"))
  end
  local callback, sync = ws.callback, ws.sync
  ws.length = ws.length - ws.size
  ws.writing, ws.callback, ws.size = false, false, 0
  if err ~= nil then
    destroy.note(self, err)
    if sync then nextTick(writeFailed, self, callback, err) else writeFailed(self, callback, err) end
    return
  end
  if ws.last >= ws.first and not ws.flushing then flush(self, ws) end
  if not sync then return afterWrite(self, callback, false) end
  if callback or ws.needDrain or ws.ending or self.destroyed then
    ws.pending = ws.pending + 1
    nextTick(afterWrite, self, callback, true)
  end
end

local function refuse(self, callback, err)
  if callback then nextTick(callback, err) end
  destroy.withError(self, err)
  return false, err
end

local function write(self, ws, chunk, callback)
  local objectMode = ws.objectMode
  if not objectMode and type(chunk) ~= "string" or chunk == nil then error(errors.argType("chunk", "string", chunk), 0) end
  if ws.ending then return refuse(self, callback, errors.coded("ERR_STREAM_WRITE_AFTER_END", "write after end")) end
  if self.destroyed then return refuse(self, callback, destroy.refusal("write")) end
  if self._failed then                -- it does not end by itself, and takes nothing more
    if callback then nextTick(callback, self.errored) end
    return false
  end
  local size = objectMode and 1 or #chunk
  ws.length = ws.length + size
  if ws.writing or ws.corked > 0 or ws.flushing then
    local last = ws.last + 1
    ws.last = last
    if not ws.chunks then ws.chunks, ws.callbacks = {}, {} end
    ws.chunks[last], ws.callbacks[last] = chunk, callback
  else
    sink(self, ws, chunk, size, callback)
  end
  -- Asked afterwards: what the sink took at once needs no `drain`.
  local more = ws.length < ws.mark
  if not more then ws.needDrain = true end
  return more and not self._failed and not self.destroyed
end

--- Internal: whether a write would be the sink's at once: nothing waits before it.
---@return boolean
function Writable:_isFree()
  local ws = self._ws
  return not (ws.writing or ws.corked > 0 or ws.flushing or ws.ending or self.destroyed or self._failed)
end

--- Internal: a write of `size` bytes that the sink does not get as a string: `start(callback)` begins it. Where others wait
--- before it, nothing is done.
---@param size integer
---@param start fun(callback: fun(err: any?))
---@return boolean? more as `write`; nil: not taken
function Writable:_writeOther(size, start)
  if not self:_isFree() then return nil end
  local ws = self._ws
  ws.length = ws.length + size
  ws.size, ws.callback, ws.writing, ws.sync = size, false, true, true
  start(ws.onWrite or listen(self, ws))
  ws.sync = false
  local more = ws.length < ws.mark
  if not more then ws.needDrain = true end
  return more and not self._failed and not self.destroyed
end

-- The callback, which may stand in the place of an encoding, or false.
local function callbackOf(encoding, callback)
  if type(encoding) == "function" then return encoding end
  if encoding ~= nil and type(encoding) ~= "string" then error(errors.argType("encoding", "string or function", encoding), 0) end
  validate.optional(validate.func, callback, "callback")
  return callback or false
end

--- Writes a string. False says: the high-water mark is passed, wait for `drain`.
---@param chunk string
---@param encoding (string|fun(err: any?))? accepted, changes nothing
---@param callback fun(err: any?)? once it was written
---@return boolean more
function Writable:write(chunk, encoding, callback)
  local ws = type(self) == "table" and self._ws
  if not ws then calls.needsColon("stream", "write") end
  return (write(self, ws, chunk, callbackOf(encoding, callback)))
end

--- Writes a last string, if given; `finish` is emitted once everything was written. Node's `end`.
---@param chunk (string|fun(err: any?))?
---@param encoding (string|fun(err: any?))?
---@param callback fun(err: any?)? once everything was written
---@return self
function Writable:finish(chunk, encoding, callback)
  if type(chunk) == "function" then chunk, encoding, callback = nil, nil, chunk end
  callback = callbackOf(encoding, callback)
  local ws, err = self._ws, nil
  if chunk ~= nil then
    local _
    _, err = write(self, ws, chunk, false)
  end
  if ws.corked > 0 then
    ws.corked = 1
    self:uncork()
  end
  if not err then
    if not self._failed and not ws.ending then
      ws.ending = true
      self.writableEnded = true
      finishMaybe(self, ws)
    elseif ws.finished then
      err = errors.coded("ERR_STREAM_ALREADY_FINISHED", "Cannot call finish after a stream was finished")
    elseif self.destroyed then
      err = destroy.refusal("finish")
    end
  end
  if callback then
    if err or ws.finished then
      nextTick(callback, err)
    elseif self.destroyed or self._failed then
      nextTick(callback, self.errored or destroy.refusal("finish"))
    else
      ws.onFinish = ws.onFinish or {}
      ws.onFinish[#ws.onFinish + 1] = callback
    end
  end
  return self
end

--- Holds writes back until `uncork`, so that they go out together.
function Writable:cork() self._ws.corked = self._ws.corked + 1 end

--- Undoes one `cork`.
function Writable:uncork()
  local ws = self._ws
  if ws.corked == 0 then return end
  ws.corked = ws.corked - 1
  if not ws.writing then flush(self, ws) end
end

--- Accepted for Node's sake.
---@return self
function Writable:setDefaultEncoding() return self end

--- Ends the stream at once; what was not written is lost. `error` (when given) and `close` follow.
---@param err any?
---@return self
function Writable:destroy(err) return destroy.destroy(self, err) end

--- For sinks: frees what the stream stands on, then calls back. Subclasses implement it.
function Writable:_destroy(err, callback) callback(err) end

--- For sinks: writes the chunk, then calls back, with an error if there was one. Subclasses implement it, or `_writev`,
--- which does the same for a list of chunks.
function Writable:_write(chunk, callback)
  if self._writev then return self:_writev({ chunk }, callback) end
  error(errors.coded("ERR_METHOD_NOT_IMPLEMENTED", "The _write() method is not implemented"), 0)
end

--- Internal: the stream was destroyed; the callbacks of what waits get the error, once a write at the sink is over.
function Writable:_failPending()
  local ws = self._ws
  if ws.writing then return end
  if ws.last < ws.first and not ws.onFinish then return end
  local callbacks, first, last = ws.callbacks, ws.first, ws.last
  resetQueue(ws)
  for i = first, last do
    if callbacks[i] then nextTick(callbacks[i], self.errored or destroy.refusal("write")) end
  end
  callFinishers(ws, self.errored or destroy.refusal("finish"))
end

--- Internal: the stream was destroyed, and its sink will not answer any more: the write there gets the error, too.
function Writable:_abandonWrite()
  local ws = self._ws
  local callback = ws.callback
  ws.writing, ws.callback, ws.size = false, false, 0
  if callback then nextTick(callBack, callback, self.errored or destroy.refusal("write")) end
end

--- Internal: all that waits to be written goes another way at once, behind the write that is at the sink: `start(data, done)`
--- begins it, and `done` is called later.
---@param start fun(data: string, done: fun(err: any?))
function Writable:_writePending(start)
  local ws, callbacks = self._ws, {}
  if ws.last < ws.first then return end
  for i = ws.first, ws.last do
    if ws.callbacks[i] then callbacks[#callbacks + 1] = ws.callbacks[i] end
  end
  local data = table.concat(ws.chunks, "", ws.first, ws.last)
  resetQueue(ws)
  start(data, function(err)
    ws.length = ws.length - #data
    if err ~= nil then writeFailed(self, callbacks, err) else afterWrite(self, callbacks, false) end
  end)
end

local function define(class)
  class:getter("writable", function(self)
    local ws = self._ws
    return not ws.ending and not self.destroyed and not self._failed
  end)
  class:getter("writableLength", function(self) return self._ws.length end)
  class:getter("writableHighWaterMark", function(self) return self._ws.mark end)
  class:getter("writableNeedDrain", function(self)
    local ws = self._ws
    return ws.needDrain and not self.destroyed and not ws.ending
  end)
  class:getter("writableCorked", function(self) return self._ws.corked end)
  class:getter("writableObjectMode", function(self) return self._ws.objectMode end)
end

calls.methods(Writable, "stream", { write = true, new = true })
define(Writable)

return { Writable = Writable, initialize = initialize, define = define }
