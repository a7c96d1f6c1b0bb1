/* tls/handle.c: see tls/handle.h: owns the stream until something faster takes it (stream_move), and again afterwards.
 *
 * Plain bytes go to the reader, as luv's would: function(err, chunk). What is written waits for its turn in
 * conn->sends; small writes that the kernel takes at once never do. */
#include "tls/handle.h"

#include "host/callback.h"
#include "host/errors.h"
#include "host/userdata.h"
#include "tls/context.h"
#include <luv/lhandle.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static tls_conn_t *conn_of(stream_t *s) { return s->state; }

tls_conn_t *tls_handle_at(lua_State *L, int index) {
  return *(tls_conn_t **)luaL_checkudata(L, index, TLS_HANDLE_TYPE);
}

/* The owner ------------------------------------------------------------------------------------------------------ */

static void tell_reader(tls_conn_t *conn, const char *error, const char *data, size_t len) {
  lua_State *co = callback_begin(stream_state(conn->stream));
  lua_rawgeti(co, LUA_REGISTRYINDEX, conn->reader);
  if (error != NULL) lua_pushstring(co, error);
  else lua_pushnil(co);
  if (data != NULL) lua_pushlstring(co, data, len);
  else lua_pushnil(co);
  callback_run(co, 2);
}

static void on_received(stream_t *s, const char *data, size_t len) {
  tls_conn_t *conn = conn_of(s);
  if (conn->reader != LUA_NOREF && s->wanted && conn->unread.len == 0) tell_reader(conn, NULL, data, len);
  else if (buffer_add(&conn->unread, data, len) < 0) stream_fail(s, UV_ENOMEM);
}

static void on_ended(stream_t *s) {
  tls_conn_t *conn = conn_of(s);
  conn->peer_ended = true;
  if (conn->reader == LUA_NOREF || conn->unread.len > 0 || conn->end_told) return;
  conn->end_told = true;
  tell_reader(conn, NULL, NULL, 0);
}

/* listener:failed(fault or nil, name of the code or nil) */
static void on_failed(stream_t *s, int error) {
  tls_conn_t *conn = conn_of(s);
  conn->failed = true;
  lua_State *co = tls_conn_tell(conn, "failed");
  stream_push_failure(co, s, error);
  lua_pushstring(co, uv_err_name(error));
  callback_run(co, 3);
}

static void shut_when_done(tls_conn_t *conn) {
  if (!conn->shut_wanted || conn->stream == NULL || conn->stream->opening || !STAILQ_EMPTY(&conn->sends))
    return;
  conn->shut_wanted = false;
  int rc = stream_shutdown(conn->stream);
  if (rc == UV_EPIPE || rc == UV_ECONNRESET) rc = UV_ENOTCONN; /* the peer has left and needs no farewell */
  int callback = conn->shutting;
  conn->shutting = LUA_NOREF;
  if (callback == LUA_NOREF) return;
  lua_State *co = callback_begin(stream_state(conn->stream));
  lua_rawgeti(co, LUA_REGISTRYINDEX, callback);
  luaL_unref(co, LUA_REGISTRYINDEX, callback);
  if (rc < 0) lua_pushstring(co, uv_err_name(rc));
  else lua_pushnil(co);
  callback_run(co, 1);
}

static void go_on(tls_conn_t *conn) {
  conn->refs++;
  if (tls_conn_pump(conn)) shut_when_done(conn);
  tls_conn_release(conn);
}

static void on_written(stream_t *s, int status) {
  if (status < 0) {
    on_failed(s, status);
    return;
  }
  stream_flush(s);
  go_on(conn_of(s));
}

static void on_turn_end(stream_t *s) {
  tls_conn_t *conn = conn_of(s);
  conn->refs++;
  if (conn->reader != LUA_NOREF && s->wanted && conn->unread.len > 0) {
    buffer_t unread = conn->unread;
    conn->unread = (buffer_t){0};
    tell_reader(conn, NULL, unread.data, unread.len);
    buffer_free(&unread);
  }
  if (conn->stream == s && conn->peer_ended && s->wanted) on_ended(s);
  if (conn->stream == s) go_on(conn);
  tls_conn_release(conn);
}

static const stream_owner_t owner = {.received = on_received,
                                     .ended = on_ended,
                                     .failed = on_failed,
                                     .written = on_written,
                                     .turn_ends = on_turn_end};

/* Making one ----------------------------------------------------------------------------------------------------- */

