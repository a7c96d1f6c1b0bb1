/* http/connection.c: one connection's life: reading, parsing, entering Lua, closing.
 *
 * In: uv_read into the VM's shared buffer → http_parser_next → one call of Lua per head, per piece of body,
 * per end. What may not be parsed yet (Lua paused the body, too many requests in flight, too much output
 * waiting) is kept in conn->in and reading stops. While parsing, output only collects; one write follows. The
 * handle is luv's; luv_handle_t.extra points to the connection. http_conn_close and http_conn_release are the
 * ways out, after either conn->stream is NULL and the connection is an empty shell for those in Lua who still
 * hold it. */
#include "http/connection.h"

#include "host/callback.h"
#include "http/format.h"

#include <lauxlib.h>
#include <luv/lhandle.h>
#include <string.h>

static void link_conn(http_conn_t *conn) {
  http_server_t *server = conn->server;
  conn->prev = NULL;
  conn->next = server->first;
  if (server->first != NULL) server->first->prev = conn;
  server->first = conn;
  server->count++;
}

static void unlink_conn(http_conn_t *conn) {
  http_server_t *server = conn->server;
  if (server->sweep_next == conn) server->sweep_next = conn->next;
  if (conn->prev != NULL) conn->prev->next = conn->next;
  else server->first = conn->next;
  if (conn->next != NULL) conn->next->prev = conn->prev;
  server->count--;
}

lua_State *http_conn_call(http_conn_t *conn, http_callback_t callback) {
  http_shared_t *shared = conn->shared;
  lua_State *co = callback_begin(shared->L);
  lua_rawgeti(co, LUA_REGISTRYINDEX, shared->callbacks[callback]);
  lua_rawgeti(co, LUA_REGISTRYINDEX, conn->ref);
  return co;
}

/* Lets go of the handle and of all memory. */
static uv_stream_t *detach(lua_State *L, http_conn_t *conn) {
  uv_stream_t *stream = conn->stream;
  uv_read_stop(stream);
  unlink_conn(conn);
  http_conn_flush_done(conn);
  ((luv_handle_t *)stream->data)->extra = NULL;
  if (conn->writing != NULL) conn->writing->conn = NULL;
  conn->writing = NULL;
  conn->stream = NULL;
  conn->reading = false;
  if (conn->borrowed) {
    conn->out.len = 0;
    conn->shared->scratch = conn->out;
    conn->shared->scratch_lent = conn->borrowed = false;
    conn->out = (http_buffer_t){0};
  }
  http_buffer_free(&conn->out);
  http_exchange_drop_all(conn);
  if (!conn->parsing) http_parser_free(&conn->parser);
  luaL_unref(L, LUA_REGISTRYINDEX, conn->ref);
  return stream;
}

void http_conn_close(lua_State *L, http_conn_t *conn, int error) {
  if (conn->stream == NULL) return;
  conn->error = error;
  http_shared_t *shared = conn->shared;
  luaL_checkstack(L, 8, "http_conn_close");
  lua_rawgeti(L, LUA_REGISTRYINDEX, shared->close);
  lua_rawgeti(L, LUA_REGISTRYINDEX, ((luv_handle_t *)conn->stream->data)->ref);
  lua_rawgeti(L, LUA_REGISTRYINDEX, shared->callbacks[HTTP_ON_CLOSED]);
  lua_rawgeti(L, LUA_REGISTRYINDEX, conn->ref);
  lua_pushinteger(L, error);
  detach(L, conn);
  if (!conn->parsing) http_buffer_free(&conn->in);
  if (lua_pcall(L, 2, 1, 0) != 0) lua_pop(L, 1), lua_pushnil(L);
  if (lua_pcall(L, 2, 0, 0) != 0) lua_pop(L, 1); /* someone closed it before us */
}

void http_conn_release(lua_State *L, http_conn_t *conn) {
  http_conn_write_rest(L, conn); /* an error shows when the new owner uses the handle */
  detach(L, conn);
}

void http_conn_fault(http_conn_t *conn, const http_fault_t *fault, const char *data, size_t len,
                     size_t parsed) {
  conn->muted = true;
  lua_State *co = http_conn_call(conn, HTTP_ON_FAULT);
  lua_pushinteger(co, fault->status);
  lua_pushstring(co, fault->code);
  lua_pushstring(co, fault->reason);
  lua_pushlstring(co, data, len);
  lua_pushinteger(co, (lua_Integer)parsed);
  callback_run(co, 6);
}

static int head_flags(const http_parser_t *p) {
  return (http_parser_body_follows(p) ? HTTP_FLAG_BODY : 0) | (p->keep_alive ? HTTP_FLAG_KEEP_ALIVE : 0) |
         (p->minor ? HTTP_FLAG_MINOR : 0) | (p->upgrade ? HTTP_FLAG_UPGRADE : 0) |
         (p->expect ? HTTP_FLAG_EXPECT : 0) | (p->expect_100 ? HTTP_FLAG_EXPECT_100 : 0);
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
  e->keep_alive = p->keep_alive && !server->closing;
  conn->final = !e->keep_alive;
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
  callback_run(co, 4);
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
  callback_run(co, 4);
}

