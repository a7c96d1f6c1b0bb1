/* tls/conn.h: an encrypted connection: what lies between a stream's owner and the kernel (stream_kind_t).
 *
 * It is made around a luv handle by a handle of Lua's (tls/handle.h), which owns the stream during the handshake.
 * Afterwards the stream may move to another owner, such as HTTP: conn->stream is where it lies now. What a program has
 * to hear of TLS alone goes to Lua by `tell`: everything else is the stream's owner's. */
#ifndef LRUN_TLS_CONN_H
#define LRUN_TLS_CONN_H

#include "io/stream.h"
#include "tls/engine.h"

#include <sys/queue.h>

typedef struct tls_conn tls_conn_t;

/* Bytes of Lua's that wait for their turn: all are sealed in pieces, so that memory holds two of these at most. */
typedef struct tls_send {
  STAILQ_ENTRY(tls_send) link;
  int pin;      /* registry ref of the string */
  int callback; /* registry ref, or LUA_NOREF */
  bool *sent;   /* becomes true when the kernel has all; NULL once nobody waits for it */
  const char *data;
  size_t len, done;
} tls_send_t;

struct tls_conn {
  int refs;         /* the stream's, the handle's, and who works with it now */
  stream_t *stream; /* NULL once closed */
  stream_t own;     /* while the handle is the stream's owner */
  tls_engine_t engine;
  int listener;    /* registry ref: a table whose methods hear of TLS */
  int self;        /* registry ref of the handle, while it owns the stream */
  int reader;      /* registry ref: function(err, chunk), as luv's */
  int shutting;    /* registry ref of what is called when our side has ended */
  buffer_t unread; /* plain bytes that nobody reads yet */
  STAILQ_HEAD(, tls_send) sends;
  X509 *
      peer; /* its certificate, once the connection is closed: who asks for it afterwards may still be told */
  bool peer_ended; /* close_notify, or the end of the connection */
  bool end_told;
  bool failed;
  bool asking; /* Lua has the client's greeting */
  bool shut_wanted;
  bool busy;              /* the engine is at work on what came */
  bool settling;          /* `settled` waits for the turn's end */
  callback_end_t settled; /* tells Lua that what waited is the stream's */
};

/* Takes the handle into a new connection; its first reference is the stream's. NULL: out of memory. */
tls_conn_t *tls_conn_new(lua_State *L, uv_stream_t *handle, SSL_CTX *context, tls_policy_t *policy,
                         bool server, const stream_owner_t *owner);
void tls_conn_release(tls_conn_t *conn);

/* Bytes of the peer's: `data` NULL goes on with what was kept. */
void tls_conn_feed(tls_conn_t *conn, const char *data, size_t len);
/* Begins or goes on with the handshake. */
void tls_conn_start(tls_conn_t *conn);

/* Seals what Lua sends as far as the kernel takes it. False when something waits. */
bool tls_conn_pump(tls_conn_t *conn);

/* Leaves what Lua sends to the stream, before that gets another owner; Lua hears of it when the turn ends. False: out of
 * memory, or it cannot be written. */
bool tls_conn_settle(tls_conn_t *conn);

/* Begins a call of the listener's method `event`; its arguments, and callback_run with one more, are the caller's. */
lua_State *tls_conn_tell(tls_conn_t *conn, const char *event);

extern const stream_kind_t tls_conn_kind;

#endif
