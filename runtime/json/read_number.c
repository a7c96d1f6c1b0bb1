/* json/read_number.c: a number of a text. Most have few digits, whose value a double holds as it does the power of ten: one
 * operation rounds once. With more of them 128 bits of the power tell the nearest double; where those do not, the C library
 * does, whatever the locale's decimal point is. */
#include "json/number.h"

#include <limits.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_DIGITS = 19 /* that 64 bits hold, whichever they are */, EXACT_POWER = 22 };
#define EXACT_LIMIT (UINT64_C(1) << 53)

typedef struct {
  const unsigned char *at, *end;
} cursor_t;

const char json_no_memory[] = "not enough memory";
static const char no_digit[] = "expected a digit";

static inline bool next_is(const cursor_t *c, char wanted) {
  return c->at < c->end && *c->at == (unsigned char)wanted;
}

/* Passes over digits, and appends them to `*value` while there are MOST_DIGITS at most; returns how many came. */
static inline int read_digits(cursor_t *c, uint64_t *value, int known) {
  const unsigned char *first = c->at, *end = c->end, *at = first;
  uint64_t digits = *value;
  for (; at < end && (unsigned)(*at - '0') <= 9; at++)
    if (known + (at - first) < MOST_DIGITS) digits = digits * 10 + (unsigned)(*at - '0');
  *value = digits;
  c->at = at;
  return at - first > INT_MAX / 2 ? INT_MAX / 2 : (int)(at - first);
}

/* The exponent behind an `e`; one that is too large for a double is as good as any such. */
static bool read_exponent(cursor_t *c, int *exponent) {
  enum { TOO_LARGE = 100000 };
  bool negative = next_is(c, '-');
  if (negative || next_is(c, '+')) c->at++;
  const unsigned char *first = c->at;
  int value = 0;
  for (; c->at < c->end && (unsigned)(*c->at - '0') <= 9; c->at++)
    if (value < TOO_LARGE) value = value * 10 + (*c->at - '0');
  *exponent = negative ? -value : value;
  return c->at > first;
}

/* digits × 10^power, where a double holds both. */
static double scale(uint64_t digits, int power) {
  static const double powers[EXACT_POWER + 1] = {1,    1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                 1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  return power < 0 ? (double)digits / powers[-power] : (double)digits * powers[power];
}

/* The text from `start` on, without its sign. */
static const char *convert(const unsigned char *start, const unsigned char *end, double *number) {
  static locale_t plain; /* a constant of the C library: never freed */
  char few[64], *text = few;
  size_t length = (size_t)(end - start);
  if (length >= sizeof few && !(text = malloc(length + 1))) return json_no_memory;
  memcpy(text, start, length);
  text[length] = 0;
  if (!plain) plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  *number = strtod_l(text, NULL, plain);
  if (text != few) free(text);
  return NULL;
}

/* The most of most numbers: a whole one of few digits. False: it is none. */
static inline bool read_whole(cursor_t *c, double *number) {
  enum { FEW_DIGITS = 15 };
  const unsigned char *first = c->at, *end = c->end, *at = first;
  uint64_t digits = 0;
  for (; at < end && (unsigned)(*at - '0') <= 9; at++) digits = digits * 10 + (unsigned)(*at - '0');
  if (at == first || at - first > FEW_DIGITS || (*first == '0' && at - first > 1)) return false;
  if (at < end && (*at == '.' || *at == 'e' || *at == 'E')) return false;
  c->at = at;
  *number = (double)(int64_t)digits;
  return true;
}

static const char *read_unsigned(cursor_t *c, double *number) {
  const unsigned char *first = c->at;
  uint64_t value = 0;
  int whole = read_digits(c, &value, 0), behind = 0, exponent = 0;
  if (whole == 0) return no_digit;
  if (*first == '0' && whole > 1) {
    c->at = first + 1;
    return "number with a leading zero";
  }
  if (next_is(c, '.')) {
    c->at++;
    behind = read_digits(c, &value, whole);
    if (behind == 0) return no_digit;
  }
  if (next_is(c, 'e') || next_is(c, 'E')) {
    c->at++;
    if (!read_exponent(c, &exponent)) return no_digit;
  }
  int power = exponent - behind;
  if (whole + behind > MOST_DIGITS) return convert(first, c->at, number);
  if (value <= EXACT_LIMIT && power >= -EXACT_POWER && power <= EXACT_POWER) *number = scale(value, power);
  else if (!json_nearest(value, power, number)) return convert(first, c->at, number);
  return NULL;
}

const char *json_read_number(const unsigned char **at, const unsigned char *end, double *number) {
  cursor_t c = {*at, end};
  bool negative = next_is(&c, '-');
  if (negative) c.at++;
  const char *reason = read_whole(&c, number) ? NULL : read_unsigned(&c, number);
  if (!reason && negative) *number = -*number;
  *at = c.at;
  return reason;
}
