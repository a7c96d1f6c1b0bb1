/* io/buffer.c: see io/buffer.h. Grows by doubling, so that appending stays linear. */
#include "io/buffer.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

char *buffer_room(buffer_t *b, size_t more) {
  if (b->cap - b->len >= more) return b->data + b->len;
  size_t cap = b->cap ? b->cap * 2 : 512;
  while (cap - b->len < more) cap *= 2;
  char *data = realloc(b->data, cap);
  if (data == NULL) return NULL;
  b->data = data;
  b->cap = cap;
  return data + b->len;
}

int buffer_add(buffer_t *b, const char *data, size_t len) {
  if (len == 0) return 0;
  char *to = buffer_room(b, len);
  if (to == NULL) return UV_ENOMEM;
  memcpy(to, data, len);
  b->len += len;
  return 0;
}

void buffer_free(buffer_t *b) {
  free(b->data);
  b->data = NULL;
  b->len = b->cap = 0;
}
