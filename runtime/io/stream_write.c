/* io/stream_write.c: how a stream's bytes reach the kernel.
 *
 * What there is, `out` and perhaps a large piece behind it, is tried with one write at once. What the kernel does not
 * take goes to one uv_write, and output collects again until that is done. Neither copies the piece: it is a Lua
 * string, which stays where it is while the registry holds it. A kind that seals turns all of it into `wire` first,
 * which then takes the same way. Ranges of files are in io/stream_file.c. Small pieces collect in `out` until the turn of
 * the loop ends (stream_flush_soon).
 *
 * While a stream is corked its `out` is the VM's scratch buffer: an idle stream owns no buffer. What many streams are to write
 * lies in one memory of the VM's (stream_common), of which the `out` of each is a part. */
#include "io/stream_shared.h"

#include <errno.h>
#include <lauxlib.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
  SCRATCH_KEPT = 256 * 1024, /* a scratch buffer that grew beyond is given back */
  SEAL_STEP = 128 * 1024,    /* of a large piece is sealed at once: the scratch buffer has room for it */
  LAST_STALL = 1000,         /* ms that the end of the process waits for readers of which none reads */
  LAST_LIMIT = 5000          /* and for all of them */
};

/* What is written in one go; the parts that are not used are empty. */
enum { FIRST, PIECE, TAIL, PARTS };
typedef struct {
  uv_buf_t parts[PARTS];
  int index; /* of the Lua string that PIECE is */
} batch_t;

/* Bytes on their way through uv_write. */
struct stream_write {
  uv_write_t req;
  LIST_ENTRY(stream_write) link;
  stream_shared_t *shared; /* NULL when the VM has ended */
  stream_t *stream;        /* NULL when the stream has left them to libuv */
  char *data;              /* memory of ours that is being written, or NULL */
  int pin;                 /* registry ref of a Lua string that is */
  batch_t batch;
};

static size_t batch_size(const batch_t *batch) {
  return batch->parts[FIRST].len + batch->parts[PIECE].len + batch->parts[TAIL].len;
}

/* Drops the first `done` bytes. */
static void batch_skip(batch_t *batch, size_t done) {
  for (int i = 0; i < PARTS; i++) {
    size_t n = done < batch->parts[i].len ? done : batch->parts[i].len;
    batch->parts[i].base += n;
    batch->parts[i].len -= n;
    done -= n;
  }
}

/* The parts that are not empty. */
static unsigned batch_list(const batch_t *batch, uv_buf_t list[PARTS]) {
  unsigned n = 0;
  for (int i = 0; i < PARTS; i++) {
    if (batch->parts[i].len > 0) list[n++] = batch->parts[i];
  }
  return n;
}

/* By hand: uv_buf_init takes no more than 4 GiB, and a program may write more than that in one turn. */
static batch_t batch_of(const buffer_t *b) {
  return (batch_t){.parts = {[FIRST] = {.base = b->data, .len = b->len}}};
}

/* Memory ---------------------------------------------------------------------------------------------- */

static buffer_t *scratch_of(stream_shared_t *shared, uint8_t which) {
  return which == STREAM_OUT ? &shared->scratch_out : &shared->scratch_wire;
}

static void lend(stream_t *s, buffer_t *b, uint8_t which) {
  stream_shared_t *shared = s->shared;
  if (b->data != NULL || (shared->lent & which) != 0) return;
  *b = *scratch_of(shared, which);
  shared->lent |= which;
  s->lent |= which;
}

/* Whether the buffer has memory of its own, or none. */
static bool is_own(const stream_t *s, uint8_t which) {
  return (s->lent & (which == STREAM_OUT ? STREAM_OUT | STREAM_COMMON : which)) == 0;
}

/* The buffer starts anew; borrowed memory goes back. */
static void reset(stream_t *s, buffer_t *b, uint8_t which) {
  stream_shared_t *shared = s->shared;
  if (which == STREAM_OUT && (s->lent & STREAM_COMMON)) {
    s->lent &= (uint8_t)~STREAM_COMMON;
    stream_common_end(shared);
  } else if (s->lent & which) {
    b->len = 0;
    if (b->cap > SCRATCH_KEPT) buffer_free(b);
    *scratch_of(shared, which) = *b;
    shared->lent &= (uint8_t)~which;
    s->lent &= (uint8_t)~which;
  } else {
    free(b->data);
  }
  *b = (buffer_t){0};
}

