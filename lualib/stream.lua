--- Streams: what child stdio, sockets, requests, responses and files have in common. Source: Node 20.
--- A subclass of ours or a user's implements `_read(n)`, `_write(chunk, callback)`, `_writev(chunks, callback)`,
--- `_final(callback)`, `_destroy(err, callback)`, or passes them as the options `read`, `write`, …; a source calls `push`.
--- `end` is a keyword in Lua: the method is `finish`, the event keeps its name.
local vm = require("lrun.core.vm")
local errors = require("errors")
local validate = require("lrun.check.validate")
local aborting = require("lrun.check.aborting")
local calls = require("lrun.check.calls")
local destroy = require("lrun.stream.destroy")
local readable = require("lrun.stream.readable")
local streamOptions = require("lrun.stream.options")
local writable = require("lrun.stream.writable")

local isStandard = require("lrun.stream.pipe").isStandard
local Readable, Writable = readable.Readable, writable.Writable

---@class Duplex: Readable, Writable
---@field allowHalfOpen boolean false: the writable side is finished when the readable one has ended
local Duplex = Readable:extend("Duplex")

for name, method in pairs(Writable) do
  if type(method) == "function" and not name:find("^__") and name ~= "initialize" and rawget(Readable, name) == nil then
    Duplex[name] = method
  end
end
writable.define(Duplex)

--- Makes a stream with two independent sides.
---@param options StreamOptions?
function Duplex:initialize(options)
  options = streamOptions.table(options)
  destroy.initialize(self, options)
  readable.initialize(self, options)
  writable.initialize(self, options)
  self.allowHalfOpen = options.allowHalfOpen ~= false
end

---@class Transform: Duplex
local Transform = Duplex:extend("Transform")

--- Makes a duplex stream whose output comes from its input: implement `_transform(chunk, callback)` and, for what is
--- left at the end, `_flush(callback)`; both call back with `(err, chunk)`.
---@param options StreamOptions?
function Transform:initialize(options)
  options = streamOptions.table(options)
  Duplex.initialize(self, options)
  self._rs.sync = false
  if options.transform then self._transform = options.transform end
  if options.flush then self._flush = options.flush end
end

--- Subclasses implement it.
function Transform:_transform(_, callback)
  callback(errors.coded("ERR_METHOD_NOT_IMPLEMENTED", "The _transform() method is not implemented"))
end

local function transformed(self, err, result)
  local callback, rs = self._afterTransform, self._rs
  if err ~= nil then return callback(err) end
  if result ~= nil then self:push(result) end
  if rs.ended or rs.length < rs.mark then callback() else self._heldWrite = callback end
end

-- One chunk is transformed at a time: one callback does for all. Made apart: a function that makes one is never compiled.
local function listen(self)
  local function onTransformed(err, result) return transformed(self, err, result) end
  self._onTransformed = onTransformed
  return onTransformed
end

function Transform:_write(chunk, callback)
  self._afterTransform = callback
  self:_transform(chunk, self._onTransformed or listen(self))
end

function Transform:_read()
  local callback = self._heldWrite
  self._heldWrite = nil
  if callback then callback() end
end

-- A write whose result nobody has read yet is answered by nobody else.
function Transform:_failPending()
  if self._heldWrite then
    self._heldWrite = nil
    self:_abandonWrite()
  end
  Duplex._failPending(self)
end

function Transform:_final(callback)
  local function done(err, result)
    if err ~= nil then return callback(err) end
    if result ~= nil then self:push(result) end
    self:push(nil)
    callback()
  end
  if self._flush then self:_flush(done) else done() end
end

---@class PassThrough: Transform
local PassThrough = Transform:extend("PassThrough")
function PassThrough:_transform(chunk, callback) callback(nil, chunk) end

-- A `for` lets an iterator wait; a coroutine of its own, so that nobody else waits with it.
local function fromIterator(source)
  local function pull(self)
    for value in source do           -- luacheck: ignore 512 (once, but as a loop it may wait)
      self:push(value)
      return
    end
    self:push(nil)
  end
  local function attempt(self)
    local ok, err = pcall(pull, self)
    if not ok then self:destroy(err) end
  end
  return function(self) vm.enter(attempt, self) end
end

--- Makes a readable stream of what a sequence holds, or an iterator function returns until nil; a string is one chunk.
--- Source: Node 20; chunks that are no strings need `objectMode = true`.
---@param source string|any[]|fun(): any
---@param options StreamOptions?
---@return Readable
function Readable.from(source, options)
  if type(source) == "string" then source = { source } end
  if type(source) ~= "table" and type(source) ~= "function" then
    error(errors.argType("source", "string, table or function", source), 0)
  end
  options = streamOptions.table(options)
  local at = 0
  local function readTable(self)
    at = at + 1
    self:push(source[at])
  end
  return Readable:new{
    objectMode = options.objectMode, highWaterMark = options.highWaterMark, destroy = options.destroy,
    read = type(source) == "function" and fromIterator(source) or readTable,
  }
end

calls.maker(Readable, "from")

