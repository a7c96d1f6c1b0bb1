/* json.c (fuzz): a text that passes the check is one that lua-cjson builds a value of; the value, written and
 * read again, is written the same; a text that does not pass has its fault within it. */
#include "json.h"
#include "modules.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdint.h>
#include <stdlib.h>

static void check(int good) {
  if (!good) abort();
}

static lua_State *state; /* one for all inputs: making it costs more than they do */

/* The leak checker does not look into LuaJIT's memory. */
static void close_state(void) { lua_close(state); }

/* Leaves the decoder and the encoder in the registry. */
static lua_State *open_state(void) {
  lua_State *L = luaL_newstate();
  check(L != NULL);
  lua_pushcfunction(L, luaopen_cjson);
  lua_call(L, 0, 1);
  lua_getfield(L, -1, "decode");
  lua_setfield(L, LUA_REGISTRYINDEX, "decode");
  lua_pushcfunction(L, luaopen_lrun_json);
  lua_call(L, 0, 1);
  lua_getfield(L, -1, "encode");
  lua_setfield(L, LUA_REGISTRYINDEX, "encode");
  lua_settop(L, 0);
  return L;
}

static void decode(lua_State *L, const char *text, size_t length) {
  lua_getfield(L, LUA_REGISTRYINDEX, "decode");
  lua_pushlstring(L, text, length);
  check(lua_pcall(L, 1, 1, 0) == 0);
}

/* The value on the top → its text; false when it cannot be written (1e999 is an infinite number). */
static int encode(lua_State *L) {
  lua_getfield(L, LUA_REGISTRYINDEX, "encode");
  lua_insert(L, -2);
  check(lua_pcall(L, 1, 1, 0) == 0);
  return !lua_isnil(L, -1);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  json_fault_t fault = {0};
  if (!state) {
    state = open_state();
    check(atexit(close_state) == 0);
  }
  lua_State *L = state;
  if (json_check((const char *)bytes, size, &fault) < 0) {
    check(fault.offset <= size && fault.reason != NULL);
    return 0;
  }
  lua_settop(L, 0);
  decode(L, (const char *)bytes, size);
  if (!encode(L)) return 0;
  size_t length, again;
  const char *text = lua_tolstring(L, 1, &length);
  check(json_check(text, length, &fault) == 0);
  decode(L, text, length);
  check(encode(L));
  lua_tolstring(L, 2, &again);
  check(length == again); /* not the bytes: the order of keys may be another */
  return 0;
}
