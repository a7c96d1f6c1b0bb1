/* http/module.c: the module `lrun.core.http`: what lualib/lrun/http asks of connections; what it sends is in
 * http/messages.c. Internal: arguments are trusted to be of the right kind, not to belong to a connection that is
 * still open. */
#include "http/module.h"
#include "host/modules.h"
#include "host/userdata.h"
#include "http/fields.h"
#include "http/files.h"
#include "http/format.h"
#include "http/head.h"
#include "http/lookup.h"

#include <lauxlib.h>
#include <luv/lhandle.h>
#include <stdlib.h>
#include <string.h>

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

/* server(maxHeaderSize, maxHeadersCount): what the connections of one server have in common. */
static int l_server(lua_State *L) {
  uint32_t max_head = (uint32_t)luaL_checkinteger(L, 1);
  uint32_t max_fields = http_module_fields(L, 2);
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
  server->max_fields = http_module_fields(L, 7);
  bool closing = lua_toboolean(L, 8);
  if (closing && !server->closing) server->closing_since = uv_now(http_shared(L)->loop);
  server->closing = closing;
  return 0;
}

/* What there is at `index`. False: a handle that is closed, or has no stream to give. */
static bool transport_at(lua_State *L, int index, http_transport_t *transport) {
  *transport = (http_transport_t){.fd = -1};
  if (lua_type(L, index) == LUA_TNUMBER) {
    transport->fd = (int)lua_tointeger(L, index);
    return true;
  }
  if (stream_lent(L, index, &transport->lent)) return transport->lent != NULL;
  uv_stream_t **handle = lua_touserdata(L, index);
  if (handle == NULL || uv_is_closing((uv_handle_t *)*handle)) return false;
  transport->handle = *handle;
  return true;
}

/* attach(server, handle, connection, client) → the connection's userdata. The handle is luv's, or one that lends its
 * stream, or the descriptor of a socket that was accepted. Call start(it) then. */
static int l_attach(lua_State *L) {
  http_server_t *server = lua_touserdata(L, 1);
  http_transport_t transport;
  luaL_checktype(L, 3, LUA_TTABLE);
  bool client = lua_toboolean(L, 4);
  if (!transport_at(L, 2, &transport)) return 0;
  http_conn_t *conn = lua_newuserdata(L, sizeof *conn);
  lua_pushvalue(L, 3);
  http_conn_attach(L, conn, server, &transport);
  conn->client = conn->nodelay = client;
  conn->timeout = server->timeout;
  http_parser_init(&conn->parser, conn->client ? HTTP_PARSE_RESPONSES : HTTP_PARSE_REQUESTS, server->max_head,
                   server->max_fields);
  return 1;
}

/* handle(conn) → luv's handle of a connection that hangs on a descriptor; nil when it is closed */
static int l_handle(lua_State *L) {
  stream_push_handle(L, &http_module_conn(L, 1)->stream);
  return 1;
}

/* start(conn[, bytes]): begins to read, after `bytes` that were received before. */
static int l_start(lua_State *L) {
  http_conn_t *conn = http_module_conn(L, 1);
  size_t len;
  const char *bytes = lua_tolstring(L, 2, &len);
  if (!http_conn_is_open(conn)) return 0;
  if (bytes != NULL && len > 0) http_conn_feed(L, conn, bytes, len);
  else if (conn->client) http_conn_resume(L, conn);
  else http_conn_start(L, conn);
  return 0;
}

/* setTimeout(conn, ms): as the server's `timeout`, for this connection; 0 for none. */
static int l_set_timeout(lua_State *L) {
  http_conn_t *conn = http_module_conn(L, 1);
  conn->timeout = ms_at(L, 2);
  http_conn_touch(conn);
  return 0;
}

/* sent(conn) → the id of the last exchange of which, and of all before, the kernel has every byte. */
static int l_sent(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)http_module_conn(L, 1)->sent_id);
  return 1;
}

/* tell(conn): HTTP_ON_DRAIN with 0 is to come when all that waits was written. */
static int l_tell(lua_State *L) {
  http_module_conn(L, 1)->unsent = true;
  return 0;
}

/* traffic(conn) → bytes received, bytes sent or waiting. */
static int l_traffic(lua_State *L) {
  const http_conn_t *conn = http_module_conn(L, 1);
  lua_pushnumber(L, (lua_Number)conn->stream.received);
  lua_pushnumber(L, (lua_Number)(conn->stream.sent + conn->stream.out.len));
  return 2;
}

