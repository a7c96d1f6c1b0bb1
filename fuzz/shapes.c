/* Fuzzes the functions that make messages of a shape (lualib/lrun/ipc/shapes.lua): the first byte says how many keys the peer
 * has told of, the second one how long the body is that a function is made for; what follows is that body and another one,
 * which the function is given, too. Whatever has passed the check, it makes what string.buffer makes, or nothing. */
#include "host/bundle.h"
#include "ipc/check.h"
#include "named_keys.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The leak checker does not look into LuaJIT's own arenas, where what the Lua state holds is anchored. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void) { return 1; }

enum { BODY_MOST = 512, RUNS_A_STATE = 50 };

static const char script[] =
    "local shapes, ffi, buffers = ..., require('ffi'), require('string.buffer')\n"
    "local names = { 'a', 'b', 'id', 'name' }\n"
    "local buffer, decoders = ffi.new('char[?]', 512 + 16), {}\n"
    "for n = 0, #names do decoders[n] = buffers.new{ dict = { unpack(names, 1, n) } } end\n"
    "local function same(a, b)\n"
    "  if type(a) ~= 'table' or type(b) ~= 'table' then return type(a) == type(b) and a == b end\n"
    "  for key, each in pairs(a) do if not same(each, b[key]) then return false end end\n"
    "  for key in pairs(b) do if a[key] == nil then return false end end\n"
    "  return #a == #b\n"
    "end\n"
    "local bytes = ffi.cast('const uint8_t *', buffer)\n"
    "local function try(make, body, n)\n"
    "  ffi.fill(buffer, 512 + 16, 255)\n"
    "  ffi.copy(buffer, body, #body)\n"
    "  local made = make(bytes)\n"
    "  if made ~= nil and not same(made, decoders[n]:set(body):decode()) then error('not the same') end\n"
    "  return made\n"
    "end\n"
    "return function(n, first, second)\n"
    "  for _, make in ipairs{ shapes.make(buffer, first, names), shapes.makeLong(first, names) } do\n"
    "    if not make then break end\n"
    "    local made = try(make, first, n)\n"
    "    if made == nil and make ~= shapes.makeLong(first, names) and not first:find('[\\127\\255]') then "
    "error('not made') end\n"
    "    if second then try(make, second, n) end\n"
    "  end\n"
    "end\n";

static lua_State *new_state(void) {
  lua_State *L = luaL_newstate();
  if (!L) abort();
  luaL_openlibs(L);
  bundle_init(L);
  if (luaL_loadstring(L, script)) abort();
  bundle_require(L, "lrun.ipc.shapes");
  lua_call(L, 1, 1);
  return L;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static lua_State *L;
  static unsigned runs;
  static keys_t *keys[NAMES + 1];
  if (size < 3) return 0;
  int count = data[0] % (NAMES + 1);
  if (count > 0 && !keys[count]) keys[count] = new_keys(count);
  const char *first = (const char *)&data[2];
  size_t length = size - 2 < data[1] ? size - 2 : data[1], left = size - 2 - length;
  if (left > BODY_MOST || !check_serialized(keys[count], first, length, NULL)) return 0;
  if (L && ++runs % RUNS_A_STATE == 0) { /* a state makes so many functions and no more */
    lua_close(L);
    L = NULL;
  }
  if (!L) L = new_state();
  lua_settop(L, 1);
  lua_pushvalue(L, 1);
  lua_pushinteger(L, count);
  lua_pushlstring(L, first, length);
  if (check_serialized(keys[count], first + length, left, NULL)) lua_pushlstring(L, first + length, left);
  else lua_pushnil(L);
  if (lua_pcall(L, 3, 0, 0)) {
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
    abort();
  }
  return 0;
}
