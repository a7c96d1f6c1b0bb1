/* files/stat.c: stat, lstat, fstat and exists, blocking and as attempts. What a stat tells is left in one array of numbers, from
 * which Lua makes its Stats: compiled code calls these functions through the FFI and reads the numbers where they lie, which
 * costs less than a table made here, or fourteen results. */
#include "files/attempt.h"
#include "files/files.h"
#include "host/userdata.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* mode, dev, ino, nlink, uid, gid, rdev, size, blksize, blocks, atimeMs, mtimeMs, ctimeMs, birthtimeMs */
static double told[14];

static double milliseconds(const struct statx_timestamp *time) {
  return (double)time->tv_sec * 1000 + (double)time->tv_nsec / 1e6;
}

void files_tell_stat(const struct statx *stat) {
  double *to = told;
  *to++ = stat->stx_mode;
  *to++ = (double)makedev(stat->stx_dev_major, stat->stx_dev_minor);
  *to++ = (double)stat->stx_ino;
  *to++ = stat->stx_nlink;
  *to++ = stat->stx_uid;
  *to++ = stat->stx_gid;
  *to++ = (double)makedev(stat->stx_rdev_major, stat->stx_rdev_minor);
  *to++ = (double)stat->stx_size;
  *to++ = stat->stx_blksize;
  *to++ = (double)stat->stx_blocks;
  *to++ = milliseconds(&stat->stx_atime);
  *to++ = milliseconds(&stat->stx_mtime);
  *to++ = milliseconds(&stat->stx_ctime);
  *to = milliseconds(&stat->stx_btime); /* where the file system keeps none, libuv's statx has zeros */
}

static int stat_now(int fd, const char *path, int flags) {
  struct statx stat = {0};
  if (statx(fd, path, flags, STATX_BASIC_STATS | STATX_BTIME, &stat) < 0) return -errno;
  files_tell_stat(&stat);
  return 0;
}

static int stat_cached(const char *path, int flags) {
  attempt_t found;
  int rc = attempt_find(path, flags, &found);
  if (rc != 0) return rc;
  attempt_end(&found);
  files_tell_stat(&found.stat);
  return 0;
}

/* Called through the FFI. stat(path), lstat(path), fstat(fd) → 0, or a negative errno; the attempts also ATTEMPT_POOL. A path has
 * no NUL. */
static int stat_path(const char *path) { return stat_now(AT_FDCWD, path, 0); }
static int stat_link(const char *path) { return stat_now(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW); }
static int stat_fd(int fd) { return stat_now(fd, "", AT_EMPTY_PATH); }
static int try_path(const char *path) { return stat_cached(path, 0); }
static int try_link(const char *path) { return stat_cached(path, O_NOFOLLOW); }

static int try_fd(int fd) {
  struct statx stat;
  mount_t *mount;
  int rc = attempt_look(fd, &stat, &mount);
  if (rc == 0) files_tell_stat(&stat);
  return rc;
}

/* exists(path) → whether it does */
static bool exists(const char *path) { return access(path, F_OK) == 0; }

void files_stat_register(lua_State *L) {
  lua_pushlightuserdata(L, told);
  lua_setfield(L, -2, "told");
  lua_pushinteger(L, ATTEMPT_POOL);
  lua_setfield(L, -2, "POOL");
  userdata_address(L, "stat", (address_t)stat_path);
  userdata_address(L, "lstat", (address_t)stat_link);
  userdata_address(L, "fstat", (address_t)stat_fd);
  userdata_address(L, "tryStat", (address_t)try_path);
  userdata_address(L, "tryLstat", (address_t)try_link);
  userdata_address(L, "tryFstat", (address_t)try_fd);
  userdata_address(L, "exists", (address_t)exists);
}
