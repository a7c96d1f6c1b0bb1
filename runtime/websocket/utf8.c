/* websocket/utf8.c: see websocket/utf8.h. Runs of ASCII are passed over four times eight bytes at a time. */
#include "websocket/utf8.h"

#include <string.h>

static const uint64_t HIGH_BITS = 0x8080808080808080;

static uint64_t load(const char *from) {
  uint64_t word;
  memcpy(&word, from, sizeof word);
  return word;
}

/* Where the run of ASCII that begins at `at` ends, or a little before. */
static size_t skip_ascii(const char *data, size_t len, size_t at) {
  if (len - at < 8) return at;
  for (; len - at >= 32; at += 32) {
    const char *from = data + at;
    if (((load(from) | load(from + 8) | load(from + 16) | load(from + 24)) & HIGH_BITS) != 0) break;
  }
  while (len - at >= 8 && (load(data + at) & HIGH_BITS) == 0) at += 8;
  bool ends = len - at < 8 && (load(data + len - 8) & HIGH_BITS) == 0; /* looks at some bytes again */
  return ends ? len : at;
}

/* The first byte of a character of several. No longer forms than needed, no surrogates, nothing past U+10FFFF. */
static bool begin(utf8_t *u, uint8_t c) {
  *u = (utf8_t){.least = 0x80, .most = 0xbf};
  if (c < 0xc2 || c > 0xf4) return false;
  u->left = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
  if (c == 0xe0) u->least = 0xa0;
  else if (c == 0xed) u->most = 0x9f;
  else if (c == 0xf0) u->least = 0x90;
  else if (c == 0xf4) u->most = 0x8f;
  return true;
}

bool utf8_take(utf8_t *u, const char *data, size_t len) {
  size_t at = 0;
  while (at < len) {
    if (u->left == 0) {
      if ((uint8_t)data[at] < 0x80) at = skip_ascii(data, len, at);
      while (at < len && (uint8_t)data[at] < 0x80) at++;
      if (at == len) return true;
      if (!begin(u, (uint8_t)data[at++])) return false;
      continue;
    }
    uint8_t c = (uint8_t)data[at++];
    if (c < u->least || c > u->most) return false;
    u->left--;
    u->least = 0x80;
    u->most = 0xbf;
  }
  return true;
}
