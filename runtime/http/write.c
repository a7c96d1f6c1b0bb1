/* http/write.c: how a connection's bytes reach its socket.
 *
 * What there is, conn->out and perhaps a large piece of a body behind it, is tried with one write at once.
 * What the socket does not take goes to one uv_write, and output collects again until that is done. Neither
 * copies the piece: it is a Lua string, which stays where it is while the registry holds it. Small pieces
 * collect in conn->out until the turn of the loop ends (http_conn_flush_soon). */
#include "http/connection.h"
#include "http/format.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

enum { SCRATCH_KEPT = 256 * 1024 }; /* a scratch buffer that grew beyond is given back */

/* conn->out starts anew; borrowed memory goes back. */
static void reset_out(http_conn_t *conn) {
  http_shared_t *shared = conn->shared;
  if (conn->borrowed) {
    conn->out.len = 0;
    if (conn->out.cap > SCRATCH_KEPT) http_buffer_free(&conn->out);
    shared->scratch = conn->out;
    shared->scratch_lent = conn->borrowed = false;
  } else {
    free(conn->out.data);
  }
  conn->out = (http_buffer_t){0};
}

static void write_free(http_write_t *w) {
  luaL_unref(w->shared->L, LUA_REGISTRYINDEX, w->pin);
  free(w->data);
  free(w);
}

static void on_written(uv_write_t *req, int status) {
  http_write_t *w = (http_write_t *)req;
  http_conn_t *conn = w->conn;
  write_free(w);
  if (conn == NULL) return;
  conn->writing = NULL;
  lua_State *L = conn->shared->L;
  lua_rawgeti(L, LUA_REGISTRYINDEX, conn->ref); /* keeps conn while we use it */
  if (status < 0) {
    http_conn_close(L, conn, status);
  } else {
    http_conn_touch(conn);
    http_conn_flush(L, conn);
    if (conn->stream != NULL) http_conn_resume(L, conn);
  }
  lua_pop(L, 1);
}

/* What is written in one go: conn->out, then `len` bytes of the Lua string at `index`, then `tail`. */
enum { OUT, PIECE, TAIL, PARTS };
typedef struct {
  uv_buf_t parts[PARTS];
  int index;
} batch_t;

