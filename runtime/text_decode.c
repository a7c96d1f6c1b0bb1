/* text_decode.c: Lua values of JSON text, strictly by RFC 8259, but bytes of strings are taken as they are.
 * Recursion ends at TEXT_MAX_DEPTH; memory grows with the text, not with what it claims. */
#include "text.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  lua_State *L;
  const char *at, *end;
  const char *error;
} reader_t;

static bool fail(reader_t *reader, const char *error) {
  if (!reader->error) reader->error = error;
  return false;
}

static void skip_space(reader_t *reader) {
  while (reader->at < reader->end &&
         (*reader->at == ' ' || *reader->at == '\t' || *reader->at == '\n' || *reader->at == '\r'))
    reader->at++;
}

static bool read_word(reader_t *reader, const char *word, size_t length) {
  if ((size_t)(reader->end - reader->at) < length || memcmp(reader->at, word, length) != 0)
    return fail(reader, "invalid token");
  reader->at += length;
  return true;
}

static bool is_digit(const reader_t *reader) {
  return reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9';
}

static bool read_digits(reader_t *reader) {
  if (!is_digit(reader)) return fail(reader, "invalid number");
  while (is_digit(reader)) reader->at++;
  return true;
}

static bool push_double(reader_t *reader, const char *start) {
  char text[64];
  size_t length = (size_t)(reader->at - start);
  if (length < sizeof text) {
    memcpy(text, start, length);
    text[length] = 0;
    lua_pushnumber(reader->L, strtod(text, NULL));
    return true;
  }
  char *copy = strndup(start, length);
  if (!copy) return fail(reader, "not enough memory");
  lua_pushnumber(reader->L, strtod(copy, NULL));
  free(copy);
  return true;
}

static bool read_number(reader_t *reader) {
  enum { EXACT_DIGITS = 15 };
  const char *start = reader->at;
  bool negative = *reader->at == '-';
  if (negative) reader->at++;
  const char *first = reader->at;
  int64_t value = 0;
  while (is_digit(reader) && reader->at - first < EXACT_DIGITS) value = value * 10 + (*reader->at++ - '0');
  if (reader->at == first) return fail(reader, "invalid number");
  if (*first == '0' && reader->at - first > 1) return fail(reader, "invalid number");
  bool simple = reader->at == reader->end ||
                (*reader->at != '.' && *reader->at != 'e' && *reader->at != 'E' && !is_digit(reader));
  if (simple && (value != 0 || !negative)) {
    lua_pushnumber(reader->L, (lua_Number)(negative ? -value : value));
    return true;
  }
  while (is_digit(reader)) reader->at++;
  if (*first == '0' && reader->at - first > 1) return fail(reader, "invalid number");
  if (reader->at < reader->end && *reader->at == '.') {
    reader->at++;
    if (!read_digits(reader)) return false;
  }
  if (reader->at < reader->end && (*reader->at == 'e' || *reader->at == 'E')) {
    reader->at++;
    if (reader->at < reader->end && (*reader->at == '+' || *reader->at == '-')) reader->at++;
    if (!read_digits(reader)) return false;
  }
  return push_double(reader, start);
}

