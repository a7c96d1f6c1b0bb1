/* http/shared.c: see http/shared.h. One userdata in the registry owns it. */
#include "http/shared.h"
#include "host/vm.h"

#include <lauxlib.h>
#include <string.h>
#include <time.h>

static const char shared_key = 'h'; /* its address is the registry key */

static http_shared_t *make(lua_State *L) {
  lua_pushlightuserdata(L, (void *)&shared_key);
  http_shared_t *shared = lua_newuserdata(L, sizeof *shared);
  memset(shared, 0, sizeof *shared);
  vm_t *vm = vm_of(L);
  shared->L = vm_state(vm);
  shared->loop = vm_loop(vm);
  shared->door = callback_state(L);
  shared->stats = stats_of(L);
  if (shared->stats == NULL) luaL_error(L, "not enough memory");
  for (int i = 0; i < HTTP_CALLBACKS; i++) shared->callbacks[i] = LUA_NOREF;
  lua_rawset(L, LUA_REGISTRYINDEX);
  return shared;
}

http_shared_t *http_shared(lua_State *L) {
  lua_pushlightuserdata(L, (void *)&shared_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  http_shared_t *shared = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return shared != NULL ? shared : make(L);
}

const char *http_shared_date(http_shared_t *shared) {
  uint64_t now = uv_now(shared->loop);
  if (now < shared->date_until) return shared->date;
  static const char days[] = "SunMonTueWedThuFriSat";
  static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
  struct timespec wall;
  struct tm tm;
  clock_gettime(CLOCK_REALTIME, &wall);
  gmtime_r(&wall.tv_sec, &tm);
  strftime(shared->date, sizeof shared->date, "Date: ---, %d --- %Y %H:%M:%S GMT\r\n", &tm);
  memcpy(shared->date + 6, days + 3 * (size_t)tm.tm_wday,
         3); /* not by strftime: never in the user's language */
  memcpy(shared->date + 14, months + 3 * (size_t)tm.tm_mon, 3);
  shared->date_until = now + 1000 - (uint64_t)wall.tv_nsec / 1000000;
  return shared->date;
}
