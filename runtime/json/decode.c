/* json/decode.c: Lua values of JSON text, in one pass: checks and builds. lua-cjson's decoder takes more than
 * JSON (hexadecimal numbers, NaN, control characters, broken UTF-8) and less than Node sends (halves of
 * surrogate pairs), tells less of where it stopped, and needs the text as a Lua string and a second pass for
 * `null`. Recursion ends at JSON_MAX_DEPTH; memory grows with the text, not with what it claims. */
#include "json/json.h"

#include <lauxlib.h>
#include <limits.h>
#include <locale.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  lua_State *L;
  const unsigned char *at, *end;
  const char *reason; /* of the fault at `at` */
  bool strict;
  int depth;
  char *scratch; /* a string with escapes, as far as it is read */
  size_t room;   /* bytes of scratch */
} reader_t;

static const char no_memory[] = "not enough memory";

static bool read_value(reader_t *r);

static bool fail(reader_t *r, const char *reason) {
  r->reason = r->at == r->end ? "unexpected end" : reason;
  return false;
}

static void skip_space(reader_t *r) {
  while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r')) r->at++;
}

static bool next_is(const reader_t *r, char c) { return r->at < r->end && *r->at == (unsigned char)c; }

static bool is_digit(const reader_t *r) { return r->at < r->end && *r->at >= '0' && *r->at <= '9'; }

/* Makes scratch hold `length` bytes. */
static bool ensure(reader_t *r, size_t length) {
  if (r->scratch && r->room >= length) return true;
  size_t room = length * 2;
  char *scratch = realloc(r->scratch, room);
  if (!scratch) {
    r->reason = no_memory;
    return false;
  }
  r->scratch = scratch;
  r->room = room;
  return true;
}

/* The number from `start` to `at`, whatever the locale's decimal point is. */
static bool push_double(reader_t *r, const unsigned char *start) {
  static locale_t plain; /* a constant of the C library: never freed */
  size_t length = (size_t)(r->at - start);
  if (!ensure(r, length + 1)) return false;
  memcpy(r->scratch, start, length);
  r->scratch[length] = 0;
  if (!plain) plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  lua_pushnumber(r->L, strtod_l(r->scratch, NULL, plain));
  return true;
}

enum { EXACT_DIGITS = 15, EXACT_POWER = 22 };

