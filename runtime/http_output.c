/* http_output.c: the order of responses and the way of their bytes.
 *
 * The first exchange writes to conn->out, later ones to their own buffer until their turn comes. conn->out is
 * tried with one write at once; what the socket does not take goes to one uv_write, and output collects again
 * until that is done. While input is parsed, conn->out is the VM's scratch buffer: an idle connection owns no
 * buffer. */
#include "callback.h"
#include "http_conn.h"

#include <stdlib.h>
#include <string.h>

enum { SCRATCH_KEPT = 256 * 1024 }; /* a scratch buffer that grew beyond is given back */

http_exchange_t *http_exchange_begin(http_conn_t *conn) {
  http_exchange_t *e = &conn->spare;
  if (conn->spare_used) {
    e = malloc(sizeof *e);
    if (e == NULL) return NULL;
  } else {
    conn->spare_used = true;
  }
  memset(e, 0, sizeof *e);
  e->id = ++conn->ids;
  if (conn->last != NULL) conn->last->next = e;
  else conn->first = e;
  conn->last = e;
  conn->inflight++;
  return e;
}

http_exchange_t *http_exchange_find(http_conn_t *conn, uint32_t id) {
  for (http_exchange_t *e = conn->first; e != NULL; e = e->next) {
    if (e->id == id) return e->finished ? NULL : e;
  }
  return NULL;
}

http_buffer_t *http_exchange_buffer(http_conn_t *conn, http_exchange_t *e) {
  if (e != conn->first) return &e->held;
  http_shared_t *shared = conn->shared;
  if (conn->parsing && conn->writing == NULL && conn->out.data == NULL && !shared->scratch_lent) {
    conn->out = shared->scratch;
    conn->borrowed = shared->scratch_lent = true;
  }
  return &conn->out;
}

static void drop_first(http_conn_t *conn) {
  http_exchange_t *e = conn->first;
  conn->first = e->next;
  if (conn->first == NULL) conn->last = NULL;
  conn->inflight--;
  http_buffer_free(&e->held);
  if (e == &conn->spare) conn->spare_used = false;
  else free(e);
}

void http_exchange_drop_all(http_conn_t *conn) {
  while (conn->first != NULL) drop_first(conn);
}

void http_exchange_end(http_conn_t *conn, http_exchange_t *e) {
  e->finished = true;
  while (conn->first != NULL && conn->first->finished) {
    bool keep_alive = conn->first->keep_alive;
    if (conn->first->last) conn->full = true;
    drop_first(conn);
    if (!keep_alive) {
      conn->ending = conn->muted = true;
      http_exchange_drop_all(conn);
      return;
    }
    http_exchange_t *next = conn->first;
    if (next == NULL) {
      conn->idle_since = uv_now(conn->shared->loop);
    } else if (next->held.len > 0) {
      http_buffer_t *out = http_exchange_buffer(conn, next);
      if (http_buffer_add(out, next->held.data, next->held.len) < 0) conn->ending = conn->muted = true;
      http_buffer_free(&next->held);
    }
  }
}

size_t http_conn_pending(const http_conn_t *conn) {
  return conn->out.len + (conn->writing != NULL ? uv_stream_get_write_queue_size(conn->stream) : 0);
}

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

static void on_written(uv_write_t *req, int status) {
  http_write_t *w = (http_write_t *)req;
  http_conn_t *conn = w->conn;
  free(w->data);
  free(w);
  if (conn == NULL) return;
  conn->writing = NULL;
  lua_State *L = conn->shared->L;
  lua_rawgeti(L, LUA_REGISTRYINDEX, conn->ref); /* keeps conn while we use it */
  if (status < 0) {
    http_conn_close(L, conn, status);
  } else {
    conn->active = uv_now(conn->shared->loop);
    http_conn_flush(L, conn);
    if (conn->stream != NULL) http_conn_resume(L, conn);
  }
  lua_pop(L, 1);
}

