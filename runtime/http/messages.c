/* http/messages.c: the part of `lrun.core.http` that sends: responses at once or in pieces, a client's requests, and what
 * goes between them. Bytes of the exchange whose turn it is go to the stream's output, others to the exchange's own. */
#include "host/userdata.h"
#include "http/format.h"
#include "http/head.h"
#include "http/module.h"
#include "io/file_callback.h"

#include <fcntl.h>
#include <lauxlib.h>
#include <unistd.h>

enum { THROUGH = 16 * 1024 }; /* bodies from here on are not copied where the socket takes them */

/* The exchange at argument 2, or NULL when its connection is gone or it was answered. */
static http_exchange_t *exchange_at(lua_State *L, http_conn_t **conn) {
  *conn = http_module_conn(L, 1);
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
                              (int)lua_tointeger(L, 7), NULL);
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
  int rc =
      http_head_response(L, conn, e, out, (int)lua_tointeger(L, 3), 4, 5, -1, (int)lua_tointeger(L, 6), NULL);
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

/* A range of a file as pieces of the body, framed as the head promised, for as long as the kernel takes all of each at once.
 * `file` is what is left then of the last piece, which is to wait. */
static int send_file(http_conn_t *conn, http_exchange_t *e, stream_file_t *file, uint64_t piece) {
  uint64_t end = file->offset + file->length;
  http_conn_stop_delay(conn);
  if (!e->chunked) {
    stream_send_file(&conn->stream, file);
    if (file->length > piece) file->length = piece;
    return 0;
  }
  int rc = 0;
  file->length = 0;
  while (rc == 0 && file->length == 0 && file->offset < end) {
    file->length = end - file->offset < piece ? end - file->offset : piece;
    rc = http_response_chunk_size(stream_out(&conn->stream), (size_t)file->length);
    if (rc == 0) stream_send_file(&conn->stream, file);
    if (rc == 0 && file->length == 0) rc = buffer_add(stream_out(&conn->stream), "\r\n", 2);
  }
  return rc;
}

/* Gives the file a descriptor of its own, which goes with it. False: there is none left. */
static bool hold_file(stream_file_t *file) {
  int fd = fcntl(file->fd, F_DUPFD_CLOEXEC, 3);
  if (fd < 0) return false;
  file->fd = fd;
  file->owned = true;
  return true;
}

static void drop_file(stream_file_t *file) {
  if (file->owned) close(file->fd);
  file->owned = false;
}

/* What waits; `framed`: its chunk has its head. */
static int write_file(lua_State *L, http_conn_t *conn, const http_exchange_t *e, stream_file_t *file,
                      bool framed) {
  bool chunk = e->chunked && file->length > 0;
  int rc = chunk && !framed ? http_response_chunk_size(stream_out(&conn->stream), (size_t)file->length) : 0;
  if (rc == 0) rc = file_callback_open(L, 7, file);
  if (rc < 0) return rc;
  rc = stream_write_file(&conn->stream, file);
  if (rc < 0) file_callback_drop(file);
  return rc == 0 && chunk ? buffer_add(stream_out(&conn->stream), "\r\n", 2) : rc;
}

/* Takes what goes at once, and a piece of the rest that waits; how many bytes that is, or a negative code. */
static int64_t take_file(lua_State *L, http_conn_t *conn, http_exchange_t *e, stream_file_t *file,
                         uint64_t piece) {
  uint64_t from = file->offset;
  bool held = e->chunked && hold_file(file); /* a chunk that was begun must be finished */
  if (e->chunked && !held) return 0;
  int rc = send_file(conn, e, file, piece);
  if (file->length > 0 && !held && !hold_file(file)) file->length = 0;
  uint64_t taken = file->offset - from + file->length;
  if (rc == 0 && file->length > 0) rc = write_file(L, conn, e, file, true);
  if (rc < 0 || file->length == 0) drop_file(file);
  return rc < 0 ? rc : (int64_t)taken;
}

