--- `fs.watch`: an emitter over one inotify watch of libuv, or over a tree of them (lrun/fs/watch_tree.lua). The watcher owns
--- it as `_watch`; `close` is the only way out.
local uv = require("luv")
local errors = require("errors")
local validate = require("lrun.check.validate")
local events = require("events")
local process = require("process")
local aborting = require("lrun.check.aborting")
local calls = require("lrun.check.calls")
local arguments = require("lrun.fs.arguments")
local WatchTree = require("lrun.fs.watch_tree")

---@class WatchOptions
---@field persistent boolean? false: does not keep the process running. Default true
---@field recursive boolean? also what is in directories below, and in those that come
---@field signal AbortSignal? closes the watcher
---@field encoding string? accepted, changes nothing

--- Events: `change (eventType, filename)` with "rename" (came, went, or was renamed) or "change", `error`, `close`.
--- Event change(eventType: "rename"|"change", filename: string?)
--- Event error(err: Error)
--- Event close()
---@class FSWatcher: EventEmitter
local FSWatcher = events.EventEmitter:extend("FSWatcher")

local function emitClose(self) self:emit("close") end

local function failure(code, path)
  local err = errors.system(code, "watch", { path = path, filename = path })
  if code == "ENOSPC" then err.message = ("ENOSPC: System limit for number of file watchers reached, watch '%s'"):format(path) end
  return err
end

local function onFailure(self, code, path)
  self:close()
  self:emit("error", failure(code, path))
end

local function watchOne(self, path, keeps)
  local handle = assert(uv.new_fs_event())
  local ok, _, code = handle:start(path, {}, function(text, filename, kinds)
    if not self._watch then return end
    if text then return onFailure(self, text:match("^[%u%d]+") or "UNKNOWN", path) end
    self:emit("change", kinds.rename and "rename" or "change", filename)
  end)
  if not ok then
    handle:close()
    return nil, code
  end
  if not keeps then handle:unref() end
  return handle
end

local function watchAll(self, path, keeps)
  return WatchTree.start(path, keeps, function(code, filename, eventType)
    if not self._watch then return end
    if code then return onFailure(self, code, filename) end
    self:emit("change", eventType, filename)
  end)
end

--- Starts to watch; `fs.watch` makes it.
---@param path string
---@param options WatchOptions
function FSWatcher:initialize(path, options)
  local raw = options.recursive and uv.fs_stat(path)
  local start = raw and raw.type == "directory" and watchAll or watchOne
  local code
  self._watch, code = start(self, path, options.persistent ~= false)
  if not self._watch then error(failure(code, path), 0) end
end

--- Stops watching. Harmless when repeated.
function FSWatcher:close()
  local handle = self._watch
  if not handle then return end
  self._watch = nil
  handle:close()
  process.nextTick(emitClose, self)
end

--- Lets the watcher keep the process running.
---@return self
function FSWatcher:ref()
  if self._watch then self._watch:ref() end
  return self
end

--- Does not let the watcher keep the process running.
---@return self
function FSWatcher:unref()
  if self._watch then self._watch:unref() end
  return self
end

local function watch(filename, options, listener)
  if type(options) == "function" then options, listener = nil, options end
  arguments.path(filename, "filename")
  options = arguments.options(options)
  if options.persistent ~= nil then arguments.flag(options, "persistent") end
  arguments.flag(options, "recursive")
  local signal = arguments.signal(options.signal)
  validate.optional(validate.func, listener, "listener")
  local watcher = FSWatcher:new(filename, options)
  if listener then watcher:on("change", listener) end
  if signal then aborting.follow(watcher, signal, function() watcher:close() end) end
  return watcher
end

calls.methods(FSWatcher, "watcher")

return { FSWatcher = FSWatcher, watch = watch }