/* Makes w the owner of what is left of the buffer: of its memory, or, where that is borrowed, of a copy. */
static int take(stream_t *s, stream_write_t *w, buffer_t *b, uint8_t which) {
  uv_buf_t *first = &w->batch.parts[FIRST];
  if (first->len > 0 && is_own(s, which)) {
    w->data = b->data;
    *b = (buffer_t){0};
    return 0;
  }
  if (first->len > 0) {
    w->data = malloc(first->len);
    if (w->data == NULL) return UV_ENOMEM;
    memcpy(w->data, first->base, first->len);
    first->base = w->data;
  }
  reset(s, b, which);
  return 0;
}

/* What lies in the common memory is copied, for more is to come behind it. Without memory nothing more is written. */
static void leave_common(stream_t *s) {
  buffer_t own = {0};
  if (buffer_add(&own, s->out.data, s->out.len) < 0) s->cut = true;
  reset(s, &s->out, STREAM_OUT);
  s->out = own;
}

buffer_t *stream_out(stream_t *s) {
  if (s->lent & STREAM_COMMON) leave_common(s);
  if (s->corked && s->writing == NULL && s->files == NULL) lend(s, &s->out, STREAM_OUT);
  return &s->out;
}

buffer_t *stream_wire(stream_t *s) {
  if (s->writing == NULL) lend(s, &s->wire, STREAM_WIRE);
  return &s->wire;
}

void stream_drop_output(stream_t *s) {
  stream_drop_files(s);
  if (s->writing != NULL) s->writing->stream = NULL;
  s->writing = NULL;
  reset(s, &s->out, STREAM_OUT);
  reset(s, &s->wire, STREAM_WIRE);
}

/* Common bytes ---------------------------------------------------------------------------------------- */

void stream_common_begin(stream_shared_t *shared) { shared->common_users++; }

void stream_common_end(stream_shared_t *shared) {
  if (--shared->common_users == 0) shared->common_len = 0;
}

char *stream_common(stream_shared_t *shared, size_t len) {
  if (shared->common == NULL) shared->common = malloc(STREAM_COMMON_SIZE);
  if (shared->common == NULL || len > STREAM_COMMON_SIZE - shared->common_len) return NULL;
  char *room = shared->common + shared->common_len;
  shared->common_len += len;
  return room;
}

int stream_append_common(stream_t *s, const char *data, size_t len) {
  if (!stream_is_open(s) || s->cut) return 0;
  bool follows = (s->lent & STREAM_COMMON) && s->out.data + s->out.len == data;
  if (!follows && (s->out.data != NULL || s->writing != NULL || s->files != NULL))
    return buffer_add(stream_out(s), data, len);
  if (!follows) {
    s->out.data = (char *)data;
    s->lent |= STREAM_COMMON;
    stream_common_begin(s->shared);
  }
  s->out.cap = s->out.len += len;
  return 0;
}

/* Writing --------------------------------------------------------------------------------------------- */

void stream_expect_write(const stream_t *s) {
  enum { LINE = 64 };
  const char *at = (const char *)s->handle;
  for (size_t i = 0; at != NULL && i < sizeof *s->handle; i += LINE) __builtin_prefetch(at + i);
}

static void write_free(stream_write_t *w) {
  if (w->shared != NULL) {
    luaL_unref(w->shared->L, LUA_REGISTRYINDEX, w->pin);
    LIST_REMOVE(w, link);
  }
  free(w->data);
  free(w);
}

static void on_written(uv_write_t *req, int status) {
  stream_write_t *w = (stream_write_t *)req;
  stream_t *s = w->stream;
  write_free(w);
  if (s == NULL) return;
  s->writing = NULL;
  if (status == 0) s->active = uv_now(s->shared->loop);
  s->owner->written(s, status);
}

