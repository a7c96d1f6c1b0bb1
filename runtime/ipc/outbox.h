/* ipc/outbox.h: what an IPC channel has still to write: bytes and the descriptors that travel with them, in
 * order. */
#ifndef LRUN_IPC_OUTBOX_H
#define LRUN_IPC_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

typedef struct outbox_chunk outbox_chunk_t;

/* A descriptor that was written and that the receiver has not yet answered. */
typedef struct {
  int fd;                /* ours: closed once it is answered */
  uint64_t frame_number; /* which frame it travels with */
  int attempts;          /* JSON wire: how often it was sent again */
  char *frame;           /* JSON wire: what to send again; else NULL */
  size_t frame_length;
} outbox_sent_t;

enum { OUTBOX_WINDOW = 64 }; /* descriptors under way at once */

typedef struct {
  STAILQ_HEAD(, outbox_chunk) chunks;
  size_t queued;     /* bytes in the chunks that are not written */
  uint64_t appended; /* bytes ever appended in order, and how many of these were written */
  uint64_t written;
  uint64_t frames; /* ever appended in order */
  uint64_t oldest; /* which of these has the oldest descriptor that is not answered; 0: none has */
  bool one_by_one; /* nothing overtakes a descriptor that is not answered (the JSON wire) */
  int sent_first, sent_count;
  outbox_sent_t sent[OUTBOX_WINDOW]; /* a ring, oldest first */
} outbox_t;

void outbox_init(outbox_t *box, bool one_by_one);
bool outbox_is_empty(const outbox_t *box);
/* Drops everything that waits and closes every descriptor. */
void outbox_clear(outbox_t *box);

/* Appends a frame of `length` bytes and returns the place where these are to be put, at once. fd >= 0 travels with it and
 * belongs to the outbox from here on, also when there is no memory (NULL). */
char *outbox_append(outbox_t *box, size_t length, int fd);

/* Whether more than one frame was appended behind a descriptor that is not answered. */
bool outbox_is_held_up(const outbox_t *box);

/* Puts a frame before everything whose writing has not begun: answers must not wait behind what waits for
 * answers. */
bool outbox_urgent(outbox_t *box, const char *frame, size_t length);

/* Writes what the socket takes. 0 when nothing is left that may be written now, UV_EAGAIN, or an error, after
 * which everything is still there. With `rush` no answer is waited for. */
int outbox_write(outbox_t *box, int fd, bool rush);

/* The oldest descriptor under way was answered. Returns 0; 1 when it is to be sent again (JSON wire) and was
 * queued; -1 when it was lost for good; -2 when none was under way. */
int outbox_answered(outbox_t *box, bool taken);

#endif