---@class StreamOptions
---@field highWaterMark integer? bytes 16384, or 16 objects; for one side `readableHighWaterMark`, `writableHighWaterMark`
---@field readableHighWaterMark integer?
---@field writableHighWaterMark integer?
---@field objectMode boolean? any value in place of strings; for one side `readableObjectMode`, `writableObjectMode`
---@field readableObjectMode boolean?
---@field writableObjectMode boolean?
---@field autoDestroy boolean? destroyed after its end or an error; true by default
---@field emitClose boolean? true by default
---@field readable boolean? of a Duplex
---@field writable boolean? of a Duplex
---@field allowHalfOpen boolean? of a Duplex; true by default
---@field read fun(self: Readable, size: integer)?
---@field write fun(self: Writable, chunk: string, callback: fun(err: any?))?
---@field writev fun(self: Writable, chunks: string[], callback: fun(err: any?))?
---@field final fun(self: Writable, callback: fun(err: any?))?
---@field transform fun(self: Transform, chunk: string, callback: fun(err: any?, result: string?))?
---@field flush fun(self: Transform, callback: fun(err: any?, result: string?))?
---@field destroy fun(self: Readable|Writable, err: any, callback: fun(err: any?))?

---@class stream
---@field Readable Readable the class, as the others
---@field Writable Writable
---@field Duplex Duplex
---@field Transform Transform
---@field PassThrough PassThrough
local stream = { Readable = Readable, Writable = Writable, Duplex = Duplex, Transform = Transform, PassThrough = PassThrough }

-- Which sides it has; nil when it is no stream. A response of http is a stream without being a Writable.
local function sides(each)
  if type(each) ~= "table" then return nil end
  local rs, ws = each._rs, each._ws
  if rs == nil and ws == nil then
    if type(each.write) ~= "function" or each.writableFinished == nil then return nil end
    return false, true
  end
  return rs and true or false, ws and true or false
end

local function isDone(each)
  local isReadable, isWritable = sides(each)
  return (not isReadable or each.readableEnded) and (not isWritable or each.writableFinished)
end

--- Calls back once the stream has ended, finished, failed or closed early (`ERR_STREAM_PREMATURE_CLOSE`).
---@param each Readable|Writable
---@param options { readable: boolean?, writable: boolean? }? false: do not wait for that side
---@param callback fun(err: any?)
---@return function cleanup takes the listeners away
function stream.finished(each, options, callback)
  if type(options) == "function" then options, callback = nil, options end
  local isReadable, isWritable = sides(each)
  if isReadable == nil then error(errors.argType("stream", "an instance of Stream", each), 0) end
  options = streamOptions.table(options)
  validate.func(callback, "callback")
  local waitsRead = isReadable and options.readable ~= false and not each.readableEnded
  local waitsWrite = isWritable and options.writable ~= false and not each.writableFinished
  local onEnd, onFinish, onError, onClose
  local called = false
  local function cleanup()
    each:off("end", onEnd):off("finish", onFinish):off("error", onError):off("close", onClose)
  end
  local function done(err)
    if called then return end
    called = true
    callback(err)
  end
  function onEnd() waitsRead = false if not waitsWrite then done() end end
  function onFinish() waitsWrite = false if not waitsRead then done() end end
  function onError(err) done(err) end
  function onClose()
    if not waitsRead and not waitsWrite then return done() end
    done(each.errored or errors.coded("ERR_STREAM_PREMATURE_CLOSE", "Premature close"))
  end
  each:on("end", onEnd):on("finish", onFinish):on("error", onError):on("close", onClose)
  if each.closed or not waitsRead and not waitsWrite then require("process").nextTick(onClose) end
  return cleanup
end

--- Destroys the stream with an ABORT_ERR when the signal is aborted.
---@param signal AbortSignal
---@param each Readable|Writable
---@return Readable|Writable each
function stream.addAbortSignal(signal, each)
  aborting.check(signal, "signal")
  if sides(each) == nil then error(errors.argType("stream", "an instance of Stream", each), 0) end
  local function abort() each:destroy(aborting.failure(signal)) end
  if signal.aborted then abort() else aborting.follow(each, signal, abort) end
  return each
end

--- Pipes the streams one into the next; when one fails all are destroyed, but not `process.stdout` or `stderr`, which
--- stay open in the end, too. The last argument may be a callback.
---@param ... Readable|Writable|fun(err: any?)
---@return Writable last
function stream.pipeline(...)
  local streams, callback = { ... }, nil
  if type(streams[1]) == "table" and sides(streams[1]) == nil then
    callback = streams[2]
    streams = { unpack(streams[1]) }
  elseif type(streams[#streams]) == "function" then
    callback = table.remove(streams)
  end
  if #streams < 2 then error(errors.missing("streams"), 0) end
  local failure, open, output, forget = nil, #streams, nil, nil
  local function failed(err)
    if err == nil or failure ~= nil then return end
    failure = err
    for _, each in ipairs(streams) do
      if not isDone(each) and not isStandard(each) then each:destroy(err) end
    end
  end
  local function settled(err)
    failed(err)
    open = open - 1
    if open > 0 then return end
    if not output then return callback and callback(failure) end
    output:write("", function(last)   -- after all that was written
      failed(last)
      if last then output:once("close", forget) else forget() end    -- its `error` is still to come
      if callback then callback(failure) end
    end)
  end
  for i, each in ipairs(streams) do
    if isStandard(each) then
      open = open - 1
      output, forget = each, stream.finished(each, failed)
    else
      stream.finished(each, { readable = i < #streams, writable = i > 1 }, settled)
    end
    if i > 1 then streams[i - 1]:pipe(each) end
  end
  return streams[#streams]
end

calls.functions(stream, "stream", { Readable = true, Writable = true, Duplex = true })

return stream
