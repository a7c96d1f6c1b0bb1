/* files/range.c: see files/range.h.
 *
 * sendfile(2) waits for a disk where the bytes are not in memory, so that is asked first: cachestat(2) counts the pages that
 * are, and a read of the last byte that may not wait (RWF_NOWAIT) tells whether it has come from the disk already. A kernel
 * without cachestat, or one that refuses it, is asked by such reads alone, one every few pages. A file system that does not
 * know RWF_NOWAIT, such as those over a network, is read by the pool; one that lies in memory never waits. */
#include "files/range.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

enum { PAGE = 4096, PROBE_STEP = 4 * PAGE, SMALL_WINDOW = 64 * 1024 };

static bool no_cachestat;

/* Whether a file lies in memory, asked where it knows no RWF_NOWAIT. Such a file system answers at once; one over a network
 * has no such file. */
static bool lies_in_memory(int fd) {
  struct statfs fs;
  return fstatfs(fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

static ssize_t read_now(int fd, char *to, size_t len, uint64_t offset) {
  struct iovec part = {to, len};
  ssize_t n = preadv2(fd, &part, 1, (off_t)offset, RWF_NOWAIT);
  if (n < 0 && errno == EOPNOTSUPP && lies_in_memory(fd)) n = pread(fd, to, len, (off_t)offset);
  if (n >= 0) return n;
  switch (errno) {
  case EAGAIN:
  case EINTR:
  case EOPNOTSUPP:
  case ENOSYS:
  case EPERM: return FILE_RANGE_COLD;
  default: return -errno;
  }
}

/* Whether the byte there can be had without waiting: 1; 0 for the end of the file. */
static ssize_t probe(const file_range_t *range, uint64_t at) {
  char byte;
  return read_now(range->fd, &byte, 1, at);
}

static bool all_pages_cached(const file_range_t *range, size_t len) {
  struct {
    uint64_t off, len;
  } asked = {range->offset & ~(uint64_t)(PAGE - 1), 0};
  struct {
    uint64_t cached, dirty, writeback, evicted, recently_evicted;
  } is;
  uint64_t end = range->offset + len;
  asked.len = end - asked.off;
  uint64_t pages = (asked.len + PAGE - 1) / PAGE;
  if (!no_cachestat) {
    if (syscall(SYS_cachestat, range->fd, &asked, &is, 0) == 0) return is.cached >= pages;
    if (errno == ENOSYS || errno == EPERM) no_cachestat = true;
  }
  for (uint64_t at = range->offset; at < end; at += PROBE_STEP) {
    if (probe(range, at) != 1) return false;
  }
  return true;
}

/* How many of the next `most` bytes are in memory, FILE_RANGE_COLD, or a negative code. */
static ssize_t cached(const file_range_t *range, size_t most) {
  for (;;) {
    ssize_t last = probe(range, range->offset + most - 1);
    if (last == 0) { /* shorter by now: what there is goes out, the end shows then */
      struct stat st;
      if (fstat(range->fd, &st) < 0) return -errno;
      if ((uint64_t)st.st_size <= range->offset) return UV_EOF;
      if ((uint64_t)st.st_size - range->offset < most) most = (size_t)((uint64_t)st.st_size - range->offset);
      continue;
    }
    if (last < 0 && last != FILE_RANGE_COLD) return last;
    if (last == 1 && (most <= PAGE || all_pages_cached(range, most))) return (ssize_t)most;
    if (most <= SMALL_WINDOW) return FILE_RANGE_COLD;
    most = SMALL_WINDOW;
  }
}

static void move_on(file_range_t *range, size_t n) {
  range->offset += n;
  range->left -= n;
}

ssize_t file_range_send(file_range_t *range, int to, size_t most) {
  if (range->no_send) return FILE_RANGE_COLD;
  if (most > range->left) most = (size_t)range->left;
  ssize_t there = cached(range, most);
  if (there < 0) return there;
  off_t offset = (off_t)range->offset;
  ssize_t n = sendfile(to, range->fd, &offset, (size_t)there);
  range->full = n > 0 && n < there;
  if (n > 0) {
    move_on(range, (size_t)n);
    return n;
  }
  if (n == 0) return UV_EOF;
  if (errno == EINTR) return UV_EAGAIN;
  if (errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP) {
    range->no_send = true;
    return FILE_RANGE_COLD;
  }
  return -errno;
}

uint64_t file_range_send_ready(file_range_t *range, int to) {
  uint64_t before = range->left;
  while (range->left > 0 && !range->full && file_range_send(range, to, (size_t)range->left) > 0) {}
  return before - range->left;
}

ssize_t file_range_take(file_range_t *range, char *to, size_t most) {
  if (most > range->left) most = (size_t)range->left;
  ssize_t n = read_now(range->fd, to, most, range->offset);
  if (n == 0 && most > 0) return UV_EOF;
  if (n > 0) move_on(range, (size_t)n);
  return n;
}

/* By the pool -------------------------------------------------------------------------------------------------- */

static void read_in_pool(uv_work_t *req) {
  file_read_t *read = (file_read_t *)req;
  do read->got = pread(read->fd, read->bytes, read->most, (off_t)read->offset);
  while (read->got < 0 && errno == EINTR);
  if (read->got < 0) read->got = -errno;
  else if (read->got == 0) read->got = UV_EOF;
}

static void after_read(uv_work_t *req, int status) {
  file_read_t *read = (file_read_t *)req;
  if (status < 0) read->got = status;
  if (read->range != NULL && read->got > 0) move_on(read->range, (size_t)read->got);
  read->done(read);
}

file_read_t *file_read_start(uv_loop_t *loop, file_range_t *range, size_t most, void *data,
                             void (*done)(file_read_t *read)) {
  file_read_t *read = calloc(1, sizeof *read);
  if (read == NULL) return NULL;
  if (most > range->left) most = (size_t)range->left;
  read->range = range;
  read->data = data;
  read->done = done;
  read->fd = range->fd;
  read->offset = range->offset;
  read->most = most;
  read->bytes = malloc(most);
  if (read->bytes != NULL && uv_queue_work(loop, &read->req, read_in_pool, after_read) == 0) return read;
  free(read->bytes);
  free(read);
  return NULL;
}
