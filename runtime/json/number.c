/* json/number.c: the nearest double of decimal digits; and the shortest decimal digits that give a double back, of those the
 * nearest.
 *
 * A number with few digits behind the point is found by trying: m / 10^k is exact to the last bit where both are whole
 * numbers that a double holds. For all others the interval of decimals that read as the double is computed by Giulietti's
 * method ("The Schubfach way to render doubles"): times a power of ten, in 128 bits, rounded to odd, the interval's
 * bounds say which of at most four candidates lie inside. The powers are made when a process first needs them. */
#include "json/number.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef unsigned __int128 u128_t;
typedef struct {
  uint64_t high, low;
} power_t;

enum {
  FIRST_POWER = -292,
  LAST_POWER = 324,
  WORDS = 20, /* of a whole number while the powers are made */
  TRIED = 5,  /* digits behind the point that are tried */
  MANTISSA_BITS = 52,
  LEAST_EXPONENT = -1074
};

#define EXACT_LIMIT 9.007199254740992e15 /* 2^53 */
#define TRIED_LIMIT 1e15

/* A decimal: digits × 10^exponent. */
typedef struct {
  uint64_t digits;
  int exponent;
} decimal_t;

static power_t powers[LAST_POWER - FIRST_POWER + 1]; /* 10^e in 128 bits, the next above: see make_powers */
static bool made;

/* The 128 bits of `words` from its highest one on, and one more in the last place. */
static power_t leading(const uint64_t *words) {
  int top = WORDS - 1;
  while (words[top] == 0) top--;
  int shift = __builtin_clzll(words[top]);
  uint64_t high = words[top], middle = top > 0 ? words[top - 1] : 0, last = top > 1 ? words[top - 2] : 0;
  if (shift > 0) {
    high = high << shift | middle >> (64 - shift);
    middle = middle << shift | last >> (64 - shift);
  }
  u128_t value = ((u128_t)high << 64 | middle) + 1;
  return (power_t){(uint64_t)(value >> 64), (uint64_t)value};
}

static void times_ten(uint64_t *words) {
  u128_t carry = 0;
  for (int i = 0; i < WORDS; i++) {
    carry += (u128_t)words[i] * 10;
    words[i] = (uint64_t)carry;
    carry >>= 64;
  }
}

static void divide_by_ten(uint64_t *words) {
  u128_t rest = 0;
  for (int i = WORDS - 1; i >= 0; i--) {
    rest = rest << 64 | words[i];
    words[i] = (uint64_t)(rest / 10);
    rest %= 10;
  }
}

/* Up from 1, and down from a power of two by whole divisions, whose floors are those of one division. */
static void make_powers(void) {
  uint64_t words[WORDS] = {1};
  for (int e = 0; e <= LAST_POWER; e++, times_ten(words)) powers[e - FIRST_POWER] = leading(words);
  memset(words, 0, sizeof words);
  words[WORDS - 1] = UINT64_C(1) << 63;
  for (int e = -1; e >= FIRST_POWER; e--) {
    divide_by_ten(words);
    powers[e - FIRST_POWER] = leading(words);
  }
  made = true;
}

/* floor(e × log2 10), floor(e × log10 2), floor(log10(3/4 × 2^e)), for all exponents of doubles */
static int log2_of_power(int e) { return e * 1741647 >> 19; }
static int log10_of_two(int e) { return e * 1262611 >> 22; }
static int log10_of_three_quarters(int e) { return (e * 1262611 - 524031) >> 22; }

/* The upper 64 bits of g × c; the last is set where bits that matter were below. */
static uint64_t multiply_to_odd(power_t g, uint64_t c) {
  u128_t low = (u128_t)g.low * c, high = (u128_t)g.high * c;
  high += (uint64_t)(low >> 64);
  return (uint64_t)(high >> 64) | ((uint64_t)high > 1);
}

/* The power is in the table as g, and from g − 1 to less than g in truth: so the product is from P − w to less than P, which
 * mostly rounds to the same everywhere. */
bool json_nearest(uint64_t digits, int exponent, double *number) {
  enum { BIAS = 1075, MOST_BIASED = 2046 };
  if (digits == 0 || exponent < FIRST_POWER || exponent > LAST_POWER) return false;
  if (!made) make_powers();
  power_t g = powers[exponent - FIRST_POWER];
  int shift = __builtin_clzll(digits);
  uint64_t w = digits << shift;
  u128_t low = (u128_t)g.low * w, high = (u128_t)g.high * w + (uint64_t)(low >> 64); /* P, of 192 bits */
  int small = !(high >> 127), below = 74 - small; /* bits of `high` below a half */
  uint64_t mantissa = (uint64_t)(high >> (below + 1));
  u128_t half = (u128_t)1 << below, rest = high & (2 * half - 1);
  if (rest == half && (uint64_t)low <= w) return false;
  if (rest >= half) mantissa++;
  int biased = 12 - small + log2_of_power(exponent) - shift + BIAS;
  if (mantissa >> (MANTISSA_BITS + 1)) {
    mantissa >>= 1;
    biased++;
  }
  if (biased < 1 || biased > MOST_BIASED) return false;
  uint64_t bits = (mantissa & ((UINT64_C(1) << MANTISSA_BITS) - 1)) | (uint64_t)biased << MANTISSA_BITS;
  memcpy(number, &bits, sizeof bits);
  return true;
}

