/* http/grammar.h: the classes of bytes that messages are made of. */
#ifndef LRUN_HTTP_GRAMMAR_H
#define LRUN_HTTP_GRAMMAR_H

#include <stdbool.h>
#include <stddef.h>

enum { HTTP_TOKEN = 1, HTTP_TEXT = 2, HTTP_HOST = 4, HTTP_PLAIN = 8 };
extern const unsigned char http_classes[256];
/* RFC 9110 tchar */
static inline bool http_is_token(unsigned char c) { return (http_classes[c] & HTTP_TOKEN) != 0; }
/* may stand in a field value: no control byte but tab */
static inline bool http_is_text(unsigned char c) { return (http_classes[c] & HTTP_TEXT) != 0; }
/* The same of `len` bytes. */
bool http_all_text(const char *s, size_t len);
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
