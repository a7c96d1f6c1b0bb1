/* terminal/interrupt.c: SIGINT → a hook that throws in the Lua code that runs, or a wake-up of the loop; and the
 * module `lrun.core.interrupt`.
 *
 * A signal handler has only static state. A signal that finds the loop idle is taken from it at once; a
 * second one that finds the first still there means that something other than a guarded chunk runs and does
 * not return, so that is made to throw too; a fourth, some seconds later, ends the process. */
#include "terminal/interrupt.h"

#include "io/output.h"

#include "host/callback.h"
#include "host/modules.h"
#include "host/vm.h"
#include <errno.h>
#include <lauxlib.h>
#include <signal.h>
#include <string.h>
#include <time.h>

enum { FORCE_AFTER = 2, END_AFTER = 4, END_SECONDS = 3 };

static struct {
  lua_State *L;
  uv_async_t *wake; /* NULL when closed */
  volatile sig_atomic_t guarded;
  volatile sig_atomic_t pending; /* signals that nobody has taken */
  volatile sig_atomic_t hooked;
  volatile time_t since; /* when the first of them came */
  struct sigaction before;
} state;

/* The runtime's own code is not interrupted: it reports what became of the chunk. */
static bool is_user_code(lua_State *L, lua_Debug *activation) {
  if (!lua_getinfo(L, "S", activation)) return false;
  return activation->what[0] != 'C' && strncmp(activation->source, "=lrun:", 6) != 0 &&
         strncmp(activation->source, "lrun:", 5) != 0;
}

static void on_hook(lua_State *L, lua_Debug *activation) {
  if (!is_user_code(L, activation)) return;
  if (!state.guarded) {
    lua_sethook(L, NULL, 0, 0);
    state.hooked = state.pending = 0;
  }
  luaL_error(L, "interrupted!");
}

static time_t seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec;
}

static void on_signal(int number) {
  int saved = errno;
  if (state.pending++ == 0) state.since = seconds();
  if (state.guarded || state.pending >= FORCE_AFTER) {
    state.hooked = 1;
    lua_sethook(state.L, on_hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
  }
  if (state.pending >= END_AFTER && seconds() - state.since >= END_SECONDS) {
    sigaction(number, &state.before, NULL);
    raise(number);
  }
  if (state.wake) uv_async_send(state.wake);
  errno = saved;
}

static void install(struct sigaction *before) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, before);
}

void interrupt_open(lua_State *L, uv_async_t *wake) {
  state.L = L;
  state.wake = wake;
  install(&state.before);
}

void interrupt_renew(void) {
  struct sigaction now;
  if (!state.wake || sigaction(SIGINT, NULL, &now) != 0) return;
  if (now.sa_handler == SIG_DFL || output_guards(SIGINT)) install(NULL);
}

/* While a chunk runs, SIGINT makes it throw "interrupted!" again and again until the guard is taken off. Code
 * that LuaJIT has compiled does not notice: the caller sees to it that none runs. */
static void guard(lua_State *L) {
  state.L = L;
  state.pending = 0;
  state.guarded = 1;
  interrupt_renew();
}

/* Returns whether it was interrupted. */
static bool unguard(lua_State *L) {
  bool interrupted = state.hooked;
  state.guarded = 0;
  if (interrupted) {
    lua_sethook(L, NULL, 0, 0);
    state.hooked = state.pending = 0;
  }
  return interrupted;
}

bool interrupt_take(void) {
  bool any = state.pending > 0;
  state.pending = 0;
  return any;
}

void interrupt_close(void) {
  if (!state.wake) return;
  state.wake = NULL;
  sigaction(SIGINT, &state.before, NULL);
}

/* The module `lrun.core.interrupt` ------------------------------------------------------------------------ */

/* guard(f, ...): calls f, which SIGINT stops → whether it did. */
static int l_guard(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  guard(vm_state(vm_of(L)));
  callback_enter(L, lua_gettop(L) - 1);
  lua_pushboolean(L, unguard(L));
  return 1;
}

/* wake(async): SIGINT sends luv's async handle, where there is no line editing. */
static int l_wake(lua_State *L) {
  uv_async_t **wake = luaL_checkudata(L, 1, "uv_async");
  interrupt_open(vm_state(vm_of(L)), *wake);
  return 0;
}

/* taken(): whether SIGINT came since the last time. */
static int l_taken(lua_State *L) {
  lua_pushboolean(L, interrupt_take());
  return 1;
}

int luaopen_lrun_interrupt(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"guard", l_guard}, {"wake", l_wake}, {"taken", l_taken}, {NULL, NULL}};
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  return 1;
}
