/* encoding/base64.c: base64 of RFC 4648, both alphabets. */
#include "encoding/encoding.h"

static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

size_t base64_encode(char *out, const unsigned char *in, size_t len, bool for_url) {
  const char *digits = for_url ? url : standard;
  char *to = out;
  for (; len >= 3; in += 3, len -= 3) {
    uint32_t bits = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];
    *to++ = digits[bits >> 18];
    *to++ = digits[bits >> 12 & 63];
    *to++ = digits[bits >> 6 & 63];
    *to++ = digits[bits & 63];
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

/* What a character stands for; -1 for none. */
static int value_of(unsigned char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+' || c == '-') return 62;
  if (c == '/' || c == '_') return 63;
  return -1;
}

static bool is_space(unsigned char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

size_t base64_decode(char *out, size_t *written, const unsigned char *in, size_t len) {
  char *to = out;
  uint32_t bits = 0;
  unsigned digits = 0, padding = 0; /* digits of the group of four that is under way */
  for (size_t at = 0; at < len; at++) {
    int value = value_of(in[at]);
    if (value >= 0 && padding == 0) {
      bits = bits << 6 | (uint32_t)value;
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
