--- How a stream ends early or for good: one way for readable, writable and duplex streams.
--- `destroyed`, `closed` and `errored` are plain fields of the stream; `error` and `close` are emitted a tick later, each
--- on its own, so that a listener that waits or throws cannot swallow the other.
local errors = require("errors")
local process = require("process")
local nextTick = process.nextTick

local destroy = {}

local function emitError(stream, err)
  if stream._errorEmitted then return end
  stream._errorEmitted = true
  stream:emit("error", err)
end

local function emitClose(stream)
  if stream._closeEmitted then return end
  stream._closeEmitted = true
  stream:emit("close")
end

--- The error of a call that comes too late.
---@param method string
---@return Error
function destroy.refusal(method)
  return errors.coded("ERR_STREAM_DESTROYED", ("Cannot call %s after a stream was destroyed"):format(method))
end

--- Puts the fields that this module keeps on a new stream.
---@param stream table
---@param options table `emitClose`, `autoDestroy`, `destroy`
function destroy.initialize(stream, options)
  stream.destroyed, stream.closed, stream._failed = false, false, false
  stream._errorEmitted, stream._closeEmitted = false, false
  stream._emitClose = options.emitClose ~= false
  stream._autoDestroy = options.autoDestroy ~= false
  if options.destroy then stream._destroy = options.destroy end
end

--- Keeps the first error. `_failed` says the same as `errored ~= nil`, and is always there to be read quickly.
function destroy.note(stream, err)
  if stream._failed then return end
  stream._failed, stream.errored = true, err
end

--- Ends the stream: no more events but `error` (when there is one) and `close`. Harmless when repeated.
---@param stream table
---@param err any?
---@return table stream
function destroy.destroy(stream, err)
  if stream.destroyed then return stream end
  stream.destroyed = true
  if err ~= nil then destroy.note(stream, err) end
  local called = false
  local function done(failure)
    if called then return end
    called = true
    if failure ~= nil then destroy.note(stream, failure) end
    stream.closed = true
    if failure ~= nil then nextTick(emitError, stream, failure) end
    if stream._emitClose then nextTick(emitClose, stream) end
  end
  if stream._ws then stream:_failPending() end
  local ok, thrown = pcall(stream._destroy, stream, err, done)
  if not ok then done(thrown) end
  return stream
end

--- Destroys the stream with the error, or, without `autoDestroy`, only emits it.
---@param stream table
---@param err any
function destroy.withError(stream, err)
  if stream.destroyed then return end
  if stream._autoDestroy then
    stream:destroy(err)
  else
    destroy.note(stream, err)
    nextTick(emitError, stream, err)
  end
end

return destroy