static size_t batch_size(const batch_t *batch) {
  return batch->parts[OUT].len + batch->parts[PIECE].len + batch->parts[TAIL].len;
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

/* Makes w the owner of what is left of conn->out: of its memory, or, where that is borrowed, of a copy. */
static int take_out(http_conn_t *conn, http_write_t *w, batch_t *batch) {
  uv_buf_t *out = &batch->parts[OUT];
  if (out->len > 0 && !conn->borrowed) {
    w->data = conn->out.data;
    conn->out = (http_buffer_t){0};
    return 0;
  }
  if (out->len > 0) {
    w->data = malloc(out->len);
    if (w->data == NULL) return UV_ENOMEM;
    memcpy(w->data, out->base, out->len);
    out->base = w->data;
  }
  reset_out(conn);
  return 0;
}

static int write_later(lua_State *L, http_conn_t *conn, batch_t *batch) {
  http_write_t *w = malloc(sizeof *w);
  if (w == NULL) return UV_ENOMEM;
  *w = (http_write_t){.shared = conn->shared, .pin = LUA_NOREF};
  int rc = take_out(conn, w, batch);
  if (rc == 0) {
    if (batch->parts[PIECE].len > 0) {
      lua_pushvalue(L, batch->index);
      w->pin = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    uv_buf_t list[PARTS];
    unsigned n = batch_list(batch, list);
    rc = uv_write(&w->req, conn->stream, list, n, on_written);
  }
  if (rc < 0) {
    write_free(w);
    return rc;
  }
  w->conn = conn;
  conn->writing = w;
  return 0;
}

/* A response behind another must not wait for the first one's acknowledgement. A connection of one request is
 * spared the system call. */
static void stop_delay(http_conn_t *conn) {
  const http_exchange_t *e = conn->first;
  if (conn->ids < 2 && (e == NULL || !e->started)) return;
  conn->nodelay = true;
  if (conn->stream->type == UV_TCP) uv_tcp_nodelay((uv_tcp_t *)conn->stream, 1);
}

static int write_batch(lua_State *L, http_conn_t *conn, batch_t *batch) {
  if (!conn->nodelay) stop_delay(conn);
  uv_buf_t list[PARTS];
  unsigned n = batch_list(batch, list);
  int written = uv_try_write(conn->stream, list, n);
  if (written == UV_EAGAIN) written = 0;
  if (written < 0) return written;
  conn->sent += batch_size(batch);
  if (written > 0) http_conn_touch(conn);
  if ((size_t)written == batch_size(batch)) {
    reset_out(conn);
    return 0;
  }
  batch_skip(batch, (size_t)written);
  return write_later(L, conn, batch);
}

/* By hand: uv_buf_init takes no more than 4 GiB, and a program may write more than that in one turn. */
static batch_t batch_of_out(const http_conn_t *conn) {
  return (batch_t){.parts = {[OUT] = {.base = conn->out.data, .len = conn->out.len}}};
}

int http_conn_write_out(lua_State *L, http_conn_t *conn) {
  if (conn->out.len == 0 || conn->writing != NULL) return 0;
  batch_t batch = batch_of_out(conn);
  return write_batch(L, conn, &batch);
}

int http_conn_write_rest(lua_State *L, http_conn_t *conn) {
  if (conn->writing == NULL) return http_conn_write_out(L, conn);
  if (conn->out.len == 0) return 0;
  batch_t batch = batch_of_out(conn);
  conn->writing->conn = NULL;
  return write_later(L, conn, &batch);
}

int http_conn_write_piece(lua_State *L, http_conn_t *conn, int index, size_t len, bool chunk) {
  static char crlf[] = "\r\n";
  char *piece = (char *)lua_tostring(L, index);
  if (chunk) {
    int rc = http_response_chunk_size(&conn->out, len);
    if (rc < 0) return rc;
  }
  batch_t batch = batch_of_out(conn);
  batch.index = index;
  batch.parts[PIECE] = uv_buf_init(piece, (unsigned)len);
  if (chunk) batch.parts[TAIL] = uv_buf_init(crlf, 2);
  if (conn->writing == NULL) return write_batch(L, conn, &batch);
  int rc = http_buffer_add(&conn->out, piece, len);
  return rc == 0 && chunk ? http_buffer_add(&conn->out, crlf, 2) : rc;
}

/* The connections that http_conn_flush_soon was asked for. */
static void flush_waiting(callback_end_t *end) {
  http_shared_t *shared = (http_shared_t *)((char *)end - offsetof(http_shared_t, turn_end));
  lua_State *L = shared->L;
  shared->turn_end_asked = false;
  while (shared->to_flush != NULL) {
    http_conn_t *conn = shared->to_flush;
    http_conn_flush_done(conn);
    lua_rawgeti(L, LUA_REGISTRYINDEX, conn->ref); /* keeps conn while we use it */
    http_conn_flush(L, conn);
    lua_pop(L, 1);
  }
}

void http_conn_flush_soon(http_conn_t *conn) {
  http_shared_t *shared = conn->shared;
  if (conn->parsing || conn->to_flush) return;
  if (!shared->turn_end_asked) {
    shared->turn_end_asked = true;
    shared->turn_end.run = flush_waiting;
    callback_at_end(shared->L, &shared->turn_end);
  }
  conn->to_flush = true;
  conn->flush_next = shared->to_flush;
  if (conn->flush_next != NULL) conn->flush_next->flush_prev = conn;
  conn->flush_prev = NULL;
  shared->to_flush = conn;
}

void http_conn_flush_done(http_conn_t *conn) {
  if (!conn->to_flush) return;
  conn->to_flush = false;
  if (conn->flush_prev != NULL) conn->flush_prev->flush_next = conn->flush_next;
  else conn->shared->to_flush = conn->flush_next;
  if (conn->flush_next != NULL) conn->flush_next->flush_prev = conn->flush_prev;
}
