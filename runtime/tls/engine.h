/* tls/engine.h: one TLS connection as a transformer of bytes: no descriptor, no loop, no Lua.
 *
 * In: tls_engine_feed gives it what came from the peer; tls_engine_handshake and tls_engine_read take from that as far
 * as it goes. Out: what is for the peer is appended to `out`, whose owner sends it. OpenSSL reaches both by a BIO of
 * our own, so bytes are copied once each way. Callbacks of OpenSSL never enter Lua: what a program has to decide
 * (names, ALPN, sessions) is asked between two steps: the handshake stops at TLS_ASK behind the client's greeting, and
 * goes on after tls_engine_answer. */
#ifndef LRUN_TLS_ENGINE_H
#define LRUN_TLS_ENGINE_H

#include "io/buffer.h"
#include "tls/fault.h"
#include "tls/tickets.h"

#include <stdint.h>

/* What a client's greeting asks for, while the program decides. Offsets into `bytes`. */
typedef struct tls_hello {
  bool named, has_alpn, ocsp;
  size_t name_len, alpn_len, session_len;
  char bytes[]; /* name, ALPN list as on the wire, session id */
} tls_hello_t;

/* What a server, or a client, wants of its connections; shared by them. */
typedef struct {
  int refs;
  bool request_cert;                    /* server: asks for a client's certificate */
  bool reject;                          /* a certificate that is not believed ends the handshake */
  bool want_sessions;                   /* new ones are kept in `sessions` */
  bool want_keys;                       /* keylog lines are kept in `keys` */
  bool ask_name;                        /* server: TLS_ASK when the client names the host */
  bool ask_alpn, ask_session, ask_ocsp; /* or has these */
  tls_tickets_t *tickets;               /* server; NULL: OpenSSL's own, of the context */
  unsigned char *alpn;                  /* as on the wire: each protocol behind its length */
  size_t alpn_len;
} tls_policy_t;

tls_policy_t *tls_policy_hold(tls_policy_t *policy);
void tls_policy_release(tls_policy_t *policy);

typedef enum {
  TLS_FAILED = -1, /* see tls_engine_fault */
  TLS_WANT = 0,    /* more from the peer */
  TLS_DONE = 1,
  TLS_ASK = 2,  /* server: waits for tls_engine_answer */
  TLS_ENDED = 3 /* the peer has said that nothing more comes */
} tls_step_t;

typedef struct {
  SSL *ssl; /* NULL once closed */
  tls_policy_t *policy;
  buffer_t *out;  /* where bytes for the peer are appended; set by the owner */
  const char *in; /* what came and was not taken yet */
  size_t in_len;
  buffer_t held;          /* keeps it between two feeds */
  buffer_t sessions;      /* new ones: length (4 bytes, of this machine) and serialized session each */
  buffer_t keys;          /* lines of a key log */
  buffer_t offered;       /* server: the session that the program has found for the client's id */
  buffer_t ocsp;          /* server: response to send; client: the one received */
  buffer_t chosen;        /* server: protocol that the program has chosen, behind its length */
  unsigned long error;    /* of OpenSSL, that made a step fail; 0: it was the disbelief */
  tls_fault_t *disbelief; /* why the peer's certificate is not believed, or NULL */
  struct tls_hello *hello;
  unsigned char first[8]; /* what the peer has said first, for those that speak something else */
  uint8_t first_len;
  uint8_t refusals; /* of renegotiations that the peer has begun */
  bool established; /* the first handshake is over */
  bool asked;       /* TLS_ASK was returned */
  bool answered;
  uint8_t alert;      /* what the program refuses with, or 0 */
  bool choose_alpn;   /* `chosen` decides, empty for none */
  bool ocsp_received; /* client */
  bool renegotiating;
  bool renegotiated; /* and told to nobody yet */
  bool no_memory;
} tls_engine_t;

/* The callbacks of every context. */
void tls_engine_prepare(SSL_CTX *context);
void tls_engine_keylog(SSL_CTX *context);
/* Sets what the context sends to those that ask for its OCSP response; NULL for none. False: no memory. */
bool tls_engine_staple(SSL_CTX *context, const char *response, size_t len);

/* 0 or UV_ENOMEM. The engine starts all zero but for `out`. */
int tls_engine_open(tls_engine_t *e, SSL_CTX *context, tls_policy_t *policy, bool server);
void tls_engine_close(tls_engine_t *e);

/* Gives bytes; they stay the caller's and must live until tls_engine_rest. */
int tls_engine_feed(tls_engine_t *e, const char *data, size_t len);
/* Keeps what was not taken. 0 or UV_ENOMEM. */
int tls_engine_rest(tls_engine_t *e);

tls_step_t tls_engine_handshake(tls_engine_t *e);
/* Why a step failed. */
void tls_engine_fault(const tls_engine_t *e, tls_fault_t *fault);
/* The program's answer to TLS_ASK: another context, or NULL. */
bool tls_engine_answer(tls_engine_t *e, SSL_CTX *context);
/* Refuses what is asked for: an alert to the peer. */
void tls_engine_refuse(tls_engine_t *e, int alert);
/* Up to `size` bytes: their count, or a step in `step`, with 0. */
size_t tls_engine_read(tls_engine_t *e, char *to, size_t size, tls_step_t *step);
/* All of it, appended to `out` as records. */
tls_step_t tls_engine_write(tls_engine_t *e, const char *data, size_t len);
/* Says to the peer that nothing more comes. */
void tls_engine_farewell(tls_engine_t *e);

#endif
