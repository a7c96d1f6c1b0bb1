/* websocket/connection.c: one connection's life: parsing what is received, entering Lua, closing.
 *
 * In: the stream's bytes → ws_parser_next → one call of Lua per message. While Lua pauses, what was received is held
 * back and reading stops. While parsing, output only collects; one write follows.
 *
 * The end: both close frames, or a fault and our own → muted: what comes is thrown away, our side is shut, the peer gets
 * time to do the same → ws_conn_close, which is the only way out, → luv closes the handle → Lua is told. */
#include "websocket/connection.h"

#include "host/callback.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

static void link_conn(ws_conn_t *conn) {
  LIST_INSERT_HEAD(&conn->group->conns, conn, link);
  conn->group->count++;
}

static void unlink_conn(ws_conn_t *conn) {
  ws_group_t *group = conn->group;
  if (group->sweep_next == conn) group->sweep_next = LIST_NEXT(conn, link);
  LIST_REMOVE(conn, link);
  group->count--;
}

lua_State *ws_conn_call(ws_conn_t *conn, ws_callback_t callback) {
  ws_shared_t *shared = conn->group->shared;
  lua_State *co = callback_begin_by(shared->door);
  lua_rawgeti(co, LUA_REGISTRYINDEX, shared->callbacks[callback]);
  lua_rawgeti(co, LUA_REGISTRYINDEX, conn->ref);
  return co;
}

/* Closing --------------------------------------------------------------------------------------------- */

static void free_memory(ws_conn_t *conn) {
  ws_parser_free(&conn->parser);
  ws_extra_t *extra = conn->extra;
  if (extra == NULL) return;
  buffer_free(&extra->in);
  buffer_free(&extra->held);
  free(extra);
  conn->extra = NULL;
}

ws_extra_t *ws_conn_extra(ws_conn_t *conn) {
  if (conn->extra == NULL && (conn->extra = calloc(1, sizeof *conn->extra)) != NULL)
    conn->extra->reason = LUA_NOREF;
  return conn->extra;
}

static size_t held_back(const ws_conn_t *conn) { return conn->extra != NULL ? conn->extra->in.len : 0; }

/* Bytes for later; false, and it is closed, when memory is out. */
static bool hold_back(lua_State *L, ws_conn_t *conn, const char *data, size_t len) {
  ws_extra_t *extra = ws_conn_extra(conn);
  if (extra != NULL && buffer_add(&extra->in, data, len) == 0) return true;
  ws_conn_close(L, conn);
  return false;
}

/* What luv calls when the handle is closed; the upvalues are WS_ON_CLOSED's arguments. */
enum { CLOSED_ARGUMENTS = 3 };
static int on_closed(lua_State *L) {
  lua_State *co = callback_begin(L);
  lua_rawgeti(co, LUA_REGISTRYINDEX, ws_shared(L)->callbacks[WS_ON_CLOSED]);
  for (int i = 1; i <= CLOSED_ARGUMENTS; i++) lua_pushvalue(L, lua_upvalueindex(i));
  lua_xmove(L, co, CLOSED_ARGUMENTS);
  callback_run(co, CLOSED_ARGUMENTS);
  return 0;
}

/* Nothing of C's uses it any more. */
static void leave_to_collector(ws_conn_t *conn) {
  luaL_unref(conn->group->shared->L, LUA_REGISTRYINDEX, conn->ref);
  conn->ref = LUA_NOREF;
}

void ws_conn_let_go(ws_conn_t *conn) {
  if (--conn->holds == 0 && !ws_conn_is_open(conn)) leave_to_collector(conn);
}

void ws_conn_close(lua_State *L, ws_conn_t *conn) {
  if (!ws_conn_is_open(conn)) return;
  conn->way = WS_DEAD;
  luaL_checkstack(L, 8, "ws_conn_close");
  lua_rawgeti(L, LUA_REGISTRYINDEX, conn->ref);
  lua_pushliteral(L, "readyState");
  lua_pushinteger(L, WS_STATE_CLOSING);
  lua_rawset(L, -3);
  lua_pushinteger(L, conn->code);
  int reason = conn->extra != NULL ? conn->extra->reason : LUA_NOREF;
  if (reason != LUA_NOREF) lua_rawgeti(L, LUA_REGISTRYINDEX, reason);
  else lua_pushliteral(L, "");
  lua_pushcclosure(L, on_closed, CLOSED_ARGUMENTS);
  if (conn->dirty) ws_shared_forget(conn->group->shared, conn);
  conn->dirty = false;
  ws_topics_leave_all(L, conn);
  stream_cork(&conn->stream, false);
  stream_close(L, &conn->stream);
  unlink_conn(conn);
  luaL_unref(L, LUA_REGISTRYINDEX, reason);
  ws_deflater_free(conn->deflater);
  conn->deflater = NULL;
  if (!conn->parsing) free_memory(conn);
  if (conn->holds == 0) leave_to_collector(conn);
}

