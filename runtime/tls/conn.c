/* tls/conn.c: see tls/conn.h.
 *
 * One read of the kernel's is taken as a whole: the handshake goes on, or records are opened into one buffer of plain
 * bytes, which the owner gets at once. What the engine says by itself (handshake, alerts, tickets) is appended to the
 * stream's wire and goes out with what the owner answers. */
#include "tls/conn.h"

#include "host/callback.h"
#include "tls/handle.h"
#include <lauxlib.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum {
  PLAIN_SIZE = 96 * 1024,  /* what one read can hold in plain bytes, and more */
  SEAL_SIZE = 256 * 1024,  /* sealed at once of what Lua sends */
  HELD_LIMIT = 256 * 1024, /* bytes of a client that does not wait for the program's decision */
  WIRE_LIMIT = 128 * 1024  /* answers to a peer that makes us answer and does not read */
};

/* The VM's buffer for plain bytes; an inner use gets one of its own. */
static char shared_plain[PLAIN_SIZE];
static bool plain_lent;

static tls_conn_t *conn_of(stream_t *s) { return s->state; }

/* Engine calls append here. */
static tls_engine_t *engine_ready(tls_conn_t *conn) {
  conn->engine.out = stream_wire(conn->stream);
  return &conn->engine;
}

void tls_conn_release(tls_conn_t *conn) {
  if (--conn->refs > 0) return;
  buffer_free(&conn->unread);
  crypto_lib.X509_free(conn->peer);
  free(conn);
}

/* Telling Lua ---------------------------------------------------------------------------------------------------- */

lua_State *tls_conn_tell(tls_conn_t *conn, const char *event) {
  lua_State *co = callback_begin(stream_state(conn->stream));
  lua_rawgeti(co, LUA_REGISTRYINDEX, conn->listener);
  lua_getfield(co, -1, event);
  lua_insert(co, -2);
  return co;
}

static void tell_sessions(tls_conn_t *conn) {
  buffer_t list = conn->engine.sessions;
  conn->engine.sessions = (buffer_t){0};
  size_t at = 0;
  uint32_t len;
  while (conn->stream != NULL && at + sizeof len <= list.len) {
    memcpy(&len, list.data + at, sizeof len);
    lua_State *co = tls_conn_tell(conn, "session");
    lua_pushlstring(co, list.data + at + sizeof len, len);
    callback_run(co, 2);
    at += sizeof len + len;
  }
  buffer_free(&list);
}

static void tell_keys(tls_conn_t *conn) {
  lua_State *co = tls_conn_tell(conn, "keylog");
  lua_pushlstring(co, conn->engine.keys.data, conn->engine.keys.len);
  conn->engine.keys.len = 0;
  callback_run(co, 2);
}

/* What the engine has kept for the program. False: the program has closed the connection. */
static bool tell_kept(tls_conn_t *conn) {
  if (conn->engine.keys.len > 0) tell_keys(conn);
  if (conn->stream != NULL && conn->engine.renegotiated) {
    conn->engine.renegotiated = false;
    callback_run(tls_conn_tell(conn, "renegotiated"), 1);
  }
  if (conn->stream != NULL && conn->engine.established && conn->engine.sessions.len > 0) tell_sessions(conn);
  return conn->stream != NULL;
}

static void tell_hello(tls_conn_t *conn) {
  const tls_hello_t *hello = conn->engine.hello;
  const char *bytes = hello->bytes;
  conn->asking = true;
  lua_State *co = tls_conn_tell(conn, "hello");
  if (hello->named) lua_pushlstring(co, bytes, hello->name_len);
  else lua_pushnil(co);
  if (hello->has_alpn) lua_pushlstring(co, bytes + hello->name_len, hello->alpn_len);
  else lua_pushnil(co);
  lua_pushlstring(co, bytes + hello->name_len + hello->alpn_len, hello->session_len);
  lua_pushboolean(co, hello->ocsp);
  callback_run(co, 5);
}

/* The alert is on the wire: the owner ends the connection. */
static void fail(tls_conn_t *conn) {
  if (conn->failed) return;
  conn->failed = true;
  stream_flush(conn->stream);
  if (conn->stream != NULL) stream_fail(conn->stream, UV_EPROTO);
}

/* Input ---------------------------------------------------------------------------------------------------------- */

/* Tickets stay on the wire: they go out with what is answered to a request that came with the handshake's end, and without
 * one at once: a client whose kernel waits for our acknowledgement has its request held back until then. */
static bool secured(tls_conn_t *conn) {
  conn->stream->opening = false;
  if (!tell_kept(conn)) return false;
  /* What waited goes out at the end of this call, unless the program does not believe the peer. */
  if (!STAILQ_EMPTY(&conn->sends) || conn->shut_wanted) stream_flush_soon(conn->stream);
  callback_run(tls_conn_tell(conn, "secure"), 1);
  if (conn->stream == NULL) return false;
  stream_read(conn->stream, conn->stream->wanted); /* was on in any case until here */
  return conn->stream != NULL;
}

