/* encoding/base64.c: base64 of RFC 4648, both alphabets. Two characters are looked up at once, and four are read; the tables
 * are made when they are first needed. */
#include "encoding/encoding.h"

#include <string.h>

static const char alphabets[2][65] = {"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
                                      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"};

enum { PAIRS = 4096, NONE = 0x80 };

typedef char pair_t[2];

/* What 12 bits are in an alphabet. */
static const pair_t *pairs_of(bool for_url) {
  static pair_t pairs[2][PAIRS];
  pair_t *list = pairs[for_url];
  const char *digits = alphabets[for_url];
  for (int i = 0; list[PAIRS - 1][1] == 0 && i < PAIRS; i++) {
    list[i][0] = digits[i >> 6];
    list[i][1] = digits[i & 63];
  }
  return list;
}

/* What each character stands for in either alphabet; NONE for nothing. */
static const uint8_t *values(void) {
  static uint8_t list[256];
  if (list['/'] != 0) return list;
  memset(list, NONE, sizeof list);
  for (uint8_t i = 0; i < 64; i++) {
    list[(unsigned char)alphabets[0][i]] = i;
    list[(unsigned char)alphabets[1][i]] = i;
  }
  return list;
}

size_t base64_encode(char *out, const unsigned char *in, size_t len, bool for_url) {
  const pair_t *pairs = pairs_of(for_url);
  const char *digits = alphabets[for_url];
  char *to = out;
  for (; len >= 3; in += 3, len -= 3, to += 4) {
    uint32_t bits = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];
    memcpy(to, pairs[bits >> 12], 2);
    memcpy(to + 2, pairs[bits & (PAIRS - 1)], 2);
  }
  if (len > 0) {
    uint32_t bits = (uint32_t)in[0] << 16 | (len == 2 ? (uint32_t)in[1] << 8 : 0);
    *to++ = digits[bits >> 18];
    *to++ = digits[bits >> 12 & 63];
    if (len == 2) *to++ = digits[bits >> 6 & 63];
    else if (!for_url) *to++ = '=';
    if (!for_url) *to++ = '=';
  }
  return (size_t)(to - out);
}

/* Reads whole groups of four, up to the first that has anything else in it; how many characters were read. */
static size_t decode_groups(char **out, const unsigned char *in, size_t len, const uint8_t *value) {
  char *to = *out;
  size_t at = 0;
  for (; len - at >= 4; at += 4, to += 3) {
    uint32_t a = value[in[at]], b = value[in[at + 1]], c = value[in[at + 2]], d = value[in[at + 3]];
    if ((a | b | c | d) & NONE) break;
    uint32_t bits = a << 18 | b << 12 | c << 6 | d;
    to[0] = (char)(bits >> 16);
    to[1] = (char)(bits >> 8);
    to[2] = (char)bits;
  }
  *out = to;
  return at;
}

static bool is_space(unsigned char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

size_t base64_decode(char *out, size_t *written, const unsigned char *in, size_t len) {
  char *to = out;
  uint32_t bits = 0;
  unsigned digits = 0, padding = 0; /* digits of the group of four that is under way */
  const uint8_t *value = values();
  for (size_t at = 0; at < len; at++) {
    if (digits == 0 && padding == 0) at += decode_groups(&to, in + at, len - at, value);
    if (at == len) break;
    if (value[in[at]] != NONE && padding == 0) {
      bits = bits << 6 | value[in[at]];
      if (++digits == 4) {
        *to++ = (char)(bits >> 16);
        *to++ = (char)(bits >> 8);
        *to++ = (char)bits;
        digits = 0;
      }
    } else if (in[at] == '=' && digits >= 2 && digits + padding < 4) {
      padding++;
    } else if (!is_space(in[at])) {
      return at + 1;
    }
  }
  if (digits == 1) return len + 1;
  if (digits == 2) *to++ = (char)(bits >> 4);
  if (digits == 3) {
    *to++ = (char)(bits >> 10);
    *to++ = (char)(bits >> 2);
  }
  *written = (size_t)(to - out);
  return 0;
}
