/* websocket/utf8.h: whether bytes that come in pieces are UTF-8 (RFC 3629). All zero is the beginning of a text. */
#ifndef LRUN_WEBSOCKET_UTF8_H
#define LRUN_WEBSOCKET_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  uint8_t left;        /* bytes that the character under way still has */
  uint8_t least, most; /* bounds of the next of them; 0: those that any has */
} utf8_t;

/* False as soon as a byte cannot be one of a text's. */
bool utf8_take(utf8_t *u, const char *data, size_t len);

/* Whether the text may end here. */
static inline bool utf8_whole(const utf8_t *u) { return u->left == 0; }

#endif
