/* ipc/outbox.c: owns the chunks of bytes that wait to be written and our copies of the descriptors that travel
 * with them.
 *
 * A chunk is written from `offset`; its descriptor rides on its first byte (SCM_RIGHTS). Frames without one
 * are appended to the last chunk. A copy of a written descriptor is kept in `sent` until the receiver
 * answers. Writing stops before a chunk that has to wait for answers: on the Lua wire when OUTBOX_WINDOW
 * descriptors are under way, on the JSON wire when any is, because Node's sender does so and its receiver
 * relies on it. */
#include "ipc/outbox.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include <uv.h>

enum {
  FIRST_SIZE = 4 * 1024 - 64, /* of a chunk that others may follow: most messages travel alone */
  CHUNK_SIZE = 64 * 1024 - 64,
  MAX_VECTORS = 16,
  MAX_ATTEMPTS = 3
};

struct outbox_chunk {
  STAILQ_ENTRY(outbox_chunk) link;
  size_t offset, length, capacity;
  int fd;                /* -1, or what travels with the first byte */
  int attempts;          /* how often that was sent before */
  uint64_t frame_number; /* which frame it travels with */
  bool urgent;           /* not counted in `written` */
  bool sealed;           /* takes no more frames */
  char data[];
};

void outbox_init(outbox_t *box, bool one_by_one) {
  memset(box, 0, sizeof *box);
  STAILQ_INIT(&box->chunks);
  box->one_by_one = one_by_one;
}

bool outbox_is_empty(const outbox_t *box) { return STAILQ_EMPTY(&box->chunks); }

/* One empty chunk, kept for whichever outbox of the thread appends next. */
static _Thread_local outbox_chunk_t *spare;

static size_t capacity_for(const outbox_t *box, size_t room) {
  if (room <= FIRST_SIZE && STAILQ_EMPTY(&box->chunks)) return FIRST_SIZE;
  return room > CHUNK_SIZE ? room : CHUNK_SIZE;
}

static outbox_chunk_t *chunk_new(const outbox_t *box, size_t room) {
  outbox_chunk_t *chunk = spare;
  if (chunk && chunk->capacity >= room) {
    spare = NULL;
  } else {
    size_t capacity = capacity_for(box, room);
    chunk = malloc(sizeof *chunk + capacity);
    if (!chunk) return NULL;
    chunk->capacity = capacity;
  }
  chunk->offset = chunk->length = 0;
  chunk->fd = -1;
  chunk->attempts = 0;
  chunk->urgent = chunk->sealed = false;
  return chunk;
}

static void chunk_free(outbox_chunk_t *chunk) {
  if (chunk->fd >= 0) close(chunk->fd);
  outbox_chunk_t *worse = chunk;
  if (chunk->capacity <= CHUNK_SIZE && (!spare || spare->capacity < chunk->capacity)) {
    worse = spare;
    spare = chunk;
  }
  free(worse);
}

void outbox_clear(outbox_t *box) {
  while (!STAILQ_EMPTY(&box->chunks)) {
    outbox_chunk_t *chunk = STAILQ_FIRST(&box->chunks);
    STAILQ_REMOVE_HEAD(&box->chunks, link);
    chunk_free(chunk);
  }
  box->queued = 0;
  box->oldest = 0;
  for (; box->sent_count > 0; box->sent_count--) {
    outbox_sent_t *sent = &box->sent[box->sent_first];
    close(sent->fd);
    free(sent->frame);
    box->sent_first = (box->sent_first + 1) % OUTBOX_WINDOW;
  }
}

/* glibc has no STAILQ_LAST: the queue's end is in the last chunk's link. */
static outbox_chunk_t *last_chunk(const outbox_t *box) {
  if (STAILQ_EMPTY(&box->chunks)) return NULL;
  return (outbox_chunk_t *)((char *)box->chunks.stqh_last - offsetof(outbox_chunk_t, link));
}

/* Behind `before`, which is NULL for the front. */
static void link_after(outbox_t *box, outbox_chunk_t *before, outbox_chunk_t *chunk) {
  if (before) STAILQ_INSERT_AFTER(&box->chunks, before, chunk, link);
  else STAILQ_INSERT_HEAD(&box->chunks, chunk, link);
}

static void chunk_put(outbox_t *box, outbox_chunk_t *chunk, const char *bytes, size_t length) {
  if (length == 0) return;
  memcpy(&chunk->data[chunk->length], bytes, length);
  chunk->length += length;
  box->queued += length;
}

/* A chunk at the end that has room for the frame. */
static outbox_chunk_t *chunk_for(outbox_t *box, size_t length, int fd) {
  outbox_chunk_t *chunk = last_chunk(box);
  if (chunk && !chunk->sealed && !chunk->urgent && fd < 0 && chunk->capacity - chunk->length >= length)
    return chunk;
  chunk = chunk_new(box, length);
  if (!chunk) return NULL;
  chunk->fd = fd;
  chunk->sealed = fd >= 0 && box->one_by_one;
  STAILQ_INSERT_TAIL(&box->chunks, chunk, link);
  return chunk;
}

char *outbox_append(outbox_t *box, size_t length, int fd) {
  outbox_chunk_t *chunk = chunk_for(box, length, fd);
  if (!chunk) {
    if (fd >= 0) close(fd);
    return NULL;
  }
  char *place = &chunk->data[chunk->length];
  chunk->length += length;
  box->queued += length;
  box->appended += length;
  box->frames++;
  if (fd >= 0) {
    chunk->frame_number = box->frames;
    if (!box->oldest) box->oldest = box->frames;
  }
  return place;
}

bool outbox_is_held_up(const outbox_t *box) { return box->oldest && box->frames - box->oldest > 1; }

