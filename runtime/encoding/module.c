/* encoding/module.c: the module `lrun.core.encoding`. Arguments are strings; those who call have checked them. */
#include "encoding/encoding.h"

#include "host/modules.h"
#include <lauxlib.h>

typedef const unsigned char *bytes_t;

/* base64(bytes, forUrl) → text */
static int l_base64(lua_State *L) {
  size_t len;
  const char *in = luaL_checklstring(L, 1, &len);
  char *out = lua_newuserdata(L, (len + 2) / 3 * 4 + 1);
  lua_pushlstring(L, out, base64_encode(out, (bytes_t)in, len, lua_toboolean(L, 2)));
  return 1;
}

/* A decoder's result: the bytes, or nil and the place, from 1, of what is wrong. */
static int decoded(lua_State *L, const char *out, size_t len, size_t wrong) {
  if (wrong == 0) {
    lua_pushlstring(L, out, len);
    return 1;
  }
  lua_pushnil(L);
  lua_pushnumber(L, (lua_Number)wrong);
  return 2;
}

/* fromBase64(text) → bytes; or nil and the place of what is wrong */
static int l_from_base64(lua_State *L) {
  size_t len, written = 0;
  const char *in = luaL_checklstring(L, 1, &len);
  char *out = lua_newuserdata(L, len / 4 * 3 + 3);
  size_t wrong = base64_decode(out, &written, (bytes_t)in, len);
  return decoded(L, out, written, wrong);
}

/* hex(bytes) → text */
static int l_hex(lua_State *L) {
  size_t len;
  const char *in = luaL_checklstring(L, 1, &len);
  char *out = lua_newuserdata(L, 2 * len + 1);
  lua_pushlstring(L, out, hex_encode(out, (bytes_t)in, len));
  return 1;
}

/* fromHex(text) → bytes; or nil and the place of what is wrong */
static int l_from_hex(lua_State *L) {
  size_t len;
  const char *in = luaL_checklstring(L, 1, &len);
  char *out = lua_newuserdata(L, len / 2 + 1);
  size_t wrong = hex_decode(out, (bytes_t)in, len);
  return decoded(L, out, len / 2, wrong);
}

/* set(characters) → a set of bytes that stand for themselves, beside ASCII's letters and digits */
static int l_set(lua_State *L) {
  size_t len;
  const char *extra = luaL_checklstring(L, 1, &len);
  percent_set_t *set = lua_newuserdata(L, sizeof *set);
  *set = (percent_set_t){{0, 0x03ff0000, 0x07fffffe, 0x07fffffe, 0, 0, 0, 0}};
  for (size_t i = 0; i < len; i++) {
    unsigned char c = (unsigned char)extra[i];
    set->bits[c >> 5] |= 1U << (c & 31);
  }
  return 1;
}

/* percent(text, set) → text */
static int l_percent(lua_State *L) {
  size_t len;
  const char *in = luaL_checklstring(L, 1, &len);
  luaL_checktype(L, 2, LUA_TUSERDATA);
  char *out = lua_newuserdata(L, 3 * len + 1);
  lua_pushlstring(L, out, percent_encode(out, (bytes_t)in, len, lua_touserdata(L, 2)));
  return 1;
}

/* fromPercent(text, form) → bytes */
static int l_from_percent(lua_State *L) {
  size_t len;
  const char *in = luaL_checklstring(L, 1, &len);
  char *out = lua_newuserdata(L, len + 1);
  lua_pushlstring(L, out, percent_decode(out, (bytes_t)in, len, lua_toboolean(L, 2)));
  return 1;
}

int luaopen_lrun_encoding(lua_State *L) {
  static const luaL_Reg functions[] = {{"base64", l_base64},
                                       {"fromBase64", l_from_base64},
                                       {"hex", l_hex},
                                       {"fromHex", l_from_hex},
                                       {"set", l_set},
                                       {"percent", l_percent},
                                       {"fromPercent", l_from_percent},
                                       {NULL, NULL}};
  lua_createtable(L, 0, 7);
  luaL_register(L, NULL, functions);
  return 1;
}
