/* host/wait.c: the module `lrun.core.wait`: what `await` needs of the host, a coroutine that is suspended until its callback
 * comes, and then goes on by the host's door.
 *
 * `park()` suspends the coroutine that runs; `resume(co, ...)` continues one that is parked, as a callback of the
 * host's own. Nothing here holds the coroutine: whoever drops the callback frees both. */
#include "host/callback.h"
#include "host/errors.h"
#include "host/modules.h"
#include "host/userdata.h"

#include <lauxlib.h>
#include <stdbool.h>

/* park(...): returns what `resume` is given; the arguments go to whoever resumed this coroutine. */
static int l_park(lua_State *L) {
  callback_parks(L);
  return lua_yield(L, lua_gettop(L));
}

/* room(co, count): throws unless so many results go to the coroutine. */
static int l_room(lua_State *L) {
  /* Asked of `co`, told to the caller: an error may not be thrown on a coroutine that does not run. */
  if (!lua_checkstack(lua_tothread(L, 1), (int)lua_tointeger(L, 2)))
    return luaL_error(L, "too many results for await");
  return 0;
}

/* resume(co, ...): true when it went on to a yield of its own, whose values nobody gets. The caller has seen to it that
 * the stack of `co` has room. */
static int l_resume(lua_State *L) {
  lua_State *co = lua_tothread(L, 1);
  int count = lua_gettop(L) - 1;
  callback_check_depth(L);
  if (lua_status(co) != LUA_YIELD || !lua_checkstack(co, count)) {
    return errors_throw(L, "ERR_INVALID_STATE",
                        "somebody else resumed a coroutine that was to wait in await");
  }
  lua_xmove(L, co, count);
  lua_pushboolean(L, callback_resume(co, count) == CALLBACK_YIELDED);
  return 1;
}

/* running() → the coroutine that runs, and whether it is one of the host's. */
static int l_running(lua_State *L) {
  lua_pushthread(L);
  lua_pushboolean(L, callback_runs(L));
  return 2;
}

/* able(): whether the coroutine that runs can wait. */
static int l_able(lua_State *L) {
  lua_pushboolean(L, callback_can_wait(L, __builtin_frame_address(0)));
  return 1;
}

/* Through the FFI: true only where `able` would say so. False where Lua interprets the call, too: the FFI takes C's stack
 * then. */
static bool surely_able(const callbacks_t *callbacks) {
  return callback_surely_can_wait(callbacks, __builtin_frame_address(0));
}

int luaopen_lrun_wait(lua_State *L) {
  static const luaL_Reg functions[] = {{"park", l_park},       {"room", l_room}, {"resume", l_resume},
                                       {"running", l_running}, {"able", l_able}, {NULL, NULL}};
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  userdata_address(L, "surelyAble", (address_t)surely_able);
  lua_pushlightuserdata(L, (void *)callback_state(L)); /* what surelyAble wants */
  lua_setfield(L, -2, "host");
  return 1;
}