/* wrap(luv handle, context, policy, isServer, listener) → handle; it owns the luv handle from now on. Set what else there
 * is to set, then start(). The listener is a table; what TLS has to tell are calls of its methods. */
static int l_wrap(lua_State *L) {
  uv_stream_t **handle = lua_touserdata(L, 1);
  const tls_context_t *context = tls_context_at(L, 2);
  tls_policy_t **policy = luaL_checkudata(L, 3, TLS_POLICY_TYPE);
  luaL_checktype(L, 5, LUA_TTABLE);
  if (handle == NULL || *handle == NULL) return luaL_argerror(L, 1, "no handle");
  tls_conn_t **at = lua_newuserdata(L, sizeof(tls_conn_t *));
  *at = NULL;
  luaL_getmetatable(L, TLS_HANDLE_TYPE);
  lua_setmetatable(L, -2);
  tls_conn_t *conn = tls_conn_new(L, *handle, context->ssl, *policy, lua_toboolean(L, 4), &owner);
  if (conn == NULL) return luaL_error(L, "not enough memory");
  *at = conn;
  conn->refs++;
  lua_pushvalue(L, 5);
  conn->listener = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_pushvalue(L, -1);
  conn->self = luaL_ref(L, LUA_REGISTRYINDEX);
  return 1;
}

static int l_gc(lua_State *L) {
  tls_conn_t **at = luaL_checkudata(L, 1, TLS_HANDLE_TYPE);
  if (*at != NULL) tls_conn_release(*at);
  *at = NULL;
  return 0;
}

/* start([bytes]): begins the handshake, after bytes that came before. A server has nothing to say before its client has. */
static int l_start(lua_State *L) {
  tls_conn_t *conn = tls_handle_at(L, 1);
  size_t len = 0;
  const char *data = lua_tolstring(L, 2, &len);
  if (conn->stream == NULL) return 0;
  stream_nodelay(conn->stream);
  int rc = stream_read(conn->stream, conn->stream->wanted);
  if (rc < 0) {
    stream_fail(conn->stream, rc);
    return 0;
  }
  if (len > 0 || !tls_lib.SSL_is_server(conn->engine.ssl)) tls_conn_feed(conn, len > 0 ? data : "", len);
  return 0;
}

/* answer(context or nil, chosen protocol or nil or false: none fits, session or nil, OCSP response or nil): what the
 * program says to a client's greeting. */
static int l_answer(lua_State *L) {
  tls_conn_t *conn = tls_handle_at(L, 1);
  tls_engine_t *e = &conn->engine;
  if (conn->stream == NULL || !conn->asking) return 0;
  SSL_CTX *context = lua_isnoneornil(L, 2) ? NULL : tls_context_at(L, 2)->ssl;
  size_t len;
  const char *bytes;
  if (!lua_isnoneornil(L, 3)) e->choose_alpn = true;
  if ((bytes = lua_tolstring(L, 3, &len)) != NULL) {
    char length = (char)len;
    buffer_add(&e->chosen, &length, 1);
    buffer_add(&e->chosen, bytes, len);
  }
  if ((bytes = lua_tolstring(L, 4, &len)) != NULL) buffer_add(&e->offered, bytes, len);
  if ((bytes = lua_tolstring(L, 5, &len)) != NULL) buffer_add(&e->ocsp, bytes, len);
  if (!tls_engine_answer(e, context)) tls_engine_refuse(e, SSL_AD_INTERNAL_ERROR);
  conn->asking = false;
  tls_conn_start(conn);
  return 0;
}

/* refuse(alert number): ends the handshake that waits for an answer. */
static int l_refuse(lua_State *L) {
  tls_conn_t *conn = tls_handle_at(L, 1);
  if (conn->stream == NULL || !conn->asking) return 0;
  tls_engine_refuse(&conn->engine, (int)luaL_checkinteger(L, 2));
  conn->asking = false;
  tls_conn_start(conn);
  return 0;
}

/* A stream handle's methods ---------------------------------------------------------------------------------------- */

static int code_result(lua_State *L, int rc) {
  if (rc >= 0) {
    lua_pushinteger(L, 0);
    return 1;
  }
  lua_pushnil(L);
  lua_pushstring(L, uv_strerror(rc));
  lua_pushstring(L, uv_err_name(rc));
  return 3;
}

