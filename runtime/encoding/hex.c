/* encoding/hex.c: bytes as hexadecimal digits. */
#include "encoding/encoding.h"

int hex_digit(unsigned char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c |= 32;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

size_t hex_encode(char *out, const unsigned char *in, size_t len) {
  static const char digits[] = "0123456789abcdef";
  for (size_t i = 0; i < len; i++) {
    out[2 * i] = digits[in[i] >> 4];
    out[2 * i + 1] = digits[in[i] & 15];
  }
  return 2 * len;
}

size_t hex_decode(char *out, const unsigned char *in, size_t len) {
  for (size_t i = 0; i + 1 < len; i += 2) {
    int high = hex_digit(in[i]), low = hex_digit(in[i + 1]);
    if (high < 0) return i + 1;
    if (low < 0) return i + 2;
    out[i / 2] = (char)(high << 4 | low);
  }
  return len % 2 == 1 ? len : 0;
}
