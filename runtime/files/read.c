/* files/read.c: open, read, close and whole files: as attempts, and blocking for whole files. Bytes pass through one buffer
 * of this file, which grows to what one call may copy in a turn, on their way into a Lua string. */
#include "files/attempt.h"
#include "files/files.h"
#include "files/path.h"
#include "host/errors.h"
#include "host/userdata.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <unistd.h>

enum { FIRST_SIZE = 64 * 1024, WHOLE_MAX = 0x7fffffff };

static struct {
  char *bytes;
  size_t size;
} scratch;

/* Room for `size` bytes, at most ATTEMPT_BYTES, or NULL. */
static char *scratch_get(size_t size) {
  if (size <= scratch.size) return scratch.bytes;
  size = size <= FIRST_SIZE ? FIRST_SIZE : ATTEMPT_BYTES;
  free(scratch.bytes);
  scratch.bytes = malloc(size);
  scratch.size = scratch.bytes ? size : 0;
  return scratch.bytes;
}

/* Reads until `size` bytes are there, or the end; 0 or the failure. */
static int read_all(int fd, char *bytes, size_t size, size_t *done) {
  *done = 0;
  while (*done < size) {
    ssize_t rc = read(fd, bytes + *done, size - *done);
    if (rc < 0 && errno == EINTR) continue;
    if (rc < 0) return -errno;
    if (rc == 0) break;
    *done += (size_t)rc;
  }
  return 0;
}

/* The whole of a regular file, as far as its size says; ATTEMPT_POOL where that says nothing, and nothing was read. */
static int push_whole(lua_State *L, int fd) {
  struct stat stat;
  if (fstat(fd, &stat) < 0) return -errno;
  if (!S_ISREG(stat.st_mode) || stat.st_size <= 0 || stat.st_size > WHOLE_MAX) return ATTEMPT_POOL;
  size_t size = (size_t)stat.st_size, done;
  char *own = size > ATTEMPT_BYTES ? malloc(size) : NULL,
       *bytes = size > ATTEMPT_BYTES ? own : scratch_get(size);
  if (!bytes) return ATTEMPT_POOL;
  int rc = read_all(fd, bytes, size, &done);
  if (rc == 0) lua_pushlstring(L, bytes, done);
  free(own);
  return rc;
}

/* readFile(path) → the text; nil, the code's name and the call that failed; or the descriptor of what is no plain file, to
 * be read by other means. Blocks. */
static int l_read_file(lua_State *L) {
  const char *path = files_path(L, 1);
  int fd;
  do fd = open(path, O_RDONLY | O_CLOEXEC);
  while (fd < 0 && errno == EINTR);
  if (fd < 0) return errors_code(L, -errno);
  int rc = push_whole(L, fd);
  if (rc == ATTEMPT_POOL) {
    lua_pushinteger(L, fd);
    return 1;
  }
  close(fd);
  if (rc == 0) return 1;
  errors_code(L, rc);
  lua_pushliteral(L, "read");
  return 3;
}

/* What is left to whoever reads on with the descriptor. */
static void leave_nonblock(int fd, int flags) { fcntl(fd, F_SETFL, flags & ~O_NONBLOCK); }

/* tryReadFile(path) → the text; or the first part of it, the descriptor that the rest is to be read from, and the size of
 * the file; or as attempts return */
