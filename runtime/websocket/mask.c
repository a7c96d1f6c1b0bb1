/* websocket/mask.c: see websocket/mask.h. Sixteen bytes at a time, four times as many where there are. */
#include "websocket/mask.h"

#include <string.h>

/* The compiler makes of it what the processor has. */
typedef uint64_t block_t __attribute__((vector_size(16)));

static block_t load(const char *from) {
  block_t block;
  memcpy(&block, from, sizeof block);
  return block;
}

static void store(char *to, block_t block) { memcpy(to, &block, sizeof block); }

/* What is left, less than a block. Returns all bits that were written, in any of their places. */
static uint32_t mask_rest(char *to, const char *from, size_t len, uint32_t mask) {
  uint32_t seen = 0, word;
  for (; len >= sizeof word; len -= sizeof word) {
    memcpy(&word, from, sizeof word);
    word ^= mask;
    seen |= word;
    memcpy(to, &word, sizeof word);
    to += sizeof word;
    from += sizeof word;
  }
  uint8_t key[4];
  memcpy(key, &mask, sizeof key);
  for (size_t i = 0; i < len; i++) {
    uint8_t byte = (uint8_t)((uint8_t)from[i] ^ key[i]);
    seen |= byte;
    to[i] = (char)byte;
  }
  return seen;
}

bool ws_mask(char *to, const char *from, size_t len, const uint8_t key[4], unsigned at) {
  const uint8_t turned[4] = {key[at & 3], key[(at + 1) & 3], key[(at + 2) & 3], key[(at + 3) & 3]};
  uint32_t word;
  memcpy(&word, (at & 3) == 0 ? key : turned, sizeof word);
  uint64_t twice = (uint64_t)word << 32 | word;
  block_t mask = {twice, twice}, seen = {0};
  size_t i = 0;
  for (; len - i >= 64; i += 64) {
    block_t a = load(from + i) ^ mask, b = load(from + i + 16) ^ mask;
    block_t c = load(from + i + 32) ^ mask, d = load(from + i + 48) ^ mask;
    store(to + i, a);
    store(to + i + 16, b);
    store(to + i + 32, c);
    store(to + i + 48, d);
    seen |= (a | b) | (c | d);
  }
  for (; len - i >= 16; i += 16) {
    block_t a = load(from + i) ^ mask;
    store(to + i, a);
    seen |= a;
  }
  uint64_t all = mask_rest(to + i, from + i, len - i, word) | seen[0] | seen[1];
  return (all & 0x8080808080808080) == 0;
}