/* digits × 10^power, where both are exact in a double and one operation rounds once. */
static lua_Number scale(int64_t digits, int power) {
  static const double powers[EXACT_POWER + 1] = {1,    1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                 1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  return power < 0 ? (double)digits / powers[-power] : (double)digits * powers[power];
}

/* Appends digits to `*value` while they are exact; returns how many there were, exact or not. */
static int read_digits(reader_t *r, int64_t *value, int known) {
  const unsigned char *first = r->at;
  for (; is_digit(r); r->at++)
    if (known + (r->at - first) < EXACT_DIGITS) *value = *value * 10 + (*r->at - '0');
  return r->at - first > INT_MAX ? INT_MAX : (int)(r->at - first);
}

/* The exponent behind an `e`; one that is too large for a double is as good as any such. */
static bool read_exponent(reader_t *r, int *exponent) {
  enum { TOO_LARGE = 100000 };
  bool negative = next_is(r, '-');
  if (negative || next_is(r, '+')) r->at++;
  if (!is_digit(r)) return fail(r, "expected a digit");
  int value = 0;
  for (; is_digit(r); r->at++)
    if (value < TOO_LARGE) value = value * 10 + (*r->at - '0');
  *exponent = negative ? -value : value;
  return true;
}

static bool read_number(reader_t *r) {
  const unsigned char *start = r->at;
  bool negative = next_is(r, '-');
  if (negative) r->at++;
  const unsigned char *first = r->at;
  int64_t value = 0;
  int whole = read_digits(r, &value, 0), behind = 0, exponent = 0;
  if (whole == 0) return fail(r, "expected a digit");
  if (*first == '0' && whole > 1) {
    r->at = first + 1;
    return fail(r, "number with a leading zero");
  }
  if (next_is(r, '.')) {
    r->at++;
    behind = read_digits(r, &value, whole);
    if (behind == 0) return fail(r, "expected a digit");
  }
  if (next_is(r, 'e') || next_is(r, 'E')) {
    r->at++;
    if (!read_exponent(r, &exponent)) return false;
  }
  bool exact = whole <= EXACT_DIGITS && behind <= EXACT_DIGITS - whole;
  int power = exact ? exponent - behind : 0;
  if (!exact || power < -EXACT_POWER || power > EXACT_POWER) return push_double(r, start);
  lua_Number number = scale(value, power);
  lua_pushnumber(r->L, negative ? -number : number);
  return true;
}

/* UTF-8 of a code point; half a surrogate pair becomes three bytes of its own. */
static size_t put_utf8(char *to, unsigned point) {
  if (point < 0x80) {
    to[0] = (char)point;
    return 1;
  }
  size_t length = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
  for (size_t i = length - 1; i > 0; i--, point >>= 6) to[i] = (char)(0x80 | (point & 0x3F));
  to[0] = (char)((0xF00 >> length & 0xF0) | point);
  return length;
}

/* Four hexadecimal digits; -1 when they are not. Stops at the one that is wrong. */
static int read_unit(reader_t *r) {
  int unit = 0;
  for (int i = 0; i < 4; i++, r->at++) {
    if (r->at == r->end) return -1;
    int c = *r->at, digit;
    if (c >= '0' && c <= '9') digit = c - '0';
    else if ((c | 32) >= 'a' && (c | 32) <= 'f') digit = (c | 32) - 'a' + 10;
    else return -1;
    unit = unit * 16 + digit;
  }
  return unit;
}

/* The `uXXXX` of an escape, with its second half when it is the first half of a surrogate pair. */
static bool read_unicode_escape(reader_t *r, size_t *used) {
  const unsigned char *start = r->at++;
  int unit = read_unit(r);
  if (unit < 0) return fail(r, "expected a hexadecimal digit");
  unsigned point = (unsigned)unit;
  bool paired = unit < 0xD800 || unit > 0xDFFF;
  if (unit >= 0xD800 && unit <= 0xDBFF && r->end - r->at >= 2 && r->at[0] == '\\' && r->at[1] == 'u') {
    const unsigned char *second = r->at;
    r->at += 2;
    int low = read_unit(r);
    if (low < 0) return fail(r, "expected a hexadecimal digit");
    paired = low >= 0xDC00 && low <= 0xDFFF;
    if (paired) point = 0x10000 + ((point - 0xD800) << 10) + ((unsigned)low - 0xDC00);
    else r->at = second;
  }
  if (r->strict && !paired) {
    r->at = start - 1;
    return fail(r, "half of a surrogate pair");
  }
  *used += put_utf8(r->scratch + *used, point);
  return true;
}

/* An escape from its backslash on, appended to scratch, in which there is room for it. */
static bool read_escape(reader_t *r, size_t *used) {
  static const char names[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
  r->at++;
  if (r->at == r->end) return fail(r, NULL);
  if (*r->at == 'u') return read_unicode_escape(r, used);
  const char *name = *r->at ? strchr(names, *r->at) : NULL;
  if (!name) return fail(r, "unknown escape");
  r->scratch[(*used)++] = bytes[name - names];
  r->at++;
  return true;
}

/* Appends the bytes from `start` to `at` to scratch, and leaves room there for an escape. */
static bool keep(reader_t *r, const unsigned char *start, size_t *used) {
  size_t length = (size_t)(r->at - start);
  if (!ensure(r, *used + length + 4)) return false;
  memcpy(r->scratch + *used, start, length);
  *used += length;
  return true;
}

/* Without escapes the bytes of the text are the string; with some, scratch is. */
static bool read_string(reader_t *r) {
  const unsigned char *start = ++r->at;
  bool escaped = false;
  size_t used = 0;
  for (;;) {
    r->at += json_plain_run(r->at, r->end, r->strict);
    if (r->at == r->end) return fail(r, NULL);
    if (*r->at == '"') break;
    if (*r->at < 0x20) return fail(r, "control character in a string");
    if (*r->at == '\\') {
      if (!keep(r, start, &used) || !read_escape(r, &used)) return false;
      escaped = true;
      start = r->at;
      continue;
    }
    size_t length = json_utf8_sequence(r->at, (size_t)(r->end - r->at));
    if (length == 0) return fail(r, "string that is not UTF-8");
    r->at += length;
  }
  if (escaped && !keep(r, start, &used)) return false;
  if (escaped) lua_pushlstring(r->L, r->scratch, used);
  else lua_pushlstring(r->L, (const char *)start, (size_t)(r->at - start));
  r->at++;
  return true;
}

static bool read_word(reader_t *r, const char *word) {
  for (const unsigned char *start = r->at; *word; word++, r->at++)
    if (!next_is(r, *word)) {
      bool ended = r->at == r->end;
      if (!ended) r->at = start;
      return fail(r, "unexpected character");
    }
  return true;
}

static bool read_key(reader_t *r) {
  skip_space(r);
  if (!next_is(r, '"')) return fail(r, "expected a key in quotes");
  if (!read_string(r)) return false;
  skip_space(r);
  if (!next_is(r, ':')) return fail(r, "expected ':'");
  r->at++;
  return true;
}

/* Members wait on the stack until it is known how many there are, so that the table is made in its size: as many as
 * this, fewer far down, where the stack is scarce. */
enum { WAITING = 16, WAITING_DEPTH = 100 };

typedef struct {
  bool keyed;    /* an object */
  int table;     /* stack index of the table, or of where it will be; members wait above it */
  int waiting;   /* how many */
  int index;     /* of an array: the last that is in the table */
  bool is_there; /* the table */
} members_t;

static bool is_null(lua_State *L, int index) {
  return lua_type(L, index) == LUA_TLIGHTUSERDATA; /* nothing else is one */
}

/* Puts what waits into the table, which has room for `expected` when it is made here. */
static void settle(lua_State *L, members_t *m, int expected) {
  if (!m->is_there) {
    lua_createtable(L, m->keyed ? 0 : expected, m->keyed ? expected : 0);
    lua_replace(L, m->table);
    m->is_there = true;
  }
  int at = m->table + 1;
  for (int i = 0; i < m->waiting; i++, at += m->keyed ? 2 : 1) {
    if (!m->keyed) {
      lua_pushvalue(L, at);
      lua_rawseti(L, m->table, ++m->index);
      continue;
    }
    lua_pushvalue(L, at);
    if (is_null(L, at + 1)) lua_pushnil(L);
    else lua_pushvalue(L, at + 1);
    lua_rawset(L, m->table);
  }
  m->waiting = 0;
  lua_settop(L, m->table);
}

/* An array or object; `keyed` tells which. */
static bool read_members(reader_t *r, bool keyed) {
  char close = keyed ? '}' : ']';
  int most = r->depth < WAITING_DEPTH ? WAITING : 1;
  if (r->depth == JSON_MAX_DEPTH || !lua_checkstack(r->L, (keyed ? 2 : 1) * most + 5))
    return fail(r, "nested too deep");
  r->depth++;
  r->at++;
  lua_pushnil(r->L);
  members_t m = {.keyed = keyed, .table = lua_gettop(r->L)};
  skip_space(r);
  bool more = !next_is(r, close);
  while (more) {
    if (keyed && !read_key(r)) return false;
    if (!read_value(r)) return false;
    more = next_is(r, ',');
    if (more) r->at++;
    else if (!next_is(r, close)) return fail(r, keyed ? "expected ',' or '}'" : "expected ',' or ']'");
    if (++m.waiting == most && more) settle(r->L, &m, 2 * most);
  }
  settle(r->L, &m, m.waiting);
  r->at++;
  r->depth--;
  return true;
}

/* A value and the space around it. */
static bool read_value(reader_t *r) {
  bool ok;
  skip_space(r);
  if (r->at == r->end) return fail(r, NULL);
  switch (*r->at) {
  case '{': ok = read_members(r, true); break;
  case '[': ok = read_members(r, false); break;
  case '"': ok = read_string(r); break;
  case 't':
    lua_pushboolean(r->L, 1);
    ok = read_word(r, "true");
    break;
  case 'f':
    lua_pushboolean(r->L, 0);
    ok = read_word(r, "false");
    break;
  case 'n':
    lua_pushlightuserdata(r->L, NULL);
    ok = read_word(r, "null");
    break;
  default:
    if (*r->at != '-' && !is_digit(r)) return fail(r, "unexpected character");
    ok = read_number(r);
  }
  if (ok) skip_space(r);
  return ok;
}

int json_decode(lua_State *L, const char *text, size_t length, json_mode_t mode, json_fault_t *fault) {
  const unsigned char *start = (const unsigned char *)text;
  reader_t r = {.L = L, .at = start, .end = start + length, .strict = mode == JSON_STRICT};
  int top = lua_gettop(L);
  luaL_checkstack(L, 4, NULL);
  bool ok = read_value(&r) && (r.at == r.end || fail(&r, "unexpected character after the value"));
  free(r.scratch);
  if (ok && lua_type(L, -1) != LUA_TLIGHTUSERDATA) return 0;
  lua_settop(L, top);
  if (ok) {
    lua_pushnil(L);
    return 0;
  }
  fault->offset = (size_t)(r.at - start);
  fault->reason = r.reason;
  return -1;
}
