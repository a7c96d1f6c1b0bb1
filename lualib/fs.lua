--- Files. Source: Node 20, the part that programs use most, over libuv.
---
--- Every function has two forms. `fs.name(…, callback)` calls back with `(err, value)`, never before it has returned, so
--- `local err, text = await(fs.readFile, path)` works. `fs.nameSync(…)` blocks the process and returns the value or
--- throws. Errors are error objects: `ENOENT: no such file or directory, open 'x'` with `code`, `errno`, `syscall`, `path`
--- (and `dest`). A wrong argument throws at the call, in both forms, and names the argument.
---
--- Where Lua differs: data are strings, `encoding` options are accepted and change nothing. `read` returns the data.
--- Modes are numbers or octal strings ("644"), as Lua has no octal literals. Times are milliseconds (`stats.mtimeMs`).
local ffi = require("ffi")
local uv = require("luv")
local core = require("lrun.core.files")
local calls = require("lrun.check.calls")
local validate = require("lrun.check.validate")
local process = require("process")
local arguments = require("lrun.fs.arguments")
local forms = require("lrun.fs.forms")
local handles = require("lrun.fs.handle")
local lock = require("lrun.fs.lock")
local stats = require("lrun.fs.stats")
local streams = require("lrun.fs.streams")
local watcher = require("lrun.fs.watch")
local ways = require("lrun.fs.ways")

local O = uv.constants

---@class fs
---@field Stats Stats the class, as the next five
---@field Dirent Dirent
---@field FileHandle FileHandle
---@field ReadStream ReadStream
---@field WriteStream WriteStream
---@field FSWatcher FSWatcher
---@field constants table<string, integer>
local fs = {
  Stats = stats.Stats, Dirent = stats.Dirent, FileHandle = handles.FileHandle,
  ReadStream = streams.ReadStream, WriteStream = streams.WriteStream, FSWatcher = watcher.FSWatcher,
  constants = {
    F_OK = 0, X_OK = 1, W_OK = 2, R_OK = 4, COPYFILE_EXCL = 1, COPYFILE_FICLONE = 2, COPYFILE_FICLONE_FORCE = 4,
    O_RDONLY = O.O_RDONLY, O_WRONLY = O.O_WRONLY, O_RDWR = O.O_RDWR, O_CREAT = O.O_CREAT, O_EXCL = O.O_EXCL,
    O_TRUNC = O.O_TRUNC, O_APPEND = O.O_APPEND, O_SYNC = O.O_SYNC, O_DSYNC = O.O_DSYNC, O_NONBLOCK = O.O_NONBLOCK,
    O_NOCTTY = O.O_NOCTTY,
  },
}

local sync, async = forms.sync, forms.async
local exists = ffi.cast("bool (*)(const char *)", core.exists)

-- Whole files ---------------------------------------------------------------------------------------------------------

---@class ReadFileOptions
---@field flag (string|integer)? default "r"
---@field signal AbortSignal? stops the reading between two system calls: `ABORT_ERR`
---@field encoding string? accepted, changes nothing

--- Reads a whole file, up to 2 GiB; of a descriptor, what follows its position.
---@param path string|integer path, or descriptor
---@param options (ReadFileOptions|string)?
---@param callback fun(err: Error?, data: string?)
function fs.readFile(path, options, callback) async("readFile", path, options, callback) end

---@param path string|integer
---@param options (ReadFileOptions|string)?
---@return string data
function fs.readFileSync(path, options) return sync("readFile", path, options) end

---@class WriteFileOptions
---@field flag (string|integer)? default "w"; "a" for appendFile
---@field mode (integer|string)? of a file that is made: default 0666 without the umask
---@field signal AbortSignal?
---@field encoding string?

--- Writes a whole file, made or emptied first.
---@param path string|integer path, or descriptor
---@param data string
---@param options (WriteFileOptions|string)?
---@param callback fun(err: Error?)
function fs.writeFile(path, data, options, callback) async("writeFile", path, data, options, callback) end

---@param path string|integer
---@param data string
---@param options (WriteFileOptions|string)?
function fs.writeFileSync(path, data, options) sync("writeFile", path, data, options) end

--- Writes at the end of a file, which is made when it is missing.
---@param path string|integer path, or descriptor
---@param data string
---@param options (WriteFileOptions|string)?
---@param callback fun(err: Error?)
function fs.appendFile(path, data, options, callback) async("appendFile", path, data, options, callback) end

