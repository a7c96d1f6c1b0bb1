/* ipc/received.h: descriptors that came over a socket, in order, until the frames that name them take them. */
#ifndef LRUN_IPC_RECEIVED_H
#define LRUN_IPC_RECEIVED_H

#include <stdbool.h>
#include <sys/socket.h>

enum { RECEIVED_MAX = 64 }; /* more than these are garbage: senders wait for answers */

typedef struct {
  int count;
  int fds[RECEIVED_MAX]; /* -1: one was lost, because this process had no descriptor left for it */
} received_t;

/* Takes what a recvmsg brought. False when there were too many; the rest is closed. */
bool received_keep(received_t *received, struct msghdr *message);

/* The oldest one, or -1 when there is none or it was lost. */
int received_take(received_t *received);

void received_close(received_t *received);

/* What a descriptor is: "tcp", "udp", "pipe" (also a unix socket), "file" for all else, NULL for none. */
const char *received_kind(int fd);

/* Whether it is a socket that accepts connections. */
bool received_listens(int fd);

#endif
