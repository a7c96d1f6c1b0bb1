/* json/encode.c: JSON text of Lua values. lua-cjson's encoder writes numbers with 14 digits, passes broken
 * UTF-8 on and does not say which value it could not encode. A table with the keys 1…n is an array, any other
 * an object; an empty one is `{}`. Holes are `null` when the array is not mostly holes. Numbers keep every
 * bit. The text grows in one buffer a Lua state, which is kept from call to call while it is small. No Lua
 * code runs meanwhile, so two calls never share it. */
#include "json/json.h"
#include "json/number.h"

#include <lauxlib.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define KEPT_SIZE (1024 * 1024)
#define MAX_HOLES 10 /* a list this short may have any number of holes */

typedef struct {
  char *bytes;
  size_t length, capacity;
  bool lenient;
  bool
      careful; /* a list was none: from now on their keys are looked at first, lest texts are written again and again */
} output_t;

static const char output_key = 'o'; /* its address is the registry key of the output */

static const char *const no_memory = "not enough memory";

static void free_bytes(output_t *out) {
  free(out->bytes);
  memset(out, 0, sizeof *out);
}

static int l_free_output(lua_State *L) {
  free_bytes(lua_touserdata(L, 1));
  return 0;
}

/* NULL when there is none yet. */
static output_t *find_output(lua_State *L) {
  lua_pushlightuserdata(L, (void *)&output_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  output_t *out = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return out;
}

static output_t *make_output(lua_State *L) {
  lua_pushlightuserdata(L, (void *)&output_key);
  output_t *out = lua_newuserdata(L, sizeof *out);
  memset(out, 0, sizeof *out);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, l_free_output);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  lua_rawset(L, LUA_REGISTRYINDEX);
  return out;
}

static bool reserve(output_t *out, size_t more) {
  if (out->capacity - out->length >= more) return true;
  size_t capacity = out->capacity ? out->capacity : 1024;
  while (capacity - out->length < more) capacity *= 2;
  char *bytes = realloc(out->bytes, capacity);
  if (!bytes) return false;
  out->bytes = bytes;
  out->capacity = capacity;
  return true;
}

static const char *put(output_t *out, const char *bytes, size_t length) {
  if (!reserve(out, length + 1)) return no_memory; /* and room for a colon */
  memcpy(out->bytes + out->length, bytes, length);
  out->length += length;
  return NULL;
}

/* A quote, a backslash or a control character. There is room for six bytes. */
static char *escape(char *to, unsigned char c) {
  static const char digits[] = "0123456789abcdef", shorts[] = "\b\f\n\r\t\"\\", letters[] = "bfnrt\"\\";
  const char *known = c ? strchr(shorts, c) : NULL;
  *to++ = '\\';
  if (known) {
    *to++ = letters[known - shorts];
    return to;
  }
  memcpy(to, "u00", 3);
  to[3] = digits[c >> 4];
  to[4] = digits[c & 15];
  return to + 5;
}

/* One character, for which there is room. */
static void put_char(output_t *out, char c) { out->bytes[out->length++] = c; }

/* Leaves room for two more bytes behind it. */
static const char *put_string(output_t *out, const char *text, size_t length) {
  const unsigned char *at = (const unsigned char *)text, *end = at + length;
  if (!reserve(out, length + 4)) return no_memory;
  size_t plain = json_plain_run(at, end, !out->lenient);
  if (plain == length) {
    char *to = out->bytes + out->length;
    to[0] = '"';
    memcpy(to + 1, text, length);
    to[length + 1] = '"';
    out->length += length + 2;
    return NULL;
  }
  out->bytes[out->length++] = '"';
  while (at < end) {
    size_t run = json_plain_run(at, end, !out->lenient);
    /* The rest may need no escape; when it needs many, the room doubles. */
    if (!reserve(out, (size_t)(end - at) + 10)) return no_memory;
    char *to = out->bytes + out->length;
    memcpy(to, at, run);
    at += run;
    to += run;
    if (at < end && *at >= 0x80) {
      size_t used = json_utf8_sequence(at, (size_t)(end - at));
      if (used == 0) return "a string that is not UTF-8";
      memcpy(to, at, used);
      at += used;
      to += used;
    } else if (at < end) {
      to = escape(to, *at++);
    }
    out->length = (size_t)(to - out->bytes);
  }
  if (!reserve(out, 3)) return no_memory;
  put_char(out, '"');
  return NULL;
}