---@param path string|integer
---@param data string
---@param options (WriteFileOptions|string)?
function fs.appendFileSync(path, data, options) sync("appendFile", path, data, options) end

--- Copies a file.
---@param src string
---@param dest string
---@param mode integer? `fs.constants.COPYFILE_EXCL`: not over a file that is there
---@param callback fun(err: Error?)
function fs.copyFile(src, dest, mode, callback) async("copyFile", src, dest, mode, callback) end

---@param src string
---@param dest string
---@param mode integer?
function fs.copyFileSync(src, dest, mode) sync("copyFile", src, dest, mode) end

-- Descriptors ---------------------------------------------------------------------------------------------------------

--- Opens a file.
---@param path string
---@param flags (string|integer)? default "r"
---@param mode (integer|string)? default 0666 without the umask
---@param callback fun(err: Error?, fd: integer?)
function fs.open(path, flags, mode, callback) async("open", path, flags, mode, callback) end

---@param path string
---@param flags (string|integer)?
---@param mode (integer|string)?
---@return integer fd
function fs.openSync(path, flags, mode) return sync("open", path, flags, mode) end

--- Closes a descriptor.
---@param fd integer
---@param callback fun(err: Error?)
function fs.close(fd, callback) async("close", fd, callback) end

---@param fd integer
function fs.closeSync(fd) sync("close", fd) end

--- Reads up to `length` bytes; "" at the end. Ours: Node fills a buffer.
---@param fd integer
---@param length integer bytes
---@param position integer? from the start of the file; default where the descriptor stands
---@param callback fun(err: Error?, data: string?)
function fs.read(fd, length, position, callback) async("read", fd, length, position, callback) end

---@param fd integer
---@param length integer
---@param position integer?
---@return string data
function fs.readSync(fd, length, position) return sync("read", fd, length, position) end

--- Writes once; fewer bytes may be written than were given.
---@param fd integer
---@param data string
---@param position integer? default where the descriptor stands
---@param callback fun(err: Error?, written: integer?)
function fs.write(fd, data, position, callback) async("write", fd, data, position, callback) end

---@param fd integer
---@param data string
---@param position integer?
---@return integer written bytes
function fs.writeSync(fd, data, position) return sync("write", fd, data, position) end

--- `stat` of an open file.
---@param fd integer
---@param callback fun(err: Error?, stats: Stats?)
function fs.fstat(fd, callback) async("fstat", fd, callback) end

---@param fd integer
---@return Stats
function fs.fstatSync(fd) return sync("fstat", fd) end

--- Has the file's data and attributes written to its disk.
---@param fd integer
---@param callback fun(err: Error?)
function fs.fsync(fd, callback) async("fsync", fd, callback) end

---@param fd integer
function fs.fsyncSync(fd) sync("fsync", fd) end

--- Has the file's data written to its disk, with what is needed to read them.
---@param fd integer
---@param callback fun(err: Error?)
function fs.fdatasync(fd, callback) async("fdatasync", fd, callback) end

---@param fd integer
function fs.fdatasyncSync(fd) sync("fdatasync", fd) end

--- Cuts an open file to `length` bytes, or lengthens it with NULs.
---@param fd integer
---@param length integer? bytes; default 0
---@param callback fun(err: Error?)
function fs.ftruncate(fd, length, callback) async("ftruncate", fd, length, callback) end

---@param fd integer
---@param length integer?
function fs.ftruncateSync(fd, length) sync("ftruncate", fd, length) end

--- `chmod` of an open file.
---@param fd integer
---@param mode integer|string
---@param callback fun(err: Error?)
function fs.fchmod(fd, mode, callback) async("fchmod", fd, mode, callback) end

---@param fd integer
---@param mode integer|string
function fs.fchmodSync(fd, mode) sync("fchmod", fd, mode) end

--- `chown` of an open file.
---@param fd integer
---@param uid integer
---@param gid integer
---@param callback fun(err: Error?)
function fs.fchown(fd, uid, gid, callback) async("fchown", fd, uid, gid, callback) end

---@param fd integer
---@param uid integer
---@param gid integer
function fs.fchownSync(fd, uid, gid) sync("fchown", fd, uid, gid) end

