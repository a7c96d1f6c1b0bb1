/* Fuzzes the check of bodies on the Lua wire (fuzz/json.c does that of the JSON wire). Bytes that check_serialized lets
 * through must decode, without more memory than they can fill; also where keys are named by number: the first byte says
 * how many of KEYS the peer has told of. */
#include "ipc/check.h"
#include "named_keys.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The leak checker does not look into LuaJIT's own arenas, where what the Lua state holds is anchored. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void) { return 1; }

/* decoders[n]: with the first n names as its dictionary */
static lua_State *new_state(void) {
  lua_State *L = luaL_newstate();
  if (!L) abort();
  luaL_openlibs(L);
  if (luaL_dostring(L, "require('ffi')\n" /* whose integers are carried, too */
                       "local b, names = require('string.buffer'), { 'a', 'b', 'id', 'name' }\n"
                       "local decoders = {}\n"
                       "for n = 0, #names do decoders[n] = b.new{ dict = { unpack(names, 1, n) } } end\n"
                       "function decode(s, n) return decoders[n]:set(s):decode() end"))
    abort();
  return L;
}

static void fuzz_lua(lua_State *L, int count, const char *bytes, size_t length) {
  static keys_t *keys[NAMES + 1];
  if (count > 0 && !keys[count]) keys[count] = new_keys(count);
  if (!check_serialized(keys[count], bytes, length, NULL)) return;
  if (check_has_pointer(bytes, length)) abort();
  int before = lua_gc(L, LUA_GCCOUNT, 0);
  lua_getglobal(L, "decode");
  lua_pushlstring(L, bytes, length);
  lua_pushinteger(L, count);
  lua_call(L, 2, 1);
  int grown = lua_gc(L, LUA_GCCOUNT, 0) - before; /* KiB; less than nothing after a collection */
  if (grown > 256 + (int)(length / 16)) abort();
  lua_settop(L, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static lua_State *L;
  static unsigned runs;
  if (!L) L = new_state();
  if (size < 1) return 0;
  fuzz_lua(L, data[0] % (NAMES + 1), (const char *)&data[1], size - 1);
  keys_t *keys = NULL; /* as a peer may tell them */
  keys_add(&keys, (const char *)data, size);
  if (keys && keys->count > KEYS_MAX) abort();
  keys_free(keys);
  if (++runs % 1024 == 0) lua_gc(L, LUA_GCCOLLECT, 0);
  return 0;
}
