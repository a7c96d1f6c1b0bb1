/* probe/guard.c: runs what somebody else typed, and stops it when he says so or is gone.
 *
 * Nothing is read while a chunk runs: a hook looks every so many instructions at what has come in on his connection,
 * without taking it. The end of it, or a call that names "interrupt", makes the chunk throw again and again until it has
 * ended. Code that LuaJIT has compiled before asks no hook.
 *
 * A chunk that has awaited runs on without that: whoever waits for it sends SIGUSR1, whose hook looks, too. */
#include "probe/guard.h"

#include "host/callback.h"
#include "host/vm.h"
#include "io/output.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

enum { LOOK_EVERY = 20000 /* instructions */, LOOK_AT = 4096 /* bytes */ };

static struct {
  int fd; /* of the connection whose chunk runs, or -1 */
  bool stopped;
  const lua_State *only; /* the coroutine that is to throw; NULL: all that runs */
  struct {
    lua_Hook call;
    int mask, count;
  } before; /* the program's own hook */
} guard = {.fd = -1};

/* Chunks that have awaited; an entry without a coroutine is free. */
enum { WAITING_MAX = 32 };
static struct {
  const lua_State *co;
  int fd;
} waiting[WAITING_MAX];

static bool is_to_stop(int fd) {
  static const char word[] = "\"interrupt\"";
  char bytes[LOOK_AT];
  ssize_t n = recv(fd, bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT);
  if (n == 0) return true;
  if (n < 0) return errno != EAGAIN && errno != EINTR;
  return memmem(bytes, (size_t)n, word, sizeof word - 1) != NULL;
}

/* The runtime's own code is not interrupted: it reports what became of the chunk. */
static bool is_user_code(lua_State *L, lua_Debug *activation) {
  if (!lua_getinfo(L, "S", activation)) return false;
  return activation->what[0] != 'C' && strncmp(activation->source, "=lrun:", 6) != 0 &&
         strncmp(activation->source, "lrun:", 5) != 0;
}

static void keep_hook(lua_State *L) {
  guard.before.call = lua_gethook(L);
  guard.before.mask = lua_gethookmask(L);
  guard.before.count = lua_gethookcount(L);
}

static void restore_hook(lua_State *L) {
  lua_sethook(L, guard.before.call, guard.before.mask, guard.before.count);
}

static void on_hook(lua_State *L, lua_Debug *activation) {
  if (!guard.stopped) {
    if (!is_to_stop(guard.fd)) return;
    guard.stopped = true;
    lua_sethook(L, on_hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
  }
  if ((!guard.only || guard.only == L) && is_user_code(L, activation)) luaL_error(L, "interrupted!");
}

void probe_guard_look(lua_State *L) {
  if (guard.fd >= 0 || guard.only) return;
  for (int i = 0; i < WAITING_MAX; i++) {
    if (waiting[i].co != L || !is_to_stop(waiting[i].fd)) continue;
    guard.only = L;
    guard.stopped = true;
    keep_hook(L);
    lua_sethook(L, on_hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
  }
}

/* waits(fd, coroutine or nil): the chunk of that connection has awaited, or has ended. */
int probe_l_waits(lua_State *L) {
  int fd = (int)luaL_checkinteger(L, 1);
  const lua_State *co = lua_tothread(L, 2);
  int place = -1;
  for (int i = 0; i < WAITING_MAX; i++) {
    if (waiting[i].co && waiting[i].fd == fd) {
      if (guard.only == waiting[i].co) {
        guard.only = NULL;
        restore_hook(L);
      }
      waiting[i].co = NULL;
    }
    if (!waiting[i].co && place < 0) place = i;
  }
  if (co && place >= 0) {
    waiting[place].co = co;
    waiting[place].fd = fd;
  }
  return 0;
}

/* guarded(fd, f) → whether it was stopped. Calls f, which the connection's other end may stop. */
int probe_l_guarded(lua_State *L) {
  int fd = (int)luaL_checkinteger(L, 1);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  if (guard.fd >= 0 || guard.only) return luaL_error(L, "another input runs");
  guard.fd = fd;
  guard.stopped = false;
  keep_hook(L);
  lua_sethook(L, on_hook, LUA_MASKCOUNT, LOOK_EVERY);
  lua_settop(L, 2);
  callback_enter(L, 0);
  restore_hook(L);
  guard.fd = -1;
  lua_pushboolean(L, guard.stopped);
  return 1;
}

/* size(userdata) → bytes, whatever its metatable says of `#`; nil for a bare pointer */
int probe_l_size(lua_State *L) {
  if (lua_type(L, 1) == LUA_TLIGHTUSERDATA) return 0;
  luaL_checktype(L, 1, LUA_TUSERDATA);
  lua_pushnumber(L, (lua_Number)lua_objlen(L, 1));
  return 1;
}

/* Copies of what is printed ------------------------------------------------------------------------------------------ */

static struct {
  lua_State *L;
  int listener; /* registry */
  bool running; /* what it prints itself is not for it */
} copies = {.listener = LUA_NOREF};

static void on_output(const char *bytes, size_t length) {
  if (copies.running) return;
  lua_State *L = copies.L;
  copies.running = true;
  lua_rawgeti(L, LUA_REGISTRYINDEX, copies.listener);
  lua_pushlstring(L, bytes, length);
  callback_enter(L, 1);
  copies.running = false;
}

/* tee(f or nil): f gets what is written to standard output, too. It must not throw. */
int probe_l_tee(lua_State *L) {
  lua_settop(L, 1);
  luaL_unref(L, LUA_REGISTRYINDEX, copies.listener);
  copies.listener = LUA_NOREF;
  copies.L = vm_state(vm_of(L));
  output_copy(lua_isnil(L, 1) ? NULL : on_output);
  if (!lua_isnil(L, 1)) copies.listener = luaL_ref(L, LUA_REGISTRYINDEX);
  return 0;
}