--- `utimes` of an open file.
---@param fd integer
---@param atime number seconds since 1970
---@param mtime number seconds since 1970
---@param callback fun(err: Error?)
function fs.futimes(fd, atime, mtime, callback) async("futimes", fd, atime, mtime, callback) end

---@param fd integer
---@param atime number
---@param mtime number
function fs.futimesSync(fd, atime, mtime) sync("futimes", fd, atime, mtime) end

--- Locks an open file against other openings of it, in this process and others: a shared lock, an exclusive one, or none.
--- Waits until whoever holds one gives it up; a lock ends with the opening. Ours, not Node's: flock(2).
---@param fd integer
---@param kind "sh"|"ex"|"un"
---@param options FlockOptions?
---@param callback fun(err: Error?)
function fs.flock(fd, kind, options, callback) lock.async(fd, kind, options, callback) end

---@param fd integer
---@param kind "sh"|"ex"|"un"
---@param options FlockOptions?
function fs.flockSync(fd, kind, options) lock.sync(fd, kind, options) end

--- Opens a file as an object with methods, which closes the file when it is collected. Node has it as `fs.promises.open`.
---@param path string
---@param flags (string|integer)? default "r"
---@param mode (integer|string)? default 0666 without the umask
---@param callback fun(err: Error?, handle: FileHandle?)
function fs.openHandle(path, flags, mode, callback) async("openHandle", path, flags, mode, callback) end

---@param path string
---@param flags (string|integer)?
---@param mode (integer|string)?
---@return FileHandle handle
function fs.openHandleSync(path, flags, mode) return sync("openHandle", path, flags, mode) end

-- What is there -------------------------------------------------------------------------------------------------------

--- What a path leads to, through symbolic links.
---@param path string
---@param options table? accepted, changes nothing
---@param callback fun(err: Error?, stats: Stats?)
function fs.stat(path, options, callback) async("stat", path, options, callback) end

---@param path string
---@param options { throwIfNoEntry: boolean? }? false: nil when there is nothing
---@return Stats? stats
function fs.statSync(path, options) return sync("stat", path, options) end

--- What a path names, a symbolic link included.
---@param path string
---@param options table? accepted, changes nothing
---@param callback fun(err: Error?, stats: Stats?)
function fs.lstat(path, options, callback) async("lstat", path, options, callback) end

---@param path string
---@param options { throwIfNoEntry: boolean? }?
---@return Stats? stats
function fs.lstatSync(path, options) return sync("lstat", path, options) end

--- Whether the path leads to something.
---@param path string
---@return boolean
function fs.existsSync(path) return arguments.isPath(path) and exists(path) end

--- Calls back with whether the path leads to something, and nothing else. A path that cannot be one leads to nothing.
---@param path string
---@param callback fun(exists: boolean)
function fs.exists(path, callback)
  validate.func(callback, "cb")
  if not arguments.isPath(path) then return process.nextTick(callback, false) end
  async("access", path, 0, function(err) callback(err == nil) end)
end

--- Calls back with an error unless the file may be used so.
---@param path string
---@param mode integer? `fs.constants.R_OK` + `W_OK` + `X_OK`; default `F_OK`: it is there
---@param callback fun(err: Error?)
function fs.access(path, mode, callback) async("access", path, mode, callback) end

---@param path string
---@param mode integer?
function fs.accessSync(path, mode) sync("access", path, mode) end

---@class ReaddirOptions
---@field withFileTypes boolean? a Dirent for each in place of its name
---@field recursive boolean? what is in directories below, too
---@field encoding string?

--- The names in a directory, sorted, without `.` and `..`.
---@param path string
---@param options (ReaddirOptions|string)?
---@param callback fun(err: Error?, names: (string|Dirent)[]?)
function fs.readdir(path, options, callback) async("readdir", path, options, callback) end

---@param path string
---@param options (ReaddirOptions|string)?
---@return (string|Dirent)[] names
function fs.readdirSync(path, options) return sync("readdir", path, options) end

--- The absolute path without symbolic links, `.` and `..`.
---@param path string
---@param options table? accepted, changes nothing
---@param callback fun(err: Error?, path: string?)
function fs.realpath(path, options, callback) async("realpath", path, options, callback) end

---@param path string
---@param options table?
---@return string
function fs.realpathSync(path, options) return sync("realpath", path, options) end

