/* http/exchange.c: the order of responses, and what follows when they are written.
 *
 * The first exchange writes to conn->out, later ones to their own buffer until their turn comes. While input
 * is parsed, conn->out is the VM's scratch buffer: an idle connection owns no buffer. */
#include "host/callback.h"
#include "http/connection.h"

#include <stdlib.h>
#include <string.h>

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
    conn->done_id = conn->first->id;
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

static void tell_drain(http_conn_t *conn, uint32_t id) {
  lua_State *co = http_conn_call(conn, HTTP_ON_DRAIN);
  lua_pushinteger(co, (lua_Integer)id);
  lua_pushinteger(co, (lua_Integer)conn->sent_id);
  callback_run(co, 3);
}

static void drained(http_conn_t *conn) {
  http_exchange_t *e = conn->first;
  if (e == NULL || !e->starved) return;
  e->starved = false;
  tell_drain(conn, e->id);
}

void http_conn_flush(lua_State *L, http_conn_t *conn) {
  if (conn->stream == NULL || conn->parsing) return;
  int rc = http_conn_write_out(L, conn);
  if (rc < 0) {
    http_conn_close(L, conn, rc);
    return;
  }
  if (conn->writing != NULL) return;
  conn->sent_id = conn->done_id;
  if (conn->unsent) {
    conn->unsent = false;
    tell_drain(conn, 0);
    if (conn->stream == NULL || conn->writing != NULL) return;
  }
  if (conn->full && conn->first == NULL) conn->ending = conn->muted = true;
  if (conn->ending) end(L, conn);
  else drained(conn);
}