static void on_body(http_conn_t *conn, const char *data, size_t len) {
  if (conn->dump) return;
  lua_State *co = http_conn_call(conn, HTTP_ON_DATA);
  lua_pushlstring(co, data, len);
  callback_run(co, 2);
}

static void on_end(http_conn_t *conn, const char *trailers, size_t len) {
  conn->body_id = 0;
  if (conn->final) conn->muted = true;
  bool dump = conn->dump;
  conn->dump = conn->paused = false;
  if ((!conn->has_body && !conn->client) || dump) return;
  lua_State *co = http_conn_call(conn, HTTP_ON_END);
  if (len > 0) lua_pushlstring(co, trailers, len);
  else lua_pushnil(co);
  callback_run(co, 2);
}

static bool may_parse(const http_conn_t *conn) {
  return conn->stream != NULL && !conn->paused && !conn->muted && conn->inflight < HTTP_MAX_INFLIGHT &&
         http_conn_pending(conn) < HTTP_MAX_OUTPUT;
}

/* One event; false when there is nothing more to do with these bytes now. */
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
  return may_parse(conn);
}

/* Parses as far as it goes; the rest is kept. `data` may be conn->in's own memory, given up by the caller. */
static void parse(lua_State *L, http_conn_t *conn, const char *data, size_t len) {
  size_t at = 0;
  conn->parsing = true;
  if (may_parse(conn)) {
    while (step(L, conn, data, len, &at) && (at < len || !http_parser_idle(&conn->parser))) {}
  }
  conn->parsing = false;
  conn->rest = NULL;
  if (conn->stream == NULL || http_parser_idle(&conn->parser)) http_parser_free(&conn->parser);
  if (conn->stream == NULL || at == len || conn->ending) return;
  if (http_buffer_add(&conn->in, data + at, len - at) < 0) http_conn_close(L, conn, UV_ENOMEM);
}

static void on_eof(lua_State *L, http_conn_t *conn) {
  conn->eof = true;
  http_event_t ev = {0};
  http_event_kind_t kind = conn->muted ? HTTP_EV_MORE : http_parser_eof(&conn->parser);
  if (kind == HTTP_EV_FAULT && !conn->client) {
    http_conn_fault(conn, &conn->parser.fault, "", 0, 0);
    conn->ending = true;
  } else if (kind == HTTP_EV_END) {
    on_end(conn, ev.data, ev.len);
  }
  if (conn->stream == NULL) return;
  if (conn->client || conn->inflight > 0 || conn->lingering) {
    http_conn_close(L, conn, kind == HTTP_EV_FAULT ? UV_ECONNRESET : 0);
    return;
  }
  conn->ending = conn->muted = true;
  http_conn_flush(L, conn);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  (void)suggested;
  const http_conn_t *conn = ((luv_handle_t *)handle->data)->extra;
  *buf = uv_buf_init(conn->shared->read_buffer, HTTP_READ_SIZE);
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf) {
  http_conn_t *conn = ((luv_handle_t *)stream->data)->extra;
  if (nread == 0 || conn == NULL) return;
  lua_State *L = conn->shared->L;
  lua_rawgeti(L, LUA_REGISTRYINDEX, conn->ref); /* keeps conn while we use it */
  if (nread > 0) conn->received += (uint64_t)nread;
  if (nread == UV_EOF) on_eof(L, conn);
  else if (nread < 0) http_conn_close(L, conn, (int)nread);
  else if (!conn->lingering) http_conn_feed(L, conn, buf->base, (size_t)nread);
  lua_pop(L, 1);
}

void http_conn_feed(lua_State *L, http_conn_t *conn, const char *data, size_t len) {
  http_conn_touch(conn);
  parse(L, conn, data, len);
  if (conn->stream == NULL) return;
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
  while (conn->stream != NULL && may_parse(conn) && has_more(conn)) {
    http_buffer_t in = conn->in;
    conn->in = (http_buffer_t){0};
    parse(L, conn, in.data ? in.data : "", in.len);
    http_buffer_free(&in);
    http_conn_flush(L, conn);
  }
  if (conn->stream == NULL) return;
  bool want = conn->lingering || (conn->in.len == 0 && may_parse(conn)) ||
              (conn->muted && conn->in.len == 0 && !conn->ending);
  if (want == conn->reading || conn->eof) return;
  conn->reading = want;
  if (!want) {
    uv_read_stop(conn->stream);
    return;
  }
  int rc = uv_read_start(conn->stream, on_alloc, on_read);
  if (rc < 0) http_conn_close(L, conn, rc);
}

int http_conn_attach(lua_State *L, http_conn_t *conn, http_server_t *server, uv_stream_t *stream) {
  http_shared_t *shared = http_shared(L);
  memset(conn, 0, sizeof *conn);
  conn->shared = shared;
  conn->server = server;
  conn->stream = stream;
  conn->idle_since = conn->active = uv_now(shared->loop);
  conn->ref = luaL_ref(L, LUA_REGISTRYINDEX);
  ((luv_handle_t *)stream->data)->extra = conn;
  link_conn(conn);
  return 0;
}
