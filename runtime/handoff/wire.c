/* handoff/wire.c: the messages of a lane, as both ends send and read them.
 * A message is read in two steps, so that none is lost with a reader that dies over it: peek copies its
 * descriptors, consume removes it. */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "handoff/handoff.h"

typedef union {
  struct cmsghdr align;
  char bytes[CMSG_SPACE(HANDOFF_BATCH * sizeof(int))];
} control_t;

static size_t size_of(uint32_t count) {
  return offsetof(handoff_batch_t, listener) + count * sizeof(uint32_t);
}

int handoff_send(int fd, const handoff_batch_t *batch, const int *fds, int nfds) {
  control_t control;
  struct iovec iov = {(void *)batch, size_of(batch->count)};
  struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control};
  message.msg_controllen = CMSG_SPACE((size_t)nfds * sizeof(int));
  struct cmsghdr *cmsg = &control.align;
  cmsg->cmsg_level = SOL_SOCKET;
  cmsg->cmsg_type = SCM_RIGHTS;
  cmsg->cmsg_len = CMSG_LEN((size_t)nfds * sizeof(int));
  memcpy(CMSG_DATA(cmsg), fds, (size_t)nfds * sizeof(int));
  ssize_t n;
  do n = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  while (n < 0 && errno == EINTR);
  return n < 0 ? uv_translate_sys_error(errno) : 0;
}

static int take_descriptors(struct msghdr *message, int *fds) {
  int count = 0;
  for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    size_t bytes = c->cmsg_len - CMSG_LEN(0);
    memcpy(fds + count, CMSG_DATA(c), bytes);
    count += (int)(bytes / sizeof(int));
  }
  return count;
}

static bool is_batch(const handoff_batch_t *batch, size_t length) {
  return length >= size_of(0) && batch->count <= HANDOFF_BATCH && length == size_of(batch->count);
}

int handoff_peek(int fd, handoff_batch_t *batch, int fds[HANDOFF_BATCH]) {
  control_t control;
  struct iovec iov = {batch, sizeof *batch};
  struct msghdr message = {
      .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  ssize_t n;
  do n = recvmsg(fd, &message, MSG_PEEK | MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  while (n < 0 && errno == EINTR);
  if (n < 0 && errno == EAGAIN) return 0;
  if (n < 0 && (errno == ENOMEM || errno == ENOBUFS)) return UV_EMFILE; /* it passes, too */
  if (n < 0) return uv_translate_sys_error(errno);
  if (n == 0) return UV_EOF;
  int count = take_descriptors(&message, fds);
  bool whole = !(message.msg_flags & MSG_CTRUNC);
  bool good = !(message.msg_flags & MSG_TRUNC) && is_batch(batch, (size_t)n) &&
              (!whole || (uint32_t)count == (batch->count ? batch->count : 1));
  if (good && whole) return 1;
  for (int i = 0; i < count; i++) close(fds[i]);
  return good ? UV_EMFILE : UV_EPROTO;
}

void handoff_consume(int fd) {
  ssize_t n;
  do n = recv(fd, NULL, 0, MSG_DONTWAIT);
  while (n < 0 && errno == EINTR);
}
