/* json_check.c: reads JSON text strictly and builds nothing. lua-cjson, which builds the values afterwards,
 * takes more than JSON (hexadecimal numbers, NaN, control characters, broken UTF-8) and tells less of where
 * it stopped. */
#include "json.h"

#include <stdbool.h>
#include <string.h>

typedef struct {
  const unsigned char *at, *end;
  const char *reason; /* of the fault at `at` */
  int depth;
} reader_t;

static bool read_value(reader_t *r);

static bool fail(reader_t *r, const char *reason) {
  r->reason = r->at == r->end ? "unexpected end" : reason;
  return false;
}

static void skip_space(reader_t *r) {
  while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r')) r->at++;
}

static bool next_is(const reader_t *r, char c) { return r->at < r->end && *r->at == (unsigned char)c; }

static bool skip_digits(reader_t *r) {
  if (r->at == r->end || *r->at < '0' || *r->at > '9') return fail(r, "expected a digit");
  while (r->at < r->end && *r->at >= '0' && *r->at <= '9') r->at++;
  return true;
}

static bool read_number(reader_t *r) {
  if (next_is(r, '-')) r->at++;
  if (next_is(r, '0')) {
    r->at++;
    if (r->at < r->end && *r->at >= '0' && *r->at <= '9') return fail(r, "number with a leading zero");
  } else if (!skip_digits(r)) {
    return false;
  }
  if (next_is(r, '.')) {
    r->at++;
    if (!skip_digits(r)) return false;
  }
  if (next_is(r, 'e') || next_is(r, 'E')) {
    r->at++;
    if (next_is(r, '+') || next_is(r, '-')) r->at++;
    if (!skip_digits(r)) return false;
  }
  return true;
}

size_t json_utf8_sequence(const unsigned char *s, size_t left) {
  size_t length = s[0] >= 0xC2 && s[0] <= 0xDF   ? 2
                  : s[0] >= 0xE0 && s[0] <= 0xEF ? 3
                  : s[0] >= 0xF0 && s[0] <= 0xF4 ? 4
                                                 : 0;
  if (length == 0 || length > left) return 0;
  for (size_t i = 1; i < length; i++)
    if ((s[i] & 0xC0) != 0x80) return 0;
  if (s[0] == 0xE0 && s[1] < 0xA0) return 0; /* longer than it need be */
  if (s[0] == 0xED && s[1] > 0x9F) return 0; /* half of a surrogate pair */
  if (s[0] == 0xF0 && s[1] < 0x90) return 0;
  if (s[0] == 0xF4 && s[1] > 0x8F) return 0; /* above U+10FFFF */
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
static bool read_unicode_escape(reader_t *r) {
  static const char alone[] = "half of a surrogate pair";
  const unsigned char *start = r->at++;
  int unit = read_unit(r);
  if (unit < 0) return fail(r, "expected a hexadecimal digit");
  if (unit < 0xD800 || unit > 0xDFFF) return true;
  if (unit > 0xDBFF || r->end - r->at < 2 || r->at[0] != '\\' || r->at[1] != 'u') {
    r->at = start - 1;
    return fail(r, alone);
  }
  r->at += 2;
  unit = read_unit(r);
  if (unit < 0) return fail(r, "expected a hexadecimal digit");
  if (unit >= 0xDC00 && unit <= 0xDFFF) return true;
  r->at = start - 1;
  return fail(r, alone);
}

static bool read_string(reader_t *r) {
  r->at++;
  for (;;) {
    while (r->at < r->end && *r->at >= 0x20 && *r->at < 0x80 && *r->at != '"' && *r->at != '\\') r->at++;
    if (r->at == r->end) return fail(r, NULL);
    if (*r->at == '"') {
      r->at++;
      return true;
    }
    if (*r->at < 0x20) return fail(r, "control character in a string");
    if (*r->at >= 0x80) {
      size_t length = json_utf8_sequence(r->at, (size_t)(r->end - r->at));
      if (length == 0) return fail(r, "string that is not UTF-8");
      r->at += length;
      continue;
    }
    r->at++;
    if (r->at == r->end) return fail(r, NULL);
    if (*r->at == 'u') {
      if (!read_unicode_escape(r)) return false;
    } else if (*r->at != 0 && strchr("\"\\/bfnrt", *r->at)) {
      r->at++;
    } else {
      return fail(r, "unknown escape");
    }
  }
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

/* The inside of an array or object; `keys` tells which. */
static bool read_members(reader_t *r, bool keys) {
  char close = keys ? '}' : ']';
  if (r->depth == JSON_MAX_DEPTH) return fail(r, "nested too deep");
  r->depth++;
  r->at++;
  skip_space(r);
  if (next_is(r, close)) goto closed;
  for (;;) {
    skip_space(r);
    if (keys) {
      if (!next_is(r, '"')) return fail(r, "expected a key in quotes");
      if (!read_string(r)) return false;
      skip_space(r);
      if (!next_is(r, ':')) return fail(r, "expected ':'");
      r->at++;
    }
    if (!read_value(r)) return false;
    if (next_is(r, close)) goto closed;
    if (!next_is(r, ',')) return fail(r, keys ? "expected ',' or '}'" : "expected ',' or ']'");
    r->at++;
  }
closed:
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
  case 't': ok = read_word(r, "true"); break;
  case 'f': ok = read_word(r, "false"); break;
  case 'n': ok = read_word(r, "null"); break;
  default:
    if (*r->at != '-' && (*r->at < '0' || *r->at > '9')) return fail(r, "unexpected character");
    ok = read_number(r);
  }
  if (ok) skip_space(r);
  return ok;
}

int json_check(const char *text, size_t length, json_fault_t *fault) {
  const unsigned char *start = (const unsigned char *)text;
  reader_t r = {start, start + length, NULL, 0};
  if (read_value(&r) && (r.at == r.end || fail(&r, "unexpected character after the value"))) return 0;
  fault->offset = (size_t)(r.at - start);
  fault->reason = r.reason;
  return -1;
}