static int l_read_start(lua_State *L) {
  tls_conn_t *conn = tls_handle_at(L, 1);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  if (conn->stream != &conn->own) return code_result(L, UV_ENOTCONN);
  luaL_unref(L, LUA_REGISTRYINDEX, conn->reader);
  lua_pushvalue(L, 2);
  conn->reader = luaL_ref(L, LUA_REGISTRYINDEX);
  if (conn->unread.len > 0 || (conn->peer_ended && !conn->end_told)) stream_flush_soon(conn->stream);
  return code_result(L, stream_read(conn->stream, true));
}

static int l_read_stop(lua_State *L) {
  tls_conn_t *conn = tls_handle_at(L, 1);
  return code_result(L, conn->stream == &conn->own ? stream_read(conn->stream, false) : 0);
}

/* Puts the string at 2 behind those that wait. */
static tls_send_t *queue(lua_State *L, tls_conn_t *conn) {
  tls_send_t *each = calloc(1, sizeof *each);
  if (each == NULL) return NULL;
  each->data = lua_tolstring(L, 2, &each->len);
  each->callback = LUA_NOREF;
  lua_pushvalue(L, 2);
  each->pin = luaL_ref(L, LUA_REGISTRYINDEX);
  STAILQ_INSERT_TAIL(&conn->sends, each, link);
  return each;
}

static int unwritable(const tls_conn_t *conn) {
  if (conn->stream != &conn->own || conn->failed) return UV_ECONNRESET;
  return conn->stream->shut || conn->shut_wanted ? UV_EPIPE : 0;
}

/* send(data, f) → true: the kernel has it; false: f is called when it has; or nil, text, name. */
static int l_send(lua_State *L) {
  tls_conn_t *conn = tls_handle_at(L, 1);
  luaL_checktype(L, 2, LUA_TSTRING);
  int rc = unwritable(conn);
  if (rc < 0) return code_result(L, rc);
  tls_send_t *each = queue(L, conn);
  if (each == NULL) return code_result(L, UV_ENOMEM);
  bool sent = false;
  each->sent = &sent;
  conn->refs++;
  tls_conn_pump(conn);
  bool waits = !sent && conn->stream != NULL; /* else it is no more */
  if (waits) {
    each->sent = NULL;
    lua_pushvalue(L, 3);
    each->callback = luaL_ref(L, LUA_REGISTRYINDEX);
  }
  tls_conn_release(conn);
  lua_pushboolean(L, !waits);
  return 1;
}

/* write(data, f): as luv's: f is called later. */
static int l_write(lua_State *L) {
  tls_conn_t *conn = tls_handle_at(L, 1);
  luaL_checktype(L, 2, LUA_TSTRING);
  int rc = unwritable(conn);
  if (rc < 0) return code_result(L, rc);
  tls_send_t *each = queue(L, conn);
  if (each == NULL) return code_result(L, UV_ENOMEM);
  if (lua_isfunction(L, 3)) {
    lua_pushvalue(L, 3);
    each->callback = luaL_ref(L, LUA_REGISTRYINDEX);
  }
  stream_flush_soon(conn->stream);
  return code_result(L, 0);
}

/* try_write(data): nothing; `send` is the way. */
static int l_try_write(lua_State *L) {
  tls_handle_at(L, 1);
  return code_result(L, UV_EAGAIN);
}

static int l_shutdown(lua_State *L) {
  tls_conn_t *conn = tls_handle_at(L, 1);
  if (conn->stream != &conn->own) return code_result(L, UV_ENOTCONN);
  luaL_unref(L, LUA_REGISTRYINDEX, conn->shutting);
  lua_settop(L, 2);
  conn->shutting = lua_isnil(L, 2) ? LUA_NOREF : luaL_ref(L, LUA_REGISTRYINDEX);
  conn->shut_wanted = true;
  if (!conn->stream->opening) stream_flush_soon(conn->stream);
  return code_result(L, 0);
}

static int l_close(lua_State *L) {
  tls_conn_t *conn = tls_handle_at(L, 1);
  lua_settop(L, 2);
  if (conn->stream != NULL) stream_close(L, conn->stream);
  return 0;
}

/* linger(): our side ends, what still comes is thrown away; the reader hears the end. */
static int l_linger(lua_State *L) {
  tls_conn_t *conn = tls_handle_at(L, 1);
  return code_result(L, conn->stream == &conn->own ? stream_linger(conn->stream) : UV_ENOTCONN);
}

/* raw(bytes): not sealed, to a peer that does not speak TLS; nothing but linger or close comes after it. */
static int l_raw(lua_State *L) {
  tls_conn_t *conn = tls_handle_at(L, 1);
  size_t len;
  const char *bytes = luaL_checklstring(L, 2, &len);
  if (conn->stream != &conn->own || conn->engine.established) return code_result(L, UV_ENOTCONN);
  int rc = buffer_add(stream_wire(conn->stream), bytes, len);
  return code_result(L, rc < 0 ? rc : stream_flush(conn->stream));
}

