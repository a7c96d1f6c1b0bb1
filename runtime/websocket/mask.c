/* websocket/mask.c: see websocket/mask.h. Sixteen bytes at a time, some of the last ones twice. */
#include "websocket/mask.h"

#include <string.h>

/* The compiler makes of it what the processor has. */
typedef uint64_t block_t __attribute__((vector_size(16)));
enum { BLOCK = sizeof(block_t) };

static block_t load(const char *from) {
  block_t block;
  memcpy(&block, from, BLOCK);
  return block;
}

static void store(char *to, block_t block) { memcpy(to, &block, BLOCK); }

/* The key over and over, from its byte `at` on. */
static block_t turned(const uint8_t key[4], size_t at) {
  uint32_t word;
  memcpy(&word, key, sizeof word);
  unsigned down = 8 * (at & 3), up = (32 - down) & 31;
  word = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? word >> down | word << up : word << down | word >> up;
  uint64_t twice = (uint64_t)word << 32 | word;
  return (block_t){twice, twice};
}

/* Less than a block. */
static bool mask_few(char *to, const char *from, size_t len, const uint8_t key[4], unsigned at) {
  uint8_t seen = 0;
  for (size_t i = 0; i < len; i++) {
    uint8_t byte = (uint8_t)((uint8_t)from[i] ^ key[(at + i) & 3]);
    seen |= byte;
    to[i] = (char)byte;
  }
  return seen < 0x80;
}

bool ws_mask(char *restrict to, const char *restrict from, size_t len, const uint8_t key[4], unsigned at) {
  if (len < BLOCK) return mask_few(to, from, len, key, at);
  block_t mask = turned(key, at), seen = {0};
  size_t i = 0;
  for (; len - i >= BLOCK; i += BLOCK) {
    block_t block = load(from + i) ^ mask;
    store(to + i, block);
    seen |= block;
  }
  if (i < len) {
    size_t last = len - BLOCK;
    block_t block = load(from + last) ^ turned(key, at + last);
    store(to + last, block);
    seen |= block;
  }
  return ((seen[0] | seen[1]) & 0x8080808080808080) == 0;
}
