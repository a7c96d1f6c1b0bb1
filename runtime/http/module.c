/* http/module.c: the module `lrun.core.http`: what lualib/http asks of connections. Internal: arguments are
 * trusted to be of the right kind, not to belong to a connection that is still open. */
#include "host/modules.h"
#include "host/userdata.h"
#include "http/connection.h"
#include "http/fields.h"
#include "http/format.h"
#include "http/head.h"

#include <lauxlib.h>
#include <luv/lhandle.h>
#include <stdlib.h>
#include <string.h>

enum { THROUGH = 16 * 1024 }; /* bodies from here on are not copied where the socket takes them */

static http_conn_t *conn_at(lua_State *L, int index) { return lua_touserdata(L, index); }

/* setup{ onrequest = f, … }: the functions that connections call. */
static int l_setup(lua_State *L) {
  static const char *const names[HTTP_CALLBACKS] = {"onrequest", "onresponse", "ondata",    "onend",
                                                    "ondrain",   "onfault",    "ontimeout", "onclosed"};
  luaL_checktype(L, 1, LUA_TTABLE);
  http_shared_t *shared = http_shared(L);
  for (int i = 0; i < HTTP_CALLBACKS; i++) {
    lua_getfield(L, 1, names[i]);
    if (lua_isnil(L, -1)) {
      lua_pop(L, 1);
      continue;
    }
    luaL_unref(L, LUA_REGISTRYINDEX, shared->callbacks[i]);
    shared->callbacks[i] = luaL_ref(L, LUA_REGISTRYINDEX);
  }
  return 0;
}