static bool handshake(tls_conn_t *conn) {
  tls_step_t step = tls_engine_handshake(engine_ready(conn));
  if (step == TLS_ASK) {
    if (!conn->asking) tell_hello(conn);
    if (conn->stream == NULL || conn->asking) return false;
    step = tls_engine_handshake(engine_ready(conn)); /* it was answered at once */
  }
  if (step == TLS_FAILED) fail(conn);
  return step == TLS_DONE && secured(conn);
}

/* Opens records until nothing is left or the buffer is full; then the owner gets the bytes. False at an end. */
static bool deliver(tls_conn_t *conn, char *plain) {
  size_t n = 0;
  tls_step_t step = TLS_DONE;
  tls_engine_t *e = engine_ready(conn);
  while (step == TLS_DONE && PLAIN_SIZE - n >= SSL3_RT_MAX_PLAIN_LENGTH) {
    n += tls_engine_read(e, plain + n, PLAIN_SIZE - n, &step);
    if (step == TLS_DONE && e->in_len == 0) step = TLS_WANT; /* a record was taken whole: there is no other */
  }
  bool flooded = e->refusals > 0 || e->out->len > WIRE_LIMIT;
  if (!tell_kept(conn)) return false;
  if (n > 0) stream_deliver(conn->stream, plain, n);
  if (conn->stream == NULL) return false;
  if (step == TLS_FAILED || flooded) {
    if (step != TLS_FAILED) conn->engine.error = ERR_PACK(ERR_LIB_SSL, 0, SSL_R_NO_RENEGOTIATION);
    fail(conn);
  } else if (step == TLS_ENDED && !conn->peer_ended) {
    conn->peer_ended = true;
    stream_deliver_end(conn->stream);
  }
  return step == TLS_DONE && conn->stream != NULL && !conn->failed;
}

static void take(tls_conn_t *conn, char *plain) {
  if (!conn->engine.established && (!handshake(conn) || conn->engine.in_len == 0)) return;
  while (deliver(conn, plain)) {}
}

/* Works on the engine's input: a buffer for plain bytes is found, and what was not taken is kept. */
static void work(tls_conn_t *conn) {
  char *own = plain_lent ? malloc(PLAIN_SIZE) : NULL;
  bool lent = !plain_lent;
  conn->refs++;
  conn->busy = true;
  if (lent) plain_lent = true;
  if (lent || own != NULL) take(conn, lent ? shared_plain : own);
  else fail(conn);
  if (lent) plain_lent = false;
  free(own);
  conn->busy = false;
  if (conn->stream != NULL) {
    int rc = tls_engine_rest(&conn->engine);
    if (rc < 0 || conn->engine.held.len > HELD_LIMIT) fail(conn);
  }
  if (conn->stream != NULL) stream_flush(conn->stream);
  tls_conn_release(conn);
}

void tls_conn_feed(tls_conn_t *conn, const char *data, size_t len) {
  if (conn->stream == NULL || conn->failed || conn->peer_ended || conn->busy) return;
  if (tls_engine_feed(&conn->engine, data, len) < 0) fail(conn);
  else work(conn);
}

void tls_conn_start(tls_conn_t *conn) { tls_conn_feed(conn, "", 0); }

/* Output --------------------------------------------------------------------------------------------------------- */

static void send_done(lua_State *L, tls_conn_t *conn) {
  tls_send_t *each = STAILQ_FIRST(&conn->sends);
  STAILQ_REMOVE_HEAD(&conn->sends, link);
  luaL_unref(L, LUA_REGISTRYINDEX, each->pin);
  int callback = each->callback;
  if (each->sent != NULL) *each->sent = true;
  free(each);
  if (callback == LUA_NOREF) return;
  lua_State *co = callback_begin(L);
  lua_rawgeti(co, LUA_REGISTRYINDEX, callback);
  luaL_unref(co, LUA_REGISTRYINDEX, callback);
  callback_run(co, 0);
}

bool tls_conn_pump(tls_conn_t *conn) {
  lua_State *L = conn->stream != NULL ? stream_state(conn->stream) : NULL;
  while (conn->stream != NULL && !STAILQ_EMPTY(&conn->sends) && !conn->failed) {
    stream_t *s = conn->stream;
    tls_send_t *each = STAILQ_FIRST(&conn->sends);
    if (s->opening || stream_pending(s) > s->wire.len)
      return false; /* what is sealed already, such as tickets, can go with it */
    size_t n = each->len - each->done;
    if (n == 0) {
      send_done(L, conn);
      continue;
    }
    if (n > SEAL_SIZE) n = SEAL_SIZE;
    if (tls_engine_write(engine_ready(conn), each->data + each->done, n) != TLS_DONE) {
      fail(conn);
      return false;
    }
    each->done += n;
    s->sent += n;
    int rc = stream_flush(s);
    if (rc < 0) {
      stream_fail(s, rc);
      return false;
    }
  }
  return conn->stream == NULL || STAILQ_EMPTY(&conn->sends);
}