/* The batch, whose first part is `b`, goes to libuv. */
static int write_later(lua_State *L, stream_t *s, batch_t *batch, buffer_t *b, uint8_t which) {
  if (s->shared->ended) return UV_ECANCELED;
  int rc = stream_need_handle(s);
  if (rc < 0) return rc;
  stream_write_t *w = malloc(sizeof *w);
  if (w == NULL) return UV_ENOMEM;
  *w = (stream_write_t){.shared = s->shared, .pin = LUA_NOREF, .batch = *batch};
  LIST_INSERT_HEAD(&s->shared->writes, w, link);
  rc = take(s, w, b, which);
  if (rc == 0) {
    if (w->batch.parts[PIECE].len > 0) {
      lua_pushvalue(L, batch->index);
      w->pin = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    uv_buf_t list[PARTS];
    unsigned n = batch_list(&w->batch, list);
    rc = uv_write(&w->req, s->handle, list, n, on_written);
  }
  if (rc < 0) {
    write_free(w);
    return rc;
  }
  w->stream = s;
  s->writing = w;
  return 0;
}

/* Tries to write at once; how much was taken, or UV_E*. What is said last goes in one packet with the end itself. What is no
 * socket, or has libuv at work, is left to libuv. */
static ssize_t try_write(stream_t *s, const uv_buf_t *list, unsigned n) {
  uv_os_fd_t fd;
  if ((!s->bare && s->handle->write_queue_size > 0) || stream_descriptor(s, &fd) < 0)
    return uv_try_write(s->handle, list, n);
  int flags = MSG_DONTWAIT | MSG_NOSIGNAL | (s->parting ? MSG_MORE : 0);
  struct msghdr message = {.msg_iov = (struct iovec *)list, .msg_iovlen = n};
  ssize_t taken = n == 1 ? send(fd, list->base, list->len, flags) : sendmsg(fd, &message, flags);
  if (taken >= 0) s->held_back = s->parting;
  if (taken >= 0) return taken;
  if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS) return UV_EAGAIN;
  return errno == ENOTSOCK ? uv_try_write(s->handle, list, n) : uv_translate_sys_error(errno);
}

/* The kernel has taken so much of the batch, whose first part is `b`, or has said UV_E*: what is left goes to libuv. */
static int write_rest(lua_State *L, stream_t *s, batch_t *batch, buffer_t *b, uint8_t which,
                      ssize_t written) {
  if (written == UV_EAGAIN) written = 0;
  if (written < 0) return (int)written;
  if (written > 0) s->active = uv_now(s->shared->loop);
  if ((size_t)written == batch_size(batch)) {
    reset(s, b, which);
    return 0;
  }
  batch_skip(batch, (size_t)written);
  return write_later(L, s, batch, b, which);
}

/* The batch, whose first part is `b`, to the kernel or to libuv. No write is under way. */
static int write_batch(lua_State *L, stream_t *s, batch_t *batch, buffer_t *b, uint8_t which) {
  uv_buf_t list[PARTS];
  unsigned n = batch_list(batch, list);
  return write_rest(L, s, batch, b, which, try_write(s, list, n));
}

/* The same for a buffer that is all there is, most of what is ever written. */
static int write_buffer(stream_t *s, buffer_t *b, uint8_t which) {
  uv_buf_t part = {.base = b->data, .len = b->len};
  ssize_t written = try_write(s, &part, 1);
  if (written >= 0 && (size_t)written == b->len) {
    s->active = uv_now(s->shared->loop);
    reset(s, b, which);
    return 0;
  }
  batch_t batch = batch_of(b);
  return write_rest(s->shared->L, s, &batch, b, which, written);
}

/* What the owner has written becomes what goes to the kernel; the batch's first part is `b`. */
static int seal(stream_t *s, const batch_t *batch, buffer_t *b, uint8_t which) {
  uv_buf_t list[PARTS];
  unsigned n = batch_list(batch, list);
  if (n == 0 || s->opening) return 0;
  int rc = s->kind->seal(s, list, n);
  if (rc == 0) {
    s->sent += batch_size(batch);
    reset(s, b, which);
  }
  return rc;
}

static int push_sealed(stream_t *s, const batch_t *batch, buffer_t *b, uint8_t which) {
  int rc = seal(s, batch, b, which);
  if (rc >= 0 && s->parting && !s->parted && s->kind->finish != NULL) s->kind->finish(s);
  s->parted = s->parted || s->parting;
  if (s->wire.len == 0) reset(s, &s->wire, STREAM_WIRE); /* it may be lent */
  if (rc < 0 || s->wire.len == 0 || s->writing != NULL) return rc;
  return write_buffer(s, &s->wire, STREAM_WIRE);
}

/* The same for a batch with a large piece, step by step: what the kernel takes needs no memory of its own. */
static int push_piece(stream_t *s, const batch_t *batch) {
  const uv_buf_t *piece = &batch->parts[PIECE];
  size_t done = 0;
  int rc = 0;
  do {
    batch_t step = batch_of(&s->out);
    size_t n = piece->len - done < SEAL_STEP ? piece->len - done : SEAL_STEP;
    step.parts[PIECE] = (uv_buf_t){.base = piece->base + done, .len = n};
    done += n;
    if (done == piece->len) step.parts[TAIL] = batch->parts[TAIL];
    rc = push_sealed(s, &step, &s->out, STREAM_OUT);
  } while (rc >= 0 && done < piece->len);
  return rc;
}

