/* files/turns.c: owns the idle handle by which answers that were there at once are delivered: `onTurn` is called once a turn
 * of the loop for as long as it is awake, which keeps the loop from waiting, and alive. */
#include "files/files.h"
#include "host/callback.h"
#include "host/vm.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <uv.h>

static struct {
  lua_State *L;
  uv_idle_t idle;
  int on_turn; /* registry ref */
} turns;       /* one, as the loop of the process is */

static void on_idle(uv_idle_t *handle) {
  (void)handle;
  lua_State *co = callback_begin(turns.L);
  lua_rawgeti(co, LUA_REGISTRYINDEX, turns.on_turn);
  callback_run(co, 0);
}

/* turns(onTurn): once */
static int l_turns(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  turns.on_turn = luaL_ref(L, LUA_REGISTRYINDEX);
  return 0;
}

/* awake(on) */
static int l_awake(lua_State *L) {
  if (lua_toboolean(L, 1)) uv_idle_start(&turns.idle, on_idle);
  else uv_idle_stop(&turns.idle);
  return 0;
}

void files_turns_register(lua_State *L) {
  static const luaL_Reg functions[] = {{"turns", l_turns}, {"awake", l_awake}, {NULL, NULL}};
  vm_t *vm = vm_of(L);
  turns.L = vm_state(vm);
  uv_idle_init(vm_loop(vm), &turns.idle);
  luaL_register(L, NULL, functions);
}
