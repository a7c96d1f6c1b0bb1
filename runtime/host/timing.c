/* host/timing.c: the module `lrun.core.timing`: the three handles that all of timers.lua stands on, a timer for the list
 * that is due next, a check handle that runs immediates, and an idle handle that keeps the loop from waiting while there
 * are any. They live as long as the process and keep the loop alive only where timers.lua says so. */
#include "host/callback.h"
#include "host/modules.h"
#include "host/userdata.h"
#include "host/vm.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <uv.h>

static struct {
  lua_State *L;
  uv_timer_t timer;
  uv_check_t check;
  uv_idle_t idle;
  int on_timer, on_check; /* registry refs of Lua functions */
} timing;                 /* one, as the loop of the process is */

static int call(int function, bool begins) {
  lua_State *co = callback_begin(timing.L);
  lua_rawgeti(co, LUA_REGISTRYINDEX, function);
  lua_pushboolean(co, begins);
  return callback_run(co, 1);
}

/* The function calls those of the program itself: until it returns there may be others. That its coroutine was
 * taken it learns when it is called again: no tick may run before, which could have that coroutine go on. */
static void call_all(int function) {
  callback_open_turn(timing.L);
  for (bool begins = true; call(function, begins) != CALLBACK_DONE; begins = false) {}
  callback_close_turn(timing.L);
}

static void on_timer(uv_timer_t *handle) {
  (void)handle;
  call_all(timing.on_timer);
}

static void on_check(uv_check_t *handle) {
  (void)handle;
  call_all(timing.on_check);
}

static void on_idle(uv_idle_t *handle) { (void)handle; }

/* The next five are called through the FFI, so that the compiler sees through what sets and clears timers. */

/* The loop's clock in milliseconds. It stands still while Lua runs: this brings it up to date. */
static double now(void) {
  uv_loop_t *loop = timing.timer.loop;
  uv_update_time(loop);
  return (double)uv_now(loop);
}

/* The timer's function is called once, so long after what `now` said last. */
static void arm(double ms) { uv_timer_start(&timing.timer, on_timer, (uint64_t)ms, 0); }

/* Whether the timer keeps the loop alive. */
static void keep(bool on) {
  uv_handle_t *handle = (uv_handle_t *)&timing.timer;
  if (on) uv_ref(handle);
  else uv_unref(handle);
}

/* Whether the check function is called in every turn of the loop. */
static void check(bool on) {
  if (on) uv_check_start(&timing.check, on_check);
  else uv_check_stop(&timing.check);
}

/* Whether the loop turns on without waiting, and is kept alive. */
static void idle(bool on) {
  if (on) uv_idle_start(&timing.idle, on_idle);
  else uv_idle_stop(&timing.idle);
}

/* open(onTimer, onCheck): both are called with true, then with false until they return; they run the ticks
 * in between. */
static int l_open(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  timing.on_check = luaL_ref(L, LUA_REGISTRYINDEX);
  timing.on_timer = luaL_ref(L, LUA_REGISTRYINDEX);
  return 0;
}

int luaopen_lrun_timing(lua_State *L) {
  uv_loop_t *loop = vm_loop(vm_of(L));
  timing.L = vm_state(vm_of(L));
  uv_timer_init(loop, &timing.timer);
  uv_check_init(loop, &timing.check);
  uv_idle_init(loop, &timing.idle);
  uv_unref((uv_handle_t *)&timing.timer);
  uv_unref((uv_handle_t *)&timing.check);
  lua_newtable(L);
  lua_pushcfunction(L, l_open);
  lua_setfield(L, -2, "open");
  userdata_address(L, "now", (address_t)now);
  userdata_address(L, "arm", (address_t)arm);
  userdata_address(L, "keep", (address_t)keep);
  userdata_address(L, "check", (address_t)check);
  userdata_address(L, "idle", (address_t)idle);
  return 1;
}
