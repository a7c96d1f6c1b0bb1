/* websocket/handshake.c: see websocket/handshake.h. libcrypto has SHA-1, too, but opening it costs megabytes. */
#include "websocket/handshake.h"

#include <string.h>

enum { BLOCK = 64, LENGTH_AT = 56 };

static uint32_t turn(uint32_t word, unsigned bits) { return word << bits | word >> (32 - bits); }

static void spread(uint32_t words[80], const uint8_t *block) {
  for (unsigned i = 0; i < 16; i++) {
    const uint8_t *at = block + (size_t)4 * i;
    words[i] = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
  }
  for (unsigned i = 16; i < 80; i++)
    words[i] = turn(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
}

static void take_block(uint32_t state[5], const uint8_t *block) {
  uint32_t words[80];
  spread(words, block);
  uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
  for (unsigned i = 0; i < 80; i++) {
    uint32_t mix, constant;
    if (i < 20) mix = (b & c) | (~b & d), constant = 0x5a827999;
    else if (i < 40) mix = b ^ c ^ d, constant = 0x6ed9eba1;
    else if (i < 60) mix = (b & c) | (b & d) | (c & d), constant = 0x8f1bbcdc;
    else mix = b ^ c ^ d, constant = 0xca62c1d6;
    uint32_t next = turn(a, 5) + mix + e + constant + words[i];
    e = d;
    d = c;
    c = turn(b, 30);
    b = a;
    a = next;
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
  state[4] += e;
}

void ws_sha1(const char *data, size_t len, uint8_t digest[WS_DIGEST]) {
  uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  size_t at = 0;
  for (; len - at >= BLOCK; at += BLOCK) take_block(state, (const uint8_t *)data + at);
  uint8_t last[2 * BLOCK] = {0};
  size_t left = len - at, blocks = left < LENGTH_AT ? 1 : 2;
  memcpy(last, data + at, left);
  last[left] = 0x80;
  for (unsigned i = 0; i < 8; i++) last[blocks * BLOCK - 1 - i] = (uint8_t)((uint64_t)len * 8 >> (8 * i));
  for (size_t i = 0; i < blocks; i++) take_block(state, last + i * BLOCK);
  for (unsigned i = 0; i < WS_DIGEST; i++) digest[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
}