/* Of a finite number above 0. */
static decimal_t shortest(double number) {
  uint64_t bits;
  memcpy(&bits, &number, sizeof bits);
  uint64_t fraction = bits & ((UINT64_C(1) << MANTISSA_BITS) - 1);
  int biased = (int)(bits >> MANTISSA_BITS);
  uint64_t c = biased ? fraction | UINT64_C(1) << MANTISSA_BITS : fraction;
  int q = biased ? biased + LEAST_EXPONENT - 1 : LEAST_EXPONENT;
  bool closer = fraction == 0 && biased > 1; /* the next double below is at half the distance */
  bool odd = c & 1;
  if (!made) make_powers();
  int k = closer ? log10_of_three_quarters(q) : log10_of_two(q);
  int shift = q + log2_of_power(-k) + 1;
  power_t g = powers[-k - FIRST_POWER];
  /* All in quarters of the last place. Of an even double the bounds belong to it. */
  uint64_t lower = multiply_to_odd(g, (4 * c - 2 + closer) << shift) + odd;
  uint64_t value = multiply_to_odd(g, 4 * c << shift);
  uint64_t upper = multiply_to_odd(g, (4 * c + 2) << shift) - odd;
  uint64_t s = value / 4;
  if (s >= 10) {
    uint64_t tens = s / 10;
    bool below = lower <= 40 * tens, above = 40 * tens + 40 <= upper;
    if (below != above) return (decimal_t){tens + above, k + 1};
  }
  bool below = lower <= 4 * s, above = 4 * s + 4 <= upper;
  if (below != above) return (decimal_t){s + above, k};
  uint64_t middle = 4 * s + 2;
  return (decimal_t){s + (value > middle || (value == middle && (s & 1))), k};
}

/* The same of numbers with few digits, mostly without a division. */
static bool few_digits(double number, decimal_t *decimal) {
  static const double scales[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5};
  for (int k = 1; k <= TRIED; k++) {
    double scaled = number * scales[k];
    if (scaled >= TRIED_LIMIT) return false;
    uint64_t whole = (uint64_t)(scaled + 0.5);
    if (fabs(scaled - (double)whole) > scaled * 0x1p-51 || (double)whole / scales[k] != number) continue;
    *decimal = (decimal_t){whole, -k};
    return true;
  }
  return false;
}

static decimal_t decimal_of(double number) {
  decimal_t decimal;
  if (number < TRIED_LIMIT && number >= 1e-3 && few_digits(number, &decimal)) return decimal;
  decimal = shortest(number);
  while (decimal.digits % 10 == 0) {
    decimal.digits /= 10;
    decimal.exponent++;
  }
  return decimal;
}

static const char pairs[] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748"
    "4950515253545556575859606162636465666768697071727374757677787980818283848586878889909192939495969798"
    "99";

/* Writes the digits so that they end before `end`; returns where they begin. */
static char *put_digits(char *end, uint64_t number) {
  while (number >= 100) {
    end -= 2;
    memcpy(end, pairs + 2 * (number % 100), 2);
    number /= 100;
  }
  if (number < 10) {
    *--end = (char)('0' + number);
    return end;
  }
  end -= 2;
  memcpy(end, pairs + 2 * number, 2);
  return end;
}

/* Where digits are made: they end in its middle, and as many bytes as they may be can be copied from any of them. */
enum { DIGITS = 24 };
typedef char room_t[2 * DIGITS];

/* Copies digits, and what lies behind them, up to DIGITS; quicker than memcpy is for a length that is not known. */
static inline char *copy_digits(char *to, const char *digits, size_t count) {
  memcpy(to, digits, DIGITS);
  return to + count;
}

/* 1.5e+21, 1e-07 */
static char *put_exponent(char *at, int exponent) {
  room_t room;
  char *end = room + DIGITS, *first = put_digits(end, (uint64_t)(exponent < 0 ? -exponent : exponent));
  if (end - first == 1) *--first = '0';
  *at++ = 'e';
  *at++ = exponent < 0 ? '-' : '+';
  return copy_digits(at, first, (size_t)(end - first));
}

/* 12345, 0.0012, 12.5, 1.5e+21, 1e-07: with an exponent where printf's %.17g has one. */
static char *put_decimal(char *at, decimal_t decimal) {
  enum { LEAST_PLAIN = -4, MOST_PLAIN = 16 };
  static const char zeros[DIGITS + 1] = "000000000000000000000000";
  room_t room;
  char *end = room + DIGITS, *digits = put_digits(end, decimal.digits);
  int count = (int)(end - digits), point = count + decimal.exponent; /* 0.DIGITS × 10^point */
  if (point <= LEAST_PLAIN || point > MOST_PLAIN + 1) {
    *at++ = *digits;
    if (count > 1) *at++ = '.';
    return put_exponent(copy_digits(at, digits + 1, (size_t)count - 1), point - 1);
  }
  if (point <= 0) {
    memcpy(at, "0.000000", 8);
    return copy_digits(at + 2 - point, digits, (size_t)count);
  }
  if (count <= point)
    return copy_digits(copy_digits(at, digits, (size_t)count), zeros, (size_t)(point - count));
  at = copy_digits(at, digits, (size_t)point);
  *at++ = '.';
  return copy_digits(at, digits + point, (size_t)(count - point));
}

size_t json_put_number(char *text, double number) {
  char *at = text;
  if (number < 0) {
    *at++ = '-';
    number = -number;
  }
  if (number <= EXACT_LIMIT && number == (double)(uint64_t)number) {
    room_t room;
    char *end = room + DIGITS, *digits = put_digits(end, (uint64_t)number);
    at = copy_digits(at, digits, (size_t)(end - digits));
  } else {
    at = put_decimal(at, decimal_of(number));
  }
  return (size_t)(at - text);
}
