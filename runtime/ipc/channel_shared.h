/* ipc/channel_shared.h: the fields of a channel, and what its parts do for one another; for the files ipc/channel*.c alone.
 *
 *   ipc/channel.c        its life: opening, closing, what the poll handle waits for, trying again later
 *   ipc/channel_read.c   the taking in of messages
 *   ipc/channel_write.c  the sending of them */
#ifndef LRUN_IPC_CHANNEL_SHARED_H
#define LRUN_IPC_CHANNEL_SHARED_H

#include "ipc/channel.h"

#include "host/callback.h"
#include "host/vm.h"
#include "ipc/keys.h"
#include "ipc/outbox.h"
#include "ipc/received.h"
#include <sys/queue.h>
#include <uv.h>

enum {
  CHANNEL_RETRY_MS = 5
}; /* between tries while the kernel lacks memory, or has enough descriptors under way */

/* A send whose callback waits until its last byte is written. */
typedef struct callback_wait {
  STAILQ_ENTRY(callback_wait) link;
  uint64_t position; /* in the bytes that the outbox has ever taken */
  int ref;
} callback_wait_t;

struct channel {
  vm_t *vm;
  int fd;
  frame_wire_t wire;
  frame_reader_t reader;
  frame_t current; /* what channel_next gave last */
  outbox_t outbox;
  uv_poll_t poll;       /* these four are closed by channel_shut; the last one frees the channel */
  uv_prepare_t prepare; /* active while something waits for the end of the turn */
  uv_idle_t idle;       /* likewise: keeps the loop from blocking before that */
  uv_timer_t retry;     /* runs while the kernel cannot take or give now what it could have */
  int open_handles;
  int events; /* what poll watches */
  received_t received;
  keys_t *keys; /* of the other end; NULL until it has told of any */
  double bytes_received;
  size_t decoded;    /* bytes of messages in this batch */
  uint64_t wrote_at; /* when bytes last went to the socket, ns */
  STAILQ_HEAD(, callback_wait) waits;
  int on_drained;               /* registry ref, or LUA_NOREF: see channel_drain */
  int on_batch, on_close, self; /* registry refs; self anchors the userdata while the channel is open */
  channel_t **box;              /* in the userdata */
  const callbacks_t *callbacks;
  const char *failure; /* why the channel closes after this batch */
  bool drained;        /* no complete frame is left in the reader */
  bool taken;    /* this batch has asked for a message; ticks end it only then, so that each makes progress */
  bool refed;    /* what Lua asked for */
  bool paused;   /* nothing is read */
  bool unread;   /* what is there is read when `retry` has run */
  bool writable; /* false: wait for the poll handle to say so */
  bool dropped;  /* the outbox was: answers may still come to what was under way */
  bool closing;  /* closes once the outbox is empty */
  bool closed;
};

/* ipc/channel.c */

/* Closes now. What was not written is lost. Enters Lua at the end, which notes that the channel is closed
 * before it calls anybody back. */
void channel_shut(channel_t *ch, const char *reason);
/* Adjusts what the poll handle waits for, and whether that keeps the loop alive. */
void channel_watch(channel_t *ch);
/* Nothing is wrong with the socket: the kernel carries only so many descriptors for a user, on all sockets, and
 * has only so much memory. What others receive and give back makes room. */
bool channel_is_passing(int rc);
void channel_wait_for_others(channel_t *ch);

/* ipc/channel_read.c */

/* Reads what is there, for one turn of the loop. It may close the channel. */
void channel_read_in(channel_t *ch);
/* All that the peer has left is there to read; its end comes last, unless somebody else holds the socket. */
void channel_read_rest(channel_t *ch);

/* ipc/channel_write.c */

/* Writes what may be written, and calls back. It may close the channel. */
void channel_flush(channel_t *ch);
/* The same, at the end of this turn of the loop. */
void channel_schedule_flush(channel_t *ch);
/* Hooks of the VM; `data` is the channel. */
void channel_write_at_exit(void *data);
void channel_write_now(void *data, bool last);

#endif
