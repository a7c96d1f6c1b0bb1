/* json/state.c: owns the buffer that texts are written to, and the keys that texts had. It is a userdata in the
 * registry; its environment is the table of the keys' strings. Finalizers may run while a text is written or read, and
 * may do the same: so the buffer is taken away while it is in use. */
#include "json/state.h"

#include "host/hooks.h"
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

static int l_free(lua_State *L) {
  json_state_t *state = lua_touserdata(L, 1);
  free(state->text);
  free(state->keys);
  memset(state, 0, sizeof *state);
  return 0;
}

/* Pushes it. */
static json_state_t *make(lua_State *L) {
  luaL_checkstack(L, 4, NULL);
  json_state_t *state = lua_newuserdata(L, sizeof *state);
  memset(state, 0, sizeof *state);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, l_free);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  lua_pushvalue(L, -1);
  lua_rawseti(L, LUA_REGISTRYINDEX, SLOT_JSON);
  return state;
}

static json_state_t *push(lua_State *L) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, SLOT_JSON);
  json_state_t *state = lua_touserdata(L, -1);
  if (state) return state;
  lua_pop(L, 1);
  return make(L);
}

json_state_t *json_state(lua_State *L) {
  json_state_t *state = push(L);
  lua_pop(L, 1);
  return state;
}

json_state_t *json_state_with_keys(lua_State *L) {
  json_state_t *state = push(L);
  if (!state->keys) {
    lua_createtable(L, JSON_SHAPES_AT, 0);
    lua_setfenv(L, -2);
    state->keys = calloc(1, sizeof *state->keys);
    if (!state->keys) luaL_error(L, "not enough memory");
  }
  lua_getfenv(L, -1);
  lua_replace(L, -2);
  return state;
}
