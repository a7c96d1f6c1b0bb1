/* handoff/acceptor.c: one listening socket of a cluster's primary.
 * Accepts all that is pending, puts it into the hub, and lets the hub have it assigned. Stops for a while
 * when the workers do not keep up (the kernel's backlog is the queue then) or when accepting fails. */
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "handoff/handoff.h"

enum {
  ACCEPT_TURN = 256,  /* connections accepted before others get their turn */
  SWEEP_TURNS = 16,   /* those that come while we sweep have no end */
  WAITING_MAX = 2048, /* accepted and not yet sent to a worker; less where few descriptors may be open */
  RETRY_MS = 100      /* how long to wait for free descriptors, or for an error to pass */
};

static void maybe_free(acceptor_t *acceptor) {
  if (acceptor->open_handles == 0 && acceptor->waiting == 0) free(acceptor);
}

static void on_poll_closed(uv_handle_t *handle) {
  acceptor_t *acceptor = (acceptor_t *)handle;
  acceptor->open_handles--;
  maybe_free(acceptor);
}

static void on_retry_closed(uv_handle_t *handle) {
  acceptor_t *acceptor = (acceptor_t *)((char *)handle - offsetof(acceptor_t, retry));
  acceptor->open_handles--;
  maybe_free(acceptor);
}

static void on_readable(uv_poll_t *poll, int status, int events);

static int start(acceptor_t *acceptor) { return uv_poll_start(&acceptor->poll, UV_READABLE, on_readable); }

static void on_retry(uv_timer_t *timer) {
  acceptor_t *acceptor = (acceptor_t *)((char *)timer - offsetof(acceptor_t, retry));
  if (acceptor->running) start(acceptor);
}

/* Nobody freed a descriptor in time: whoever waits is told so now, by a close, instead of hanging. */
static void shed(acceptor_t *acceptor) {
  hub_t *hub = acceptor->hub;
  if (hub->reserve < 0) return;
  close(hub->reserve);
  hub->reserve = -1;
  for (int i = 0; i < ACCEPT_TURN; i++) {
    int fd = accept4(acceptor->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) break;
    close(fd);
  }
  hub_refill_reserve(hub);
}

static void try_later(acceptor_t *acceptor) {
  uv_poll_stop(&acceptor->poll);
  uv_timer_start(&acceptor->retry, on_retry, RETRY_MS, 0);
}

static void on_exhausted(acceptor_t *acceptor) {
  if (acceptor->starved) shed(acceptor);
  acceptor->starved = true;
  try_later(acceptor);
}

/* Whether to go on: 1 with the next one at once, 0 when there is one, or when the timer says so. */
static int on_accept_error(acceptor_t *acceptor, int error) {
  switch (error) {
  case EINTR:
  case ECONNABORTED:
  case EPROTO:
  case EPERM: /* a firewall rule */ return 1;
  case EMFILE:
  case ENFILE:
  case ENOBUFS:
  case ENOMEM: on_exhausted(acceptor); return 0;
  case EAGAIN: return 0;
  default: try_later(acceptor); return 0; /* polling would tell of it without end */
  }
}

/* Takes what is pending, up to a turn's share; returns how many. */
static int accept_pending(acceptor_t *acceptor) {
  int accepted = 0;
  for (int i = 0; i < ACCEPT_TURN; i++) {
    if (acceptor->waiting >= acceptor->waiting_max) {
      acceptor->full = true;
      uv_poll_stop(&acceptor->poll);
      break;
    }
    int fd = accept4(acceptor->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
      if (on_accept_error(acceptor, errno)) continue;
      break;
    }
    acceptor->starved = false;
    acceptor->waiting++;
    accepted++;
    hub_put(acceptor->hub, (conn_t){.fd = fd, .from = acceptor});
  }
  return accepted;
}

static void on_readable(uv_poll_t *poll, int status, int events) {
  acceptor_t *acceptor = (acceptor_t *)poll;
  (void)events;
  if (status < 0) return try_later(acceptor);                /* libuv polls no more */
  if (accept_pending(acceptor)) hub_dispatch(acceptor->hub); /* Lua may close us: nothing after this */
}

void acceptor_sweep(acceptor_t *acceptor) {
  hub_t *hub = acceptor->hub;
  for (int i = 0; i < SWEEP_TURNS && !acceptor->closing && acceptor->running && accept_pending(acceptor); i++)
    hub_dispatch(hub);
}

/* A quarter of the descriptors: the rest is for the program, for workers, and for other listeners. */
static uint32_t waiting_max(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur / 4 >= WAITING_MAX) return WAITING_MAX;
  return limit.rlim_cur < 16 ? 4 : (uint32_t)limit.rlim_cur / 4;
}

int acceptor_open(hub_t *hub, int fd, uint32_t id, int backlog, acceptor_t **out) {
  if (listen(fd, backlog) != 0) return uv_translate_sys_error(errno);
  acceptor_t *acceptor = calloc(1, sizeof *acceptor);
  if (!acceptor) return UV_ENOMEM;
  acceptor->hub = hub;
  acceptor->fd = fd;
  acceptor->id = id;
  acceptor->waiting_max = waiting_max();
  int rc = uv_poll_init(hub->loop, &acceptor->poll, fd);
  if (rc < 0) {
    free(acceptor);
    return rc;
  }
  uv_timer_init(hub->loop, &acceptor->retry);
  acceptor->open_handles = 2;
  LIST_INSERT_HEAD(&hub->acceptors, acceptor, link);
  *out = acceptor;
  return 0;
}

int acceptor_resume(acceptor_t *acceptor) {
  if (acceptor->running || acceptor->closing) return 0;
  acceptor->running = true;
  while (acceptor->parked.count > 0) hub_put(acceptor->hub, conn_queue_shift(&acceptor->parked));
  return start(acceptor);
}

void acceptor_pause(acceptor_t *acceptor) {
  if (!acceptor->running) return;
  acceptor->running = false;
  uv_poll_stop(&acceptor->poll);
  uv_timer_stop(&acceptor->retry);
}

void acceptor_close(acceptor_t *acceptor) {
  if (acceptor->closing) return;
  acceptor_pause(acceptor);
  acceptor->closing = true;
  LIST_REMOVE(acceptor, link);
  conn_queue_free(&acceptor->parked);
  uv_close((uv_handle_t *)&acceptor->poll, on_poll_closed);
  uv_close((uv_handle_t *)&acceptor->retry, on_retry_closed);
}

void acceptor_park(conn_t conn) {
  acceptor_t *acceptor = conn.from;
  if (acceptor->closing || conn_queue_push(&acceptor->parked, conn) < 0) conn_done(conn);
}

void acceptor_conn_done(acceptor_t *acceptor) {
  acceptor->waiting--;
  if (acceptor->closing) {
    maybe_free(acceptor);
  } else if (acceptor->full && acceptor->waiting < acceptor->waiting_max / 2) {
    acceptor->full = false;
    if (acceptor->running) start(acceptor);
  }
}
