/* json/decode.c: Lua values of JSON text, in one pass: checks and builds. lua-cjson's decoder takes more than
 * JSON (hexadecimal numbers, NaN, control characters, broken UTF-8) and less than Node sends (halves of
 * surrogate pairs), tells less of where it stopped, and needs the text as a Lua string and a second pass for
 * `null`. Recursion ends at JSON_MAX_DEPTH; memory grows with the text, not with what it claims. */
#include "json/json.h"
#include "json/number.h"
#include "json/plain.h"
#include "json/shapes.h"
#include "json/state.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  lua_State *L;
  const unsigned char *start, *at, *end;
  const char *reason; /* of the fault at `at` */
  bool strict;
  bool nulls; /* were read */
  int depth;
  json_state_t *state;
  json_keys_t *keys;
  json_shapes_t *shapes;
  int strings;          /* stack index of the keys' table; the shapes' is above it */
  json_guess_t *inside; /* where the next object is guessed, and noted */
  char *scratch;        /* a string with escapes, as far as it is read */
  size_t room;          /* bytes of scratch */
} reader_t;

static bool read_value(reader_t *r);

static bool fail(reader_t *r, const char *reason) {
  r->reason = r->at == r->end && reason != json_no_memory ? "unexpected end" : reason;
  return false;
}

static bool is_space(unsigned char c) {
  return c <= ' ' && (c == ' ' || c == '\n' || c == '\t' || c == '\r');
}

static void skip_space(reader_t *r) {
  while (r->at < r->end && is_space(*r->at)) r->at++;
}

/* The first byte behind space; 0, which belongs nowhere, at the end. */
static inline unsigned behind_space(reader_t *r) {
  const unsigned char *at = r->at;
  if (at != r->end && *at > ' ') return *at;
  skip_space(r);
  return r->at < r->end ? *r->at : 0;
}

static inline bool next_is(const reader_t *r, char c) { return r->at < r->end && *r->at == (unsigned char)c; }

/* Makes scratch hold `length` bytes. */
static bool ensure(reader_t *r, size_t length) {
  if (r->scratch && r->room >= length) return true;
  size_t room = length * 2;
  char *scratch = realloc(r->scratch, room);
  if (!scratch) {
    r->reason = json_no_memory;
    return false;
  }
  r->scratch = scratch;
  r->room = room;
  return true;
}

