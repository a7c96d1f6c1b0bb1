/* fuzz/named_keys.h: the keys that a peer has told of, for what reads messages with keys by number. */
#ifndef LRUN_FUZZ_NAMED_KEYS_H
#define LRUN_FUZZ_NAMED_KEYS_H

#include "ipc/keys.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"a", "b", "id", "name"};
enum { NAMES = sizeof names / sizeof *names };

static keys_t *new_keys(int count) {
  keys_t *keys = NULL;
  for (int i = 0; i < count; i++) {
    char body[16] = {(char)strlen(names[i])};
    memcpy(&body[1], names[i], strlen(names[i]));
    if (!keys_add(&keys, body, strlen(names[i]) + 1)) abort();
  }
  return keys;
}

#endif
