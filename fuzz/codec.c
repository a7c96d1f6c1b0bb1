/* Fuzzes the codec of the Lua wire (json/module.c does that of the JSON wire). Bytes that check_serialized lets through
 * must decode, without more memory than they can fill. */
#include "ipc/check.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdint.h>
#include <stdlib.h>

/* The leak checker does not look into LuaJIT's own arenas, where what the Lua state holds is anchored. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void) { return 1; }

static lua_State *new_state(void) {
  lua_State *L = luaL_newstate();
  if (!L) abort();
  luaL_openlibs(L);
  if (luaL_dostring(L, "require('ffi')\n" /* whose integers are carried, too */
                       "local b = require('string.buffer')\n"
                       "function decode(s) return b.decode(s) end\n"
                       "function encode(v) return b.encode(v) end"))
    abort();
  return L;
}

static void fuzz_lua(lua_State *L, const char *bytes, size_t length) {
  if (!check_serialized(NULL, bytes, length)) return;
  if (check_has_pointer(bytes, length)) abort();
  int before = lua_gc(L, LUA_GCCOUNT, 0);
  lua_getglobal(L, "decode");
  lua_pushlstring(L, bytes, length);
  lua_call(L, 1, 1);
  int grown = lua_gc(L, LUA_GCCOUNT, 0) - before; /* KiB; less than nothing after a collection */
  if (grown > 256 + (int)(length / 16)) abort();
  lua_settop(L, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static lua_State *L;
  static unsigned runs;
  if (!L) L = new_state();
  fuzz_lua(L, (const char *)data, size);
  if (++runs % 1024 == 0) lua_gc(L, LUA_GCCOLLECT, 0);
  return 0;
}
