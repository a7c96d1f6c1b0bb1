/* fuzz/resp.c: replies of Redis, whole and in pieces: the same values, or the same refusal; the stack is left as it was. */
#include "redis/resp.h"

#include <assert.h>
#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static lua_State *L;

static int same_error(lua_State *state) {
  lua_settop(state, 1);
  return 1;
}

/* Parses in pieces; how many replies there are. The list is left on the stack. */
static int parse(const uint8_t *data, size_t size, size_t piece, bool *refused) {
  resp_t *r = lua_newuserdata(L, sizeof *r);
  int self = lua_gettop(L);
  memset(r, 0, sizeof *r);
  r->bulk = -1;
  r->most = 4096;
  lua_newtable(L);
  lua_setfenv(L, self);
  lua_pushcfunction(L, same_error);
  lua_newtable(L);
  lua_newtable(L);
  int list = lua_gettop(L), n = 0;
  for (size_t at = 0; at < size && !r->fault; at += piece) {
    size_t len = size - at < piece ? size - at : piece;
    int rc = resp_feed(L, r, self, self + 1, self + 2, list, n, (const char *)data + at, len);
    n = rc < 0 ? -1 - rc : rc;
    assert(lua_gettop(L) == list);
  }
  *refused = r->fault != NULL;
  resp_free(r);
  return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (L == NULL) {
    L = luaL_newstate();
    luaL_openlibs(L);
  }
  if (size < 1) return 0;
  bool a, b;
  int whole = parse(data + 1, size - 1, size, &a),
      pieces = parse(data + 1, size - 1, (size_t)data[0] % 16 + 1, &b);
  assert(whole == pieces && a == b);
  lua_settop(L, 0);
  return 0;
}