--- What a symbolic link says.
---@param path string
---@param options table? accepted, changes nothing
---@param callback fun(err: Error?, target: string?)
function fs.readlink(path, options, callback) async("readlink", path, options, callback) end

---@param path string
---@param options table?
---@return string target
function fs.readlinkSync(path, options) return sync("readlink", path, options) end

---@class FsCounters
---@field cache integer system calls of functions with a callback that were answered at once, from what is in memory
---@field pool integer those that the thread pool made
---@field calls table<string, { cache: integer, pool: integer }> the same by system call; `readFile` counts whole files as one
---@field refused string[] what the kernel or a container does not let the attempts use

--- How the functions with a callback, and the streams, came to their answers since the process began. Ours, not Node's.
---@return FsCounters
function fs.counters()
  local result = { cache = 0, pool = 0, calls = ways.counts(), refused = core.refused() }
  for _, counts in pairs(result.calls) do
    result.cache, result.pool = result.cache + counts.cache, result.pool + counts.pool
  end
  return result
end

-- Changes -------------------------------------------------------------------------------------------------------------

--- Renames or moves, over what is there, within one file system.
---@param oldPath string
---@param newPath string
---@param callback fun(err: Error?)
function fs.rename(oldPath, newPath, callback) async("rename", oldPath, newPath, callback) end

---@param oldPath string
---@param newPath string
function fs.renameSync(oldPath, newPath) sync("rename", oldPath, newPath) end

--- Removes a file or a symbolic link.
---@param path string
---@param callback fun(err: Error?)
function fs.unlink(path, callback) async("unlink", path, callback) end

---@param path string
function fs.unlinkSync(path) sync("unlink", path) end

--- Makes a symbolic link at `path` that says `target`.
---@param target string
---@param path string
---@param type string? "file", "dir" or "junction": changes nothing here
---@param callback fun(err: Error?)
function fs.symlink(target, path, type, callback) async("symlink", target, path, type, callback) end

---@param target string
---@param path string
---@param type string?
function fs.symlinkSync(target, path, type) sync("symlink", target, path, type) end

--- Changes the permissions.
---@param path string
---@param mode integer|string
---@param callback fun(err: Error?)
function fs.chmod(path, mode, callback) async("chmod", path, mode, callback) end

---@param path string
---@param mode integer|string
function fs.chmodSync(path, mode) sync("chmod", path, mode) end

--- Makes another name for a file, a hard link.
---@param existingPath string
---@param newPath string
---@param callback fun(err: Error?)
function fs.link(existingPath, newPath, callback) async("link", existingPath, newPath, callback) end

---@param existingPath string
---@param newPath string
function fs.linkSync(existingPath, newPath) sync("link", existingPath, newPath) end

--- Cuts a file to `length` bytes, or lengthens it with NULs.
---@param path string
---@param length integer? bytes; default 0
---@param callback fun(err: Error?)
function fs.truncate(path, length, callback) async("truncate", path, length, callback) end

---@param path string
---@param length integer?
function fs.truncateSync(path, length) sync("truncate", path, length) end

--- Changes owner and group; -1 leaves one as it is.
---@param path string
---@param uid integer
---@param gid integer
---@param callback fun(err: Error?)
function fs.chown(path, uid, gid, callback) async("chown", path, uid, gid, callback) end

---@param path string
---@param uid integer
---@param gid integer
function fs.chownSync(path, uid, gid) sync("chown", path, uid, gid) end

--- `chown` of a symbolic link itself.
---@param path string
---@param uid integer
---@param gid integer
---@param callback fun(err: Error?)
function fs.lchown(path, uid, gid, callback) async("lchown", path, uid, gid, callback) end

---@param path string
---@param uid integer
---@param gid integer
function fs.lchownSync(path, uid, gid) sync("lchown", path, uid, gid) end

--- Sets the times of access and modification.
---@param path string
---@param atime number seconds since 1970, as in Node: `stats.atimeMs / 1000`
---@param mtime number seconds since 1970
---@param callback fun(err: Error?)
function fs.utimes(path, atime, mtime, callback) async("utimes", path, atime, mtime, callback) end

---@param path string
---@param atime number
---@param mtime number
function fs.utimesSync(path, atime, mtime) sync("utimes", path, atime, mtime) end