int stream_push(stream_t *s) {
  if (s->cut) return UV_EIO;
  if (!stream_is_open(s) || s->writing != NULL) return 0;
  if (s->files != NULL) {
    int rc = stream_push_files(s);
    if (rc < 0 || s->files != NULL || !stream_is_open(s) || s->writing != NULL) return rc;
  }
  if (s->kind->seal != NULL) {
    batch_t batch = batch_of(&s->out);
    return push_sealed(s, &batch, &s->out, STREAM_OUT);
  }
  if (s->out.len == 0) return 0;
  s->sent += s->out.len;
  return write_buffer(s, &s->out, STREAM_OUT);
}

int stream_put(stream_t *s, buffer_t *bytes, bool later) {
  batch_t batch = batch_of(bytes);
  if (s->kind->seal != NULL) return push_sealed(s, &batch, bytes, 0);
  s->sent += bytes->len;
  return (later ? write_later : write_batch)(s->shared->L, s, &batch, bytes, 0);
}

int stream_take_out(stream_t *s, buffer_t *to) {
  *to = (buffer_t){0};
  if (is_own(s, STREAM_OUT)) {
    *to = s->out;
    s->out = (buffer_t){0};
    return 0;
  }
  int rc = buffer_add(to, s->out.data, s->out.len);
  if (rc == 0) reset(s, &s->out, STREAM_OUT);
  return rc;
}

int stream_flush(stream_t *s) { return s->corked ? 0 : stream_push(s); }

int stream_flush_last(stream_t *s) {
  s->parting = s->files == NULL && s->writing == NULL;
  int rc = stream_flush(s);
  s->parting = false;
  return rc;
}

int stream_write_piece(lua_State *L, stream_t *s, int index, size_t len, const char *tail) {
  if (!stream_is_open(s) || s->cut) return 0;
  char *piece = (char *)lua_tostring(L, index);
  size_t tail_len = tail != NULL ? strlen(tail) : 0;
  if (s->writing != NULL || s->opening || s->files != NULL) {
    int rc = buffer_add(&s->out, piece, len);
    return rc == 0 ? buffer_add(&s->out, tail, tail_len) : rc;
  }
  batch_t batch = batch_of(&s->out);
  batch.index = index;
  batch.parts[PIECE] = (uv_buf_t){.base = piece, .len = len};
  batch.parts[TAIL] = (uv_buf_t){.base = (char *)tail, .len = tail_len};
  if (s->kind->seal != NULL) return push_piece(s, &batch);
  s->sent += batch_size(&batch);
  return write_batch(L, s, &batch, &s->out, STREAM_OUT);
}

void stream_write_rest(stream_t *s) {
  if (s->files != NULL) return; /* what is not sent yet, and all behind it, is lost to the new owner */
  if (s->writing == NULL) {
    stream_push(s);
    return;
  }
  if (s->out.len == 0) return;
  batch_t batch = batch_of(&s->out);
  s->sent += s->out.len;
  s->writing->stream = NULL;
  s->writing = NULL;
  write_later(s->shared->L, s, &batch, &s->out, STREAM_OUT);
}

void stream_write_moved(stream_t *s) {
  if (s->writing != NULL) s->writing->stream = s;
  stream_files_moved(s);
}

size_t stream_pending(const stream_t *s) {
  size_t queued = s->writing != NULL ? uv_stream_get_write_queue_size(s->handle) : 0;
  return s->out.len + s->wire.len + queued + (s->files != NULL ? (size_t)stream_files_pending(s) : 0);
}

/* The end of a turn ---------------------------------------------------------------------------------------- */

static void flush_waiting(callback_end_t *end) {
  stream_shared_t *shared = (stream_shared_t *)((char *)end - offsetof(stream_shared_t, turn_end));
  shared->turn_end_asked = false;
  stream_t *s;
  while ((s = LIST_FIRST(&shared->soon))) {
    stream_soon_done(s);
    s->owner->turn_ends(s);
  }
}

void stream_flush_soon(stream_t *s) {
  stream_shared_t *shared = s->shared;
  if (!stream_is_open(s) || s->corked || s->flushing_soon) return;
  if (!shared->turn_end_asked) {
    shared->turn_end_asked = true;
    shared->turn_end.run = flush_waiting;
    callback_at_end(shared->L, &shared->turn_end);
  }
  s->flushing_soon = true;
  LIST_INSERT_HEAD(&shared->soon, s, soon);
}

void stream_soon_done(stream_t *s) {
  if (!s->flushing_soon) return;
  s->flushing_soon = false;
  LIST_REMOVE(s, soon);
}

/* The end of the process ----------------------------------------------------------------------------------- */