void ws_conn_mute(lua_State *L, ws_conn_t *conn) {
  if (conn->way >= WS_MUTED) return;
  conn->way = WS_MUTED;
  conn->turned_at = ws_conn_now(conn);
  if (conn->extra != NULL) buffer_free(&conn->extra->in);
  ws_conn_flush(L, conn);
  int rc = ws_conn_is_open(conn) ? stream_read(&conn->stream, true) : 0;
  if (rc < 0) ws_conn_close(L, conn);
}

/* What the peer says ---------------------------------------------------------------------------------- */

static void on_message(ws_conn_t *conn, const ws_event_t *ev) {
  lua_State *co = ws_conn_call(conn, WS_ON_MESSAGE);
  lua_pushlstring(co, ev->data, ev->len);
  lua_pushboolean(co, ev->binary);
  ws_parser_drop(&conn->parser);
  ws_conn_run(conn, 3);
}

static void on_control(lua_State *L, ws_conn_t *conn, ws_event_kind_t kind, const ws_event_t *ev) {
  if (kind == WS_EV_PING) ws_conn_pong(L, conn, ev->data, ev->len);
  if (!ws_conn_is_open(conn)) return;
  lua_State *co = ws_conn_call(conn, WS_ON_CONTROL);
  lua_pushstring(co, kind == WS_EV_PING ? "ping" : "pong");
  lua_pushlstring(co, ev->data, ev->len);
  ws_parser_drop(&conn->parser);
  ws_conn_run(conn, 3);
}

/* Its close frame is answered with the same. A server ends the connection then, a client waits for that. */
static void on_close(lua_State *L, ws_conn_t *conn, const ws_event_t *ev) {
  conn->code = ev->status;
  ws_extra_t *extra = ev->len > 0 ? ws_conn_extra(conn) : NULL;
  if (extra != NULL) {
    lua_pushlstring(L, ev->data, ev->len);
    extra->reason = luaL_ref(L, LUA_REGISTRYINDEX);
  }
  ws_conn_send_close(L, conn, ev->status, ev->data, ev->len);
  ws_parser_drop(&conn->parser);
  conn->leaves = conn->group->server;
  ws_conn_mute(L, conn);
}

static void push_reason(lua_State *L, const ws_fault_t *fault) {
  const char *about = fault->status == WS_PROTOCOL_ERROR ? "Invalid WebSocket frame: " : "";
  if (fault->number < 0) lua_pushfstring(L, "%s%s", about, fault->reason);
  else lua_pushfstring(L, "%s%s %d", about, fault->reason, (int)fault->number);
}

static void on_fault(lua_State *L, ws_conn_t *conn) {
  const ws_fault_t *fault = &conn->group->shared->workshop.fault;
  if (conn->way == WS_OPEN) {
    conn->code = fault->status;
    ws_conn_send_close(L, conn, fault->status, NULL, 0);
  }
  conn->leaves = true;
  ws_conn_mute(L, conn);
  if (!ws_conn_is_open(conn)) return;
  lua_State *co = ws_conn_call(conn, WS_ON_FAULT);
  lua_pushinteger(co, fault->status);
  lua_pushstring(co, fault->code);
  push_reason(co, fault);
  ws_conn_run(conn, 4);
}

static bool may_parse(const ws_conn_t *conn) {
  return ws_conn_is_open(conn) && !conn->paused && conn->way < WS_MUTED;
}

/* One event; false when these bytes say nothing more. */
static bool step(lua_State *L, ws_conn_t *conn, const char *data, size_t len, size_t *at) {
  ws_event_t ev;
  ws_event_kind_t kind = ws_parser_next(&conn->parser, data + *at, len - *at, &ev);
  *at += ev.used;
  switch (kind) {
  case WS_EV_MORE: return false;
  case WS_EV_MESSAGE: on_message(conn, &ev); break;
  case WS_EV_PING:
  case WS_EV_PONG: on_control(L, conn, kind, &ev); break;
  case WS_EV_CLOSE: on_close(L, conn, &ev); break;
  case WS_EV_FAULT: on_fault(L, conn); break;
  }
  return *at < len && may_parse(conn);
}

/* Parses as far as it goes; the rest is kept. `data` may be the memory that held it back, given up by the caller. */
static void parse(lua_State *L, ws_conn_t *conn, const char *data, size_t len) {
  size_t at = 0;
  conn->parsing = true;
  stream_cork(&conn->stream, true);
  if (may_parse(conn)) {
    while (step(L, conn, data, len, &at)) {}
  }
  conn->parsing = false;
  stream_cork(&conn->stream, false);
  if (!ws_conn_is_open(conn)) {
    free_memory(conn);
    return;
  }
  if (at < len && conn->way < WS_MUTED) hold_back(L, conn, data + at, len - at);
}

