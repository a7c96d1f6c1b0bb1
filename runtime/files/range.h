/* files/range.h: a range of a regular file on its way out: what of it is in memory goes at once, what is not is read by the
 * thread pool. Nobody's descriptor is closed here. */
#ifndef LRUN_FILES_RANGE_H
#define LRUN_FILES_RANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

typedef struct {
  int fd;
  uint64_t offset, left; /* moved on by what was sent or read */
  bool no_send;          /* the kernel does not send it to this kind of descriptor */
  bool full;             /* the last send took less than it was given */
} file_range_t;

/* What the next two say instead of a number of bytes: it is on the disk, read it by the pool. UV_EOF is a file that has
 * become shorter than its range. */
enum { FILE_RANGE_COLD = -10000 };

/* Sends what is in memory, up to `most` bytes, to a socket or pipe that does not block: how many bytes it took,
 * FILE_RANGE_COLD, UV_EAGAIN when it takes none, or another negative UV_E*. */
ssize_t file_range_send(file_range_t *range, int to, size_t most);

/* Sends all that is in memory and that it takes now; how many bytes. Why it was not more shows when the rest is sent. */
uint64_t file_range_send_ready(file_range_t *range, int to);

/* Reads what is in memory, up to `most` bytes: how many, FILE_RANGE_COLD or a negative UV_E*. */
ssize_t file_range_take(file_range_t *range, char *to, size_t most);

/* A read by the pool. */
typedef struct file_read file_read_t;
struct file_read {
  uv_work_t req;
  file_range_t *range; /* NULL once it was given up */
  void *data;          /* the caller's */
  void (*done)(file_read_t *read);
  int fd;
  uint64_t offset;
  size_t most;
  char *bytes; /* the caller's from `done` on: allocated by malloc, or NULL */
  ssize_t got; /* bytes, or a negative UV_E* */
};

/* Reads up to `most` bytes from where the range stands, which is moved on. `done` is called once, on the loop, also for a
 * read that was given up with `range` set to NULL; the descriptor is in use until then. `done` frees the read. NULL when memory is out. */
file_read_t *file_read_start(uv_loop_t *loop, file_range_t *range, size_t most, void *data,
                             void (*done)(file_read_t *read));

#endif
