/* redis/module.c: the module `lrun.core.redis`: a parser, and what waits to be written, as a userdata. */
#include "redis/resp.h"

#include "host/modules.h"
#include "host/userdata.h"
#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const class_name = "lrun.redis";

enum { OUTPUT_KEPT = 256 * 1024 }; /* a buffer that grew beyond is given back */

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

/* A number as Redis gets it: whole ones without an exponent, others in the shortest form that is exact. */
static int number_text(char *out, size_t room, double number) {
  if (isnan(number)) return snprintf(out, room, "nan");
  if (isinf(number)) return snprintf(out, room, number > 0 ? "inf" : "-inf");
  if (number == floor(number) && fabs(number) < 1e17) return snprintf(out, room, "%.0f", number);
  int len = snprintf(out, room, "%.15g", number);
  return strtod(out, NULL) == number ? len : snprintf(out, room, "%.17g", number);
}

static char *put_length(char *to, char kind, size_t length) {
  char digits[24];
  int n = 0;
  *to++ = kind;
  do digits[n++] = (char)('0' + length % 10);
  while ((length /= 10) > 0);
  while (n > 0) *to++ = digits[--n];
  *to++ = '\r';
  *to++ = '\n';
  return to;
}

enum { HEAD_MAX = 24 }; /* of a length with its mark and CRLF */

static bool put_string(buffer_t *out, const char *text, size_t len) {
  char *at = buffer_room(out, len + HEAD_MAX + 2);
  if (at == NULL) return false;
  char *to = put_length(at, '$', len);
  memcpy(to, text, len);
  to += len;
  *to++ = '\r';
  *to++ = '\n';
  out->len += (size_t)(to - at);
  return true;
}

static bool put_head(buffer_t *out, size_t n) {
  char *at = buffer_room(out, HEAD_MAX);
  if (at == NULL) return false;
  out->len += (size_t)(put_length(at, '*', n) - at);
  return true;
}

static bool put_word(lua_State *L, int index, buffer_t *out) {
  char digits[40];
  const char *text = digits;
  size_t len;
  if (lua_type(L, index) == LUA_TNUMBER)
    len = (size_t)number_text(digits, sizeof digits, lua_tonumber(L, index));
  else text = luaL_checklstring(L, index, &len);
  return put_string(out, text, len);
}

/* The bytes that wait; where there is no memory those before, for half a command would spoil those behind it. */
static int put_end(lua_State *L, resp_t *r, size_t before, bool good) {
  if (!good) {
    r->output.len = before;
    return luaL_error(L, "not enough memory");
  }
  lua_pushnumber(L, (lua_Number)r->output.len);
  return 1;
}

/* put(n, words) → bytes that wait: a command of strings and numbers, which others have checked */
static int l_put(lua_State *L) {
  resp_t *r = luaL_checkudata(L, 1, class_name);
  int n = (int)luaL_checkinteger(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  size_t before = r->output.len;
  bool good = put_head(&r->output, (size_t)n);
  for (int i = 1; good && i <= n; i++) {
    lua_rawgeti(L, 3, i);
    good = put_word(L, -1, &r->output);
    lua_pop(L, 1);
  }
  return put_end(L, r, before, good);
}

/* putTwo(word, argument) → the same for a command of two words */
static int l_put_two(lua_State *L) {
  resp_t *r = luaL_checkudata(L, 1, class_name);
  size_t before = r->output.len;
  bool good = put_head(&r->output, 2) && put_word(L, 2, &r->output) && put_word(L, 3, &r->output);
  return put_end(L, r, before, good);
}

/* take() → the bytes that wait, "" for none */
static int l_take(lua_State *L) {
  resp_t *r = luaL_checkudata(L, 1, class_name);
  lua_pushlstring(L, r->output.data ? r->output.data : "", r->output.len);
  r->output.len = 0;
  if (r->output.cap > OUTPUT_KEPT) buffer_free(&r->output);
  return 1;
}

static int l_gc(lua_State *L) {
  resp_free(luaL_checkudata(L, 1, class_name));
  return 0;
}

int luaopen_lrun_redis(lua_State *L) {
  static const luaL_Reg methods[] = {{"feed", l_feed}, {"put", l_put}, {"putTwo", l_put_two},
                                     {"take", l_take}, {"__gc", l_gc}, {NULL, NULL}};
  userdata_class(L, class_name, methods);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, l_parser);
  lua_setfield(L, -2, "parser");
  return 1;
}