static bool read_number(reader_t *r) {
  lua_Number number;
  const char *reason = json_read_number(&r->at, r->end, &number);
  if (reason) return fail(r, reason);
  lua_pushnumber(r->L, number);
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

/* Passes over plain bytes: most strings are over within a step, which at the end of the text begins before them. */
static inline void skip_plain(reader_t *r) {
  ptrdiff_t left = r->end - r->at;
  unsigned marks = 0;
  for (; left >= PLAIN_STEP; left -= PLAIN_STEP, r->at += PLAIN_STEP)
    if ((marks = plain_marks(r->at, r->strict))) break;
  if (!marks && left > 0 && r->end - r->start >= PLAIN_STEP)
    marks = plain_marks(r->end - PLAIN_STEP, r->strict) >> (PLAIN_STEP - left);
  r->at += marks ? (size_t)__builtin_ctz(marks) : json_plain_run(r->at, r->end, r->strict);
}

/* From the first byte on that is not plain, to the closing quote. The string is scratch, of which `*used` bytes are taken,
 * when it has escapes. */
static bool read_special(reader_t *r, const unsigned char *start, bool *escaped, size_t *used) {
  for (; r->at == r->end || *r->at != '"'; skip_plain(r)) {
    if (r->at == r->end) return fail(r, NULL);
    if (*r->at < 0x20) return fail(r, "control character in a string");
    if (*r->at == '\\') {
      if (!keep(r, start, used) || !read_escape(r, used)) return false;
      *escaped = true;
      start = r->at;
      continue;
    }
    size_t length = json_utf8_sequence(r->at, (size_t)(r->end - r->at));
    if (length == 0) return fail(r, "string that is not UTF-8");
    r->at += length;
  }
  return !*escaped || keep(r, start, used);
}

/* Whether a key may be known from now on: who knows it asks no more whether it is text, and where that was not asked, only
 * ASCII surely is. */
static inline bool may_keep(const reader_t *r, const unsigned char *start) {
  return r->strict || start + json_plain_run(start, r->at, true) == r->at;
}

/* Pushes a string, and passes over its quotes. `place`, if not NULL: it is a key, of which the place is told. */
static inline bool read_string(reader_t *r, int *place) {
  const unsigned char *start = ++r->at;
  bool escaped = false;
  size_t used = 0;
  skip_plain(r);
  if ((r->at == r->end || *r->at != '"') && !read_special(r, start, &escaped, &used)) return false;
  if (escaped) lua_pushlstring(r->L, r->scratch, used);
  else if (place && may_keep(r, start))
    *place = json_keys_push(r->keys, r->L, r->strings, start, (size_t)(r->at - start));
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

/* Members wait on the stack until it is known how many there are, so that the table is made in its size: as many as
 * this, fewer far down, where the stack is scarce. */
enum { WAITING = 16, WAITING_DEPTH = 100 };

typedef struct {
  bool keyed;                    /* an object */
  int table;                     /* stack index of the table, or of where it will be; members wait above it */
  int waiting;                   /* how many */
  int index;                     /* of an array: the last that is in the table */
  bool is_there;                 /* the table */
  bool alike;                    /* of an object: two of the keys that wait may be the same */
  uint8_t places[WAITING];       /* of the keys that wait */
  uint64_t seen[JSON_KEYS / 64]; /* a bit for each place that they have */
} members_t;

/* Notes which key came. */
static void note_key(members_t *m, int place) {
  if (place < 0) {
    m->alike = true;
    return;
  }
  uint64_t *word = &m->seen[place / 64], bit = UINT64_C(1) << place % 64;
  if (*word & bit) m->alike = true;
  *word |= bit;
  m->places[m->waiting] = (uint8_t)place;
}

/* A key and its colon. `*guess` is the place that it may have. */
static bool read_key(reader_t *r, members_t *m, uint8_t **guess) {
  int place = **guess;
  if (behind_space(r) != '"') return fail(r, "expected a key in quotes");
  size_t length = json_keys_guess(r->keys, r->L, r->strings, place, r->at + 1, r->end);
  if (length > 0) {
    r->at += 1 + length;
  } else {
    place = -1;
    if (!read_string(r, &place)) return false;
    if (place >= 0) **guess = (uint8_t)place;
  }
  note_key(m, place);
  if (place >= 0) {
    *guess = &r->keys->places[place].next;
    r->inside = &r->keys->places[place].inside;
  }
  if (behind_space(r) != ':') return fail(r, "expected ':'");
  r->at++;
  return true;
}

static bool is_null(lua_State *L, int index) {
  return lua_type(L, index) == LUA_TLIGHTUSERDATA; /* nothing else is one */
}

/* A key and a value from the top of the stack into the table. */
static void set_member(const reader_t *r, const members_t *m) {
  lua_State *L = r->L;
  if (r->nulls && is_null(L, -1)) {
    lua_pop(L, 1);
    lua_pushnil(L);
  }
  lua_rawset(L, m->table);
}

/* Of keys that are the same the last one stays; an array grows from its end. */
static void set_in_order(const reader_t *r, const members_t *m) {
  lua_State *L = r->L;
  for (int i = 0, at = m->table + 1; i < m->waiting; i++) {
    lua_pushvalue(L, at++);
    if (m->keyed) {
      lua_pushvalue(L, at++);
      set_member(r, m);
    } else {
      lua_rawseti(L, m->table, m->index + i + 1);
    }
  }
  lua_settop(L, m->table);
}

/* Puts what waits into the table, which has room for `expected` when it is made here. Mostly from the top down, which
 * takes no copies. */
static void settle(const reader_t *r, members_t *m, int expected) {
  lua_State *L = r->L;
  bool in_order = m->keyed ? m->alike : m->is_there;
  if (!m->is_there) {
    lua_createtable(L, m->keyed ? 0 : expected, m->keyed ? expected : 0);
    lua_replace(L, m->table);
    m->is_there = true;
  }
  if (in_order) {
    set_in_order(r, m);
  } else {
    for (int i = m->waiting; i > 0; i--) {
      if (m->keyed) set_member(r, m);
      else lua_rawseti(L, m->table, i);
    }
  }
  m->index += m->waiting;
  m->waiting = 0;
}

/* Passes over a piece of a shape's text: the brace or comma before a key, the key and its colon, mostly without space
 * between them. False: something else comes. */
static inline bool pass_piece(reader_t *r, const char *piece, size_t length) {
  if ((size_t)(r->end - r->at) >= length + sizeof(uint64_t) && same_words(r->at, piece, length)) {
    r->at += length;
    return true;
  }
  const unsigned char *start = r->at;
  size_t key = length - 2; /* with its quotes */
  if (behind_space(r) == (unsigned char)piece[0]) {
    r->at++;
    if (behind_space(r) == '"' && (size_t)(r->end - r->at) > key && memcmp(r->at, piece + 1, key) == 0) {
      r->at += key;
      if (behind_space(r) == ':') {
        r->at++;
        return true;
      }
    }
  }
  r->at = start;
  return false;
}

/* Most values are strings. */
static inline bool read_member(reader_t *r) {
  return behind_space(r) == '"' ? read_string(r, NULL) : read_value(r);
}

/* Reads an object as one of the shape for as long as it is one. Returns how many values are on the stack, behind the last of
 * which it stands; -1 when what comes is no JSON. */
static int read_shaped(reader_t *r, json_shape_t *shape) {
  const char *piece = shape->text;
  int count = shape->count, i = 0;
  for (; i < count && pass_piece(r, piece, shape->lengths[i]); i++) {
    piece += shape->lengths[i];
    r->inside = &shape->inside[i];
    if (!read_member(r)) return -1;
  }
  return i;
}

/* The values that wait are all of the shape. */
static void settle_shaped(const reader_t *r, const members_t *m, const json_shape_t *shape) {
  lua_State *L = r->L;
  if (r->nulls)
    for (int i = 1; i <= shape->count; i++)
      if (is_null(L, m->table + i)) {
        lua_pushnil(L);
        lua_replace(L, m->table + i);
      }
  lua_rawgeti(L, r->strings + 1, shape->values);
  lua_replace(L, m->table);
  lua_call(L, shape->count, 1);
}

/* The values that wait are the first `count` of the shape: what follows is something else. */
static void settle_unlike(const reader_t *r, members_t *m, const json_shape_t *shape, int count) {
  lua_State *L = r->L;
  lua_createtable(L, 0, shape->count);
  lua_replace(L, m->table);
  m->is_there = true;
  for (; count > 0; count--) {
    lua_rawgeti(L, r->strings + 1, shape->values + count);
    lua_insert(L, -2);
    set_member(r, m);
  }
}

/* Behind a member: whether another one comes. */
static inline bool read_comma(reader_t *r, members_t *m, int most, bool *more) {
  unsigned c = behind_space(r);
  *more = c == ',';
  if (c == (m->keyed ? '}' : ']')) return true;
  if (c != ',') return fail(r, m->keyed ? "expected ',' or '}'" : "expected ',' or ']'");
  r->at++;
  if (m->waiting == most) {
    settle(r, m, 2 * most);
    m->alike = false;
    memset(m->seen, 0, sizeof m->seen);
  }
  return true;
}

/* The members that come one by one; from the bracket on, or the comma behind the last one of a shape. */
static bool read_each(reader_t *r, members_t *m, json_guess_t *inside, int most) {
  uint8_t lost = 0, *guess = m->is_there ? &lost : &inside->place;
  bool more;
  if (m->is_there) {
    if (!read_comma(r, m, most, &more)) return false;
  } else {
    r->at++;
    more = behind_space(r) != (m->keyed ? '}' : ']');
  }
  while (more) {
    if (m->keyed) {
      if (!read_key(r, m, &guess)) return false;
    } else {
      r->inside = inside;
    }
    if (!read_member(r)) return false;
    m->waiting++;
    if (!read_comma(r, m, most, &more)) return false;
  }
  if (m->keyed && m->waiting > 0 && !m->is_there && !m->alike && most == WAITING)
    inside->shape =
        json_shapes_note(r->state, &r->shapes, r->L, r->strings, r->strings + 1, m->places, m->waiting);
  settle(r, m, m->waiting);
  return true;
}

/* An array or object; `keyed` tells which. */
static bool read_members(reader_t *r, bool keyed) {
  int most = r->depth < WAITING_DEPTH ? WAITING : 1;
  if (r->depth == JSON_MAX_DEPTH || !lua_checkstack(r->L, (keyed ? 2 : 1) * most + 8))
    return fail(r, "nested too deep");
  r->depth++;
  lua_pushnil(r->L);
  members_t m = {.keyed = keyed, .table = lua_gettop(r->L)};
  json_guess_t *inside = r->inside;
  json_shape_t *shape = keyed && most == WAITING ? json_shape(r->shapes, inside->shape) : NULL;
  int came = shape ? read_shaped(r, shape) : 0;
  if (came < 0) return false;
  if (shape && came == shape->count && behind_space(r) == '}') {
    settle_shaped(r, &m, shape);
  } else {
    if (shape) inside->shape = 0;
    if (came > 0) settle_unlike(r, &m, shape, came);
    if (!read_each(r, &m, inside, most)) return false;
  }
  r->at++;
  r->depth--;
  return true;
}

/* A value, from its first byte on. */
static bool read_value(reader_t *r) {
  if (r->at == r->end) return fail(r, NULL);
  switch (*r->at) {
  case '{': return read_members(r, true);
  case '[': return read_members(r, false);
  case '"': return read_string(r, NULL);
  case 't': lua_pushboolean(r->L, 1); return read_word(r, "true");
  case 'f': lua_pushboolean(r->L, 0); return read_word(r, "false");
  case 'n':
    r->nulls = true;
    lua_pushlightuserdata(r->L, NULL);
    return read_word(r, "null");
  default:
    return *r->at == '-' || (*r->at >= '0' && *r->at <= '9') ? read_number(r)
                                                             : fail(r, "unexpected character");
  }
}

int json_decode(lua_State *L, const char *text, size_t length, json_mode_t mode, json_fault_t *fault) {
  const unsigned char *start = (const unsigned char *)text;
  reader_t r = {.L = L, .start = start, .at = start, .end = start + length, .strict = mode == JSON_STRICT};
  int top = lua_gettop(L);
  unsigned first = behind_space(&r);
  bool composed = first == '{' || first == '[';
  if (composed) {
    r.state = json_state_with_keys(L);
    r.strings = top + 1;
    lua_rawgeti(L, r.strings, JSON_SHAPES_AT);
    r.keys = r.state->keys;
    r.shapes = r.state->shapes;
    r.inside = &r.keys->first;
  }
  bool ok = read_value(&r);
  if (ok) skip_space(&r);
  if (ok && r.at < r.end) ok = fail(&r, "unexpected character after the value");
  free(r.scratch);
  if (!ok) {
    lua_settop(L, top);
    fault->offset = (size_t)(r.at - start);
    fault->reason = r.reason;
    return -1;
  }
  if (composed) {
    lua_replace(L, top + 1);
    lua_settop(L, top + 1);
  } else if (r.nulls) {
    lua_settop(L, top);
    lua_pushnil(L);
  }
  return 0;
}
