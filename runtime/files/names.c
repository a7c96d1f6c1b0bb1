/* files/names.c: what is asked of names alone: access, readlink, realpath. Blocking, as attempts, and access on the pool,
 * as luv does not tell why it was refused. */
#include "files/attempt.h"
#include "files/files.h"
#include "files/path.h"
#include "files/work.h"
#include "host/errors.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* access(path, mode) → true, or nil and the code's name */
static int l_access(lua_State *L) {
  const char *path = files_path(L, 1);
  return errors_code(L, access(path, (int)luaL_checkinteger(L, 2)) < 0 ? -errno : 0);
}

typedef struct {
  work_t work;
  int mode, rc;
  char path[];
} access_work_t;

static void run_access(work_t *work) {
  access_work_t *job = (access_work_t *)work;
  job->rc = access(job->path, job->mode) < 0 ? -errno : 0;
}

static int push_access(work_t *work, lua_State *co) { return errors_code(co, ((access_work_t *)work)->rc); }
static void free_access(work_t *work) { free(work); }

/* poolAccess(path, mode, callback): the same later */
static int l_pool_access(lua_State *L) {
  const char *path = files_path(L, 1);
  int mode = (int)luaL_checkinteger(L, 2);
  luaL_checktype(L, 3, LUA_TFUNCTION);
  size_t size = strlen(path) + 1;
  access_work_t *job = malloc(sizeof *job + size);
  if (!job) return luaL_error(L, "not enough memory");
  job->work = (work_t){.run = run_access, .push = push_access, .free = free_access};
  job->mode = mode;
  memcpy(job->path, path, size);
  work_start(L, &job->work, 3);
  return 0;
}

/* tryAccess(path, mode): that it is there its name tells */
static int l_try_access(lua_State *L) {
  const char *path = files_path(L, 1);
  int mode = (int)luaL_checkinteger(L, 2);
  attempt_t found;
  int rc = mode == F_OK ? attempt_name(path, 0, &found) : attempt_find(path, 0, &found);
  if (rc == 0) {
    if (mode != F_OK) rc = attempt_access(&found, mode, 0); /* by the real ids, as access(2) */
    attempt_end(&found);
  }
  return rc == ATTEMPT_POOL ? files_unanswered(L, rc) : errors_code(L, rc);
}

/* A link's text may lie on the disk. To follow the link the kernel needs it: where that goes without waiting, or is found to
 * lead nowhere, the text is in memory. */
static bool is_text_cached(const char *path) {
  attempt_t beyond;
  int rc = attempt_name(path, 0, &beyond);
  if (rc == 0) attempt_end(&beyond);
  return rc != ATTEMPT_POOL;
}

static int push_link(lua_State *L, int fd, const char *name) {
  char text[PATH_MAX];
  ssize_t length = readlinkat(fd, name, text, sizeof text);
  if (length < 0 || length == sizeof text) return files_unanswered(L, ATTEMPT_POOL);
  lua_pushlstring(L, text, (size_t)length);
  return 1;
}

/* tryReadlink(path) */
static int l_try_readlink(lua_State *L) {
  const char *path = files_path(L, 1);
  attempt_t found;
  int rc = attempt_find(path, O_NOFOLLOW, &found);
  if (rc != 0) return files_unanswered(L, rc);
  int results;
  if (!S_ISLNK(found.stat.stx_mode)) results = files_unanswered(L, -EINVAL);
  else if (is_text_cached(path)) results = push_link(L, found.fd, "");
  else results = files_unanswered(L, ATTEMPT_POOL);
  attempt_end(&found);
  return results;
}

/* tryRealpath(path): the kernel knows by which names it came to the thing. One that was removed meanwhile has none. */
static int l_try_realpath(lua_State *L) {
  static const char removed[] = " (deleted)";
  attempt_t found;
  int rc = attempt_find(files_path(L, 1), 0, &found);
  if (rc != 0) return files_unanswered(L, rc);
  char name[ATTEMPT_PROC_NAME], text[PATH_MAX];
  ssize_t length = -1;
  if (attempt_has_proc()) {
    attempt_proc_name(name, found.fd);
    length = readlink(name, text, sizeof text);
  }
  attempt_end(&found);
  size_t tail = sizeof removed - 1;
  if (length <= 0 || length == sizeof text || text[0] != '/') return files_unanswered(L, ATTEMPT_POOL);
  if ((size_t)length >= tail && memcmp(text + length - tail, removed, tail) == 0)
    return files_unanswered(L, ATTEMPT_POOL);
  lua_pushlstring(L, text, (size_t)length);
  return 1;
}

void files_names_register(lua_State *L) {
  static const luaL_Reg functions[] = {{"access", l_access},
                                       {"poolAccess", l_pool_access},
                                       {"tryAccess", l_try_access},
                                       {"tryReadlink", l_try_readlink},
                                       {"tryRealpath", l_try_realpath},
                                       {NULL, NULL}};
  luaL_register(L, NULL, functions);
}