static int l_try_read_file(lua_State *L) {
  attempt_t found;
  if (attempt_refused.preadv2) return files_unanswered(L, ATTEMPT_POOL);
  int rc = attempt_find(files_path(L, 1), 0, &found);
  if (rc != 0) return files_unanswered(L, rc);
  bool wanted = S_ISREG(found.stat.stx_mode) && found.stat.stx_size > 0 && found.stat.stx_size <= WHOLE_MAX &&
                !found.mount->no_nowait;
  int fd = wanted ? attempt_open(&found, 0) : ATTEMPT_POOL;
  attempt_end(&found);
  if (fd < 0) return files_unanswered(L, ATTEMPT_POOL);
  size_t size = found.stat.stx_size, part = size < ATTEMPT_BYTES ? size : ATTEMPT_BYTES;
  char *bytes = scratch_get(part);
  bool partly;
  ssize_t got = bytes ? attempt_read(fd, found.mount, bytes, part, -1, &partly) : ATTEMPT_POOL;
  if (got < 0) { /* nothing of it is in memory: it is open, and the pool goes on from here */
    lua_pushliteral(L, "");
    partly = true;
  } else {
    lua_pushlstring(L, bytes, (size_t)got);
  }
  if (!partly && ((size_t)got < part || part == size)) {
    close(fd);
    return 1;
  }
  leave_nonblock(fd, O_RDONLY);
  lua_pushinteger(L, fd);
  lua_pushnumber(L, (double)size);
  return 3;
}

/* Called through the FFI. tryOpen(path, flags) → descriptor, a negative errno or ATTEMPT_POOL. A path has no NUL. */
static int try_open(const char *path, int flags) {
  const int harmless = O_CLOEXEC | O_NOCTTY | O_SYNC | O_DSYNC | O_LARGEFILE;
  if ((flags & ~harmless) != O_RDONLY) return ATTEMPT_POOL;
  attempt_t found;
  int rc = attempt_find(path, 0, &found);
  if (rc != 0) return rc;
  int fd = attempt_open(&found, flags & (O_SYNC | O_DSYNC));
  attempt_end(&found);
  if (fd < 0) return ATTEMPT_POOL;
  leave_nonblock(fd, flags);
  return fd;
}

/* What tryRead got: good until the next call of this file. */
static struct {
  const char *bytes;
  int more; /* whether there may be, before the end */
} got;

/* Called through the FFI. tryRead(fd, length, position) → how many bytes there are in `got`, a negative errno or ATTEMPT_POOL. */
static int try_read(int fd, double length, double position) {
  struct statx stat;
  mount_t *mount;
  if (attempt_refused.preadv2) return ATTEMPT_POOL;
  int rc = attempt_look(fd, &stat, &mount);
  if (rc != 0) return rc;
  if (!S_ISREG(stat.stx_mode)) return ATTEMPT_POOL;
  size_t size = length < ATTEMPT_BYTES ? (size_t)length : ATTEMPT_BYTES;
  char *bytes = scratch_get(size);
  if (!bytes) return ATTEMPT_POOL;
  bool partly;
  ssize_t n = attempt_read(fd, mount, bytes, size, (off_t)position, &partly);
  got.bytes = bytes;
  got.more = partly || ((size_t)n == size && (double)size < length);
  return (int)n;
}

/* Closing what was written may wait, and so may the end of a file that has no name any more. */
static int may_close(int fd) {
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return -errno;
  if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_PATH)) return ATTEMPT_POOL;
  struct statx stat;
  mount_t *mount;
  int rc = attempt_look(fd, &stat, &mount);
  if (rc != 0) return rc;
  return S_ISDIR(stat.stx_mode) || (S_ISREG(stat.stx_mode) && stat.stx_nlink > 0) ? 0 : ATTEMPT_POOL;
}

/* Called through the FFI. tryClose(fd) → 0, a negative errno or ATTEMPT_POOL. */
static int try_close(int fd) {
  int rc = may_close(fd);
  if (rc != 0) return rc;
  return close(fd) < 0 ? -errno : 0;
}

void files_read_register(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"readFile", l_read_file}, {"tryReadFile", l_try_read_file}, {NULL, NULL}};
  luaL_register(L, NULL, functions);
  userdata_address(L, "tryOpen", (address_t)try_open);
  userdata_address(L, "tryRead", (address_t)try_read);
  userdata_address(L, "tryClose", (address_t)try_close);
  lua_pushlightuserdata(L, &got);
  lua_setfield(L, -2, "got");
}
