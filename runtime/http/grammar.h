/* http/grammar.h: the classes of bytes that messages are made of. */
#ifndef LRUN_HTTP_GRAMMAR_H
#define LRUN_HTTP_GRAMMAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { HTTP_TOKEN = 1, HTTP_TEXT = 2, HTTP_HOST = 4, HTTP_PLAIN = 8 };
extern const unsigned char http_classes[256];
/* RFC 9110 tchar */
static inline bool http_is_token(unsigned char c) { return (http_classes[c] & HTTP_TOKEN) != 0; }
/* may stand in a field value: no control byte but tab */
static inline bool http_is_text(unsigned char c) { return (http_classes[c] & HTTP_TEXT) != 0; }
bool http_all_text_bytes(const char *s, size_t len);

/* Eight bytes at once: whether one may be a control byte; never false where one is. */
static inline bool http_maybe_control(const char *s) {
  const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
  uint64_t word;
  memcpy(&word, s, sizeof word);
  uint64_t del = word ^ ones * 127;
  return ((((word - ones * ' ') & ~word) | ((del - ones) & ~del)) & high) != 0;
}

/* Whether `len` bytes are text, behind `before` ones in memory that are known to be such. */
static inline bool http_all_text(const char *s, size_t len, size_t before) {
  const char *end = s + len;
  if (len + before < 8) return http_all_text_bytes(s, len);
  for (; end - s > 8; s += 8) {
    if (http_maybe_control(s)) return http_all_text_bytes(s, (size_t)(end - s));
  }
  return !http_maybe_control(end - 8) || http_all_text_bytes(s, (size_t)(end - s));
}
/* may stand in a Host value */
static inline bool http_is_host(unsigned char c) { return (http_classes[c] & HTTP_HOST) != 0; }
/* may stand in a path or query without a second look */
static inline bool http_is_plain(unsigned char c) { return (http_classes[c] & HTTP_PLAIN) != 0; }
static inline bool http_is_digit(char c) { return c >= '0' && c <= '9'; }
/* The value of a hexadecimal digit, or -1. */
static inline int http_hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

#endif
