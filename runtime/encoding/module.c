/* encoding/module.c: the module `lrun.core.encoding`. Arguments are strings; those who call have checked them. */
#include "encoding/encoding.h"

#include "host/modules.h"
#include <lauxlib.h>
#include <string.h>

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
  const percent_set_t *plain = lua_touserdata(L, 2);
  if (percent_plain((bytes_t)in, len, plain)) {
    lua_settop(L, 1);
    return 1;
  }
  char *out = lua_newuserdata(L, 3 * len + 1);
  lua_pushlstring(L, out, percent_encode(out, (bytes_t)in, len, plain));
  return 1;
}

/* fromPercent(text, form) → bytes */
static int l_from_percent(lua_State *L) {
  size_t len;
  const char *in = luaL_checklstring(L, 1, &len);
  bool form = lua_toboolean(L, 2);
  if (!memchr(in, '%', len) && !(form && memchr(in, '+', len))) {
    lua_settop(L, 1);
    return 1;
  }
  char *out = lua_newuserdata(L, len + 1);
  lua_pushlstring(L, out, percent_decode(out, (bytes_t)in, len, form));
  return 1;
}

static void push_piece(lua_State *L, url_piece_t piece) {
  if (piece.at) lua_pushlstring(L, (const char *)piece.at, piece.length);
  else lua_pushnil(L);
}

/* The segments behind each slash, as a list. */
static void push_segments(lua_State *L, url_piece_t path) {
  const unsigned char *at = path.at, *end = at + path.length;
  int count = 0;
  lua_createtable(L, 4, 0);
  if (at == end) {
    lua_pushliteral(L, "");
    lua_rawseti(L, -2, 1);
  }
  while (at < end) {
    const unsigned char *start = ++at;
    while (at < end && *at != '/') at++;
    lua_pushlstring(L, (const char *)start, (size_t)(at - start));
    lua_rawseti(L, -2, ++count);
  }
}

static url_sets_t sets_of(lua_State *L) {
  return (url_sets_t){lua_touserdata(L, lua_upvalueindex(1)), lua_touserdata(L, lua_upvalueindex(2)),
                      lua_touserdata(L, lua_upvalueindex(3)), lua_touserdata(L, lua_upvalueindex(4))};
}

/* parts(text) → scheme, username, password, host, port, segments, query, fragment; nothing: the text is no plain URL */
static int l_parts(lua_State *L) {
  size_t len;
  const char *in = luaL_checklstring(L, 1, &len);
  url_sets_t sets = sets_of(L);
  url_parts_t url;
  if (!url_parts(&url, (bytes_t)in, len, &sets)) return 0;
  push_piece(L, url.scheme);
  push_piece(L, url.username);
  push_piece(L, url.password);
  push_piece(L, url.host);
  if (url.port < 0) lua_pushnil(L);
  else lua_pushinteger(L, url.port);
  push_segments(L, url.path);
  push_piece(L, url.query);
  push_piece(L, url.fragment);
  return 8;
}

/* place(text) → segments, query, fragment; nothing: the text is no plain reference that begins with a slash */
static int l_place(lua_State *L) {
  size_t len;
  const char *in = luaL_checklstring(L, 1, &len);
  url_sets_t sets = sets_of(L);
  url_parts_t url;
  if (!url_place(&url, (bytes_t)in, len, &sets)) return 0;
  push_segments(L, url.path);
  push_piece(L, url.query);
  push_piece(L, url.fragment);
  return 3;
}

/* url(userinfo, path, query, fragment) → parts, place: with the sets of bytes that stand for themselves */
static int l_url(lua_State *L) {
  enum { SETS = 4 };
  for (int i = 1; i <= SETS; i++) luaL_checktype(L, i, LUA_TUSERDATA);
  lua_settop(L, SETS);
  for (int i = 1; i <= SETS; i++) lua_pushvalue(L, i);
  lua_pushcclosure(L, l_parts, SETS);
  for (int i = 1; i <= SETS; i++) lua_pushvalue(L, i);
  lua_pushcclosure(L, l_place, SETS);
  return 2;
}

int luaopen_lrun_encoding(lua_State *L) {
  static const luaL_Reg functions[] = {{"base64", l_base64},
                                       {"fromBase64", l_from_base64},
                                       {"hex", l_hex},
                                       {"fromHex", l_from_hex},
                                       {"set", l_set},
                                       {"percent", l_percent},
                                       {"fromPercent", l_from_percent},
                                       {"url", l_url},
                                       {NULL, NULL}};
  lua_createtable(L, 0, 8);
  luaL_register(L, NULL, functions);
  return 1;
}
