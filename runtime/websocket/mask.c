/* websocket/mask.c: see websocket/mask.h. Eight bytes at a time, four times eight where there are as many. */
#include "websocket/mask.h"

#include <string.h>

static uint64_t load(const char *from) {
  uint64_t word;
  memcpy(&word, from, sizeof word);
  return word;
}

static void store(char *to, uint64_t word) { memcpy(to, &word, sizeof word); }

void ws_mask(char *to, const char *from, size_t len, const uint8_t key[4], unsigned at) {
  uint8_t turned[8];
  for (unsigned i = 0; i < 8; i++) turned[i] = key[(at + i) & 3];
  uint64_t word = load((const char *)turned);
  size_t i = 0;
  for (; len - i >= 32; i += 32) {
    uint64_t a = load(from + i) ^ word, b = load(from + i + 8) ^ word;
    uint64_t c = load(from + i + 16) ^ word, d = load(from + i + 24) ^ word;
    store(to + i, a);
    store(to + i + 8, b);
    store(to + i + 16, c);
    store(to + i + 24, d);
  }
  for (; len - i >= 8; i += 8) store(to + i, load(from + i) ^ word);
  for (; i < len; i++) to[i] = (char)(from[i] ^ turned[i & 7]);
}
