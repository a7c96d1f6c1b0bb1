/* host/timing.c: the module `lrun.core.timing`: the three handles that all of timers.lua stands on, a timer for the list
 * that is due next, a check handle that runs immediates, and an idle handle that keeps the loop from waiting while there
 * are any. They live as long as the process and keep the loop alive only where timers.lua says so. */
#include "host/callback.h"
#include "host/modules.h"
#include "host/vm.h"

#include <lauxlib.h>
#include <uv.h>

static struct {
  lua_State *L;
  uv_timer_t timer;
  uv_check_t check;
  uv_idle_t idle;
  int on_timer, on_check; /* registry refs of Lua functions */
} timing;                 /* one, as the loop of the process is */

static void call(int function) {
  lua_State *co = callback_begin(timing.L);
  lua_rawgeti(co, LUA_REGISTRYINDEX, function);
  callback_run(co, 0);
}

static void on_timer(uv_timer_t *handle) {
  (void)handle;
  call(timing.on_timer);
}

static void on_check(uv_check_t *handle) {
  (void)handle;
  call(timing.on_check);
}

static void on_idle(uv_idle_t *handle) { (void)handle; }

static int number(lua_State *L, uint64_t ms) {
  lua_pushnumber(L, (lua_Number)ms);
  return 1;
}

/* now(): the loop's clock in milliseconds. It stands still while Lua runs: this brings it up to date. */
static int l_now(lua_State *L) {
  uv_loop_t *loop = timing.timer.loop;
  uv_update_time(loop);
  return number(L, uv_now(loop));
}

/* arm(ms): the timer's function is called once, so long after what `now` said last. */
static int l_arm(lua_State *L) {
  uv_timer_start(&timing.timer, on_timer, (uint64_t)lua_tonumber(L, 1), 0);
  return 0;
}

/* keep(on): whether the timer keeps the loop alive */
static int l_keep(lua_State *L) {
  uv_handle_t *handle = (uv_handle_t *)&timing.timer;
  if (lua_toboolean(L, 1)) uv_ref(handle);
  else uv_unref(handle);
  return 0;
}

/* check(on): whether the check function is called in every turn of the loop */
static int l_check(lua_State *L) {
  if (lua_toboolean(L, 1)) uv_check_start(&timing.check, on_check);
  else uv_check_stop(&timing.check);
  return 0;
}

/* idle(on): whether the loop turns on without waiting, and is kept alive */
static int l_idle(lua_State *L) {
  if (lua_toboolean(L, 1)) uv_idle_start(&timing.idle, on_idle);
  else uv_idle_stop(&timing.idle);
  return 0;
}

/* open(onTimer, onCheck) */
static int l_open(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  timing.on_check = luaL_ref(L, LUA_REGISTRYINDEX);
  timing.on_timer = luaL_ref(L, LUA_REGISTRYINDEX);
  return 0;
}

int luaopen_lrun_timing(lua_State *L) {
  static const luaL_Reg functions[] = {{"open", l_open},   {"now", l_now},   {"arm", l_arm}, {"keep", l_keep},
                                       {"check", l_check}, {"idle", l_idle}, {NULL, NULL}};
  uv_loop_t *loop = vm_loop(vm_of(L));
  timing.L = vm_state(vm_of(L));
  uv_timer_init(loop, &timing.timer);
  uv_check_init(loop, &timing.check);
  uv_idle_init(loop, &timing.idle);
  uv_unref((uv_handle_t *)&timing.timer);
  uv_unref((uv_handle_t *)&timing.check);
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  return 1;
}
