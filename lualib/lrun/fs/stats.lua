--- What `stat` and `readdir` tell of a file: Stats and Dirent, objects that answer isFile() and its like.
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
for name, kind in pairs(TYPES) do
  Stats[name] = function(self) return self._type == kind end
  Dirent[name] = Stats[name]
end

local function milliseconds(time) return time.sec * 1000 + time.nsec / 1e6 end

local stats = {}

--- Makes Stats from luv's table.
function stats.new(raw)
  return setmetatable({
    dev = raw.dev, ino = raw.ino, mode = raw.mode, nlink = raw.nlink, uid = raw.uid, gid = raw.gid, rdev = raw.rdev,
    size = raw.size, blksize = raw.blksize, blocks = raw.blocks, _type = raw.type,
    atimeMs = milliseconds(raw.atime), mtimeMs = milliseconds(raw.mtime), ctimeMs = milliseconds(raw.ctime),
    birthtimeMs = milliseconds(raw.birthtime),
  }, Stats)
end

--- Makes a Dirent.
---@param kind string luv's name of the type
function stats.entry(name, kind, directory)
  return setmetatable({ name = name, path = directory, parentPath = directory, _type = kind }, Dirent)
end

calls.methods(Stats, "stats")
calls.methods(Dirent, "dirent")

stats.Stats, stats.Dirent = Stats, Dirent
return stats
