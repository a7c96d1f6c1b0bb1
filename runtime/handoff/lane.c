/* handoff/lane.c: the primary's end of a worker's lane.
 * lane_push -> queue -> lane_flush -> the socket; our copies are closed then. What comes back over the socket
 * is what the worker had no server for: to the hub. How far the worker is says its page. When it has died,
 * lane_close reads what is left at both ends and gives that back to the hub, too. A worker that sends
 * nonsense gets no more, but what it has is its own as long as it lives. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "handoff/handoff.h"

enum {
  BEHIND_MS = 2, /* between looks whether a worker that has HANDOFF_INFLIGHT to take has taken some */
  RETRY_MS = 5,  /* when the kernel has too many descriptors under way, or no memory */
  EXHAUSTED_PAUSE_MS = 100 /* how long to wait for free descriptors */
};

static void maybe_free(lane_t *lane) {
  if (lane->open_handles > 0 || !lane->released) return;
  stats_unmap(lane->stats);
  free(lane);
}

static void on_poll_closed(uv_handle_t *handle) {
  lane_t *lane = (lane_t *)handle;
  lane->open_handles--;
  maybe_free(lane);
}

static void on_retry_closed(uv_handle_t *handle) {
  lane_t *lane = (lane_t *)((char *)handle - offsetof(lane_t, retry));
  close(lane->fd);
  close(lane->peer);
  lane->open_handles--;
  maybe_free(lane);
}

/* How many connections the worker has been entered with. It writes the page, so it may say anything. */
static uint64_t handed(const lane_t *lane) {
  uint64_t count = lane->stats->handed;
  return count < lane->sent ? count : lane->sent;
}

/* How far the worker is, noted with the time. */
static uint64_t look(lane_t *lane) {
  uint64_t count = handed(lane);
  if (count == lane->seen && count < lane->sent) return count;
  lane->seen = count;
  lane->moved_at = uv_now(lane->hub->loop);
  return count;
}

static void on_event(uv_poll_t *poll, int status, int events);
static void on_retry(uv_timer_t *timer);

static int watch(lane_t *lane, int events) {
  lane->waits = events & UV_WRITABLE;
  return uv_poll_start(&lane->poll, events, on_event);
}

static void wait_a_moment(lane_t *lane, uint64_t ms) {
  lane->waits = true;
  uv_timer_start(&lane->retry, on_retry, ms, 0);
}

_Static_assert(HANDOFF_BATCH <= 64, "stats_t.refused has a bit for each");

/* Which connections of a message at the worker's end are not there to be given back, a bit for each: it was
 * entered with them, and has not refused them, or they came back already. */
static uint64_t gone(const lane_t *lane, const handoff_batch_t *batch) {
  uint64_t count = handed(lane);
  if (count <= batch->first) return 0;
  uint64_t entered = count - batch->first < 64 ? ((uint64_t)1 << (count - batch->first)) - 1 : UINT64_MAX;
  return lane->answered == batch->first + 1 ? entered : entered & ~lane->stats->refused;
}

/* Takes the messages that wait at one end. UV_EMFILE: some are still there. */
static int take_back(lane_t *lane, int fd) {
  for (;;) {
    handoff_batch_t batch;
    int fds[HANDOFF_BATCH];
    int rc = handoff_peek(fd, &batch, fds);
    if (rc <= 0) return rc;
    handoff_consume(fd);
    if (batch.count == 0) close(fds[0]); /* the page */
    uint64_t theirs = fd == lane->peer ? gone(lane, &batch) : 0;
    for (uint32_t i = 0; i < batch.count; i++) {
      if (theirs >> i & 1) close(fds[i]);
      else hub_put_back(lane->hub, fds[i], batch.listener[i]);
    }
    if (fd == lane->peer) continue;
    lane->refused += batch.count;
    lane->answered = batch.first + 1;
  }
}

static void lane_break(lane_t *lane) {
  lane->broken = true;
  uv_poll_stop(&lane->poll);
  while (lane->queue.count > 0) hub_put(lane->hub, conn_queue_shift(&lane->queue));
  conn_queue_free(&lane->queue);
}

static void read_refused(lane_t *lane) {
  int rc = take_back(lane, lane->fd);
  if (rc == UV_EMFILE) {
    uv_poll_stop(&lane->poll);
    wait_a_moment(lane, EXHAUSTED_PAUSE_MS);
  } else if (rc < 0) {
    lane_break(lane);
  }
}

static void on_event(uv_poll_t *poll, int status, int events) {
  lane_t *lane = (lane_t *)poll;
  hub_t *hub = lane->hub;
  if (events & UV_WRITABLE) watch(lane, UV_READABLE);
  if (status < 0) lane_break(lane);
  else read_refused(lane);
  lane_flush(lane);
  hub_dispatch(hub); /* Lua may let the lane go: nothing after this */
}

/* Takes what the worker has left, first what it had sent; the timer's handle lasts until that is done. */
static void recover(lane_t *lane) {
  int rc = take_back(lane, lane->fd);
  if (rc != UV_EMFILE) rc = take_back(lane, lane->peer);
  if (rc == UV_EMFILE) wait_a_moment(lane, EXHAUSTED_PAUSE_MS);
  else uv_close((uv_handle_t *)&lane->retry, on_retry_closed);
}

