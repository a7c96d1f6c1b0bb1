/* io/buffer.h: a growable run of bytes. All zero is an empty buffer. */
#ifndef LRUN_IO_BUFFER_H
#define LRUN_IO_BUFFER_H

#include <stddef.h>

typedef struct {
  char *data;
  size_t len;
  size_t cap;
} buffer_t;

/* Room for `more` bytes after the end: where they go, or NULL when memory is out. Add to len what was
 * written. */
char *buffer_room(buffer_t *b, size_t more);

/* 0 or UV_ENOMEM; nothing is appended then. */
int buffer_add(buffer_t *b, const char *data, size_t len);

/* Gives the memory back. */
void buffer_free(buffer_t *b);

#endif
