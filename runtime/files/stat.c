/* files/stat.c: stat, lstat and fstat, blocking and as attempts. What they tell goes to Lua as numbers, from which fs makes
 * its Stats: that is less work than a table made here. */
#include "files/attempt.h"
#include "files/files.h"
#include "files/path.h"
#include "host/errors.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <sys/sysmacros.h>

static void push_time(lua_State *L, const struct statx_timestamp *time) {
  lua_pushnumber(L, (double)time->tv_sec * 1000 + (double)time->tv_nsec / 1e6);
}

/* mode, dev, ino, nlink, uid, gid, rdev, size, blksize, blocks, atimeMs, mtimeMs, ctimeMs, birthtimeMs */
int files_push_stat(lua_State *L, const struct statx *stat) {
  lua_pushinteger(L, stat->stx_mode);
  lua_pushnumber(L, (double)makedev(stat->stx_dev_major, stat->stx_dev_minor));
  lua_pushnumber(L, (double)stat->stx_ino);
  lua_pushnumber(L, stat->stx_nlink);
  lua_pushnumber(L, stat->stx_uid);
  lua_pushnumber(L, stat->stx_gid);
  lua_pushnumber(L, (double)makedev(stat->stx_rdev_major, stat->stx_rdev_minor));
  lua_pushnumber(L, (double)stat->stx_size);
  lua_pushnumber(L, stat->stx_blksize);
  lua_pushnumber(L, (double)stat->stx_blocks);
  push_time(L, &stat->stx_atime);
  push_time(L, &stat->stx_mtime);
  push_time(L, &stat->stx_ctime);
  /* Where the file system keeps none, libuv's statx has zeros. */
  push_time(L, &stat->stx_btime);
  return 14;
}

static int stat_now(lua_State *L, int fd, const char *path, int flags) {
  struct statx stat = {0};
  if (statx(fd, path, flags, STATX_BASIC_STATS | STATX_BTIME, &stat) < 0) return errors_code(L, -errno);
  return files_push_stat(L, &stat);
}

static int stat_cached(lua_State *L, int flags) {
  attempt_t found;
  int rc = attempt_find(files_path(L, 1), flags, &found);
  if (rc != 0) return files_unanswered(L, rc);
  attempt_end(&found);
  return files_push_stat(L, &found.stat);
}

/* stat(path), lstat(path), fstat(fd) → numbers, or nil and the code's name */
static int l_stat(lua_State *L) { return stat_now(L, AT_FDCWD, files_path(L, 1), 0); }
static int l_lstat(lua_State *L) { return stat_now(L, AT_FDCWD, files_path(L, 1), AT_SYMLINK_NOFOLLOW); }
static int l_fstat(lua_State *L) { return stat_now(L, (int)luaL_checkinteger(L, 1), "", AT_EMPTY_PATH); }

/* The attempts: the same, or false. */
static int l_try_stat(lua_State *L) { return stat_cached(L, 0); }
static int l_try_lstat(lua_State *L) { return stat_cached(L, O_NOFOLLOW); }

static int l_try_fstat(lua_State *L) {
  struct statx stat;
  mount_t *mount;
  int rc = attempt_look((int)luaL_checkinteger(L, 1), &stat, &mount);
  return rc == 0 ? files_push_stat(L, &stat) : files_unanswered(L, rc);
}

void files_stat_register(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"stat", l_stat},          {"lstat", l_lstat},        {"fstat", l_fstat}, {"tryStat", l_try_stat},
      {"tryLstat", l_try_lstat}, {"tryFstat", l_try_fstat}, {NULL, NULL}};
  luaL_register(L, NULL, functions);
}