/* A limit of fields; 0 for none. */
static uint32_t fields_at(lua_State *L, int index) {
  lua_Number n = lua_tonumber(L, index);
  return n >= 1 && n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

/* server(maxHeaderSize, maxHeadersCount): what the connections of one server have in common. */
static int l_server(lua_State *L) {
  uint32_t max_head = (uint32_t)luaL_checkinteger(L, 1);
  uint32_t max_fields = fields_at(L, 2);
  http_server_t *server = lua_newuserdata(L, sizeof *server);
  memset(server, 0, sizeof *server);
  server->max_head = max_head;
  server->max_fields = max_fields;
  return 1;
}

static uint64_t ms_at(lua_State *L, int index) {
  lua_Number ms = lua_tonumber(L, index);
  return ms > 0 && ms < 1e15 ? (uint64_t)ms : 0;
}

/* configure(server, headersTimeout, requestTimeout, keepAliveTimeout, timeout, maxRequests, maxFields,
 * closing) */
static int l_configure(lua_State *L) {
  http_server_t *server = lua_touserdata(L, 1);
  server->headers_timeout = ms_at(L, 2);
  server->request_timeout = ms_at(L, 3);
  server->keep_alive_timeout = ms_at(L, 4);
  server->timeout = ms_at(L, 5);
  server->max_requests = (uint32_t)ms_at(L, 6);
  server->max_fields = fields_at(L, 7);
  bool closing = lua_toboolean(L, 8);
  if (closing && !server->closing) server->closing_since = uv_now(http_shared(L)->loop);
  server->closing = closing;
  return 0;
}

/* attach(server, handle, connection, client) → the connection's userdata. Call start(it) then. */
static int l_attach(lua_State *L) {
  http_server_t *server = lua_touserdata(L, 1);
  uv_stream_t **handle = lua_touserdata(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  bool client = lua_toboolean(L, 4);
  if (handle == NULL || uv_is_closing((uv_handle_t *)*handle)) return 0;
  http_conn_t *conn = lua_newuserdata(L, sizeof *conn);
  lua_pushvalue(L, 3);
  http_conn_attach(L, conn, server, *handle);
  conn->client = conn->nodelay = client;
  conn->timeout = server->timeout;
  http_parser_init(&conn->parser, conn->client ? HTTP_PARSE_RESPONSES : HTTP_PARSE_REQUESTS, server->max_head,
                   server->max_fields);
  return 1;
}

/* start(conn[, bytes]): begins to read, after `bytes` that were received before. */
static int l_start(lua_State *L) {
  http_conn_t *conn = conn_at(L, 1);
  size_t len;
  const char *bytes = lua_tolstring(L, 2, &len);
  if (!http_conn_is_open(conn)) return 0;
  if (bytes != NULL && len > 0) http_conn_feed(L, conn, bytes, len);
  else if (conn->client) http_conn_resume(L, conn);
  else http_conn_start(L, conn);
  return 0;
}

/* The exchange at argument 2, or NULL when its connection is gone or it was answered. */
static http_exchange_t *exchange_at(lua_State *L, http_conn_t **conn) {
  *conn = conn_at(L, 1);
  if (!http_conn_is_open(*conn)) return NULL;
  return http_exchange_find(*conn, (uint32_t)lua_tointeger(L, 2));
}

/* What a write returns to Lua: false when the writer should wait for a drain. */
static int wait_or_go(lua_State *L, http_conn_t *conn, http_exchange_t *e) {
  bool wait = http_conn_pending(conn) + e->held.len >= HTTP_HIGH_WATER;
  if (wait) e->starved = true;
  lua_pushboolean(L, !wait);
  return 1;
}

static int broken(lua_State *L, http_conn_t *conn, int rc) {
  if (rc < 0) http_conn_close(L, conn, rc);
  lua_pushnil(L);
  return 1;
}

/* A large piece, which the stream does not copy. */
static int put_piece(lua_State *L, http_conn_t *conn, const http_exchange_t *e, int index, size_t len) {
  if (!e->chunked) return stream_write_piece(L, &conn->stream, index, len, NULL);
  int rc = http_response_chunk_size(stream_out(&conn->stream), len);
  return rc < 0 ? rc : stream_write_piece(L, &conn->stream, index, len, "\r\n");
}

/* Body bytes, the string at `index`, as the head promised them; more than Content-Length says is not sent. */
static int put_body(lua_State *L, http_conn_t *conn, http_exchange_t *e, int index) {
  size_t len = 0;
  const char *data = lua_tolstring(L, index, &len);
  if (e->bodyless || len == 0) return 0;
  if (e->counted) {
    if (len > e->left) len = (size_t)e->left;
    e->left -= len;
  }
  buffer_t *out = http_exchange_buffer(conn, e);
  if (len >= THROUGH && e == conn->first) return put_piece(L, conn, e, index, len);
  return e->chunked ? http_response_chunk(out, data, len) : buffer_add(out, data, len);
}

/* The response is complete. A body shorter than promised cannot be mended: the connection ends there. Pushes
 * true. */
static int finish(lua_State *L, http_conn_t *conn, http_exchange_t *e) {
  if (e->counted && e->left > 0) e->keep_alive = false;
  http_exchange_end(conn, e);
  if (!conn->parsing) http_conn_flush(L, conn);
  if (http_conn_is_open(conn)) http_conn_resume(L, conn);
  lua_pushboolean(L, 1);
  return 1;
}

/* respond(conn, id, status, message, fields, body, flags): head and body at once → as `finish` pushes, or nil
 * when it is too late. */
static int l_respond(lua_State *L) {
  http_conn_t *conn;
  http_exchange_t *e = exchange_at(L, &conn);
  if (e == NULL) return broken(L, conn, 0);
  size_t len = 0;
  lua_tolstring(L, 6, &len);
  buffer_t *out = http_exchange_buffer(conn, e);
  int rc = http_head_response(L, conn, e, out, (int)lua_tointeger(L, 3), 4, 5, (int64_t)len,
                              (int)lua_tointeger(L, 7));
  if (rc == 0) rc = put_body(L, conn, e, 6);
  if (rc == 0 && e->chunked) rc = http_response_last_chunk(http_exchange_buffer(conn, e), NULL, 0);
  return rc < 0 ? broken(L, conn, rc) : finish(L, conn, e);
}

/* respondPlain: the same for a plain response while its request is being parsed, so that the write comes
 * later. Called through the FFI. 1: done; 0: it takes `respond`. */
static int respond_plain(http_conn_t *conn, uint32_t id, const char *body, size_t length) {
  if (!http_conn_is_open(conn) || !conn->parsing || length >= THROUGH) return 0;
  http_exchange_t *e = http_exchange_find(conn, id);
  if (e == NULL || !http_head_is_plain(conn, e) || http_conn_pending(conn) + length >= HTTP_HIGH_WATER)
    return 0;
  buffer_t *out = http_exchange_buffer(conn, e);
  size_t before = out->len;
  if (http_head_plain(conn, e, out, length) < 0 || buffer_add(out, body, length) < 0) {
    out->len = before;
    return 0;
  }
  http_exchange_end(conn, e);
  return 1;
}

/* head(conn, id, status, message, fields, flags, flush): a head alone, the body comes in pieces. */
static int l_head(lua_State *L) {
  http_conn_t *conn;
  http_exchange_t *e = exchange_at(L, &conn);
  if (e == NULL) return broken(L, conn, 0);
  buffer_t *out = http_exchange_buffer(conn, e);
  int rc = http_head_response(L, conn, e, out, (int)lua_tointeger(L, 3), 4, 5, -1, (int)lua_tointeger(L, 6));
  if (rc < 0) return broken(L, conn, rc);
  if (lua_toboolean(L, 7)) http_conn_flush(L, conn);
  lua_pushboolean(L, 1);
  return 1;
}

/* write(conn, id, bytes) → true, false to wait for a drain, nil when it is too late. */
static int l_write(lua_State *L) {
  http_conn_t *conn;
  http_exchange_t *e = exchange_at(L, &conn);
  if (e == NULL) return broken(L, conn, 0);
  int rc = put_body(L, conn, e, 3);
  if (rc < 0) return broken(L, conn, rc);
  if (http_conn_pending(conn) < HTTP_HIGH_WATER) stream_flush_soon(&conn->stream);
  else http_conn_flush(L, conn);
  if (!http_conn_is_open(conn)) return broken(L, conn, 0);
  e = http_exchange_find(conn, (uint32_t)lua_tointeger(L, 2));
  if (e == NULL) return broken(L, conn, 0);
  return wait_or_go(L, conn, e);
}

/* finish(conn, id, bytes, trailers): the end of a body that came in pieces → as respond. */
static int l_finish(lua_State *L) {
  http_conn_t *conn;
  http_exchange_t *e = exchange_at(L, &conn);
  if (e == NULL) return broken(L, conn, 0);
  size_t tlen = 0;
  const char *trailers = lua_tolstring(L, 4, &tlen);
  int rc = put_body(L, conn, e, 3);
  if (rc == 0 && e->chunked) rc = http_response_last_chunk(http_exchange_buffer(conn, e), trailers, tlen);
  return rc < 0 ? broken(L, conn, rc) : finish(L, conn, e);
}

/* begin(conn, head, chunked, headRequest, maxFields) → id: a client's request; its body, if any, by write and
 * finish. */
static int l_begin(lua_State *L) {
  http_conn_t *conn = conn_at(L, 1);
  size_t len;
  const char *head = lua_tolstring(L, 2, &len);
  bool ready = http_conn_is_open(conn) && (!conn->client || http_conn_is_clean(conn));
  http_exchange_t *e = ready ? http_exchange_begin(conn) : NULL;
  if (e == NULL) return broken(L, conn, 0);
  e->started = e->keep_alive = conn->asked = true;
  e->chunked = lua_toboolean(L, 3);
  conn->head_request = lua_toboolean(L, 4);
  conn->parser.max_fields = fields_at(L, 5);
  http_conn_touch(conn);
  int rc = buffer_add(http_exchange_buffer(conn, e), head, len);
  if (rc < 0) return broken(L, conn, rc);
  lua_pushinteger(L, (lua_Integer)e->id);
  return 1;
}

/* flush(conn): what waits for company goes out now. */
static int l_flush(lua_State *L) {
  http_conn_flush(L, conn_at(L, 1));
  return 0;
}

/* raw(conn, id, bytes): as they are, in the exchange's place: an interim response. */
static int l_raw(lua_State *L) {
  http_conn_t *conn;
  http_exchange_t *e = exchange_at(L, &conn);
  if (e == NULL) return broken(L, conn, 0);
  size_t len = 0;
  const char *data = lua_tolstring(L, 3, &len);
  int rc = buffer_add(http_exchange_buffer(conn, e), data, len);
  if (rc < 0) return broken(L, conn, rc);
  http_conn_flush(L, conn);
  lua_pushboolean(L, http_conn_is_open(conn));
  return 1;
}

/* refuse(conn, status): the end of the connection: what was answered is written, the request under way gets
 * `status` unless its response has begun, nothing else is taken. */
static int l_refuse(lua_State *L) {
  http_conn_t *conn = conn_at(L, 1);
  if (!http_conn_is_open(conn)) return 0;
  http_conn_leave(conn, HTTP_MUTED);
  http_exchange_t *e = conn->last;
  if (e == NULL || e->finished || e->id != conn->body_id) e = http_exchange_begin(conn);
  if (e == NULL || e->started) {
    http_conn_close(L, conn, 0);
    return 0;
  }
  int rc = http_response_refusal(http_exchange_buffer(conn, e), (int)lua_tointeger(L, 2));
  if (rc < 0) return broken(L, conn, rc);
  e->started = true;
  e->keep_alive = false;
  finish(L, conn, e);
  return 0;
}

/* rawWrite(conn, bytes): between the responses, for who holds the socket. */
static int l_raw_write(lua_State *L) {
  http_conn_t *conn = conn_at(L, 1);
  size_t len = 0;
  const char *data = lua_tolstring(L, 2, &len);
  if (!http_conn_is_open(conn)) return 0;
  if (conn->way == HTTP_LINGERING) return 0;
  int rc = buffer_add(stream_out(&conn->stream), data, len);
  if (rc < 0) return broken(L, conn, rc);
  http_conn_flush(L, conn);
  return 0;
}

/* finishAll(conn): closes when what there is has been written; nothing more is taken. */
static int l_finish_all(lua_State *L) {
  http_conn_t *conn = conn_at(L, 1);
  if (!http_conn_is_open(conn)) return 0;
  http_conn_leave(conn, HTTP_ENDING);
  http_exchange_drop_all(conn);
  http_conn_flush(L, conn);
  return 0;
}

/* setTimeout(conn, ms): as the server's `timeout`, for this connection; 0 for none. */
static int l_set_timeout(lua_State *L) {
  http_conn_t *conn = conn_at(L, 1);
  conn->timeout = ms_at(L, 2);
  http_conn_touch(conn);
  return 0;
}

/* sent(conn) → the id of the last exchange of which, and of all before, the kernel has every byte. */
static int l_sent(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)conn_at(L, 1)->sent_id);
  return 1;
}

