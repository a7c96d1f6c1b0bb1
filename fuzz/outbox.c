/* Fuzzes the outbox of the IPC channel: the bytes are what happens to it, one after the other: frames with and without
 * descriptors, urgent ones, writes, reads of the other end, answers in any number. What arrives is what was appended,
 * in order, urgent frames between whole ones; no descriptor is lost or left over. */
#include "ipc/outbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

enum { URGENT = 'U', FRAME_MOST = 68 * 1024, STEPS_MOST = 150, OPEN_MOST = 200 };

typedef struct {
  outbox_t box;
  int pair[2];
  bool again;        /* an answer had something sent again: the order is that of the answers then */
  uint32_t put, got; /* bytes of frames that are not urgent */
  uint64_t urgent, urgent_got;
  int descriptors, descriptors_got;
} world_t;

static void check(int good) {
  if (!good) abort();
}

static int lowest(void) {
  int fd = dup(STDIN_FILENO);
  close(fd);
  return fd;
}

/* Bytes that say where in the stream they are, and are not URGENT. */
static char at(uint32_t position) {
  char c = (char)(position % 61);
  return c;
}

static void append(world_t *w, size_t length, bool with_descriptor) {
  static char frame[FRAME_MOST];
  for (size_t i = 0; i < length; i++) frame[i] = at(w->put + (uint32_t)i);
  int fd = -1;
  if (with_descriptor && w->descriptors < OPEN_MOST) fd = dup(w->pair[1]);
  if (fd >= 0) w->descriptors++;
  char *place = outbox_append(&w->box, length, fd);
  check(place != NULL);
  memcpy(place, frame, length);
  w->put += (uint32_t)length;
}

static void urgent(world_t *w) {
  static const char frame[5] = {URGENT, URGENT, URGENT, URGENT, URGENT};
  check(outbox_urgent(&w->box, frame, sizeof frame));
  w->urgent += sizeof frame;
}

static void write_some(world_t *w, bool rush) {
  int rc = outbox_write(&w->box, w->pair[0], rush);
  check(rc == 0 || rc == UV_EAGAIN || rc == -ETOOMANYREFS || rc == UV_ENOBUFS);
}

static void take_descriptors(world_t *w, struct msghdr *message) {
  check(!(message->msg_flags & MSG_CTRUNC));
  for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
    int fd;
    check(c->cmsg_len == CMSG_LEN(sizeof fd));
    memcpy(&fd, CMSG_DATA(c), sizeof fd);
    close(fd);
    w->descriptors_got++;
  }
}

/* Reads once; false when nothing is there. */
static bool read_some(world_t *w) {
  static char bytes[64 * 1024];
  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(8 * sizeof(int))];
  } control;
  struct iovec iov = {bytes, sizeof bytes};
  struct msghdr message = {
      .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  ssize_t n = recvmsg(w->pair[1], &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (n <= 0) return false;
  take_descriptors(w, &message);
  for (ssize_t i = 0; i < n; i++) {
    if (bytes[i] == URGENT) w->urgent_got++;
    else if (w->again) w->got++;
    else check(bytes[i] == at(w->got++));
  }
  return true;
}

static void answer(world_t *w, bool taken) {
  int under_way = w->box.sent_count, rc = outbox_answered(&w->box, taken);
  check((rc == -2) == (under_way == 0));
  if (rc == 1) w->again = true;
  if (rc == 0) check(taken);
}

static void step(world_t *w, uint8_t what, uint8_t how) {
  switch (what % 8) {
  case 0: append(w, 1 + how, false); break;
  case 1: append(w, 1 + how, true); break;
  case 2: append(w, 1 + (size_t)how * 270, how & 1); break;
  case 3: urgent(w); break;
  case 4: write_some(w, false); break;
  case 5: read_some(w); break;
  case 6: answer(w, true); break;
  case 7: answer(w, !(how & 1)); break;
  }
  check(w->box.sent_count >= 0 && w->box.sent_count <= OUTBOX_WINDOW);
}

/* Everything arrives when answers come. */
static void drain(world_t *w) {
  for (int i = 0; i < 10000 && !outbox_is_empty(&w->box); i++) {
    write_some(w, false);
    while (read_some(w)) {}
    while (w->box.sent_count > 0) answer(w, true);
  }
  check(outbox_is_empty(&w->box));
  while (read_some(w)) {}
  check(w->box.queued == 0 && w->urgent == w->urgent_got && w->box.written == w->box.appended);
  check(w->again ? w->got >= w->put && w->descriptors_got >= w->descriptors
                 : w->got == w->put && w->descriptors_got == w->descriptors);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  if (size < 3) return 0;
  int before = lowest();
  world_t w = {0};
  check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, w.pair) == 0);
  outbox_init(&w.box, bytes[0] & 1);
  for (size_t i = 1; i + 1 < size && i < 2 * STEPS_MOST; i += 2) step(&w, bytes[i], bytes[i + 1]);
  if (bytes[0] & 2) {
    write_some(&w, true); /* the process ends: nobody answers */
    outbox_clear(&w.box);
    check(outbox_is_empty(&w.box) && w.box.queued == 0);
  } else {
    drain(&w);
  }
  outbox_clear(&w.box);
  close(w.pair[0]);
  close(w.pair[1]);
  check(lowest() == before);
  return 0;
}
