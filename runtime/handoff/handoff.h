/* handoff/handoff.h: accepted connections, primary -> worker, in batches. For this folder alone: Lua's side of it is
 * the module `lrun.core.handoff`.
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
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#include "host/vm.h"
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
 * opened, or there is no memory for it: then it is to be tried again; UV_EPROTO when it is no such message. */
int handoff_peek(int fd, handoff_batch_t *batch, int fds[HANDOFF_BATCH]);

/* Removes the message that was looked at. */
void handoff_consume(int fd);

typedef struct hub hub_t;
typedef struct acceptor acceptor_t;
typedef struct lane lane_t;

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

/* handoff/hub.c: the connections that wait for a lane. Lasts as long as the VM. */
struct hub {
  vm_t *vm;
  uv_loop_t *loop;
  conn_queue_t waiting;
  TAILQ_HEAD(, lane) marked;       /* lanes with something to send */
  LIST_HEAD(, acceptor) acceptors; /* those that are open */
  int callback;                    /* registry ref: Lua's function that names lanes while something waits */
  int reserve; /* a descriptor to give up when there are no others, -1 while it is given up */
  bool dispatching;
};

/* `callback` is a registry ref. */
int hub_open(lua_State *L, int callback, hub_t **out);
/* Makes the connection wait for a lane; closes it where that is impossible. */
void hub_put(hub_t *hub, conn_t conn);
/* The same for one that comes back: its acceptor is found by its number, and may be gone. */
void hub_put_back(hub_t *hub, int fd, uint32_t acceptor);
/* Lets Lua name lanes for all that waits. */
void hub_dispatch(hub_t *hub);
/* Sends what lanes have. */
void hub_flush(hub_t *hub);
/* The lane has something to send: the next hub_flush sends it. */
void hub_mark(hub_t *hub, lane_t *lane);
void hub_unmark(hub_t *hub, lane_t *lane);
/* Takes the descriptor in reserve again, after it was given up. */
void hub_refill_reserve(hub_t *hub);

/* handoff/acceptor.c: one listening socket of the primary. */
struct acceptor {
  uv_poll_t poll;   /* both closed by acceptor_close; the last on_closed may free */
  uv_timer_t retry; /* after an error, such as descriptors that had run out */
  hub_t *hub;
  LIST_ENTRY(acceptor) link; /* in the hub's, while it is open */
  int fd;                    /* the owner's */
  uint32_t id;
  uint32_t waiting_max;
  uint32_t waiting; /* connections from here that are in this process: they hold the struct */
  int open_handles;
  conn_queue_t parked; /* accepted while no worker listens: the next one that does gets them */
  bool running;        /* between resume and pause */
  bool starved;        /* out of descriptors at the last try */
  bool full;           /* stopped at waiting_max */
  bool closing;
};

/* Listens on `fd`, which stays the caller's and must outlive the acceptor. Accepts between resume and pause. */
int acceptor_open(hub_t *hub, int fd, uint32_t id, int backlog, acceptor_t **out);
void acceptor_close(acceptor_t *acceptor); /* the struct lives until its last connection is done */
int acceptor_resume(acceptor_t *acceptor);
void acceptor_pause(acceptor_t *acceptor);
/* Accepts all that is pending now, and has it assigned: before a socket is closed on which clients wait. */
void acceptor_sweep(acceptor_t *acceptor);
/* Keeps a connection until the next resume. */
void acceptor_park(conn_t conn);
/* A connection that is from here waits in the primary no longer. */
void acceptor_conn_done(acceptor_t *acceptor);

/* handoff/lane.c: the primary's end of a worker's lane. */
struct lane {
  uv_poll_t poll; /* both closed by lane_close; the last on_closed may free */
  uv_timer_t retry;
  hub_t *hub;
  TAILQ_ENTRY(lane) link; /* in the hub's marked ones, while `marked` */
  conn_queue_t queue;
  uint64_t sent; /* connections */
  uint64_t refused;
  uint64_t answered; /* `first` of the last message of which the worker has sent back what it refused, + 1 */
  uint64_t moved_at; /* ms of the loop's clock: when the worker last took some, or had none to take */
  uint64_t seen;     /* how many it had taken then */
  stats_t *stats;    /* the worker's page */
  int fd;
  int peer; /* the worker's end: what it left there is not lost with it */
  int open_handles;
  bool marked;
  bool waits;  /* for room in the socket, or for the timer */
  bool broken; /* takes and sends no more */
  bool closing;
  bool released; /* by its owner */
};

/* Makes a pair; the worker's end is `peer`, which stays the lane's: the worker is to get a copy. 0 or UV_E*,
 * and which system call said so. */
int lane_open(hub_t *hub, lane_t **out, const char **syscall);
/* The worker is gone. Safe to repeat. What it has not taken goes back to the hub. */
void lane_close(lane_t *lane);
/* The owner lets go: freed as soon as it is closed. */
void lane_release(lane_t *lane);
int lane_push(lane_t *lane, conn_t conn);
void lane_flush(lane_t *lane);

typedef struct {
  uint64_t untaken; /* assigned, and not yet taken */
  uint64_t waited;  /* ms for which the worker, sent some, has taken none */
  uint64_t taken;
} lane_load_t;
lane_load_t lane_load(lane_t *lane);

int luaopen_lrun_handoff(lua_State *L);
/* The worker's half of the module: adds its functions to the table on top (handoff/worker.c). */
void handoff_worker_register(lua_State *L);

#endif