bool outbox_urgent(outbox_t *box, const char *frame, size_t length) {
  outbox_chunk_t *before = NULL, *at;
  STAILQ_FOREACH(at, &box->chunks, link) {
    if (at->offset == 0 && !(at->urgent && at->capacity - at->length < length)) break;
    before = at;
  }
  if (at && at->urgent) {
    chunk_put(box, at, frame, length);
    return true;
  }
  outbox_chunk_t *chunk = chunk_new(box, length);
  if (!chunk) return false;
  chunk->urgent = true;
  chunk_put(box, chunk, frame, length);
  link_after(box, before, chunk);
  return true;
}

static bool must_wait(const outbox_t *box, const outbox_chunk_t *chunk) {
  if (chunk->offset > 0 || chunk->urgent) return false;
  if (box->one_by_one) return box->sent_count > 0;
  return chunk->fd >= 0 && box->sent_count == OUTBOX_WINDOW;
}

static ssize_t send_chunks(outbox_t *box, int fd, bool rush) {
  struct iovec vectors[MAX_VECTORS];
  union {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(sizeof(int))];
  } control;
  struct msghdr message = {.msg_iov = vectors};
  size_t count = 0;
  const outbox_chunk_t *first = STAILQ_FIRST(&box->chunks);
  outbox_chunk_t *chunk;
  STAILQ_FOREACH(chunk, &box->chunks, link) {
    if (count == MAX_VECTORS) break;
    if (count > 0 && (chunk->fd >= 0 || (!rush && must_wait(box, chunk)))) break;
    vectors[count++] = (struct iovec){&chunk->data[chunk->offset], chunk->length - chunk->offset};
    if (chunk->fd >= 0 && box->one_by_one) break;
  }
  message.msg_iovlen = count;
  if (first->fd >= 0 && first->offset == 0) {
    message.msg_control = &control;
    message.msg_controllen = sizeof control.bytes;
    control.head.cmsg_level = SOL_SOCKET;
    control.head.cmsg_type = SCM_RIGHTS;
    control.head.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.head), &first->fd, sizeof(int));
  }
  ssize_t n;
  do n = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  while (n < 0 && errno == EINTR);
  return n;
}

/* The descriptor of the first chunk has been written: it is under way now. */
static void sent_add(outbox_t *box, outbox_chunk_t *chunk) {
  if (box->sent_count == OUTBOX_WINDOW) { /* only in a rush */
    close(chunk->fd);
    chunk->fd = -1;
    return;
  }
  outbox_sent_t *sent = &box->sent[(box->sent_first + box->sent_count++) % OUTBOX_WINDOW];
  *sent = (outbox_sent_t){.fd = chunk->fd, .attempts = chunk->attempts, .frame_number = chunk->frame_number};
  chunk->fd = -1;
  if (!box->one_by_one) return;
  sent->frame = malloc(chunk->length);
  if (!sent->frame) return;
  memcpy(sent->frame, chunk->data, chunk->length);
  sent->frame_length = chunk->length;
}

static void written(outbox_t *box, size_t n) {
  box->queued -= n;
  if (n > 0 && STAILQ_FIRST(&box->chunks)->fd >= 0) sent_add(box, STAILQ_FIRST(&box->chunks));
  while (n > 0 && !STAILQ_EMPTY(&box->chunks)) {
    outbox_chunk_t *chunk = STAILQ_FIRST(&box->chunks);
    size_t part = chunk->length - chunk->offset;
    if (part > n) part = n;
    chunk->offset += part;
    n -= part;
    if (!chunk->urgent) box->written += part;
    if (chunk->offset < chunk->length) return;
    STAILQ_REMOVE_HEAD(&box->chunks, link);
    chunk_free(chunk);
  }
}

int outbox_write(outbox_t *box, int fd, bool rush) {
  while (!STAILQ_EMPTY(&box->chunks)) {
    if (!rush && must_wait(box, STAILQ_FIRST(&box->chunks))) return 0;
    ssize_t n = send_chunks(box, fd, rush);
    if (n < 0) return uv_translate_sys_error(errno);
    written(box, (size_t)n);
  }
  return 0;
}

/* Puts the frame of a lost descriptor before everything else that waits, with the descriptor. */
static bool send_again(outbox_t *box, outbox_sent_t *sent) {
  outbox_chunk_t *chunk = sent->frame ? chunk_new(box, sent->frame_length) : NULL;
  if (!chunk) return false;
  chunk_put(box, chunk, sent->frame, sent->frame_length);
  chunk->fd = sent->fd;
  chunk->attempts = sent->attempts + 1;
  chunk->frame_number = sent->frame_number;
  chunk->sealed = true;
  outbox_chunk_t *first = STAILQ_FIRST(&box->chunks);
  link_after(box, first && first->offset > 0 ? first : NULL, chunk);
  box->written -= chunk->length;
  return true;
}

static uint64_t oldest_unanswered(const outbox_t *box) {
  if (box->sent_count > 0) return box->sent[box->sent_first].frame_number;
  const outbox_chunk_t *chunk;
  STAILQ_FOREACH(chunk, &box->chunks, link)
  if (chunk->fd >= 0) return chunk->frame_number;
  return 0;
}

int outbox_answered(outbox_t *box, bool taken) {
  if (box->sent_count == 0) return -2;
  outbox_sent_t sent = box->sent[box->sent_first];
  box->sent_first = (box->sent_first + 1) % OUTBOX_WINDOW;
  box->sent_count--;
  box->oldest = oldest_unanswered(box);
  if (!taken && sent.attempts < MAX_ATTEMPTS && send_again(box, &sent)) {
    free(sent.frame);
    box->oldest = sent.frame_number;
    return 1;
  }
  close(sent.fd);
  free(sent.frame);
  return taken ? 0 : -1;
}
