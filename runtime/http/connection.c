/* http/connection.c: one connection's life: parsing what is received, entering Lua, closing.
 *
 * In: the stream's bytes → http_parser_next → one call of Lua per head, per piece of body, per end. What may not be
 * parsed yet (Lua paused the body, too many requests in flight, too much output waiting) is kept in conn->in and
 * reading stops. While parsing, output only collects; one write follows. http_conn_close and http_conn_release are
 * the ways out, after either the stream is closed and the connection is an empty shell for those in Lua who still
 * hold it. */
#include "http/connection.h"

#include "host/callback.h"

#include <lauxlib.h>
#include <string.h>

static void link_conn(http_conn_t *conn) {
  LIST_INSERT_HEAD(&conn->server->conns, conn, link);
  conn->server->count++;
}

static void unlink_conn(http_conn_t *conn) {
  http_server_t *server = conn->server;
  if (server->sweep_next == conn) server->sweep_next = LIST_NEXT(conn, link);
  LIST_REMOVE(conn, link);
  server->count--;
}

lua_State *http_conn_call(http_conn_t *conn, http_callback_t callback) {
  http_shared_t *shared = conn->shared;
  lua_State *co = callback_begin_by(shared->door);
  lua_rawgeti(co, LUA_REGISTRYINDEX, shared->callbacks[callback]);
  lua_rawgeti(co, LUA_REGISTRYINDEX, conn->ref);
  return co;
}

void http_conn_leave(http_conn_t *conn, http_way_t way) {
  if (way > conn->way) conn->way = way;
  if (conn->way < HTTP_MUTED) return;
  conn->surplus = conn->surplus || conn->in.len > 0;
  buffer_free(&conn->in);
}

/* Lets go of all memory but what is being parsed. */
static void detach(lua_State *L, http_conn_t *conn) {
  unlink_conn(conn);
  http_exchange_drop_all(conn);
  if (!conn->parsing) http_parser_free(&conn->parser);
  luaL_unref(L, LUA_REGISTRYINDEX, conn->ref);
}

/* What luv calls when the handle is closed; the upvalues are HTTP_ON_CLOSED's arguments. */
enum { CLOSED_ARGUMENTS = 3 };
static int on_closed(lua_State *L) {
  lua_State *co = callback_begin(L);
  lua_rawgeti(co, LUA_REGISTRYINDEX, http_shared(L)->callbacks[HTTP_ON_CLOSED]);
  for (int i = 1; i <= CLOSED_ARGUMENTS; i++) lua_pushvalue(L, lua_upvalueindex(i));
  lua_xmove(L, co, CLOSED_ARGUMENTS);
  callback_run(co, CLOSED_ARGUMENTS);
  return 0;
}

void http_conn_close(lua_State *L, http_conn_t *conn, int error) {
  if (!http_conn_is_open(conn)) return;
  conn->error = error;
  luaL_checkstack(L, 8, "http_conn_close");
  lua_rawgeti(L, LUA_REGISTRYINDEX, conn->ref);
  lua_pushinteger(L, error);
  stream_push_failure(L, &conn->stream, error);
  lua_pushcclosure(L, on_closed, CLOSED_ARGUMENTS);
  lua_rawgeti(L, LUA_REGISTRYINDEX, conn->ref);
  lua_pushboolean(L, 1);
  lua_setfield(L, -2, "closed");
  lua_pop(L, 1);
  if (error == 0) { /* stream_close tries the same, and does not tell whether it was all */
    stream_cork(&conn->stream, false);
    if (stream_flush(&conn->stream) == 0 && http_conn_pending(conn) == 0) conn->sent_id = conn->done_id;
  }
  stream_close(L, &conn->stream);
  detach(L, conn);
  if (!conn->parsing) buffer_free(&conn->in);
}

void http_conn_release(lua_State *L, http_conn_t *conn) {
  stream_release(&conn->stream);
  conn->sent_id = conn->done_id;
  detach(L, conn);
}

