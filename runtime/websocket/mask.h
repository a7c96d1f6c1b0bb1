/* websocket/mask.h: the masking of RFC 6455, section 5.3: exclusive or with four bytes, over and over. */
#ifndef LRUN_WEBSOCKET_MASK_H
#define LRUN_WEBSOCKET_MASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes `len` bytes of `from` to `to`, which do not overlap, with the mask on or off; the first one meets byte `at` of
 * the key. Returns whether all that was written is ASCII. */
bool ws_mask(char *restrict to, const char *restrict from, size_t len, const uint8_t key[4], unsigned at);

#endif