/* tell(conn): HTTP_ON_DRAIN with 0 is to come when all that waits was written. */
static int l_tell(lua_State *L) {
  conn_at(L, 1)->unsent = true;
  return 0;
}

/* pending(conn, id): bytes written and not yet taken by the system. */
static int l_pending(lua_State *L) {
  http_conn_t *conn;
  const http_exchange_t *e = exchange_at(L, &conn);
  size_t held = e != NULL && e != conn->first ? e->held.len : 0;
  size_t out = http_conn_is_open(conn) && held == 0 ? http_conn_pending(conn) : 0;
  lua_pushnumber(L, (lua_Number)(held + out));
  return 1;
}

/* traffic(conn) → bytes received, bytes sent or waiting. */
static int l_traffic(lua_State *L) {
  const http_conn_t *conn = conn_at(L, 1);
  lua_pushnumber(L, (lua_Number)conn->stream.received);
  lua_pushnumber(L, (lua_Number)(conn->stream.sent + conn->stream.out.len));
  return 2;
}

/* delay(conn): the program wants small writes to be gathered. */
static int l_delay(lua_State *L) {
  conn_at(L, 1)->nodelay = true;
  return 0;
}

static int l_pause(lua_State *L) {
  http_conn_t *conn = conn_at(L, 1);
  conn->paused = true;
  if (!conn->parsing) stream_read(&conn->stream, false);
  return 0;
}

