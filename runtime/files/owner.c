/* files/owner.c: owners of descriptors: the last way out for one whose holder in Lua was collected before it closed it.
 * `take` ends the ownership; after it whoever took the number closes it. */
#include "files/files.h"
#include "host/userdata.h"

#include <lauxlib.h>
#include <unistd.h>

#define CLASS "lrun.files.owner"

typedef struct {
  int fd; /* -1 once taken */
} owner_t;

/* own(fd) → owner */
static int l_own(lua_State *L) {
  int fd = (int)luaL_checkinteger(L, 1);
  owner_t *owner = lua_newuserdata(L, sizeof *owner);
  owner->fd = fd;
  luaL_getmetatable(L, CLASS);
  lua_setmetatable(L, -2);
  return 1;
}

/* owner:take() → fd, or -1 when it was taken before */
static int l_take(lua_State *L) {
  owner_t *owner = luaL_checkudata(L, 1, CLASS);
  lua_pushinteger(L, owner->fd);
  owner->fd = -1;
  return 1;
}

static int l_gc(lua_State *L) {
  owner_t *owner = luaL_checkudata(L, 1, CLASS);
  if (owner->fd >= 0) close(owner->fd);
  owner->fd = -1;
  return 0;
}

void files_owner_register(lua_State *L) {
  static const luaL_Reg methods[] = {{"take", l_take}, {"__gc", l_gc}, {NULL, NULL}};
  userdata_class(L, CLASS, methods);
  lua_pushcfunction(L, l_own);
  lua_setfield(L, -2, "own");
}