/* Goes on with what is there, then with reading, where Lua does not pause. */
static void go_on(lua_State *L, ws_conn_t *conn) {
  while (may_parse(conn) && held_back(conn) > 0) {
    buffer_t in = conn->extra->in;
    conn->extra->in = (buffer_t){0};
    parse(L, conn, in.data, in.len);
    buffer_free(&in);
  }
  ws_conn_flush(L, conn);
  if (!ws_conn_is_open(conn)) return;
  if (conn->eof) {
    if (held_back(conn) == 0) ws_conn_close(L, conn);
    return;
  }
  int rc = stream_read(&conn->stream, conn->way >= WS_MUTED || !conn->paused);
  if (rc < 0) ws_conn_close(L, conn);
}

static void feed(lua_State *L, ws_conn_t *conn, const char *data, size_t len) {
  conn->heard_at = ws_conn_now(conn);
  conn->overdue = false;
  if (conn->way >= WS_MUTED) return;
  if (conn->parsing || held_back(conn) > 0) {
    hold_back(L, conn, data, len);
    return;
  }
  parse(L, conn, data, len);
  if (ws_conn_is_open(conn)) go_on(L, conn);
}

void ws_conn_pause(ws_conn_t *conn) {
  conn->paused = true;
  if (!conn->parsing && conn->way < WS_MUTED) stream_read(&conn->stream, false);
}

void ws_conn_resume(lua_State *L, ws_conn_t *conn) {
  if (!conn->paused) return;
  conn->paused = false;
  conn->heard_at = ws_conn_now(conn);
  if (!conn->parsing && ws_conn_is_open(conn)) go_on(L, conn);
}

void ws_conn_start(lua_State *L, ws_conn_t *conn, const char *data, size_t len) {
  if (len > 0) feed(L, conn, data, len);
  else go_on(L, conn);
}

/* What the stream tells ------------------------------------------------------------------------------- */

static lua_State *state_of(const ws_conn_t *conn) { return conn->group->shared->L; }

static void on_received(stream_t *s, const char *data, size_t len) {
  ws_conn_t *conn = (ws_conn_t *)s;
  ws_conn_hold(conn);
  feed(state_of(conn), conn, data, len);
  ws_conn_let_go(conn);
}

static void on_ended(stream_t *s) {
  ws_conn_t *conn = (ws_conn_t *)s;
  conn->eof = true;
  if (conn->way >= WS_MUTED || (!conn->parsing && held_back(conn) == 0)) ws_conn_close(state_of(conn), conn);
}

/* Lua is told where there is more to tell than that the connection broke. */
static void on_failed(stream_t *s, int error) {
  ws_conn_t *conn = (ws_conn_t *)s;
  lua_State *L = state_of(conn);
  ws_conn_hold(conn);
  stream_push_failure(L, s, error);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
  } else {
    lua_State *co = ws_conn_call(conn, WS_ON_FAILED);
    lua_xmove(L, co, 1);
    ws_conn_run(conn, 2);
  }
  ws_conn_close(L, conn);
  ws_conn_let_go(conn);
}

static void on_written(stream_t *s, int status) {
  ws_conn_t *conn = (ws_conn_t *)s;
  ws_conn_hold(conn);
  if (status < 0) ws_conn_close(state_of(conn), conn);
  else ws_conn_flush(state_of(conn), conn);
  ws_conn_let_go(conn);
}

static void on_turn_ends(stream_t *s) {
  ws_conn_t *conn = (ws_conn_t *)s;
  ws_conn_hold(conn);
  ws_conn_flush(state_of(conn), conn);
  ws_conn_let_go(conn);
}

static const stream_owner_t owner = {on_received, on_ended, on_failed, on_written, on_turn_ends};

void ws_conn_attach(lua_State *L, ws_conn_t *conn, ws_group_t *group, uv_stream_t *handle, stream_t *lent) {
  memset(conn, 0, sizeof *conn);
  conn->group = group;
  conn->code = WS_ABNORMAL;
  ws_parser_init(&conn->parser, &conn->group->shared->workshop, group->server, group->max_payload);
  if (lent != NULL) stream_move(&conn->stream, lent, &owner);
  else stream_open(L, &conn->stream, handle, &stream_plain, &owner);
  stream_nodelay(&conn->stream);
  conn->heard_at = conn->turned_at = conn->moved_at = ws_conn_now(conn);
  conn->ref = luaL_ref(L, LUA_REGISTRYINDEX);
  link_conn(conn);
}
