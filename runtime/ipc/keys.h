/* ipc/keys.h: the keys of tables that the other end of a channel names by number. Its frames of the kind FRAME_KEYS add to
 * them: for each key a byte with its length, and its bytes. */
#ifndef LRUN_IPC_KEYS_H
#define LRUN_IPC_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  KEYS_MAX = 224,      /* as many as string.buffer writes in one byte */
  KEYS_LENGTH_MAX = 64 /* bytes of one */
};

typedef struct {
  uint16_t count;
  uint64_t glance[4]; /* a bit for each, by what is seen of it at a glance */
  uint8_t lengths[KEYS_MAX];
  uint16_t places[KEYS_MAX]; /* where each begins in `bytes` */
  uint16_t used, capacity;   /* of `bytes` */
  char *bytes;
} keys_t;

/* Takes a frame's body; `*keys`, NULL at first, is allocated. False when it is not well-formed, has a key that is
 * there already or is one too many, or there is no memory. */
bool keys_add(keys_t **keys, const char *body, size_t length);
void keys_free(keys_t *keys);

/* Whether a string is one of them; `keys` may be NULL. */
bool keys_have(const keys_t *keys, const char *text, size_t length);

#endif
