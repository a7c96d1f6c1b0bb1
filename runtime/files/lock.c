/* files/lock.c: advisory locks on whole files, flock(2). A lock belongs to the open file, not to the descriptor: whoever
 * waits for one holds a copy of the descriptor, so that a number that was closed and given to another file meanwhile is
 * noticed (`isSame`) and never locked. Without blocking the call runs on libuv's pool, since a file system over a wire
 * may take its time; it never waits there for the lock. */
#include "files/files.h"
#include "files/work.h"
#include "host/errors.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <linux/kcmp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* One attempt on the pool. */
typedef struct {
  work_t work;
  int fd, operation, rc;
} trial_t;

static int result_of(int rc) { return rc < 0 ? -errno : rc; }

static int lock(int fd, int operation) {
  int rc;
  do rc = result_of(flock(fd, operation));
  while (rc == -EINTR);
  return rc;
}

/* flock(fd, operation) → true, or nil and the code's name. Blocks unless LOCK_NB is in the operation. */
static int l_flock(lua_State *L) {
  return errors_code(L, lock((int)luaL_checkinteger(L, 1), (int)luaL_checkinteger(L, 2)));
}

static void run_trial(work_t *work) {
  trial_t *trial = (trial_t *)work;
  trial->rc = lock(trial->fd, trial->operation | LOCK_NB);
}

static int push_trial(work_t *work, lua_State *co) { return errors_code(co, ((trial_t *)work)->rc); }

static void free_trial(work_t *work) { free(work); }

/* tryFlock(fd, operation, callback): callback(true) later, or (nil, the code's name); EAGAIN: another has it */
static int l_try_flock(lua_State *L) {
  int fd = (int)luaL_checkinteger(L, 1), operation = (int)luaL_checkinteger(L, 2);
  luaL_checktype(L, 3, LUA_TFUNCTION);
  trial_t *trial = malloc(sizeof *trial);
  if (!trial) return luaL_error(L, "not enough memory");
  *trial = (trial_t){
      .work = {.run = run_trial, .push = push_trial, .free = free_trial}, .fd = fd, .operation = operation};
  work_start(L, &trial->work, 3);
  return 0;
}

/* duplicate(fd) → another descriptor of the same open file, or nil and the code's name */
static int l_duplicate(lua_State *L) {
  int rc = result_of(fcntl((int)luaL_checkinteger(L, 1), F_DUPFD_CLOEXEC, 0));
  if (rc < 0) return errors_code(L, rc);
  lua_pushinteger(L, rc);
  return 1;
}

/* Where kcmp(2) is refused, the same file is the best that can be told. */
static bool is_same(int fd, int other) {
  pid_t self = getpid();
  long order = syscall(SYS_kcmp, self, self, KCMP_FILE, fd, other);
  if (order >= 0) return order == 0;
  struct stat one, two;
  return fstat(fd, &one) == 0 && fstat(other, &two) == 0 && one.st_dev == two.st_dev &&
         one.st_ino == two.st_ino;
}

/* isSame(fd, other): whether both are descriptors of one open file */
static int l_is_same(lua_State *L) {
  lua_pushboolean(L, is_same((int)luaL_checkinteger(L, 1), (int)luaL_checkinteger(L, 2)));
  return 1;
}

void files_lock_register(lua_State *L) {
  static const luaL_Reg functions[] = {{"flock", l_flock},
                                       {"tryFlock", l_try_flock},
                                       {"duplicate", l_duplicate},
                                       {"isSame", l_is_same},
                                       {NULL, NULL}};
  luaL_register(L, NULL, functions);
  lua_pushinteger(L, LOCK_NB);
  lua_setfield(L, -2, "LOCK_NB");
  lua_pushinteger(L, LOCK_SH);
  lua_setfield(L, -2, "LOCK_SH");
  lua_pushinteger(L, LOCK_EX);
  lua_setfield(L, -2, "LOCK_EX");
  lua_pushinteger(L, LOCK_UN);
  lua_setfield(L, -2, "LOCK_UN");
}