static void tell_settled(callback_end_t *end) {
  tls_conn_t *conn = (tls_conn_t *)((char *)end - offsetof(tls_conn_t, settled));
  while (conn->stream != NULL && !STAILQ_EMPTY(&conn->sends)) send_done(stream_state(conn->stream), conn);
  conn->settling = false;
  tls_conn_release(conn);
}

bool tls_conn_settle(tls_conn_t *conn) {
  if (STAILQ_EMPTY(&conn->sends)) return true;
  buffer_t *out = stream_out(conn->stream);
  tls_send_t *each;
  STAILQ_FOREACH(each, &conn->sends, link) {
    if (buffer_add(out, each->data + each->done, each->len - each->done) < 0) return false;
    each->done = each->len;
  }
  if (stream_flush(conn->stream) < 0) return false;
  if (conn->settling) return true;
  conn->settling = true;
  conn->refs++;
  conn->settled.run = tell_settled;
  callback_at_end(stream_state(conn->stream), &conn->settled);
  return true;
}

/* The kind ------------------------------------------------------------------------------------------------------- */

static void kind_received(stream_t *s, const char *data, size_t len) { tls_conn_feed(conn_of(s), data, len); }

/* Without close_notify: an end all the same, unless nothing was agreed upon yet. */
static void kind_ended(stream_t *s) {
  tls_conn_t *conn = conn_of(s);
  if (conn->failed) return;
  if (!conn->engine.established) {
    conn->failed = true;
    stream_fail(s, UV_ECONNRESET);
  } else if (!conn->peer_ended) {
    conn->peer_ended = true;
    stream_deliver_end(s);
  }
}

static int kind_seal(stream_t *s, const uv_buf_t *parts, unsigned n) {
  tls_conn_t *conn = conn_of(s);
  tls_engine_t *e = engine_ready(conn);
  for (unsigned i = 0; i < n; i++) {
    if (tls_engine_write(e, parts[i].base, parts[i].len) != TLS_DONE)
      return e->no_memory ? UV_ENOMEM : UV_EPROTO;
  }
  return 0;
}

static void kind_finish(stream_t *s) {
  tls_conn_t *conn = conn_of(s);
  if (conn->engine.established && !conn->failed) tls_engine_farewell(engine_ready(conn));
}

static void kind_moved(stream_t *s) { conn_of(s)->stream = s; }

static void kind_explain(stream_t *s, lua_State *L) {
  tls_fault_t fault;
  tls_engine_fault(&conn_of(s)->engine, &fault);
  tls_fault_push(L, &fault);
}

static void kind_free(stream_t *s) {
  tls_conn_t *conn = conn_of(s);
  lua_State *L = stream_state(s);
  conn->stream = NULL;
  conn->peer = tls_lib.SSL_get1_peer_certificate(conn->engine.ssl);
  tls_engine_close(&conn->engine);
  tls_send_t *each;
  while ((each = STAILQ_FIRST(&conn->sends))) {
    STAILQ_REMOVE_HEAD(&conn->sends, link);
    luaL_unref(L, LUA_REGISTRYINDEX, each->pin);
    luaL_unref(L, LUA_REGISTRYINDEX, each->callback);
    free(each);
  }
  luaL_unref(L, LUA_REGISTRYINDEX, conn->listener);
  luaL_unref(L, LUA_REGISTRYINDEX, conn->reader);
  luaL_unref(L, LUA_REGISTRYINDEX, conn->shutting);
  luaL_unref(L, LUA_REGISTRYINDEX, conn->self);
  conn->listener = conn->reader = conn->shutting = conn->self = LUA_NOREF;
  tls_conn_release(conn);
}

const stream_kind_t tls_conn_kind = {.received = kind_received,
                                     .ended = kind_ended,
                                     .seal = kind_seal,
                                     .finish = kind_finish,
                                     .moved = kind_moved,
                                     .explain = kind_explain,
                                     .reclaim = tls_handle_reclaim,
                                     .free = kind_free};

tls_conn_t *tls_conn_new(lua_State *L, uv_stream_t *handle, SSL_CTX *context, tls_policy_t *policy,
                         bool server, const stream_owner_t *owner) {
  tls_conn_t *conn = calloc(1, sizeof *conn);
  if (conn == NULL) return NULL;
  STAILQ_INIT(&conn->sends);
  conn->listener = conn->self = conn->reader = conn->shutting = LUA_NOREF;
  if (tls_engine_open(&conn->engine, context, policy, server) < 0) {
    free(conn);
    return NULL;
  }
  conn->refs = 1;
  conn->stream = &conn->own;
  stream_open(L, &conn->own, handle, &tls_conn_kind, owner);
  conn->own.state = conn;
  conn->own.opening = true;
  return conn;
}
