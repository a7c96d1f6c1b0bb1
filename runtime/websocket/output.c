/* websocket/output.c: what a connection sends: frames into the stream's output, close frames, pongs; and what may wait.
 *
 * Frames collect. What belongs to a read is written when it is parsed out; all else once before the loop waits
 * (shared->dirty), or as soon as FLUSH_AT bytes are there. A large message of a server's is written from where Lua has
 * it. What waits for a peer is judged when something is to be sent: past the group's limit the connection is closed, or
 * the message dropped. One message that is longer than the limit by itself does not count while it is on its way. */
#include "host/callback.h"
#include "websocket/connection.h"
#include "websocket/mask.h"

#include <string.h>

enum {
  FLUSH_AT = 64 * 1024,
  PONGS_WAIT = 64 * 1024 /* of output waits: then only the last ping is answered */
};

/* Flushing -------------------------------------------------------------------------------------------- */

/* Gives the kernel what there is, also while parsing. */
static void push(lua_State *L, ws_conn_t *conn) {
  bool corked = conn->stream.corked;
  stream_cork(&conn->stream, false);
  int rc = stream_flush(&conn->stream);
  stream_cork(&conn->stream, corked);
  if (rc < 0) ws_conn_close(L, conn);
}

/* Something was appended. */
static void appended(lua_State *L, ws_conn_t *conn) {
  if (conn->stream.out.len >= FLUSH_AT) push(L, conn);
  if (conn->parsing || conn->dirty || !ws_conn_is_open(conn)) return;
  conn->dirty = ws_shared_flush_soon(conn->group->shared, conn);
  if (!conn->dirty) push(L, conn);
}

/* Who waits for something to be written hears of it. */
static void tell(ws_conn_t *conn) {
  if (!conn->starved && !conn->tell_sent) return;
  size_t pending = ws_conn_pending(conn);
  bool drained = conn->starved && pending <= conn->group->limit / 2;
  if (!drained && !conn->tell_sent) return;
  if (drained) conn->starved = false;
  conn->tell_sent = false;
  lua_State *co = ws_conn_call(conn, WS_ON_SENT);
  lua_pushnumber(co, conn->appended > pending ? (lua_Number)(conn->appended - pending) : 0);
  lua_pushboolean(co, drained);
  ws_conn_run(conn, 3);
}

static void send_waiting_pong(lua_State *L, ws_conn_t *conn) {
  ws_extra_t *extra = conn->extra;
  if (extra == NULL || !extra->pong || ws_conn_pending(conn) > PONGS_WAIT / 2) return;
  extra->pong = false;
  if (conn->way == WS_OPEN) ws_conn_control(L, conn, WS_PONG, extra->pong_data, extra->pong_len);
}

void ws_conn_flush(lua_State *L, ws_conn_t *conn) {
  if (!ws_conn_is_open(conn) || conn->parsing) return;
  int rc = stream_flush(&conn->stream);
  if (rc == 0 && conn->way == WS_MUTED && conn->leaves && !conn->stream.shut && conn->stream.out.len == 0)
    rc = stream_linger(&conn->stream);
  if (rc < 0) {
    ws_conn_close(L, conn);
    return;
  }
  send_waiting_pong(L, conn);
  if (ws_conn_is_open(conn)) tell(conn);
}

/* Frames ---------------------------------------------------------------------------------------------- */

/* Writes a frame's head; the mask's four bytes behind it, where there is one. */
static size_t write_head(char *to, uint8_t first, size_t len, const uint8_t *mask) {
  uint8_t *at = (uint8_t *)to;
  uint8_t masked = mask != NULL ? WS_MASKED : 0;
  *at++ = first;
  if (len < 126) {
    *at++ = (uint8_t)(masked | len);
  } else {
    unsigned bytes = len < 65536 ? 2 : 8;
    *at++ = masked | (bytes == 2 ? 126 : 127);
    for (unsigned i = bytes; i > 0; i--) *at++ = (uint8_t)((uint64_t)len >> (8 * (i - 1)));
  }
  if (mask != NULL) {
    memcpy(at, mask, 4);
    at += 4;
  }
  return (size_t)(at - (uint8_t *)to);
}

size_t ws_frame_head(char to[WS_HEAD_MAX], uint8_t first, size_t len) {
  return write_head(to, first, len, NULL);
}

/* 0 or UV_E*. */
static int append(ws_conn_t *conn, uint8_t first, const char *data, size_t len) {
  buffer_t *out = stream_out(&conn->stream);
  char *to = buffer_room(out, WS_HEAD_MAX + len);
  if (to == NULL) return UV_ENOMEM;
  const uint8_t *mask = conn->group->server ? NULL : ws_shared_mask(conn->group->shared);
  size_t n = write_head(to, first, len, mask);
  if (mask != NULL) ws_mask(to + n, data, len, mask, 0);
  else if (len > 0) memcpy(to + n, data, len);
  out->len += n + len;
  conn->appended += n + len;
  return 0;
}

