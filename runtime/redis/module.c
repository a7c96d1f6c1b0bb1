/* redis/module.c: the module `lrun.core.redis`: a parser as a userdata. */
#include "redis/resp.h"

#include "host/modules.h"
#include "host/userdata.h"
#include <lauxlib.h>
#include <string.h>

static const char *const class_name = "lrun.redis";

/* parser(most) → parser; `most` bytes may a reply have */
static int l_parser(lua_State *L) {
  double most = luaL_checknumber(L, 1);
  resp_t *r = lua_newuserdata(L, sizeof *r);
  memset(r, 0, sizeof *r);
  r->bulk = -1;
  r->most = (uint64_t)most;
  luaL_getmetatable(L, class_name);
  lua_setmetatable(L, -2);
  lua_newtable(L);
  lua_setfenv(L, -2);
  return 1;
}

/* feed(data, list, makeError, pushes) → how many replies the list has now; behind a fault also what it was. Null is
 * json.null. */
static int l_feed(lua_State *L) {
  resp_t *r = luaL_checkudata(L, 1, class_name);
  size_t len;
  const char *data = luaL_checklstring(L, 2, &len);
  lua_settop(L, 5);
  int n = r->fault ? -1 : resp_feed(L, r, 1, 4, 5, 3, 0, data, len);
  lua_pushinteger(L, n < 0 ? -1 - n : n);
  if (n >= 0) return 1;
  lua_pushstring(L, r->fault);
  return 2;
}

static int l_gc(lua_State *L) {
  resp_free(luaL_checkudata(L, 1, class_name));
  return 0;
}

int luaopen_lrun_redis(lua_State *L) {
  static const luaL_Reg methods[] = {{"feed", l_feed}, {"__gc", l_gc}, {NULL, NULL}};
  userdata_class(L, class_name, methods);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, l_parser);
  lua_setfield(L, -2, "parser");
  return 1;
}
