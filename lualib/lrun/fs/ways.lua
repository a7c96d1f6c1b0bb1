--- The system calls of `fs`, by name, and the ways in which each is made:
---
---     now(…)         blocks
---     try(…)         asks what is in memory, without waiting for a disk or a peer (lrun.core.files)
---     pool(done, …)  waits on libuv's thread pool
---
--- `now` and `try` return the value, or nil and the code of a failure; `try` false where only the pool can tell. `done` is called with
--- the code or nil, and the value. Some have a second value. What luv offers stands in for what is not defined here. There are
--- at most three arguments, and no `...` on these paths: what LuaJIT makes of it costs more than the system calls.
local ffi = require("ffi")
local uv = require("luv")
local core = require("lrun.core.files")
local listings = require("lrun.fs.listings")
local stats = require("lrun.fs.stats")
local turns = require("lrun.fs.turns")

local describe = require("lrun.core.errno").describe

local told, fromLuv, POOL = stats.told, stats.fromLuv, core.POOL

local function codeOf(text) return text:match("^[%u%d]+") or "UNKNOWN" end

-- How many arguments luv's functions take before the callback; what it gives a name to here, it does not give another there.
local ARITY = {
  chmod = 2, chown = 3, close = 1, copyfile = 3, fchmod = 2, fchown = 3, fdatasync = 1, fstat = 1, fsync = 1, ftruncate = 2,
  futime = 3, lchown = 3, link = 2, lstat = 1, lutime = 3, mkdir = 2, mkdtemp = 1, open = 3, read = 3, readlink = 1,
  realpath = 1, rename = 2, rmdir = 1, stat = 1, symlink = 3, unlink = 1, utime = 3, write = 3,
}

local function luvNow(name)
  local f, arity = uv["fs_" .. name], ARITY[name]
  return function(a, b, c)
    local value, text
    if arity == 1 then value, text = f(a) elseif arity == 2 then value, text = f(a, b) else value, text = f(a, b, c) end
    if value == nil then return nil, codeOf(text) end
    return value
  end
end

local function luvPool(name, convert)
  local f, arity = uv["fs_" .. name], ARITY[name]
  return function(done, a, b, c)
    local function onDone(text, value)
      if text then return done(codeOf(text)) end
      done(nil, convert and convert(value) or value)
    end
    local request, text
    if arity == 1 then
      request, text = f(a, onDone)
    elseif arity == 2 then
      request, text = f(a, b, onDone)
    else
      request, text = f(a, b, c, onDone)
    end
    if request == nil then turns.push(done, codeOf(text)) end
  end
end

-- What C's calls through the FFI answer: a negative code.
local function failed(rc)
  if rc == POOL then return false end
  return nil, (describe(rc))
end

local function answer(rc)
  if rc == 0 then return told() end
  return failed(rc)
end

-- A stat through the FFI, of what C calls a `what`.
local function statCall(name, what, now, try)
  local kind = "int (*)(" .. what .. ")"
  now, try = ffi.cast(kind, now), ffi.cast(kind, try)
  return {
    now = function(it) return answer(now(it)) end,
    try = function(it) return answer(try(it)) end,
    pool = luvPool(name, fromLuv),
  }
end

local tryOpen, tryClose = ffi.cast("int (*)(const char *, int)", core.tryOpen), ffi.cast("int (*)(int)", core.tryClose)
local tryRead = ffi.cast("int (*)(int, double, double)", core.tryRead)
local got = ffi.cast("const struct { const char *bytes; int more; } *", core.got)

local calls = {
  stat = statCall("stat", "const char *", core.stat, core.tryStat),
  lstat = statCall("lstat", "const char *", core.lstat, core.tryLstat),
  fstat = statCall("fstat", "int", core.fstat, core.tryFstat),
  access = {
    now = core.access, try = core.tryAccess,
    pool = function(done, path, mode)
      core.poolAccess(path, mode, function(ok, code) done(code, ok) end)
    end,
  },
  open = {
    try = function(path, flags)
      local fd = tryOpen(path, flags)
      if fd >= 0 then return fd end
      return failed(fd)
    end,
  },
  close = {
    try = function(fd)
      local rc = tryClose(fd)
      if rc == 0 then return true end
      return failed(rc)
    end,
  },
  read = {                                    -- its second value: there may be more before the end
    try = function(fd, length, position)
      local size = tryRead(fd, length, position)
      if size >= 0 then return ffi.string(got.bytes, size), got.more ~= 0 end
      return failed(size)
    end,
  },
  -- The data, and from `try` where they are not all a descriptor to read on with, and the file's size; from `now` the
  -- descriptor alone of what is no plain file.
  readFile = { now = core.readFile, try = core.tryReadFile },
  readlink = { try = core.tryReadlink },
  realpath = { try = core.tryRealpath },
  -- Names and luv's words for their types; both lists may be kept here, and are not to be changed.
  scandir = {
    now = core.list,
    try = function(path)
      local key, code = core.tryKey(path)
      if not key then return key, code end
      return listings.find(key)
    end,
    pool = function(done, path)
      core.poolList(path, function(names, kinds, key)
        if not names then return done(kinds) end
        if key then listings.keep(key, names, kinds) end
        done(nil, names, kinds)
      end)
    end,
  },
}

local known = {}

local function find(_, name)
  local call = calls[name] or {}
  call.now, call.pool = call.now or luvNow(name), call.pool or luvPool(name)
  call.counts = { cache = 0, pool = 0 }
  known[name] = call
  return call
end
setmetatable(known, { __index = find })

local ways = {}

--- Blocks; returns the value, or nil and the code.
function ways.now(name, a, b, c) return known[name].now(a, b, c) end

--- Tries without waiting; notes the attempt that succeeded.
function ways.try(name, a, b, c)
  local way = known[name]
  if not way.try then return false end
  local value, second, third = way.try(a, b, c)
  if value ~= false then way.counts.cache = way.counts.cache + 1 end
  return value, second, third
end

--- Waits on the pool, and calls `done(code or nil, value, second value)`.
function ways.pool(name, done, a, b, c)
  local way = known[name]
  way.counts.pool = way.counts.pool + 1
  way.pool(done, a, b, c)
end

--- The same, whichever way it takes, and never before it has returned.
function ways.later(name, done, a, b, c)
  local value, second = ways.try(name, a, b, c)
  if value == false then return ways.pool(name, done, a, b, c) end
  if value == nil then return turns.push(done, second) end
  turns.push(done, nil, value, second)
end

--- How often which way was taken, by system call.
---@return table<string, { cache: integer, pool: integer }>
function ways.counts()
  local result = {}
  for name, way in pairs(known) do result[name] = { cache = way.counts.cache, pool = way.counts.pool } end
  return result
end

return ways