/* What the kernel has not been given: the rest of the write under way, then what has collected behind it. */
static unsigned leftover(const stream_t *s, uv_buf_t list[PARTS + 1]) {
  unsigned n = 0;
  if (s->writing != NULL) {
    batch_t batch = s->writing->batch;
    size_t left = uv_stream_get_write_queue_size(s->handle), size = batch_size(&batch);
    if (left > size) return 0; /* the handle was written to before it was ours */
    batch_skip(&batch, size - left);
    n = batch_list(&batch, list);
  }
  const buffer_t *b = s->kind->seal != NULL ? &s->wire : &s->out;
  if (s->kind->seal == NULL && s->files != NULL)
    return n; /* it is behind a file, which is not finished now */
  if (b->len > 0) list[n++] = (uv_buf_t){.base = b->data, .len = b->len};
  return n;
}

/* A stream whose last bytes are written past libuv, which must not write them again. */
typedef struct {
  uv_buf_t list[PARTS + 1];
  unsigned n;
} last_t;

/* Writes what the kernel takes. False when all is written, or cannot be. */
static bool write_last(int fd, last_t *last) {
  ssize_t n = writev(fd, (struct iovec *)last->list, (int)last->n);
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  size_t done = (size_t)n;
  bool more = false;
  for (unsigned i = 0; i < last->n; i++) {
    size_t step = done < last->list[i].len ? done : last->list[i].len;
    last->list[i].base += step;
    last->list[i].len -= step;
    done -= step;
    if (last->list[i].len > 0) more = true;
  }
  return more;
}

static void wait_for_readers(struct pollfd *fds, last_t *lasts, nfds_t count) {
  uint64_t start = uv_hrtime() / 1000000;
  nfds_t left = count;
  while (left > 0 && uv_hrtime() / 1000000 - start < LAST_LIMIT) {
    int ready = poll(fds, count, LAST_STALL);
    if (ready == 0 || (ready < 0 && errno != EINTR)) break;
    for (nfds_t i = 0; i < count && ready > 0; i++) {
      if (fds[i].revents == 0 || write_last(fds[i].fd, &lasts[i])) continue;
      shutdown(fds[i].fd, SHUT_WR); /* should the process go on after all: nothing is written twice */
      fds[i].fd = -1;
      left--;
    }
  }
  for (nfds_t i = 0; i < count; i++) {
    if (fds[i].fd >= 0) shutdown(fds[i].fd, SHUT_WR);
  }
}

static void flush_last(const stream_shared_t *shared) {
  size_t count = 0;
  stream_t *s;
  LIST_FOREACH(s, &shared->streams, link) count += stream_pending(s) > 0;
  struct pollfd *fds = count > 0 ? calloc(count, sizeof *fds) : NULL;
  last_t *lasts = fds != NULL ? calloc(count, sizeof *lasts) : NULL;
  nfds_t n = 0;
  LIST_FOREACH(s, &shared->streams, link) {
    uv_os_fd_t fd;
    if (lasts == NULL) break;
    if (s->kind->seal != NULL && s->out.len > 0 && s->files == NULL && !s->cut) {
      batch_t batch = batch_of(&s->out);
      seal(s, &batch, &s->out, STREAM_OUT);
    }
    lasts[n].n = leftover(s, lasts[n].list);
    if (lasts[n].n == 0 || stream_descriptor(s, &fd) < 0) continue;
    fds[n] = (struct pollfd){.fd = fd, .events = POLLOUT};
    if (++n == count) break;
  }
  if (n > 0) wait_for_readers(fds, lasts, n);
  free(fds);
  free(lasts);
}

void stream_flush_all(void *data, bool last) {
  stream_shared_t *shared = data;
  stream_t *s;
  shared->flushing = true;
  LIST_FOREACH(s, &shared->streams, link) {
    if (s->out.len > 0 || s->wire.len > 0 || s->files != NULL) stream_push(s);
  }
  shared->flushing = false;
  if (last) flush_last(shared);
}

void stream_forget_all(void *data) {
  stream_shared_t *shared = data;
  shared->ended = true;
  free(shared->common);
  shared->common = NULL;
  stream_forget_files(shared);
  buffer_free(&shared->closed);
  if (shared->expecting_fd > 0) close(shared->expecting_fd);
  stream_t *s;
  LIST_FOREACH(s, &shared->streams, link) {
    s->writing = NULL;
    if (s->bare) close(s->fd);
    s->bare = false;
  }
  stream_write_t *w;
  while ((w = LIST_FIRST(&shared->writes)) != NULL) {
    LIST_REMOVE(w, link);
    w->stream = NULL;
    w->shared = NULL;
  }
}
