/* lane.c: the primary's end of a worker's lane.
 * queue: [ sent, not yet reported | not yet sent ]. A report settles the oldest; whatever is left when the
 * lane ends goes back to the hub, so a connection is lost with no worker. The primary's copy of a descriptor
 * is closed once the worker has taken it. */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "handoff.h"

enum { RETRY_MS = 5 }; /* when the kernel has too many descriptors in flight, or no memory */

struct lane {
  uv_poll_t poll; /* both closed by lane_close; the last on_closed may free */
  uv_timer_t retry;
  hub_t *hub;
  lane_link_t link; /* in the hub's list of lanes to flush */
  conn_queue_t queue;
  uint32_t sent; /* how many at the head of the queue the worker was sent */
  lane_load_t load;
  stats_t *stats; /* the worker's page */
  int fd;
  int open_handles;
  bool waits; /* for room in the socket, or for the timer */
  bool closing;
  bool released; /* by its owner */
};

static void maybe_free(lane_t *lane) {
  if (lane->open_handles > 0 || !lane->released) return;
  stats_unmap(lane->stats);
  free(lane);
}

static void on_poll_closed(uv_handle_t *handle) {
  lane_t *lane = (lane_t *)handle;
  close(lane->fd);
  lane->open_handles--;
  maybe_free(lane);
}

static void on_retry_closed(uv_handle_t *handle) {
  lane_t *lane = (lane_t *)((char *)handle - offsetof(lane_t, retry));
  lane->open_handles--;
  maybe_free(lane);
}

static void give_back(lane_t *lane, conn_t conn, bool tried) {
  if (tried) conn.tries++;
  hub_put(lane->hub, conn);
}

static void settle(lane_t *lane, const handoff_report_t *report) {
  for (uint32_t i = 0; i < report->count; i++) {
    conn_t conn = conn_queue_shift(&lane->queue);
    lane->sent--;
    if (report->refused >> i & 1) {
      lane->load.refused++;
      give_back(lane, conn, false);
    } else {
      lane->load.taken++;
      conn_done(conn);
    }
  }
}

/* Reads all reports. False: the worker is gone, or does not keep to the protocol. */
static bool read_reports(lane_t *lane) {
  for (;;) {
    handoff_report_t report;
    ssize_t n = recv(lane->fd, &report, sizeof report, MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno == EAGAIN;
    if (n != sizeof report || report.count > HANDOFF_BATCH || report.count > lane->sent) return false;
    settle(lane, &report);
    if (lane->sent == 0) return true; /* no other report is due: spare the call that would say so */
  }
}

static void on_event(uv_poll_t *poll, int status, int events);

static int watch(lane_t *lane, bool writable) {
  lane->waits = writable;
  return uv_poll_start(&lane->poll, UV_READABLE | (writable ? UV_WRITABLE : 0), on_event);
}

static void on_event(uv_poll_t *poll, int status, int events) {
  lane_t *lane = (lane_t *)poll;
  hub_t *hub = lane->hub;
  if (events & UV_WRITABLE) watch(lane, false);
  if (status < 0 || !read_reports(lane)) lane_close(lane);
  else lane_flush(lane);
  hub_dispatch(hub); /* Lua may let the lane go: nothing after this */
}

static void on_retry(uv_timer_t *timer) {
  lane_t *lane = (lane_t *)((char *)timer - offsetof(lane_t, retry));
  hub_t *hub = lane->hub;
  lane->waits = false;
  lane_flush(lane);
  hub_dispatch(hub);
}

static int send_message(int fd, const handoff_batch_t *batch, const int *fds, uint32_t count) {
  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(HANDOFF_BATCH * sizeof(int))];
  } control;
  struct iovec iov = {(void *)batch,
                      offsetof(handoff_batch_t, listener) + batch->count * sizeof batch->listener[0]};
  struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control};
  message.msg_controllen = CMSG_SPACE(count * sizeof(int));
  struct cmsghdr *cmsg = &control.align;
  cmsg->cmsg_level = SOL_SOCKET;
  cmsg->cmsg_type = SCM_RIGHTS;
  cmsg->cmsg_len = CMSG_LEN(count * sizeof(int));
  memcpy(CMSG_DATA(cmsg), fds, count * sizeof(int));
  ssize_t n;
  do n = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  while (n < 0 && errno == EINTR);
  return n < 0 ? -errno : 0;
}