static int l_resume(lua_State *L) {
  http_conn_t *conn = conn_at(L, 1);
  conn->paused = false;
  if (http_conn_is_open(conn)) http_conn_resume(L, conn);
  return 0;
}

/* dump(conn, id): the rest of this request's body is thrown away. */
static int l_dump(lua_State *L) {
  http_conn_t *conn = conn_at(L, 1);
  if (!http_conn_is_open(conn) || conn->body_id != (uint32_t)lua_tointeger(L, 2)) return 0;
  conn->dump = true;
  conn->paused = false;
  if (conn->way == HTTP_BODY) {
    http_conn_leave(conn, HTTP_ENDING);
    http_conn_flush(L, conn);
  }
  http_conn_resume(L, conn);
  return 0;
}

/* destroy(conn, id): this response is given up; those before it are sent, then the connection ends. */
static int l_destroy(lua_State *L) {
  http_conn_t *conn = conn_at(L, 1);
  if (http_conn_is_open(conn)) http_exchange_destroy(L, conn, (uint32_t)lua_tointeger(L, 2));
  return 0;
}

/* close(conn[, code]) */
static int l_close(lua_State *L) {
  http_conn_close(L, conn_at(L, 1), (int)lua_tointeger(L, 2));
  return 0;
}

/* closeIdle(server): those that wait for a next request; one that was just accepted may be about to send its
 * first, the sweep sees to it. closeAll(server): all. */
static int close_some(lua_State *L, bool idle) {
  http_server_t *server = lua_touserdata(L, 1);
  http_conn_t *conn = server->first;
  while (conn != NULL) {
    http_conn_t *next = conn->next;
    bool resting = conn->ids > 0 && conn->inflight == 0 && http_parser_idle(&conn->parser) &&
                   http_conn_pending(conn) == 0;
    if (!idle || resting) http_conn_close(L, conn, 0);
    conn = next;
  }
  return 0;
}
static int l_close_idle(lua_State *L) { return close_some(L, true); }
static int l_close_all(lua_State *L) { return close_some(L, false); }

