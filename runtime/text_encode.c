/* text_encode.c: JSON text of Lua values. A table with the keys 1…n is an array, any other an object; an
 * empty one is
 * `{}`. Holes are `null` when the array is not mostly holes. Numbers keep every bit: the shortest of 15 to 17
 * digits that reads back the same. NaN and the infinities are `null`, as JSON.stringify has it. */
#include "text.h"

#include <lauxlib.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEEP_CAPACITY = 1024 * 1024, HOLES_MIN = 10, TYPE_CDATA = 10 };

/* One for each Lua state, in its registry: the text of the last call. */
typedef struct {
  char *data;
  size_t length, capacity;
  const char *error;
} writer_t;

static const char writer_key = 'w'; /* its address is the registry key */

static int writer_gc(lua_State *L) {
  writer_t *writer = lua_touserdata(L, 1);
  free(writer->data);
  return 0;
}

static writer_t *writer_of(lua_State *L) {
  lua_pushlightuserdata(L, (void *)&writer_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  writer_t *writer = lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (writer) return writer;
  lua_pushlightuserdata(L, (void *)&writer_key);
  writer = lua_newuserdata(L, sizeof *writer);
  memset(writer, 0, sizeof *writer);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, writer_gc);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  lua_rawset(L, LUA_REGISTRYINDEX);
  return writer;
}

static char *reserve(writer_t *writer, size_t length) {
  if (writer->capacity - writer->length < length) {
    size_t capacity = writer->capacity * 2 + length + 1024;
    char *data = realloc(writer->data, capacity);
    if (!data) {
      writer->error = "not enough memory";
      return NULL;
    }
    writer->data = data;
    writer->capacity = capacity;
  }
  return &writer->data[writer->length];
}

static bool put(writer_t *writer, const char *bytes, size_t length) {
  char *at = reserve(writer, length);
  if (!at) return false;
  memcpy(at, bytes, length);
  writer->length += length;
  return true;
}

static bool put_char(writer_t *writer, char c) { return put(writer, &c, 1); }

/* What follows the backslash: a letter, 'u' for \u00xx, or 0 for a byte that stands for itself. */
static const char escapes[256] = {'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'b',         't',          'n', 'u',
                                  'f', 'r', 'u', 'u', 'u', 'u', 'u', 'u', 'u',         'u',          'u', 'u',
                                  'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', ['"'] = '"', ['\\'] = '\\'};

/* Whether none of eight bytes needs an escape: none is below 0x20, a quote or a backslash. */
static bool is_plain(const char *text) {
  const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
  uint64_t word;
  memcpy(&word, text, sizeof word);
  uint64_t quote = word ^ ones * '"', backslash = word ^ ones * '\\';
  return !(((word - ones * 0x20) | (quote - ones) | (backslash - ones)) & ~word & highs);
}

static char *put_escaped(char *at, unsigned char c) {
  static const char digits[] = "0123456789abcdef";
  char escape = escapes[c];
  if (!escape) {
    *at++ = (char)c;
    return at;
  }
  *at++ = '\\';
  *at++ = escape;
  if (escape != 'u') return at;
  *at++ = '0';
  *at++ = '0';
  *at++ = digits[c >> 4];
  *at++ = digits[c & 15];
  return at;
}

static bool put_string(writer_t *writer, const char *text, size_t length) {
  enum { PIECE = 16 * 1024 }; /* room is made for the worst case, so not for all of a long string at once */
  if (!put_char(writer, '"')) return false;
  for (size_t i = 0; i < length;) {
    size_t stop = length - i > PIECE ? i + PIECE : length;
    char *at = reserve(writer, (stop - i) * 6);
    if (!at) return false;
    char *start = at;
    while (i < stop) {
      if (stop - i >= 8 && is_plain(&text[i])) {
        memcpy(at, &text[i], 8);
        at += 8;
        i += 8;
      } else {
        at = put_escaped(at, (unsigned char)text[i++]);
      }
    }
    writer->length += (size_t)(at - start);
  }
  return put_char(writer, '"');
}

static bool put_integer(writer_t *writer, int64_t value) {
  char digits[24];
  char *at = &digits[sizeof digits];
  uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
  do *--at = (char)('0' + rest % 10);
  while (rest /= 10);
  if (value < 0) *--at = '-';
  return put(writer, at, (size_t)(&digits[sizeof digits] - at));
}