void http_conn_fault(http_conn_t *conn, const http_fault_t *fault, const char *data, size_t len,
                     size_t parsed) {
  http_conn_leave(conn, HTTP_MUTED);
  lua_State *co = http_conn_call(conn, HTTP_ON_FAULT);
  lua_pushinteger(co, fault->status);
  lua_pushstring(co, fault->code);
  lua_pushstring(co, fault->reason);
  lua_pushlstring(co, data, len);
  lua_pushinteger(co, (lua_Integer)parsed);
  http_conn_run(conn, 6);
}

/* HTTP/1.0 has no Expect. */
static int head_flags(const http_parser_t *p) {
  return (http_parser_body_follows(p) ? HTTP_FLAG_BODY : 0) | (p->keep_alive ? HTTP_FLAG_KEEP_ALIVE : 0) |
         (p->minor ? HTTP_FLAG_MINOR : 0) | (p->upgrade ? HTTP_FLAG_UPGRADE : 0) |
         (p->minor && p->expect ? HTTP_FLAG_EXPECT : 0) |
         (p->minor && p->expect_100 ? HTTP_FLAG_EXPECT_100 : 0);
}

static void on_request(lua_State *L, http_conn_t *conn, const char *head, size_t len) {
  const http_parser_t *p = &conn->parser;
  const http_server_t *server = conn->server;
  http_exchange_t *e = http_exchange_begin(conn);
  if (e == NULL) {
    http_conn_close(L, conn, UV_ENOMEM);
    return;
  }
  int flags = head_flags(p);
  e->minor = p->minor;
  e->head = len > 5 && memcmp(head, "HEAD ", 5) == 0;
  e->keep_alive = p->keep_alive;
  if (server->max_requests > 0 && conn->ids >= server->max_requests) {
    e->last = true;
    if (conn->ids > server->max_requests) flags |= HTTP_FLAG_LAST;
  }
  conn->body_id = e->id;
  conn->dump = false;
  conn->shared->stats->requests++;
  lua_State *co = http_conn_call(conn, HTTP_ON_REQUEST);
  lua_pushinteger(co, (lua_Integer)e->id);
  lua_pushlstring(co, head, len);
  lua_pushinteger(co, flags);
  http_conn_run(conn, 4);
}

static void on_response(http_conn_t *conn, const char *head, size_t len) {
  http_parser_t *p = &conn->parser;
  if (conn->head_request && p->status / 100 != 1) http_parser_skip_body(p);
  conn->body_id = 1;
  conn->dump = false;
  lua_State *co = http_conn_call(conn, HTTP_ON_RESPONSE);
  lua_pushinteger(co, p->status);
  lua_pushlstring(co, head, len);
  lua_pushinteger(co, head_flags(p));
  http_conn_run(conn, 4);
}

static void on_body(http_conn_t *conn, const char *data, size_t len) {
  if (conn->dump) return;
  lua_State *co = http_conn_call(conn, HTTP_ON_DATA);
  lua_pushlstring(co, data, len);
  http_conn_run(conn, 2);
}

/* Whether the message under way is the last that we take. */
static bool is_last(const http_conn_t *conn) {
  if (!conn->parser.keep_alive) return !conn->client;
  const http_exchange_t *e = conn->last;
  return e != NULL && e->id == conn->body_id && e->started && !e->keep_alive;
}

/* `trailers` are complete. Whether bytes follow that nobody has asked for, is what a client is told. */
static void on_end(http_conn_t *conn, const char *trailers, size_t len) {
  bool surplus = false;
  if (conn->client && conn->parser.status / 100 != 1) {
    conn->asked = false;
    surplus = conn->rest_len > 0;
  }
  if (conn->way == HTTP_BODY) http_conn_leave(conn, HTTP_ENDING);
  else if (is_last(conn)) http_conn_leave(conn, HTTP_MUTED);
  conn->body_id = 0;
  bool dump = conn->dump;
  conn->dump = conn->paused = false;
  if ((!conn->has_body && !conn->client) || dump) return;
  lua_State *co = http_conn_call(conn, HTTP_ON_END);
  if (len > 0) lua_pushlstring(co, trailers, len);
  else lua_pushnil(co);
  lua_pushboolean(co, surplus);
  http_conn_run(conn, 3);
}

