/* encoding/percent.c: percent-encoding of URLs and forms. */
#include "encoding/encoding.h"

static const char hex_digits[] = "0123456789ABCDEF";

static inline bool is_plain(const percent_set_t *plain, unsigned char c) {
  return plain->bits[c >> 5] >> (c & 31) & 1;
}

bool percent_plain(const unsigned char *in, size_t len, const percent_set_t *plain) {
  size_t i = 0;
  while (i < len && is_plain(plain, in[i])) i++;
  return i == len;
}

size_t percent_encode(char *out, const unsigned char *in, size_t len, const percent_set_t *plain) {
  char *to = out;
  for (size_t i = 0; i < len; i++) {
    unsigned char c = in[i];
    if (is_plain(plain, c)) {
      *to++ = (char)c;
    } else {
      *to++ = '%';
      *to++ = hex_digits[c >> 4];
      *to++ = hex_digits[c & 15];
    }
  }
  return (size_t)(to - out);
}

size_t percent_decode(char *out, const unsigned char *in, size_t len, bool form) {
  char *to = out;
  for (size_t i = 0; i < len; i++) {
    unsigned char c = in[i];
    if (c == '+' && form) {
      c = ' ';
    } else if (c == '%' && len - i > 2) {
      int high = hex_digit(in[i + 1]), low = hex_digit(in[i + 2]);
      if (high >= 0 && low >= 0) {
        c = (unsigned char)(high << 4 | low);
        i += 2;
      }
    }
    *to++ = (char)c;
  }
  return (size_t)(to - out);
}
