/* host/luv_handles.c: opens luv on our loop and tells its handles from the host's own.
 * luv's `walk` takes every handle of the loop for one of its own; ours passes the others over. Its `run`
 * knows nothing of process.nextTick; ours lets the ticks run as they do in the host's own loop. Its `spawn` and
 * `kill` know nothing of what was printed; ours give it to the kernel first. libuv's loop
 * cannot run inside itself, and what it calls could not bear it: there `run` throws; `loop_close` is refused. */
#include "host/callback.h"
#include "host/modules.h"
#include "host/vm.h"

#include <lauxlib.h>
#include <luv/lhandle.h>

static void on_walk(uv_handle_t *handle, void *arg) {
  lua_State *L = arg;
  const luv_handle_t *data = handle->data;
  if (!data || data->ctx != luv_context(L)) return;
  lua_rawgeti(L, LUA_REGISTRYINDEX, data->ref);
  lua_rawseti(L, 2, (int)lua_objlen(L, 2) + 1);
}

/* walk(f): collects first, since f may open and close handles. */
static int l_walk(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_newtable(L);
  uv_walk(luv_loop(L), on_walk, L);
  for (int i = 1, count = (int)lua_objlen(L, 2); i <= count; i++) {
    lua_pushvalue(L, 1);
    lua_rawgeti(L, 2, i);
    lua_call(L, 1, 0);
  }
  return 0;
}

/* run([mode]): the upvalue is luv's. What calls it goes on when the loop has ended, or was stopped. */
static int l_run(lua_State *L) {
  int count = lua_gettop(L);
  if (vm_set_running(vm_of(L), true))
    return luaL_error(L, "the loop is running: a callback cannot run it again");
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  int depth = callback_leave(L);
  int rc = lua_pcall(L, count, LUA_MULTRET, 0);
  callback_return(L, depth);
  vm_set_running(vm_of(L), false);
  return rc == 0 ? lua_gettop(L) : lua_error(L);
}

/* The upvalue is luv's. What was printed or answered before is out before a child prints, a signal ends this process, or
 * it sleeps. */
static int l_flushed(lua_State *L) {
  vm_flush(vm_of(L), false);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  return lua_gettop(L);
}

/* loop_close(): the loop is the host's, and is in use as long as the process lives. */
static int l_loop_close(lua_State *L) {
  lua_pushnil(L);
  lua_pushfstring(L, "%s: %s", uv_err_name(UV_EBUSY), uv_strerror(UV_EBUSY));
  lua_pushstring(L, uv_err_name(UV_EBUSY));
  return 3;
}

int luaopen_lrun_luv(lua_State *L) {
  luaopen_luv(L);
  lua_getfield(L, -1, "run");
  lua_pushcclosure(L, l_run, 1);
  lua_setfield(L, -2, "run");
  for (const char *const *name = (const char *const[]){"spawn", "kill", "sleep", NULL}; *name; name++) {
    lua_getfield(L, -1, *name);
    lua_pushcclosure(L, l_flushed, 1);
    lua_setfield(L, -2, *name);
  }
  lua_pushcfunction(L, l_walk);
  lua_setfield(L, -2, "walk");
  lua_pushcfunction(L, l_loop_close);
  lua_setfield(L, -2, "loop_close");
  return 1;
}