/* delay(conn): the program wants small writes to be gathered. */
static int l_delay(lua_State *L) {
  http_module_conn(L, 1)->nodelay = true;
  return 0;
}

static int l_pause(lua_State *L) {
  http_conn_t *conn = http_module_conn(L, 1);
  conn->paused = true;
  if (!conn->parsing) stream_read(&conn->stream, false);
  return 0;
}

static int l_resume(lua_State *L) {
  http_conn_t *conn = http_module_conn(L, 1);
  conn->paused = false;
  if (http_conn_is_open(conn)) http_conn_resume(L, conn);
  return 0;
}

/* dump(conn, id): the rest of this request's body is thrown away. */
static int l_dump(lua_State *L) {
  http_conn_t *conn = http_module_conn(L, 1);
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
  http_conn_t *conn = http_module_conn(L, 1);
  if (http_conn_is_open(conn)) http_exchange_destroy(L, conn, (uint32_t)lua_tointeger(L, 2));
  return 0;
}

/* close(conn[, code]) */
static int l_close(lua_State *L) {
  http_conn_close(L, http_module_conn(L, 1), (int)lua_tointeger(L, 2));
  return 0;
}

/* closeIdle(server): those that wait for a next request; one that was just accepted may be about to send its
 * first, the sweep sees to it. closeAll(server): all. */
static int close_some(lua_State *L, bool idle) {
  http_server_t *server = lua_touserdata(L, 1);
  http_conn_t *conn = LIST_FIRST(&server->conns);
  while (conn != NULL) {
    http_conn_t *next = LIST_NEXT(conn, link);
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
  const http_conn_t *conn = http_module_conn(L, 1);
  return http_conn_is_open(conn) ? push_rest(L, conn) : 0;
}

/* release(conn) → the same; the handle is the caller's again. */
static int l_release(lua_State *L) {
  http_conn_t *conn = http_module_conn(L, 1);
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

static const userdata_number_t flags[] = {{"body", HTTP_FLAG_BODY},     {"keepAlive", HTTP_FLAG_KEEP_ALIVE},
                                          {"minor", HTTP_FLAG_MINOR},   {"upgrade", HTTP_FLAG_UPGRADE},
                                          {"expect", HTTP_FLAG_EXPECT}, {"expect100", HTTP_FLAG_EXPECT_100},
                                          {"last", HTTP_FLAG_LAST},     {NULL, 0}};
static const userdata_number_t head_flags[] = {{"noDate", HTTP_HEAD_NO_DATE},
                                               {"close", HTTP_HEAD_CLOSE},
                                               {"noConnection", HTTP_HEAD_NO_CONNECTION},
                                               {"noLength", HTTP_HEAD_NO_LENGTH},
                                               {"noCoding", HTTP_HEAD_NO_CODING},
                                               {NULL, 0}};
static const userdata_number_t limits[] = {{"highWater", HTTP_HIGH_WATER}, {NULL, 0}};
static const userdata_number_t found[] = {
    {"file", HTTP_FOUND_FILE},       {"folder", HTTP_FOUND_FOLDER}, {"listing", HTTP_FOUND_LISTING},
    {"nothing", HTTP_FOUND_NOTHING}, {"denied", HTTP_FOUND_DENIED}, {"bad", HTTP_FOUND_BAD},
    {"failed", HTTP_FOUND_FAILED},   {"opened", HTTP_FILES_OPENED}, {NULL, 0}};
static const userdata_number_t errors[] = {{"truncated", STREAM_TRUNCATED}, {NULL, 0}};

int luaopen_lrun_http(lua_State *L) {
  static const luaL_Reg functions[] = {{"setup", l_setup},
                                       {"server", l_server},
                                       {"configure", l_configure},
                                       {"attach", l_attach},
                                       {"handle", l_handle},
                                       {"start", l_start},
                                       {"setTimeout", l_set_timeout},
                                       {"sent", l_sent},
                                       {"tell", l_tell},
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
  userdata_numbers(L, "flags", flags);
  userdata_numbers(L, "headFlags", head_flags);
  userdata_numbers(L, "limits", limits);
  userdata_numbers(L, "errors", errors);
  userdata_numbers(L, "found", found);
  http_messages_register(L);
  http_files_register(L);
  return 1;
}
