/* json_encode.c: Lua values → JSON text, and the module `lrun.json`. lua-cjson's own encoder writes numbers
 * with 14 digits, passes broken UTF-8 on and does not say which value it could not encode; so this one does
 * the writing. The text grows in one buffer a VM, an upvalue, which is kept from call to call while it is
 * small. No Lua code runs meanwhile, so two calls never share it. */
#include "json.h"

#include "modules.h"
#include <lauxlib.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEPT_SIZE  65536
#define PIECE      4096                 /* bytes of a string escaped at a time */
#define MAX_NUMBER 32                   /* characters of a number */
#define MAX_HOLES  10                   /* a list this short may have any number of holes */
#define EXACT      9.007199254740992e15 /* 2^53: whole numbers up to it are exact */

typedef struct {
  char *bytes;
  size_t length, capacity;
} output_t;

static const char *const no_memory = "not enough memory";

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
  if (!reserve(out, length)) return no_memory;
  memcpy(out->bytes + out->length, bytes, length);
  out->length += length;
  return NULL;
}

/* Appends the bytes from `at` on, escaped, at least up to `stop` and at most to the sequence that it falls
 * into. Returns where it went on to; NULL: not UTF-8. There is room for six bytes each. */
static const unsigned char *escape(output_t *out, const unsigned char *at, const unsigned char *stop,
                                   const unsigned char *end) {
  static const char digits[] = "0123456789abcdef", shorts[] = "\b\f\n\r\t\"\\", letters[] = "bfnrt\"\\";
  char *to = out->bytes + out->length;
  while (at < stop) {
    unsigned char c = *at;
    size_t used = 1;
    if (c >= 0x80) {
      used = json_utf8_sequence(at, (size_t)(end - at));
      if (used == 0) return NULL;
      memcpy(to, at, used);
      to += used;
    } else if (c >= 0x20 && c != '"' && c != '\\') {
      *to++ = (char)c;
    } else {
      const char *known = c ? strchr(shorts, c) : NULL;
      *to++ = '\\';
      if (known) {
        *to++ = letters[known - shorts];
      } else {
        to[0] = 'u';
        to[1] = to[2] = '0';
        to[3] = digits[c >> 4];
        to[4] = digits[c & 15];
        to += 5;
      }
    }
    at += used;
  }
  out->length = (size_t)(to - out->bytes);
  return at;
}

static const char *put_string(output_t *out, const char *text, size_t length) {
  const unsigned char *at = (const unsigned char *)text, *end = at + length;
  const char *reason = put(out, "\"", 1);
  while (at < end && !reason) {
    size_t piece = end - at > PIECE ? PIECE : (size_t)(end - at);
    if (!reserve(out, piece * 6 + 4)) return no_memory;
    at = escape(out, at, at + piece, end);
    if (!at) return "a string that is not UTF-8";
  }
  return reason ? reason : put(out, "\"", 1);
}

static size_t format_integer(char *text, int64_t number) {
  char digits[MAX_NUMBER];
  size_t at = sizeof digits, length = 0;
  uint64_t left = number < 0 ? -(uint64_t)number : (uint64_t)number;
  do {
    digits[--at] = (char)('0' + left % 10);
    left /= 10;
  } while (left > 0);
  if (number < 0) text[length++] = '-';
  memcpy(text + length, digits + at, sizeof digits - at);
  return length + sizeof digits - at;
}

/* The shortest digits that give the number back. Returns their count. */
static size_t format_number(char *text, double number) {
  int length = 0;
  if (number == floor(number) && fabs(number) <= EXACT) return format_integer(text, (int64_t)number);
  for (int precision = 15; precision <= 17; precision++) {
    length = snprintf(text, MAX_NUMBER, "%.*g", precision, number);
    if (strtod(text, NULL) == number) break;
  }
  for (char *c = text; *c; c++)
    if (!strchr("0123456789+-e", *c)) *c = '.'; /* the locale's decimal comma */
  return (size_t)length;
}

static const char *put_number(output_t *out, double number) {
  if (number - number != 0) return number != number ? "not a number (NaN)" : "an infinite number";
  if (!reserve(out, MAX_NUMBER)) return no_memory;
  out->length += format_number(out->bytes + out->length, number);
  return NULL;
}

static const char *encode_value(lua_State *L, output_t *out, int depth);

/* On a fault every function below leaves the stack as it is: value, key, value, key, …, which is the way to
 * the value that could not be encoded. */

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