/* The same for a large message of a server's. */
static int append_piece(lua_State *L, ws_conn_t *conn, uint8_t first, int index, size_t len) {
  buffer_t *out = stream_out(&conn->stream);
  char *to = buffer_room(out, WS_HEAD_MAX);
  if (to == NULL) return UV_ENOMEM;
  size_t n = write_head(to, first, len, NULL);
  out->len += n;
  conn->appended += n + len;
  return stream_write_piece(L, &conn->stream, index, len, NULL);
}

/* Control frames -------------------------------------------------------------------------------------- */

void ws_conn_control(lua_State *L, ws_conn_t *conn, uint8_t opcode, const char *data, size_t len) {
  if (!ws_conn_is_open(conn)) return;
  if (append(conn, WS_FIN | opcode, data, len) < 0) ws_conn_close(L, conn);
  else appended(L, conn);
}

void ws_conn_pong(lua_State *L, ws_conn_t *conn, const char *data, size_t len) {
  if (conn->way != WS_OPEN) return;
  bool waits = conn->extra != NULL && conn->extra->pong;
  if (!waits && ws_conn_pending(conn) <= PONGS_WAIT) {
    ws_conn_control(L, conn, WS_PONG, data, len);
    return;
  }
  ws_extra_t *extra = ws_conn_extra(conn);
  if (extra == NULL) return;
  extra->pong = true;
  extra->pong_len = (uint8_t)len;
  memcpy(extra->pong_data, data, len);
}

void ws_conn_send_close(lua_State *L, ws_conn_t *conn, uint16_t code, const char *reason, size_t len) {
  if (!ws_conn_is_open(conn) || conn->way != WS_OPEN) return;
  conn->way = WS_CLOSING;
  conn->turned_at = ws_conn_now(conn);
  lua_rawgeti(L, LUA_REGISTRYINDEX, conn->ref);
  lua_pushliteral(L, "readyState");
  lua_pushinteger(L, WS_STATE_CLOSING);
  lua_rawset(L, -3);
  lua_pop(L, 1);
  ws_topics_leave_all(L, conn);
  char data[WS_CONTROL_MAX] = {(char)(code >> 8), (char)code};
  if (len > 0) memcpy(data + 2, reason, len);
  ws_conn_control(L, conn, WS_CLOSE, data, code == WS_NO_STATUS ? 0 : 2 + len);
}

/* What may wait --------------------------------------------------------------------------------------- */

/* Bytes that wait, but for the one message that is longer than the limit by itself. */
static uint64_t queued(ws_conn_t *conn) {
  uint64_t pending = ws_conn_pending(conn);
  ws_extra_t *extra = conn->extra;
  if (extra == NULL) return pending;
  uint64_t written = conn->appended > pending ? conn->appended - pending : 0;
  uint64_t left = extra->large_end > written ? extra->large_end - written : 0;
  if (left > extra->large_size) left = extra->large_size;
  if (left == 0) extra->large_size = 0;
  return (pending > left ? pending - left : 0) + extra->held.len;
}

static bool is_full(lua_State *L, ws_conn_t *conn) {
  uint64_t limit = conn->group->limit;
  if (limit == 0 || queued(conn) <= limit) return false;
  push(L, conn); /* nobody may have tried yet */
  return ws_conn_is_open(conn) && queued(conn) > limit;
}

/* What becomes of something that is to be sent: WS_SENT says that it may be. */
static ws_sent_t admit(lua_State *L, ws_conn_t *conn) {
  if (!ws_conn_is_open(conn) || conn->way != WS_OPEN) return WS_CUT;
  if (is_full(L, conn)) {
    conn->starved = true;
    if (conn->group->drop && !conn->sending)
      return WS_DROPPED; /* a message without one of its parts would be no drop */
    ws_conn_close(L, conn);
  }
  return ws_conn_is_open(conn) ? WS_SENT : WS_CUT;
}

/* It was appended, `size` bytes of it. */
static ws_sent_t sent(lua_State *L, ws_conn_t *conn, uint64_t size) {
  uint64_t limit = conn->group->limit;
  ws_extra_t *extra = limit > 0 && size > limit ? ws_conn_extra(conn) : NULL;
  if (extra != NULL && extra->large_size == 0) {
    extra->large_end = conn->appended;
    extra->large_size = size;
  }
  appended(L, conn);
  if (!ws_conn_is_open(conn)) return WS_CUT;
  if (limit == 0 || ws_conn_pending(conn) <= limit) return WS_SENT;
  push(L, conn);
  if (!ws_conn_is_open(conn)) return WS_CUT;
  if (ws_conn_pending(conn) <= limit) return WS_SENT;
  conn->starved = true;
  return WS_FULL;
}

/* Messages -------------------------------------------------------------------------------------------- */

/* Whether the message, or its first part, is to be compressed. */
static bool compresses(const ws_conn_t *conn, const ws_message_t *message) {
  if (conn->deflate.window == 0 || !message->compress) return false;
  return conn->deflate.takeover || message->len >= conn->group->threshold;
}