/* Queues conn->out from `done` on, followed by a copy of `more`. */
static int write_later(http_conn_t *conn, size_t done, const char *more, size_t more_len) {
  size_t rest = conn->out.len - done;
  http_write_t *w = malloc(sizeof *w);
  if (w == NULL) return UV_ENOMEM;
  w->conn = conn;
  w->data = malloc(rest + more_len);
  if (w->data == NULL) {
    free(w);
    return UV_ENOMEM;
  }
  if (rest > 0) memcpy(w->data, conn->out.data + done, rest); /* the output may not have been made yet */
  if (more_len > 0) memcpy(w->data + rest, more, more_len);
  uv_buf_t buf = uv_buf_init(w->data, (unsigned)(rest + more_len));
  int rc = uv_write(&w->req, conn->stream, &buf, 1, on_written);
  if (rc < 0) {
    free(w->data);
    free(w);
    return rc;
  }
  conn->writing = w;
  reset_out(conn);
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

static int write_out(http_conn_t *conn) {
  if (conn->out.len == 0 || conn->writing != NULL) return 0;
  if (!conn->nodelay) stop_delay(conn);
  uv_buf_t buf = uv_buf_init(conn->out.data, (unsigned)conn->out.len);
  int n = uv_try_write(conn->stream, &buf, 1);
  if (n == UV_EAGAIN) n = 0;
  if (n < 0) return n;
  if ((size_t)n < conn->out.len) return write_later(conn, (size_t)n, NULL, 0);
  reset_out(conn);
  return 0;
}

int http_conn_write_through(http_conn_t *conn, const char *data, size_t len) {
  if (conn->writing != NULL) return http_buffer_add(&conn->out, data, len);
  uv_buf_t bufs[2] = {uv_buf_init(conn->out.data, (unsigned)conn->out.len),
                      uv_buf_init((char *)data, (unsigned)len)};
  int n = conn->out.len > 0 ? uv_try_write(conn->stream, bufs, 2) : uv_try_write(conn->stream, bufs + 1, 1);
  if (n == UV_EAGAIN) n = 0;
  if (n < 0) return n;
  size_t written = (size_t)n;
  if (written >= conn->out.len + len) {
    reset_out(conn);
    return 0;
  }
  if (written <= conn->out.len) return write_later(conn, written, data, len);
  size_t of_body = written - conn->out.len;
  return write_later(conn, conn->out.len, data + of_body, len - of_body);
}

static void on_shutdown(uv_shutdown_t *req, int status) {
  (void)status;
  free(req);
}

/* All is written and no more will be. Closing while the peer still sends would reset the connection and could
 * destroy the response on its way: then only our side is shut, and the sweep closes what lingers. */
static void end(lua_State *L, http_conn_t *conn) {
  bool quiet = conn->eof || (http_parser_complete(&conn->parser) && conn->in.len == 0 && !conn->paused);
  if (quiet || conn->lingering) {
    if (!conn->lingering) http_conn_close(L, conn, 0);
    return;
  }
  uv_shutdown_t *req = malloc(sizeof *req);
  if (req == NULL || uv_shutdown(req, conn->stream, on_shutdown) < 0) {
    free(req);
    http_conn_close(L, conn, 0);
    return;
  }
  conn->lingering = true;
  conn->idle_since = uv_now(conn->shared->loop);
  http_buffer_free(&conn->in);
  http_conn_resume(L, conn);
}

static void drained(http_conn_t *conn) {
  http_exchange_t *e = conn->first;
  if (e == NULL || !e->starved) return;
  e->starved = false;
  lua_State *co = http_conn_call(conn, HTTP_ON_DRAIN);
  lua_pushinteger(co, (lua_Integer)e->id);
  callback_run(co, 2);
}

void http_conn_flush(lua_State *L, http_conn_t *conn) {
  if (conn->stream == NULL || conn->parsing) return;
  int rc = write_out(conn);
  if (rc < 0) {
    http_conn_close(L, conn, rc);
    return;
  }
  if (conn->writing != NULL) return;
  if (conn->full && conn->first == NULL) conn->ending = conn->muted = true;
  if (conn->ending) end(L, conn);
  else drained(conn);
}
