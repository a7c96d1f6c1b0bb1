/* json/encode.c: JSON text of Lua values. lua-cjson's encoder writes numbers with 14 digits, passes broken
 * UTF-8 on and does not say which value it could not encode. A table with the keys 1…n is an array, any other
 * an object; an empty one is `{}`. Holes are `null` when the array is not mostly holes. Numbers keep every
 * bit. */
#include "json/json.h"
#include "json/number.h"
#include "json/plain.h"
#include "json/state.h"

#include <lauxlib.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define KEPT_SIZE (1024 * 1024)

enum {
  MAX_HOLES = 10,     /* a list this short may have any number of holes */
  MARGIN = PLAIN_STEP /* bytes behind the text that may be looked at, and written over */
};

typedef struct {
  char *bytes;
  size_t length, capacity; /* which does not count the margin */
  bool lenient;
  bool
      careful; /* a list was none: from now on their keys are looked at first, lest texts are written again and again */
} output_t;

static const char *const no_memory = "not enough memory";

static bool grow(output_t *out, size_t more) {
  size_t capacity = out->capacity ? out->capacity : 1024 - MARGIN;
  while (capacity - out->length < more) capacity *= 2;
  char *bytes = realloc(out->bytes, capacity + MARGIN);
  if (!bytes) return false;
  out->bytes = bytes;
  out->capacity = capacity;
  return true;
}

static inline bool reserve(output_t *out, size_t more) {
  return out->capacity - out->length >= more || grow(out, more);
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

/* Those behind the first `plain`, and the quotes. There is room for a string without escapes. */
static const char *put_escaped(output_t *out, const unsigned char *at, const unsigned char *end,
                               size_t plain) {
  out->bytes[out->length++] = '"';
  for (size_t run = plain; at < end; run = json_plain_run(at, end, !out->lenient)) {
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

/* Copies up to a step; quicker than memcpy is for so few bytes. */
static inline void copy_few(char *to, const char *from, size_t length) {
  if (length >= 8) {
    uint64_t first, last;
    memcpy(&first, from, sizeof first);
    memcpy(&last, from + length - sizeof last, sizeof last);
    memcpy(to, &first, sizeof first);
    memcpy(to + length - sizeof last, &last, sizeof last);
  } else if (length >= 4) {
    uint32_t first, last;
    memcpy(&first, from, sizeof first);
    memcpy(&last, from + length - sizeof last, sizeof last);
    memcpy(to, &first, sizeof first);
    memcpy(to + length - sizeof last, &last, sizeof last);
  } else if (length > 0) {
    to[0] = from[0];
    to[length / 2] = from[length / 2];
    to[length - 1] = from[length - 1];
  }
}

/* Copies a string, and returns how much of it is plain. A short one is looked at where it was copied to, with the
 * margin behind it. */
static inline size_t copy_plain(output_t *out, char *to, const char *text, size_t length) {
  if (length <= PLAIN_STEP) {
    copy_few(to, text, length);
    unsigned marks = plain_marks((unsigned char *)to, !out->lenient) & ((1U << length) - 1);
    return marks ? (size_t)__builtin_ctz(marks) : length;
  }
  const unsigned char *bytes = (const unsigned char *)text;
  size_t plain = json_plain_run(bytes, bytes + length, !out->lenient);
  if (plain == length) memcpy(to, text, length);
  return plain;
}

/* Leaves room for two more bytes behind it. */
static inline const char *put_string(output_t *out, const char *text, size_t length) {
  if (!reserve(out, length + 4)) return no_memory;
  char *to = out->bytes + out->length;
  size_t plain = copy_plain(out, to + 1, text, length);
  if (plain < length) {
    const unsigned char *bytes = (const unsigned char *)text;
    return put_escaped(out, bytes, bytes + length, plain);
  }
  to[0] = to[length + 1] = '"';
  out->length += length + 2;
  return NULL;
}

static const char *put_number(output_t *out, double number) {
  if (!isfinite(number) && out->lenient) return put(out, "null", 4);
  if (!isfinite(number)) return number != number ? "not a number (NaN)" : "an infinite number";
  if (!reserve(out, JSON_NUMBER_SIZE)) return no_memory;
  out->length += json_put_number(out->bytes + out->length, number);
  return NULL;
}

static const char *encode_other(lua_State *L, output_t *out, int type, int depth);

/* Appends the value on the top of the stack and leaves it there. Returns NULL, or why not. */
static inline const char *encode_value(lua_State *L, output_t *out, int depth) {
  int type = lua_type(L, -1);
  if (type == LUA_TSTRING) {
    size_t length;
    const char *text = lua_tolstring(L, -1, &length);
    return put_string(out, text, length);
  }
  return type == LUA_TNUMBER ? put_number(out, lua_tonumber(L, -1)) : encode_other(L, out, type, depth);
}

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

/* A value that is neither string nor number. */
static const char *encode_other(lua_State *L, output_t *out, int type, int depth) {
  switch (type) {
  case LUA_TNIL: return put(out, "null", 4);
  case LUA_TBOOLEAN: return lua_toboolean(L, -1) ? put(out, "true", 4) : put(out, "false", 5);
  case LUA_TTABLE: return encode_table(L, out, depth);
  case LUA_TLIGHTUSERDATA:
    if (!lua_touserdata(L, -1)) return put(out, "null", 4); /* json.null */
    return refuse_type(out, type);
  default: return refuse_type(out, type);
  }
}

const char *json_encode(lua_State *L, json_mode_t mode, json_text_t *text) {
  luaL_checkstack(L, 8, NULL);
  json_state_t *state = json_state(L);
  output_t out = {.bytes = state->text, .capacity = state->capacity, .lenient = mode == JSON_LENIENT};
  state->text = NULL;
  state->capacity = 0;
  const char *reason = encode_value(L, &out, 0);
  *text = (json_text_t){out.bytes, out.length, out.capacity};
  return reason;
}

void json_release(lua_State *L, json_text_t *text) {
  json_state_t *state = json_state(L);
  if (state->text || text->length > KEPT_SIZE) {
    free(text->bytes);
  } else {
    state->text = text->bytes;
    state->capacity = text->capacity;
  }
  text->bytes = NULL;
}
