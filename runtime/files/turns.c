/* files/turns.c: delivers answers that were there at once: owns the idle handle, which keeps the loop from waiting, and
 * alive, while the queue of lrun/fs/turns.lua holds any. In: turns.push writes behind the last entry, and wakes us at the
 * first. Out: once a turn each entry that is there becomes a call through host/callback; what these add waits for the next. */
#include "files/files.h"
#include "host/callback.h"
#include "host/userdata.h"
#include "host/vm.h"

#include <lauxlib.h>
#include <uv.h>

enum { WIDTH = 4 }; /* values of an entry */

static struct {
  lua_State *L;
  uv_idle_t idle;
  int queue; /* registry ref */
} turns;     /* one, as the loop of the process is */

static int length_of(lua_State *L, int queue) {
  lua_rawgeti(L, queue, 0);
  int length = (int)lua_tointeger(L, -1);
  lua_pop(L, 1);
  return length;
}

/* Moves an entry to a coroutine, and calls it there with the arguments up to the last that is not nil, at least one. */
static void deliver(lua_State *L, int queue, int at) {
  lua_State *co = callback_begin(L);
  int count = 0;
  for (int i = 0; i < WIDTH; i++) {
    lua_rawgeti(L, queue, at + i + 1);
    if (lua_isnil(L, -1)) continue;
    count = i;
    lua_pushnil(L);
    lua_rawseti(L, queue, at + i + 1);
  }
  lua_xmove(L, co, WIDTH);
  if (count == 0) count = 1;
  lua_settop(co, count + 1);
  callback_run(co, count);
}

/* Moves what was added to the front; returns how many values that is. */
static int close_up(lua_State *L, int queue, int done) {
  int length = length_of(L, queue);
  for (int i = done + 1; i <= length; i++) {
    lua_rawgeti(L, queue, i);
    lua_rawseti(L, queue, i - done);
    lua_pushnil(L);
    lua_rawseti(L, queue, i);
  }
  lua_pushinteger(L, length - done);
  lua_rawseti(L, queue, 0);
  return length - done;
}

static void on_idle(uv_idle_t *handle) {
  lua_State *L = turns.L;
  lua_rawgeti(L, LUA_REGISTRYINDEX, turns.queue);
  int queue = lua_gettop(L), length = length_of(L, queue);
  for (int at = 0; at < length; at += WIDTH) deliver(L, queue, at);
  if (close_up(L, queue, length) == 0) uv_idle_stop(handle);
  lua_pop(L, 1);
}

/* turns(queue): once */
static int l_turns(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  turns.queue = luaL_ref(L, LUA_REGISTRYINDEX);
  return 0;
}

/* awake(): the queue is not empty any more. Called through the FFI. */
static void awake(void) { uv_idle_start(&turns.idle, on_idle); }

void files_turns_register(lua_State *L) {
  vm_t *vm = vm_of(L);
  turns.L = vm_state(vm);
  uv_idle_init(vm_loop(vm), &turns.idle);
  lua_pushcfunction(L, l_turns);
  lua_setfield(L, -2, "turns");
  userdata_address(L, "awake", (address_t)awake);
}
