/* files/lock.c: advisory locks on whole files, flock(2). A lock belongs to the open file, not to the descriptor: whoever
 * waits for one holds a copy of the descriptor, so that a number that was closed and given to another file meanwhile is
 * noticed (`isSame`) and never locked. Without blocking the call runs on libuv's pool, since a file system over a wire
 * may take its time; it never waits there for the lock. */
#include "files/files.h"
#include "host/callback.h"
#include "host/errors.h"
#include "host/vm.h"

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
#include <uv.h>

/* One attempt on the pool; on_tried frees it. */
typedef struct {
  uv_work_t work;
  lua_State *L;
  int fd, operation;
  int rc;
  int callback; /* registry ref */
} attempt_t;

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

static void try_lock(uv_work_t *work) {
  attempt_t *attempt = (attempt_t *)work;
  attempt->rc = lock(attempt->fd, attempt->operation | LOCK_NB);
}

static void on_tried(uv_work_t *work, int status) {
  attempt_t *attempt = (attempt_t *)work;
  lua_State *L = attempt->L;
  int rc = status < 0 ? status : attempt->rc, callback = attempt->callback;
  free(attempt);
  lua_State *co = callback_begin(L);
  lua_rawgeti(co, LUA_REGISTRYINDEX, callback);
  luaL_unref(co, LUA_REGISTRYINDEX, callback);
  callback_run(co, errors_code(co, rc));
}

/* tryFlock(fd, operation, callback): callback(true) later, or (nil, the code's name); EAGAIN: another has it */
static int l_try_flock(lua_State *L) {
  int fd = (int)luaL_checkinteger(L, 1), operation = (int)luaL_checkinteger(L, 2);
  luaL_checktype(L, 3, LUA_TFUNCTION);
  attempt_t *attempt = malloc(sizeof *attempt);
  if (!attempt) return luaL_error(L, "not enough memory");
  vm_t *vm = vm_of(L);
  *attempt = (attempt_t){.L = vm_state(vm), .fd = fd, .operation = operation};
  lua_settop(L, 3);
  attempt->callback = luaL_ref(L, LUA_REGISTRYINDEX);
  uv_queue_work(vm_loop(vm), &attempt->work, try_lock, on_tried);
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
