/* io/write_all.c: see io/write_all.h. */
#include "io/write_all.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>
#include <uv.h>

static int wait_writable(int fd) {
  struct pollfd waiting = {.fd = fd, .events = POLLOUT};
  return poll(&waiting, 1, -1) < 0 && errno != EINTR ? uv_translate_sys_error(errno) : 0;
}

int write_all(int fd, const char *bytes, size_t length) {
  while (length > 0) {
    ssize_t n = write(fd, bytes, length);
    if (n >= 0) {
      bytes += n;
      length -= (size_t)n;
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      int rc = wait_writable(fd);
      if (rc < 0) return rc;
    } else if (errno != EINTR) {
      return uv_translate_sys_error(errno);
    }
  }
  return 0;
}

/* A pipe that says it can be written to has room for PIPE_BUF bytes. */
ssize_t write_some(int fd, const char *bytes, size_t length) {
  size_t done = 0;
  while (done < length) {
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    int n = poll(&ready, 1, 0);
    if (n == 0 || (n < 0 && errno == EINTR)) break;
    size_t piece = length - done < PIPE_BUF ? length - done : PIPE_BUF;
    ssize_t written = n < 0 ? -1 : write(fd, bytes + done, piece);
    if (written >= 0) done += (size_t)written;
    else if (errno == EAGAIN || errno == EWOULDBLOCK) break;
    else if (errno != EINTR) return uv_translate_sys_error(errno);
  }
  return (ssize_t)done;
}