/* The key below the value on the top of the stack. */
static const char *put_key(lua_State *L, output_t *out, int table) {
  const char *reason;
  size_t length;
  if (lua_type(L, -2) == LUA_TSTRING) {
    const char *text = lua_tolstring(L, -2, &length);
    reason = put_string(out, text, length);
    if (reason && reason != no_memory) return "a key that is not UTF-8";
  } else if (lua_type(L, -2) == LUA_TNUMBER) {
    char text[MAX_NUMBER];
    double key = lua_tonumber(L, -2);
    if (key - key != 0) return "an infinite key";
    length = format_number(text, key);
    lua_pushlstring(L, text, length);
    lua_rawget(L, table);
    bool twice = !lua_isnil(L, -1);
    lua_pop(L, 1);
    if (twice) return "there twice, under a number and a string";
    reason = put_string(out, text, length);
  } else {
    return "a key that is neither string nor number";
  }
  return reason ? reason : put(out, ":", 1);
}

static const char *encode_object(lua_State *L, output_t *out, int depth) {
  int table = lua_gettop(L);
  bool first = true;
  const char *reason = put(out, "{", 1);
  if (reason) return reason;
  lua_pushnil(L);
  while (lua_next(L, table) != 0) {
    if (!first && (reason = put(out, ",", 1))) return reason;
    first = false;
    if ((reason = put_key(L, out, table))) return reason;
    if ((reason = encode_value(L, out, depth))) return reason;
    lua_pop(L, 1);
  }
  return put(out, "}", 1);
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
  if (depth >= JSON_MAX_DEPTH || !lua_checkstack(L, 8)) return "nested too deep";
  int length = list_length(L, lua_gettop(L));
  if (length == -2) return "a list with too many holes";
  if (length == 0 && !is_marked_list(L)) return put(out, "{}", 2);
  return length >= 0 ? encode_list(L, out, length, depth + 1) : encode_object(L, out, depth + 1);
}

/* Appends the value on the top of the stack and leaves it there. Returns NULL, or why not. */
static const char *encode_value(lua_State *L, output_t *out, int depth) {
  size_t length;
  const char *text;
  switch (lua_type(L, -1)) {
  case LUA_TNIL: return put(out, "null", 4);
  case LUA_TBOOLEAN: return lua_toboolean(L, -1) ? put(out, "true", 4) : put(out, "false", 5);
  case LUA_TNUMBER: return put_number(out, lua_tonumber(L, -1));
  case LUA_TSTRING: text = lua_tolstring(L, -1, &length); return put_string(out, text, length);
  case LUA_TTABLE: return encode_table(L, out, depth);
  case LUA_TLIGHTUSERDATA:
    if (!lua_touserdata(L, -1)) return put(out, "null", 4); /* json.null */
    return "a pointer";
  case LUA_TFUNCTION: return "a function";
  case LUA_TTHREAD: return "a coroutine";
  case LUA_TUSERDATA: return "a userdata";
  default: return "a cdata";
  }
}

/* encode(value) → text; or nil, why, and the list of keys that lead to what could not be encoded */
static int l_encode(lua_State *L) {
  output_t *out = lua_touserdata(L, lua_upvalueindex(1));
  lua_settop(L, 1);
  luaL_checkstack(L, 8, NULL);
  out->length = 0;
  const char *reason = encode_value(L, out, 0);
  if (!reason) {
    lua_pushlstring(L, out->bytes, out->length);
  } else {
    int top = lua_gettop(L);
    lua_checkstack(L, 3);
    lua_createtable(L, top / 2, 0);
    for (int at = 2; at <= top; at += 2) {
      lua_pushvalue(L, at);
      lua_rawseti(L, -2, at / 2);
    }
    lua_pushnil(L);
    lua_pushstring(L, reason);
    lua_pushvalue(L, -3);
  }
  if (out->capacity > KEPT_SIZE) {
    free(out->bytes);
    memset(out, 0, sizeof *out);
  }
  return reason ? 3 : 1;
}

/* check(text) → nothing, or the offset (from 1) of what is wrong and why */
static int l_check(lua_State *L) {
  size_t length;
  json_fault_t fault;
  const char *text = luaL_checklstring(L, 1, &length);
  if (json_check(text, length, &fault) == 0) return 0;
  lua_pushnumber(L, (lua_Number)fault.offset + 1);
  lua_pushstring(L, fault.reason);
  return 2;
}

static int l_free_output(lua_State *L) {
  output_t *out = lua_touserdata(L, 1);
  free(out->bytes);
  memset(out, 0, sizeof *out);
  return 0;
}

int luaopen_lrun_json(lua_State *L) {
  lua_createtable(L, 0, 2);
  lua_pushcfunction(L, l_check);
  lua_setfield(L, -2, "check");
  output_t *out = lua_newuserdata(L, sizeof *out);
  memset(out, 0, sizeof *out);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, l_free_output);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  lua_pushcclosure(L, l_encode, 1);
  lua_setfield(L, -2, "encode");
  return 1;
}