/* Four hexadecimal digits; -1 when there are none. */
static int read_hex(reader_t *reader) {
  if (reader->end - reader->at < 4) return -1;
  int value = 0;
  for (int i = 0; i < 4; i++) {
    char c = *reader->at++;
    int digit = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

/* UTF-8 of a code point; half a surrogate pair is kept as three bytes of its own. */
static size_t put_utf8(char *to, unsigned point) {
  if (point < 0x80) {
    to[0] = (char)point;
    return 1;
  }
  if (point < 0x800) {
    to[0] = (char)(0xc0 | point >> 6);
    to[1] = (char)(0x80 | (point & 0x3f));
    return 2;
  }
  if (point < 0x10000) {
    to[0] = (char)(0xe0 | point >> 12);
    to[1] = (char)(0x80 | (point >> 6 & 0x3f));
    to[2] = (char)(0x80 | (point & 0x3f));
    return 3;
  }
  to[0] = (char)(0xf0 | point >> 18);
  to[1] = (char)(0x80 | (point >> 12 & 0x3f));
  to[2] = (char)(0x80 | (point >> 6 & 0x3f));
  to[3] = (char)(0x80 | (point & 0x3f));
  return 4;
}

static bool read_unicode(reader_t *reader, char **to) {
  int point = read_hex(reader);
  if (point < 0) return fail(reader, "invalid \\u escape");
  if (point >= 0xd800 && point < 0xdc00 && reader->end - reader->at >= 6 && reader->at[0] == '\\' &&
      reader->at[1] == 'u') {
    const char *second = reader->at;
    reader->at += 2;
    int low = read_hex(reader);
    if (low >= 0xdc00 && low < 0xe000) point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
    else reader->at = second;
  }
  *to += put_utf8(*to, (unsigned)point);
  return true;
}

static bool read_escape(reader_t *reader, char **to) {
  static const char plain[128] = {['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
                                  ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t'};
  if (reader->at == reader->end) return fail(reader, "unfinished string");
  unsigned char c = (unsigned char)*reader->at++;
  if (c == 'u') return read_unicode(reader, to);
  if (c >= sizeof plain || !plain[c]) return fail(reader, "invalid escape");
  *(*to)++ = plain[c];
  return true;
}

/* The slow way: a string with escapes is written into a buffer no longer than its text. */
static bool read_escaped(reader_t *reader, const char *start) {
  const char *quote = reader->at;
  while (quote < reader->end && *quote != '"') quote += *quote == '\\' ? 2 : 1;
  if (quote >= reader->end) return fail(reader, "unfinished string");
  char *text = malloc((size_t)(quote - start) + 1);
  if (!text) return fail(reader, "not enough memory");
  size_t before = (size_t)(reader->at - start);
  memcpy(text, start, before);
  char *to = &text[before];
  bool good = true;
  while (good && reader->at < quote) {
    char c = *reader->at++;
    if (c == '\\') good = read_escape(reader, &to);
    else if ((unsigned char)c < 0x20) good = fail(reader, "control character in a string");
    else *to++ = c;
  }
  reader->at++;
  if (good) lua_pushlstring(reader->L, text, (size_t)(to - text));
  free(text);
  return good;
}

/* Whether none of eight bytes ends a string or its plain part: none is below 0x20, a quote or a backslash. */
static bool is_plain(const char *text) {
  const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
  uint64_t word;
  memcpy(&word, text, sizeof word);
  uint64_t quote = word ^ ones * '"', backslash = word ^ ones * '\\';
  return !(((word - ones * 0x20) | (quote - ones) | (backslash - ones)) & ~word & highs);
}

static bool read_string(reader_t *reader) {
  const char *start = ++reader->at;
  while (reader->end - reader->at >= 8 && is_plain(reader->at)) reader->at += 8;
  while (reader->at < reader->end) {
    unsigned char c = (unsigned char)*reader->at;
    if (c == '"') {
      lua_pushlstring(reader->L, start, (size_t)(reader->at - start));
      reader->at++;
      return true;
    }
    if (c == '\\') return read_escaped(reader, start);
    if (c < 0x20) return fail(reader, "control character in a string");
    reader->at++;
  }
  return fail(reader, "unfinished string");
}

static bool read_value(reader_t *reader, int depth);

/* Whether another item follows. */
static bool more(reader_t *reader, char close, bool *done) {
  skip_space(reader);
  if (reader->at == reader->end) return fail(reader, "unexpected end");
  char c = *reader->at++;
  *done = c == close;
  return c == ',' || c == close || fail(reader, "expected a comma");
}

static bool read_array(reader_t *reader, int depth) {
  lua_State *L = reader->L;
  reader->at++;
  skip_space(reader);
  lua_newtable(L);
  if (reader->at < reader->end && *reader->at == ']') return reader->at++, true;
  bool done = false;
  for (int i = 1; !done; i++) {
    if (!read_value(reader, depth)) return false;
    lua_rawseti(L, -2, i);
    if (!more(reader, ']', &done)) return false;
  }
  return true;
}

static bool read_object(reader_t *reader, int depth) {
  lua_State *L = reader->L;
  reader->at++;
  skip_space(reader);
  lua_newtable(L);
  if (reader->at < reader->end && *reader->at == '}') return reader->at++, true;
  bool done = false;
  while (!done) {
    skip_space(reader);
    if (reader->at == reader->end || *reader->at != '"') return fail(reader, "expected a key");
    if (!read_string(reader)) return false;
    skip_space(reader);
    if (reader->at == reader->end || *reader->at++ != ':') return fail(reader, "expected a colon");
    if (!read_value(reader, depth)) return false;
    if (lua_type(L, -1) == LUA_TLIGHTUSERDATA) {
      lua_pop(L, 1);
      lua_pushnil(L);
    }
    lua_rawset(L, -3);
    if (!more(reader, '}', &done)) return false;
  }
  return true;
}

static bool read_value(reader_t *reader, int depth) {
  skip_space(reader);
  if (reader->at == reader->end) return fail(reader, "unexpected end");
  if (depth == TEXT_MAX_DEPTH) return fail(reader, "nested too deeply");
  switch (*reader->at) {
  case '{':
    if (!lua_checkstack(reader->L, 4)) return fail(reader, "nested too deeply");
    return read_object(reader, depth + 1);
  case '[':
    if (!lua_checkstack(reader->L, 4)) return fail(reader, "nested too deeply");
    return read_array(reader, depth + 1);
  case '"': return read_string(reader);
  case 't': lua_pushboolean(reader->L, 1); return read_word(reader, "true", 4);
  case 'f': lua_pushboolean(reader->L, 0); return read_word(reader, "false", 5);
  case 'n': lua_pushlightuserdata(reader->L, NULL); return read_word(reader, "null", 4);
  case '-':
  case '0':
  case '1':
  case '2':
  case '3':
  case '4':
  case '5':
  case '6':
  case '7':
  case '8':
  case '9': return read_number(reader);
  default: return fail(reader, "invalid token");
  }
}

const char *text_decode(lua_State *L, const char *text, size_t length) {
  reader_t reader = {L, text, text + length, NULL};
  int top = lua_gettop(L);
  bool good = read_value(&reader, 0);
  skip_space(&reader);
  if (good && reader.at < reader.end) good = fail(&reader, "text after the value");
  if (good) return NULL;
  lua_settop(L, top);
  return reader.error;
}
