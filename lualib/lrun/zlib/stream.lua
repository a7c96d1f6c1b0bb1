--- Compression as a stream. A coder turns each chunk into pieces of at most `chunkSize` bytes; when nobody takes the pieces the
--- chunk is kept where it stands, and with it whoever writes. Nothing is coded on another thread: a piece is small.
local calls = require("lrun.check.calls")
local coding = require("lrun.zlib.coding")
local core = require("lrun.core.zlib")
local errors = require("errors")
local process = require("process")
local streams = require("stream")
local validate = require("lrun.check.validate")

local HUNGRY, ENDED = core.hungry, core.ended

---@class Zlib: Transform
---@field bytesWritten integer bytes that it was given and has taken
local Zlib = streams.Transform:extend("Zlib")

--- One class a format: `kind` is of coding.formats.
---@param kind table
---@param name string
---@return table class
local function of(kind, name)
  local class = Zlib:extend(name)
  class._kind = kind
  return class
end

---@param options ZlibOptions?
function Zlib:initialize(options)
  local kind = self._kind
  local checked = coding.options(kind, options)
  self._options = checked
  self._coder = coding.open(kind, checked)
  options = options or {}
  streams.Transform.initialize(self, {
    highWaterMark = options.highWaterMark, readableHighWaterMark = options.readableHighWaterMark,
    writableHighWaterMark = options.writableHighWaterMark, autoDestroy = options.autoDestroy, emitClose = options.emitClose,
  })
  self.bytesWritten = 0
  self._given = 0                    -- bytes that came out
  self._marks = {}                   -- for each empty write that is under way what it stands for: { flush, level, strategy }, or false
end

-- Codes `chunk` from `at` on until it is taken; `done(err)` comes when it is, and all that it gave has been pushed.
local function code(self, chunk, at, flush, done)
  local options, coder = self._options, self._coder
  while not self.destroyed do
    local out, to, state, message = coder:step(chunk, at, flush, options.chunkSize)
    if not out then return done(coding.failure(options, to, state, message)) end
    self.bytesWritten, self._given = self.bytesWritten + to - at, self._given + #out
    at = to
    if options.bounded and self._given > options.maxOutputLength then
      return done(coding.failure(options, "ERR_BUFFER_TOO_LARGE"))
    end
    local wants = out == "" or self:push(out)
    if state == ENDED or state == HUNGRY then return done() end
    if not wants then
      self._held = function() code(self, chunk, at, flush, done) end
      return
    end
  end
end

function Zlib:_transform(chunk, callback)
  if chunk ~= "" then return code(self, chunk, 0, self._options.flush, callback) end
  local mark = table.remove(self._marks, 1)
  if not mark then return callback() end
  code(self, "", 0, mark.flush, function(err)
    -- Now, while nothing waits in the coder: before what was written behind it.
    if not err and mark.level and not self.destroyed then self._coder:params(mark.level, mark.strategy) end
    callback(err)
  end)
end

function Zlib:_flush(callback)
  code(self, "", 0, self._options.finishFlush, function(err)
    if err == nil and coding.mustBeWhole(self._kind, self._options) and not self._coder:isWhole() then err = coding.cut() end
    callback(err)
  end)
end

function Zlib:_read(n)
  local held = self._held
  if not held then return streams.Transform._read(self, n) end
  self._held = nil
  held()
end

function Zlib:_destroy(err, callback)
  self._held = nil
  self._coder:close()
  callback(err)
end

--- As of every writable stream.
---@param chunk string
---@param encoding any?
---@param callback function?
---@return boolean
function Zlib:write(chunk, encoding, callback)
  if chunk == "" then self._marks[#self._marks + 1] = false end
  return streams.Transform.write(self, chunk, encoding, callback)
end

-- An empty write that stands for something else; too late when all was written.
local function mark(self, what, callback)
  if self.destroyed or self.writableEnded then
    if callback then process.nextTick(callback) end
    return
  end
  self._marks[#self._marks + 1] = what
  streams.Transform.write(self, "", callback)
end

--- Gives out what was written so far; a reader at the other end can take it in. It hurts compression: not after every word.
--- Source: Node 20.
---@param kind integer? of zlib.constants; `Z_FULL_FLUSH`
---@param callback function?
function Zlib:flush(kind, callback)
  if type(kind) == "function" then kind, callback = nil, kind end
  local family = self._kind.family
  kind = kind == nil and family.full or validate.integer(kind, "kind", 0, family.mostFlush)
  validate.optional(validate.func, callback, "callback")
  mark(self, { flush = kind }, callback)
end

--- Another level and strategy for what is written from here on. Source: Node 20; of Gzip, Deflate and DeflateRaw.
---@param level integer
---@param strategy integer
---@param callback fun(err: Error?)?
function Zlib:params(level, strategy, callback)
  validate.integer(level, "level", -1, 9)
  validate.integer(strategy, "strategy", 0, 4)
  validate.optional(validate.func, callback, "callback")
  if self._kind.decodes or not self._kind.leastWindow then
    error(errors.coded("ERR_METHOD_NOT_IMPLEMENTED", "only what deflates has a level and a strategy"), 0)
  end
  mark(self, { flush = self._kind.family.full, level = level, strategy = strategy }, callback)
end

--- Begins anew, as if nothing had been written.
function Zlib:reset() self._coder:reset() end

--- The same as `destroy`, with a callback for `close`.
---@param callback function?
function Zlib:close(callback)
  validate.optional(validate.func, callback, "callback")
  if callback then self:once("close", callback) end
  self:destroy()
end

calls.methods(Zlib, "stream")

return { Zlib = Zlib, of = of }