/* Compresses into shared->compressed. A coder that is shared begins each part anew: others have used it meanwhile. */
static int compress(ws_conn_t *conn, const ws_message_t *message) {
  ws_shared_t *shared = conn->group->shared;
  ws_agreed_t how = conn->deflate;
  ws_effort_t effort = conn->group->effort;
  ws_deflater_t *deflater = conn->deflater;
  if (deflater == NULL && how.takeover) deflater = conn->deflater = ws_deflater_new(how.window, effort);
  if (!how.takeover) deflater = ws_deflaters_find(&shared->deflaters, how.window, effort);
  if (deflater == NULL) return UV_ENOMEM;
  conn->deflated = true;
  shared->compressed.len = 0;
  return ws_deflate(deflater, message->data, message->len, !how.takeover, message->fin, &shared->compressed);
}

/* 0 or UV_E*. */
static int append_message(lua_State *L, ws_conn_t *conn, const ws_message_t *message) {
  bool begins = !conn->sending;
  if (begins) conn->sending_compressed = compresses(conn, message);
  conn->sending = !message->fin;
  uint8_t first = (uint8_t)((message->fin ? WS_FIN : 0) | (begins ? message->opcode : WS_CONTINUATION) |
                            (begins && conn->sending_compressed ? WS_RSV1 : 0));
  if (!conn->sending_compressed) {
    if (message->len >= WS_PIECE && conn->group->server)
      return append_piece(L, conn, first, message->index, message->len);
    return append(conn, first, message->data, message->len);
  }
  int rc = compress(conn, message);
  buffer_t *compressed = &conn->group->shared->compressed;
  if (rc == 0) rc = append(conn, first, compressed->data, compressed->len);
  if (compressed->cap > WS_SCRATCH_KEPT) buffer_free(compressed);
  return rc;
}

/* What was published between the parts of a message follows it. */
static int append_held(ws_conn_t *conn) {
  if (conn->sending || conn->extra == NULL || conn->extra->held.len == 0) return 0;
  buffer_t held = conn->extra->held;
  conn->extra->held = (buffer_t){0};
  int rc = buffer_add(stream_out(&conn->stream), held.data, held.len);
  if (rc == 0) conn->appended += held.len;
  buffer_free(&held);
  return rc;
}

ws_sent_t ws_conn_send(lua_State *L, ws_conn_t *conn, const ws_message_t *message) {
  ws_sent_t may = admit(L, conn);
  if (may != WS_SENT) return may;
  uint64_t before = conn->appended;
  int rc = append_message(L, conn, message);
  if (rc == 0) rc = append_held(conn);
  if (rc < 0) {
    ws_conn_close(L, conn);
    return WS_CUT;
  }
  return sent(L, conn, conn->appended - before);
}

/* Whether nothing waits for the peer, nor for a message's end, and `len` bytes more are neither too many nor worth a write. */
static bool is_free(const ws_conn_t *conn, size_t len) {
  const stream_t *s = &conn->stream;
  if (conn->way != WS_OPEN || conn->sending || conn->extra != NULL || s->writing != NULL || s->wire.len > 0)
    return false;
  uint64_t limit = conn->group->limit;
  return s->out.len + len < (limit > 0 && limit < FLUSH_AT ? limit : FLUSH_AT);
}

bool ws_conn_append_small(ws_conn_t *conn, uint8_t opcode, const char *data, size_t len) {
  if (!conn->parsing || !conn->group->server || conn->deflate.window > 0) return false;
  if (len > WS_PIECE || !is_free(conn, WS_HEAD_MAX + len)) return false;
  return append(conn, WS_FIN | opcode, data, len) == 0;
}

static int append_frame(lua_State *L, ws_conn_t *conn, const ws_frame_t *frame) {
  stream_t *s = &conn->stream;
  conn->appended += frame->len;
  if (frame->index == 0) return stream_append_common(s, frame->data, frame->len);
  if (frame->len >= WS_PIECE) return stream_write_piece(L, s, frame->index, frame->len, NULL);
  return buffer_add(stream_out(s), frame->data, frame->len);
}

/* Most of what is published: it is only to be put behind what this turn has made so far. False where there is more to do. */
static bool append_small_frame(ws_conn_t *conn, const ws_frame_t *frame) {
  if (frame->index != 0 || !is_free(conn, frame->len)) return false;
  if (!conn->dirty && !conn->parsing) conn->dirty = ws_shared_flush_soon(conn->group->shared, conn);
  if (!conn->dirty && !conn->parsing) return false;
  if (stream_append_common(&conn->stream, frame->data, frame->len) < 0) return false;
  conn->appended += frame->len;
  return true;
}

ws_sent_t ws_conn_send_frame(lua_State *L, ws_conn_t *conn, const ws_frame_t *frame) {
  if (append_small_frame(conn, frame)) return WS_SENT;
  ws_sent_t may = admit(L, conn);
  if (may != WS_SENT) return may;
  ws_extra_t *extra = conn->sending ? ws_conn_extra(conn) : NULL;
  if (extra != NULL && buffer_add(&extra->held, frame->data, frame->len) == 0) return WS_SENT;
  if (conn->sending || append_frame(L, conn, frame) < 0) {
    ws_conn_close(L, conn);
    return WS_CUT;
  }
  return sent(L, conn, frame->len);
}
