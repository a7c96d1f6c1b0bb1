/* io/write_all.h: a write that waits. */
#ifndef LRUN_IO_WRITE_ALL_H
#define LRUN_IO_WRITE_ALL_H

#include <stddef.h>

/* Writes all of it, and waits for the reader also where the descriptor does not. 0 or UV_E*. */
int write_all(int fd, const char *bytes, size_t length);

#endif
