/* io/write_all.h: a write that waits, and one that does not. */
#ifndef LRUN_IO_WRITE_ALL_H
#define LRUN_IO_WRITE_ALL_H

#include <stddef.h>
#include <sys/types.h>

/* Writes all of it, and waits for the reader also where the descriptor does not. 0 or UV_E*. */
int write_all(int fd, const char *bytes, size_t length);

/* Writes as much as can be had without waiting, also where the descriptor would wait: how many bytes, or UV_E*. */
ssize_t write_some(int fd, const char *bytes, size_t length);

#endif
