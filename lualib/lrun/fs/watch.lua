--- `fs.watch`: an emitter over one inotify watch of libuv. The watcher owns its luv handle; `close` is the only way out.
local uv = require("luv")
local errors = require("errors")
local validate = require("lrun.check.validate")
local events = require("events")
local process = require("process")
local aborting = require("lrun.check.aborting")
local calls = require("lrun.check.calls")
local fsCall = require("lrun.fs.call")
local arguments = require("lrun.fs.arguments")

---@class WatchOptions
---@field persistent boolean? false: does not keep the process running. Default true
---@field signal AbortSignal? closes the watcher
---@field encoding string? accepted, changes nothing

--- Events: `change (eventType, filename)` with "rename" (came, went, or was renamed) or "change", `error`, `close`.
--- Event change(eventType: "rename"|"change", filename: string?)
--- Event error(err: Error)
--- Event close()
---@class FSWatcher: EventEmitter
local FSWatcher = events.EventEmitter:extend("FSWatcher")

local function emitClose(self) self:emit("close") end

local function onEvent(self, text, filename, kinds)
  if not self._handle then return end
  if text then
    local err = fsCall.errorOf(text, "watch", { path = self._path })
    self:close()
    return self:emit("error", err)
  end
  self:emit("change", kinds.rename and "rename" or "change", filename)
end

--- Starts to watch; `fs.watch` makes it.
---@param path string
---@param options WatchOptions
function FSWatcher:initialize(path, options)
  self._path = path
  local handle = assert(uv.new_fs_event())
  local ok, _, code = handle:start(path, {}, function(...) onEvent(self, ...) end)
  if not ok then
    handle:close()
    error(errors.system(code, "watch", { path = path, filename = path }), 0)
  end
  self._handle = handle
  if options.persistent == false then handle:unref() end
end

--- Stops watching. Harmless when repeated.
function FSWatcher:close()
  local handle = self._handle
  if not handle then return end
  self._handle = nil
  handle:close()
  process.nextTick(emitClose, self)
end

--- Lets the watcher keep the process running.
---@return self
function FSWatcher:ref()
  if self._handle then self._handle:ref() end
  return self
end

--- Does not let the watcher keep the process running.
---@return self
function FSWatcher:unref()
  if self._handle then self._handle:unref() end
  return self
end

local function watch(filename, options, listener)
  if type(options) == "function" then options, listener = nil, options end
  arguments.path(filename, "filename")
  options = arguments.options(options)
  if options.persistent ~= nil then arguments.flag(options, "persistent") end
  if arguments.flag(options, "recursive") then
    error(errors.coded("ERR_FEATURE_UNAVAILABLE_ON_PLATFORM", "watch: recursive watching is not available on Linux"), 0)
  end
  local signal = arguments.signal(options.signal)
  validate.optional(validate.func, listener, "listener")
  local watcher = FSWatcher:new(filename, options)
  if listener then watcher:on("change", listener) end
  if signal then aborting.follow(watcher, signal, function() watcher:close() end) end
  return watcher
end

calls.methods(FSWatcher, "watcher")

return { FSWatcher = FSWatcher, watch = watch }