static bool may_parse(const http_conn_t *conn) {
  return http_conn_is_open(conn) && !conn->paused && conn->way < HTTP_MUTED &&
         conn->inflight < HTTP_MAX_INFLIGHT && http_conn_pending(conn) < HTTP_MAX_OUTPUT;
}

/* One event; false when these bytes hold no other. */
static bool step(lua_State *L, http_conn_t *conn, const char *data, size_t len, size_t *at) {
  http_event_t ev;
  if (http_parser_idle(&conn->parser)) conn->request_since = uv_now(conn->shared->loop);
  http_event_kind_t kind = http_parser_next(&conn->parser, data + *at, len - *at, &ev);
  const char *from = data + *at;
  *at += ev.used;
  conn->rest = data + *at;
  conn->rest_len = len - *at;
  switch (kind) {
  case HTTP_EV_MORE: return false;
  case HTTP_EV_HEAD:
    conn->has_body = http_parser_body_follows(&conn->parser);
    if (conn->client) on_response(conn, ev.data, ev.len);
    else on_request(L, conn, ev.data, ev.len);
    break;
  case HTTP_EV_BODY: on_body(conn, ev.data, ev.len); break;
  case HTTP_EV_END: on_end(conn, ev.data, ev.len); break;
  case HTTP_EV_FAULT: http_conn_fault(conn, &conn->parser.fault, data, len, (size_t)(from - data)); break;
  }
  return true;
}

bool http_conn_is_clean(const http_conn_t *conn) {
  return !conn->asked && http_parser_untouched(&conn->parser) && conn->rest_len == 0 && conn->in.len == 0;
}

/* Parses as far as it goes; the rest is kept. `data` may be conn->in's own memory, given up by the caller. */
static void parse(lua_State *L, http_conn_t *conn, const char *data, size_t len) {
  size_t at = 0;
  conn->parsing = true;
  stream_cork(&conn->stream, true);
  while (may_parse(conn) && step(L, conn, data, len, &at) && (at < len || !http_parser_idle(&conn->parser))) {
  }
  conn->parsing = false;
  stream_cork(&conn->stream, false);
  conn->rest = NULL;
  conn->rest_len = 0;
  bool open = http_conn_is_open(conn);
  if (!open || http_parser_idle(&conn->parser)) http_parser_free(&conn->parser);
  if (!open || at == len) return;
  if (conn->way >= HTTP_MUTED) conn->surplus = true;
  else if (buffer_add(&conn->in, data + at, len - at) < 0) http_conn_close(L, conn, UV_ENOMEM);
}

void http_conn_feed(lua_State *L, http_conn_t *conn, const char *data, size_t len) {
  http_conn_touch(conn);
  if (conn->way >= HTTP_MUTED) {
    conn->surplus = true;
    return;
  }
  parse(L, conn, data, len);
  if (!http_conn_is_open(conn)) return;
  if (conn->client && !conn->asked && !http_conn_is_clean(conn)) {
    http_conn_close(L, conn, 0); /* bytes that nobody has asked for */
    return;
  }
  http_conn_flush(L, conn);
  http_conn_resume(L, conn);
}

/* Bytes to parse, or the end of a message that was told up to its last byte. */
static bool has_more(const http_conn_t *conn) {
  return conn->in.len > 0 || conn->parser.head_due ||
         (http_parser_complete(&conn->parser) && !http_parser_idle(&conn->parser));
}

