/* Fuzzes what a lane's end reads: the first byte says how many descriptors come with the message. A message that is
 * taken has a descriptor for each connection (one for the page), and no descriptor is left open afterwards. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "handoff/handoff.h"

enum { MOST = 80 }; /* descriptors, more than a message may have */

static void send_message(int fd, const uint8_t *data, size_t size, int count) {
  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(MOST * sizeof(int))];
  } control;
  int fds[MOST];
  struct iovec part = {(void *)data, size};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  for (int i = 0; i < count; i++) fds[i] = fd;
  if (count > 0) {
    message.msg_control = &control;
    message.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
    control.align = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN((size_t)count * sizeof(int))};
    memcpy(CMSG_DATA(&control.align), fds, (size_t)count * sizeof(int));
  }
  if (sendmsg(fd, &message, MSG_NOSIGNAL) < 0) abort();
}

static int lowest_free(void) {
  int fd = open("/dev/null", O_RDONLY);
  close(fd);
  return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  int pair[2], fds[HANDOFF_BATCH];
  if (size < 2 || size > 4096 || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) != 0) return 0;
  int before = lowest_free();
  handoff_batch_t batch;
  int sent = data[0] % (MOST + 1);
  send_message(pair[0], &data[1], size - 1, sent);
  int rc = handoff_peek(pair[1], &batch, fds);
  if (rc == 0 || rc > 1) abort();
  if (rc == 1) {
    int count = batch.count ? (int)batch.count : 1;
    if (count > HANDOFF_BATCH || count != sent) abort();
    for (int i = 0; i < count; i++) close(fds[i]);
  }
  handoff_consume(pair[1]);
  if (handoff_peek(pair[1], &batch, fds) != 0) abort();
  if (lowest_free() != before) abort();
  close(pair[0]);
  close(pair[1]);
  return 0;
}
