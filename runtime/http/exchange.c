/* http/exchange.c: the order of responses, and what follows when they are written.
 *
 * The first exchange writes to the stream's output, later ones to their own buffer until their turn comes. */
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

buffer_t *http_exchange_buffer(http_conn_t *conn, http_exchange_t *e) {
  if (e != conn->first) return &e->held;
  return stream_out(&conn->stream);
}

static void drop_first(http_conn_t *conn) {
  http_exchange_t *e = conn->first;
  conn->first = e->next;
  if (conn->first == NULL) conn->last = NULL;
  conn->inflight--;
  buffer_free(&e->held);
  if (e == &conn->spare) conn->spare_used = false;
  else free(e);
}

void http_exchange_drop_all(http_conn_t *conn) {
  while (conn->first != NULL) drop_first(conn);
}

/* Those that are finished and have their turn; their bytes are in the stream's output. */
static void drop_finished(http_conn_t *conn) {
  while (conn->first != NULL && conn->first->finished) {
    bool keep_alive = conn->first->keep_alive;
    if (conn->first->last) http_conn_leave(conn, HTTP_LAST);
    conn->done_id = conn->first->id;
    drop_first(conn);
    if (!keep_alive) {
      bool body = conn->way < HTTP_MUTED && conn->body_id == conn->done_id && conn->has_body && !conn->dump &&
                  !conn->eof;
      http_conn_leave(conn, body ? HTTP_BODY : HTTP_ENDING);
      http_exchange_drop_all(conn);
      return;
    }
    http_exchange_t *next = conn->first;
    if (next == NULL) {
      conn->idle_since = uv_now(conn->shared->loop);
    } else if (next->held.len > 0) {
      buffer_t *out = http_exchange_buffer(conn, next);
      if (buffer_add(out, next->held.data, next->held.len) < 0) http_conn_leave(conn, HTTP_ENDING);
      buffer_free(&next->held);
    }
  }
}

void http_exchange_end(http_conn_t *conn, http_exchange_t *e) {
  e->finished = true;
  if (e == conn->first) drop_finished(conn);
}

void http_exchange_close(http_conn_t *conn, http_exchange_t *e) {
  e->keep_alive = false;
  if (e == conn->last && e->id != conn->body_id) http_conn_leave(conn, HTTP_MUTED);
}

void http_exchange_destroy(lua_State *L, http_conn_t *conn, uint32_t id) {
  http_exchange_t *e = conn->first;
  while (e != NULL && e->id != id) e = e->next;
  if (e == NULL || e == conn->first) {
    http_conn_close(L, conn, 0);
    return;
  }
  e->finished = true;
  e->keep_alive = false;
  buffer_free(&e->held);
  http_conn_leave(conn, HTTP_MUTED);
}

/* Whether the peer has said all: closing while it still sends would reset the connection, and could destroy the response on
 * its way. */
static bool is_quiet(const http_conn_t *conn) {
  return conn->eof || (http_parser_complete(&conn->parser) && !conn->paused && !conn->surplus);
}

/* All is written and no more will be. Of a connection that is not quiet only our side is shut, and the sweep closes what
 * lingers. */
static void end(lua_State *L, http_conn_t *conn) {
  if (is_quiet(conn) || stream_linger(&conn->stream) < 0) {
    http_conn_close(L, conn, 0);
    return;
  }
  http_conn_leave(conn, HTTP_LINGERING);
  conn->idle_since = uv_now(conn->shared->loop);
}

static void tell_drain(http_conn_t *conn, uint32_t id) {
  lua_State *co = http_conn_call(conn, HTTP_ON_DRAIN);
  lua_pushinteger(co, (lua_Integer)id);
  lua_pushinteger(co, (lua_Integer)conn->sent_id);
  http_conn_run(conn, 3);
}

static void drained(http_conn_t *conn) {
  http_exchange_t *e = conn->first;
  if (e == NULL || !e->starved) return;
  e->starved = false;
  tell_drain(conn, e->id);
}

/* A connection of one request is spared the system call. */
void http_conn_stop_delay(http_conn_t *conn) {
  const http_exchange_t *e = conn->first;
  if (conn->nodelay || (conn->ids < 2 && (e == NULL || !e->started))) return;
  conn->nodelay = true;
  stream_nodelay(&conn->stream);
}

static bool all_written(const http_conn_t *conn) {
  return http_conn_is_open(conn) && http_conn_pending(conn) == 0;
}

void http_conn_flush(lua_State *L, http_conn_t *conn) {
  if (!http_conn_is_open(conn) || conn->parsing) return;
  http_conn_stop_delay(conn);
  bool last = conn->way == HTTP_ENDING && !conn->unsent && is_quiet(conn);
  int rc = last ? stream_flush_last(&conn->stream) : stream_flush(&conn->stream);
  if (rc < 0) {
    http_conn_close(L, conn, rc);
    return;
  }
  if (!all_written(conn)) return;
  conn->sent_id = conn->done_id;
  if (conn->unsent) {
    conn->unsent = false;
    tell_drain(conn, 0);
    if (!all_written(conn)) return;
  }
  if (conn->way == HTTP_LAST && conn->first == NULL) http_conn_leave(conn, HTTP_ENDING);
  if (conn->way == HTTP_ENDING) end(L, conn);
  else drained(conn);
}