static const char *put_number(output_t *out, double number) {
  if (!isfinite(number) && out->lenient) return put(out, "null", 4);
  if (!isfinite(number)) return number != number ? "not a number (NaN)" : "an infinite number";
  if (!reserve(out, JSON_NUMBER_SIZE)) return no_memory;
  out->length += json_put_number(out->bytes + out->length, number);
  return NULL;
}

static const char *encode_value(lua_State *L, output_t *out, int depth);

/* On a fault every function below leaves the stack as it is: value, key, value, key, …, which is the way to
 * the value that could not be encoded. */

/* Why not: as the module `json` says it, or as string.buffer does on the Lua wire. */
static const char *refuse(const output_t *out, const char *strict, const char *lenient) {
  return out->lenient ? lenient : strict;
}

/* A list has no keys but whole numbers from 1. Returns its length; -1: not a list; -2: a list with too many
 * holes. */
static int list_length(lua_State *L, int table) {
  int count = 0;
  double last = 0;
  lua_pushnil(L);
  while (lua_next(L, table) != 0) {
    lua_pop(L, 1);
    double key = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;
    if (key < 1 || key != floor(key)) {
      lua_pop(L, 1);
      return -1;
    }
    count++;
    if (key > last) last = key;
  }
  if (last > MAX_HOLES && last > 2.0 * count) return -2;
  return (int)last;
}

static const char *encode_list(lua_State *L, output_t *out, int length, int depth) {
  int table = lua_gettop(L);
  const char *reason = put(out, "[", 1);
  for (int i = 1; i <= length && !reason; i++) {
    if (i > 1 && (reason = put(out, ",", 1))) return reason;
    lua_pushinteger(L, i);
    lua_rawgeti(L, table, i);
    if ((reason = encode_value(L, out, depth))) return reason;
    lua_settop(L, table);
  }
  return reason ? reason : put(out, "]", 1);
}

/* A number key as a string. Strict: not beside the same key as a string, which would make it twice. */
static const char *put_number_key(lua_State *L, output_t *out, int table, double key) {
  char text[JSON_NUMBER_SIZE];
  if (!isfinite(key)) return out->lenient ? put(out, "\"null\"", 6) : "an infinite key";
  size_t length = json_put_number(text, key);
  if (!out->lenient) {
    lua_pushlstring(L, text, length);
    lua_rawget(L, table);
    bool twice = !lua_isnil(L, -1);
    lua_pop(L, 1);
    if (twice) return "there twice, under a number and a string";
  }
  return put_string(out, text, length);
}

/* The key below the value on the top of the stack, and a colon. */
static const char *put_key(lua_State *L, output_t *out, int table) {
  const char *reason;
  if (lua_type(L, -2) == LUA_TSTRING) {
    size_t length;
    const char *text = lua_tolstring(L, -2, &length);
    reason = put_string(out, text, length);
    if (reason && reason != no_memory) return "a key that is not UTF-8";
  } else if (lua_type(L, -2) == LUA_TNUMBER) {
    reason = put_number_key(L, out, table, lua_tonumber(L, -2));
  } else {
    return refuse(out, "a key that is neither string nor number", "JSON keys are strings or numbers");
  }
  if (!reason) put_char(out, ':'); /* put_string left room */
  return reason;
}

/* The first key and value are on the stack. */
static const char *encode_object(lua_State *L, output_t *out, int table, int depth) {
  const char *reason = put(out, "{", 1);
  if (reason) return reason;
  do {
    if ((reason = put_key(L, out, table))) return reason;
    if ((reason = encode_value(L, out, depth))) return reason;
    lua_settop(L, table + 1);
    if (!reserve(out, 1)) return no_memory;
    put_char(out, ',');
  } while (lua_next(L, table) != 0);
  out->bytes[out->length - 1] = '}';
  return NULL;
}

/* The same for a table whose first key is 1: as a list, for as long as the keys are 1, 2, 3, …. `*done` is false when it
 * turned out to be none; then nothing was written. */