static int push_rest(lua_State *L, const http_conn_t *conn) {
  if (conn->rest != NULL) lua_pushlstring(L, conn->rest, conn->rest_len);
  else lua_pushlstring(L, conn->in.data != NULL ? conn->in.data : "", conn->in.len);
  return 1;
}

/* rest(conn) → the bytes behind the head; nil when it is closed */
static int l_rest(lua_State *L) {
  const http_conn_t *conn = conn_at(L, 1);
  return http_conn_is_open(conn) ? push_rest(L, conn) : 0;
}

/* release(conn) → the same; the handle is the caller's again. */
static int l_release(lua_State *L) {
  http_conn_t *conn = conn_at(L, 1);
  if (!http_conn_is_open(conn)) return 0;
  http_conn_release(L, conn);
  push_rest(L, conn);
  buffer_free(&conn->in);
  return 1;
}

static int l_sweep(lua_State *L) {
  http_server_sweep(L, lua_touserdata(L, 1));
  return 0;
}

static int l_count(lua_State *L) {
  const http_server_t *server = lua_touserdata(L, 1);
  lua_pushinteger(L, (lua_Integer)server->count);
  return 1;
}

static int l_status_text(lua_State *L) {
  lua_pushstring(L, http_status_text((int)lua_tointeger(L, 1)));
  return 1;
}

/* The module's table gets a table of numbers: those that Lua must know as well. */
typedef struct {
  const char *name;
  int value;
} number_t;

static void export_numbers(lua_State *L, const char *name, const number_t *numbers) {
  lua_newtable(L);
  for (; numbers->name != NULL; numbers++) {
    lua_pushinteger(L, numbers->value);
    lua_setfield(L, -2, numbers->name);
  }
  lua_setfield(L, -2, name);
}

static const number_t flags[] = {{"body", HTTP_FLAG_BODY},     {"keepAlive", HTTP_FLAG_KEEP_ALIVE},
                                 {"minor", HTTP_FLAG_MINOR},   {"upgrade", HTTP_FLAG_UPGRADE},
                                 {"expect", HTTP_FLAG_EXPECT}, {"expect100", HTTP_FLAG_EXPECT_100},
                                 {"last", HTTP_FLAG_LAST},     {NULL, 0}};
static const number_t head_flags[] = {{"noDate", HTTP_HEAD_NO_DATE},
                                      {"close", HTTP_HEAD_CLOSE},
                                      {"noConnection", HTTP_HEAD_NO_CONNECTION},
                                      {"noLength", HTTP_HEAD_NO_LENGTH},
                                      {"noCoding", HTTP_HEAD_NO_CODING},
                                      {NULL, 0}};
static const number_t limits[] = {{"highWater", HTTP_HIGH_WATER}, {NULL, 0}};

int luaopen_lrun_http(lua_State *L) {
  static const luaL_Reg functions[] = {{"setup", l_setup},
                                       {"server", l_server},
                                       {"configure", l_configure},
                                       {"attach", l_attach},
                                       {"start", l_start},
                                       {"respond", l_respond},
                                       {"head", l_head},
                                       {"write", l_write},
                                       {"finish", l_finish},
                                       {"begin", l_begin},
                                       {"flush", l_flush},
                                       {"raw", l_raw},
                                       {"refuse", l_refuse},
                                       {"rawWrite", l_raw_write},
                                       {"finishAll", l_finish_all},
                                       {"setTimeout", l_set_timeout},
                                       {"sent", l_sent},
                                       {"tell", l_tell},
                                       {"pending", l_pending},
                                       {"traffic", l_traffic},
                                       {"delay", l_delay},
                                       {"pause", l_pause},
                                       {"resume", l_resume},
                                       {"dump", l_dump},
                                       {"destroy", l_destroy},
                                       {"close", l_close},
                                       {"closeIdle", l_close_idle},
                                       {"closeAll", l_close_all},
                                       {"rest", l_rest},
                                       {"release", l_release},
                                       {"sweep", l_sweep},
                                       {"count", l_count},
                                       {"statusText", l_status_text},
                                       {"headers", http_fields_headers},
                                       {"headersDistinct", http_fields_distinct},
                                       {"rawHeaders", http_fields_raw},
                                       {"method", http_fields_method},
                                       {"target", http_fields_target},
                                       {"isToken", http_fields_is_token},
                                       {"isText", http_fields_is_text},
                                       {NULL, NULL}};
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  export_numbers(L, "flags", flags);
  export_numbers(L, "headFlags", head_flags);
  export_numbers(L, "limits", limits);
  userdata_address(L, "respondPlain", (address_t)respond_plain);
  return 1;
}
