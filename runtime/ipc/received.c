/* ipc/received.c: owns descriptors from recvmsg until somebody takes them. One message of a socket brings the
 * descriptors of one sendmsg at most, with its first byte, so their order is the order of the frames that
 * name them. */
#include "ipc/received.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool keep_one(received_t *received, int fd) {
  if (received->count < RECEIVED_MAX) {
    received->fds[received->count++] = fd;
    return true;
  }
  if (fd >= 0) close(fd);
  return false;
}

bool received_keep(received_t *received, struct msghdr *message) {
  bool room = true;
  int before = received->count;
  for (struct cmsghdr *head = CMSG_FIRSTHDR(message); head; head = CMSG_NXTHDR(message, head)) {
    if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int fd;
      memcpy(&fd, CMSG_DATA(head) + i * sizeof fd, sizeof fd);
      if (!keep_one(received, fd)) room = false;
    }
  }
  /* The frame that names a lost one gets none, and not the next one's. */
  if ((message->msg_flags & MSG_CTRUNC) && received->count == before && !keep_one(received, -1)) room = false;
  return room;
}

int received_take(received_t *received) {
  if (received->count == 0) return -1;
  int fd = received->fds[0];
  received->count--;
  memmove(received->fds, &received->fds[1], (size_t)received->count * sizeof *received->fds);
  return fd;
}

void received_close(received_t *received) {
  while (received->count > 0) {
    int fd = received->fds[--received->count];
    if (fd >= 0) close(fd);
  }
}

const char *received_kind(int fd) {
  struct stat status;
  int type = 0, domain = 0;
  socklen_t length = sizeof type;
  if (fstat(fd, &status) < 0) return NULL;
  if (S_ISFIFO(status.st_mode)) return "pipe";
  if (!S_ISSOCK(status.st_mode)) return "file";
  if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0) return NULL;
  length = sizeof domain;
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) < 0) return NULL;
  if (domain == AF_UNIX) return type == SOCK_STREAM ? "pipe" : "file";
  return type == SOCK_STREAM ? "tcp" : type == SOCK_DGRAM ? "udp" : "file";
}

bool received_listens(int fd) {
  int listens = 0;
  socklen_t length = sizeof listens;
  return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) == 0 && listens;
}
