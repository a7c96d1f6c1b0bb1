/* handoff/handoff.h: accepted connections, primary -> worker, in batches.
 *
 * A lane is a SOCK_SEQPACKET pair beside a worker's channel. Each message is a handoff_batch_t whose
 * descriptors ride along in the same order: connections towards the worker, and those that it refuses back.
 * The first message of a lane has no connections and carries the page of counters (io/stats.h).
 *
 * A connection is at any time in one place: in the primary, in a message, or in the worker. The worker leaves
 * a message in the socket until it has been through all of it, and notes on the page how far it is and what
 * it refuses; the primary keeps the worker's end open as well, and takes what is left in there when the
 * worker has died. */
#ifndef LRUN_HANDOFF_HANDOFF_H
#define LRUN_HANDOFF_HANDOFF_H

#include <lua.h>
#include <stdint.h>
#include <uv.h>

#include "io/stats.h"

enum {
  HANDOFF_BATCH = 64,    /* descriptors a message */
  HANDOFF_INFLIGHT = 128 /* sent and not yet taken, a lane; what is beyond waits in the primary */
};

typedef struct {
  uint64_t first; /* of the lane's connections, counted from 0; back: that of the message they were in */
  uint32_t count;
  uint32_t listener[HANDOFF_BATCH]; /* which server of the worker each descriptor is for */
} handoff_batch_t;

/* Sends one message with `nfds` descriptors, of which copies travel. 0 or UV_E*. */
int handoff_send(int fd, const handoff_batch_t *batch, const int *fds, int nfds);

/* Looks at the next message, which stays where it is. 1, and `fds` has descriptors of one's own for it, one a
 * connection or the page's; 0 when there is none for now; UV_EOF; UV_EMFILE when not all of them can be
 * opened; UV_EPROTO when it is no such message. */
int handoff_peek(int fd, handoff_batch_t *batch, int fds[HANDOFF_BATCH]);

/* Removes the message that was looked at. */
void handoff_consume(int fd);

typedef struct hub hub_t;           /* handoff/hub.c: the connections that wait for a lane */
typedef struct acceptor acceptor_t; /* handoff/acceptor.c: one listening socket of the primary */
typedef struct lane lane_t;         /* handoff/lane.c: the primary's end of a lane */

/* One accepted connection in the primary. Whoever holds it owns the descriptor; `from` counts it until
 * conn_done. */
typedef struct {
  int fd;
  acceptor_t *from;
} conn_t;

/* A ring of connections that grows. */
typedef struct {
  conn_t *items;
  uint32_t head, count, size; /* size is a power of two */
} conn_queue_t;

int conn_queue_push(conn_queue_t *queue, conn_t conn); /* 0 or UV_ENOMEM */
conn_t *conn_queue_at(const conn_queue_t *queue, uint32_t index);
conn_t conn_queue_shift(conn_queue_t *queue);
void conn_queue_free(conn_queue_t *queue);
/* Closes the descriptor and tells the acceptor. */
void conn_done(conn_t conn);

/* Makes the connection wait for a lane; closes it where that is impossible. */
void hub_put(hub_t *hub, conn_t conn);
/* The same for one that comes back: its acceptor is found by its number, and may be gone. */
void hub_put_back(hub_t *hub, int fd, uint32_t acceptor);
/* Lets Lua name lanes for all that waits. */
void hub_dispatch(hub_t *hub);
/* The lane has something to send: the next hub_dispatch flushes it. */
void hub_mark(hub_t *hub, lane_t *lane);
void hub_unmark(hub_t *hub, lane_t *lane);
void hub_join(hub_t *hub, acceptor_t *acceptor);
void hub_leave(hub_t *hub, acceptor_t *acceptor);
uv_loop_t *hub_loop(const hub_t *hub);
/* A descriptor in reserve, to be able to accept and close when there are no others; -1 if there is none. */
int hub_take_reserve(hub_t *hub);
void hub_refill_reserve(hub_t *hub);

/* Listens on `fd`, which stays the caller's and must outlive the acceptor. Accepts between resume and pause.
 */
int acceptor_open(hub_t *hub, int fd, uint32_t id, int backlog, acceptor_t **out);
void acceptor_close(acceptor_t *acceptor); /* the struct lives until its last connection is done */
int acceptor_resume(acceptor_t *acceptor);
void acceptor_pause(acceptor_t *acceptor);
/* Keeps a connection until the next resume. */
void acceptor_park(conn_t conn);
uint32_t acceptor_id(const acceptor_t *acceptor);
/* The hub's list of open acceptors runs through them. */
acceptor_t **acceptor_next(acceptor_t *acceptor);
/* A connection that is from here waits in the primary (again), or does no longer. */
void acceptor_conn_waits(acceptor_t *acceptor);
void acceptor_conn_done(acceptor_t *acceptor);

/* Makes a pair; the worker's end is `*peer`, which stays the lane's: the worker is to get a copy. 0 or UV_E*, and which
 * system call said so. */
int lane_open(hub_t *hub, lane_t **out, int *peer, const char **syscall);
/* The worker is gone. Safe to repeat. What it has not taken goes back to the hub. */
void lane_close(lane_t *lane);
/* The owner lets go: freed as soon as it is closed. */
void lane_release(lane_t *lane);
int lane_push(lane_t *lane, conn_t conn);
void lane_flush(lane_t *lane);
/* The hub's list of lanes to flush runs through the lanes. */
typedef struct {
  lane_t *next;
  int marked;
} lane_link_t;
lane_link_t *lane_link(lane_t *lane);

typedef struct {
  uint64_t untaken; /* assigned, and not yet taken */
  uint64_t waited;  /* ms for which the worker, sent some, has taken none */
  uint64_t taken;
  uint64_t refused;
} lane_load_t;
lane_load_t lane_load(lane_t *lane);
stats_t *lane_stats(lane_t *lane);
int lane_is_open(const lane_t *lane);

int luaopen_lrun_handoff(lua_State *L);
/* The worker's half of the module: adds its functions to the table on top (handoff/worker.c). */
void handoff_worker_register(lua_State *L);

#endif