--- `utimes` of a symbolic link itself.
---@param path string
---@param atime number seconds since 1970
---@param mtime number seconds since 1970
---@param callback fun(err: Error?)
function fs.lutimes(path, atime, mtime, callback) async("lutimes", path, atime, mtime, callback) end

---@param path string
---@param atime number
---@param mtime number
function fs.lutimesSync(path, atime, mtime) sync("lutimes", path, atime, mtime) end

---@class CpOptions
---@field recursive boolean? a directory with all that is in it
---@field force boolean? false: what is there stays. Default true: it is replaced
---@field errorOnExist boolean? with `force = false`: what is there is an error, `ERR_FS_CP_EEXIST`
---@field dereference boolean? what symbolic links lead to in place of the links
---@field verbatimSymlinks boolean? links say what they said; default: they are made absolute
---@field preserveTimestamps boolean?
---@field mode integer? as `copyFile`'s
---@field filter (fun(src: string, dest: string): boolean)? false: not this one, nor what is in it

--- Copies a file, a symbolic link, or with `recursive` a directory.
---@param src string
---@param dest string the copy itself, not the directory for it
---@param options CpOptions?
---@param callback fun(err: Error?)
function fs.cp(src, dest, options, callback) async("cp", src, dest, options, callback) end

---@param src string
---@param dest string
---@param options CpOptions?
function fs.cpSync(src, dest, options) sync("cp", src, dest, options) end

---@class MkdirOptions
---@field recursive boolean? also the directories above; no error when it is there
---@field mode (integer|string)? default 0777 without the umask

--- Makes a directory. With `recursive` the value is the first directory that was made, or nil.
---@param path string
---@param options (MkdirOptions|integer|string)? a mode, or options
---@param callback fun(err: Error?, first: string?)
function fs.mkdir(path, options, callback) async("mkdir", path, options, callback) end

---@param path string
---@param options (MkdirOptions|integer|string)?
---@return string? first
function fs.mkdirSync(path, options) return sync("mkdir", path, options) end

--- Makes a directory of a new name: `prefix` and six random characters.
---@param prefix string
---@param options table? accepted, changes nothing
---@param callback fun(err: Error?, path: string?)
function fs.mkdtemp(prefix, options, callback) async("mkdtemp", prefix, options, callback) end

---@param prefix string
---@param options table?
---@return string path
function fs.mkdtempSync(prefix, options) return sync("mkdtemp", prefix, options) end

--- Removes an empty directory; with `recursive` one with all that is in it.
---@param path string
---@param options { recursive: boolean? }?
---@param callback fun(err: Error?)
function fs.rmdir(path, options, callback) async("rmdir", path, options, callback) end

---@param path string
---@param options { recursive: boolean? }?
function fs.rmdirSync(path, options) sync("rmdir", path, options) end

--- Removes a file, or with `recursive` a directory and all that is in it. Symbolic links are removed, not followed.
---@param path string
---@param options { recursive: boolean?, force: boolean? }? `force`: no error when there is nothing
---@param callback fun(err: Error?)
function fs.rm(path, options, callback) async("rm", path, options, callback) end

---@param path string
---@param options { recursive: boolean?, force: boolean? }?
function fs.rmSync(path, options) sync("rm", path, options) end

-- Streams and watchers ------------------------------------------------------------------------------------------------

--- A stream of what is in a file. Events, besides a readable stream's: `open (fd)`, `ready`.
---@param path string? may be nil when `options.fd` is given
---@param options (ReadStreamOptions|string)?
---@return ReadStream
function fs.createReadStream(path, options) return streams.ReadStream:new(path, options) end

--- A stream into a file. Events, besides a writable stream's: `open (fd)`, `ready`.
---@param path string? may be nil when `options.fd` is given
---@param options (WriteStreamOptions|string)?
---@return WriteStream
function fs.createWriteStream(path, options) return streams.WriteStream:new(path, options) end

--- Watches a file, or what is in a directory; with `recursive` all that is below it. Throws when there is nothing.
---@param filename string
---@param options (WatchOptions|string)?
---@param listener fun(eventType: "rename"|"change", filename: string?)? for the event `change`
---@return FSWatcher
function fs.watch(filename, options, listener) return watcher.watch(filename, options, listener) end

calls.functions(fs, "fs")

return fs