static void on_retry(uv_timer_t *timer) {
  lane_t *lane = (lane_t *)((char *)timer - offsetof(lane_t, retry));
  hub_t *hub = lane->hub;
  if (lane->closing) {
    recover(lane);
  } else if (!lane->broken) {
    if (lane->waits) watch(lane, UV_READABLE);
    lane_flush(lane);
  }
  hub_dispatch(hub);
}

static int send_batch(lane_t *lane, uint32_t count) {
  handoff_batch_t batch;
  int fds[HANDOFF_BATCH];
  batch.first = lane->sent;
  batch.count = count;
  for (uint32_t i = 0; i < count; i++) {
    const conn_t *conn = conn_queue_at(&lane->queue, i);
    batch.listener[i] = conn->from->id;
    fds[i] = conn->fd;
  }
  int rc = handoff_send(lane->fd, &batch, fds, (int)count);
  if (rc < 0) return rc;
  look(lane);
  lane->sent += count;
  lane->stats->sent = lane->sent;
  while (count-- > 0) conn_done(conn_queue_shift(&lane->queue));
  return 0;
}

static void on_send_error(lane_t *lane, int rc) {
  switch (rc) {
  case UV_EAGAIN: watch(lane, UV_READABLE | UV_WRITABLE); break;
  case -ETOOMANYREFS:
  case UV_ENOBUFS:
  case UV_ENOMEM: wait_a_moment(lane, RETRY_MS); break;
  default: lane_break(lane);
  }
}

void lane_flush(lane_t *lane) {
  while (!lane->broken && !lane->waits && lane->queue.count > 0) {
    uint64_t room = HANDOFF_INFLIGHT - (lane->sent - handed(lane));
    uint32_t count = lane->queue.count < HANDOFF_BATCH ? lane->queue.count : HANDOFF_BATCH;
    if (room == 0) { /* the timer looks again, and so does whoever pushes */
      if (!uv_is_active((uv_handle_t *)&lane->retry)) uv_timer_start(&lane->retry, on_retry, BEHIND_MS, 0);
      return;
    }
    int rc = send_batch(lane, count < room ? count : (uint32_t)room);
    if (rc < 0) return on_send_error(lane, rc);
  }
}

int lane_push(lane_t *lane, conn_t conn) {
  if (lane->broken) return UV_EPIPE;
  int rc = conn_queue_push(&lane->queue, conn);
  if (rc == 0) hub_mark(lane->hub, lane);
  return rc;
}

void lane_close(lane_t *lane) {
  if (lane->closing) return;
  lane->closing = true;
  lane_break(lane);
  uv_close((uv_handle_t *)&lane->poll, on_poll_closed);
  recover(lane);
}

void lane_release(lane_t *lane) {
  lane_close(lane);
  hub_unmark(lane->hub, lane);
  lane->released = true;
  maybe_free(lane);
}

/* The first message: where the worker counts. */
static int send_page(lane_t *lane, const char **syscall) {
  int fd;
  int rc = stats_create(&fd, &lane->stats, syscall);
  if (rc < 0) return rc;
  handoff_batch_t none = {.count = 0};
  *syscall = "sendmsg";
  rc = handoff_send(lane->fd, &none, &fd, 1);
  close(fd);
  return rc;
}

static int start(lane_t *lane, const char **syscall) {
  int rc = send_page(lane, syscall);
  if (rc < 0) return rc;
  *syscall = "epoll_ctl";
  rc = uv_poll_init(lane->hub->loop, &lane->poll, lane->fd);
  if (rc < 0) return rc;
  uv_timer_init(lane->hub->loop, &lane->retry);
  lane->open_handles = 2;
  uv_unref((uv_handle_t *)&lane->poll); /* the worker's process keeps the primary alive, not its lane */
  return watch(lane, UV_READABLE);
}

int lane_open(hub_t *hub, lane_t **out, const char **syscall) {
  lane_t *lane = calloc(1, sizeof *lane);
  *syscall = "mmap";
  if (!lane) return UV_ENOMEM;
  int pair[2];
  *syscall = "socketpair";
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
    free(lane);
    return uv_translate_sys_error(errno);
  }
  lane->hub = hub;
  lane->fd = pair[0];
  lane->peer = pair[1];
  int rc = start(lane, syscall);
  if (rc < 0 && lane->open_handles == 0) {
    close(pair[0]);
    close(pair[1]);
    stats_unmap(lane->stats);
    free(lane);
    return rc;
  }
  if (rc < 0) {
    lane_release(lane);
    return rc;
  }
  *out = lane;
  return 0;
}

lane_load_t lane_load(lane_t *lane) {
  uint64_t taken = look(lane);
  uint64_t refused = lane->refused < taken ? lane->refused : taken;
  return (lane_load_t){.untaken = lane->queue.count + lane->sent - taken,
                       .waited = lane->sent > taken ? uv_now(lane->hub->loop) - lane->moved_at : 0,
                       .taken = taken - refused};
}
