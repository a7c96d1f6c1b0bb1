--- The option `signal` of what can be aborted: its check, its error, and how long it is listened to.
local errors = require("errors")
local process = require("process")

local aborting = {}

--- Throws unless the value is an AbortSignal, or looks like one.
---@param value any
---@param name string? "options.signal" unless given
---@return AbortSignal
function aborting.check(value, name)
  if type(value) ~= "table" or type(value.aborted) ~= "boolean" then
    error(errors.argType(name or "options.signal", "an instance of AbortSignal", value), 0)
  end
  return value
end

--- What becomes of work that the signal has aborted.
---@param signal AbortSignal
---@return Error
function aborting.failure(signal)
  return errors.coded("ABORT_ERR", "The operation was aborted", { cause = signal.reason, name = "AbortError" })
end

--- Calls `onAbort` when the signal is aborted before `emitter` has ended; a tick later when it is aborted already.
---@param emitter EventEmitter
---@param signal AbortSignal
---@param onAbort fun()
---@param ending string? the event that ends it: "close" unless given
function aborting.follow(emitter, signal, onAbort, ending)
  if signal.aborted then return process.nextTick(onAbort) end
  signal:once("abort", onAbort)
  emitter:once(ending or "close", function() signal:off("abort", onAbort) end)
end

return aborting
