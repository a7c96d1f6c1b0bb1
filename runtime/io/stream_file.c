/* io/stream_file.c: the other kind of write: a range of a file, between the bytes before and behind it.
 *
 * What waits is a list of files, each with the bytes before it; what is behind the last one collects in `out` and goes when
 * the list is empty. On a plain stream the bytes go from the page cache to the socket (sendfile) and never come here; where
 * a kind seals, they are read and sealed in pieces. What is not in memory is read by the thread pool, a piece at a time.
 *
 * When the socket is full, or the file had its share of the turn, a small piece is given to libuv as an ordinary write: its
 * end says that the socket takes more, or that the next turn has come.
 *
 * A file belongs to its stream until it is sent or the stream ends, then to a read of the pool that is still under way. Its
 * descriptor is not used any more when `done` is called. */
#include "files/range.h"
#include "io/stream_shared.h"

#include <stdlib.h>
#include <unistd.h>

enum {
  TURN_SHARE = 1024 * 1024, /* of one file in one turn of the loop */
  POOL_PIECE = 256 * 1024,
  SEAL_PIECE = 64 * 1024,
  FULL_PIECE = 4 * 1024 /* that waits with libuv for a socket that is full */
};

struct stream_segment {
  stream_segment_t *next;
  stream_t *stream; /* NULL once the stream has ended */
  buffer_t before;
  file_range_t range;
  file_read_t *reading; /* by the pool */
  stream_file_t file;
  int status;
};

static void release(stream_segment_t *f) {
  buffer_free(&f->before);
  if (f->file.owned) close(f->file.fd);
  f->file.owned = false;
}

static void tell(stream_segment_t *f) {
  release(f);
  if (f->file.done != NULL) f->file.done(f->file.data, f->status, f->file.length - f->range.left);
  free(f);
}

static void tell_retired(callback_end_t *end) {
  stream_shared_t *shared = (stream_shared_t *)((char *)end - offsetof(stream_shared_t, files_end));
  shared->files_end_asked = false;
  stream_segment_t *f;
  while ((f = shared->retired) != NULL) {
    shared->retired = f->next;
    tell(f);
  }
}

/* Tells at the end of the turn: Lua may not be entered now. */
static void retire(stream_shared_t *shared, stream_segment_t *f) {
  release(f);
  if (f->file.done == NULL || shared->ended) {
    free(f);
    return;
  }
  f->next = shared->retired;
  shared->retired = f;
  if (shared->files_end_asked) return;
  shared->files_end_asked = true;
  shared->files_end.run = tell_retired;
  callback_at_end(shared->L, &shared->files_end);
}

/* The list's first is sent. */
static void finish(stream_t *s, stream_segment_t *f) {
  s->files = f->next;
  f->stream = NULL;
  if (s->shared->flushing) retire(s->shared, f);
  else tell(f);
}

/* What was promised cannot be kept: nothing more is written. The owner hears of it first. */
static int cut(stream_t *s, stream_segment_t *f, int status) {
  s->cut = true;
  s->files = f->next;
  f->stream = NULL;
  f->status = status;
  retire(s->shared, f);
  return status;
}

/* Pieces of a file ------------------------------------------------------------------------------------------------- */

static void on_read(file_read_t *read) {
  stream_segment_t *f = read->data;
  buffer_t bytes = {.data = read->bytes};
  ssize_t got = read->got;
  free(read);
  f->reading = NULL;
  if (got > 0) bytes.len = bytes.cap = (size_t)got;
  stream_t *s = f->stream;
  if (s == NULL) {
    buffer_free(&bytes);
    tell(f);
    return;
  }
  s->active = uv_now(s->shared->loop);
  int rc = got < 0 ? (int)got : stream_put(s, &bytes, false);
  buffer_free(&bytes);
  if (rc < 0) rc = cut(s, f, rc);
  if (stream_is_open(s)) s->owner->written(s, rc);
}

static int read_by_pool(stream_t *s, stream_segment_t *f, size_t most) {
  if (s->shared->ended) return UV_ECANCELED;
  f->reading = file_read_start(s->shared->loop, &f->range, most, f, on_read);
  return f->reading != NULL ? 0 : UV_ENOMEM;
}

/* A piece by way of memory; libuv has it afterwards, or the kernel. */
static int read_piece(stream_t *s, stream_segment_t *f, size_t most, bool later) {
  buffer_t bytes = {0};
  if (most > f->range.left) most = (size_t)f->range.left;
  if (buffer_room(&bytes, most) == NULL) return UV_ENOMEM;
  ssize_t n = file_range_take(&f->range, bytes.data, most);
  int rc = (int)n;
  if (n > 0) {
    bytes.len = (size_t)n;
    rc = stream_put(s, &bytes, later);
  }
  buffer_free(&bytes);
  return rc;
}

