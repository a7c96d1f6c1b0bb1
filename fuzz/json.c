/* json/module.c (fuzz): a text that is decoded strictly is one that lua-cjson, too, takes, and that is the same
 * leniently; a text that is not has its fault within it. A value, written and read again, is written the
 * same. */
#include "json/json.h"
#include "host/modules.h"
#include "json/number.h"

#include <lauxlib.h>
#include <lualib.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(int good) {
  if (!good) abort();
}

static lua_State *state; /* one for all inputs: making it costs more than they do */

/* The leak checker does not look into LuaJIT's memory. */
static void close_state(void) { lua_close(state); }

/* Leaves lua-cjson's decoder in the registry. */
static lua_State *open_state(void) {
  lua_State *L = luaL_newstate();
  check(L != NULL);
  lua_pushcfunction(L, luaopen_cjson);
  lua_call(L, 0, 1);
  lua_getfield(L, -1, "decode");
  lua_setfield(L, LUA_REGISTRYINDEX, "decode");
  lua_settop(L, 0);
  return L;
}

/* Whether the text has a value, which is then pushed. */
static int decode(lua_State *L, const char *text, size_t length, json_mode_t mode) {
  json_fault_t fault = {0};
  int top = lua_gettop(L);
  if (json_decode(L, text, length, mode, &fault) == 0) {
    check(lua_gettop(L) == top + 1);
    return 1;
  }
  check(lua_gettop(L) == top && fault.offset <= length && fault.reason != NULL);
  return 0;
}

/* The value on the top → its text as a Lua string; or nothing is left (1e999 is an infinite number). */
static int encode(lua_State *L, json_mode_t mode) {
  json_text_t text;
  int top = lua_gettop(L);
  int done = json_encode(L, mode, &text) == NULL;
  lua_settop(L, top);
  if (done) lua_pushlstring(L, text.bytes, text.length);
  json_release(L, &text);
  lua_remove(L, top);
  return done;
}

/* Reads the text on the top and writes what it says in its place. Once that was done, it changes nothing but
 * the order of keys. */
static void again(lua_State *L, json_mode_t mode) {
  size_t length;
  const char *text = lua_tolstring(L, -1, &length);
  check(decode(L, text, length, mode));
  check(encode(L, mode));
  lua_remove(L, -2);
}

static void check_stable(lua_State *L, json_mode_t mode) {
  again(L, mode); /* drops a null that stands for an infinite number */
  size_t length = lua_objlen(L, -1);
  again(L, mode);
  check(lua_objlen(L, -1) == length);
}

static void check_cjson(lua_State *L, const char *text, size_t length) {
  lua_getfield(L, LUA_REGISTRYINDEX, "decode");
  lua_pushlstring(L, text, length);
  check(lua_pcall(L, 1, 1, 0) == 0);
  check(encode(L, JSON_LENIENT));
  size_t expected = lua_objlen(L, -1);
  lua_settop(L, 0);
  check(decode(L, text, length, JSON_STRICT));
  check(encode(L, JSON_LENIENT));
  check(memmem(text, length, "null", 4) || lua_objlen(L, -1) == expected); /* it keeps them */
}

/* How deep the arrays and objects of a good text go. */
static int depth_of(const char *text, size_t length) {
  int depth = 0, most = 0;
  bool quoted = false;
  for (size_t i = 0; i < length; i++) {
    if (quoted && text[i] == '\\') i++;
    else if (text[i] == '"') quoted = !quoted;
    else if (!quoted && (text[i] == '[' || text[i] == '{') && ++depth > most) most = depth;
    else if (!quoted && (text[i] == ']' || text[i] == '}')) depth--;
  }
  return most;
}

/* A good text within so many arrays that the limit is near: good up to there and no further, both ways. */
static void check_depth(lua_State *L, const char *text, size_t length, json_mode_t mode) {
  int depth = JSON_MAX_DEPTH - (int)(length % 3);
  char *deep = malloc(length + 2 * (size_t)depth);
  check(deep != NULL);
  memset(deep, '[', (size_t)depth);
  memcpy(deep + depth, text, length);
  memset(deep + (size_t)depth + length, ']', (size_t)depth);
  int good = decode(L, deep, length + 2 * (size_t)depth, mode);
  check(good == (depth + depth_of(text, length) <= JSON_MAX_DEPTH));
  free(deep);
  if (good) encode(L, mode);
  lua_settop(L, 0);
}

/* A value that is one array deeper than may be is refused, and everything that was written for it forgotten. */
static void check_too_deep(lua_State *L) {
  lua_newtable(L);
  for (int i = 0; i < JSON_MAX_DEPTH; i++) {
    lua_createtable(L, 1, 0);
    lua_insert(L, -2);
    lua_rawseti(L, -2, 1);
  }
  check(!encode(L, JSON_STRICT));
  lua_settop(L, 0);
}

/* Eight bytes are a number, too, which its text gives back in no more digits than printf's. */
static void check_number(const uint8_t *bytes, size_t size) {
  double number;
  char text[JSON_NUMBER_SIZE], printed[JSON_NUMBER_SIZE];
  if (size < sizeof number) return;
  memcpy(&number, bytes, sizeof number);
  if (!isfinite(number)) return;
  size_t length = json_put_number(text, number);
  check(length < JSON_NUMBER_SIZE);
  text[length] = 0;
  check(strtod(text, NULL) == number);
  check(length <= (size_t)snprintf(printed, sizeof printed, "%.17g", number));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  const char *text = (const char *)bytes;
  check_number(bytes, size);
  if (!state) {
    state = open_state();
    check(atexit(close_state) == 0);
    check_too_deep(state);
  }
  lua_State *L = state;
  lua_settop(L, 0);
  int strict = decode(L, text, size, JSON_STRICT);
  if (strict && encode(L, JSON_STRICT)) check_stable(L, JSON_STRICT);
  lua_settop(L, 0);
  if (!decode(L, text, size, JSON_LENIENT)) {
    check(!strict);
    return 0;
  }
  check(encode(L, JSON_LENIENT));
  check_stable(L, JSON_LENIENT);
  lua_settop(L, 0);
  if (strict) check_cjson(L, text, size);
  lua_settop(L, 0);
  if (size % 4 == 1) check_depth(L, text, size, strict ? JSON_STRICT : JSON_LENIENT);
  return 0;
}
