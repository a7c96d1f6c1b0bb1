/* http/sweep.c: all time limits of a server's connections, looked at now and then instead of a timer each. */
#include "host/callback.h"
#include "http/connection.h"

enum {
  LINGER = 2000,      /* ms that a peer gets to read a last response and to close */
  FIRST_CHUNK = 200,  /* ms without a byte after which a head does not wait for its first chunk size */
  FIRST_REQUEST = 500 /* ms that a connection gets for its first request when its server closes */
};

static bool passed(uint64_t now, uint64_t since, uint64_t limit) { return limit > 0 && now >= since + limit; }

/* What was answered already gets no second answer. */
static void fault(lua_State *L, http_conn_t *conn) {
  if (conn->way == HTTP_BODY) {
    http_conn_leave(conn, HTTP_ENDING);
    http_conn_flush(L, conn);
    return;
  }
  static const http_fault_t late = {408, "ERR_HTTP_REQUEST_TIMEOUT", "Request timeout"};
  http_conn_fault(conn, &late, "", 0, 0);
}

/* Told at the second look: at the first the chunk may lie in the socket, after a pause of the process. */
static bool first_chunk_late(http_conn_t *conn, uint64_t now) {
  uint64_t active = conn->stream.active;
  if (!passed(now, active, FIRST_CHUNK)) return false;
  bool seen = conn->overdue == active;
  conn->overdue = active;
  return seen && http_parser_hurry(&conn->parser);
}

static void look_at(lua_State *L, http_conn_t *conn, uint64_t now) {
  const http_server_t *server = conn->server;
  if (conn->way == HTTP_LINGERING) {
    if (passed(now, conn->idle_since, LINGER)) http_conn_close(L, conn, 0);
    return;
  }
  uint64_t active = conn->stream.active;
  if (conn->timed_out != active && passed(now, active, conn->timeout)) {
    conn->timed_out = active;
    http_conn_call(conn, HTTP_ON_TIMEOUT);
    http_conn_run(conn, 1);
    return;
  }
  if (conn->client || conn->way >= HTTP_MUTED) return;
  if (!http_parser_idle(&conn->parser)) {
    if (first_chunk_late(conn, now)) {
      http_conn_resume(L, conn);
      return;
    }
    bool in_head = conn->body_id == 0;
    if (passed(now, conn->request_since, server->request_timeout) ||
        (in_head && passed(now, conn->request_since, server->headers_timeout))) {
      fault(L, conn);
    }
    return;
  }
  if (conn->inflight > 0 || http_conn_pending(conn) > 0) return;
  if (conn->ids == 0) {
    if (server->closing && passed(now, server->closing_since, FIRST_REQUEST)) http_conn_close(L, conn, 0);
    else if (passed(now, conn->idle_since, server->headers_timeout)) fault(L, conn);
  } else if (passed(now, conn->idle_since, server->keep_alive_timeout)) {
    http_conn_close(L, conn, 0);
  }
}

void http_server_sweep(lua_State *L, http_server_t *server) {
  http_conn_t *conn = LIST_FIRST(&server->conns);
  while (conn != NULL) {
    server->sweep_next = LIST_NEXT(conn, link);
    lua_rawgeti(L, LUA_REGISTRYINDEX, conn->ref); /* keeps conn while we use it */
    look_at(L, conn, uv_now(conn->shared->loop));
    lua_pop(L, 1);
    conn = server->sweep_next; /* moved on when that one was closed */
  }
}