static const char *encode_plain_list(lua_State *L, output_t *out, int table, int depth, bool *done) {
  size_t start = out->length;
  const char *reason = put(out, "[", 1);
  if (reason) return reason;
  int next = 1;
  do {
    if (lua_type(L, -2) != LUA_TNUMBER || lua_tonumber(L, -2) != next) {
      lua_settop(L, table);
      out->length = start;
      out->careful = true;
      *done = false;
      return NULL;
    }
    if ((reason = encode_value(L, out, depth))) return reason;
    lua_settop(L, table + 1);
    if (!reserve(out, 1)) return no_memory;
    put_char(out, ',');
    next++;
  } while (lua_next(L, table) != 0);
  out->bytes[out->length - 1] = ']';
  return NULL;
}

/* Whether the table's metatable says that it is a list even when it is empty. */
static bool is_marked_list(lua_State *L) {
  if (!lua_getmetatable(L, -1)) return false;
  lua_pushliteral(L, "__jsontype");
  lua_rawget(L, -2);
  bool marked = lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), "array") == 0;
  lua_pop(L, 2);
  return marked;
}

static const char *encode_table(lua_State *L, output_t *out, int depth) {
  if (depth >= JSON_MAX_DEPTH || !lua_checkstack(L, 8))
    return refuse(out, "nested too deep", "too deep to serialize, or a cycle");
  int table = lua_gettop(L);
  lua_pushnil(L);
  if (lua_next(L, table) == 0) return is_marked_list(L) ? put(out, "[]", 2) : put(out, "{}", 2);
  if (lua_type(L, -2) != LUA_TNUMBER) return encode_object(L, out, table, depth + 1);
  if (!out->careful && lua_tonumber(L, -2) == 1) {
    bool done = true;
    const char *reason = encode_plain_list(L, out, table, depth + 1, &done);
    if (done) return reason;
  }
  lua_settop(L, table);
  int length = list_length(L, table);
  if (length == -2 && !out->lenient) return "a list with too many holes";
  if (length >= 0) return encode_list(L, out, length, depth + 1);
  lua_pushnil(L);
  lua_next(L, table);
  return encode_object(L, out, table, depth + 1);
}

static const char *refuse_type(const output_t *out, int type) {
  switch (type) {
  case LUA_TFUNCTION: return refuse(out, "a function", "cannot serialize 'function'");
  case LUA_TTHREAD: return refuse(out, "a coroutine", "cannot serialize 'thread'");
  case LUA_TUSERDATA: return refuse(out, "a userdata", "cannot serialize 'userdata'");
  case LUA_TLIGHTUSERDATA: return refuse(out, "a pointer", "cannot serialize 'userdata'");
  default: return refuse(out, "a cdata", "cannot serialize 'cdata' as JSON");
  }
}

/* Appends the value on the top of the stack and leaves it there. Returns NULL, or why not. */
static const char *encode_value(lua_State *L, output_t *out, int depth) {
  size_t length;
  const char *text;
  int type = lua_type(L, -1);
  switch (type) {
  case LUA_TNIL: return put(out, "null", 4);
  case LUA_TBOOLEAN: return lua_toboolean(L, -1) ? put(out, "true", 4) : put(out, "false", 5);
  case LUA_TNUMBER: return put_number(out, lua_tonumber(L, -1));
  case LUA_TSTRING: text = lua_tolstring(L, -1, &length); return put_string(out, text, length);
  case LUA_TTABLE: return encode_table(L, out, depth);
  case LUA_TLIGHTUSERDATA:
    if (!lua_touserdata(L, -1)) return put(out, "null", 4); /* json.null */
    return refuse_type(out, type);
  default: return refuse_type(out, type);
  }
}

const char *json_encode(lua_State *L, json_mode_t mode, const char **text, size_t *length) {
  luaL_checkstack(L, 8, NULL);
  output_t *out = find_output(L);
  if (!out) out = make_output(L);
  out->length = 0;
  out->lenient = mode == JSON_LENIENT;
  out->careful = false;
  const char *reason = encode_value(L, out, 0);
  *text = out->bytes;
  *length = out->length;
  return reason;
}

void json_release(lua_State *L, size_t length) {
  output_t *out = length > KEPT_SIZE ? find_output(L) : NULL;
  if (out) free_bytes(out);
}