/* The next bytes of a file go as far as they can: with what is left of the turn's share. */
static int send_piece(stream_t *s, stream_segment_t *f, size_t *share) {
  uv_os_fd_t fd;
  if (s->kind->seal != NULL) {
    if (*share < SEAL_PIECE) return FILE_RANGE_COLD; /* the pool's answer comes in a later turn */
    *share -= SEAL_PIECE;
    return read_piece(s, f, SEAL_PIECE, false);
  }
  if (*share == 0 || f->range.full) {
    f->range.full = false;
    return read_piece(s, f, FULL_PIECE, true);
  }
  int rc = stream_descriptor(s, &fd);
  if (rc < 0) return rc;
  ssize_t n = file_range_send(&f->range, fd, *share);
  if (n == UV_EAGAIN) return read_piece(s, f, FULL_PIECE, true);
  if (n <= 0) return (int)n;
  s->active = uv_now(s->shared->loop);
  s->sent += (uint64_t)n;
  *share -= (size_t)n;
  return 0;
}

int stream_push_files(stream_t *s) {
  size_t share = TURN_SHARE;
  stream_segment_t *f;
  while (stream_is_open(s) && s->writing == NULL && !s->opening && (f = s->files) != NULL) {
    if (f->reading != NULL) return 0;
    int rc = 0;
    if (f->before.len > 0) rc = stream_put(s, &f->before, false);
    else if (f->range.left > 0) rc = send_piece(s, f, &share);
    else finish(s, f);
    if (rc == FILE_RANGE_COLD) rc = read_by_pool(s, f, POOL_PIECE);
    if (rc < 0) return cut(s, f, rc);
  }
  return 0;
}

/* ------------------------------------------------------------------------------------------------------------------ */

int stream_write_file(stream_t *s, const stream_file_t *file) {
  if (!stream_is_open(s) || s->cut || s->shut) return UV_ECANCELED;
  stream_segment_t *f = calloc(1, sizeof *f);
  if (f == NULL) return UV_ENOMEM;
  if (stream_take_out(s, &f->before) < 0) {
    free(f);
    return UV_ENOMEM;
  }
  f->stream = s;
  f->file = *file;
  f->range = (file_range_t){.fd = file->fd, .offset = file->offset, .left = file->length, .full = file->full};
  stream_segment_t **last = &s->files;
  while (*last != NULL) last = &(*last)->next;
  *last = f;
  return 0;
}

void stream_send_file(stream_t *s, stream_file_t *file) {
  uv_os_fd_t fd;
  if (!stream_is_open(s) || s->kind->seal != NULL || s->corked || s->opening || s->cut || s->shut) return;
  if (s->writing != NULL || s->files != NULL || stream_descriptor(s, &fd) < 0) return;
  if (stream_push(s) < 0 || s->writing != NULL) return;
  file_range_t range = {.fd = file->fd, .offset = file->offset, .left = file->length};
  uint64_t sent = file_range_send_ready(&range, fd);
  s->sent += sent;
  if (sent > 0) s->active = uv_now(s->shared->loop);
  file->offset = range.offset;
  file->length = range.left;
  file->full = range.full;
}

uint64_t stream_files_pending(const stream_t *s) {
  uint64_t n = 0;
  for (const stream_segment_t *f = s->files; f != NULL; f = f->next) n += f->before.len + f->range.left;
  if (s->files != NULL && s->files->reading != NULL) n++;
  return n;
}

void stream_files_moved(stream_t *s) {
  for (stream_segment_t *f = s->files; f != NULL; f = f->next) f->stream = s;
}

void stream_drop_files(stream_t *s) {
  stream_segment_t *f;
  while ((f = s->files) != NULL) {
    s->files = f->next;
    f->stream = NULL;
    f->status = UV_ECANCELED;
    if (s->shared->ended) f->file.done = NULL;
    if (f->reading == NULL) {
      retire(s->shared, f);
      continue;
    }
    f->reading->range = NULL;
    uv_cancel((uv_req_t *)&f->reading->req);
  }
}

void stream_forget_files(stream_shared_t *shared) {
  stream_t *s;
  LIST_FOREACH(s, &shared->streams, link) stream_drop_files(s);
  stream_segment_t *f;
  while ((f = shared->retired) != NULL) {
    shared->retired = f->next;
    free(f);
  }
}
