/* io/output_stdio.c: C's `stdout` and `stderr` as streams without a buffer of their own: what Lua's io library, C modules
 * and FFI calls write there goes to the owner of the output, in one order.
 *
 * What goes to stderr is written at once, completely, and after what stdout was given: on a terminal or in a log file
 * the two are one text. */
#include "io/output.h"
#include "io/write_all.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

/* A full disk is no news to whoever prints (see HOOK_OUTPUT); a reader that is gone is. */
static ssize_t write_output(void *cookie, const char *bytes, size_t length) {
  (void)cookie;
  output_write(bytes, length);
  if (output_failure() != UV_EPIPE) return (ssize_t)length;
  output_ignored(length);
  errno = EPIPE;
  return 0;
}

static ssize_t write_error(void *cookie, const char *bytes, size_t length) {
  (void)cookie;
  output_flush();
  int rc = write_all(STDERR_FILENO, bytes, length);
  if (rc == 0) return (ssize_t)length;
  errno = -rc;
  return 0;
}

static int seek(int fd, off64_t *position, int whence) {
  output_flush();
  off64_t at = lseek64(fd, *position, whence);
  if (at < 0) return -1;
  *position = at;
  return 0;
}
static int seek_output(void *cookie, off64_t *position, int whence) {
  (void)cookie;
  return seek(STDOUT_FILENO, position, whence);
}
static int seek_error(void *cookie, off64_t *position, int whence) {
  (void)cookie;
  return seek(STDERR_FILENO, position, whence);
}

static FILE *stream(int fd, cookie_io_functions_t functions) {
  FILE *file = fopencookie(NULL, "w", functions);
  if (!file) abort();
  setvbuf(file, NULL, _IONBF, 0);
#ifdef __GLIBC__
  file->_fileno = fd; /* for those who ask fileno(3) whether it is a terminal */
#endif
  return file;
}

static void at_exit(void) { output_flush(); }

void output_open(void) {
  stdout = stream(STDOUT_FILENO, (cookie_io_functions_t){.write = write_output, .seek = seek_output});
  stderr = stream(STDERR_FILENO, (cookie_io_functions_t){.write = write_error, .seek = seek_error});
  atexit(at_exit);
}