static bool put_number(writer_t *writer, double value) {
  static const double exact = 9007199254740992.0; /* 2^53 */
  if (value > -exact && value < exact && value == (double)(int64_t)value)
    return put_integer(writer, (int64_t)value);
  if (!isfinite(value)) return put(writer, "null", 4);
  char text[32];
  int length = 0;
  for (int digits = 15; digits <= 17; digits++) {
    length = snprintf(text, sizeof text, "%.*g", digits, value);
    if (strtod(text, NULL) == value) break;
  }
  return put(writer, text, (size_t)length);
}

static bool put_value(lua_State *L, writer_t *writer, int index, int depth);

/* The length of the table as an array, or 0 when it is an object: some key is no positive integer, or nearly
 * all would be holes. */
static size_t array_length(lua_State *L, int index) {
  size_t highest = 0, count = 0;
  lua_pushnil(L);
  while (lua_next(L, index)) {
    lua_pop(L, 1);
    double key = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;
    if (key < 1 || key > 1e9 || key != (double)(size_t)key) {
      lua_pop(L, 1);
      return 0;
    }
    if ((size_t)key > highest) highest = (size_t)key;
    count++;
  }
  return highest > HOLES_MIN && highest > count * 2 ? 0 : highest;
}

static bool put_array(lua_State *L, writer_t *writer, int index, size_t length, int depth) {
  for (size_t i = 1; i <= length; i++) {
    if (!put_char(writer, i == 1 ? '[' : ',')) return false;
    lua_rawgeti(L, index, (int)i);
    bool done = lua_isnil(L, -1) ? put(writer, "null", 4) : put_value(L, writer, lua_gettop(L), depth);
    lua_pop(L, 1);
    if (!done) return false;
  }
  return put_char(writer, ']');
}

static bool put_key(lua_State *L, writer_t *writer) {
  size_t length;
  const char *text;
  switch (lua_type(L, -2)) {
  case LUA_TSTRING:
    text = lua_tolstring(L, -2, &length);
    return put_string(writer, text, length) && put_char(writer, ':');
  case LUA_TNUMBER:
    return put_char(writer, '"') && put_number(writer, lua_tonumber(L, -2)) && put(writer, "\":", 2);
  default: writer->error = "JSON keys are strings or numbers"; return false;
  }
}

static bool put_table(lua_State *L, writer_t *writer, int index, int depth) {
  if (depth == TEXT_MAX_DEPTH) {
    writer->error = "too deep to serialize, or a cycle";
    return false;
  }
  luaL_checkstack(L, 6, "JSON");
  size_t length = array_length(L, index);
  if (length > 0) return put_array(L, writer, index, length, depth);
  bool first = true;
  if (!put_char(writer, '{')) return false;
  lua_pushnil(L);
  while (lua_next(L, index)) {
    bool done =
        (first || put_char(writer, ',')) && put_key(L, writer) && put_value(L, writer, lua_gettop(L), depth);
    if (!done) {
      lua_pop(L, 2);
      return false;
    }
    first = false;
    lua_pop(L, 1);
  }
  return put_char(writer, '}');
}

static bool put_value(lua_State *L, writer_t *writer, int index, int depth) {
  size_t length;
  const char *text;
  int type = lua_type(L, index);
  switch (type) {
  case LUA_TSTRING: text = lua_tolstring(L, index, &length); return put_string(writer, text, length);
  case LUA_TNUMBER: return put_number(writer, lua_tonumber(L, index));
  case LUA_TBOOLEAN: return lua_toboolean(L, index) ? put(writer, "true", 4) : put(writer, "false", 5);
  case LUA_TTABLE: return put_table(L, writer, index, depth + 1);
  case LUA_TLIGHTUSERDATA:
    if (!lua_touserdata(L, index)) return put(writer, "null", 4);
    break;
  default: break;
  }
  writer->error = type == LUA_TFUNCTION ? "cannot serialize 'function'"
                  : type == LUA_TTHREAD ? "cannot serialize 'thread'"
                  : type == TYPE_CDATA  ? "cannot serialize 'cdata' as JSON"
                                        : "cannot serialize 'userdata'";
  return false;
}

const char *text_encode(lua_State *L, int index, const char **text, size_t *length) {
  writer_t *writer = writer_of(L);
  if (writer->capacity > KEEP_CAPACITY) {
    free(writer->data);
    writer->data = NULL;
    writer->capacity = 0;
  }
  writer->length = 0;
  writer->error = NULL;
  bool done = put_value(L, writer, index, 0);
  *text = writer->data;
  *length = writer->length;
  return done ? NULL : writer->error;
}
