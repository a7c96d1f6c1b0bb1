--- What `stat` and `readdir` tell of a file: Stats and Dirent, objects that answer isFile() and its like.
local bit = require("bit")
local ffi = require("ffi")
local core = require("lrun.core.files")
local calls = require("lrun.check.calls")

---@class Stats
---@field dev integer
---@field ino integer
---@field mode integer type and permissions
---@field nlink integer
---@field uid integer
---@field gid integer
---@field rdev integer
---@field size integer bytes
---@field blksize integer
---@field blocks integer of 512 bytes
---@field atimeMs number milliseconds since 1970, with fractions
---@field mtimeMs number
---@field ctimeMs number
---@field birthtimeMs number
---@field isFile fun(self: Stats): boolean
---@field isDirectory fun(self: Stats): boolean
---@field isSymbolicLink fun(self: Stats): boolean
---@field isFIFO fun(self: Stats): boolean
---@field isSocket fun(self: Stats): boolean
---@field isCharacterDevice fun(self: Stats): boolean
---@field isBlockDevice fun(self: Stats): boolean
local Stats = { name = "Stats" }
Stats.__index = Stats

---@class Dirent
---@field name string
---@field path string the directory that it is in
---@field parentPath string the same
---@field isFile fun(self: Dirent): boolean
---@field isDirectory fun(self: Dirent): boolean
---@field isSymbolicLink fun(self: Dirent): boolean
---@field isFIFO fun(self: Dirent): boolean
---@field isSocket fun(self: Dirent): boolean
---@field isCharacterDevice fun(self: Dirent): boolean
---@field isBlockDevice fun(self: Dirent): boolean
local Dirent = { name = "Dirent" }
Dirent.__index = Dirent

local TYPES = {
  isFile = "file", isDirectory = "directory", isSymbolicLink = "link", isFIFO = "fifo", isSocket = "socket",
  isCharacterDevice = "char", isBlockDevice = "block",
}
local BITS = { file = 0x8000, directory = 0x4000, link = 0xA000, fifo = 0x1000, socket = 0xC000, char = 0x2000, block = 0x6000 }
local band, S_IFMT = bit.band, 0xF000
for name, kind in pairs(TYPES) do
  local bits = BITS[kind]
  Stats[name] = function(self) return band(self.mode, S_IFMT) == bits end
  Dirent[name] = function(self) return self._type == kind end
end

local KINDS = {}
for kind, bits in pairs(BITS) do KINDS[bits] = kind end

local function milliseconds(time) return time.sec * 1000 + time.nsec / 1e6 end

local stats = {}

-- Constants only, which is one copy: from bytecode any other constructor makes a table that grows field by field.
local function blank()
  return setmetatable({
    dev = 0, ino = 0, mode = 0, nlink = 0, uid = 0, gid = 0, rdev = 0, size = 0, blksize = 0, blocks = 0,
    atimeMs = 0, mtimeMs = 0, ctimeMs = 0, birthtimeMs = 0,
  }, Stats)
end

local numbers = ffi.cast("const double *", core.told)

--- Makes Stats from what a call of lrun.core.files told last.
---@return Stats
function stats.told()
  local self = blank()
  self.mode, self.dev, self.ino, self.nlink = numbers[0], numbers[1], numbers[2], numbers[3]
  self.uid, self.gid, self.rdev = numbers[4], numbers[5], numbers[6]
  self.size, self.blksize, self.blocks = numbers[7], numbers[8], numbers[9]
  self.atimeMs, self.mtimeMs, self.ctimeMs, self.birthtimeMs = numbers[10], numbers[11], numbers[12], numbers[13]
  return self
end

--- Makes Stats from luv's table.
---@return Stats
function stats.fromLuv(raw)
  local self = blank()
  self.mode, self.dev, self.ino, self.nlink, self.uid, self.gid, self.rdev = raw.mode, raw.dev, raw.ino, raw.nlink, raw.uid, raw.gid, raw.rdev
  self.size, self.blksize, self.blocks = raw.size, raw.blksize, raw.blocks
  self.atimeMs, self.mtimeMs = milliseconds(raw.atime), milliseconds(raw.mtime)
  self.ctimeMs, self.birthtimeMs = milliseconds(raw.ctime), milliseconds(raw.birthtime)
  return self
end

--- Luv's name of the type.
function stats.kind(self) return KINDS[band(self.mode, S_IFMT)] or "unknown" end

--- Makes a Dirent.
---@param kind string luv's name of the type
function stats.entry(name, kind, directory)
  return setmetatable({ name = name, path = directory, parentPath = directory, _type = kind }, Dirent)
end

calls.methods(Stats, "stats")
calls.methods(Dirent, "dirent")

stats.Stats, stats.Dirent = Stats, Dirent
return stats