static int l_close_reset(lua_State *L) {
  tls_conn_t *conn = tls_handle_at(L, 1);
  uv_os_fd_t fd;
  if (conn->stream != NULL && uv_fileno((uv_handle_t *)conn->stream->handle, &fd) == 0) {
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    conn->stream->shut = true;
  }
  l_close(L);
  return code_result(L, 0);
}

static int l_is_closing(lua_State *L) {
  lua_pushboolean(L, tls_handle_at(L, 1)->stream == NULL);
  return 1;
}

static int l_write_queue_size(lua_State *L) {
  const tls_conn_t *conn = tls_handle_at(L, 1);
  size_t size = conn->stream != NULL ? stream_pending(conn->stream) : 0;
  const tls_send_t *each;
  STAILQ_FOREACH(each, &conn->sends, link) size += each->len - each->done;
  lua_pushnumber(L, (lua_Number)size);
  return 1;
}

/* The other methods are the luv handle's: the upvalue is the name. */
static int l_forward(lua_State *L) {
  const tls_conn_t *conn = tls_handle_at(L, 1);
  if (conn->stream == NULL) return code_result(L, UV_EBADF);
  int count = lua_gettop(L);
  lua_rawgeti(L, LUA_REGISTRYINDEX, ((luv_handle_t *)conn->stream->handle->data)->ref);
  lua_getfield(L, -1, lua_tostring(L, lua_upvalueindex(1)));
  if (lua_isnil(L, -1)) return code_result(L, UV_ENOTSUP); /* a unix socket has no peer's name, no delay */
  lua_insert(L, 1);
  lua_replace(L, 2);
  lua_call(L, count, LUA_MULTRET);
  return lua_gettop(L);
}

/* Streams that other rooms take over -------------------------------------------------------------------------------- */

/* For stream_lent: the stream, as long as it is ours, with what waits to be sent. */
static stream_t *lend_stream(void *userdata) {
  tls_conn_t *conn = *(tls_conn_t **)userdata;
  bool ours = conn->stream == &conn->own && !conn->own.opening;
  return ours && tls_conn_settle(conn) && conn->stream == &conn->own ? &conn->own : NULL;
}

/* unread() → plain bytes that came and that nobody has read; whoever takes the stream asks for them. */
static int l_unread(lua_State *L) {
  tls_conn_t *conn = tls_handle_at(L, 1);
  lua_pushlstring(L, conn->unread.data != NULL ? conn->unread.data : "", conn->unread.len);
  buffer_free(&conn->unread);
  return 1;
}

void tls_handle_reclaim(stream_t *s) {
  tls_conn_t *conn = conn_of(s);
  stream_move(&conn->own, s, &owner);
}

void tls_handle_open(lua_State *L) {
  static const luaL_Reg methods[] = {{"__gc", l_gc},
                                     {"start", l_start},
                                     {"answer", l_answer},
                                     {"refuse", l_refuse},
                                     {"read_start", l_read_start},
                                     {"read_stop", l_read_stop},
                                     {"send", l_send},
                                     {"write", l_write},
                                     {"try_write", l_try_write},
                                     {"shutdown", l_shutdown},
                                     {"close", l_close},
                                     {"close_reset", l_close_reset},
                                     {"linger", l_linger},
                                     {"raw", l_raw},
                                     {"unread", l_unread},
                                     {"is_closing", l_is_closing},
                                     {"get_write_queue_size", l_write_queue_size},
                                     {NULL, NULL}};
  static const char *const forwarded[] = {"ref",         "unref",       "get_type", "fileno",
                                          "getsockname", "getpeername", "nodelay",  "keepalive"};
  userdata_class(L, TLS_HANDLE_TYPE, methods);
  luaL_getmetatable(L, TLS_HANDLE_TYPE);
  luaL_register(L, NULL, tls_facts);
  for (size_t i = 0; i < sizeof forwarded / sizeof *forwarded; i++) {
    lua_pushstring(L, forwarded[i]);
    lua_pushcclosure(L, l_forward, 1);
    lua_setfield(L, -2, forwarded[i]);
  }
  stream_lender(L, lend_stream);
  lua_pop(L, 1);
  lua_pushcfunction(L, l_wrap);
  lua_setfield(L, -2, "wrap");
}
