/* host/wait.c: the module `lrun.core.wait`, on which `await` stands: a callback that continues the coroutine that waits
 * for it.
 *
 * `callback()` makes one for the coroutine that runs: a C closure whose upvalues are the coroutine, what has
 * happened, and, when it was called before anybody waited, what it was given. `wait(callback)` returns that,
 * or suspends until the callback is called. Only the closure holds the coroutine: dropping it frees both. */
#include "host/callback.h"
#include "host/errors.h"
#include "host/modules.h"

#include <lauxlib.h>

enum { PENDING, WAITING, DONE };

/* Upvalues. COUNT values are in FIRST … or, when there are more than fit, in a table in FIRST. */
enum { CO = 1, STATE, COUNT, FIRST, LAST = FIRST + 2 };

static void set_number(lua_State *L, int upvalue, int value) {
  lua_pushinteger(L, value);
  lua_replace(L, lua_upvalueindex(upvalue));
}

/* Called before anybody waits: keeps the arguments. */
static void keep(lua_State *L, int count) {
  set_number(L, COUNT, count);
  if (count <= LAST - FIRST + 1) {
    for (int i = count; i > 0; i--) lua_replace(L, lua_upvalueindex(FIRST + i - 1));
    return;
  }
  lua_createtable(L, count, 0);
  for (int i = 1; i <= count; i++) {
    lua_pushvalue(L, i);
    lua_rawseti(L, -2, i);
  }
  lua_replace(L, lua_upvalueindex(FIRST));
}

/* The callback. Only its first call counts. */
static int on_called(lua_State *L) {
  int state = (int)lua_tointeger(L, lua_upvalueindex(STATE));
  if (state == DONE) return 0;
  int count = lua_gettop(L);
  if (state == PENDING) {
    set_number(L, STATE, DONE);
    keep(L, count);
    return 0;
  }
  lua_State *co = lua_tothread(L, lua_upvalueindex(CO));
  callback_check_depth(L);
  /* Asked of `co`, told to the caller: an error may not be thrown on a coroutine that does not run. */
  if (!lua_checkstack(co, count)) return luaL_error(L, "too many results for await");
  set_number(L, STATE, DONE);
  if (lua_status(co) != LUA_YIELD) {
    return errors_throw(L, "ERR_INVALID_STATE",
                        "somebody else resumed a coroutine that was to wait in await");
  }
  lua_xmove(L, co, count);
  callback_resume(co, count);
  return 0;
}

static int l_callback(lua_State *L) {
  if (lua_pushthread(L)) {
    return errors_throw(L, "ERR_INVALID_STATE",
                        "await must be called inside a coroutine: a request handler, a listener, the main "
                        "script, or await.spawn");
  }
  if (!lua_isyieldable(L)) {
    return errors_throw(L, "ERR_INVALID_STATE",
                        "await cannot wait inside a function that was called from C, such as table.sort's or "
                        "string.gsub's, or a file that dofile runs");
  }
  lua_pushinteger(L, PENDING);
  lua_pushinteger(L, 0);
  for (int i = FIRST; i <= LAST; i++) lua_pushnil(L);
  lua_pushcclosure(L, on_called, LAST);
  return 1;
}

static int l_wait(lua_State *L) {
  lua_settop(L, 1);
  lua_getupvalue(L, 1, STATE);
  if (lua_tointeger(L, -1) == PENDING) {
    lua_pushinteger(L, WAITING);
    lua_setupvalue(L, 1, STATE);
    return lua_yield(L, 0);
  }
  lua_getupvalue(L, 1, COUNT);
  int count = (int)lua_tointeger(L, -1);
  luaL_checkstack(L, count + 1, "await");
  if (count <= LAST - FIRST + 1) {
    for (int i = 0; i < count; i++) lua_getupvalue(L, 1, FIRST + i);
    return count;
  }
  lua_getupvalue(L, 1, FIRST);
  int values = lua_gettop(L);
  for (int i = 1; i <= count; i++) lua_rawgeti(L, values, i);
  return count;
}

int luaopen_lrun_wait(lua_State *L) {
  static const luaL_Reg functions[] = {{"callback", l_callback}, {"wait", l_wait}, {NULL, NULL}};
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  return 1;
}
