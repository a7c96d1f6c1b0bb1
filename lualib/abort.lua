--- AbortController and AbortSignal, as in the DOM and Node: one switch for work that takes a `signal` option.
local events = require("events")
local errors = require("errors")
local calls = require("lrun.check.calls")
local validate = require("lrun.check.validate")

--- Event abort(reason: any)
---@class AbortSignal: EventEmitter
---@field aborted boolean
---@field reason any what `abort` was given, or an ABORT_ERR error
local AbortSignal = events.EventEmitter:extend("AbortSignal")

function AbortSignal:initialize() self.aborted = false end

--- Throws the reason when the signal was aborted.
function AbortSignal:throwIfAborted()
  if self.aborted then error(self.reason, 0) end
end

---@class AbortController: EventEmitter
---@field signal AbortSignal
local AbortController = events.EventEmitter:extend("AbortController")

function AbortController:initialize() self.signal = AbortSignal:new() end

local function abort(signal, reason)
  if signal.aborted then return end
  signal.aborted = true
  if reason == nil then reason = errors.coded("ABORT_ERR", "This operation was aborted", { name = "AbortError" }) end
  signal.reason = reason
  signal:emit("abort", reason)
end

--- Aborts: the signal's `abort` event, once.
---@param reason any?
function AbortController:abort(reason) abort(self.signal, reason) end

--- A signal that is aborted already.
---@param reason any?
---@return AbortSignal
function AbortSignal.abort(reason)
  local signal = AbortSignal:new()
  abort(signal, reason)
  return signal
end

--- A signal that aborts after `ms` milliseconds; the wait keeps nothing alive.
---@param ms integer
---@return AbortSignal
function AbortSignal.timeout(ms)
  validate.number(ms, "delay", 0)
  local signal = AbortSignal:new()
  require("timers").setTimeout(function()
    abort(signal, errors.coded("ABORT_ERR", "The operation was aborted due to timeout", { name = "TimeoutError" }))
  end, ms):unref()
  return signal
end

calls.methods(AbortController, "controller")
calls.methods(AbortSignal, "signal", { abort = true, timeout = true })
calls.maker(AbortSignal, "abort")
calls.maker(AbortSignal, "timeout")

---@class abort
---@field AbortController AbortController the class
---@field AbortSignal AbortSignal the class
local module = { AbortController = AbortController, AbortSignal = AbortSignal }

return module
