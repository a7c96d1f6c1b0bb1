/* io/write_all.c: see io/write_all.h. */
#include "io/write_all.h"

#include <errno.h>
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