static int send_batch(lane_t *lane, uint32_t count) {
  handoff_batch_t batch = {.count = count};
  int fds[HANDOFF_BATCH];
  for (uint32_t i = 0; i < count; i++) {
    const conn_t *conn = conn_queue_at(&lane->queue, lane->sent + i);
    batch.listener[i] = acceptor_id(conn->from);
    fds[i] = conn->fd;
  }
  return send_message(lane->fd, &batch, fds, count);
}

static void on_send_error(lane_t *lane, int error) {
  switch (error) {
  case -EAGAIN: watch(lane, true); break;
  case -ETOOMANYREFS:
  case -ENOBUFS:
  case -ENOMEM:
    lane->waits = true;
    uv_timer_start(&lane->retry, on_retry, RETRY_MS, 0);
    break;
  default: /* the worker is gone */
    if (!read_reports(lane)) errno = 0;
    lane_close(lane);
  }
}

void lane_flush(lane_t *lane) {
  while (!lane->closing && !lane->waits && lane->sent < HANDOFF_INFLIGHT && lane->sent < lane->queue.count) {
    uint32_t count = lane->queue.count - lane->sent;
    if (count > HANDOFF_BATCH) count = HANDOFF_BATCH;
    if (count > HANDOFF_INFLIGHT - lane->sent) count = HANDOFF_INFLIGHT - lane->sent;
    int rc = send_batch(lane, count);
    if (rc < 0) return on_send_error(lane, rc);
    lane->sent += count;
  }
}

int lane_push(lane_t *lane, conn_t conn) {
  if (lane->closing) return UV_EPIPE;
  int rc = conn_queue_push(&lane->queue, conn);
  if (rc == 0) hub_mark(lane->hub, lane);
  return rc;
}

void lane_close(lane_t *lane) {
  if (lane->closing) return;
  lane->closing = true;
  read_reports(lane); /* what the worker had taken before it went is not for another */
  while (lane->queue.count > 0) {
    bool tried = lane->sent > 0;
    if (tried) lane->sent--;
    give_back(lane, conn_queue_shift(&lane->queue), tried);
  }
  conn_queue_free(&lane->queue);
  uv_close((uv_handle_t *)&lane->poll, on_poll_closed);
  uv_close((uv_handle_t *)&lane->retry, on_retry_closed);
}

void lane_release(lane_t *lane) {
  lane_close(lane);
  hub_unmark(lane->hub, lane);
  lane->released = true;
  maybe_free(lane);
}

/* The first message: where the worker counts. */
static int send_page(lane_t *lane) {
  int fd;
  int rc = stats_create(&fd, &lane->stats);
  if (rc < 0) return rc;
  handoff_batch_t none = {.count = 0};
  rc = send_message(lane->fd, &none, &fd, 1);
  close(fd);
  return rc;
}

static int start(lane_t *lane) {
  int rc = uv_poll_init(hub_loop(lane->hub), &lane->poll, lane->fd);
  if (rc < 0) return rc;
  uv_timer_init(hub_loop(lane->hub), &lane->retry);
  lane->open_handles = 2;
  uv_unref((uv_handle_t *)&lane->poll); /* the worker's process keeps the primary alive, not its lane */
  rc = send_page(lane);
  if (rc == 0) rc = watch(lane, false);
  return rc;
}

int lane_open(hub_t *hub, lane_t **out, int *peer) {
  lane_t *lane = calloc(1, sizeof *lane);
  if (!lane) return UV_ENOMEM;
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
    free(lane);
    return uv_translate_sys_error(errno);
  }
  lane->hub = hub;
  lane->fd = pair[0];
  int rc = start(lane);
  if (rc < 0) {
    close(pair[1]);
    if (lane->open_handles > 0) {
      lane_release(lane);
    } else {
      close(pair[0]);
      free(lane);
    }
    return rc;
  }
  *out = lane;
  *peer = pair[1];
  return 0;
}

lane_load_t lane_load(const lane_t *lane) {
  lane_load_t load = lane->load;
  load.untaken = lane->queue.count;
  return load;
}

stats_t *lane_stats(lane_t *lane) { return lane->stats; }

int lane_is_open(const lane_t *lane) { return !lane->closing; }

lane_link_t *lane_link(lane_t *lane) { return &lane->link; }
