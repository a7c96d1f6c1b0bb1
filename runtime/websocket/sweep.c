/* websocket/sweep.c: all time limits of a group's connections, looked at now and then instead of a timer each: pings,
 * silence, a close handshake that does not end, output that nobody reads. */
#include "websocket/connection.h"

static bool passed(uint32_t now, uint32_t since, uint64_t limit) { return limit > 0 && now - since >= limit; }

/* Told at the second look: at the first the bytes may lie in the socket, after a pause of the process. */
static bool is_silent(ws_conn_t *conn, uint32_t now) {
  if (conn->paused || !passed(now, conn->heard_at, conn->group->idle_timeout)) return false;
  bool seen = conn->overdue;
  conn->overdue = true;
  return seen;
}

/* Whether output waits of which none was taken for long. */
static bool is_stalled(ws_conn_t *conn, uint32_t now) {
  size_t pending = ws_conn_pending(conn);
  uint32_t written = (uint32_t)(conn->appended - (pending < conn->appended ? pending : conn->appended));
  if (pending == 0 || written != conn->moved) {
    conn->moved = written;
    conn->moved_at = now;
    return false;
  }
  return passed(now, conn->moved_at, conn->group->stall_timeout);
}

/* A compressor that was not used since the last ping goes: the next one refers to nothing that came before, which any
 * peer can read. */
static void rest_deflater(ws_conn_t *conn) {
  if (!conn->deflated && !conn->sending) {
    ws_deflater_free(conn->deflater);
    conn->deflater = NULL;
  }
  conn->deflated = false;
}

static void look_at(lua_State *L, ws_conn_t *conn, uint32_t now) {
  const ws_group_t *group = conn->group;
  if (conn->way >= WS_CLOSING) {
    if (passed(now, conn->turned_at, group->close_timeout)) ws_conn_close(L, conn);
    return;
  }
  if (is_silent(conn, now) || is_stalled(conn, now)) {
    ws_conn_close(L, conn);
    return;
  }
  if (!passed(now, conn->turned_at, group->ping_interval)) return;
  conn->turned_at = now;
  rest_deflater(conn);
  if (ws_conn_pending(conn) == 0)
    ws_conn_control(L, conn, WS_PING, "", 0); /* else more would only wait, too */
}

void ws_group_sweep(lua_State *L, ws_group_t *group) {
  ws_conn_t *conn = LIST_FIRST(&group->conns);
  while (conn != NULL) {
    group->sweep_next = LIST_NEXT(conn, link);
    ws_conn_hold(conn);
    look_at(L, conn, ws_conn_now(conn));
    ws_conn_let_go(conn);
    conn = group->sweep_next; /* moved on when that one was closed */
  }
}