void http_conn_resume(lua_State *L, http_conn_t *conn) {
  if (conn->parsing) return;
  while (has_more(conn) && may_parse(conn)) {
    buffer_t in = conn->in;
    conn->in = (buffer_t){0};
    parse(L, conn, in.data ? in.data : "", in.len);
    buffer_free(&in);
    http_conn_flush(L, conn);
  }
  if (!http_conn_is_open(conn) || conn->eof || conn->way == HTTP_LINGERING) return;
  bool want = conn->way >= HTTP_MUTED || (conn->in.len == 0 && may_parse(conn));
  int rc = stream_read(&conn->stream, want);
  if (rc < 0) http_conn_close(L, conn, rc);
}

void http_conn_start(lua_State *L, http_conn_t *conn) {
  int rc = stream_read_first(&conn->stream);
  if (rc < 0) http_conn_close(L, conn, rc);
}

/* What the stream tells ------------------------------------------------------------------------------- */

/* Lua's table keeps the connection while its functions run. */
static lua_State *hold(const http_conn_t *conn) {
  lua_rawgeti(conn->shared->L, LUA_REGISTRYINDEX, conn->ref);
  return conn->shared->L;
}
static void let_go(lua_State *L) { lua_pop(L, 1); }

static void on_received(stream_t *s, const char *data, size_t len) {
  http_conn_t *conn = (http_conn_t *)s;
  lua_State *L = hold(conn);
  http_conn_feed(L, conn, data, len);
  let_go(L);
}

static void eof(lua_State *L, http_conn_t *conn) {
  conn->eof = true;
  http_event_kind_t kind = conn->way >= HTTP_MUTED ? HTTP_EV_MORE : http_parser_eof(&conn->parser);
  if (kind == HTTP_EV_FAULT && !conn->client && conn->way < HTTP_BODY) {
    http_conn_fault(conn, &conn->parser.fault, "", 0, 0);
    http_conn_leave(conn, HTTP_ENDING);
  } else if (kind == HTTP_EV_END) {
    on_end(conn, "", 0);
  }
  if (!http_conn_is_open(conn)) return;
  if (conn->client || conn->inflight > 0 || conn->way == HTTP_BODY || conn->way == HTTP_LINGERING) {
    http_conn_close(L, conn, kind == HTTP_EV_FAULT ? UV_ECONNRESET : 0);
    return;
  }
  http_conn_leave(conn, HTTP_ENDING);
  http_conn_flush(L, conn);
}

static void on_ended(stream_t *s) {
  http_conn_t *conn = (http_conn_t *)s;
  lua_State *L = hold(conn);
  eof(L, conn);
  let_go(L);
}

static void on_failed(stream_t *s, int error) {
  http_conn_t *conn = (http_conn_t *)s;
  http_conn_close(conn->shared->L, conn, error);
}

static void on_written(stream_t *s, int status) {
  http_conn_t *conn = (http_conn_t *)s;
  lua_State *L = hold(conn);
  if (status < 0) http_conn_close(L, conn, status);
  else http_conn_flush(L, conn);
  if (http_conn_is_open(conn)) http_conn_resume(L, conn);
  let_go(L);
}

static void on_turn_ends(stream_t *s) {
  http_conn_t *conn = (http_conn_t *)s;
  lua_State *L = hold(conn);
  http_conn_flush(L, conn);
  let_go(L);
}

static const stream_owner_t owner = {on_received, on_ended, on_failed, on_written, on_turn_ends};

void http_conn_attach(lua_State *L, http_conn_t *conn, http_server_t *server,
                      const http_transport_t *transport) {
  memset(conn, 0, sizeof *conn);
  conn->shared = http_shared(L);
  conn->server = server;
  if (transport->lent != NULL) stream_move(&conn->stream, transport->lent, &owner);
  else if (transport->handle != NULL) stream_open(L, &conn->stream, transport->handle, &stream_plain, &owner);
  else stream_open_bare(L, &conn->stream, transport->fd, &owner);
  conn->idle_since = conn->stream.active;
  conn->ref = luaL_ref(L, LUA_REGISTRYINDEX);
  link_conn(conn);
}