/* writeFile(conn, id, fd, offset, length, piece or nil, callback or nil): a range of a file as a piece of the body → as write returns, and
 * how many bytes were taken: what goes at once, and no more than `piece` of the rest, by a descriptor of its own. Without
 * `piece` all is taken and waits, by the descriptor that was given. The callback gets a negative code or nil, and how many
 * bytes of what waited were sent, when the descriptor is not used any more; it is not called where nothing waits. Nothing
 * is taken where it returns "later", as an earlier response is not complete, or "read", as no descriptor is left. */
static int l_write_file(lua_State *L) {
  http_conn_t *conn;
  http_exchange_t *e = exchange_at(L, &conn);
  if (e == NULL) return broken(L, conn, 0);
  if (e != conn->first) {
    lua_pushliteral(L, "later");
    return 1;
  }
  stream_file_t file = {.fd = (int)lua_tointeger(L, 3), .offset = (uint64_t)lua_tonumber(L, 4)};
  uint64_t length = (uint64_t)lua_tonumber(L, 5);
  file.length = e->bodyless ? 0 : e->counted && length > e->left ? e->left : length;
  uint64_t sent = file.length;
  bool whole = lua_isnoneornil(L, 6);
  int64_t taken =
      sent > 0 && !whole ? take_file(L, conn, e, &file, (uint64_t)lua_tonumber(L, 6)) : (int64_t)sent;
  if (taken >= 0 && e->counted) e->left -= (uint64_t)taken;
  if (whole) {
    int rc = write_file(L, conn, e, &file, false);
    if (rc < 0) taken = rc;
  }
  if (taken < 0) return broken(L, conn, (int)taken);
  if (taken == 0 && sent > 0) {
    lua_pushliteral(L, "read");
    return 1;
  }
  if (whole) http_conn_flush(L, conn);
  else stream_flush_soon(&conn->stream); /* Lua is not entered before the writer knows what was taken */
  e = exchange_at(L, &conn);
  if (e != NULL) wait_or_go(L, conn, e);
  else lua_pushboolean(L, 0); /* the connection ended over it, of which the callback is told */
  /* What is beyond Content-Length is not sent. */
  lua_pushnumber(L, (lua_Number)((uint64_t)taken == sent ? length : (uint64_t)taken));
  return 2;
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
  http_conn_t *conn = http_module_conn(L, 1);
  size_t len;
  const char *head = lua_tolstring(L, 2, &len);
  bool ready = http_conn_is_open(conn) && (!conn->client || http_conn_is_clean(conn));
  http_exchange_t *e = ready ? http_exchange_begin(conn) : NULL;
  if (e == NULL) return broken(L, conn, 0);
  e->started = e->keep_alive = conn->asked = true;
  e->chunked = lua_toboolean(L, 3);
  conn->head_request = lua_toboolean(L, 4);
  conn->parser.max_fields = http_module_fields(L, 5);
  http_conn_touch(conn);
  int rc = buffer_add(http_exchange_buffer(conn, e), head, len);
  if (rc < 0) return broken(L, conn, rc);
  lua_pushinteger(L, (lua_Integer)e->id);
  return 1;
}

/* flush(conn): what waits for company goes out now. */
static int l_flush(lua_State *L) {
  http_conn_flush(L, http_module_conn(L, 1));
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
  http_conn_t *conn = http_module_conn(L, 1);
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
  http_conn_t *conn = http_module_conn(L, 1);
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
  http_conn_t *conn = http_module_conn(L, 1);
  if (!http_conn_is_open(conn)) return 0;
  http_conn_leave(conn, HTTP_ENDING);
  http_exchange_drop_all(conn);
  http_conn_flush(L, conn);
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

void http_messages_register(lua_State *L) {
  static const luaL_Reg functions[] = {{"respond", l_respond},
                                       {"head", l_head},
                                       {"write", l_write},
                                       {"writeFile", l_write_file},
                                       {"finish", l_finish},
                                       {"begin", l_begin},
                                       {"flush", l_flush},
                                       {"raw", l_raw},
                                       {"refuse", l_refuse},
                                       {"rawWrite", l_raw_write},
                                       {"finishAll", l_finish_all},
                                       {"pending", l_pending},
                                       {NULL, NULL}};
  luaL_register(L, NULL, functions);
  userdata_address(L, "respondPlain", (address_t)respond_plain);
}
